use std::sync::Mutex as StdMutex;

use gust_fakes::{buildkite::NewBuild, config::Settings};
use gust_server::task::Tasks;

use super::*;
use crate::virtual_gear::{
    check::{Checker, Expectations, Limit},
    hosts::OnMet,
    machine::Doors,
    net::{Net, Trouble},
    timeline::Timeline,
    witness,
};

/// Notes what it is told to do.
#[derive(Default)]
struct Noted(StdMutex<Vec<String>>);

impl Noted {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl HostControl for Noted {
    fn count(&self) -> usize {
        3
    }

    fn crash(&self, replica: usize, down: Duration, whole_host: bool) -> bool {
        let host = if whole_host { " with its host" } else { "" };
        self.note(format!("crash {replica}{host} {down:?}"));
        true
    }

    fn crash_at_poll(&self, replica: usize, polls: u64, _: Duration, met: OnMet) {
        self.note(format!("crash {replica} in {polls}"));
        met();
    }

    fn stop(&self, replica: usize, _: Duration, _: u32) -> bool {
        self.note(format!("stop {replica}"));
        true
    }

    fn freeze(&self, replica: usize, _: Duration) -> bool {
        self.note(format!("freeze {replica}"));
        // As if it were down.
        false
    }

    fn cut(&self, a: usize, b: usize, _: Duration, half: bool, met: OnMet) {
        self.note(format!("cut {a} {b} {half}"));
        met();
    }

    fn close(&self, replica: usize, _: Duration, met: OnMet) {
        self.note(format!("close {replica}"));
        met();
    }

    fn skew(&self, replica: usize, millis: i64) -> bool {
        self.note(format!("skew {replica} {millis}"));
        true
    }

    fn is_up(&self, _: usize) -> bool {
        true
    }
}

impl EtcdControl for Noted {
    fn gone(&self, _: Duration) {
        self.note("gone".to_owned());
    }

    fn slow(&self, _: Duration, _: Duration) {
        self.note("slow".to_owned());
    }

    fn no_quorum(&self, _: Duration) {
        self.note("no quorum".to_owned());
    }

    fn restart(&self, _: Duration) {
        self.note("restart".to_owned());
    }

    fn move_leader(&self) {
        self.note("move leader".to_owned());
    }

    fn compact(&self) {
        self.note("compact".to_owned());
    }

    fn break_watches(&self) {
        self.note("break watches".to_owned());
    }

    fn cut(&self, replica: usize, _: Duration) {
        self.note(format!("cut {replica}"));
    }
}

impl Witness for Noted {
    fn canceled(&self, _: Duration, _: Uuid) {}

    fn fault(&self, _: Duration, met: &Met) {
        self.note(format!("{} {:?}", met.kind, met.subject));
    }

    fn limits(&self, _: Duration, limits: &[Limit]) {
        self.note(format!("{} limits", limits.len()));
    }

