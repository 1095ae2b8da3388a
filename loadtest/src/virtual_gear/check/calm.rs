//! Since when nothing is wrong but the product itself: bounds count only from there.

use std::{collections::BTreeSet, time::Duration};

use super::HostEvent;

/// Faults, their end, and which replicas run.
#[derive(Debug)]
pub(super) struct Calm {
    settle: Duration,
    faults: u64,
    last_fault: Duration,
    quiet: Option<Duration>,
    up: BTreeSet<usize>,
    /// When replicas last changed from none to some, or the other way.
    turned: Duration,
}

impl Calm {
    pub fn new(settle: Duration) -> Self {
        Self {
            settle,
            faults: 0,
            last_fault: Duration::ZERO,
            quiet: None,
            up: BTreeSet::new(),
            turned: Duration::ZERO,
        }
    }

    pub fn fault(&mut self, at: Duration) {
        self.faults += 1;
        self.last_fault = at;
    }

    pub fn quiet(&mut self, at: Duration) {
        self.quiet.get_or_insert(at);
    }

    pub fn host(&mut self, at: Duration, replica: usize, what: HostEvent) {
        let before = self.up.is_empty();
        match what {
            HostEvent::Started | HostEvent::Thawed => self.up.insert(replica),
            HostEvent::Crashed | HostEvent::Frozen => self.up.remove(&replica),
            HostEvent::Upgraded(_) => return,
        };
        if before != self.up.is_empty() {
            self.turned = at;
        }
    }

    /// When something went wrong last by `at`, or was put right.
    pub fn trouble(&self, at: Duration) -> Duration {
        let put_right = self.quiet.filter(|quiet| *quiet <= at && self.faults > 0);
        self.last_fault.max(put_right.unwrap_or_default())
    }

    /// No fault met anything so far.
    pub fn faultless(&self) -> bool {
        self.faults == 0
    }

    /// Since when the effects of faults are over; none while there may be more of them.
    pub fn since(&self) -> Option<Duration> {
        if self.faults == 0 {
            return Some(Duration::ZERO);
        }
        // A fault that meets something late was set before the quiet, and counts as much.
        self.quiet.map(|quiet| quiet.max(self.last_fault) + self.settle)
    }

    /// When something that is so since `since` is too long so, if nothing new goes wrong. None while a fault
    /// may still come.
    pub fn deadline(&self, since: Duration, bound: Duration) -> Option<Duration> {
        self.since().map(|calm| since.max(calm) + bound)
    }

    /// The same for what needs a replica that runs.
    pub fn deadline_with_replica(&self, since: Duration, bound: Duration) -> Option<Duration> {
        let deadline = self.deadline(since.max(self.turned), bound)?;
        (!self.up.is_empty()).then_some(deadline)
    }

    /// Calm for at least `bound` by now.
    pub fn lasts(&self, at: Duration, bound: Duration) -> bool {
        self.faults == 0 || self.since().is_some_and(|calm| at >= calm + bound)
    }
}
