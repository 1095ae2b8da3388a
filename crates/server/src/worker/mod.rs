//! The worker: talks to the cloud for the shards it looks after.
//!
//! All it knows beyond the cloud's own answers lives as long as one session with a leader. When a session
//! ends everything stops; when the next begins the leader says again what the records ask for, and since
//! names and request ids are recorded, doing it again is harmless.

mod create;
mod delete;
mod kept;
mod look;
mod own;
mod types;

pub use own::Membership;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_core::{
    ids::{BatchId, MachineName, ProjectId, ReplicaId, Shard, Term, Zone},
    ports::{Cloud, Command, Event, Hello, LinkError, Store},
    records::BatchRecord,
};
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use create::Asked;

use crate::{
    clock::Clock,
    latch::Latch,
    replica::Held,
    task::{Dice, Tasks},
};

/// How a worker paces itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two lists of a shard while nothing is being deleted.
    pub list_idle: Duration,
    /// Between two lists of a shard while machines are being deleted.
    pub list_busy: Duration,
    /// Between two questions which deletions have ended.
    pub ends: Duration,
    /// Between two readings of the quotas.
    pub quotas: Duration,
    /// Between two lists of the machine types of a shard's zones.
    pub types: Duration,
    /// How long one call waits for the end of an operation.
    pub patience: Duration,
    /// Calls for deletions under way at a time in a shard.
    pub deletes: usize,
    /// Machines on their way out at a time in a shard. Google takes some 200 operations at a time in a region (it does not
    /// say how many: `reference/gce-api.md`, 4.4); the rest is for creations.
    pub operations: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            list_idle: Duration::from_secs(15),
            list_busy: Duration::from_secs(2),
            ends: Duration::from_secs(5),
            quotas: Duration::from_secs(30),
            types: Duration::from_secs(24 * 3600),
            patience: Duration::from_secs(20),
            deletes: 32,
            operations: 180,
        }
    }
}

/// A worker. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    replica: ReplicaId,
    store: Arc<dyn Store>,
    clouds: Arc<BTreeMap<ProjectId, Arc<dyn Cloud>>>,
    clock: Clock,
    dice: Dice,
    pace: Pace,
    state: Arc<Mutex<Followed>>,
    tasks: Tasks,
}

/// Whom the worker follows.
#[derive(Default)]
struct Followed {
    /// Term and number of the last session that was accepted.
    last: (Term, u64),
    session: Option<Tasks>,
    membership: Option<Membership>,
    kept: BTreeMap<Shard, kept::Kept>,
    /// Machine types by zone as they were listed last, and when.
    types: BTreeMap<Shard, types::Listed>,
}

/// What one session has in hand, shared by its tasks.
struct Hand {
    shards: BTreeMap<Shard, ShardHand>,
    creating: Mutex<BTreeSet<BatchId>>,
    /// Names in batches that are being created: a deletion of one must wait for its creation.
    unborn: Mutex<BTreeSet<MachineName>>,
}

struct ShardHand {
    zones: Vec<Zone>,
    cloud: Arc<dyn Cloud>,
    /// Whether its key is ours.
    owned: Latch,
    /// Wakes the lister.
    look: Notify,
    /// Wakes the reader of quotas.
    measure: Notify,
    deletions: delete::Deletions,
}

impl Worker {
    /// A worker for the projects of `clouds`. Its tasks end with `tasks`. It follows nobody before it is admitted.
    pub fn new(
        replica: ReplicaId,
        store: Arc<dyn Store>,
        clouds: BTreeMap<ProjectId, Arc<dyn Cloud>>,
        clock: Clock,
        dice: Dice,
        pace: Pace,
        tasks: &Tasks,
    ) -> Self {
        let clouds = Arc::new(clouds);
        Self {
            replica,
            store,
            clouds,
            clock,
            dice,
            pace,
            state: Arc::default(),
            tasks: tasks.child(),
        }
    }

