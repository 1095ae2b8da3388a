//! What the product shows after a pass.

use gust_core::{
    ids::{JobRef, Term},
    reason::Reason,
    time::Timestamp,
};

/// What the admin surface of a leader shows.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its term.
    pub term: Term,
    /// When the pass was made, by the replica's own clock.
    pub at: Timestamp,
    /// Why each waiting job waits.
    pub waiting: Vec<(JobRef, Reason)>,
    /// Whether it has loaded all it needs to decide.
    pub decides: bool,
}
