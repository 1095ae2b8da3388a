//! A follower that may be elected any moment makes ready what a leader needs first.

use std::sync::Arc;

use gust_core::ports::Store;
use tracing::debug;

use crate::leader::{self, Planner};

/// Plans made before others get a turn.
const TURN: usize = 32;

/// Plans all booked jobs: plans stay, so that who leads next need not make them while nothing is placed.
pub(super) async fn warm(store: Arc<dyn Store>, planner: Arc<dyn Planner>) {
    // Whatever is wrong with the records, who leads will say it.
    let Ok(book) = leader::load(&*store).await else {
        return;
    };
    for (nth, job) in book.jobs().values().enumerate() {
        let _made = planner.plan(&job.job.source, &job.facts.rules);
        if nth % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    debug!(jobs = book.jobs().len(), "ready to lead");
}
