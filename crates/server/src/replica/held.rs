//! A lease that is held: shared by all that may act only while it is.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use gust_core::{
    mutant,
    ports::{Lease, LeaseError, LeaseId, Store},
    tenure::{Tenure, Timing},
};
use tokio::{sync::Notify, time::timeout};
use tracing::{debug, warn};

use crate::clock::Clock;

/// Tells whether a lease may still be believed in. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Held {
    clock: Clock,
    timing: Timing,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Milliseconds of the clock's monotonic time.
    until: AtomicU64,
    moved: Notify,
}

impl Held {
    /// A lease whose grant was asked for at `sent` (the clock's monotonic time).
    pub fn new(clock: &Clock, timing: Timing, sent: Duration, ttl: Duration) -> Self {
        let held = Self {
            clock: clock.clone(),
            timing,
            state: Arc::default(),
        };
        held.extend(sent, ttl);
        held
    }

    /// A lease that never lapses, for a replica that is alone.
    pub fn always(clock: &Clock) -> Self {
        Self::new(clock, Timing::default(), Duration::ZERO, Duration::MAX)
    }

    /// True while its holder may act.
    pub fn is_valid(&self) -> bool {
        // The mutant believes in a lease for as long as the process lives.
        mutant!("lease-believed") || self.tenure().holds(self.clock.elapsed())
    }

    /// Waits until it is not valid any more.
    pub async fn lapsed(&self) {
        if mutant!("lease-believed") {
            std::future::pending::<()>().await;
        }
        while self.is_valid() {
            let left = self.tenure().until().saturating_sub(self.clock.elapsed());
            // A sleep of centuries overflows some timers.
            let left = left.min(Duration::from_secs(86_400));
            tokio::select! {
                biased;
                () = self.state.moved.notified() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Returns at once while it is valid; otherwise once it is again: an answer that came late can show that the lease
    /// lives on. If none comes, whoever waits is ended by who keeps the lease.
    pub async fn permit(&self) {
        loop {
            let moved = self.state.moved.notified();
            if self.is_valid() || mutant!("owner-never-stops") {
                return;
            }
            moved.await;
        }
    }

    /// Goes on with a call only while the lease is valid. A permit at the beginning is not enough: a call can stand in line
    /// for its turn, and a process can stand still, until long after.
    pub async fn within<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        if mutant!("owner-never-stops") {
            return call.await;
        }
        loop {
            self.permit().await;
            // No timer: what is not polled does nothing.
            let turn = poll_fn(|cx| match self.is_valid() {
                true => call.as_mut().poll(cx).map(Some),
                false => Poll::Ready(None),
            });
            if let Some(reply) = turn.await {
                return reply;
            }
        }
    }

    /// It is over: nobody may act on it any more.
    pub fn give_up(&self) {
        self.state.until.store(0, Ordering::Relaxed);
        self.state.moved.notify_waiters();
    }

    fn tenure(&self) -> Tenure {
        Tenure::ending(Duration::from_millis(self.state.until.load(Ordering::Relaxed)))
    }

    fn extend(&self, sent: Duration, ttl: Duration) {
        let tenure = Tenure::renewed(&self.timing, sent, ttl);
        let until = u64::try_from(tenure.until().as_millis()).unwrap_or(u64::MAX);
        self.state.until.fetch_max(until, Ordering::Relaxed);
        if !gust_core::mutant!("late-renewal-untold") {
            self.state.moved.notify_waiters();
        }
    }

    /// Renews the lease until it is lost, and gives it up then. Never returns before.
    pub async fn keep(&self, store: &dyn Store, lease: LeaseId) {
        let mut next = self.timing.renew;
        loop {
            tokio::select! {
                biased;
                () = self.lapsed() => {
                    warn!(lease = lease.0, "a lease could not be renewed in time; all that hangs on it stops");
                    break;
                }
                () = tokio::time::sleep(next) => {}
            }
            // Monotonic time drifts: what shows or checks wall time follows the host's.
            self.clock.reanchor();
            let sent = self.clock.elapsed();
            match timeout(self.timing.call, store.renew(lease)).await {
                Ok(Ok(ttl)) => {
                    self.extend(sent, ttl);
                    next = self
                        .timing
                        .renew
                        .saturating_sub(self.clock.elapsed().saturating_sub(sent));
                }
                Ok(Err(LeaseError::Gone)) => {
                    warn!(lease = lease.0, "a lease has lapsed; all that hangs on it stops");
                    break;
                }
                Ok(Err(LeaseError::Unclear(message))) => {
                    debug!(lease = lease.0, message, "a lease was not renewed; tried again");
                    next = self.timing.retry;
                }
                Err(_) => next = Duration::ZERO,
            }
        }
        self.give_up();
    }
}

/// Asks for a lease, again and again.
pub(super) async fn grant(
    store: &dyn Store,
    clock: &Clock,
    timing: Timing,
    backoff: &mut crate::task::Backoff,
) -> (Lease, Held) {
    loop {
        let sent = clock.elapsed();
        match timeout(timing.call, store.grant(timing.ttl)).await {
            Ok(Ok(lease)) => {
                let held = Held::new(clock, timing, sent, lease.ttl);
                return (lease, held);
            }
            Ok(Err(error)) => warn!(
                error = crate::error_chain(&error),
                "no lease was granted; tried again"
            ),
            Err(_) => warn!("the store did not answer; tried again"),
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

#[cfg(test)]
mod tests;
