//! What goes into the model and comes out of it.

use super::Value;

/// Most operations in each list of a transaction (`--max-txn-ops`).
pub const MOST_OPS: usize = 128;
/// Largest request in bytes (`--max-request-bytes`).
pub const REQUEST_BYTES: usize = 1_572_864;

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

    /// True for a key that is meant.
    pub fn contains(&self, key: &str) -> bool {
        match &self.end {
            None => key == self.from,
            Some(end) => key >= &*self.from && key < &**end,
        }
    }
}

/// A key with its value, as it was at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The revision at which it came to be.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How often it was put since it came to be.
    pub version: u64,
    /// The lease it is tied to; 0 for none.
    pub lease: i64,
    /// Its value; empty if only keys were asked for.
    pub value: Value,
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub keys: Keys,
    /// Most keys to return; 0 for all.
    pub limit: usize,
    /// At which revision; 0 for the present one.
    pub revision: u64,
    /// Only what was changed at this revision or later; 0 for all.
    pub min_mod_revision: u64,
    /// Without values.
    pub keys_only: bool,
    /// Only their number.
    pub count_only: bool,
}

impl RangeRequest {
    /// All of `keys`, as they are now.
    pub fn all(keys: Keys) -> Self {
        Self {
            keys,
            limit: 0,
            revision: 0,
            min_mod_revision: 0,
            keys_only: false,
            count_only: false,
        }
    }
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResponse {
    /// The present revision, whichever was asked for.
    pub revision: u64,
    /// In the order of keys.
    pub kvs: Vec<KeyValue>,
    /// True if the limit left some out.
    pub more: bool,
    /// How many there are, whatever the limit.
    pub count: usize,
}

/// How the left side of a comparison, the key's, stands to the right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// They are not.
    NotEqual,
    /// The key's is greater.
    Greater,
    /// The key's is less.
    Less,
}

/// What is compared with what. A key that is not there has 0 everywhere, and no value that any comparison holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of a key that its name says")]
pub enum Target {
    CreateRevision(u64),
    ModRevision(u64),
    Version(u64),
    Lease(i64),
    Value(Vec<u8>),
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which key.
    pub key: String,
    /// How it must stand to the target.
    pub relation: Relation,
    /// The target.
    pub target: Target,
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
        /// The lease to tie it to; 0 for none, which also unties it.
        lease: i64,
    },
    /// Deletes keys.
    Delete(Keys),
    /// Reads keys, after the operations before it.
    Range(RangeRequest),
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

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResponse {
    /// Written.
    Put,
    /// So many keys were deleted.
    Deleted(usize),
    /// What was read.
    Range(RangeResponse),
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResponse {
    /// The revision after it.
    pub revision: u64,
    /// True if all comparisons held.
    pub succeeded: bool,
    /// One for each operation of the list that was done.
    pub responses: Vec<OpResponse>,
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

/// One revision, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which.
    pub revision: u64,
    /// The create revision, other than 0, that a comparison of its transaction asked for; the first if several did.
    pub guard: Option<u64>,
    /// Keys and their new values, nothing for a deletion, in the order of the transaction.
    pub writes: Vec<(String, Option<Value>)>,
}

/// Why etcd refused a request. Nothing was written. The texts are etcd's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key is empty.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A list is longer than [`MOST_OPS`].
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A key is put twice, or put and deleted, in one list.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// It is above [`REQUEST_BYTES`].
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The revision was compacted.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted {
        /// Up to which revision.
        revision: u64,
    },
    /// The revision is not there yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The lease has lapsed, was revoked, or never was.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The TTL is beyond etcd's limit.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}
