//! The embedded store: one file, one process, durable.
//!
//! The file is a redb database; its lock makes sure that no second process uses it. So leases, members and
//! owners of shards are kept in memory and end with the process; a lease ends only by being revoked.
//! One thread owns the file and does all reads and writes, in order. Commits that wait at the same time
//! go into one transaction with one fsync, each with a revision of its own.
//!
//! # Guarantees
//! Those of [`Store`]. A commit whose future is dropped may still take place, as with any store behind a wire.
//!
//! # Assumptions
//! fsync means what it says. The thread answers in real time: this store is not for tokio's paused clock.

mod apply;
mod file;
mod hint;
mod presence;
#[cfg(test)]
mod tests;
mod writer;

use std::{path::PathBuf, thread::JoinHandle, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, Shard, StackName, Term},
    ports::{
        Candidacy, Commit, CommitError, Lease, LeaseError, LeaseId, Loaded, Member, Ownership, Revision,
        Roster, Store, StoreError,
    },
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{HistoryBounds, Journal};
use apply::Prepared;
use file::Opener;
use writer::{Request, Writer};

/// What an embedded store needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file; made if it is not there. Its directory must exist.
    pub path: PathBuf,
    /// The stack whose records it holds. A file belongs to one stack for ever.
    pub stack: StackName,
    /// How much history is kept.
    pub history: HistoryBounds,
}

impl Config {
    /// With default bounds of history.
    pub fn new(path: impl Into<PathBuf>, stack: StackName) -> Self {
        Self {
            path: path.into(),
            stack,
            history: HistoryBounds::default(),
        }
    }
}

/// An open embedded store. Dropping it closes the file and waits for that.
#[derive(Debug)]
pub struct EmbeddedStore {
    requests: Option<mpsc::Sender<Request>>,
    roster_version: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

/// Requests that may wait before callers do.
const WAITING: usize = 1024;

impl EmbeddedStore {
    /// Opens the file, verifies every page of it, and reads what term and revision it is at.
    ///
    /// # Errors
    /// The file is in use, damaged, of a newer format, of another stack, or cannot be read or written; the
    /// hint says what to do.
    pub async fn open(config: Config, journal: Option<Journal>) -> Result<Self, StoreError> {
        let opener = file::opener(&config.path);
        Self::open_with(config, journal, opener).await
    }

    async fn open_with(config: Config, journal: Option<Journal>, opener: Opener) -> Result<Self, StoreError> {
        let (requests, inbox) = mpsc::channel(WAITING);
        let (opened, outcome) = oneshot::channel();
        let (version, roster_version) = watch::channel(0);
        let thread = std::thread::Builder::new()
            .name("gust-store".to_owned())
            .spawn(move || match Writer::open(config, journal, opener, version) {
                Ok(writer) => {
                    // Nobody waits any more: the inbox is closed then, too, and the writer ends at once.
                    let _ = opened.send(Ok(()));
                    writer.run(inbox);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|source| StoreError {
                act: "starting the store's thread",
                hint: "the system is out of threads or memory".to_owned(),
                source: Some(Box::new(source)),
            })?;
        let store = Self {
            requests: Some(requests),
            roster_version,
            thread: Some(thread),
        };
        outcome
            .await
            .unwrap_or_else(|_| Err(ended("opening the store")))?;
        Ok(store)
    }

    /// Lets the thread do something in its turn.
    async fn ask<T: Send + 'static>(
        &self,
        act: &'static str,
        body: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Act(Box::new(move |writer| drop(reply.send(body(writer)))));
        let requests = self.requests.as_ref().ok_or_else(|| ended(act))?;
        requests.send(request).await.map_err(|_| ended(act))?;
        answer.await.map_err(|_| ended(act))
    }
}

fn ended(act: &'static str) -> StoreError {
    StoreError {
        act,
        hint: "the store's thread has ended; look for its panic in the log and start gust again".to_owned(),
        source: None,
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // Only so is the file's lock free for whoever opens it next. A panic was reported by the thread.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.ask("taking a lease", move |writer| writer.presence.grant(ttl))
            .await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, LeaseError> {
        self.ask("renewing a lease", move |writer| writer.presence.renew(lease))
            .await
            .unwrap_or_else(|error| Err(LeaseError::Unclear(error.to_string())))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.ask("revoking a lease", move |writer| writer.revoke(lease))
            .await?
    }

    async fn campaign(&self, lease: LeaseId, replica: &ReplicaId) -> Result<Candidacy, StoreError> {
        let replica = replica.clone();
        self.ask("campaigning", move |writer| writer.campaign(lease, replica))
            .await?
    }

    async fn resign(&self, term: Term) -> Result<(), StoreError> {
        self.ask("resigning", move |writer| writer.resign(term)).await?
    }

    async fn depose(&self, term: Term) -> Result<(), StoreError> {
        self.ask("ending the lease of a leader", move |writer| writer.depose(term))
            .await?
    }

    async fn join(&self, lease: LeaseId, member: &Member) -> Result<(), StoreError> {
        let member = member.clone();
        self.ask("joining", move |writer| writer.presence.join(lease, member))
            .await?
    }

    async fn own(&self, lease: LeaseId, shard: &Shard, replica: &ReplicaId) -> Result<Ownership, StoreError> {
        let (shard, replica) = (shard.clone(), replica.clone());
        self.ask("taking a shard", move |writer| {
            writer.presence.own(lease, shard, replica)
        })
        .await?
    }

    async fn disown(&self, lease: LeaseId, shard: &Shard) -> Result<(), StoreError> {
        let shard = shard.clone();
        self.ask("letting go of a shard", move |writer| {
            writer.presence.disown(lease, &shard);
        })
        .await
    }

    /// Its revision counts the changes since the file was opened.
    async fn roster(&self) -> Result<Roster, StoreError> {
        self.ask("looking who is there", |writer| writer.presence.roster())
            .await
    }

    async fn roster_changed(&self, since: Revision) -> Result<(), StoreError> {
        let mut version = self.roster_version.clone();
        match version.wait_for(|version| *version != since.0).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ended("waiting for another roster")),
        }
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.ask("loading the records", Writer::load).await?
    }

    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        // Encoding is done here, on the caller's thread: the one that writes is everybody's.
        let prepared = Prepared::from(commit);
        let (reply, answer) = oneshot::channel();
        let lost = || CommitError::Unclear(Box::new(ended("committing")));
        let requests = self.requests.as_ref().ok_or_else(lost)?;
        requests
            .send(Request::Commit(prepared, reply))
            .await
            .map_err(|_| lost())?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn history(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let after = after.map(str::to_owned);
        self.ask("reading history", move |writer| {
            writer.history(after.as_deref(), limit)
        })
        .await?
    }
}
