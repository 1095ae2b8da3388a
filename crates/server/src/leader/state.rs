//! What the leader holds in memory: the records, and what it saw since it leads.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use gust_core::{
    claim::Queue,
    evolve::Step,
    flow::Flow,
    ids::{BatchId, JobId, JobRef, MachineName, ProjectId, QueueKey, ReplicaId, Shard, SourceName, Term},
    memory::Memory,
    ports::{Instance, Notification, Roster},
    quota::{Footprint, Usage, View},
    records::{Book, Change},
    snapshot::{Backlog, JobView, Planned, Seen},
    time::Timestamp,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Parts, Picture, admin::Feed, effect::Effect, input::Input, notes::Notes, poll::Wakes, preemption::Asking,
    tokens::Wanted, workers::WorkerState,
};
use crate::{
    replica::{Held, Links},
    task::Tasks,
};

/// A booked job with what is not in its record.
#[derive(Debug)]
pub(super) struct Known {
    pub seen: Seen,
    pub plan: Planned,
    /// Its state was asked for at least once since we lead, and answered.
    pub loaded: bool,
    /// States read before this moment are too old to act upon.
    pub not_before: Timestamp,
}

/// A shard with what its worker told since we lead.
#[derive(Debug, Default)]
pub(super) struct ShardState {
    /// Who looks after it.
    pub worker: Option<ReplicaId>,
    /// The quotas as they were read, less what of them was ours.
    pub quotas: Arc<View>,
    /// Those among them that count over all regions of the project; none where Google shows none.
    pub wide_quotas: Option<Arc<View>>,
    pub capacity_read: bool,
    pub inventory: Option<(Timestamp, BTreeMap<MachineName, Instance>)>,
    pub inventory_seen: bool,
}

impl ShardState {
    /// A new owner: what the old one told is not enough to act upon.
    pub fn passes_to(&mut self, worker: Option<ReplicaId>) {
        self.worker = worker;
        if gust_core::mutant!("shard-not-looked-at") {
            return;
        }
        self.inventory = None;
        (self.inventory_seen, self.capacity_read) = (false, false);
    }
}

/// The ids a source's state poller asks for: those that wait, and those that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub waiting: Arc<Vec<JobId>>,
    pub running: Arc<Vec<JobId>>,
}

pub(super) struct Leader {
    pub parts: Parts,
    pub links: Arc<dyn Links>,
    pub held: Held,
    pub config: String,
    pub begun: Instant,
    pub began: Timestamp,
    /// Another leader decided until shortly before.
    pub follows: bool,
    /// Since when machines are known that came to be in this term.
    pub since: BTreeMap<MachineName, Instant>,
    pub term: Term,
    pub tasks: Tasks,
    pub inputs: mpsc::Sender<Input>,
    pub book: Book,
    pub known: BTreeMap<JobRef, Known>,
    pub usages: BTreeMap<Footprint, Usage>,
    pub backlog: BTreeMap<SourceName, Backlog>,
    pub reserving: BTreeSet<JobRef>,
    pub paused: BTreeSet<(SourceName, QueueKey)>,
    pub shards: BTreeMap<Shard, ShardState>,
    /// What Google refused lately.
    pub memory: Memory,
    /// How fast quotas come back.
    pub flow: Flow,
    pub bulk_calls: VecDeque<(Timestamp, ProjectId)>,
    pub registered: BTreeSet<SourceName>,
    /// What could not be asked last, and since when: to register, or to list a queue.
    pub trouble: BTreeMap<(SourceName, Option<QueueKey>), (Timestamp, String)>,
    /// Queues that were listed since we lead.
    pub listed: BTreeSet<(SourceName, QueueKey)>,
    pub roster_seen: bool,
    pub workers: BTreeMap<ReplicaId, WorkerState>,
    /// Replicas that are not used as workers, since their configuration is another.
    pub strangers: BTreeSet<ReplicaId>,
    pub sessions: u64,
    pub ask: BTreeMap<SourceName, watch::Sender<Ask>>,
    /// What wakes the tasks that list and that read states.
    pub wakes: BTreeMap<SourceName, Wakes>,
    /// Whether sources issue tokens for single jobs, where that is known.
    pub issues_tokens: BTreeMap<SourceName, bool>,
    pub notes: Notes,
    pub note_sinks: BTreeMap<SourceName, mpsc::UnboundedSender<Vec<Notification>>>,
    pub token_sinks: BTreeMap<SourceName, mpsc::UnboundedSender<Wanted>>,
    pub steps: Vec<Step>,
    pub effects: Vec<Effect>,
    pub claims: Option<Queue>,
    pub asked_for: bool,
    /// What the last pass leaves to be shown, once it is durable.
    pub picture: Option<Arc<Picture>>,
    /// What the last pass left.
    pub shown: Arc<Picture>,
    /// Who is there.
    pub roster: Roster,
    /// How long things took.
    pub took: Took,
    /// Those who watch.
    pub feed: Feed,
    /// Preempted jobs that Buildkite is asked to run again, and whether nothing comes of it.
    pub retrying: BTreeMap<JobRef, Asking>,
    /// It is about to give up the lead: no job is taken in any more.
    pub retires: bool,
    /// Who waits until others have all that this replica looked after.
    pub retiring: Option<oneshot::Sender<()>>,
}

