//! What the records become when Google takes machines back, and when the jobs come again.

use super::Step;
use crate::{
    ids::{JobId, JobRef, MachineName},
    ports::{CommitPhase, ListedJob},
    records::{Awaited, Book, Change, JobPhase, JobRecord, KeyHash, MachinePhase, Preempted, SpentRecord},
    time::Timestamp,
};

/// The guest says that Google takes its machine back. `None` unless it is the machine and key that claimed the job, and
/// says it for the first time.
pub fn reclaimed(book: &Book, name: &MachineName, key: &KeyHash, now: Timestamp) -> Option<Step> {
    let machine = book.machines().get(name)?;
    let MachinePhase::Claimed(claim) = &machine.phase else {
        return None;
    };
    let record = book.jobs().get(&claim.job)?;
    let is_its = matches!(&record.phase, JobPhase::Claimed { machine, .. } if machine == name);
    (claim.key == *key && is_its)
        .then(|| preempted(record, true, now))
        .flatten()
}

/// The record of a preempted job; `None` if it says so already, or the job had no machine.
pub(super) fn preempted(record: &JobRecord, told: bool, now: Timestamp) -> Option<Step> {
    let claimed_at = record.claimed_at()?;
    if record.preemption.preempted.is_some() {
        return None;
    }
    let mut record = record.clone();
    record.preemption.preempted = Some(Preempted {
        at: now,
        after_ms: u64::try_from(now.since(claimed_at).as_millis()).unwrap_or(u64::MAX),
        told,
        asked: None,
        retried_in: None,
        recognized: false,
    });
    Some(put(record))
}

fn put(record: JobRecord) -> Step {
    Step {
        phase: CommitPhase::Resolved,
        changes: vec![Change::PutJob(record)],
    }
}

/// That Buildkite is asked to run a preempted job again; `None` if that is recorded, or nobody would know why to ask.
pub fn asked_again(book: &Book, job: &JobRef, now: Timestamp) -> Option<Step> {
    let mut record = book.jobs().get(job)?.clone();
    let preempted = record.preemption.preempted.as_mut()?;
    if preempted.asked.is_some() || preempted.retried_in.is_some() {
        return None;
    }
    preempted.asked = Some(now);
    Some(put(record))
}

/// Buildkite has told which job runs in the place of a preempted one, which may have been booked before.
pub fn retried(book: &Book, job: &JobRef, new: JobId) -> Option<Step> {
    let mut record = book.jobs().get(job)?.clone();
    let preempted = record.preemption.preempted.as_mut()?;
    if preempted.retried_in.is_some() {
        return None;
    }
    preempted.retried_in = Some(new);
    let there = JobRef {
        source: job.source.clone(),
        id: new,
    };
    let mut changes = Vec::new();
    if let Some(booked) = book.jobs().get(&there) {
        let mut booked = booked.clone();
        booked.preemption.retry_of = Some(job.id);
        preempted.recognized = true;
        changes.push(Change::PutJob(booked));
    }
    changes.push(Change::PutJob(record));
    Some(Step {
        phase: CommitPhase::Resolved,
        changes,
    })
}

/// What is kept of a preempted job that leaves, so that the one that runs its step again is recognized.
pub(super) fn awaited(record: &JobRecord) -> Option<Awaited> {
    let claimed_at = record.claimed_at()?;
    record.preemption.is_awaited().then(|| Awaited {
        facts: record.facts.clone(),
        claimed_at,
        retried_in: record.preemption.preempted.as_ref().and_then(|it| it.retried_in),
    })
}

/// The preempted jobs for which no other has been booked yet.
pub(super) struct Awaiting<'a> {
    book: &'a Book,
    /// Those that are still booked themselves.
    booked: Vec<(&'a JobRecord, Awaited)>,
    /// Jobs that have been recognized meanwhile.
    found: Vec<JobRef>,
}

impl<'a> Awaiting<'a> {
    pub fn new(book: &'a Book) -> Self {
        let those = book.jobs().values();
        Self {
            book,
            booked: those.filter_map(|job| Some((job, awaited(job)?))).collect(),
            found: Vec::new(),
        }
    }

    /// The preempted job that a listed one runs again, and the record that says so. Each is found once.
    pub fn find(&mut self, job: &JobRef, listed: &ListedJob) -> Option<(JobRef, Change)> {
        let here = self.booked.iter().find(|(old, awaited)| {
            let is_free = old.job.source == job.source && !self.found.contains(&old.job);
            is_free && awaited.is(job.id, &listed.facts)
        });
        let (old, change) = if let Some((record, _)) = here {
            let mut record = (*record).clone();
            if let Some(preempted) = &mut record.preemption.preempted {
                (preempted.retried_in, preempted.recognized) = (Some(job.id), true);
            }
            (record.job.clone(), Change::PutJob(record))
        } else {
            let spent = self.book.spent().awaits(job, &listed.facts)?;
            let spent = SpentRecord {
                awaited: None,
                ..spent.clone()
            };
            (spent.job.clone(), Change::PutSpent(spent))
        };
        if self.found.contains(&old) {
            return None;
        }
        self.found.push(old.clone());
        Some((old, change))
    }
}
