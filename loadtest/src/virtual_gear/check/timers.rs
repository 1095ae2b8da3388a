//! What must have happened by some time.

use std::{collections::BTreeSet, time::Duration};

use gust_core::reason::Kind;

use super::seen::{JobIx, MachineIx};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A machine without a record.
    Stray(MachineIx),
    /// A machine whose job ended then.
    Billing(MachineIx, Duration),
    /// The first job was passed over for the second at that revision, in that term.
    Passed(JobIx, JobIx, u64, u64),
    /// A job of which Buildkite said something that needs to be heeded.
    Heeded(JobIx),
    /// A booked job, which needs a reason.
    Reason(JobIx),
    /// A job whose reason became of this kind at that time: is what it names there?
    True(JobIx, Kind, Duration),
    /// The same: was it told?
    Told(JobIx, Kind, Duration),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Duration, Timer)>,
}

/// How long to wait before looking again at what cannot be judged yet.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

impl Timers {
    pub fn set(&mut self, at: Duration, timer: Timer) {
        self.due.insert((at, timer));
    }

    /// Takes the earliest that is due before `at`.
    pub fn pop(&mut self, at: Duration) -> Option<(Duration, Timer)> {
        let first = self.due.first().copied().filter(|(due, _)| *due < at)?;
        self.due.pop_first();
        Some(first)
    }
}
