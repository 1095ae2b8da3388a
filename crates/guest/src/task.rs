//! Tasks beside the main one. They end with their guard.

use tokio::task::JoinHandle;

/// Ends the task when dropped.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub(crate) struct Background(JoinHandle<()>);

/// Starts a task that nobody waits for: its end means nothing, and it never outlives its guard.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that spawns; the name is in the span, the end is the guard's"
)]
pub(crate) fn background(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Background {
    use tracing::Instrument as _;
    Background(tokio::spawn(work.instrument(tracing::info_span!("task", name))))
}

impl Background {
    /// Waits for its end.
    pub(crate) async fn ended(mut self) {
        // A task that panicked has ended, too.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
