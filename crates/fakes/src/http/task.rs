//! The one place where tasks start.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::{Instrument, info_span};

/// Starts a named task. Its end means nothing to the others: a connection that closed, or the process ending.
#[expect(clippy::disallowed_methods, reason = "this is the helper that names tasks")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.instrument(info_span!("task", name)))
}
