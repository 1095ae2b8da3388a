//! What gust says about itself, on stderr where `RUST_LOG` asks for it. No check reads it: it is for people who
//! look into a run.

use std::{cell::Cell, fmt};

use tokio::time::Instant;
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

thread_local! {
    /// When the virtual world of this thread began.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets gust speak if `RUST_LOG` is set, in the form of tracing's filters.
pub fn listen() {
    let Ok(filter) = EnvFilter::try_from_default_env() else {
        return;
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(VirtualTime)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
}

/// From now on lines of this thread bear the time since this moment.
pub(crate) fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Seconds since the world began, as in a timeline. Nothing outside of a world.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match BEGAN.get() {
            Some(began) => write!(writer, "{:>10.3} s ", began.elapsed().as_secs_f64()),
            None => Ok(()),
        }
    }
}
