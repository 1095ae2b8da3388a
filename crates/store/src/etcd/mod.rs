//! The store on etcd, for several replicas.
//!
//! Everything of a stack is below `/gust/v1/<stack>/`: the records under their own keys, and beside them
//! `leader`, `members/…` and `shards/…`, each tied to its owner's lease, `commits`, and `history-by-end/…`,
//! which sorts the summaries by the end of their jobs.
//!
//! # How a commit is written exactly once, and in order
//! A transaction may be answered late or never, and may have its effect long after its sender gave up on it. So
//! each transaction that writes records compares two things: that the leader's key has our term as its create
//! revision, and that the mod revision of `commits` is the one that our last transaction gave it. And it puts
//! `<term>-<n>` into `commits`, where n is a number that belongs to this transaction's content alone. Then
//!
//! * of all messages that carry one transaction, at most one has its effect: it moves `commits`, and mod
//!   revisions never come back;
//! * no transaction has its effect before the one it follows, nor after one that follows it, since `commits` is then
//!   elsewhere: what is durable is a prefix of what was asked for, and a message of an earlier try that arrives late
//!   finds `commits` moved and writes nothing over newer data;
//! * whatever became of a transaction is found out by sending it again: it has its effect now, or it fails
//!   and its other branch reads `leader` and `commits`. If `commits` has our number, it had been written; if
//!   the leader's key is another, the term is over. No third case needs to be guessed at.
//!
//! The first transaction of a term follows whatever `commits` was when the term had begun, read by the load or,
//! without one, before the first commit. No older term's transaction can move it after that, since its
//! comparison with the leader's key fails.
//!
//! A commit whose outcome stays unclear is kept, with how far it is known to be written. It is finished before anything else is
//! written in that term, whether or not its caller repeats it; the repeat then finds its revision. So a repeat never
//! writes a part again that a later commit may have changed. Whoever does not want to repeat it must step down:
//! with the term, what is kept is forgotten.
//!
//! # Assumptions
//! etcd is linearizable, and an [`Etcd`] bounds its calls in time. At most one `EtcdStore` writes in a term. A lease that led is
//! not led on after resigning, or a late campaign of its own may elect it once more: it is revoked, and the next
//! candidacy takes a new one. Summaries go oldest first, as far as the last page that was read tells.

mod chain;
pub mod client;
mod commit;
mod layout;
mod load;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod onto;
mod onward;
mod pack;
mod presence;
#[cfg(test)]
mod tests;
mod trim;
mod wire;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, Shard, StackName, Term},
    ports::{
        Candidacy, Commit, CommitError, Lease, LeaseError, LeaseId, Loaded, Member, Ownership, Revision,
        Roster, Store, StoreError,
    },
};

use crate::{
    HistoryBounds,
    journal::{Durable, Journal},
};
use chain::Chain;
use layout::Layout;
use load::Seen;
use onward::Onward;
pub use wire::{
    Compare, Etcd, EtcdError, Event, Found, KeyValue, Keys, Op, Range, Txn, TxnAnswer, Value, Watch,
};

/// What a store on etcd needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stack whose records it holds.
    pub stack: StackName,
    /// How much history is kept.
    pub history: HistoryBounds,
    /// Most keys in one page of a read. With records of half a KiB, 1,000 stay far below the 4 MiB that a
    /// client takes.
    pub page: usize,
    /// How often a question is put before it counts as unanswered. Each may take as long as the [`Etcd`] lets it.
    pub tries: u32,
}

impl Config {
    /// With default bounds of history, pages of 1,000 keys, 3 tries.
    pub fn new(stack: StackName) -> Self {
        Self {
            stack,
            history: HistoryBounds::default(),
            page: 1000,
            tries: 3,
        }
    }
}

/// A store on etcd.
pub struct EtcdStore {
    etcd: Arc<dyn Etcd>,
    config: Config,
    layout: Layout,
    /// Held while a commit is written: commits take their turns.
    chain: tokio::sync::Mutex<Option<Chain>>,
    seen: Mutex<Option<Seen>>,
    /// What was loaded last. Held while a load is under way: one that comes meanwhile reads only what is new then.
    loaded: tokio::sync::Mutex<Option<onto::Snapshot>>,
    /// Where commits leave their lines, with the name of who campaigned last.
    journal: Option<Mutex<Journal>>,
    candidate: Mutex<Option<ReplicaId>>,
}

