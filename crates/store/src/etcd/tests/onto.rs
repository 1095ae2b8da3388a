//! Loading once more gives what a first load gives.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::conformance::sample::random_changes;

#[tokio::test]
async fn a_load_onto_an_earlier_one_finds_what_a_first_load_finds() {
    for seed in 0..10 {
        let cluster = Cluster::new();
        let (leader, standby) = (cluster.store(), cluster.store());
        let (_, term) = lead(&leader).await;
        for (nth, mut changes) in random_changes(seed, 40).into_iter().enumerate() {
            for change in &mut changes {
                if let Change::PutJob(record) = change {
                    record.attempts = nth as u32;
                }
            }
            leader.commit(&commit(term, changes)).await.unwrap();
            if nth % 3 != 0 {
                let (again, first) = (
                    standby.load().await.unwrap(),
                    cluster.store().load().await.unwrap(),
                );
                assert_eq!(again.revision, first.revision);
                assert_eq!(again.records, first.records, "seed {seed}, list {nth}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_stands_by_reads_what_has_changed_and_no_pages() {
    let cluster = Cluster::new();
    let (leader, standby) = (cluster.store(), cluster.store());
    let (_, term) = lead(&leader).await;
    let jobs = |of: std::ops::Range<u32>| of.map(|n| Change::PutJob(job(n))).collect();
    leader.commit(&commit(term, jobs(0..30))).await.unwrap();
    assert_eq!(keys(&standby).await.len(), 30);
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pages);
    cluster.world().before_range = Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let mut changes: Vec<Change> = jobs(30..32);
    changes.push(Change::RemoveJob(job(3).job));
    leader.commit(&commit(term, changes)).await.unwrap();
    assert_eq!(keys(&standby).await.len(), 31);
    assert_eq!(pages.load(Ordering::Relaxed), 0, "one transaction tells it all");
    // So much has changed that all is better read anew.
    leader.commit(&commit(term, jobs(40..70))).await.unwrap();
    assert_eq!(keys(&standby).await.len(), 61);
    assert!(pages.load(Ordering::Relaxed) > 0);
}
