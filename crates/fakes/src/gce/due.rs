//! What is due when.

use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happens by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// An operation begins.
    OperationStart(u64),
    /// An operation that is about no machine's state ends.
    OperationEnd(u64),
    /// The insert of one machine fails.
    InsertFails(u64),
    /// A machine goes on to its next state, if it is still in this turn.
    NextState { instance: u64, turn: u32 },
    /// The guest program starts, if it is still this turn.
    GuestStart { instance: u64, turn: u32 },
    /// The maintenance that this operation gave notice of takes place.
    Maintenance(u64),
    /// The run time is over, if it is still this turn.
    RunOver { instance: u64, turn: u32 },
}

/// Everything due, in order of time and then of scheduling.
#[derive(Debug, Default)]
pub(super) struct Queue {
    queue: BTreeMap<(Duration, u64), Due>,
    scheduled: u64,
}

impl Queue {
    pub fn push(&mut self, at: Duration, due: Due) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), due);
    }

    /// The next thing that is due by `now`, with the moment it was due.
    pub fn pop(&mut self, now: Duration) -> Option<(Duration, Due)> {
        let (&key, _) = self.queue.first_key_value().filter(|((at, _), _)| *at <= now)?;
        self.queue.remove(&key).map(|due| (key.0, due))
    }

    pub fn next(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }
}