/// How long the last of each took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    pub pass: Duration,
    pub commit: Duration,
}

/// Whoever led so short a time ago had read the states of jobs then: they are about as old as they always are.
pub(super) const FRESH: Duration = Duration::from_secs(15);
/// What the leader waits for at most, before it decides with the shards it has.
const GRACE: Duration = Duration::from_secs(10);
/// The same for shards whose workers have not even answered, once others are served: a replica that has just died, or
/// just begins, holds nobody up.
const GREET: Duration = Duration::from_millis(250);

impl Leader {
    /// Applies a step to memory and puts it into the next commit.
    pub fn step(&mut self, step: Step) {
        self.feed.note(&step);
        self.count_freed(&step);
        for change in &step.changes {
            self.book.apply(change);
            match change {
                Change::PutJob(record) => {
                    self.know(record.job.clone());
                    self.asked_for = true;
                }
                Change::RemoveJob(job) => {
                    self.known.remove(job);
                    self.retrying.remove(job);
                    self.notes.forget(job);
                    self.asked_for = true;
                }
                Change::RemoveMachine(name) => {
                    self.since.remove(name);
                    for shard in self.shards.values_mut() {
                        if let Some((_, instances)) = &mut shard.inventory {
                            instances.remove(name);
                        }
                    }
                }
                Change::PutMachine(record) => {
                    self.since.entry(record.name.clone()).or_insert_with(Instant::now);
                }
                Change::RemoveBatch(batch) => self.born(*batch),
                Change::PutBatch(_)
                | Change::PutHistory(_)
                | Change::PutSpent(_)
                | Change::PutSpend(_)
                | Change::RemoveSpent(_)
                | Change::PutOrders(_)
                | Change::PutFormat(_) => {}
            }
        }
        self.claims = None;
        self.steps.push(step);
    }

    /// What machines give back that are gone.
    fn count_freed(&mut self, step: &Step) {
        let now = self.now();
        for change in &step.changes {
            let Change::RemoveMachine(name) = change else {
                continue;
            };
            let machine = self.book.machines().get(name);
            if let Some(footprint) = machine.and_then(|machine| machine.footprint.clone()) {
                let usage = self.usage(&footprint);
                self.flow.freed(&footprint.shard, &usage, now);
            }
        }
    }

    /// What a machine of this footprint uses.
    pub fn usage(&mut self, footprint: &Footprint) -> Usage {
        let known = self.usages.get(footprint).cloned();
        known.unwrap_or_else(|| {
            let usage = self.parts.planner.usage(footprint);
            self.usages.insert(footprint.clone(), usage.clone());
            usage
        })
    }

