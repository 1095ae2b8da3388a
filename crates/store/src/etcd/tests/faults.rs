//! Messages that get lost, come late, or come twice.

use std::collections::BTreeMap;

use gust_core::records::{Book, Format};

use super::*;

fn attempts(cluster: &Cluster) -> Option<u64> {
    let key = Change::PutJob(job(1)).key().to_string();
    let value: serde_json::Value = serde_json::from_str(&cluster.get(&key)?).unwrap();
    Some(value["attempts"].as_u64().unwrap())
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_nothing_is_written_twice() {
    for fate in [Fate::LostBefore, Fate::LostAfter, Fate::Doubled] {
        let cluster = Cluster::new();
        let store = cluster.store();
        let (_, term) = lead(&store).await;
        store.commit(&put(term, 0)).await.unwrap();
        let before = cluster.world().model.revision();
        cluster.fates([fate]);
        let revision = store.commit(&put(term, 1)).await.unwrap();
        assert_eq!(revision, Revision(before + 1), "{fate:?}");
        assert_eq!(cluster.world().model.revision(), before + 1, "{fate:?}");
        assert_eq!(store.commit(&put(term, 2)).await.unwrap(), Revision(before + 2));
    }
}

#[tokio::test]
async fn a_late_message_does_not_overwrite_newer_data() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    cluster.fates([Fate::Served, Fate::Late, Fate::Served, Fate::Doubled]);
    for attempts in 1..=3 {
        store.commit(&attempt(term, attempts)).await.unwrap();
    }
    let revision = cluster.world().model.revision();
    assert_eq!(cluster.world().late.len(), 2);
    while !cluster.world().late.is_empty() {
        cluster.world().arrive(0);
    }
    assert_eq!(attempts(&cluster), Some(3));
    assert_eq!(cluster.world().model.revision(), revision);
}

#[tokio::test]
async fn a_message_of_an_older_term_that_arrives_late_writes_nothing() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (lease, old) = lead(&store).await;
    store.commit(&attempt(old, 1)).await.unwrap();
    cluster.fates([Fate::Late, Fate::Late, Fate::Late]);
    let unclear = store.commit(&attempt(old, 2)).await.unwrap_err();
    assert!(matches!(unclear, CommitError::Unclear(_)));
    store.revoke(lease).await.unwrap();
    let successor = cluster.store();
    let (_, new) = lead(&successor).await;
    cluster.world().arrive(0);
    assert_eq!(
        attempts(&cluster),
        Some(1),
        "although nothing was written in the new term yet"
    );
    successor.load().await.unwrap();
    successor.commit(&attempt(new, 3)).await.unwrap();
    cluster.world().arrive(0);
    assert_eq!(attempts(&cluster), Some(3));
    let late = store.commit(&attempt(old, 2)).await.unwrap_err();
    assert!(matches!(late, CommitError::Fenced { ours, theirs } if (ours, theirs) == (old, new)));
}

#[tokio::test]
async fn the_repeat_of_an_unclear_commit_finds_what_became_of_it() {
    for effect in [Fate::LostBefore, Fate::LostAfter] {
        let cluster = Cluster::new();
        let store = cluster.store();
        let (_, term) = lead(&store).await;
        store.commit(&put(term, 0)).await.unwrap();
        let before = cluster.world().model.revision();
        cluster.fates([effect, Fate::LostBefore, Fate::LostBefore]);
        let commit = attempt(term, 1);
        let unclear = store.commit(&commit).await.unwrap_err();
        assert!(matches!(unclear, CommitError::Unclear(_)));
        assert_eq!(
            store.commit(&commit).await.unwrap(),
            Revision(before + 1),
            "{effect:?}"
        );
        assert_eq!(attempts(&cluster), Some(1));
    }
}

#[tokio::test]
async fn an_unclear_commit_is_written_before_the_next_and_its_repeat_changes_nothing() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    store.commit(&put(term, 0)).await.unwrap();
    let before = cluster.world().model.revision();
    cluster.fates([Fate::LostBefore; 3]);
    let first = attempt(term, 1);
    store.commit(&first).await.unwrap_err();
    assert_eq!(
        store.commit(&attempt(term, 2)).await.unwrap(),
        Revision(before + 2)
    );
    assert_eq!(
        store.commit(&first).await.unwrap(),
        Revision(before + 1),
        "it was written first"
    );
    assert_eq!(attempts(&cluster), Some(2));
}

#[tokio::test]
async fn a_commit_whose_future_is_dropped_is_finished_by_the_next() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    let large = (0..300).map(|n| Change::PutJob(job(n))).collect();
    let large = commit(term, large);
    {
        let mut dropped = std::pin::pin!(store.commit(&large));
        let waker = std::task::Waker::noop();
        for _ in 0..3 {
            let poll = dropped.as_mut().poll(&mut std::task::Context::from_waker(waker));
            assert!(poll.is_pending());
        }
    }
    store.commit(&put(term, 1000)).await.unwrap();
    assert_eq!(keys(&store).await.len(), 301);
}

