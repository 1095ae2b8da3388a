//! Changes as they happen, for those who watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gust_core::{
    evolve::Step,
    ids::{BatchId, JobRef, MachineName},
    reason::Kind,
    records::{Change, HistoryRecord},
};
use tokio::sync::broadcast;

use super::{super::state::Leader, JobInfo, MachineInfo};

/// Commits that a slow watcher may lag behind before it must begin again.
const DEPTH: usize = 1024;

/// What happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobChange {
    /// It is there, or has changed.
    Put(Box<JobInfo>),
    /// It has ended.
    Ended(JobRef, Option<Box<HistoryRecord>>),
}

/// What happened to a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum MachineChange {
    /// It is there, or has changed.
    Put(Box<MachineInfo>),
    /// It is gone.
    Gone(MachineName),
}

/// What one commit, or one pass, changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Jobs, each once.
    pub jobs: Vec<JobChange>,
    /// Machines, each once.
    pub machines: Vec<MachineChange>,
}

impl Delta {
    pub(super) fn of(jobs: Vec<JobInfo>, machines: Vec<MachineInfo>) -> Self {
        Self {
            jobs: jobs
                .into_iter()
                .map(|job| JobChange::Put(Box::new(job)))
                .collect(),
            machines: machines
                .into_iter()
                .map(|machine| MachineChange::Put(Box::new(machine)))
                .collect(),
        }
    }
}

/// All that there was, and what comes.
#[derive(Debug)]
pub struct Watching {
    /// All that there was.
    pub first: Delta,
    /// Every later change. It closes when the leader goes; who lags too far behind is told so.
    pub changes: broadcast::Receiver<Arc<Delta>>,
}

/// Where changes are told.
#[derive(Debug)]
pub(in crate::leader) struct Feed {
    sender: broadcast::Sender<Arc<Delta>>,
    jobs: BTreeSet<JobRef>,
    machines: BTreeSet<MachineName>,
    ended: BTreeMap<JobRef, HistoryRecord>,
    kinds: BTreeMap<JobRef, Kind>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(DEPTH),
            jobs: BTreeSet::new(),
            machines: BTreeSet::new(),
            ended: BTreeMap::new(),
            kinds: BTreeMap::new(),
        }
    }
}

impl Feed {
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Delta>> {
        self.sender.subscribe()
    }

    fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Takes note of what a step changed. Costs nothing while nobody watches.
    pub fn note(&mut self, step: &Step) {
        if !self.is_heard() {
            return;
        }
        for change in &step.changes {
            match change {
                Change::PutJob(record) => drop(self.jobs.insert(record.job.clone())),
                Change::RemoveJob(job) => drop(self.jobs.insert(job.clone())),
                Change::PutMachine(record) => drop(self.machines.insert(record.name.clone())),
                Change::RemoveMachine(name) => drop(self.machines.insert(name.clone())),
                Change::PutBatch(batch) => {
                    self.machines
                        .extend(batch.members.iter().map(|member| member.name.clone()));
                }
                // Its members have become machines, or attempts that ended: these have changes of their own.
                Change::RemoveBatch(_)
                | Change::PutSpent(_)
                | Change::PutSpend(_)
                | Change::RemoveSpent(_)
                | Change::PutOrders(_)
                | Change::PutFormat(_) => {}
                Change::PutHistory(record) => {
                    self.ended.insert(record.job.clone(), record.clone());
                }
            }
        }
    }
}

impl Leader {
    /// Takes note of members of a batch that is about to be settled: some may leave no other trace.
    pub(in crate::leader) fn note_members(&mut self, batch: BatchId) {
        if self.feed.is_heard()
            && let Some(batch) = self.book.batches().get(&batch)
        {
            let names = batch.members.iter().map(|member| member.name.clone());
            self.feed.machines.extend(names);
        }
    }

    /// The kinds of reasons that a pass changed.
    pub(in crate::leader) fn note_reasons(&mut self) {
        if !self.feed.is_heard() {
            self.feed.kinds.clear();
            return;
        }
        let kinds: BTreeMap<JobRef, Kind> = self
            .shown
            .waiting
            .iter()
            .map(|(job, reason)| (job.clone(), reason.kind()))
            .collect();
        let changed = kinds
            .iter()
            .filter(|(job, kind)| self.feed.kinds.get(*job) != Some(kind))
            .map(|(job, _)| job.clone());
        self.feed.jobs.extend(changed);
        self.feed.kinds = kinds;
    }

    /// Tells those who watch what has changed; it is durable by now.
    pub(in crate::leader) fn tell_watchers(&mut self) {
        if self.feed.jobs.is_empty() && self.feed.machines.is_empty() {
            return;
        }
        let (jobs, machines) = (
            std::mem::take(&mut self.feed.jobs),
            std::mem::take(&mut self.feed.machines),
        );
        let mut ended = std::mem::take(&mut self.feed.ended);
        let reasons = self.reasons();
        let jobs = jobs.into_iter().map(|job| match self.book.jobs().get(&job) {
            Some(record) => JobChange::Put(Box::new(self.job_info(record, &reasons))),
            None => {
                let history = ended.remove(&job).map(Box::new);
                JobChange::Ended(job, history)
            }
        });
        let machines = machines.into_iter().map(|name| match self.machine_info(&name) {
            Some(machine) => MachineChange::Put(Box::new(machine)),
            None => MachineChange::Gone(name),
        });
        let delta = Delta {
            jobs: jobs.collect(),
            machines: machines.collect(),
        };
        // Without a receiver there is nobody to tell.
        let _ = self.feed.sender.send(Arc::new(delta));
    }
}
