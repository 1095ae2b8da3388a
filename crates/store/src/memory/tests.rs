use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::conformance::{
    Bed,
    sample::{commit, history, job},
};

struct InMemory(MemoryStore);

#[async_trait]
impl Bed for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        self.0.lapse();
        Arc::new(self.0.handle())
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(&StackName::new("gust").unwrap(), HistoryBounds::default())
}

crate::conformance_suite!(InMemory(store()));

fn put(term: Term, n: u32) -> Commit {
    commit(term, vec![Change::PutJob(job(n))])
}

#[tokio::test]
async fn a_campaign_waits_until_the_leader_is_gone() {
    let first = store();
    let second = first.handle();
    let old = first.campaign(&ReplicaId::new("a")).await.unwrap();
    let b = ReplicaId::new("b");
    let mut waiting = second.campaign(&b);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the first still leads"),
        () = yield_now() => {}
    }
    first.commit(&put(old, 1)).await.unwrap();
    first.lapse();
    let new = waiting.await.unwrap();
    assert!(new > old);
    assert!(matches!(
        first.commit(&put(old, 2)).await,
        Err(CommitError::Fenced { ours, theirs }) if ours == old && theirs == new
    ));
}

#[tokio::test]
async fn faults_refuse_or_lose_a_commit_and_its_repeat_succeeds() {
    for (fault, written) in [
        (Fault::Refuse, false),
        (Fault::LoseBefore, false),
        (Fault::LoseAfter, true),
    ] {
        let store = store();
        let term = store.campaign(&ReplicaId::new("a")).await.unwrap();
        let asked = AtomicU32::new(0);
        store.set_faults(move |_| (asked.fetch_add(1, Ordering::Relaxed) == 0).then_some(fault));
        let error = store.commit(&put(term, 1)).await.unwrap_err();
        assert_eq!(
            matches!(error, CommitError::Refused { .. }),
            fault == Fault::Refuse
        );
        assert_eq!(store.load().await.unwrap().records.len(), usize::from(written));
        store.commit(&put(term, 1)).await.unwrap();
        assert_eq!(store.load().await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn history_stays_within_its_bounds() {
    let bounds = HistoryBounds {
        most: 3,
        age: std::time::Duration::from_secs(10),
    };
    let store = MemoryStore::new(&StackName::new("gust").unwrap(), bounds);
    let term = store.campaign(&ReplicaId::new("a")).await.unwrap();
    for n in [4, 2, 0, 3, 1] {
        let changes = vec![Change::PutHistory(history(n, i64::from(n)))];
        store.commit(&commit(term, changes)).await.unwrap();
    }
    assert_eq!(store.history(None, 10).await.unwrap().len(), 3);
    // The same job again, ended later: it counts once.
    let again = vec![Change::PutHistory(history(3, 10_003))];
    store.commit(&commit(term, again)).await.unwrap();
    let left = store.history(None, 10).await.unwrap();
    let mut expected = [4, 3].map(|n| Change::PutHistory(history(n, 0)).key().to_string());
    expected.sort();
    assert_eq!(
        left.iter().map(|(key, _)| &**key).collect::<Vec<_>>(),
        expected,
        "2 is older than 10 s, 0 and 1 were beyond the count"
    );
}

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_journal_has_a_line_for_every_commit_that_was_acknowledged() {
    let text = Text::default();
    let store = store();
    store.set_journal(Journal::to_writer(text.clone(), Arc::new(|| 9)));
    let term = store.campaign(&ReplicaId::new("a")).await.unwrap();
    store.commit(&put(term, 1)).await.unwrap();
    store.commit(&put(Term(0), 2)).await.unwrap_err();
    let written = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    let entry: crate::journal::Entry = serde_json::from_str(written.trim_end()).unwrap();
    assert_eq!(
        (entry.replica.as_str(), entry.term, entry.revision),
        ("a", term.0, 2)
    );
    assert_eq!(
        entry.keys,
        [format!("/gust/v1/gust/{}", put(term, 1).changes[0].key())]
    );
}
