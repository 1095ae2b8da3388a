//! A follower that may be elected any moment keeps ready what a leader needs first.

use std::{sync::Arc, time::Duration};

use gust_core::{ports::Store, records::Format};
use tokio::{sync::Notify, time::timeout};
use tracing::debug;

use crate::{
    leader::{self, Planner},
    task::Dice,
};

/// Between two looks. Each costs a list of all keys, and what has changed since the last.
const TURN: Duration = Duration::from_secs(10);
/// Plans made before others get a turn.
const PLANS: usize = 32;

/// What a follower needs to stand by.
pub(super) struct StandBy {
    pub store: Arc<dyn Store>,
    pub planner: Arc<dyn Planner>,
    pub dice: Dice,
    /// The form in which this build writes records.
    pub format: Format,
    /// Whoever leads is about to leave.
    pub leaving: Arc<Notify>,
}

impl StandBy {
    /// Loads the records now and then, of which the store keeps what it needs to load them sooner, and plans all booked
    /// jobs: plans stay, so that who leads next need not make them while nothing is placed.
    pub async fn stay(self) {
        loop {
            self.look().await;
            let wait = TURN.mul_f64(0.75 + self.dice.fraction() / 2.0);
            // It has left, or gets on with it: either way it is the last look that counts.
            let _ = timeout(wait, self.leaving.notified()).await;
        }
    }

    async fn look(&self) {
        // Whatever is wrong with the records, who leads will say it.
        let Ok(book) = leader::load(&*self.store, self.format).await else {
            return;
        };
        for (nth, job) in book.jobs().values().enumerate() {
            let _made = self.planner.plan(job);
            if nth % PLANS == 0 {
                tokio::task::yield_now().await;
            }
        }
        debug!(jobs = book.jobs().len(), "ready to lead");
    }
}
