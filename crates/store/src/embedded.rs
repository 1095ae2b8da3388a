//! The embedded store: one file, one process, durable.
//!
//! The file is a redb database; its lock makes sure that no second process uses it, and so stands for the
//! election. One thread owns it and does all reads and writes, in order. Commits that wait at the same time
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
#[cfg(test)]
mod tests;
mod writer;

use std::{path::PathBuf, thread::JoinHandle};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, StackName, Term},
    ports::{Commit, CommitError, Loaded, Revision, Store, StoreError},
};
use tokio::sync::{mpsc, oneshot};

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
        let thread = std::thread::Builder::new()
            .name("gust-store".to_owned())
            .spawn(move || match Writer::open(config, journal, opener) {
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
            thread: Some(thread),
        };
        outcome
            .await
            .unwrap_or_else(|_| Err(ended("opening the store")))?;
        Ok(store)
    }

    async fn ask<T>(
        &self,
        act: &'static str,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(|| ended(act))?;
        requests.send(request(reply)).await.map_err(|_| ended(act))?;
        answer.await.unwrap_or_else(|_| Err(ended(act)))
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
    /// Never waits: who has the file leads. A second campaign ends the term of the first.
    async fn campaign(&self, replica: &ReplicaId) -> Result<Term, StoreError> {
        let replica = replica.clone();
        self.ask("campaigning", |reply| Request::Campaign { replica, reply })
            .await
    }

    async fn resign(&self, term: Term) -> Result<(), StoreError> {
        self.ask("resigning", |reply| Request::Resign { term, reply })
            .await
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.ask("loading the records", Request::Load).await
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
        self.ask("reading history", |reply| Request::History {
            after,
            limit,
            reply,
        })
        .await
    }
}
