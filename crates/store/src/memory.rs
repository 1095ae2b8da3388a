//! The store in memory: the same semantics without a disk, for tests and for the simulation.
//!
//! Several handles share one store, each for one replica, as several replicas share etcd: a campaign waits
//! while another handle leads. Leases, watches and members are not here; whoever simulates decides with
//! [`MemoryStore::lapse`] when a leader that is gone is known to be gone. It yields before and after a commit
//! takes effect, so that a crash at an await can fall on either side.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, StackName, Term},
    ports::{Commit, CommitError, Loaded, Revision, Store, StoreError},
    records::Change,
    time::Timestamp,
};
use tokio::{sync::Notify, task::yield_now};

use crate::{HistoryBounds, Journal, journal::Durable, key_prefix};

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, as by a full disk. Nothing is written.
    Refuse,
    /// It has no effect, and its caller does not learn that.
    LoseBefore,
    /// It takes effect, and its caller does not learn that.
    LoseAfter,
}

/// The cause of an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("injected fault: {0:?}")]
pub struct Injected(pub Fault);

type FaultSource = Box<dyn FnMut(&Commit) -> Option<Fault> + Send>;

/// A handle on a store in memory.
pub struct MemoryStore {
    /// Which replica's handle this is; handles compete for the lead.
    handle: u64,
    shared: Arc<Shared>,
}

struct Shared {
    prefix: String,
    bounds: HistoryBounds,
    state: Mutex<State>,
    vacant: Notify,
}

#[derive(Default)]
struct State {
    revision: u64,
    /// The highest term there was.
    term: u64,
    leader: Option<Leader>,
    handles: u64,
    records: BTreeMap<String, Vec<u8>>,
    history: BTreeMap<String, (Timestamp, Vec<u8>)>,
    /// The same keys by the end of the job.
    history_by_end: BTreeSet<(Timestamp, String)>,
    faults: Option<FaultSource>,
    journal: Option<Journal>,
}

struct Leader {
    handle: u64,
    replica: ReplicaId,
    term: Term,
}

impl MemoryStore {
    /// An empty store, with its first handle.
    pub fn new(stack: &StackName, history: HistoryBounds) -> Self {
        Self {
            handle: 0,
            shared: Arc::new(Shared {
                prefix: key_prefix(stack),
                bounds: history,
                state: Mutex::default(),
                vacant: Notify::new(),
            }),
        }
    }

    /// Another replica's handle on the same store.
    #[must_use]
    pub fn handle(&self) -> Self {
        let mut state = self.state();
        state.handles += 1;
        Self {
            handle: state.handles,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Whoever leads no longer does, as when a lease lapses.
    pub fn lapse(&self) {
        self.state().vacate();
        self.shared.vacant.notify_waiters();
    }

    /// Asks `faults` at every commit that the fence lets through.
    pub fn set_faults(&self, faults: impl FnMut(&Commit) -> Option<Fault> + Send + 'static) {
        self.state().faults = Some(Box::new(faults));
    }

    /// Writes a line into `journal` for every commit whose caller learns of it.
    pub fn set_journal(&self, journal: Journal) {
        self.state().journal = Some(journal);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it is held is a broken test's; what it left is as good as any state.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lead unless another handle has it.
    fn try_lead(&self, replica: &ReplicaId) -> Option<Term> {
        let mut state = self.state();
        if state
            .leader
            .as_ref()
            .is_some_and(|leader| leader.handle != self.handle)
        {
            return None;
        }
        state.revision += 1;
        let term = Term(state.revision);
        state.term = term.0;
        state.leader = Some(Leader {
            handle: self.handle,
            replica: replica.clone(),
            term,
        });
        Some(term)
    }
}

impl State {
    fn vacate(&mut self) {
        if self.leader.take().is_some() {
            // As in the embedded store: a term that nobody holds, above all that were held.
            self.revision += 1;
            self.term = self.revision;
        }
    }

    fn apply(&mut self, commit: &Commit, bounds: HistoryBounds) -> Revision {
        for change in &commit.changes {
            let key = change.key().to_string();
            match (change, change.value()) {
                (Change::PutHistory(record), Some(value)) => {
                    let entry = (record.ended_at, value);
                    if let Some((old, _)) = self.history.insert(key.clone(), entry) {
                        self.history_by_end.remove(&(old, key.clone()));
                    }
                    self.history_by_end.insert((record.ended_at, key));
                }
                (_, Some(value)) => {
                    self.records.insert(key, value);
                }
                (_, None) => {
                    self.records.remove(&key);
                }
            }
        }
        self.trim(bounds, commit.at);
        self.revision += 1;
        Revision(self.revision)
    }

    fn trim(&mut self, bounds: HistoryBounds, now: Timestamp) {
        while let Some((ended_at, _)) = self.history_by_end.first()
            && bounds.exceeds(*ended_at, self.history.len() as u64, now)
            && let Some((_, key)) = self.history_by_end.pop_first()
        {
            self.history.remove(&key);
        }
    }

    fn note(&mut self, prefix: &str, commit: &Commit, revision: Revision) -> Result<(), CommitError> {
        let replica = self.leader.as_ref().map(|leader| leader.replica.clone());
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let line = Durable {
            replica,
            term: commit.term,
            revision,
            keys: commit
                .changes
                .iter()
                .map(|change| change.key().to_string())
                .collect(),
            phases: commit.phases.clone(),
        };
        journal
            .append(vec![line.entry(prefix)])
            .map_err(|error| CommitError::Unclear(Box::new(error)))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn campaign(&self, replica: &ReplicaId) -> Result<Term, StoreError> {
        loop {
            // Listening begins before looking: a vacancy in between is not missed.
            let vacant = self.shared.vacant.notified();
            if let Some(term) = self.try_lead(replica) {
                return Ok(term);
            }
            vacant.await;
        }
    }

    async fn resign(&self, term: Term) -> Result<(), StoreError> {
        let leads = self
            .state()
            .leader
            .as_ref()
            .is_some_and(|leader| leader.term == term);
        if leads {
            self.lapse();
        }
        Ok(())
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        yield_now().await;
        let state = self.state();
        Ok(Loaded {
            revision: Revision(state.revision),
            records: state
                .records
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        yield_now().await;
        let outcome = self.commit_now(commit);
        yield_now().await;
        outcome
    }

    async fn history(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let page = state
            .history
            .range::<str, _>((above, Bound::Unbounded))
            .take(limit);
        Ok(page
            .map(|(key, (_, value))| (key.clone(), value.clone()))
            .collect())
    }
}

impl MemoryStore {
    fn commit_now(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let mut state = self.state();
        if state
            .leader
            .as_ref()
            .is_none_or(|leader| leader.term != commit.term)
        {
            return Err(CommitError::Fenced {
                ours: commit.term,
                theirs: Term(state.term),
            });
        }
        let fault = state.faults.as_mut().and_then(|faults| faults(commit));
        match fault {
            Some(fault @ Fault::Refuse) => Err(CommitError::Refused {
                hint: "an injected fault; repeat the commit".to_owned(),
                source: Box::new(Injected(fault)),
            }),
            Some(fault @ Fault::LoseBefore) => Err(CommitError::Unclear(Box::new(Injected(fault)))),
            Some(fault @ Fault::LoseAfter) => {
                state.apply(commit, self.shared.bounds);
                Err(CommitError::Unclear(Box::new(Injected(fault))))
            }
            None => {
                let revision = state.apply(commit, self.shared.bounds);
                state.note(&self.shared.prefix, commit, revision)?;
                Ok(revision)
            }
        }
    }
}

#[cfg(test)]
mod tests;
