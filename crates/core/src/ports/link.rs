//! How leader and worker talk: two streams of idempotent messages.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Instance, MemberFate, Quota, RefusalClass};
use crate::{
    ids::{BatchId, MachineName, ReplicaId, Shard, Term, Zone},
    records::BatchRecord,
    time::Timestamp,
};

/// What the leader says first. A worker that has seen a higher term refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The leader's term.
    pub term: Term,
    /// Grows with each session that the leader of a term opens with this worker: a hello that comes late is told
    /// by it. 0 from a leader that does not count.
    pub session: u64,
    /// The leader.
    pub leader: ReplicaId,
    /// The shards the worker is to look after, each with its zones.
    pub shards: Vec<(Shard, Vec<Zone>)>,
}

/// What the leader asks of a worker. All of it may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Create the machines of a recorded batch that nobody asked for yet.
    Create(Box<BatchRecord>),
    /// As [`Command::Create`], for a batch that may have been asked for before: its machines may exist whatever the
    /// cloud says to the same call now, or it is being created already.
    Resume(Box<BatchRecord>),
    /// Delete a machine until it is known to be gone.
    Delete {
        /// Its shard.
        shard: Shard,
        /// Its zone; without one all zones of the shard are looked through.
        zone: Option<Zone>,
        /// Its name.
        name: MachineName,
        /// Lists lag: one begun less than so long after this command arrived may not show the machine yet although
        /// it exists. A length of time, since clocks differ.
        lists_after: Duration,
    },
    /// Read one machine that was missing from a list, and report [`Event::Gone`] if it does not exist.
    Check {
        /// Its shard.
        shard: Shard,
        /// Its zone.
        zone: Zone,
        /// Its name.
        name: MachineName,
    },
    /// List the shard now rather than at the next turn.
    Look {
        /// The shard.
        shard: Shard,
    },
}

/// What a shard can take, as its worker sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Quotas as Google shows them.
    pub quotas: Vec<Quota>,
    /// When they were read.
    pub read_at: Timestamp,
    /// How long ago that was when it was said.
    pub age: Duration,
}

/// What a worker tells the leader. All of it may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first event of a session: what this worker has in hand. Other commands are to be repeated.
    Ready {
        /// Batches it is creating or watching.
        batches: Vec<BatchId>,
        /// Machines it is deleting.
        deleting: Vec<MachineName>,
    },
    /// Google took the call; the operation runs.
    Accepted {
        /// The batch.
        batch: BatchId,
    },
    /// The call is settled: the fate of every member. Repeated until the leader's record of the batch is gone.
    Settled {
        /// The batch.
        batch: BatchId,
        /// One entry a member.
        fates: Vec<(MachineName, MemberFate)>,
    },
    /// The call was refused or failed before Google took it; nothing was created. The worker has let go of it.
    Refused {
        /// The batch.
        batch: BatchId,
        /// Why.
        class: RefusalClass,
        /// Google's words.
        message: String,
    },
    /// A machine is known to be gone: deleted by us, or by somebody else.
    Gone {
        /// The machine.
        name: MachineName,
    },
    /// All our machines in a shard.
    Inventory {
        /// The shard.
        shard: Shard,
        /// When the list was begun: machines created after it may be missing.
        begun_at: Timestamp,
        /// The machines.
        instances: Vec<Instance>,
    },
    /// A shard was this worker's before the session began, and nobody else's since it read the quotas and listed the
    /// machines there: it goes on where it is.
    Kept {
        /// The shard.
        shard: Shard,
        /// What was read last.
        capacity: Capacity,
    },
    /// Machine types were listed.
    MachineTypes {
        /// The shard.
        shard: Shard,
        /// Zones whose list was read whole, each with all that it has.
        zones: Vec<(Zone, Vec<String>)>,
    },
    /// Quotas were read.
    Capacity {
        /// The shard.
        shard: Shard,
        /// What was read.
        capacity: Capacity,
    },
}

/// A link that does not work. Reopen it; both sides exchange full state.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The worker has seen a higher term: somebody else leads.
    #[error("the worker follows term {theirs}, ours is {ours}")]
    Deposed {
        /// Our term.
        ours: Term,
        /// The worker's.
        theirs: Term,
    },
    /// The worker has a later session of the same leader: this one's hello came late.
    #[error("worker {worker} has a later session already")]
    Late {
        /// The worker.
        worker: ReplicaId,
    },
    /// The stream broke, or could not be opened.
    #[error("the link to worker {worker} is down: {message}")]
    Down {
        /// The worker.
        worker: ReplicaId,
        /// What was seen.
        message: String,
    },
    /// The other side sent something that makes no sense.
    #[error("worker {worker} sent a message that cannot be read: {message}")]
    Nonsense {
        /// The worker.
        worker: ReplicaId,
        /// What was wrong.
        message: String,
    },
}

/// Commands to one worker, in order.
#[async_trait]
pub trait CommandSink: Send {
    /// Sends one command; waits while the worker is slow.
    async fn send(&mut self, command: Command) -> Result<(), LinkError>;
}

/// Events from one worker, in order.
#[async_trait]
pub trait EventStream: Send {
    /// The next event. An error ends the session.
    async fn next(&mut self) -> Result<Event, LinkError>;
}

/// An open conversation.
pub struct Session {
    /// To the worker.
    pub commands: Box<dyn CommandSink>,
    /// From the worker.
    pub events: Box<dyn EventStream>,
}

/// How a connection to a replica ended, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It was there, and broke.
    Broke,
    /// It was not made: the host says that nobody listens there.
    Refused,
    /// It was not made, and nobody said why: a slow, frozen or cut-off host, or one that does not trust us.
    Silent(String),
}

/// The way to one worker.
#[async_trait]
pub trait Link: Send + Sync {
    /// The worker at the other end.
    fn worker(&self) -> &ReplicaId;

    /// Opens a session. The worker's first event is [`Event::Ready`].
    async fn open(&self, hello: &Hello) -> Result<Session, LinkError>;

    /// Connects to the replica and stays connected, saying nothing, for as long as that lasts.
    async fn attend(&self) -> Parting;
}