impl EtcdStore {
    /// A store on this way to etcd. Nothing is asked before it is used.
    pub fn new(etcd: Arc<dyn Etcd>, config: Config) -> Self {
        Self {
            etcd: Arc::new(Onward::new(etcd)),
            layout: Layout::new(&config.stack),
            config,
            chain: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            loaded: tokio::sync::Mutex::default(),
            journal: None,
            candidate: Mutex::default(),
        }
    }

    /// With a line for every commit of this store.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = Some(Mutex::new(journal));
        self
    }

    /// Writes the line of a commit that is durable.
    fn note(&self, commit: &Commit, revision: Revision) {
        let Some(journal) = &self.journal else { return };
        let durable = Durable {
            replica: lock(&self.candidate).clone(),
            term: commit.term,
            revision,
            keys: commit
                .merged()
                .iter()
                .map(|change| change.key().to_string())
                .collect(),
            phases: commit.phases(),
        };
        let entry = durable.entry(&crate::key_prefix(&self.config.stack));
        if let Err(error) = lock(journal).append(vec![entry]) {
            // The commit is durable whatever becomes of the line: the journal only shows it.
            tracing::error!(%error, "a commit is missing from the journal");
        }
    }

    /// Puts a question that may be put twice, until there is an answer or enough tries.
    async fn again<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let mut answer = ask().await;
        for _ in 1..self.config.tries {
            if !matches!(answer, Err(EtcdError::Unclear(_))) {
                break;
            }
            answer = ask().await;
        }
        answer
    }

    fn seen(&self) -> Option<Seen> {
        *lock(&self.seen)
    }

    fn saw(&self, seen: Seen) {
        *lock(&self.seen) = Some(seen);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn failed(act: &'static str, error: EtcdError) -> StoreError {
    let hint = match error {
        EtcdError::NoLease => "the lease has ended; take a new one",
        EtcdError::Compacted { .. } => "etcd compacts faster than gust reads; compact less often",
        EtcdError::WentBack { .. } => "see that etcd has the right data, then restart all replicas",
        EtcdError::Refused(_) | EtcdError::Unclear(_) => "look at etcd's members; gust tries again",
    };
    StoreError {
        act,
        hint: hint.to_owned(),
        source: Some(Box::new(error)),
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.take_lease(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, LeaseError> {
        self.renew_lease(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.end_lease(lease).await
    }

    async fn campaign(&self, lease: LeaseId, replica: &ReplicaId) -> Result<Candidacy, StoreError> {
        *lock(&self.candidate) = Some(replica.clone());
        self.stand(lease, replica).await
    }

    async fn resign(&self, term: Term) -> Result<(), StoreError> {
        self.give_up(term).await
    }

    async fn depose(&self, term: Term) -> Result<(), StoreError> {
        self.end_term(term).await
    }

    async fn join(&self, lease: LeaseId, member: &Member) -> Result<(), StoreError> {
        self.show(lease, member).await
    }

    async fn own(&self, lease: LeaseId, shard: &Shard, replica: &ReplicaId) -> Result<Ownership, StoreError> {
        self.take_shard(lease, shard, replica).await
    }

    async fn disown(&self, lease: LeaseId, shard: &Shard) -> Result<(), StoreError> {
        self.leave_shard(lease, shard).await
    }

    async fn roster(&self) -> Result<Roster, StoreError> {
        self.read_roster().await
    }

    async fn roster_changed(&self, since: Revision) -> Result<(), StoreError> {
        self.watch_roster(since).await
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.read_all().await
    }

    /// A commit whose future is dropped counts as one whose outcome is unclear.
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let revision = self.write(commit).await?;
        self.note(commit, revision);
        Ok(revision)
    }

    async fn history(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read_history(after, limit).await
    }
}
