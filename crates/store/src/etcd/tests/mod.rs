mod bed;
mod faults;
mod onto;

use std::time::Duration;

use gust_core::{
    ids::{ProjectId, Region},
    ports::CommitPhase,
    records::{Change, Step},
    time::Timestamp,
};

use super::*;
use crate::conformance::sample::{commit, history, job};
use bed::{Cluster, Fate};

crate::conformance_suite!(Cluster::new());

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name)
}

async fn lead(store: &EtcdStore) -> (LeaseId, Term) {
    let lease = store.grant(Duration::from_secs(5)).await.unwrap().id;
    match store.campaign(lease, &replica("a")).await.unwrap() {
        Candidacy::Elected(term) => (lease, term),
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

fn put(term: Term, n: u32) -> Commit {
    commit(term, vec![Change::PutJob(job(n))])
}

/// The first job with so many attempts.
fn attempt(term: Term, attempts: u32) -> Commit {
    let mut record = job(1);
    record.attempts = attempts;
    commit(term, vec![Change::PutJob(record)])
}

async fn keys(store: &EtcdStore) -> Vec<String> {
    let loaded = store.load().await.unwrap();
    loaded.records.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn what_a_lapsed_lease_carried_is_gone_and_the_lead_is_free() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (lease, term) = lead(&store).await;
    let member = Member {
        replica: replica("a"),
        zone: String::new(),
        address: String::new(),
        version: String::new(),
        config: String::new(),
    };
    let shard = Shard {
        project: ProjectId::new("p"),
        region: Region::new("r"),
    };
    store.join(lease, &member).await.unwrap();
    store.own(lease, &shard, &replica("a")).await.unwrap();
    cluster.world().pass(Duration::from_secs(3));
    assert_eq!(store.renew(lease).await.unwrap(), Duration::from_secs(5));
    cluster.world().pass(Duration::from_millis(4900));
    assert_eq!(store.roster().await.unwrap().owners[&shard], replica("a"));
    cluster.world().pass(Duration::from_secs(1));
    let roster = store.roster().await.unwrap();
    assert_eq!(
        (roster.leader, roster.members.len(), roster.owners.len()),
        (None, 0, 0)
    );
    assert!(matches!(store.renew(lease).await, Err(LeaseError::Gone)));
    let fenced = store.commit(&put(term, 1)).await.unwrap_err();
    assert!(matches!(fenced, CommitError::Fenced { theirs, .. } if theirs > term));
    assert!(lead(&store).await.1 > term);
}

#[tokio::test]
async fn a_ttl_is_rounded_up_to_whole_seconds() {
    let store = Cluster::new().store();
    let lease = store.grant(Duration::from_millis(4001)).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(5));
}

#[tokio::test]
async fn a_load_begins_again_when_its_revision_is_compacted_between_pages() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    let jobs = (0..30).map(|n| Change::PutJob(job(n))).collect();
    store.commit(&commit(term, jobs)).await.unwrap();
    let mut reads = 0;
    let other = Arc::new(Txn {
        success: vec![Op::Put {
            key: "elsewhere".to_owned(),
            value: Arc::default(),
            lease: 0,
        }],
        ..Txn::default()
    });
    cluster.world().before_range = Box::new(move |fake| {
        reads += 1;
        if reads == 3 {
            let revision = model::txn(fake, &other).unwrap().revision;
            fake.compact(revision).unwrap();
        }
    });
    assert_eq!(keys(&store).await.len(), 30);
}

#[tokio::test]
async fn a_load_is_of_one_revision_whatever_is_written_meanwhile() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (_, term) = lead(&store).await;
    let jobs = (0..30).map(|n| Change::PutJob(job(n))).collect();
    store.commit(&commit(term, jobs)).await.unwrap();
    let before = keys(&store).await;
    let gone = before.last().unwrap().clone();
    cluster.world().before_range = Box::new(move |fake| {
        let delete = Txn {
            success: vec![Op::Delete(format!("/gust/v1/gust/{gone}"))],
            ..Txn::default()
        };
        model::txn(fake, &delete).unwrap();
    });
    let store = cluster.store();
    assert_eq!(keys(&store).await.len(), 29, "deleted before the first page");
    cluster.world().before_range = Box::new(|_| {});
}

#[tokio::test]
async fn a_broken_watch_lets_the_waiter_look() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let since = store.roster().await.unwrap().revision;
    let waiting = store.roster_changed(since);
    let breaking = async {
        tokio::task::yield_now().await;
        cluster.break_watches();
    };
    let (changed, ()) = tokio::join!(waiting, breaking);
    changed.unwrap();
}

#[tokio::test]
async fn a_compacted_watch_lets_the_waiter_look() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let since = store.roster().await.unwrap().revision;
    let (_, term) = lead(&store).await;
    for n in 0..3 {
        store.commit(&put(term, n)).await.unwrap();
    }
    let revision = cluster.world().model.revision();
    cluster.world().model.compact(revision).unwrap();
    store.roster_changed(since).await.unwrap();
}

