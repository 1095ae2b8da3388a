//! The model of etcd in the same process, with faults on demand.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{ids::StackName, ports::Store};
use gust_fakes::etcd::Model;
use tokio::sync::Notify;

use super::super::{
    Config, Etcd, EtcdError, EtcdStore, Event, Found, Keys, Range, Txn, TxnAnswer, Watch, model,
};
use crate::conformance::Bed;

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Served,
    Refused,
    LostBefore,
    LostAfter,
    /// It is kept, and has its effect when the test lets it.
    Late,
    /// Served, and kept as well.
    Doubled,
}

type Weather = Box<dyn FnMut(&Txn) -> Fate + Send>;

pub struct World {
    pub model: Model,
    pub now: Duration,
    pub weather: Weather,
    /// Transactions that are still under way.
    pub late: Vec<Arc<Txn>>,
    /// Called before every read.
    pub before_range: Box<dyn FnMut(&mut Model) + Send>,
    pub broken_watches: bool,
}

impl World {
    /// Lets a transaction that is under way have its effect.
    pub fn arrive(&mut self, nth: usize) {
        let txn = self.late.remove(nth);
        // Nobody hears of it.
        let _ = model::txn(&mut self.model, &txn);
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.model.tick(self.now);
    }
}

/// One cluster; clones are ways to it.
#[derive(Clone)]
pub struct Cluster {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
}

impl Cluster {
    pub fn new() -> Self {
        let world = World {
            model: Model::default(),
            now: Duration::ZERO,
            weather: Box::new(|_| Fate::Served),
            late: Vec::new(),
            before_range: Box::new(|_| {}),
            broken_watches: false,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::default(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The next transactions have these fates, then all are served.
    pub fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut fates: Vec<_> = fates.into_iter().collect();
        fates.reverse();
        self.world().weather = Box::new(move |_| fates.pop().unwrap_or(Fate::Served));
    }

    pub fn break_watches(&self) {
        self.world().broken_watches = true;
        self.changed.notify_waiters();
    }

    pub fn config() -> Config {
        Config {
            // Small, so that everything comes in pages.
            page: 7,
            ..Config::new(StackName::new("gust").unwrap())
        }
    }

    pub fn store(&self) -> EtcdStore {
        EtcdStore::new(Arc::new(self.clone()), Self::config())
    }

    /// The value of a key below the stack's prefix.
    pub fn get(&self, below: &str) -> Option<String> {
        let keys = Keys::one(format!("/gust/v1/gust/{below}"));
        let found = model::range(&self.world().model, &Range::all(keys)).unwrap();
        let kv = found.kvs.first()?;
        Some(String::from_utf8(kv.value.to_vec()).unwrap())
    }
}

fn unclear<T>() -> Result<T, EtcdError> {
    Err(EtcdError::Unclear("injected".to_owned()))
}

#[async_trait]
impl Etcd for Cluster {
    async fn range(&self, range: Range) -> Result<Found, EtcdError> {
        let mut world = self.world();
        let World {
            model, before_range, ..
        } = &mut *world;
        before_range(model);
        model::range(model, &range)
    }

    async fn txn(&self, txn: Arc<Txn>) -> Result<TxnAnswer, EtcdError> {
        // As on a wire: others have their turn.
        tokio::task::yield_now().await;
        let mut world = self.world();
        let fate = (world.weather)(&txn);
        if matches!(fate, Fate::Late | Fate::Doubled) {
            world.late.push(Arc::clone(&txn));
        }
        match fate {
            Fate::LostBefore | Fate::Late => unclear(),
            Fate::Refused => Err(EtcdError::Refused("injected".to_owned())),
            Fate::LostAfter => {
                let _ = model::txn(&mut world.model, &txn);
                unclear()
            }
            Fate::Served | Fate::Doubled => {
                let answer = model::txn(&mut world.model, &txn);
                drop(world);
                self.changed.notify_waiters();
                answer
            }
        }
    }

    async fn lease_grant(&self, ttl: u64) -> Result<(i64, u64), EtcdError> {
        let mut world = self.world();
        let now = world.now;
        model::lease_grant(&mut world.model, now, ttl)
    }

    async fn lease_keep_alive(&self, lease: i64) -> Result<u64, EtcdError> {
        let mut world = self.world();
        let now = world.now;
        model::lease_keep_alive(&mut world.model, now, lease)
    }

    async fn lease_revoke(&self, lease: i64) -> Result<(), EtcdError> {
        let revoked = model::lease_revoke(&mut self.world().model, lease);
        self.changed.notify_waiters();
        revoked
    }

    async fn watch(&self, keys: Vec<Keys>, from: u64) -> Result<Box<dyn Watch>, EtcdError> {
        model::events(&self.world().model, &keys, from)?;
        Ok(Box::new(Watching {
            cluster: self.clone(),
            keys,
            from,
        }))
    }
}

struct Watching {
    cluster: Cluster,
    keys: Vec<Keys>,
    from: u64,
}

#[async_trait]
impl Watch for Watching {
    async fn next(&mut self) -> Result<Vec<Event>, EtcdError> {
        loop {
            let changed = self.cluster.changed.notified();
            {
                let world = self.cluster.world();
                if world.broken_watches {
                    return unclear();
                }
                let events = model::events(&world.model, &self.keys, self.from)?;
                self.from = world.model.revision() + 1;
                if !events.is_empty() {
                    return Ok(events);
                }
            }
            changed.await;
        }
    }
}

#[async_trait]
impl Bed for Cluster {
    /// Whoever had a lease before has not renewed it.
    async fn open(&self) -> Arc<dyn Store> {
        self.world().pass(Duration::from_secs(120));
        Arc::new(self.store())
    }
}