    /// Begins a session: any earlier one ends first.
    ///
    /// # Errors
    /// [`LinkError::Deposed`] if a higher term was seen; [`LinkError::Late`] if a later session of this term was;
    /// [`LinkError::Down`] while this replica is no member; [`LinkError::Nonsense`] if a shard's project is unknown
    /// here.
    pub async fn session(
        &self,
        hello: Hello,
        commands: mpsc::Receiver<Command>,
    ) -> Result<mpsc::Receiver<Event>, LinkError> {
        let tasks = self.tasks.child();
        let (membership, earlier) = {
            let mut followed = lock(&self.state);
            let (term, session) = followed.last;
            if hello.term < term && !gust_core::mutant!("term-not-compared") {
                return Err(LinkError::Deposed {
                    ours: hello.term,
                    theirs: term,
                });
            }
            if hello.term == term && hello.session < session {
                let worker = self.replica.clone();
                return Err(LinkError::Late { worker });
            }
            followed.last = (hello.term, hello.session);
            let Some(membership) = followed.membership.clone() else {
                return Err(LinkError::Down {
                    worker: self.replica.clone(),
                    message: "this replica is no member at present".to_owned(),
                });
            };
            (membership, followed.session.replace(tasks.clone()))
        };
        if let Some(earlier) = earlier {
            earlier.stop().await;
        }
        let hand = Arc::new(self.hand(&hello, &membership.held)?);
        let (events, receiver) = mpsc::channel(1024);
        info!(gust.term = hello.term.0, leader = %hello.leader, shards = hand.shards.len(), "following a leader");
        let session = Session {
            worker: self.clone(),
            membership,
            term: hello.term,
            hand,
            events,
            tasks: tasks.clone(),
        };
        tasks.spawn("session", session.run(commands));
        Ok(receiver)
    }

    fn hand(&self, hello: &Hello, held: &Held) -> Result<Hand, LinkError> {
        let mut shards = BTreeMap::new();
        for (shard, zones) in &hello.shards {
            let Some(cloud) = self.clouds.get(&shard.project) else {
                return Err(LinkError::Nonsense {
                    worker: self.replica.clone(),
                    message: format!("project {} is not configured on this replica", shard.project),
                });
            };
            let hand = ShardHand {
                zones: zones.clone(),
                cloud: Arc::new(own::Owned {
                    cloud: Arc::clone(cloud),
                    held: held.clone(),
                }),
                owned: Latch::default(),
                look: Notify::new(),
                measure: Notify::new(),
                deletions: delete::Deletions::default(),
            };
            shards.insert(shard.clone(), hand);
        }
        Ok(Hand {
            shards,
            creating: Mutex::default(),
            unborn: Mutex::default(),
        })
    }
}

/// One conversation with a leader; cloned into each of its tasks.
#[derive(Clone)]
struct Session {
    worker: Worker,
    membership: Membership,
    term: Term,
    hand: Arc<Hand>,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
}

impl Session {
    async fn run(self, mut commands: mpsc::Receiver<Command>) {
        self.tell(Event::Ready {
            batches: Vec::new(),
            deleting: Vec::new(),
        })
        .await;
        self.tasks.spawn("let-go", self.clone().let_go());
        for shard in self.hand.shards.keys() {
            self.tasks.spawn("own", self.clone().look_after(shard.clone()));
        }
        while let Some(command) = commands.recv().await {
            self.obey(command);
        }
        // The leader hung up: everything of this session ends, whatever it had in hand.
        self.tasks.cancelled().cancel();
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Create(batch) => self.begin(batch, Asked::Never),
            Command::Resume(batch) => self.begin(batch, Asked::Perhaps),
            Command::Delete {
                shard,
                zone,
                name,
                lists_after,
            } => {
                if let Some(hand) = self.shard(&shard) {
                    hand.deletions.want(name, zone, lists_after);
                }
            }
            Command::Check { shard, zone, name } => {
                if let Some(hand) = self.shard(&shard) {
                    let (session, cloud) = (self.clone(), Arc::clone(&hand.cloud));
                    self.tasks.spawn("check", session.check(cloud, shard, zone, name));
                }
            }
            Command::Look { shard } => {
                if let Some(hand) = self.shard(&shard) {
                    hand.look.notify_one();
                    hand.measure.notify_one();
                }
            }
        }
    }

    /// Has a batch created, unless that is under way.
    fn begin(&self, batch: Box<BatchRecord>, asked: Asked) {
        let Some(shard) = self.shard(&batch.shard()) else {
            return;
        };
        if lock(&self.hand.creating).insert(batch.id) {
            lock(&self.hand.unborn).extend(batch.members.iter().map(|member| member.name.clone()));
            let cloud = Arc::clone(&shard.cloud);
            self.tasks
                .spawn("create", self.clone().create(cloud, batch, asked));
        }
    }

    fn shard(&self, shard: &Shard) -> Option<&ShardHand> {
        let hand = self.hand.shards.get(shard);
        if hand.is_none() {
            warn!(gust.shard = %shard, "the leader speaks of a shard that it did not name at first");
        }
        hand
    }

    async fn tell(&self, event: Event) {
        // A closed channel means that the session is over; its tasks end presently.
        let _ = self.events.send(event).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is consistent after every statement, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
