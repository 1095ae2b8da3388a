use gust_core::{
    ids::{ReplicaId, StackName, Term},
    ports::{Candidacy, Commit, CommitError, LeaseId, Store},
    time::Timestamp,
};
use gust_fakes::etcd::Applied;
use gust_server::task::Tasks;
use gust_store::{EtcdStore, etcd::Config};

use super::{
    super::net::{Passage, Weather},
    *,
};

/// Every message takes a millisecond each way.
struct Fair;

impl Weather for Fair {
    fn passage(&self, _: usize, _: Point) -> Passage {
        Passage {
            there: Duration::from_millis(1),
            fate: Fate::Served,
            back: Duration::from_millis(1),
        }
    }

    fn served(&self, _: usize, _: Point) {}
}

type Log = Arc<Mutex<Vec<(Option<usize>, Applied)>>>;

fn world() -> (EtcdWorld, Tasks, Log) {
    let (world, tasks, log) = (EtcdWorld::new(), Tasks::default(), Log::default());
    world.start_ticking(&tasks);
    let tapped = Arc::clone(&log);
    world.set_tap(Box::new(move |replica, applied| {
        tapped.lock().unwrap().push((replica, applied))
    }));
    (world, tasks, log)
}

fn store(world: &EtcdWorld, tasks: &Tasks, replica: usize) -> EtcdStore {
    let net = Net {
        weather: Arc::new(Fair),
        tasks: tasks.clone(),
    };
    let etcd = VirtualEtcd::new(world.clone(), net, replica);
    EtcdStore::new(Arc::new(etcd), Config::new(StackName::new("gust").unwrap()))
}

async fn lead(store: &EtcdStore) -> (LeaseId, Term) {
    let lease = store.grant(Duration::from_secs(5)).await.unwrap().id;
    match store.campaign(lease, &ReplicaId::new("a")).await.unwrap() {
        Candidacy::Elected(term) => (lease, term),
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

fn empty(term: Term) -> Commit {
    Commit {
        term,
        at: Timestamp(0),
        steps: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_lapses_in_time_and_a_watch_tells() {
    let (world, tasks, log) = world();
    let (a, b) = (store(&world, &tasks, 0), store(&world, &tasks, 1));
    let (_, term) = lead(&a).await;
    a.commit(&empty(term)).await.unwrap();
    let since = b.roster().await.unwrap().revision;
    let begin = Instant::now();
    b.roster_changed(since).await.unwrap();
    assert!(begin.elapsed() > Duration::from_secs(4) && begin.elapsed() < Duration::from_secs(6));
    assert_eq!(b.roster().await.unwrap().leader, None);
    let log = log.lock().unwrap();
    let seen: Vec<_> = log
        .iter()
        .map(|(replica, applied)| (*replica, applied.guard))
        .collect();
    assert_eq!(seen, [(Some(0), None), (Some(0), Some(term.0)), (None, None)]);
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_calls_hang_leases_last_and_some_writes_come_late() {
    let (world, tasks, log) = world();
    let a = store(&world, &tasks, 0);
    let (lease, term) = lead(&a).await;
    a.commit(&empty(term)).await.unwrap();
    world.no_quorum(Duration::from_secs(20));
    let begin = Instant::now();
    let unclear = a.commit(&empty(term)).await.unwrap_err();
    assert!(matches!(unclear, CommitError::Unclear(_)));
    assert_eq!(begin.elapsed(), Duration::from_secs(3), "three tries of a second");
    tokio::time::sleep(Duration::from_secs(18)).await;
    assert_eq!(log.lock().unwrap().len(), 3, "the second try had its effect late");
    a.renew(lease).await.unwrap();
    let before = world.read(gust_fakes::etcd::Model::revision);
    a.commit(&empty(term)).await.unwrap();
    assert_eq!(
        world.read(gust_fakes::etcd::Model::revision),
        before,
        "it was that one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_refuses_breaks_watches_and_keeps_everything() {
    let (world, tasks, _) = world();
    let a = store(&world, &tasks, 0);
    let (lease, term) = lead(&a).await;
    a.commit(&empty(term)).await.unwrap();
    let since = a.roster().await.unwrap().revision;
    let (changed, ()) = tokio::join!(a.roster_changed(since), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.restart(Duration::from_secs(3));
    });
    changed.unwrap();
    let refused = a.commit(&empty(term)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { .. }));
    tokio::time::sleep(Duration::from_secs(3)).await;
    a.renew(lease).await.unwrap();
    a.commit(&empty(term)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_waits_in_vain_while_others_are_served() {
    let (world, tasks, _) = world();
    let (a, b) = (store(&world, &tasks, 0), store(&world, &tasks, 1));
    let since = a.roster().await.unwrap().revision;
    let begin = Instant::now();
    let (changed, ()) = tokio::join!(a.roster_changed(since), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.cut(0, Duration::from_secs(30));
        lead(&b).await;
    });
    changed.unwrap();
    assert!(
        begin.elapsed() >= NOTICED_LATER,
        "it saw nothing, and noticed late"
    );
    a.roster().await.unwrap_err();
    b.roster().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    a.roster().await.unwrap();
}

const NOTICED_LATER: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_answers_late_or_not_in_time() {
    let (world, tasks, _) = world();
    let a = store(&world, &tasks, 0);
    let (_, term) = lead(&a).await;
    world.slow(Duration::from_millis(600), Duration::from_secs(10));
    let begin = Instant::now();
    a.commit(&empty(term)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(600));
    world.slow(Duration::from_millis(1500), Duration::from_secs(10));
    let unclear = a.commit(&empty(term)).await.unwrap_err();
    assert!(matches!(unclear, CommitError::Unclear(_)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    a.commit(&empty(term)).await.unwrap();
}