    /// A batch is settled: its machines came to be just now, however long ago some of them were given up.
    fn born(&mut self, batch: BatchId) {
        let machines = self.book.machines().values();
        for machine in machines.filter(|machine| machine.batch == Some(batch)) {
            self.since.insert(machine.name.clone(), Instant::now());
        }
    }

    /// Makes sure that a booked job has its plan.
    pub fn know(&mut self, job: JobRef) {
        if self.known.contains_key(&job) {
            return;
        }
        let Some(record) = self.book.jobs().get(&job) else {
            return;
        };
        let plan = self.parts.planner.plan(record);
        self.known.insert(
            job,
            Known {
                seen: Seen::default(),
                plan,
                loaded: false,
                not_before: Timestamp::default(),
            },
        );
    }

    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Booked jobs in key order, each with what is known of it.
    pub fn views(&self) -> Vec<JobView<'_>> {
        // Both maps hold the same keys, so walking them side by side is a join.
        self.book
            .jobs()
            .values()
            .zip(self.known.values())
            .map(|(record, known)| JobView {
                record,
                plan: &known.plan,
                seen: &known.seen,
            })
            .collect()
    }

    /// What has not been loaded since this term began; nothing is decided before it is empty. Shards of which
    /// nothing is heard for a while stay out, so that one region does not hold up the others. Who follows at once upon
    /// another leader does not wait for the states of jobs at first: with a long queue that takes seconds, and the worst
    /// that comes of it is a machine for a job that has just been cancelled. Whether a queue is paused tells its list.
    pub fn missing(&self) -> Vec<String> {
        let waited = self.begun.elapsed();
        let patient = waited < GRACE;
        let follows = self.follows && patient;
        let sources = self.parts.sources.keys();
        let sources = sources.filter(|name| !follows && !self.registered.contains(*name));
        let some_served = self.shards.values().any(|shard| self.is_served(shard));
        let roster = (patient && !self.roster_seen).then(|| "the roster of replicas".to_owned());
        let shards = self
            .shards
            .iter()
            .filter(|(_, shard)| patient && !self.is_served(shard))
            .filter(|(_, shard)| waited < GREET || !some_served || self.is_greeted(shard));
        let queues = self.parts.sources.values().flat_map(|part| {
            let queues = part.queues.iter();
            queues.map(|queue| (part.name.clone(), queue.clone()))
        });
        let lists = queues.filter(|queue| patient && !self.listed.contains(queue));
        let states = self.known.iter().filter(|(_, known)| !follows && !known.loaded);
        sources
            .map(|name| format!("registration at source {name}"))
            .chain(roster)
            .chain(lists.map(|(source, queue)| format!("the list of queue {queue} at source {source}")))
            .chain(shards.map(|(shard, _)| format!("machines and quotas of {shard}")))
            .chain(
                states
                    .take(1)
                    .map(|(job, _)| format!("states of booked jobs, such as {job}")),
            )
            .collect()
    }

    /// Its worker is there.
    fn is_greeted(&self, shard: &ShardState) -> bool {
        let worker = shard.worker.as_ref().and_then(|worker| self.workers.get(worker));
        worker.is_some_and(|worker| worker.ready)
    }

    /// Its worker is there, and has told what is in it.
    pub fn is_served(&self, shard: &ShardState) -> bool {
        self.is_greeted(shard) && shard.inventory_seen && shard.capacity_read
    }

    /// This replica is no member any more, all it looked after is in the hands of others, if there are any, and what it
    /// reserved is booked: the successor would see it only when the reservation lapses.
    pub fn is_relieved(&self) -> bool {
        let gone = self.reserving.is_empty()
            && self.roster_seen
            && !self.roster.members.contains_key(&self.parts.replica);
        gone && (self.workers.is_empty() || self.shards.values().all(|shard| self.is_served(shard)))
    }
}
