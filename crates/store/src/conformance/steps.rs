//! Commits of several steps, and large ones.

use std::collections::BTreeSet;

use gust_core::{
    ports::{Commit, CommitPhase},
    records::{Change, Step},
    time::Timestamp,
};

use super::{
    Bed, keys, lead, load,
    sample::{history, job},
};

fn step(changes: Vec<Change>) -> Step {
    Step {
        phase: CommitPhase::Booked,
        changes,
    }
}

/// A step as large as a batch of a thousand machines, and many small ones.
pub async fn a_commit_may_be_larger_than_any_transaction(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let large = step((0..1000).map(|n| Change::PutJob(job(n))).collect());
    let small = (0..500).map(|n| {
        step(vec![
            Change::RemoveJob(job(2 * n).job),
            Change::PutHistory(history(n, 1)),
        ])
    });
    let commit = Commit {
        term,
        at: Timestamp(1),
        steps: std::iter::once(large).chain(small).collect(),
    };
    let revision = store.commit(&commit).await.expect("we lead");
    let loaded = load(&*store).await;
    assert!(loaded.revision >= revision);
    let expected: BTreeSet<_> = (0..500)
        .map(|n| Change::PutJob(job(2 * n + 1)).key().to_string())
        .collect();
    assert_eq!(keys(&loaded), expected.iter().map(|key| &**key).collect());
    let summaries = store.history(None, 1000).await.expect("the store works");
    assert_eq!(summaries.len(), 500);
}

/// A key may be put and removed again and again within one commit.
pub async fn of_several_steps_the_last_word_on_a_key_holds(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let mut last = job(1);
    last.attempts = 7;
    let commit = Commit {
        term,
        at: Timestamp(1),
        steps: vec![
            step(vec![Change::PutJob(job(1)), Change::PutJob(job(2))]),
            step(vec![Change::RemoveJob(job(1).job), Change::RemoveJob(job(2).job)]),
            step(vec![Change::PutJob(last.clone())]),
        ],
    };
    store.commit(&commit).await.expect("we lead");
    let put = Change::PutJob(last);
    let expected = vec![(put.key().to_string(), put.value().expect("a put has a value"))];
    assert_eq!(load(&*store).await.records, expected);
}
