//! What the store needs of etcd, one method for one call of its API.
//!
//! The types carry what gust uses and nothing else. Whoever implements [`Etcd`] bounds every call in time and says
//! honestly how it failed; repeating, paging and judging is done by the store.

use std::sync::Arc;

use async_trait::async_trait;

/// A value; shared, because a message may be sent again.
pub type Value = Arc<[u8]>;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// It had no effect, for certain: a malformed request, no space, or no connection to send it over.
    #[error("etcd refused: {0}")]
    Refused(String),
    /// The lease it names has lapsed, was revoked, or never was. It had no effect.
    #[error("the lease has ended")]
    NoLease,
    /// What was asked for has been compacted. It had no effect.
    #[error("revisions before {revision} have been compacted")]
    Compacted {
        /// The oldest revision that is left; 0 if not told.
        revision: u64,
    },
    /// The revision went back: this is not the etcd that it was. It had no effect.
    #[error("etcd has gone back from revision {from} to {to}: its data was lost or restored from a backup")]
    WentBack {
        /// The highest revision that was seen before.
        from: u64,
        /// The one of the answer.
        to: u64,
    },
    /// It had its effect, or has not, or will have it later. For a watch: it has ended.
    #[error("no clear answer from etcd: {0}")]
    Unclear(String),
}

/// A key, or all keys of an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key, or the first one.
    pub from: String,
    /// The first key that is not meant any more; nothing for the one key `from`.
    pub end: Option<String>,
}

impl Keys {
    /// One key.
    pub fn one(key: impl Into<String>) -> Self {
        Self {
            from: key.into(),
            end: None,
        }
    }

    /// All keys from `from` up to and without `end`.
    pub fn interval(from: impl Into<String>, end: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            end: Some(end.into()),
        }
    }
}

/// A linearizable read, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which keys.
    pub keys: Keys,
    /// Most keys to return; 0 for all.
    pub limit: usize,
    /// At which revision; 0 for the present one.
    pub revision: u64,
    /// Only what was changed at this revision or later; 0 for all. The count is of all nevertheless.
    pub min_mod_revision: u64,
    /// Without values.
    pub keys_only: bool,
}

impl Range {
    /// All of `keys`, as they are now.
    pub fn all(keys: Keys) -> Self {
        Self {
            keys,
            limit: 0,
            revision: 0,
            min_mod_revision: 0,
            keys_only: false,
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The revision at which it came to be.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// The lease it is tied to; 0 for none.
    pub lease: i64,
    /// Its value; empty if only keys were asked for.
    pub value: Value,
}

/// The answer to a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The present revision, whichever was asked for.
    pub revision: u64,
    /// What was found.
    pub kvs: Vec<KeyValue>,
    /// True if the limit left some out.
    pub more: bool,
    /// How many there are, whatever the limit.
    pub count: u64,
}

/// A condition. A key that is not there has 0 for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each holds if that field of the key is equal to the number"
)]
pub enum Compare {
    CreateRevision(String, u64),
    ModRevision(String, u64),
    Lease(String, i64),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// Which key.
        key: String,
        /// Its new value.
        value: Value,
        /// The lease to tie it to; 0 for none.
        lease: i64,
    },
    /// Deletes a key, if it is there.
    Delete(String),
    /// Reads keys.
    Range(Range),
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is done if all of it holds.
    pub success: Vec<Op>,
    /// What is done otherwise.
    pub failure: Vec<Op>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnAnswer {
    /// The revision after it.
    pub revision: u64,
    /// True if all conditions held.
    pub succeeded: bool,
    /// What its reads found, in their order; other operations leave nothing here.
    pub found: Vec<Found>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// At which revision.
    pub revision: u64,
    /// Which key.
    pub key: String,
    /// Its new value; nothing if it was deleted.
    pub value: Option<Value>,
}

/// A way to etcd.
#[async_trait]
pub trait Etcd: Send + Sync {
    /// `Range`, linearizable.
    async fn range(&self, range: Range) -> Result<Found, EtcdError>;

    /// `Txn`.
    async fn txn(&self, txn: Arc<Txn>) -> Result<TxnAnswer, EtcdError>;

    /// `LeaseGrant`: the lease's id and its TTL, both TTLs in seconds.
    async fn lease_grant(&self, ttl: u64) -> Result<(i64, u64), EtcdError>;

    /// `LeaseKeepAlive`, once: the TTL in seconds. [`EtcdError::NoLease`] if etcd answers with a TTL of 0.
    async fn lease_keep_alive(&self, lease: i64) -> Result<u64, EtcdError>;

    /// `LeaseRevoke`.
    async fn lease_revoke(&self, lease: i64) -> Result<(), EtcdError>;

    /// `Watch` of all `keys` on one stream, from a revision on.
    async fn watch(&self, keys: Vec<Keys>, from: u64) -> Result<Box<dyn Watch>, EtcdError>;
}

/// A watch that was accepted. Dropping it ends it.
#[async_trait]
pub trait Watch: Send {
    /// The next changes, in order. After an error there are no more.
    async fn next(&mut self) -> Result<Vec<Event>, EtcdError>;
}
