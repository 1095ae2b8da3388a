//! One run: a world, its replicas, what people do to it and what goes wrong, and the checker beside it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_core::{ids::ReplicaId, time::Timestamp};
use gust_fakes::{config::Settings, event::Event};
use gust_server::task::{Dice, Tasks};
use tokio::time::Instant;

use super::{
    alarm::{Alarm, Watching},
    check::{Checker, Committed, HostEvent, Verdict},
    cover::Cover,
    etcd::EtcdWorld,
    expected::expectations,
    hosts::Hosts,
    inject::Injector,
    machine::{Doors, Machines},
    net::Net,
    replica::Replicas,
    scenario::Scenario,
    timeline::Timeline,
    world::{EPOCH_MS, Shared, Watcher},
};

/// What is kept of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The verdict only.
    Nothing,
    /// The event log.
    Log,
    /// A timeline for people.
    Timeline,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub verdict: Verdict,
    /// Why the run was stopped, if it was.
    pub alarm: Option<String>,
    /// Pairs of state and fault.
    pub cover: Cover,
    /// Virtual time it took.
    pub took: Duration,
    /// The event log, if it was kept.
    pub log: String,
    /// The timeline, if it was kept.
    pub timeline: Vec<String>,
    /// What everything waits for, if the run came to no end.
    pub waits: Vec<String>,
}

impl Outcome {
    /// What was broken, as a word: shrinking keeps it.
    pub fn broken(&self) -> Option<String> {
        if self.alarm.is_some() {
            return Some("alarm".to_owned());
        }
        let violation = self.verdict.violation.as_ref()?;
        Some(violation.invariant.to_string())
    }

    /// What went wrong, in lines.
    pub fn failure(&self) -> Option<String> {
        let mut text = match (&self.alarm, &self.verdict.violation) {
            (Some(why), _) => format!("{why} at {:.3} s\n", self.took.as_secs_f64()),
            (None, Some(violation)) => violation.to_string(),
            (None, None) => return None,
        };
        for line in &self.waits {
            text.push_str(&format!("  {line}\n"));
        }
        Some(text)
    }
}

/// The checker, and what else is told everything. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Mutex<Witnesses>>,
}

struct Witnesses {
    checker: Checker,
    timeline: Timeline,
}

impl Witness {
    fn new(checker: Checker, timeline: Timeline) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Witnesses { checker, timeline })),
        }
    }

    /// Tells the checker.
    pub fn tell<T>(&self, tell: impl FnOnce(&mut Checker) -> T) -> T {
        tell(&mut self.lock().checker)
    }

    /// Tells the timeline.
    pub fn line(&self, at: Duration, line: impl FnOnce() -> String) {
        self.lock().timeline.line(at, line);
    }

    fn lock(&self) -> MutexGuard<'_, Witnesses> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Witness {
    fn saw(&self, at: Duration, event: &Event) {
        let mut witnesses = self.lock();
        witnesses.checker.event(at, event);
        witnesses.timeline.event(at, event);
    }
}

/// Runs a scenario to its end: all is over, something is violated, or patience has run out.
pub fn run(scenario: &Scenario, keep: Keep) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let outcome = runtime.block_on(inside(scenario, keep));
    // Tasks of replicas that still run are dropped here, and with them the world.
    drop(runtime);
    outcome
}

async fn inside(scenario: &Scenario, keep: Keep) -> Outcome {
    let alarm = Alarm::default();
    let tasks = Tasks::on(Arc::new(Watching(alarm.clone())));
    let limits = scenario.limits.limits().expect("a scenario was checked before it is run");
    let settings = Settings {
        seed: scenario.seed,
        limits,
        ..Settings::default()
    };
    let (world, orders) = Shared::new(&settings);
    if keep != Keep::Log {
        world.keep_no_log();
    }
    let replicas = Replicas::new(scenario);
    let checker = Checker::new(expectations(scenario, &settings, &replicas));
    let witness = Witness::new(checker, Timeline::new(keep == Keep::Timeline));

    let told = {
        let (world, witness) = (world.clone(), witness.clone());
        Arc::new(move |replica: usize, what: HostEvent| {
            let at = world.elapsed();
            witness.tell(|checker| checker.host(at, replica, what));
            witness.line(at, || format!("replica {replica} {}", <&str>::from(what)));
        })
    };
    let hosts = Hosts::new(
        scenario.replicas,
        tasks.clone(),
        Timestamp(EPOCH_MS),
        told,
        alarm.clone(),
    );
    let etcd = EtcdWorld::new(scenario.replicas, tap(&world, &witness));
    let doors = Doors::new(scenario.replicas);
    let injector = Arc::new(Injector::new(
        scenario,
        &world,
        &witness,
        Arc::new(hosts.clone()),
        Arc::new(etcd.clone()),
        &doors,
        &tasks,
    ));
    world.watched_by(vec![Arc::new(witness.clone()), injector.clone()]);
    let net = Net {
        weather: injector.clone(),
        tasks: tasks.clone(),
    };
    world.start_ticking(&tasks);
    etcd.start_ticking(&tasks);
    let machines = Machines {
        world: world.clone(),
        net: net.clone(),
        doors: doors.clone(),
        dice: Dice::seeded(scenario.seed ^ 0x6d61_6368),
        tasks: tasks.child(),
    };
    tasks.spawn("machines", machines.play(orders));
    replicas.start(&world, &net, &hosts, &etcd, &doors, &witness);
    injector.begin(&net);

    let over = until_over(scenario, &world, &witness, &alarm).await;
    let took = world.elapsed();
    let waits = if over { Vec::new() } else { replicas.waits(&hosts) };
    let verdict = world.read(|world| witness.tell(|checker| checker.finish(took, world)));
    let mut witnesses = witness.lock();
    Outcome {
        waits: if verdict.violation.is_some() { waits } else { Vec::new() },
        verdict,
        alarm: alarm.why(),
        cover: witnesses.checker.cover().clone(),
        took,
        log: if keep == Keep::Log { world.log_lines() } else { String::new() },
        timeline: witnesses.timeline.take(),
    }
}

/// What etcd applied goes to the checker.
fn tap(world: &Shared, witness: &Witness) -> impl FnMut(Committed) + Send + use<> {
    let (world, witness) = (world.clone(), witness.clone());
    move |committed| {
        let at = world.elapsed();
        witness.tell(|checker| checker.commit(at, &committed));
        witness.line(at, || Timeline::committed(&committed));
    }
}

/// False if the run had to be broken off.
async fn until_over(scenario: &Scenario, world: &Shared, witness: &Witness, alarm: &Alarm) -> bool {
    let quiet = Instant::now() + scenario.quiet_after();
    let end = Instant::now() + scenario.patience();
    let mut is_quiet = false;
    loop {
        if witness.tell(|checker| checker.violation().is_some()) || alarm.why().is_some() {
            return true;
        }
        let now = Instant::now();
        if now >= quiet && !is_quiet {
            is_quiet = true;
            let at = world.elapsed();
            witness.tell(|checker| checker.quiet(at));
        }
        if is_quiet && witness.tell(|checker| checker.is_over()) {
            return true;
        }
        if now >= end {
            return false;
        }
        let longest = Duration::from_secs(1);
        tokio::select! {
            biased;
            _ = alarm.rung() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }
}

/// Names of replicas, as they show themselves.
pub(super) fn name_of(replica: usize) -> ReplicaId {
    ReplicaId::new(format!("r{replica}"))
}
