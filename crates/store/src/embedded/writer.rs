//! The thread that owns the file: requests in order, commits in groups.
//!
//! redb gives a handle up after its first failed read or write. So after any such failure the file is opened
//! again, and what it then says decides whether the failed commits took place.

use std::{collections::VecDeque, error::Error, fmt, sync::Arc};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Candidacy, CommitError, LeaseId, Loaded, Revision, StoreError},
};
use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Config,
    apply::{self, Prepared},
    file::{self, Opener, Position},
    hint::{hint, store_error},
    presence::{Leader, Presence},
};
use crate::{
    Journal,
    journal::{Durable, Entry},
    key_prefix,
};

/// Most commits that share one fsync.
const MOST_IN_GROUP: usize = 256;

pub(super) type CommitReply = oneshot::Sender<Result<Revision, CommitError>>;

/// What the thread is asked for. A reply nobody waits for any more is dropped.
pub(super) enum Request {
    Commit(Prepared, CommitReply),
    /// Anything else, in its turn.
    Act(Box<dyn FnOnce(&mut Writer) + Send>),
}

pub(super) struct Writer {
    config: Config,
    prefix: String,
    journal: Option<Journal>,
    opener: Opener,
    /// Absent while the file could not be opened again.
    database: Option<Database>,
    position: Position,
    /// Nobody leads after opening, since a leader's term ends with its process.
    pub presence: Presence,
    /// Tells who waits for it that the roster is another one.
    roster_version: watch::Sender<u64>,
}

impl Writer {
    pub fn open(
        config: Config,
        journal: Option<Journal>,
        opener: Opener,
        roster_version: watch::Sender<u64>,
    ) -> Result<Self, StoreError> {
        let (database, position) = file::open(&config, &opener)?;
        tracing::info!(
            file = %config.path.display(),
            revision = position.revision,
            term = position.term,
            "store open"
        );
        let mut writer = Self {
            prefix: key_prefix(&config.stack),
            config,
            journal,
            opener,
            database: Some(database),
            position,
            presence: Presence::default(),
            roster_version,
        };
        writer.complete_journal()?;
        Ok(writer)
    }

    /// Adds the lines that a crash left out, if it fell between a commit and its line.
    fn complete_journal(&mut self) -> Result<(), StoreError> {
        // A journal without lines is new; the last lines then belong to an older one.
        let Some(last) = self.journal.as_ref().and_then(Journal::last_revision) else {
            return Ok(());
        };
        let mut lines = self.read("opening the store", file::last_lines)?;
        lines.retain(|line| line.revision > last);
        match &mut self.journal {
            Some(journal) if !lines.is_empty() => journal.append(lines).map_err(|error| StoreError {
                act: "opening the store",
                hint: "the commit journal cannot be written".to_owned(),
                source: Some(Box::new(error)),
            }),
            _ => Ok(()),
        }
    }

