use std::sync::atomic::Ordering;

use super::*;
use crate::testing::{ToldStore, Watching};

/// Looks at the roster in an hour of watching, and what became of the watcher.
async fn looks(watching: Watching) -> (usize, bool) {
    let store = Arc::new(ToldStore::default());
    *store.watching.lock().unwrap() = watching;
    let (inputs, mut received) = mpsc::channel(1);
    let tasks = Tasks::default();
    let asked: Arc<dyn Store> = store.clone();
    tasks.spawn("roster", watch(asked, inputs, Timing::default()));
    let hour = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
    let mut count = 0;
    while tokio::time::timeout_at(hour, received.recv()).await.is_ok() {
        count += 1;
    }
    assert!(store.looks.load(Ordering::Relaxed) - count <= 1);
    // Nobody listens any more: the watcher ends by itself.
    drop(received);
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let ended = Arc::strong_count(&store) == 1;
    (count, ended)
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_not_trusted_for_long() {
    assert_eq!(looks(Watching::Silence).await, (1800, true));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_at_once_does_not_make_us_ask_without_a_pause() {
    assert_eq!(looks(Watching::Broken).await, (18_000, true));
}
