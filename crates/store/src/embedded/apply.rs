//! Commits in the form the writer takes them, and how they change the tables.

use gust_core::{
    ids::Term,
    ports::{Commit, CommitPhase},
    records::Change,
    time::Timestamp,
};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::file::{HISTORY, HISTORY_BY_END, RECORDS};
use crate::HistoryBounds;

/// One change, encoded.
#[derive(Debug)]
pub(super) enum Write {
    Put {
        key: String,
        value: Vec<u8>,
    },
    Remove {
        key: String,
    },
    Summary {
        key: String,
        ended_at: i64,
        value: Vec<u8>,
    },
}

impl Write {
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Remove { key } | Self::Summary { key, .. } => key,
        }
    }
}

/// A commit, encoded.
#[derive(Debug)]
pub(super) struct Prepared {
    pub term: Term,
    pub at: Timestamp,
    pub phases: Vec<CommitPhase>,
    pub writes: Vec<Write>,
}

impl From<&Commit> for Prepared {
    fn from(commit: &Commit) -> Self {
        let writes = commit.merged().into_iter().map(|change| {
            let key = change.key().to_string();
            match (change, change.value()) {
                (Change::PutHistory(record), Some(value)) => Write::Summary {
                    key,
                    ended_at: record.ended_at.0,
                    value,
                },
                (_, Some(value)) => Write::Put { key, value },
                (_, None) => Write::Remove { key },
            }
        });
        Self {
            term: commit.term,
            at: commit.at,
            phases: commit.phases(),
            writes: writes.collect(),
        }
    }
}

/// Applies commits in order, and forgets the history that exceeds its bounds.
pub(super) fn apply(
    txn: &WriteTransaction,
    commits: &[&Prepared],
    bounds: HistoryBounds,
) -> Result<(), redb::Error> {
    let mut records = txn.open_table(RECORDS)?;
    let mut added = 0;
    let mut now = Timestamp(i64::MIN);
    for commit in commits {
        now = now.max(commit.at);
        for write in &commit.writes {
            match write {
                Write::Put { key, value } => drop(records.insert(&**key, &**value)?),
                Write::Remove { key } => drop(records.remove(&**key)?),
                Write::Summary { key, ended_at, value } => {
                    put_summary(txn, key, *ended_at, value)?;
                    added += 1;
                }
            }
        }
    }
    if added > 0 {
        trim(txn, bounds, now, added)
    } else {
        Ok(())
    }
}

fn put_summary(txn: &WriteTransaction, key: &str, ended_at: i64, value: &[u8]) -> Result<(), redb::Error> {
    let mut by_end = txn.open_table(HISTORY_BY_END)?;
    let replaced = txn
        .open_table(HISTORY)?
        .insert(key, (ended_at, value))?
        .map(|old| old.value().0);
    if let Some(old) = replaced {
        by_end.remove((old, key))?;
    }
    by_end.insert((ended_at, key), ())?;
    Ok(())
}

/// Oldest first. A commit removes only a little more than it adds, so that lower bounds in a new
/// configuration do not make one commit long.
fn trim(
    txn: &WriteTransaction,
    bounds: HistoryBounds,
    now: Timestamp,
    added: usize,
) -> Result<(), redb::Error> {
    let mut history = txn.open_table(HISTORY)?;
    let mut by_end = txn.open_table(HISTORY_BY_END)?;
    for _ in 0..2 * added + 100 {
        let Some((ended_at, key)) = by_end.first()?.map(|(entry, _)| {
            let (ended_at, key) = entry.value();
            (ended_at, key.to_owned())
        }) else {
            break;
        };
        if !bounds.exceeds(Timestamp(ended_at), history.len()?, now) {
            break;
        }
        by_end.remove((ended_at, &*key))?;
        history.remove(&*key)?;
    }
    Ok(())
}
