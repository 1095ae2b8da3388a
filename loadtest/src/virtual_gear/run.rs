//! One run: a world, its replicas, what people do to it and what goes wrong, and the checker beside it.

use std::{sync::Arc, time::Duration};

use gust_core::{ids::ReplicaId, time::Timestamp};
use gust_fakes::config::Settings;
use gust_server::task::{Dice, Tasks};
use tokio::time::Instant;

use super::{
    alarm::{Alarm, Watching},
    check::{Checker, Committed, HostEvent, Verdict},
    cover::Cover,
    etcd::{EtcdWorld, Tap},
    expected::expectations,
    hosts::Hosts,
    inject::Injector,
    machine::{Attackers, Doors, Machines},
    net::Net,
    postman::Postman,
    replica::Replicas,
    scenario::Scenario,
    timeline::Timeline,
    witness::Witness,
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
    /// When jobs were listed, pages each: before the limit that clients set themselves, which this gear does without.
    pub lists: Vec<Duration>,
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

/// Runs a scenario to its end: all is over, something is violated, or patience has run out.
pub fn run(scenario: &Scenario, keep: Keep) -> Outcome {
    run_with(scenario, keep, Post::None, |_| {})
}

/// The same with webhooks from Buildkite, of which some are lost, doubled, late or false.
pub fn run_with_webhooks(scenario: &Scenario, keep: Keep) -> Outcome {
    run_with(scenario, keep, Post::Webhooks, |_| {})
}

/// Whether Buildkite sends webhooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Post {
    None,
    Webhooks,
}

/// Runs a scenario in which the world has tasks more.
fn run_with(scenario: &Scenario, keep: Keep, post: Post, more: impl FnOnce(&Tasks)) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let outcome = runtime.block_on(inside(scenario, keep, post, more));
    // Tasks of replicas that still run are dropped here, and with them the world.
    drop(runtime);
    outcome
}

async fn inside(scenario: &Scenario, keep: Keep, post: Post, more: impl FnOnce(&Tasks)) -> Outcome {
    crate::said::begin();
    let alarm = Alarm::default();
    let tasks = Tasks::on(Arc::new(Watching(alarm.clone())));
    let limits = scenario
        .limits
        .limits()
        .expect("a scenario was checked before it is run");
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
    let etcd = EtcdWorld::new();
    etcd.set_tap(tap(&world, &witness));
    let doors = Doors::new(scenario.replicas);
    let injector = Injector::new(
        scenario,
        &world,
        Arc::new(hosts.clone()),
        Arc::new(etcd.clone()),
        Arc::new(witness.clone()),
    );
    let mut watchers: Vec<Arc<dyn Watcher>> = vec![Arc::new(witness.clone()), Arc::new(injector.clone())];
    if post == Post::Webhooks {
        let dice = Dice::seeded(scenario.seed ^ 0x706f_7374);
        watchers.push(Arc::new(Postman::begin(doors.clone(), dice, &tasks)));
    }
    world.watched_by(watchers);
    let net = Net {
        weather: Arc::new(injector.clone()),
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
    injector.start(Attackers {
        world: world.clone(),
        net,
        doors,
        witness: witness.clone(),
    });

    more(&tasks);

    let over = until_over(scenario, &world, &witness, &injector, &hosts, &alarm).await;
    let took = world.elapsed();
    let waits = if over { Vec::new() } else { replicas.waits(&hosts) };
    let verdict = world.read(|world| witness.tell(|checker| checker.finish(took, world.log.len())));
    let (cover, timeline) = witness.kept();
    world.end();
    hosts.end();
    Outcome {
        waits: if verdict.violation.is_some() {
            waits
        } else {
            Vec::new()
        },
        verdict,
        alarm: alarm.why(),
        cover,
        took,
        lists: world.lists(),
        log: if keep == Keep::Log {
            world.log_lines()
        } else {
            String::new()
        },
        timeline,
    }
}

/// What etcd applied goes to the checker.
fn tap(world: &Shared, witness: &Witness) -> Tap {
    let (world, witness) = (world.clone(), witness.clone());
    let prefix = "/gust/v1/gust/";
    Box::new(move |replica, applied| {
        let at = world.elapsed();
        let committed = Committed {
            replica: replica.map(|replica| name_of(replica).to_string()),
            term: applied.guard.unwrap_or(0),
            revision: applied.revision,
            writes: applied
                .writes
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
                .collect(),
        };
        witness.committed(at, &committed);
    })
}

/// False if the run had to be broken off.
async fn until_over(
    scenario: &Scenario,
    world: &Shared,
    witness: &Witness,
    injector: &Injector,
    hosts: &Hosts,
    alarm: &Alarm,
) -> bool {
    // Without faults it is quiet from the start.
    let noise = if scenario.faults.is_empty() {
        Duration::ZERO
    } else {
        scenario.quiet_after()
    };
    let quiet = Instant::now() + noise;
    let end = Instant::now() + scenario.patience();
    let lull = scenario.lull();
    let (mut is_quiet, mut over_since) = (false, None);
    loop {
        if witness.tell(|checker| checker.violation().is_some()) || alarm.why().is_some() {
            return true;
        }
        let now = Instant::now();
        if now >= quiet && !is_quiet {
            is_quiet = true;
            hosts.calm();
            let at = world.elapsed();
            witness.tell(|checker| checker.quiet(at));
        }
        if injector.builds_left() == 0 && witness.tell(|checker| checker.is_over()) {
            // The rest of the noise would meet an empty world.
            let over = *over_since.get_or_insert(now);
            if is_quiet || (injector.errands_left() == 0 && now >= over + lull) {
                return true;
            }
        } else {
            over_since = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_gear::Profile;

    fn plain() -> Scenario {
        Scenario::draw(4, Profile::Trickle, 1, 0.0)
    }

    #[test]
    fn a_panic_in_a_task_ends_the_run_as_a_violation() {
        let outcome = run_with(&plain(), Keep::Nothing, Post::None, |tasks| {
            tasks.spawn("careless", async {
                tokio::time::sleep(Duration::from_secs(7)).await;
                panic!("on purpose");
            });
        });
        assert_eq!(outcome.broken().as_deref(), Some("alarm"));
        assert_eq!(outcome.took, Duration::from_secs(7));
        let said = outcome.failure().unwrap();
        assert!(
            said.contains("careless") && said.contains("on purpose") && said.contains("at 7.000 s"),
            "{said}"
        );
    }
}
