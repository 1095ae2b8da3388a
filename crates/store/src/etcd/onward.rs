//! An etcd whose revision goes back is not the one it was: its data was lost, or restored from a backup.
//!
//! Reads and transactions are linearizable, so their answers carry a revision no lower than any that was seen before
//! they were asked. One that is lower shows that what gust knows and did since is recorded nowhere: going on would
//! mean to decide on a past that is not ours, and to delete machines whose records were lost. So nothing is asked
//! or written any more, and it is said; what to do is up to people. Restarting a replica takes what etcd has now for
//! the truth.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tracing::error;

use super::wire::{Etcd, EtcdError, Found, Keys, Range, Txn, TxnAnswer, Watch};

/// A way to etcd for as long as its revision only grows.
pub(super) struct Onward {
    etcd: Arc<dyn Etcd>,
    /// The highest revision that was seen.
    seen: AtomicU64,
    went_back: OnceLock<EtcdError>,
}

impl Onward {
    pub fn new(etcd: Arc<dyn Etcd>) -> Self {
        Self {
            etcd,
            seen: AtomicU64::new(0),
            went_back: OnceLock::new(),
        }
    }

    /// What has been seen when a question is about to be asked; an error if none may be asked any more.
    fn asking(&self) -> Result<u64, EtcdError> {
        match self.went_back.get() {
            Some(error) => Err(error.clone()),
            None => Ok(self.seen.load(Ordering::Relaxed)),
        }
    }

    /// An answer of this revision has come to a question that was asked when `before` had been seen.
    fn answered(&self, before: u64, revision: u64) -> Result<(), EtcdError> {
        if revision >= before {
            self.seen.fetch_max(revision, Ordering::Relaxed);
            return Ok(());
        }
        let went_back = EtcdError::WentBack {
            from: before,
            to: revision,
        };
        if self.went_back.set(went_back.clone()).is_ok() {
            error!(
                from = before,
                to = revision,
                "etcd has gone back to an earlier revision: its data was lost or restored from a backup. Nothing is \
                 decided any more; see that etcd has the right data, then restart all replicas"
            );
        }
        Err(went_back)
    }
}

#[async_trait]
impl Etcd for Onward {
    async fn range(&self, range: Range) -> Result<Found, EtcdError> {
        let before = self.asking()?;
        let found = self.etcd.range(range).await?;
        self.answered(before, found.revision)?;
        Ok(found)
    }

    async fn txn(&self, txn: Arc<Txn>) -> Result<TxnAnswer, EtcdError> {
        let before = self.asking()?;
        let answer = self.etcd.txn(txn).await?;
        // It may have had its effect, for all the good that does.
        self.answered(before, answer.revision)
            .map_err(|error| EtcdError::Unclear(error.to_string()))?;
        Ok(answer)
    }

    async fn lease_grant(&self, ttl: u64) -> Result<(i64, u64), EtcdError> {
        self.asking()?;
        self.etcd.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: i64) -> Result<u64, EtcdError> {
        self.asking()?;
        self.etcd.lease_keep_alive(lease).await
    }

    /// Giving back is never wrong.
    async fn lease_revoke(&self, lease: i64) -> Result<(), EtcdError> {
        self.etcd.lease_revoke(lease).await
    }

    async fn watch(&self, keys: Vec<Keys>, from: u64) -> Result<Box<dyn Watch>, EtcdError> {
        self.asking()?;
        self.etcd.watch(keys, from).await
    }
}
