//! A replica's way to the virtual etcd: what the client of a real one would see.
//!
//! Calls go over the [`Net`], so the weather decides about each message; what the cluster can do at the
//! moment is up to [`EtcdWorld`]. Every call ends within a second, as the real client's do.

mod state;
mod world;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use gust_store::etcd::{Etcd, EtcdError, Event, Found, Keys, Range, Txn, TxnAnswer, Watch, model};
use tokio::{sync::mpsc, time::Instant};

use super::net::{Fate, Net, Point, Trouble};
use world::{Answer, Kind, Seen};
pub use world::{EtcdWorld, Tap};

/// How long the client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// One replica's client.
#[derive(Clone)]
pub struct VirtualEtcd {
    world: EtcdWorld,
    net: Net,
    replica: usize,
    /// Leases that it was granted, and has not so much as asked to end.
    leases: Arc<Mutex<BTreeSet<i64>>>,
}

impl VirtualEtcd {
    /// The way of this life of a replica to the cluster that all share.
    pub fn new(world: EtcdWorld, net: Net, replica: usize) -> Self {
        Self {
            world,
            net,
            replica,
            leases: Arc::default(),
        }
    }

    /// True if the key hangs on a lease of this life of the replica, and nobody has so much as asked for that to end.
    pub fn keeps(&self, key: &str) -> bool {
        let lease = self.world.lease_of(key);
        lease.is_some_and(|lease| lock(&self.leases).contains(&lease))
    }

    async fn call<T: Send + 'static>(
        &self,
        point: Point,
        effect: impl FnMut() -> Answer<T> + Send + 'static,
    ) -> Result<T, EtcdError> {
        let deadline = Instant::now() + DEADLINE;
        let connection = self.world.connection();
        let slow = self.world.slowness() / 2;
        tokio::time::sleep_until(deadline.min(Instant::now() + slow)).await;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.world.is_cut(self.replica) {
            return silence(deadline).await;
        }
        let answer = match self.net.deliver(self.replica, point, left, effect).await {
            Ok(Answer::Said(answer)) => answer,
            Ok(Answer::Refused) => return Err(EtcdError::Refused("connection refused".to_owned())),
            Ok(Answer::Silence) => return silence(deadline).await,
            Err(Trouble::Refused { status, .. }) => {
                return Err(EtcdError::Refused(format!("status {status}, from in between")));
            }
            Err(Trouble::Lost | Trouble::CutOff) => {
                return Err(EtcdError::Unclear("the connection broke".to_owned()));
            }
        };
        let arrives = Instant::now() + slow;
        if arrives > deadline || self.world.is_cut(self.replica) {
            return silence(deadline).await;
        }
        tokio::time::sleep_until(arrives).await;
        if connection != self.world.connection() {
            return Err(EtcdError::Unclear("the connection broke".to_owned()));
        }
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No answer comes.
async fn silence<T>(deadline: Instant) -> Result<T, EtcdError> {
    tokio::time::sleep_until(deadline).await;
    Err(EtcdError::Unclear("timed out".to_owned()))
}

#[async_trait]
impl Etcd for VirtualEtcd {
    async fn range(&self, range: Range) -> Result<Found, EtcdError> {
        let (world, replica, range) = (self.world.clone(), self.replica, Arc::new(range));
        self.call(Point::EtcdRange, move || {
            let range = Arc::clone(&range);
            world.serve(replica, Kind::Read, move |etcd, _| model::range(etcd, &range))
        })
        .await
    }

    async fn txn(&self, txn: Arc<Txn>) -> Result<TxnAnswer, EtcdError> {
        let (world, replica) = (self.world.clone(), self.replica);
        self.call(Point::EtcdTxn, move || {
            let txn = Arc::clone(&txn);
            world.serve(replica, Kind::Write, move |etcd, _| model::txn(etcd, &txn))
        })
        .await
    }

    async fn lease_grant(&self, ttl: u64) -> Result<(i64, u64), EtcdError> {
        let (world, replica) = (self.world.clone(), self.replica);
        let granted = self
            .call(Point::EtcdGrant, move || {
                world.serve(replica, Kind::Write, move |etcd, now| {
                    model::lease_grant(etcd, now, ttl)
                })
            })
            .await?;
        lock(&self.leases).insert(granted.0);
        Ok(granted)
    }

    async fn lease_keep_alive(&self, lease: i64) -> Result<u64, EtcdError> {
        let (world, replica) = (self.world.clone(), self.replica);
        self.call(Point::EtcdKeepAlive, move || {
            // The raft leader renews by itself, without a proposal that could have its effect later.
            world.serve(replica, Kind::Read, move |etcd, now| {
                model::lease_keep_alive(etcd, now, lease)
            })
        })
        .await
    }

    async fn lease_revoke(&self, lease: i64) -> Result<(), EtcdError> {
        let (world, replica) = (self.world.clone(), self.replica);
        lock(&self.leases).remove(&lease);
        self.call(Point::EtcdRevoke, move || {
            world.serve(replica, Kind::Write, move |etcd, _| {
                model::lease_revoke(etcd, lease)
            })
        })
        .await
    }

    async fn watch(&self, keys: Vec<Keys>, from: u64) -> Result<Box<dyn Watch>, EtcdError> {
        let (world, replica) = (self.world.clone(), self.replica);
        let seen = self
            .call(Point::EtcdWatch, move || world.watch(replica, keys.clone(), from))
            .await?;
        Ok(Box::new(Watching {
            net: self.net.clone(),
            replica: self.replica,
            seen,
        }))
    }
}

/// The client's end of a watch.
struct Watching {
    net: Net,
    replica: usize,
    seen: mpsc::UnboundedReceiver<Seen>,
}

#[async_trait]
impl Watch for Watching {
    async fn next(&mut self) -> Result<Vec<Event>, EtcdError> {
        let ended = || EtcdError::Unclear("the watch ended".to_owned());
        let seen = self.seen.recv().await.ok_or_else(ended)?;
        let passage = self.net.weather.passage(self.replica, Point::EtcdWatch);
        match passage.fate {
            Fate::Served | Fate::Doubled(_) => {
                tokio::time::sleep(passage.back).await;
                seen
            }
            // The connection is dead and nobody says so: nothing comes any more.
            Fate::LostBefore | Fate::LostAfter => std::future::pending().await,
            Fate::Refused { .. } | Fate::Truncated => {
                self.seen.close();
                Err(ended())
            }
        }
    }
}

#[cfg(test)]
mod tests;
