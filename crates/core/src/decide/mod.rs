//! The decision: one synchronous function from a [`Snapshot`] to a list of actions and a reason for every
//! job that waits. No I/O, no clock, no randomness: the same snapshot gives the same decision.

mod action;
mod board;
mod call;
mod capped;
mod caps;
mod cover;
mod flexible;
mod gates;
mod outlook;
mod place;
mod progress;
mod retire;
mod slots;
mod triage;

pub use action::{Action, Decision};
pub use outlook::{Outlook, outlook};
pub(crate) use triage::may_wait;

use crate::snapshot::Snapshot;

/// Decides what to do now.
///
/// # Guarantees
/// Every action is idempotent, and a second call over the first one's result asks for nothing more. Every
/// booked job that has not been given a machine either gets an action or a reason, mostly both.
pub fn decide(snapshot: &Snapshot<'_>) -> Decision {
    let mut decision = Decision::default();
    triage::book(snapshot, &mut decision);
    let waiting = triage::triage(snapshot, &mut decision);
    let cover = cover::cover(snapshot, &waiting);
    retire::retire(snapshot, &cover, &mut decision);
    place::place(snapshot, &waiting, &cover, &mut decision);
    decision
}

#[cfg(test)]
pub(crate) mod tests;
