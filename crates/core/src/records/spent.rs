//! Which attempts were used up for jobs that left and may come back.
//!
//! Names of machines are never used again, and a name is a job and an attempt. As long as a job is recorded, its
//! record counts them. A job that Buildkite does not know for a while, or that another agent took and lost, has
//! its record closed and may be listed again much later: what is kept here says where its attempts go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{JobRef, SourceName},
    records::{
        Awaited, JobFacts,
        preemption::{StepKey, step_key},
    },
    time::Timestamp,
};

/// The attempts of one job that left. Key: `spent/<source>/<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentRecord {
    /// The job.
    pub job: JobRef,
    /// The highest attempt for which a machine was ever asked.
    pub attempts: u32,
    /// When its record was closed.
    pub ended_at: Timestamp,
    /// It was preempted: the job that runs its step again is to be recognized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
}

impl SpentRecord {
    /// After this time a job no longer comes back: Buildkite expires what nobody took within 30 days at most.
    pub const AGE: Duration = Duration::from_hours(30 * 24);
    /// Most that are kept. The oldest go first: by then their machines have been gone for long.
    pub const MOST: usize = 20_000;
}

/// All of them, by job and by the time of their end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    by_job: BTreeMap<JobRef, SpentRecord>,
    by_end: BTreeSet<(Timestamp, JobRef)>,
    by_step: BTreeMap<StepKey, BTreeSet<JobRef>>,
}

impl Spent {
    /// The highest attempt that was used up for this job before it left; zero if nothing is known.
    pub fn attempts(&self, job: &JobRef) -> u32 {
        self.by_job.get(job).map_or(0, |record| record.attempts)
    }

    /// The preempted jobs of a step that have left, each with what it waits for.
    pub fn awaiting<'a>(
        &'a self,
        source: &'a SourceName,
        facts: &JobFacts,
    ) -> impl Iterator<Item = (&'a SpentRecord, &'a Awaited)> {
        let of_step = self.by_step.get(&step_key(facts)).into_iter().flatten();
        let those = of_step.filter(move |old| old.source == *source);
        those.filter_map(|old| {
            let record = self.by_job.get(old)?;
            Some((record, record.awaited.as_ref()?))
        })
    }

    /// True if something is kept of this job.
    pub fn knows(&self, job: &JobRef) -> bool {
        self.by_job.contains_key(job)
    }

    /// The few that are too old or too many once one more is added, oldest first. Two at most: so each addition
    /// makes up for itself and for one of before, and none is ever a long one.
    pub fn outlived(&self, now: Timestamp) -> impl Iterator<Item = &JobRef> {
        let surplus = (self.by_job.len() + 1).saturating_sub(SpentRecord::MOST);
        let oldest = self.by_end.iter().take(2).enumerate();
        oldest
            .filter(move |(n, (ended_at, _))| *n < surplus || now.since(*ended_at) > SpentRecord::AGE)
            .map(|(_, (_, job))| job)
    }

    pub(super) fn put(&mut self, record: &SpentRecord) {
        self.remove(&record.job);
        self.by_end.insert((record.ended_at, record.job.clone()));
        if let Some(awaited) = &record.awaited {
            let of_step = self.by_step.entry(step_key(&awaited.facts)).or_default();
            of_step.insert(record.job.clone());
        }
        self.by_job.insert(record.job.clone(), record.clone());
    }

    pub(super) fn remove(&mut self, job: &JobRef) {
        if let Some(record) = self.by_job.remove(job) {
            if let Some(key) = record.awaited.as_ref().map(|awaited| step_key(&awaited.facts))
                && let Some(of_step) = self.by_step.get_mut(&key)
            {
                of_step.remove(job);
                if of_step.is_empty() {
                    self.by_step.remove(&key);
                }
            }
            self.by_end.remove(&(record.ended_at, record.job));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::JobId;

    fn record(n: usize, ended_at: i64) -> SpentRecord {
        SpentRecord {
            job: JobRef {
                source: "bk".into(),
                id: JobId(Uuid::from_u128(n as u128)),
            },
            attempts: 2,
            ended_at: Timestamp(ended_at),
            awaited: None,
        }
    }

    fn outlived(spent: &Spent, now: Timestamp) -> Vec<JobRef> {
        spent.outlived(now).cloned().collect()
    }

    #[test]
    fn what_is_kept_is_bounded_in_count() {
        let mut spent = Spent::default();
        for n in 0..SpentRecord::MOST + 100 {
            let now = Timestamp(n as i64);
            for job in outlived(&spent, now) {
                spent.remove(&job);
            }
            spent.put(&record(n, now.0));
        }
        assert_eq!(spent.by_job.len(), SpentRecord::MOST);
        assert_eq!(spent.by_end.len(), SpentRecord::MOST);
        assert_eq!(spent.attempts(&record(99, 0).job), 0, "the oldest went");
        assert_eq!(spent.attempts(&record(100, 0).job), 2);
    }

    #[test]
    fn what_is_kept_is_bounded_in_age() {
        let age = i64::try_from(SpentRecord::AGE.as_millis()).expect("fits");
        let mut spent = Spent::default();
        for n in 0..3 {
            spent.put(&record(n, 0));
        }
        assert_eq!(outlived(&spent, Timestamp(age)), []);
        let two = vec![record(0, 0).job, record(1, 0).job];
        assert_eq!(outlived(&spent, Timestamp(age + 1)), two, "two at a time");
    }

    #[test]
    fn a_repeat_replaces() {
        let mut spent = Spent::default();
        spent.put(&record(1, 5));
        spent.put(&record(1, 9));
        assert_eq!((spent.by_job.len(), spent.by_end.len()), (1, 1));
        spent.remove(&record(1, 0).job);
        assert_eq!(spent, Spent::default());
    }
}