#[tokio::test]
async fn a_refused_commit_leaves_nothing_behind() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    cluster.fates([Fate::Served, Fate::Refused]);
    let refused = store.commit(&put(term, 1)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { .. }), "{refused}");
    store.commit(&put(term, 2)).await.unwrap();
    assert_eq!(keys(&store).await, [Change::PutJob(job(2)).key().to_string()]);
    // But once something of it may be written, it is unclear.
    cluster.fates([Fate::LostBefore, Fate::Refused]);
    let unclear = store.commit(&put(term, 1)).await.unwrap_err();
    assert!(matches!(unclear, CommitError::Unclear(_)), "{unclear}");
}

#[tokio::test]
async fn a_lost_campaign_is_adopted_with_the_term_that_it_won() {
    for fate in [Fate::LostBefore, Fate::LostAfter, Fate::Doubled] {
        let cluster = Cluster::new();
        let store = cluster.store();
        cluster.fates([fate]);
        let (_, term) = lead(&store).await;
        assert_eq!(
            store.roster().await.unwrap().leader,
            Some((replica("a"), term)),
            "{fate:?}"
        );
        store.commit(&put(term, 1)).await.unwrap();
    }
}

/// Draws the same numbers for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, below: u64) -> u64 {
        // Knuth's MMIX generator, as in the samples.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn random_commit(draw: &mut Draw, term: Term, at: i64) -> Commit {
    let steps = (0..=draw.below(4)).map(|_| {
        let (first, count) = (draw.below(20), draw.below(90));
        let change = |n: u64| {
            let mut record = job(u32::try_from(n).unwrap());
            record.attempts = u32::try_from(at).unwrap();
            match draw.below(4) {
                0 => Change::RemoveJob(record.job),
                _ => Change::PutJob(record),
            }
        };
        Step {
            phase: CommitPhase::Booked,
            changes: (first..first + count).map(change).collect(),
        }
    });
    Commit {
        term,
        at: Timestamp(at),
        steps: steps.collect(),
    }
}

/// The records after each prefix of these steps, as text, whole.
fn states(book: &mut Book, commit: &Commit) -> Vec<Book> {
    let mut states = Vec::new();
    for step in &commit.steps {
        for change in &step.changes {
            book.apply(change);
        }
        states.push(book.clone());
    }
    states
}

/// Loses, delays and doubles transactions as a seed wants, and repeats what is unclear.
async fn stormy(seed: u64) {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    let mut storm = Draw(seed);
    cluster.world().weather = Box::new(move |_| match storm.below(12) {
        0 => Fate::LostBefore,
        1 => Fate::LostAfter,
        2 => Fate::Late,
        3 => Fate::Doubled,
        4 => Fate::Refused,
        _ => Fate::Served,
    });
    let mut draw = Draw(seed + 1_000_000);
    let mut book = Book::default();
    for at in 0..12 {
        let commit = random_commit(&mut draw, term, at);
        let before = book.clone();
        let prefixes = states(&mut book, &commit);
        while let Err(error) = store.commit(&commit).await {
            assert!(
                !matches!(error, CommitError::Fenced { .. }),
                "seed {seed}: {error}"
            );
            let now = recorded(&cluster);
            assert!(
                now == before || prefixes.contains(&now),
                "seed {seed}: no prefix of the steps"
            );
            arrive(&cluster, &mut draw);
        }
        assert!(recorded(&cluster) == book, "seed {seed}, commit {at}");
        arrive(&cluster, &mut draw);
        assert!(
            recorded(&cluster) == book,
            "seed {seed}: a late message changed something"
        );
    }
}

fn arrive(cluster: &Cluster, draw: &mut Draw) {
    let mut world = cluster.world();
    while !world.late.is_empty() && draw.below(2) == 0 {
        let nth = usize::try_from(draw.below(world.late.len() as u64)).unwrap();
        world.arrive(nth);
    }
}

fn recorded(cluster: &Cluster) -> Book {
    let jobs = Keys::interval("/gust/v1/gust/jobs/", "/gust/v1/gust/jobs0");
    let found = model::range(&cluster.world().model, &Range::all(jobs)).unwrap();
    let records: BTreeMap<_, _> = found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    let records = records
        .iter()
        .map(|(key, value)| (key.trim_start_matches("/gust/v1/gust/"), &**value));
    Book::load(records, Format::OURS).unwrap()
}

#[tokio::test]
async fn whatever_is_lost_late_or_doubled_commits_take_effect_once_and_in_order() {
    for seed in 0..60 {
        stormy(seed).await;
    }
}

#[tokio::test]
async fn a_wish_to_let_go_of_a_shard_that_comes_late_takes_nothing_from_who_took_it_again() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let lease = store.grant(Duration::from_secs(5)).await.unwrap().id;
    let shard = Shard {
        project: "p".into(),
        region: "east".into(),
    };
    let us = replica("a");
    let own = || store.own(lease, &shard, &us);
    assert_eq!(own().await.unwrap(), Ownership::Ours);
    cluster.fates([Fate::Late; 3]);
    store.disown(lease, &shard).await.unwrap_err();
    assert_eq!(own().await.unwrap(), Ownership::Ours);
    while !cluster.world().late.is_empty() {
        cluster.world().arrive(0);
    }
    let owners = store.roster().await.unwrap().owners;
    assert_eq!(owners.get(&shard), Some(&us));
    // One that is not late lets go of it.
    store.disown(lease, &shard).await.unwrap();
    assert!(store.roster().await.unwrap().owners.is_empty());
}
