//! The clock of the skin: the only place of this crate that asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::now::Now;

/// Wall time is read once, at the start; from there on monotonic time (tokio's, so that tests may pause it).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_unix_ns: i128,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "the one clock of the fakes")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix_ns: wall.as_nanos() as i128,
        }
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now::at(self.started_unix_ns, self.started.elapsed())
    }

    /// Wall time of the start, nanoseconds since the Unix epoch.
    pub fn started_unix_ns(&self) -> i128 {
        self.started_unix_ns
    }

    /// Sleeps until that moment since start.
    pub async fn sleep_until(&self, since_start: Duration) {
        tokio::time::sleep_until(self.started + since_start).await;
    }
}
