//! The fakes' models under one lock, ticked in the runtime's (paused) time; whoever watches is told each event.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_fakes::{
    config::Settings,
    event::{Effects, Event},
    gce::Order,
    now::Now,
    world::World,
};
use gust_server::task::Tasks;
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use uuid::Uuid;

/// Wall time at the start of every virtual run: 2026-01-01 00:00:00 UTC, a full minute.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// Is told each event, in order, under the world's lock: it must not call the world.
pub trait Watcher: Send + Sync {
    /// An event, before it becomes a line.
    fn saw(&self, at: Duration, event: &Event);
}

/// What one can wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The job is to stop, or is over.
    Stopped(Uuid),
    /// The operation of this name is over.
    Done(String),
}

/// The world that all virtual parts share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    world: Mutex<World>,
    start: Instant,
    /// Something is due before `armed`, when the ticker wakes.
    sooner: Notify,
    armed: Mutex<Option<Duration>>,
    orders: mpsc::UnboundedSender<Order>,
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
    bells: Bells,
    /// When jobs were listed.
    lists: Mutex<Vec<Duration>>,
}

type Bells = Arc<Mutex<BTreeMap<Topic, Vec<Arc<Notify>>>>>;

/// Rings once what it was taken for has come.
pub(super) struct Bell {
    topic: Topic,
    notify: Arc<Notify>,
    bells: Bells,
}

impl Bell {
    /// Waits for it.
    pub async fn rung(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut bells = lock(&self.bells);
        if let Some(waiting) = bells.get_mut(&self.topic) {
            waiting.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
            if waiting.is_empty() {
                bells.remove(&self.topic);
            }
        }
    }
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
            sooner: Notify::new(),
            armed: Mutex::new(None),
            orders,
            watchers: Mutex::default(),
            bells: Bells::default(),
            lists: Mutex::default(),
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            receiver,
        )
    }

    /// The run is over: nobody is told any more. Watchers hold the world, so only this lets go of it.
    pub fn end(&self) {
        lock(&self.inner.watchers).clear();
    }

    /// A replica lists jobs now.
    pub fn note_list(&self) {
        let at = self.elapsed();
        lock(&self.inner.lists).push(at);
    }

    /// When jobs were listed, in order.
    pub fn lists(&self) -> Vec<Duration> {
        lock(&self.inner.lists).clone()
    }

    /// Keeps no lines of the log from now on: for runs that are about speed. Watchers see all events still.
    pub fn keep_no_log(&self) {
        self.lock().log.keep_no_lines();
    }

    /// Who is told each event, in this order. Once, before anything happens.
    pub fn watched_by(&self, watchers: Vec<Arc<dyn Watcher>>) {
        *lock(&self.inner.watchers) = watchers;
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now::at(i128::from(EPOCH_MS) * 1_000_000, self.elapsed())
    }

    /// Virtual time since the start of the run.
    pub fn elapsed(&self) -> Duration {
        self.inner.start.elapsed()
    }

    /// The moment that long after the start.
    pub fn instant(&self, since_start: Duration) -> Instant {
        self.inner.start + since_start
    }

    /// Calls a model; what it caused is told and logged in the same critical section.
    pub fn call<T>(&self, act: impl FnOnce(&mut World, Now, &mut Effects) -> T) -> T {
        let now = self.now();
        let mut world = self.lock();
        let mut effects = Effects::default();
        world.tick(now, &mut effects);
        let result = act(&mut world, now, &mut effects);
        if !effects.is_empty() {
            self.tell(now.since_start, effects.events());
        }
        let World { log, gce, .. } = &mut *world;
        log.append(now, &mut effects);
        for order in gce.take_orders() {
            // Without a receiver nobody plays the machines.
            let _ = self.inner.orders.send(order);
        }
        let due = world.next_due();
        drop(world);
        if due.is_some_and(|due| lock(&self.inner.armed).is_none_or(|armed| due < armed)) {
            self.inner.sooner.notify_one();
        }
        result
    }

    fn tell(&self, at: Duration, events: &[Event]) {
        let watchers = lock(&self.inner.watchers);
        for event in events {
            for watcher in watchers.iter() {
                watcher.saw(at, event);
            }
            if let Some(topic) = topic(event) {
                let rung = lock(&self.inner.bells).get(&topic).cloned().unwrap_or_default();
                rung.iter().for_each(|notify| notify.notify_one());
            }
        }
    }

    /// A bell for something that has not come yet. Take it in the same breath as the look that says so.
    pub(super) fn bell(&self, topic: Topic) -> Bell {
        let notify = Arc::new(Notify::new());
        lock(&self.inner.bells)
            .entry(topic.clone())
            .or_default()
            .push(Arc::clone(&notify));
        Bell {
            topic,
            notify,
            bells: Arc::clone(&self.inner.bells),
        }
    }

    /// Reads the world.
    pub fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Does what is due, when it is due, for ever.
    pub fn start_ticking(&self, tasks: &Tasks) {
        let shared = self.clone();
        tasks.spawn("tick", async move {
            loop {
                let due = shared.read(World::next_due);
                *lock(&shared.inner.armed) = due;
                let at = due.map_or_else(
                    || Instant::now() + Duration::from_secs(3600),
                    |due| shared.instant(due),
                );
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => shared.call(|_, _, _| ()),
                    () = shared.inner.sooner.notified() => {}
                }
            }
        });
    }

    /// The event log, one JSON object a line.
    pub fn log_lines(&self) -> String {
        self.read(|world| world.log.text_after(0, usize::MAX).0)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        lock(&self.inner.world)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn topic(event: &Event) -> Option<Topic> {
    match event.kind {
        "job.state" => match text(event, "to")? {
            "waiting" | "limited" | "scheduled" | "reserved" | "accepted" | "running" => None,
            _ => Some(Topic::Stopped(Uuid::parse_str(text(event, "job")?).ok()?)),
        },
        "operation.state" if text(event, "to") == Some("DONE") => {
            Some(Topic::Done(text(event, "operation")?.to_owned()))
        }
        _ => None,
    }
}

/// A field of an event, as text.
pub(super) fn text<'e>(event: &'e Event, field: &str) -> Option<&'e str> {
    event.fields.get(field).and_then(Value::as_str)
}