    /// Serves until all senders are gone.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut next = VecDeque::new();
        loop {
            let Some(request) = next.pop_front().or_else(|| inbox.blocking_recv()) else {
                return;
            };
            match request {
                Request::Commit(commit, reply) => {
                    let mut group = vec![(commit, reply)];
                    while group.len() < MOST_IN_GROUP {
                        match inbox.try_recv() {
                            Ok(Request::Commit(commit, reply)) => group.push((commit, reply)),
                            Ok(other) => {
                                next.push_back(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(group);
                }
                Request::Act(act) => {
                    act(&mut self);
                    let version = self.presence.version();
                    self.roster_version
                        .send_if_modified(|seen| std::mem::replace(seen, version) != version);
                }
            }
        }
    }

    /// A second campaign on the lease that leads changes nothing.
    pub fn campaign(&mut self, lease: LeaseId, replica: ReplicaId) -> Result<Candidacy, StoreError> {
        self.presence.check("campaigning", lease)?;
        if let Some(leader) = self.presence.leader() {
            return Ok(if leader.lease == lease {
                Candidacy::Elected(leader.term)
            } else {
                Candidacy::Held {
                    leader: leader.replica.clone(),
                    term: leader.term,
                }
            });
        }
        let term = self.next_term("campaigning")?;
        tracing::info!(%replica, %term, "leading");
        self.presence.lead(Some(Leader { lease, replica, term }));
        Ok(Candidacy::Elected(term))
    }

    pub fn resign(&mut self, term: Term) -> Result<(), StoreError> {
        if self.presence.leader().is_none_or(|leader| leader.term != term) {
            return Ok(());
        }
        self.vacate("resigning")
    }

    pub fn depose(&mut self, term: Term) -> Result<(), StoreError> {
        match self.presence.leader().filter(|leader| leader.term == term) {
            Some(leader) => {
                let lease = leader.lease;
                self.presence.check_bare("ending the lease of a leader", lease)?;
                self.revoke(lease)
            }
            None => Ok(()),
        }
    }

    pub fn revoke(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.presence.revoke(lease);
        if self.presence.leader().is_none_or(|leader| leader.lease != lease) {
            return Ok(());
        }
        self.vacate("revoking a lease")
    }

    fn vacate(&mut self, act: &'static str) -> Result<(), StoreError> {
        // The lead ends before the new term is durable: if that fails, nobody leads, which is safe.
        self.presence.lead(None);
        // A new term that nobody holds: whoever still commits under the old one is told a higher number.
        self.next_term(act).map(drop)
    }

    fn next_term(&mut self, act: &'static str) -> Result<Term, StoreError> {
        let revision = self.position.revision + 1;
        let next = Position {
            revision,
            term: revision,
        };
        self.transact(next, |_| Ok(()))
            .map_err(|cause| store_error(act, &self.config.path, cause))?;
        Ok(Term(revision))
    }

    pub fn history(
        &mut self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read("reading history", |txn| file::history(txn, after, limit))
    }

    pub fn load(&mut self) -> Result<Loaded, StoreError> {
        let revision = Revision(self.position.revision);
        let records = self.read("loading the records", file::records)?;
        Ok(Loaded { revision, records })
    }

    fn commit(&mut self, group: Vec<(Prepared, CommitReply)>) {
        let theirs = Term(self.position.term);
        let leads = self.presence.leader().map(|leader| leader.term);
        let group: Vec<_> = group
            .into_iter()
            .filter_map(|(commit, reply)| {
                if Some(commit.term) == leads {
                    return Some((commit, reply));
                }
                let ours = commit.term;
                drop(reply.send(Err(CommitError::Fenced { ours, theirs })));
                None
            })
            .collect();
        if group.is_empty() {
            return;
        }
        let first = self.position.revision + 1;
        let commits: Vec<_> = group.iter().map(|(commit, _)| commit).collect();
        let lines = self.lines(first, &commits);
        let outcome = self
            .write_group(&commits, &lines)
            .and_then(|()| self.write_journal(lines));
        for (n, (_, reply)) in group.into_iter().enumerate() {
            drop(reply.send(match &outcome {
                Ok(()) => Ok(Revision(first + n as u64)),
                Err(failure) => Err(failure.into()),
            }));
        }
    }

    /// The journal's lines for commits that get revisions from `first` on; none without a journal.
    fn lines(&self, first: u64, commits: &[&Prepared]) -> Vec<Entry> {
        if self.journal.is_none() {
            return Vec::new();
        }
        let line = |(n, commit): (usize, &&Prepared)| {
            let durable = Durable {
                replica: self.presence.leader().map(|leader| leader.replica.clone()),
                term: commit.term,
                revision: Revision(first + n as u64),
                keys: commit.writes.iter().map(|write| write.key().to_owned()).collect(),
                phases: commit.phases.clone(),
            };
            durable.entry(&self.prefix)
        };
        commits.iter().enumerate().map(line).collect()
    }

    fn write_group(&mut self, commits: &[&Prepared], lines: &[Entry]) -> Result<(), Failure> {
        let before = self.position.revision;
        let position = Position {
            revision: before + commits.len() as u64,
            ..self.position
        };
        let bounds = self.config.history;
        let journaled = self.journal.is_some();
        let Err(cause) = self.transact(position, |txn| {
            if journaled {
                file::put_last_lines(txn, lines)?;
            }
            apply::apply(txn, commits, bounds)
        }) else {
            return Ok(());
        };
        tracing::error!(error = %cause, commits = commits.len(), "the store failed a commit");
        if self.database.is_some() && self.position.revision == before {
            let hint = hint(&self.config.path, &cause);
            let cause = Shared(Arc::new(cause));
            Err(Failure::Refused { hint, cause })
        } else {
            Err(Failure::Unclear(Shared(Arc::new(cause))))
        }
    }

    /// A commit that is not in the journal counts as unclear, although it took place: its repeat does no harm.
    fn write_journal(&mut self, lines: Vec<Entry>) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        journal.append(lines).map_err(|error| {
            tracing::error!(%error, cause = %error.source, "the commit journal cannot be written");
            Failure::Unclear(Shared(Arc::new(error)))
        })
    }

    /// One transaction that also moves the store to its next position.
    fn transact(
        &mut self,
        next: Position,
        body: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let outcome = self.database().and_then(|database| {
            // Durability::Immediate is redb's default: commit returns after fsync.
            let txn = database.begin_write()?;
            body(&txn)?;
            file::put_position(&txn, next)?;
            txn.commit()?;
            Ok(())
        });
        match outcome {
            Ok(()) => self.position = next,
            Err(_) => self.reopen(),
        }
        outcome
    }

    fn database(&mut self) -> Result<&Database, redb::Error> {
        if self.database.is_none() {
            self.reopen();
        }
        // PreviousIo is redb's own word for a handle that a failure has spent.
        self.database.as_ref().ok_or(redb::Error::PreviousIo)
    }

    /// Opens the file again after a failure. The old handle goes first: it has the lock.
    fn reopen(&mut self) {
        self.database = None;
        match file::open(&self.config, &self.opener) {
            Ok((database, position)) => {
                self.database = Some(database);
                self.position = position;
            }
            Err(error) => tracing::error!(error = %error, "the store cannot be opened again"),
        }
    }

    fn read<T>(
        &mut self,
        act: &'static str,
        body: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let outcome = self.database().and_then(|database| body(&database.begin_read()?));
        outcome.map_err(|cause| {
            self.reopen();
            store_error(act, &self.config.path, cause)
        })
    }
}

/// Why a whole group failed; every member of it gets an error of its own.
enum Failure {
    /// Nothing was written.
    Refused { hint: String, cause: Shared },
    /// It may have been written.
    Unclear(Shared),
}

/// One cause for many commits.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<&Failure> for CommitError {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Refused { hint, cause } => Self::Refused {
                hint: hint.clone(),
                source: Box::new(cause.clone()),
            },
            Failure::Unclear(cause) => Self::Unclear(Box::new(cause.clone())),
        }
    }
}
