//! The fakes' models under one lock, ticked in the runtime's (paused) time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_fakes::{config::Settings, event::Effects, gce::Order, now::Now, world::World};
use gust_server::task::Tasks;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// Wall time at the start of every virtual run: 2026-01-01 00:00:00 UTC, a full minute.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// The world that all virtual parts share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    world: Mutex<World>,
    start: Instant,
    changed: Notify,
    orders: mpsc::UnboundedSender<Order>,
}

impl Shared {
    /// A new world, and the orders its machines are given.
    pub fn new(settings: &Settings) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let mut world = World::new(settings);
        world.gce.want_orders();
        let (orders, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            world: Mutex::new(world),
            start: Instant::now(),
            changed: Notify::new(),
            orders,
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            receiver,
        )
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now::at(i128::from(EPOCH_MS) * 1_000_000, self.inner.start.elapsed())
    }

    /// Calls a model; what it caused is logged in the same critical section.
    pub fn call<T>(&self, act: impl FnOnce(&mut World, Now, &mut Effects) -> T) -> T {
        let now = self.now();
        let mut world = self.lock();
        let mut effects = Effects::default();
        world.tick(now, &mut effects);
        let result = act(&mut world, now, &mut effects);
        let World { log, gce, .. } = &mut *world;
        log.append(now, &mut effects);
        for order in gce.take_orders() {
            // Without a receiver nobody plays the machines.
            let _ = self.inner.orders.send(order);
        }
        drop(world);
        self.inner.changed.notify_waiters();
        result
    }

    /// Reads the world.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until something changed, or `longest` has passed.
    pub async fn changed(&self, longest: Duration) {
        tokio::select! {
            biased;
            () = self.inner.changed.notified() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }

    /// Does what is due, when it is due, for ever.
    pub fn start_ticking(&self, tasks: &Tasks) {
        let shared = self.clone();
        tasks.spawn("tick", async move {
            loop {
                let due = shared.read(World::next_due);
                let at = due.map_or(Instant::now() + Duration::from_secs(3600), |due| {
                    shared.inner.start + due
                });
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => shared.call(|_, _, _| ()),
                    () = shared.inner.changed.notified() => {}
                }
            }
        });
    }

    /// The event log, one JSON object a line.
    pub fn log_lines(&self) -> String {
        self.read(|world| world.log.text_after(0, usize::MAX).0)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.inner.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