    fn paused(&self, _: Duration, queue: &str, paused: bool) {
        self.note(format!("queue {queue} paused: {paused}"));
    }
}

struct Bench {
    world: Shared,
    net: Net,
    injector: Injector,
    done: Arc<Noted>,
    met: Arc<Noted>,
}

const HEAD: &str = r#"
seed = 1
profile = "burst"
replicas = 3
latency_ms = [5, 5]
quiet_after_ms = 60000
patience_ms = 600000
limits = { base = "demo" }
[[builds]]
at_ms = 0
slug = "main"
pipeline = "steps: [ { key: build, command: make, agents: { queue: gust } } ]"
"#;

fn bench(faults: &str) -> Bench {
    let scenario = Scenario::parse("test", &format!("{HEAD}{faults}")).unwrap();
    let (world, _) = Shared::new(&Settings {
        limits: scenario.limits.limits().unwrap(),
        ..Settings::default()
    });
    let (done, met) = (Arc::new(Noted::default()), Arc::new(Noted::default()));
    let injector = Injector::new(
        &scenario,
        &world,
        Arc::clone(&done) as Arc<dyn HostControl>,
        Arc::clone(&done) as Arc<dyn EtcdControl>,
        Arc::clone(&met) as Arc<dyn Witness>,
    );
    world.watched_by(vec![Arc::new(injector.clone())]);
    let net = Net {
        weather: Arc::new(injector.clone()),
        tasks: Tasks::default(),
    };
    world.start_ticking(&net.tasks);
    injector.start(Attackers {
        world: world.clone(),
        net: net.clone(),
        doors: Doors::new(3),
        witness: witness::Witness::new(
            Checker::new(Expectations::new("gust", |_| Default::default())),
            Timeline::new(false),
        ),
    });
    Bench {
        world,
        net,
        injector,
        done,
        met,
    }
}

impl Bench {
    async fn send(&self, from: usize, point: Point) -> Result<(), Trouble> {
        self.net
            .deliver(from, point, Duration::from_secs(10), || ())
            .await
    }

    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn fault(when: &str, what: &str) -> String {
    format!("[[faults]]\nwhen = {{ {when} }}\nwhat = {{ {what} }}\n")
}

#[tokio::test(start_paused = true)]
async fn a_reply_fault_strikes_the_message_it_hangs_on_and_as_many_more_as_it_says() {
    let bench = bench(&fault(
        "point = 'source-finish', nth = 2",
        "kind = 'reply-lost-before', count = 2",
    ));
    assert_eq!(bench.send(0, Point::SourceFinish).await, Ok(()));
    assert_eq!(bench.send(0, Point::SourceFinish).await, Err(Trouble::Lost));
    assert_eq!(bench.send(1, Point::SourceReserve).await, Ok(()));
    assert_eq!(bench.send(1, Point::SourceFinish).await, Err(Trouble::Lost));
    assert_eq!(bench.send(1, Point::SourceFinish).await, Ok(()));
    assert_eq!(bench.met.take(), ["reply-lost-before Point(SourceFinish)"; 2]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_reply_fault_looks_as_it_should() {
    for (what, expected) in [
        ("kind = 'reply-lost-after'", Err(Trouble::Lost)),
        ("kind = 'reply-doubled', later_ms = 100", Ok(())),
        ("kind = 'reply-late', late_ms = 1000", Ok(())),
        (
            "kind = 'reply-late', late_ms = 30000, answer = true",
            Err(Trouble::Lost),
        ),
        (
            "kind = 'reply-4xx', says = { status = 404, html = true }",
            Err(Trouble::Refused {
                status: 404,
                html: true,
            }),
        ),
        (
            "kind = 'reply-429'",
            Err(Trouble::Refused {
                status: 429,
                html: false,
            }),
        ),
        (
            "kind = 'reply-5xx', says = { status = 503, html = false }",
            Err(Trouble::Refused {
                status: 503,
                html: false,
            }),
        ),
        (
            "kind = 'reply-html'",
            Err(Trouble::Refused {
                status: 200,
                html: true,
            }),
        ),
        ("kind = 'reply-truncated'", Err(Trouble::CutOff)),
    ] {
        let bench = bench(&fault("point = 'cloud-create'", what));
        assert_eq!(bench.send(0, Point::CloudCreate).await, expected, "{what}");
        assert_eq!(bench.met.take().len(), 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_before_its_message_left_has_not_sent_it() {
    let faults = fault(
        "point = 'etcd-txn'",
        "kind = 'replica-crash', replica = 'sender', down_ms = 100",
    ) + &fault(
        "point = 'etcd-txn', side = 'after'",
        "kind = 'replica-crash', replica = 'sender', down_ms = 100",
    );
    let bench = bench(&faults);
    assert_eq!(bench.send(2, Point::EtcdTxn).await, Err(Trouble::Lost));
    assert_eq!(bench.done.take(), ["crash 2 100ms"]);
    assert_eq!(bench.send(1, Point::EtcdTxn).await, Ok(()));
    assert_eq!(bench.done.take(), ["crash 1 100ms"]);
}

#[tokio::test(start_paused = true)]
async fn replicas_links_and_etcd_are_struck_and_what_met_nothing_is_not_counted() {
    let all = [
        "kind = 'replica-freeze', replica = 1, lasting_ms = 10",
        "kind = 'replica-crash-at-poll', replica = 1, polls = 3, down_ms = 1",
        "kind = 'link-cut', a = 0, b = 2, lasting_ms = 10",
        "kind = 'link-half-open', a = 0, b = 2, lasting_ms = 10",
        "kind = 'port-closed', replica = 2, lasting_ms = 10",
        "kind = 'clock-wrong', replica = 'other', by_ms = -5",
        "kind = 'etcd-gone', lasting_ms = 10",
        "kind = 'etcd-slow', by_ms = 5, lasting_ms = 10",
        "kind = 'etcd-restart', lasting_ms = 10",
        "kind = 'etcd-leader-moved'",
        "kind = 'etcd-no-quorum', lasting_ms = 10",
        "kind = 'etcd-compact'",
        "kind = 'etcd-watch-broken'",
        "kind = 'etcd-cut', lasting_ms = 10",
        "kind = 'gust-down', lasting_ms = 1000000",
    ];
    let faults: String = all.iter().map(|what| fault("at_ms = 10", what)).collect();
    let bench = bench(&faults.replace("1000000", "500000"));
    bench.pass(20).await;
    assert_eq!(
        bench.done.take(),
        [
            "freeze 1",
            "crash 1 in 3",
            "cut 0 2 false",
            "cut 0 2 true",
            "close 2",
            "skew 1 -5",
            "gone",
            "slow",
            "restart",
            "move leader",
            "no quorum",
            "compact",
            "break watches",
            "cut 0",
            "crash 0 59.99s",
            "crash 1 59.99s",
            "crash 2 59.99s",
        ]
    );
    // All but the freeze, which met a replica that was down.
    assert_eq!(bench.met.take().len(), all.len() - 1);
}

#[tokio::test(start_paused = true)]
async fn faults_of_jobs_strike_the_job_that_triggered_them() {
    let bench = bench(&fault(
        "event = 'job.created', delay_ms = 50",
        "kind = 'job-cancel'",
    ));
    bench.pass(40).await;
    assert_eq!(bench.injector.builds_left(), 0);
    assert!(bench.met.take().is_empty());
    bench.pass(20).await;
    let job = bench.world.read(|world| {
        let job = world.buildkite.jobs().next().expect("the build is created");
        assert_eq!(job.state.name(), "canceled");
        job.uuid
    });
    assert_eq!(bench.met.take(), [format!("job-cancel Job({job})")]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_fakes_counts_when_it_meets_something() {
    let bench = bench(&fault("at_ms = 10", "kind = 'queue-pause', lasting_ms = 5000"));
    bench.pass(20).await;
    // The checker is told of the pause; that it met somebody, only once somebody looked.
    assert_eq!(bench.met.take(), ["queue gust paused: true"]);
    let look = |world: &Shared| {
        world.call(|world, now, out| {
            gust_fakes::buildkite::ListView::under(&mut world.faults, now, "gust", out).paused
        })
    };
    assert!(look(&bench.world));
    assert_eq!(bench.met.take(), ["queue-pause World"]);
    bench.pass(5000).await;
    assert!(!look(&bench.world));
    let told = bench.met.take();
    assert!(told.contains(&"queue gust paused: false".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_struck_once_it_is_quiet() {
    let bench = bench(&fault("point = 'etcd-txn'", "kind = 'reply-lost-before'"));
    bench.pass(60_000).await;
    assert_eq!(bench.send(0, Point::EtcdTxn).await, Ok(()));
    let build = NewBuild {
        yaml: "steps: [ { command: a } ]".to_owned(),
        ..NewBuild::default()
    };
    bench
        .world
        .call(|world, now, out| world.buildkite.create_build(now, &build, out))
        .unwrap();
    assert!(bench.met.take().is_empty());
}
