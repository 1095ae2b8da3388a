//! What the leader shows to whoever asks: the admin API, the dashboard, the simulation's checker.

use gust_core::{
    ids::{JobRef, Term},
    reason::Reason,
    time::Timestamp,
};

/// The state of things after a pass. What it says of records is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// The leader's term.
    pub term: Term,
    /// When the pass was held.
    pub at: Timestamp,
    /// False while something has not been loaded since the term began: nothing is decided then.
    pub decides: bool,
    /// What that is.
    pub missing: Vec<String>,
    /// Why each waiting job waits, most urgent first.
    pub waiting: Vec<(JobRef, Reason)>,
}
