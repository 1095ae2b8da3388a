//! Where records are kept, and who may write them.

use async_trait::async_trait;

use crate::{
    ids::{ReplicaId, Term},
    records::Change,
    time::Timestamp,
};

/// The store's revision after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What a commit is about; written into the commit journal, so that a reader can tell phases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitPhase {
    /// Jobs booked.
    Booked,
    /// A job that can never run.
    Refusing,
    /// A batch recorded: intent and promise.
    Batch,
    /// Machines created, or attempts ended.
    Resolved,
    /// A machine claimed its job.
    Claimed,
    /// Machines to be deleted.
    Deleting,
    /// Machines confirmed gone.
    Gone,
    /// Jobs ended, history added.
    Ended,
}

impl CommitPhase {
    /// The word in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Refusing => "refusing",
            Self::Batch => "batch",
            Self::Resolved => "resolved",
            Self::Claimed => "claimed",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
            Self::Ended => "ended",
        }
    }
}

/// Changes that become durable together, or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The leader's term. A store that knows a newer one refuses.
    pub term: Term,
    /// When it was decided.
    pub at: Timestamp,
    /// What it is about, each phase once, in the order of a job's life.
    pub phases: Vec<CommitPhase>,
    /// The changes, at most one a key.
    pub changes: Vec<Change>,
}

/// Why a commit did not take place.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another replica leads. Nothing was written; step down.
    #[error("term {ours} is over: the store is at term {theirs}")]
    Fenced {
        /// The term of the commit.
        ours: Term,
        /// The term the store knows.
        theirs: Term,
    },
    /// Whether it was written is unknown. The same commit may be repeated as it is.
    #[error("the commit's outcome is unknown")]
    Unclear(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing was written (full disk, quota, no quorum). The same commit may be repeated.
    #[error("the store refused the commit: {hint}")]
    Refused {
        /// What to do about it.
        hint: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A store that does not work.
#[derive(Debug, thiserror::Error)]
#[error("{act} failed: {hint}")]
pub struct StoreError {
    /// What was tried.
    pub act: &'static str,
    /// What to do about it.
    pub hint: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// All records at one revision.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// That revision.
    pub revision: Revision,
    /// Keys below the stack's prefix, with their values.
    pub records: Vec<(String, Vec<u8>)>,
}

/// Records and leadership.
///
/// # Guarantees
/// A commit that returned `Ok` survives a crash of the process and of the machine. Terms only grow; a commit
/// of an older term than the newest campaign's is refused.
#[async_trait]
pub trait Store: Send + Sync {
    /// Waits until this replica leads, and returns its term.
    async fn campaign(&self, replica: &ReplicaId) -> Result<Term, StoreError>;

    /// Gives leadership up.
    async fn resign(&self, term: Term) -> Result<(), StoreError>;

    /// Reads all records but history, linearizably, at one revision.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Writes changes if `commit.term` still leads.
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError>;

    /// Reads up to `limit` summaries of ended jobs whose key is above `after`, in key order.
    async fn history(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
}
