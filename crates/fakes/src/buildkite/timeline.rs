//! The timeline of a job: what happened to it, in the order it happened, as people and the GraphQL API see it.
//!
//! The event log is the witness of checks; this is what Buildkite itself shows of a job.

use uuid::Uuid;

use super::ids::JobKey;
use super::job::{Job, State};
use super::model::Model;
use crate::now::Now;

/// One entry of a job's timeline.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Wall time, nanoseconds since the epoch; that of a notification is the one the stack gave.
    pub(super) at: i128,
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The job came into a state.
    State {
        from: Option<State>,
        to: State,
        cause: Box<str>,
    },
    /// Somebody asked for its end.
    CancelAsked,
    /// A stack told something: the place among the job's notifications.
    Notified(usize),
    /// A stack ended it: what it gave as detail.
    StackEnded(Box<str>),
    /// It was run again in another job.
    Retried(JobKey),
    /// Its priority changed.
    Reprioritized(i64, i64),
}

impl Job {
    /// The timeline's entry is made; the entries stay in the order in which they were made.
    pub(super) fn remember(&mut self, now: Now, what: What) {
        self.timeline.push(Moment {
            at: now.unix_ns,
            what,
        });
    }

    /// The UUID of an entry: always the same one, and drawn from no random source.
    pub(super) fn moment_uuid(&self, index: usize) -> Uuid {
        Uuid::new_v5(&self.uuid, &(index as u64).to_be_bytes())
    }
}

impl Model {
    /// When the job came into a state for the last time.
    pub(super) fn entered_at(&self, key: JobKey, state: State) -> Option<i128> {
        let moments = self.jobs[key.0].timeline.iter().rev();
        moments
            .filter(|moment| matches!(&moment.what, What::State { to, .. } if *to == state))
            .map(|moment| moment.at)
            .next()
    }
}
