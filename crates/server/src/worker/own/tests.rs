use std::sync::{Arc, atomic::Ordering};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Command, Event, Hello, LinkError, Store},
    records::BatchRecord,
    tenure::Timing,
    time::Timestamp,
};
use gust_store::conformance::sample::batch;
use tokio::sync::mpsc;

use super::{super::Pace, *};
use crate::{
    clock::Clock,
    task::{Dice, Tasks},
    testing::{CountingCloud, ToldStore},
};

struct Bench {
    worker: Worker,
    store: Arc<ToldStore>,
    cloud: Arc<CountingCloud>,
    held: Held,
    /// Kept, since a leader that hangs up ends its session.
    commands: Vec<mpsc::Sender<Command>>,
}

const PATIENCE: Duration = Duration::from_secs(60);

fn shard(region: &str) -> Shard {
    Shard {
        project: "p".into(),
        region: region.into(),
    }
}

fn bench() -> Bench {
    let clock = Clock::starting_at(Timestamp(0));
    let (store, cloud) = (Arc::new(ToldStore::default()), Arc::new(CountingCloud::default()));
    let as_store: Arc<dyn Store> = store.clone();
    let as_cloud: Arc<dyn Cloud> = cloud.clone();
    let worker = Worker::new(
        ReplicaId::new("b"),
        as_store,
        [(ProjectId::from("p"), as_cloud)].into(),
        clock.clone(),
        Dice::seeded(1),
        Pace::default(),
        &Tasks::default(),
    );
    let held = Held::always(&clock);
    worker.admit(Membership {
        lease: LeaseId(1),
        held: held.clone(),
    });
    Bench {
        worker,
        store,
        cloud,
        held,
        commands: Vec::new(),
    }
}

impl Bench {
    async fn hello(&mut self, term: u64, regions: &[&str]) -> Result<mpsc::Receiver<Event>, LinkError> {
        self.hello_of(term, 0, regions).await
    }

    async fn hello_of(
        &mut self,
        term: u64,
        session: u64,
        regions: &[&str],
    ) -> Result<mpsc::Receiver<Event>, LinkError> {
        let (sender, commands) = mpsc::channel(16);
        self.commands.push(sender);
        let shards = regions.iter().map(|region| {
            let zone = Zone::new(format!("{region}-a"));
            (shard(region), vec![zone])
        });
        let hello = Hello {
            term: Term(term),
            session,
            leader: ReplicaId::new("a"),
            shards: shards.collect(),
        };
        self.worker.session(hello, commands).await
    }

    async fn command(&self, command: Command) {
        let sender = self.commands.last().expect("a session is open");
        sender.send(command).await.expect("the session listens");
    }

    /// A lot of time passes, and every call that could be made is.
    async fn pass(&self) {
        tokio::time::sleep(PATIENCE).await;
    }
}

