//! How far a long command has come, on stderr: one line that changes where somebody looks on, a line now and
//! then where it goes to a file.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Between two lines for somebody who looks on, and for a file.
const EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Shows lines, not too many.
pub(super) struct Progress {
    clock: Stopwatch,
    last: Mutex<Duration>,
    is_watched: bool,
}

impl Progress {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            clock: Stopwatch::start(),
            last: Mutex::new(Duration::ZERO),
            is_watched: std::io::stderr().is_terminal(),
        }
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Shows a line, if it is time for one.
    pub fn show(&self, line: impl FnOnce(Duration) -> String) {
        let now = self.elapsed();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let every = if self.is_watched { EVERY.0 } else { EVERY.1 };
        if now.saturating_sub(*last) < every {
            return;
        }
        *last = now;
        let line = line(now);
        // Nobody misses a progress line that cannot be shown.
        let _ = if self.is_watched {
            write!(std::io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        self.clear();
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Takes the changing line away.
    pub fn clear(&self) {
        if self.is_watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Real time, for rates.
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "rates of the report are about real time"
    )]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since it started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
