//! The one clock. Monotonic time comes from the runtime (so tests can pause it), wall time is an anchor plus
//! monotonic time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use gust_core::time::Timestamp;
use tokio::time::Instant;

/// Tells the time. Clones share the anchor.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    /// Wall time at `start`, milliseconds since the Unix epoch.
    anchor: Arc<AtomicI64>,
    follows_system: bool,
}

impl Clock {
    /// A clock that follows the system's wall time.
    pub fn system() -> Self {
        let clock = Self {
            start: Instant::now(),
            anchor: Arc::default(),
            follows_system: true,
        };
        clock.reanchor();
        clock
    }

    /// A clock whose wall time at this moment is `start`, and which moves with the runtime's time alone.
    pub fn starting_at(start: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            anchor: Arc::new(AtomicI64::new(start.0)),
            follows_system: false,
        }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.anchor.load(Ordering::Relaxed)).after(self.start.elapsed())
    }

    /// The present in nanoseconds since the Unix epoch, for the commit journal.
    pub fn now_unix_ns(&self) -> u64 {
        let anchor = u64::try_from(self.anchor.load(Ordering::Relaxed)).unwrap_or(0);
        anchor * 1_000_000 + u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(0)
    }

    /// Monotonic time since the clock was made.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sets wall time, as an administrator does; monotonic time is not touched. A clock that follows the system
    /// goes back to the system's time when it is anchored next.
    pub fn set(&self, now: Timestamp) {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.anchor.store(now.0 - elapsed, Ordering::Relaxed);
    }

    /// Takes the system's wall time over again, where this clock follows it: monotonic time drifts, and stands
    /// still while a host is suspended.
    pub fn reanchor(&self) {
        if self.follows_system {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the one place that asks the system for wall time"
            )]
            let wall = std::time::SystemTime::now();
            let wall = wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
            let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
            self.anchor.store(wall - elapsed, Ordering::Relaxed);
        }
    }
}
