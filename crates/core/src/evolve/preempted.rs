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
        guessed: false,
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
    if preempted.asked.is_some() || preempted.told_retry().is_some() {
        return None;
    }
    preempted.asked = Some(now);
    Some(put(record))
}

/// Buildkite has told which job runs in the place of a preempted one, which may have been booked before. One that was
/// taken for it is so no longer.
pub fn retried(book: &Book, job: &JobRef, new: JobId) -> Option<Step> {
    let mut record = book.jobs().get(job)?.clone();
    let preempted = record.preemption.preempted.as_mut()?;
    if preempted.told_retry().is_some() {
        return None;
    }
    let guess = preempted.retried_in.filter(|guess| *guess != new);
    (preempted.retried_in, preempted.guessed) = (Some(new), false);
    let booked = |id: JobId| {
        let there = JobRef {
            source: job.source.clone(),
            id,
        };
        book.jobs().get(&there).cloned()
    };
    let mut changes = Vec::new();
    if let Some(mut other) = guess.and_then(booked)
        && other.preemption.retry_of == Some(job.id)
    {
        other.preemption.retry_of = None;
        changes.push(Change::PutJob(other));
    }
    let there = booked(new);
    preempted.recognized = there.is_some();
    if let Some(mut there) = there {
        there.preemption.retry_of = Some(job.id);
        changes.push(Change::PutJob(there));
    }
    changes.push(Change::PutJob(record));
    Some(Step {
        phase: CommitPhase::Resolved,
        changes,
    })
}

/// Buildkite has told that nothing runs in the place of a preempted job: it passed all the same.
pub fn needless(book: &Book, job: &JobRef) -> Option<Step> {
    let mut record = book.jobs().get(job)?.clone();
    let preempted = record.preemption.preempted.as_mut()?;
    let is_news = !std::mem::replace(&mut preempted.recognized, true);
    is_news.then(|| put(record))
}

/// What is kept of a preempted job that leaves, so that the one that runs its step again is recognized.
pub(super) fn awaited(record: &JobRecord) -> Option<Awaited> {
    let claimed_at = record.claimed_at()?;
    record.preemption.is_awaited().then(|| Awaited {
        facts: record.facts.clone(),
        claimed_at,
        retried_in: record
            .preemption
            .preempted
            .as_ref()
            .and_then(Preempted::told_retry),
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

    /// The preempted job that a listed one runs again, and the record that says so. Each is found once. What Buildkite has
    /// told comes first: several jobs of a step may have been preempted, and but for that they are alike.
    pub fn find(&mut self, job: &JobRef, listed: &ListedJob) -> Option<(JobRef, Change)> {
        let told = |awaited: &Awaited| awaited.retried_in == Some(job.id);
        let alike = |awaited: &Awaited| awaited.is(job.id, &listed.facts);
        let (old, change) = self
            .among_booked(job, told)
            .or_else(|| self.among_spent(job, listed, told))
            .or_else(|| self.among_booked(job, alike))
            .or_else(|| self.among_spent(job, listed, alike))?;
        self.found.push(old.clone());
        Some((old, change))
    }

    fn among_booked(&self, job: &JobRef, is: impl Fn(&Awaited) -> bool) -> Option<(JobRef, Change)> {
        let (record, _) = self.booked.iter().find(|(old, awaited)| {
            let is_free = old.job.source == job.source && !self.found.contains(&old.job);
            is_free && is(awaited)
        })?;
        let mut record = (*record).clone();
        if let Some(preempted) = &mut record.preemption.preempted {
            preempted.guessed = preempted.told_retry() != Some(job.id);
            (preempted.retried_in, preempted.recognized) = (Some(job.id), true);
        }
        Some((record.job.clone(), Change::PutJob(record)))
    }

    fn among_spent(
        &self,
        job: &JobRef,
        listed: &ListedJob,
        is: impl Fn(&Awaited) -> bool,
    ) -> Option<(JobRef, Change)> {
        let mut those = self.book.spent().awaiting(&job.source, &listed.facts);
        let (spent, _) = those.find(|(old, awaited)| !self.found.contains(&old.job) && is(awaited))?;
        let spent = SpentRecord {
            awaited: None,
            ..spent.clone()
        };
        Some((spent.job.clone(), Change::PutSpent(spent)))
    }
}
