//! Where records are kept, and who may write them.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ReplicaId, Shard, Term},
    records::{Change, Key, Step},
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
    /// The operator ordered something.
    Ordered,
    /// Written down which builds can read the records.
    Format,
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
            Self::Ordered => "ordered",
            Self::Format => "format",
        }
    }
}

/// Steps that become durable in their order.
///
/// # Guarantees
/// What is durable is always a prefix of the steps, each step whole; a step of more changes than the store can
/// write at a time may be cut between two of its changes. Steps are made so that every such prefix is a state from which a
/// successor can go on.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The leader's term. A store that knows a newer one refuses.
    pub term: Term,
    /// When it was decided.
    pub at: Timestamp,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Commit {
    /// What it is about, each phase once, in the order of a job's life.
    pub fn phases(&self) -> Vec<CommitPhase> {
        let mut phases: Vec<_> = self.steps.iter().map(|step| step.phase).collect();
        phases.sort_unstable();
        phases.dedup();
        phases
    }

    /// All changes, for a store that writes them at once: for each key the last one.
    pub fn merged(&self) -> Vec<&Change> {
        let mut changes: BTreeMap<Key, &Change> = BTreeMap::new();
        for change in self.steps.iter().flat_map(|step| &step.changes) {
            changes.insert(change.key(), change);
        }
        changes.into_values().collect()
    }
}

/// Names a lease: a sign of life that lapses unless it is renewed, and all that is tied to it with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts after each renewal; not less than was asked for.
    pub ttl: Duration,
}

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It has lapsed, or was revoked. All that was tied to it is gone.
    #[error("the lease has lapsed")]
    Gone,
    /// Not known whether it was renewed.
    #[error("whether the lease was renewed is unknown: {0}")]
    Unclear(String),
}

/// The answer to a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// The candidate leads.
    Elected(Term),
    /// Somebody else does.
    Held {
        /// Who.
        leader: ReplicaId,
        /// Since which term.
        term: Term,
    },
}

/// A replica, as it shows itself to the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub replica: ReplicaId,
    /// The failure domain it runs in, such as a zone; empty if not told.
    pub zone: String,
    /// Where the others reach it, `host:port`; empty if it is alone.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Hash of the part of its configuration that must be the same everywhere.
    pub config: String,
}

/// Who is there, who leads, who owns what, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// That revision.
    pub revision: Revision,
    /// Who leads, since which term.
    pub leader: Option<(ReplicaId, Term)>,
    /// Live replicas by name.
    pub members: BTreeMap<ReplicaId, Member>,
    /// Owners of shards.
    pub owners: BTreeMap<Shard, ReplicaId>,
}

/// The answer to a wish to own a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is ours while our lease lasts.
    Ours,
    /// Somebody else has it.
    Theirs(ReplicaId),
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

/// Records, leadership and membership.
///
/// # Guarantees
/// A commit that returned `Ok` survives a crash of the process and of the machine. Terms only grow; a commit
/// of an older term than the newest campaign's is refused. Commits of one term take effect in the order in
/// which they were made, each at most once, however often and late its messages arrive.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new lease of at least `ttl`.
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Renews a lease and returns how long it lasts from the moment the call was *sent*.
    async fn renew(&self, lease: LeaseId) -> Result<Duration, LeaseError>;

    /// Ends a lease at once, with all that is tied to it. No error if it has ended before.
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Tries once to lead for as long as `lease` lasts. A repeat after a lost answer returns the term that the
    /// lost one won.
    async fn campaign(&self, lease: LeaseId, replica: &ReplicaId) -> Result<Candidacy, StoreError>;

    /// Gives leadership up, if `term` still leads.
    async fn resign(&self, term: Term) -> Result<(), StoreError>;

    /// Takes the lead from whoever holds it, if `term` still leads: for who found the leader dead. Ends the lease
    /// on which the leader's key hangs and no other; one that carries a member or a shard as well is left alone,
    /// with an error.
    async fn depose(&self, term: Term) -> Result<(), StoreError>;

    /// Shows `member` to the others for as long as `lease` lasts.
    async fn join(&self, lease: LeaseId, member: &Member) -> Result<(), StoreError>;

    /// Takes a shard for as long as `lease` lasts, unless somebody else has it.
    async fn own(&self, lease: LeaseId, shard: &Shard, replica: &ReplicaId) -> Result<Ownership, StoreError>;

    /// Lets go of a shard, if it is tied to `lease`.
    async fn disown(&self, lease: LeaseId, shard: &Shard) -> Result<(), StoreError>;

    /// Who is there, linearizably.
    async fn roster(&self) -> Result<Roster, StoreError>;

    /// Waits until the roster differs from what it was at `since`. May return early, and may wait in vain
    /// when the connection is dead: callers look at the roster now and then anyway.
    async fn roster_changed(&self, since: Revision) -> Result<(), StoreError>;

    /// Reads all records but history, linearizably, at one revision.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Writes the steps if `commit.term` still leads.
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError>;

    /// Reads up to `limit` summaries of ended jobs whose key is above `after`, in key order.
    async fn history(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
}
