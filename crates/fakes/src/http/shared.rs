//! The world under its lock, and the signal that the log grew.
//!
//! **Guarantees.** Every act sees a world in which all that was due is done, and its events are in the log
//! before anyone else sees its effect. The lock is never held over an await.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::event::Effects;
use crate::http::clock::Clock;
use crate::now::Now;
use crate::world::World;

/// A handle on the world; clones share it.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    clock: Clock,
    grown: watch::Sender<u64>,
    stirred: Notify,
    posted: watch::Sender<()>,
}

impl Shared {
    /// Puts a world under a lock.
    pub fn new(world: World, clock: Clock) -> Self {
        let grown = watch::Sender::new(0);
        Self(Arc::new(Inner {
            world: Mutex::new(world),
            clock,
            grown,
            stirred: Notify::new(),
            posted: watch::Sender::new(()),
        }))
    }

    /// The clock of this world.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Runs one act in one critical section: first what is due, then the act, then its events go into the log
    /// (with `caller`, where a request caused them).
    pub fn with<T>(&self, caller: Option<&str>, act: impl FnOnce(&mut World, Now, &mut Effects) -> T) -> T {
        // A panic of an earlier act left the world as it was at that point; tests rather see the rest of it.
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.0.clock.now();
        let mut out = Effects::default();
        let due = world.next_due();
        let parcel = world.outbox.next_due();
        if due.is_some_and(|due| due <= now.since_start) {
            world.tick(now, &mut out);
            world.post(now, &mut out);
            world.log.append(now, &mut out);
        }
        let value = act(&mut world, now, &mut out);
        world.post(now, &mut out);
        if let Some(caller) = caller {
            out.stamp_caller(caller);
        }
        world.log.append(now, &mut out);
        let length = world.log.len();
        let sooner = match (due, world.next_due()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(after)) => after < before,
        };
        let posts = world.outbox.next_due() != parcel;
        drop(world);
        if posts {
            self.0.posted.send_modify(|()| {});
        }
        self.0.grown.send_if_modified(|seen| {
            let grew = *seen < length;
            *seen = length;
            grew
        });
        if sooner {
            self.0.stirred.notify_one();
        }
        value
    }

    /// Changes whenever the log grew; the value is its length.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.0.grown.subscribe()
    }

    /// Changes whenever other webhook deliveries are due next.
    pub(crate) fn posted(&self) -> watch::Receiver<()> {
        self.0.posted.subscribe()
    }

    /// Does what is due when it is due, until cancelled.
    pub(crate) async fn run_ticks(self, cancel: CancellationToken) {
        loop {
            let due = self.with(None, |world, _, _| world.next_due());
            let sleep = async {
                match due {
                    Some(due) => self.0.clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.0.stirred.notified() => {}
                () = sleep => {}
            }
        }
    }
}
