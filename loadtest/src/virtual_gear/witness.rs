//! Who is told everything: the checker and the timeline, in the same breath.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_fakes::event::Event;
use uuid::Uuid;

use super::{
    check::{Checker, Committed, Limit, Met},
    cover::Cover,
    inject,
    timeline::Timeline,
    world::Watcher,
};

/// The checker, and what else is told everything. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Mutex<Witnesses>>,
}

struct Witnesses {
    checker: Checker,
    timeline: Timeline,
}

impl Witness {
    pub(super) fn new(checker: Checker, timeline: Timeline) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Witnesses { checker, timeline })),
        }
    }

    /// Tells the checker.
    pub fn tell<T>(&self, tell: impl FnOnce(&mut Checker) -> T) -> T {
        tell(&mut self.lock().checker)
    }

    /// Tells the timeline.
    pub fn line(&self, at: Duration, line: impl FnOnce() -> String) {
        self.lock().timeline.line(at, line);
    }

    /// Etcd applied a transaction.
    pub(super) fn committed(&self, at: Duration, committed: &Committed) {
        let mut witnesses = self.lock();
        witnesses.checker.commit(at, committed);
        witnesses.timeline.committed(at, committed);
    }

    /// What there is to keep once the run is over: the coverage, and the timeline if it was wanted.
    pub(super) fn kept(&self) -> (Cover, Vec<String>) {
        let mut witnesses = self.lock();
        let cover = witnesses.checker.cover().clone();
        (cover, witnesses.timeline.take())
    }

    fn lock(&self) -> MutexGuard<'_, Witnesses> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl inject::Witness for Witness {
    fn fault(&self, at: Duration, met: &Met) {
        let mut witnesses = self.lock();
        witnesses.checker.fault(at, met);
        witnesses.timeline.fault(at, met);
    }

    fn limits(&self, at: Duration, limits: &[Limit]) {
        for limit in limits {
            self.tell(|checker| checker.limit(at, limit));
        }
    }

    fn canceled(&self, at: Duration, job: Uuid) {
        self.tell(|checker| checker.canceled_by_operator(at, job));
        self.line(at, || format!("an operator cancels job {job}"));
    }

    fn paused(&self, at: Duration, queue: &str, paused: bool) {
        self.tell(|checker| checker.paused(at, queue, paused));
        self.line(at, || {
            format!("queue {queue} {}", if paused { "is paused" } else { "goes on" })
        });
    }
}

impl Watcher for Witness {
    fn saw(&self, at: Duration, event: &Event) {
        let mut witnesses = self.lock();
        witnesses.checker.event(at, event);
        witnesses.timeline.event(at, event);
    }
}
