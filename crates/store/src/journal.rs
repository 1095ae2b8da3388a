//! The commit journal: one JSON line a commit, so that a checker can hold the world's events against what
//! was durable before them.
//!
//! A line is written after its commit became durable and before the caller hears of it. So every effect that
//! a commit allows comes after its line. A crash in between leaves the line out; the embedded store adds it when it
//! is opened again, which is before anybody acts on what it holds.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{CommitPhase, Revision},
};
use serde::{Deserialize, Serialize};

/// Wall time in nanoseconds since the Unix epoch, asked for when a line is written.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the commit was known to be durable.
    pub unix_ns: u64,
    /// Who committed.
    pub replica: String,
    /// In which term.
    pub term: u64,
    /// The store's revision after the commit.
    pub revision: u64,
    /// The keys it touched, whole (`/gust/v1/<stack>/…`), in the order of the commit.
    pub keys: Vec<String>,
    /// The commit's phases, joined by `+`.
    pub phase: String,
}

/// What the store knows of a commit when it is durable; the journal adds the time.
pub(crate) struct Durable {
    pub replica: Option<ReplicaId>,
    pub term: Term,
    pub revision: Revision,
    pub keys: Vec<String>,
    pub phases: Vec<CommitPhase>,
}

impl Durable {
    /// Its line, but for the time.
    pub(crate) fn entry(&self, prefix: &str) -> Entry {
        let phases: Vec<_> = self.phases.iter().map(|phase| phase.as_str()).collect();
        Entry {
            unix_ns: 0,
            replica: self
                .replica
                .as_ref()
                .map(ReplicaId::to_string)
                .unwrap_or_default(),
            term: self.term.0,
            revision: self.revision.0,
            keys: self.keys.iter().map(|key| format!("{prefix}{key}")).collect(),
            phase: phases.join("+"),
        }
    }
}

/// A journal that cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("commit journal {} cannot be {act}", path.display())]
pub struct JournalError {
    /// Which.
    pub path: PathBuf,
    /// `opened` or `written`.
    pub act: &'static str,
    /// The cause.
    #[source]
    pub source: io::Error,
}

enum Medium {
    /// The file and the length up to which it holds whole lines.
    File {
        file: File,
        whole: u64,
    },
    Writer(Box<dyn Write + Send>),
}

/// An open journal.
pub struct Journal {
    path: PathBuf,
    medium: Medium,
    clock: WallClock,
    last_revision: Option<u64>,
}

impl Journal {
    /// Opens or creates the file; lines are added at its end. An unfinished last line, which a crash left, is cut off.
    ///
    /// # Errors
    /// [`JournalError`] if the file cannot be opened, read or written.
    pub fn open(path: &Path, clock: WallClock) -> Result<Self, JournalError> {
        let opened = open_at_end(path).map_err(|source| JournalError {
            path: path.to_owned(),
            act: "opened",
            source,
        })?;
        let (file, whole, last) = opened;
        Ok(Self {
            path: path.to_owned(),
            medium: Medium::File { file, whole },
            clock,
            last_revision: last.map(|entry| entry.revision),
        })
    }

    /// Writes the lines to `writer`; for tests and the simulation.
    pub fn to_writer(writer: impl Write + Send + 'static, clock: WallClock) -> Self {
        Self {
            path: PathBuf::from("(writer)"),
            medium: Medium::Writer(Box::new(writer)),
            clock,
            last_revision: None,
        }
    }

    /// The revision of the last line; nothing if there is no line.
    pub(crate) fn last_revision(&self) -> Option<u64> {
        self.last_revision
    }

    /// Adds one line a commit. Either all are there and flushed, or none of this call counts.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<(), JournalError> {
        let unix_ns = (self.clock)();
        let mut lines = Vec::new();
        for entry in entries {
            let entry = Entry { unix_ns, ..entry };
            self.last_revision = Some(entry.revision);
            serde_json::to_writer(&mut lines, &entry).expect("text and numbers are always JSON");
            lines.push(b'\n');
        }
        let written = match &mut self.medium {
            Medium::File { file, whole } => write_whole(file, whole, &lines),
            Medium::Writer(writer) => writer.write_all(&lines).and_then(|()| writer.flush()),
        };
        written.map_err(|source| JournalError {
            path: self.path.clone(),
            act: "written",
            source,
        })
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.path).finish()
    }
}

fn open_at_end(path: &Path) -> io::Result<(File, u64, Option<Entry>)> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let whole = end_of_last_line(&mut file, length)?;
    if whole < length {
        tracing::warn!(journal = %path.display(), bytes = length - whole, "cut off an unfinished line");
        file.set_len(whole)?;
    }
    let last = last_entry(&mut file, whole)?;
    Ok((file, whole, last))
}

fn last_entry(file: &mut File, whole: u64) -> io::Result<Option<Entry>> {
    let start = end_of_last_line(file, whole.saturating_sub(1))?;
    file.seek(SeekFrom::Start(start))?;
    let mut line = Vec::new();
    Read::by_ref(file).take(whole - start).read_to_end(&mut line)?;
    Ok(serde_json::from_slice(&line).ok())
}

/// Length of the file up to and including its last line end.
fn end_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn write_whole(file: &mut File, whole: &mut u64, lines: &[u8]) -> io::Result<()> {
    let written = file.write_all(lines);
    match written {
        Ok(()) => *whole += lines.len() as u64,
        // What arrived of the lines must not stand before the next ones. If even this fails, the next open
        // cuts the last line at least.
        Err(_) => file.set_len(*whole)?,
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(revision: u64) -> Entry {
        let durable = Durable {
            replica: Some(ReplicaId::new("a")),
            term: Term(3),
            revision: Revision(revision),
            keys: vec!["jobs/main/1".to_owned(), "batches/2".to_owned()],
            phases: vec![CommitPhase::Booked, CommitPhase::Batch],
        };
        durable.entry("/gust/v1/s/")
    }

    #[test]
    fn a_line_says_who_did_what_when() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, Arc::new(|| 17)).unwrap();
        journal.append(vec![entry(5)]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            concat!(
                r#"{"unix_ns":17,"replica":"a","term":3,"revision":5,"#,
                r#""keys":["/gust/v1/s/jobs/main/1","/gust/v1/s/batches/2"],"phase":"booked+batch"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_reopened_journal_goes_on_after_the_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for torn in ["", "{\"unix_ns\":", &"x".repeat(200_000)] {
            fs::write(&path, format!("{{}}\n{torn}")).unwrap();
            let mut journal = Journal::open(&path, Arc::new(|| 1)).unwrap();
            journal.append(vec![entry(1), entry(2)]).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let revisions: Vec<_> = text
                .lines()
                .skip(1)
                .map(|line| serde_json::from_str::<Entry>(line).unwrap().revision)
                .collect();
            assert_eq!(revisions, [1, 2]);
            let again = Journal::open(&path, Arc::new(|| 1)).unwrap();
            assert_eq!(again.last_revision(), Some(2));
        }
    }

    #[test]
    fn a_journal_that_cannot_be_opened_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let error = Journal::open(dir.path(), Arc::new(|| 1)).unwrap_err();
        assert!(error.to_string().contains(&dir.path().display().to_string()));
    }
}
