//! The file: its tables, its format, and opening it with every page verified.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::Path};

use gust_core::{ids::StackName, ports::StoreError};
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use super::{Config, hint::store_error};
use crate::journal::Entry;

/// Key below the stack's prefix to the record as JSON; all records but history.
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Key below the stack's prefix to the end of the job (Unix ms) and the summary as JSON.
pub(super) const HISTORY: TableDefinition<'_, &str, (i64, &[u8])> = TableDefinition::new("history");
/// The same keys by the end of the job, so that the oldest are found.
pub(super) const HISTORY_BY_END: TableDefinition<'_, (i64, &str), ()> =
    TableDefinition::new("history_by_end");
/// Format, revision and term.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Stack, and the journal lines of the last group.
pub(super) const NAMES: TableDefinition<'_, &str, &str> = TableDefinition::new("names");

pub(super) const REVISION: &str = "revision";
pub(super) const TERM: &str = "term";
const FORMAT_KEY: &str = "format";
const STACK: &str = "stack";
const LAST_LINES: &str = "last_lines";

/// What this version reads and writes. Raised whenever an older gust would misread the file.
const FORMAT: u64 = 1;

/// Page cache. The live records of 10,000 machines fit, and the process stays small.
const CACHE_BYTES: usize = 32 << 20;

/// How the database comes to be open: from the path, or in tests on something that fails on demand.
pub(super) type Opener = Box<dyn Fn(&mut Builder) -> Result<Database, redb::DatabaseError> + Send>;

/// Opens the file at a path, only for its owner.
pub(super) fn opener(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |builder| {
        make_private(&path).map_err(redb::StorageError::from)?;
        builder.create(&path)
    })
}

fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Where the store stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub revision: u64,
    pub term: u64,
}

/// Opens the database, verifies it, and checks that it is ours to write.
pub(super) fn open(config: &Config, opener: &Opener) -> Result<(Database, Position), StoreError> {
    let act = "opening the store";
    let failed = |cause: redb::Error| store_error(act, &config.path, cause);
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .set_repair_callback(|_| tracing::info!("the store was not closed cleanly: recovering"));
    let database = opener(&mut builder).map_err(|e| failed(e.into()))?;
    let found = found(&database).map_err(failed)?;
    refuse_foreign(config, &found)?;
    let position = match found.format {
        Some(_) => found.position,
        None => begin(&database, &config.stack).map_err(failed)?,
    };
    Ok((database, position))
}

/// What a file says of itself.
struct Found {
    format: Option<u64>,
    stack: Option<String>,
    position: Position,
}

fn found(database: &Database) -> Result<Found, redb::Error> {
    let txn = database.begin_read()?;
    let numbers = match txn.open_table(NUMBERS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => {
            return Ok(Found {
                format: None,
                stack: None,
                position: Position::default(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let number = |key| -> Result<Option<u64>, redb::Error> { Ok(numbers.get(key)?.map(|n| n.value())) };
    Ok(Found {
        format: number(FORMAT_KEY)?,
        stack: txn
            .open_table(NAMES)?
            .get(STACK)?
            .map(|name| name.value().to_owned()),
        position: Position {
            revision: number(REVISION)?.unwrap_or(0),
            term: number(TERM)?.unwrap_or(0),
        },
    })
}

fn refuse_foreign(config: &Config, found: &Found) -> Result<(), StoreError> {
    let file = config.path.display();
    let refuse = |hint| {
        Err(StoreError {
            act: "opening the store",
            hint,
            source: None,
        })
    };
    match (found.format, &found.stack) {
        (Some(format), _) if format > FORMAT => refuse(format!(
            "{file} has format {format}, this gust knows formats up to {FORMAT}; use the newer gust that wrote it"
        )),
        (Some(_), Some(stack)) if stack != config.stack.as_str() => refuse(format!(
            "{file} belongs to stack `{stack}`, not `{}`; use another data directory or the old stack name",
            config.stack
        )),
        _ => Ok(()),
    }
}

fn begin(database: &Database, stack: &StackName) -> Result<Position, redb::Error> {
    let position = Position::default();
    let txn = database.begin_write()?;
    txn.open_table(RECORDS)?;
    txn.open_table(HISTORY)?;
    txn.open_table(HISTORY_BY_END)?;
    txn.open_table(NUMBERS)?.insert(FORMAT_KEY, FORMAT)?;
    txn.open_table(NAMES)?.insert(STACK, stack.as_str())?;
    put_position(&txn, position)?;
    txn.commit()?;
    Ok(position)
}

/// Writes where the store stands, as part of what moved it there.
pub(super) fn put_position(txn: &WriteTransaction, position: Position) -> Result<(), redb::Error> {
    let mut numbers = txn.open_table(NUMBERS)?;
    numbers.insert(REVISION, position.revision)?;
    numbers.insert(TERM, position.term)?;
    Ok(())
}

/// Keeps the journal lines of a group, as part of its transaction.
pub(super) fn put_last_lines(txn: &WriteTransaction, lines: &[Entry]) -> Result<(), redb::Error> {
    let text = serde_json::to_string(lines).expect("text and numbers are always JSON");
    txn.open_table(NAMES)?.insert(LAST_LINES, &*text)?;
    Ok(())
}

/// The journal lines of the last group that was committed with a journal.
pub(super) fn last_lines(txn: &ReadTransaction) -> Result<Vec<Entry>, redb::Error> {
    let names = txn.open_table(NAMES)?;
    let text = names.get(LAST_LINES)?;
    Ok(text
        .and_then(|text| serde_json::from_str(text.value()).ok())
        .unwrap_or_default())
}

/// All records but history.
pub(super) fn records(txn: &ReadTransaction) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let mut all = Vec::new();
    for entry in txn.open_table(RECORDS)?.iter()? {
        let (key, value) = entry?;
        all.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok(all)
}

/// Up to `limit` summaries above `after`.
pub(super) fn history(
    txn: &ReadTransaction,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let table = txn.open_table(HISTORY)?;
    let from = match after {
        Some(key) => std::ops::Bound::Excluded(key),
        None => std::ops::Bound::Unbounded,
    };
    let mut page = Vec::new();
    for entry in table
        .range::<&str>((from, std::ops::Bound::Unbounded))?
        .take(limit)
    {
        let (key, value) = entry?;
        page.push((key.value().to_owned(), value.value().1.to_vec()));
    }
    Ok(page)
}
