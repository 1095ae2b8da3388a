//! What was done to a fleet, and when: the checker has to know since when nothing is wrong but gust itself.

use crate::{
    virtual_gear::check::HostEvent,
    wire::{fleet::Fleet, processes::wall_ns},
};

/// Something that the harness did.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Deed {
    /// When, in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// What.
    pub done: Done,
}

/// What was done.
#[derive(Clone, Debug)]
pub(in crate::wire) enum Done {
    /// A replica's processes began, ended, or were stopped and continued.
    Host(usize, HostEvent),
    /// A fault is about to strike, or has ended: this one.
    Fault(String),
    /// No fault will be done any more.
    Quiet,
}

impl Fleet {
    /// Something was done now.
    pub(in crate::wire) fn did(&mut self, done: Done) {
        let unix_ns = wall_ns();
        self.deeds.push(Deed { unix_ns, done });
    }

    /// Something became of a replica now.
    pub(super) fn became(&mut self, nth: usize, what: HostEvent) {
        self.did(Done::Host(nth, what));
    }

    /// All that was done so far, in order.
    pub(in crate::wire) fn deeds(&self) -> &[Deed] {
        &self.deeds
    }
}
