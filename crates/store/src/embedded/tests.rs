use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, PermissionsExt},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gust_core::records::Change;
use redb::{StorageBackend, backends::FileBackend};
use tempfile::TempDir;

use super::*;
use crate::{
    conformance::{
        Bed,
        sample::{commit, history, job},
    },
    journal::Entry,
};

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.redb")
    }

    fn config(&self) -> Config {
        Config::new(self.path(), StackName::new("gust").unwrap())
    }

    async fn store(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.config(), None).await.unwrap()
    }
}

#[async_trait]
impl Bed for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store().await)
    }
}

crate::conformance_suite!(OnDisk::new());

async fn lead(store: &EmbeddedStore) -> Term {
    let lease = store.grant(Duration::from_secs(5)).await.unwrap().id;
    match store.campaign(lease, &ReplicaId::new("a")).await.unwrap() {
        Candidacy::Elected(term) => term,
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

fn put(term: Term, n: u32) -> Commit {
    commit(term, vec![Change::PutJob(job(n))])
}

async fn hint_of_open(config: Config) -> String {
    let error = EmbeddedStore::open(config, None).await.unwrap_err();
    assert_eq!(error.act, "opening the store");
    error.hint
}

#[tokio::test]
async fn a_second_process_is_told_which_file_is_in_use() {
    let disk = OnDisk::new();
    let first = disk.store().await;
    let hint = hint_of_open(disk.config()).await;
    assert!(hint.contains("another process uses"), "{hint}");
    assert!(hint.contains(&disk.path().display().to_string()), "{hint}");
    drop(first);
    disk.store().await;
}

#[tokio::test]
async fn a_file_of_another_stack_is_refused() {
    let disk = OnDisk::new();
    drop(disk.store().await);
    let other = Config::new(disk.path(), StackName::new("other").unwrap());
    let hint = hint_of_open(other).await;
    assert!(hint.contains("belongs to stack `gust`, not `other`"), "{hint}");
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused() {
    let disk = OnDisk::new();
    drop(disk.store().await);
    let database = redb::Database::open(disk.path()).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(file::NUMBERS)
        .unwrap()
        .insert("format", 2)
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let hint = hint_of_open(disk.config()).await;
    assert!(
        hint.contains("has format 2, this gust knows formats up to 1"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let disk = OnDisk::new();
    fs::write(disk.path(), "stack = \"gust\"\n".repeat(10_000)).unwrap();
    let hint = hint_of_open(disk.config()).await;
    assert!(hint.contains("is damaged, or no store of gust"), "{hint}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let disk = OnDisk::new();
    let mut config = disk.config();
    config.path = disk.0.path().join("gone/store.redb");
    let hint = hint_of_open(config).await;
    assert!(hint.contains("does not exist; create it"), "{hint}");
}

/// A flipped byte is either found or was in no page that counts; never does it change what is read.
#[tokio::test]
async fn a_damaged_file_is_refused_or_whole() {
    let disk = OnDisk::new();
    let store = disk.store().await;
    let term = lead(&store).await;
    for n in 0..200 {
        store.commit(&put(term, n)).await.unwrap();
    }
    let intact = store.load().await.unwrap().records;
    drop(store);
    let good = fs::read(disk.path()).unwrap();
    let mut found = 0;
    for at in (0..good.len()).step_by(good.len() / 40) {
        fs::write(disk.path(), &good).unwrap();
        let file = fs::OpenOptions::new().write(true).open(disk.path()).unwrap();
        file.write_all_at(&[!good[at]], at as u64).unwrap();
        match EmbeddedStore::open(disk.config(), None).await {
            Ok(store) => assert_eq!(store.load().await.unwrap().records, intact, "byte {at}"),
            Err(error) => {
                assert!(error.hint.contains("is damaged"), "byte {at}: {error}");
                found += 1;
            }
        }
    }
    assert!(found > 0);
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let disk = OnDisk::new();
    drop(disk.store().await);
    let mode = fs::metadata(disk.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A disk that is full while the switch is on.
#[derive(Debug)]
struct FullDisk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            Err(ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

async fn on_full_disk(disk: &OnDisk, full: &Arc<AtomicBool>) -> EmbeddedStore {
    let (path, full) = (disk.path(), Arc::clone(full));
    let opener: Opener = Box::new(move |builder| {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(redb::StorageError::from)?;
        builder.create_with_backend(FullDisk {
            file: FileBackend::new(file)?,
            full: Arc::clone(&full),
        })
    });
    EmbeddedStore::open_with(disk.config(), None, opener)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_same_commit_succeeds_later() {
    let disk = OnDisk::new();
    let full = Arc::new(AtomicBool::new(false));
    let store = on_full_disk(&disk, &full).await;
    let term = lead(&store).await;
    store.commit(&put(term, 1)).await.unwrap();
    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        match store.commit(&put(term, 2)).await.unwrap_err() {
            CommitError::Refused { hint, .. } => {
                assert!(hint.contains("free space for"), "{hint}");
                assert!(hint.contains("nothing is lost, gust tries again"), "{hint}");
            }
            CommitError::Unclear(_) => {}
            CommitError::Fenced { .. } => panic!("nobody else leads"),
        }
    }
    full.store(false, Ordering::SeqCst);
    store.commit(&put(term, 2)).await.unwrap();
    let expected = store.load().await.unwrap().records;
    assert_eq!(expected.len(), 2);
    drop(store);
    assert_eq!(disk.store().await.load().await.unwrap().records, expected);
}

#[tokio::test]
async fn nobody_leads_after_a_restart_until_a_campaign() {
    let disk = OnDisk::new();
    let store = disk.store().await;
    let old = lead(&store).await;
    drop(store);
    let store = disk.store().await;
    assert!(matches!(
        store.commit(&put(old, 1)).await,
        Err(CommitError::Fenced { .. })
    ));
    assert!(lead(&store).await > old);
}

#[tokio::test]
async fn history_stays_within_its_bounds() {
    let disk = OnDisk::new();
    let mut config = disk.config();
    config.history = HistoryBounds {
        most: 3,
        age: Duration::from_secs(10),
    };
    let store = EmbeddedStore::open(config, None).await.unwrap();
    let term = lead(&store).await;
    for n in [4, 2, 0, 3, 1] {
        let changes = vec![Change::PutHistory(history(n, i64::from(n)))];
        store.commit(&commit(term, changes)).await.unwrap();
    }
    // The same job again, ended later: it counts once.
    let again = vec![Change::PutHistory(history(3, 10_003))];
    store.commit(&commit(term, again)).await.unwrap();
    let left: Vec<_> = store
        .history(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let mut expected: Vec<_> = [4, 3]
        .map(|n| Change::PutHistory(history(n, 0)).key().to_string())
        .into();
    expected.sort();
    assert_eq!(
        left, expected,
        "2 is older than 10 s, 0 and 1 were beyond the count"
    );
}

#[tokio::test]
async fn every_acknowledged_commit_is_in_the_journal_and_survives() {
    let disk = OnDisk::new();
    let path = disk.0.path().join("journal");
    let journal = Journal::open(&path, Arc::new(|| 7)).unwrap();
    let store = EmbeddedStore::open(disk.config(), Some(journal)).await.unwrap();
    let term = lead(&store).await;
    let mut acknowledged = Vec::new();
    for n in 0..5 {
        acknowledged.push(store.commit(&put(term, n)).await.unwrap().0);
    }
    store.commit(&put(Term(0), 9)).await.unwrap_err();
    let text = fs::read_to_string(&path).unwrap();
    let entries: Vec<Entry> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let revisions: Vec<_> = entries.iter().map(|entry| entry.revision).collect();
    assert_eq!(revisions, acknowledged);
    assert!(
        entries
            .iter()
            .all(|entry| entry.replica == "a" && entry.term == term.0)
    );
    assert!(entries[0].keys[0].starts_with("/gust/v1/gust/jobs/main/"));
}

#[tokio::test]
async fn a_line_that_a_crash_left_out_is_added_before_anybody_leads() {
    let disk = OnDisk::new();
    let path = disk.0.path().join("journal");
    let open = async |now: u64| {
        let journal = Journal::open(&path, Arc::new(move || now)).unwrap();
        EmbeddedStore::open(disk.config(), Some(journal)).await.unwrap()
    };
    let store = open(1).await;
    let term = lead(&store).await;
    store.commit(&put(term, 1)).await.unwrap();
    store.commit(&put(term, 2)).await.unwrap();
    drop(store);
    // As if the crash had come after the second commit and before its line.
    let whole = fs::read_to_string(&path).unwrap();
    let (first, second) = whole.split_once('\n').unwrap();
    fs::write(&path, format!("{first}\n")).unwrap();
    drop(open(2).await);
    let expected = format!("{first}\n{}", second.replace("\"unix_ns\":1", "\"unix_ns\":2"));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    drop(open(3).await);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        expected,
        "no line comes twice"
    );
}

#[tokio::test]
async fn a_commit_that_cannot_be_journaled_is_not_acknowledged() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let disk = OnDisk::new();
    let journal = Journal::to_writer(Broken, Arc::new(|| 7));
    let store = EmbeddedStore::open(disk.config(), Some(journal)).await.unwrap();
    let term = lead(&store).await;
    assert!(matches!(
        store.commit(&put(term, 1)).await,
        Err(CommitError::Unclear(_))
    ));
}