#[tokio::test]
async fn history_stays_within_its_bounds() {
    let cluster = Cluster::new();
    let config = Config {
        history: HistoryBounds {
            most: 100,
            age: Duration::from_secs(10),
        },
        ..Cluster::config()
    };
    let store = EtcdStore::new(Arc::new(cluster.clone()), config.clone());
    let (_, term) = lead(&store).await;
    let add = |n: u32, ended_at: i64| commit(term, vec![Change::PutHistory(history(n, ended_at))]);
    for n in 0..250 {
        store.commit(&add(n, i64::from(n))).await.unwrap();
        let kept = store.history(None, 1000).await.unwrap().len();
        assert_eq!(kept, (n as usize + 1).min(100), "after {n}");
    }
    // The same job again, ended later: its first place in the order goes, the summary stays.
    store.commit(&add(150, 251)).await.unwrap();
    for n in 250..350 {
        store.commit(&add(n, i64::from(n))).await.unwrap();
    }
    let key = Change::PutHistory(history(150, 0)).key().to_string();
    let left = store.history(None, 1000).await.unwrap();
    assert!(left.iter().any(|(left, _)| *left == key));
    // A successor counts what is there, and all are older than 10 s by now.
    let store = EtcdStore::new(Arc::new(cluster.clone()), config);
    for n in 0..10 {
        store.commit(&add(1000 + n, 20_000)).await.unwrap();
    }
    assert_eq!(store.history(None, 1000).await.unwrap().len(), 10);
    let by_end = Layout::new(&Cluster::config().stack).history_by_end();
    let places = model::range(&cluster.world().model, &Range::all(by_end)).unwrap();
    assert_eq!(places.count, 10);
}

#[test]
fn a_part_holds_whole_steps_that_etcd_takes() {
    let layout = Layout::new(&StackName::new("gust").unwrap());
    let step = |range: std::ops::Range<u32>| Step {
        phase: CommitPhase::Booked,
        changes: range.map(|n| Change::PutJob(job(n))).collect(),
    };
    let lengths = |steps: Vec<Step>| {
        let commit = Commit {
            term: Term(1),
            at: Timestamp(0),
            steps,
        };
        let parts = pack::pack(&layout, &commit);
        parts
            .iter()
            .map(std::collections::BTreeMap::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(lengths(Vec::new()), [0], "an empty commit is guarded, too");
    assert_eq!(lengths(vec![step(0..60), step(60..127)]), [127]);
    assert_eq!(lengths(vec![step(0..60), step(60..128)]), [60, 68]);
    assert_eq!(
        lengths(vec![step(0..60), step(0..127)]),
        [127],
        "the same keys count once"
    );
    assert_eq!(
        lengths(vec![step(0..5), step(5..305), step(305..310)]),
        [5, 127, 127, 51]
    );
    let big = |n| {
        let mut job = job(n);
        job.facts.rules = vec!["x".repeat(600_000)];
        Step {
            phase: CommitPhase::Booked,
            changes: vec![Change::PutJob(job)],
        }
    };
    assert_eq!(lengths(vec![big(0), big(1), step(2..3)]), [1, 2]);
}

/// The cluster is another one now, with this history.
fn replace(cluster: &Cluster, puts: usize) {
    let mut model = gust_fakes::etcd::Model::default();
    let other = Txn {
        success: vec![Op::Put {
            key: "/other".to_owned(),
            value: Value::from(*b"x"),
            lease: 0,
        }],
        ..Txn::default()
    };
    for _ in 0..puts {
        model::txn(&mut model, &other).expect("it is well formed");
    }
    cluster.world().model = model;
}

#[tokio::test]
async fn an_etcd_that_went_back_is_not_believed_any_more() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (lease, term) = lead(&store).await;
    for n in 0..5 {
        store.commit(&put(term, n)).await.expect("we lead");
    }
    replace(&cluster, 0);
    let first = store.commit(&put(term, 9)).await;
    assert!(matches!(first, Err(CommitError::Unclear(_))), "{first:?}");
    // From now on nothing is asked, not even by who would begin anew.
    for refused in [
        store.load().await.map(drop),
        store.roster().await.map(drop),
        store.grant(Duration::from_secs(5)).await.map(drop),
        store.campaign(lease, &replica("a")).await.map(drop),
    ] {
        let error = refused.expect_err("it is another etcd");
        assert!(error.to_string().contains("restart all replicas"), "{error}");
    }
    assert!(matches!(store.renew(lease).await, Err(LeaseError::Unclear(_))));
    assert_eq!(
        cluster.world().model.revision(),
        Cluster::new().world().model.revision()
    );
    // A replica that starts knows nothing of what was.
    let (_, term) = lead(&cluster.store()).await;
    cluster.store().commit(&put(term, 1)).await.expect("it leads");
}

#[tokio::test]
async fn another_etcd_that_is_ahead_is_told_by_the_lease() {
    let cluster = Cluster::new();
    let store = cluster.store();
    let (lease, term) = lead(&store).await;
    replace(&cluster, 100);
    assert!(matches!(store.renew(lease).await, Err(LeaseError::Gone)));
    let fenced = store.commit(&put(term, 1)).await;
    assert!(matches!(fenced, Err(CommitError::Fenced { .. })), "{fenced:?}");
}
