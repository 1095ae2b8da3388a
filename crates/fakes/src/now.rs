//! Time as a value: every model call is handed the present, no model asks for it.

use std::time::Duration;

/// The present moment, as the skin (real time) or the virtual gear (virtual time) hands it to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic time since the fakes started. Deadlines and delays are computed from this.
    pub since_start: Duration,
    /// Wall time, nanoseconds since the Unix epoch. Only for timestamps that go out on the wire, and for
    /// windows that the real service aligns to the clock (rate quotas per synchronized minute).
    pub unix_ns: i128,
}

impl Now {
    /// A moment `since_start` after a start at wall time `started_unix_ns`.
    pub fn at(started_unix_ns: i128, since_start: Duration) -> Self {
        Self {
            since_start,
            unix_ns: started_unix_ns + since_start.as_nanos() as i128,
        }
    }
}
