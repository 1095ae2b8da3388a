//! A door that opens once. Who waits before it goes on in the order in which it came.
//!
//! `tokio::sync::watch` would do, but it wakes its waiters in a random order that no seed governs: where several
//! tasks wait for the same thing, the same seed would not give the same run.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Opens once, and stays open.
#[derive(Debug, Default)]
pub struct Latch {
    is_open: AtomicBool,
    opened: Notify,
}

impl Latch {
    /// Opens it: all who wait go on.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        self.opened.notify_waiters();
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // Made before the look, so that an opening between the two is not missed.
        let opened = self.opened.notified();
        if !self.is_open.load(Ordering::Acquire) {
            opened.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;
    use crate::task::Tasks;

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_in_the_order_of_coming() {
        let latch = Arc::new(Latch::default());
        let passed = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::default();
        for n in 0..100 {
            let (latch, passed) = (Arc::clone(&latch), Arc::clone(&passed));
            tasks.spawn("waiter", async move {
                latch.passed().await;
                passed.lock().unwrap().push(n);
            });
        }
        // Time moves on once everybody waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(passed.lock().unwrap().is_empty());
        latch.open();
        // Who comes late does not wait at all.
        latch.passed().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(*passed.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }
}
