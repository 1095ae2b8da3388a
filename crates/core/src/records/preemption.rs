//! A job whose Spot machine Google took back while it ran, and the job that runs in its place.

use serde::{Deserialize, Serialize};

use crate::{ids::JobId, records::JobFacts, time::Timestamp};

/// What preemptions have to do with a job; nothing for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preemption {
    /// The Spot machine that had the job is gone; whether the job was still running then, Buildkite tells.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lost_spot: bool,
    /// Its machine was taken back while it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preempted: Option<Preempted>,
    /// The preempted job that it runs again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
}

/// Google took the job's machine back while the job ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preempted {
    /// When gust learned of it.
    pub at: Timestamp,
    /// For how long the job had had its machine, in milliseconds.
    pub after_ms: u64,
    /// The guest was told by Google and said so. Else the Spot machine is gone while Buildkite still takes the job for
    /// running, which has hardly another cause.
    pub told: bool,
    /// When it was recorded that gust asks Buildkite to run it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
    /// The job that runs in its place, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_in: Option<JobId>,
    /// Buildkite has not told that job: it was recognized by what it is, as another one might be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guessed: bool,
    /// That job has been booked, and knows what it runs again; or none is to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recognized: bool,
}

/// A preempted job that has left, for the one that may come in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// What Buildkite said about it.
    pub facts: JobFacts,
    /// When its machine claimed it.
    pub claimed_at: Timestamp,
    /// The job that runs in its place, where Buildkite has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_in: Option<JobId>,
}

impl Awaited {
    /// Whether this is the job that runs in its place.
    pub fn is(&self, id: JobId, facts: &JobFacts) -> bool {
        match self.retried_in {
            Some(told) => told == id,
            None => runs_again(facts, &self.facts, self.claimed_at),
        }
    }
}

impl Preempted {
    /// The job that runs in its place, if Buildkite has told.
    pub fn told_retry(&self) -> Option<JobId> {
        self.retried_in.filter(|_| !self.guessed)
    }
}

impl Preemption {
    /// True if there is nothing to tell.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// True if it was preempted, and the job that runs in its place has not been booked yet.
    pub fn is_awaited(&self) -> bool {
        self.preempted.as_ref().is_some_and(|it| !it.recognized)
    }
}

/// Whether a job is one that runs the step of another one again: of the same build and step, with the same tags, and
/// runnable only after the other one had its machine. Jobs of a step that runs in parallel have all of that in common
/// but the last.
pub fn runs_again(new: &JobFacts, old: &JobFacts, old_claimed_at: Timestamp) -> bool {
    new.build != 0
        && !new.pipeline.is_empty()
        && (new.build, &new.pipeline, &new.queue) == (old.build, &old.pipeline, &old.queue)
        && (&new.step, &new.rules) == (&old.step, &old.rules)
        && new.runnable_at > old_claimed_at
}

/// What tells builds and their steps apart, for an index.
pub(super) type StepKey = (String, u64, Option<String>);

pub(super) fn step_key(facts: &JobFacts) -> StepKey {
    (facts.pipeline.clone(), facts.build, facts.step.clone())
}
