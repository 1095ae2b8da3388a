//! What the model wants done on the machines. Whoever runs machines (processes, or the load test's simulated
//! ones) takes these after each call and tick; in mode `none` nobody wants them.

use std::time::Duration;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The instance has booted: start the guest program.
    Start {
        /// The instance.
        instance: u64,
        /// The turn of its life, to be named when the guest ends.
        turn: u32,
    },
    /// Power off: ask the guest to end, and kill it after the grace.
    Stop {
        /// The instance.
        instance: u64,
        /// Until it is killed.
        grace: Duration,
    },
    /// Kill the guest at once.
    Kill {
        /// The instance.
        instance: u64,
    },
    /// Stop the guest in its tracks.
    Freeze {
        /// The instance.
        instance: u64,
    },
}