fn look_and_delete() -> [Command; 3] {
    let (shard, zone, name) = (shard("r1"), Zone::new("r1-a"), MachineName::new("m-1"));
    [
        Command::Look { shard: shard.clone() },
        Command::Delete {
            shard: shard.clone(),
            zone: Some(zone.clone()),
            name: name.clone(),
            lists_after: Duration::ZERO,
        },
        Command::Check { shard, zone, name },
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_before_the_shard_is_ours_and_all_of_it_after() {
    let mut bench = bench();
    let theirs = || (shard("r1"), ReplicaId::new("c"));
    bench.store.owners.lock().unwrap().extend([theirs()]);
    let mut events = bench.hello(1, &["r1"]).await.unwrap();
    for command in look_and_delete() {
        bench.command(command).await;
    }
    bench.pass().await;
    assert_eq!(bench.cloud.calls(), 0, "another worker has the shard");
    bench.store.owners.lock().unwrap().clear();
    bench.pass().await;
    assert!(bench.cloud.calls() > 4, "{} calls", bench.cloud.calls());
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    assert!(matches!(told[0], Event::Ready { .. }));
    let gone = |event: &Event| matches!(event, Event::Gone { name } if name.as_str() == "m-1");
    assert!(told.iter().any(gone), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn no_call_leaves_once_the_membership_may_have_lapsed() {
    let mut bench = bench();
    let _events = bench.hello(1, &["r1"]).await.unwrap();
    bench.pass().await;
    bench.held.give_up();
    let before = bench.cloud.calls();
    assert!(before > 0);
    for command in look_and_delete() {
        bench.command(command).await;
    }
    bench.pass().await;
    assert_eq!(bench.cloud.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_frozen_calls_nothing_when_it_thaws() {
    let clock = Clock::starting_at(Timestamp(0));
    let timing = Timing::default();
    let cloud = Arc::new(CountingCloud::default());
    let owned = Owned {
        cloud: cloud.clone(),
        held: Held::new(&clock, timing, clock.elapsed(), timing.ttl),
    };
    let (project, zone) = (ProjectId::from("p"), Zone::new("r1-a"));
    owned.list(&project, &zone, None).await.unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    let call = tokio::time::timeout(PATIENCE, owned.list(&project, &zone, None));
    assert!(call.await.is_err());
    assert_eq!(cloud.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_no_member_follows_nobody() {
    let mut bench = bench();
    let mut events = bench.hello(1, &["r1"]).await.unwrap();
    bench.pass().await;
    assert!(bench.worker.expel().await.is_some());
    let before = bench.cloud.calls();
    bench.pass().await;
    assert_eq!(bench.cloud.calls(), before, "with the membership everything ends");
    while events.recv().await.is_some() {}
    assert!(matches!(
        bench.hello(2, &["r1"]).await,
        Err(LinkError::Down { .. })
    ));
    assert!(bench.worker.expel().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_leader_of_an_earlier_term_is_refused_and_disturbs_nobody() {
    let mut bench = bench();
    let mut events = bench.hello(7, &["r1"]).await.unwrap();
    match bench.hello(6, &["r1"]).await {
        Err(LinkError::Deposed { ours, theirs }) => assert_eq!((ours, theirs), (Term(6), Term(7))),
        other => panic!("{other:?}"),
    }
    bench.pass().await;
    assert!(!events.is_closed() && events.try_recv().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_passes_on_is_let_go_and_nothing_is_called_there_any_more() {
    let mut bench = bench();
    let earlier = bench.hello(1, &["r1", "r2"]).await.unwrap();
    bench.pass().await;
    assert!(bench.store.let_go.lock().unwrap().is_empty());
    let _later = bench.hello(2, &["r2"]).await.unwrap();
    bench.pass().await;
    assert!(earlier.is_closed(), "there is one session at a time");
    assert_eq!(*bench.store.let_go.lock().unwrap(), [shard("r1")]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_by_a_message_that_comes_late_is_let_go() {
    let mut bench = bench();
    let _events = bench.hello(1, &["r2"]).await.unwrap();
    bench.pass().await;
    let late = (shard("r1"), ReplicaId::new("b"));
    let theirs = (shard("r3"), ReplicaId::new("c"));
    bench.store.owners.lock().unwrap().extend([late, theirs]);
    bench.pass().await;
    assert_eq!(*bench.store.let_go.lock().unwrap(), [shard("r1")]);
}

/// Whether the session begins with what is known of a shard.
async fn is_kept(bench: &mut Bench, term: u64, region: &str) -> bool {
    let mut events = bench.hello(term, &[region]).await.expect("it follows");
    bench.pass().await;
    assert!(matches!(events.try_recv(), Ok(Event::Ready { .. })));
    match events.try_recv() {
        Ok(Event::Kept {
            shard: kept,
            capacity,
        }) => {
            assert_eq!(kept, shard(region));
            // The quotas are read every half minute, and a session lasts a minute here.
            assert!(capacity.age <= Pace::default().quotas, "{:?}", capacity.age);
            true
        }
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn who_kept_a_shard_from_one_leader_to_the_next_says_so_at_once() {
    let mut bench = bench();
    assert!(!is_kept(&mut bench, 1, "r1").await);
    assert!(is_kept(&mut bench, 2, "r1").await);
    // In another's hands meanwhile, as far as we know.
    assert!(!is_kept(&mut bench, 3, "r2").await);
    assert!(!is_kept(&mut bench, 4, "r1").await);
    assert!(is_kept(&mut bench, 5, "r1").await);
    let membership = bench.worker.expel().await.expect("it was one");
    bench.worker.admit(membership);
    assert!(
        !is_kept(&mut bench, 6, "r1").await,
        "it was no member for a while"
    );
    // Who did not keep it counts what another may have called in this minute.
    let begun = bench.cloud.begun.lock().unwrap().clone();
    assert_eq!(begun, ["r1", "r2", "r1", "r1"].map(shard));
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_comes_late_does_not_end_the_session_that_followed_it() {
    let mut bench = bench();
    let later = bench.hello_of(1, 2, &["r1"]).await.unwrap();
    let late = bench.hello_of(1, 1, &["r2"]).await;
    assert!(matches!(late, Err(LinkError::Late { .. })), "{late:?}");
    bench.pass().await;
    assert!(!later.is_closed());
    // A new term counts anew.
    let newer = bench.hello_of(2, 1, &["r1"]).await.unwrap();
    assert!(later.is_closed() && !newer.is_closed());
}

/// What the session was told of batches, after it was asked to go on with this one.
async fn resumed(bench: &mut Bench, term: u64, batch: &BatchRecord) -> Vec<Event> {
    let mut events = bench.hello(term, &["us-central1"]).await.expect("it follows");
    bench.command(Command::Resume(Box::new(batch.clone()))).await;
    bench.pass().await;
    let told = std::iter::from_fn(|| events.try_recv().ok());
    told.filter(|event| matches!(event, Event::Accepted { .. } | Event::Settled { .. }))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_google_took_is_not_repeated_for_the_next_leader() {
    let mut bench = bench();
    let batch = batch(1);
    bench.cloud.goes_on.store(true, Ordering::Relaxed);
    assert_eq!(resumed(&mut bench, 2, &batch).await.len(), 1, "it was accepted");
    bench.cloud.goes_on.store(false, Ordering::Relaxed);
    let told = resumed(&mut bench, 3, &batch).await;
    assert!(
        matches!(told[..], [Event::Accepted { .. }, Event::Settled { .. }]),
        "{told:?}"
    );
    assert_eq!(bench.cloud.creates.load(Ordering::Relaxed), 1);
    // Who asks again after that was told nothing: the call is repeated, and Google knows it.
    resumed(&mut bench, 4, &batch).await;
    assert_eq!(bench.cloud.creates.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_before_the_shard_was_in_other_hands_is_asked_for_again() {
    let mut bench = bench();
    let batch = batch(1);
    bench.cloud.goes_on.store(true, Ordering::Relaxed);
    resumed(&mut bench, 2, &batch).await;
    let membership = bench.worker.expel().await.expect("it was one");
    bench.worker.admit(membership);
    resumed(&mut bench, 3, &batch).await;
    assert_eq!(bench.cloud.creates.load(Ordering::Relaxed), 2);
}

/// The types that are told within so long, each time they are told.
async fn types_told(events: &mut mpsc::Receiver<Event>, within: Duration) -> Vec<Vec<String>> {
    let mut told = Vec::new();
    let end = tokio::time::Instant::now() + within;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, events.recv()).await {
        if let Event::MachineTypes { zones, .. } = event {
            told.extend(zones.into_iter().map(|(_, names)| names));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn machine_types_are_listed_whole_once_a_day_and_told_to_each_leader() {
    let mut bench = bench();
    let pages = [
        vec!["n2d-standard-2".to_owned()],
        vec!["e2-standard-2".to_owned()],
    ];
    *bench.cloud.types.lock().unwrap() = Some(pages.to_vec());
    let mut events = bench.hello(1, &["r1"]).await.expect("it follows");
    let hour = Duration::from_secs(3600);
    assert_eq!(types_told(&mut events, 23 * hour).await, [pages.concat()]);
    assert_eq!(bench.cloud.type_pages.load(Ordering::Relaxed), 2);
    // The next leader is told at once what is known, and nothing is read for it.
    let mut events = bench.hello(2, &["r1"]).await.expect("it follows");
    assert_eq!(types_told(&mut events, hour / 2).await, [pages.concat()]);
    assert_eq!(bench.cloud.type_pages.load(Ordering::Relaxed), 2);
    assert_eq!(types_told(&mut events, hour).await.len(), 1, "a day has passed");
    assert_eq!(bench.cloud.type_pages.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn types_that_cannot_be_listed_are_not_told_and_asked_for_again_in_a_while() {
    let mut bench = bench();
    *bench.cloud.types.lock().unwrap() = Some(Vec::new());
    let mut events = bench.hello(1, &["r1"]).await.expect("it follows");
    let hour = Duration::from_secs(3600);
    assert!(types_told(&mut events, hour).await.is_empty());
    let tries = bench.cloud.type_pages.load(Ordering::Relaxed);
    assert!((2..=7).contains(&tries), "{tries} tries in an hour");
    // A cloud that cannot say is not asked again.
    *bench.cloud.types.lock().unwrap() = None;
    assert!(types_told(&mut events, 48 * hour).await.is_empty());
    assert_eq!(bench.cloud.type_pages.load(Ordering::Relaxed), tries);
}
