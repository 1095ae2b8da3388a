//! Several replicas over etcd while processes die, freeze and come back, and replies get lost: drawn from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use gust_store::etcd::Event;
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    control::Control,
    fleet::{Fleet, key},
    kill::until_over,
    processes::{Fakes, Programs},
    verdict::{Evidence, Verdict, judge},
};

/// What to do.
#[derive(Clone, Debug)]
pub struct ChaosOptions {
    /// From it come the faults, their order and their times, and everything random in the fakes.
    pub seed: u64,
    /// Replicas of gust.
    pub replicas: usize,
    /// Members of etcd.
    pub members: usize,
    /// Faults.
    pub faults: usize,
    /// How long the build may take after the last fault.
    pub patience: Duration,
}

/// The outcome.
#[derive(Debug)]
pub struct ChaosRun {
    /// What was done, in order, each with the time since the build began.
    pub done: Vec<String>,
    /// Terms that wrote something.
    pub terms: usize,
    /// What the judge says.
    pub verdict: Verdict,
}

/// What is done to the processes, or to replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The leader's process; its supervisor lives.
    KillLeader,
    /// The leader with its supervisor, as when a host dies.
    KillLeaderHost,
    /// Any replica.
    KillAny,
    /// The leader with its supervisor, for longer than its lease.
    FreezeLeader,
    /// The leader is asked to end.
    StopLeader,
    /// A member of etcd; only where others make a quorum.
    KillMember,
    /// A reply of Google or Buildkite is lost after it took effect, or is an error.
    Reply(usize),
}

const PIPELINE: &str = r#"
agents: { queue: gust }
steps:
  - { key: pair, command: "sleep 1.5", parallelism: 3, agents: { cpu: 4, memory: 16 } }
  - { key: single, command: "sleep 3", agents: { cpu: 2, memory: 8 } }
  - { key: after, command: "sleep 1", depends_on: pair, agents: { cpu: 2, memory: 4 } }
  - { key: late, command: "sleep 0.5", depends_on: after, parallelism: 2, agents: { cpu: 4, memory: 16 } }
  - { key: never, command: "true", agents: { cpu: 1, memory: 700 } }
"#;

/// Runs one build through the faults of a seed and judges it.
///
/// # Errors
/// A process fails by itself, or the build does not end in time.
pub async fn chaos(options: &ChaosOptions, dir: &Path) -> Result<ChaosRun> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let programs = Programs::find()?;
    let fakes = Fakes::start(&programs, dir, options.seed).await?;
    let control = Control::new(&fakes.control)?;
    let mut fleet = Fleet::start(&programs, dir, &fakes, options.replicas, options.members)?;
    wait_for_leader(&fleet).await?;
    let begun = Instant::now();
    let jobs: BTreeSet<String> = control.build(PIPELINE).await?.into_iter().collect();
    let mut done = Vec::new();
    for _ in 0..options.faults {
        sleep(Duration::from_millis(rng.random_range(50..2_000))).await;
        let fault = draw(&mut rng, options.members);
        let at = begun.elapsed().as_secs_f64();
        let what = strike(fault, &mut rng, &mut fleet, &control).await?;
        done.push(format!("{at:7.3} s  {what}"));
        for nth in 0..fleet.count() {
            if !fleet.check(nth)? {
                fleet.restart(nth)?;
            }
        }
    }
    until_over(&control, 0, &jobs, options.patience)
        .await
        .with_context(|| format!("after these faults:\n  {}", done.join("\n  ")))?;
    let history = fleet.history().await?;
    for nth in 0..fleet.count() {
        fleet.stop(nth).await?;
    }
    let mut evidence = Evidence {
        events: control.events(0).await?,
        journal: fleet.read_journals()?,
        started_unix_ns: fakes.started_unix_ns,
    };
    add_unwritten(&mut evidence, &history);
    fakes.stop().await?;
    let mut verdict = judge(&evidence);
    let terms = terms(&history, &mut verdict);
    Ok(ChaosRun { done, terms, verdict })
}

async fn wait_for_leader(fleet: &Fleet) -> Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // Without a quorum etcd does not answer; it will again.
        if let Ok(Some(leader)) = fleet.leader().await {
            return Ok(leader);
        }
        anyhow::ensure!(Instant::now() < deadline, "nobody leads within a minute");
        sleep(Duration::from_millis(20)).await;
    }
}

fn draw(rng: &mut ChaCha8Rng, members: usize) -> Fault {
    let mut faults = vec![
        Fault::KillLeader,
        Fault::KillLeader,
        Fault::KillLeaderHost,
        Fault::KillAny,
        Fault::FreezeLeader,
        Fault::StopLeader,
        Fault::Reply(rng.random_range(0..replies().len())),
        Fault::Reply(rng.random_range(0..replies().len())),
    ];
    if members > 2 {
        faults.extend([Fault::KillMember, Fault::KillMember]);
    }
    *faults.choose(rng).expect("there are faults")
}

/// Does it, and says what was done.
async fn strike(fault: Fault, rng: &mut ChaCha8Rng, fleet: &mut Fleet, control: &Control) -> Result<String> {
    // Drawn whatever comes of it, so that a seed always draws the same.
    let (any, pause) = (rng.random_range(0..64_usize), rng.random_range(100..3_000_u64));
    let (pause, frozen) = (Duration::from_millis(pause), Duration::from_secs(7));
    if let Fault::Reply(nth) = fault {
        let reply = &replies()[nth];
        control.fault(reply).await?;
        return Ok(format!("{} {}", reply["kind"], reply["match"]["method"]));
    }
    if fault == Fault::KillMember {
        let nth = any % 3;
        fleet.etcd.kill(nth);
        sleep(pause).await;
        fleet.etcd.restart(nth);
        return Ok(format!(
            "member {nth} of etcd is killed, and back after {pause:?}"
        ));
    }
    let leader = wait_for_leader(fleet).await?;
    Ok(match fault {
        Fault::KillLeader => {
            fleet.kill_child(leader).await?;
            sleep(pause).await;
            format!("r{leader}, which leads, is killed, and back after {pause:?}")
        }
        Fault::KillLeaderHost => {
            fleet.kill_both(leader).await?;
            sleep(pause).await;
            format!("r{leader}, which leads, is killed with its supervisor, and back after {pause:?}")
        }
        Fault::KillAny => {
            let nth = any % fleet.count();
            fleet.kill_child(nth).await?;
            format!("r{nth} is killed, and back at once")
        }
        Fault::FreezeLeader => {
            fleet.signal_both(leader, Signal::STOP)?;
            sleep(frozen).await;
            fleet.signal_both(leader, Signal::CONT)?;
            format!("r{leader}, which leads, is frozen for {frozen:?}")
        }
        Fault::StopLeader => {
            fleet.stop(leader).await?;
            format!("r{leader}, which leads, is asked to end, and back at once")
        }
        Fault::KillMember | Fault::Reply(_) => String::new(),
    })
}

fn replies() -> Vec<Value> {
    let fault = |kind: &str, host: &str, method: &str, more: Value| {
        let mut aim = json!({"host": host, "method": method});
        if let (Value::Object(aim), Value::Object(more)) = (&mut aim, more) {
            aim.extend(more);
        }
        json!({"kind": kind, "match": aim, "count": 1})
    };
    vec![
        fault(
            "reply.lost",
            "gce",
            "compute.regionInstances.bulkInsert",
            json!({}),
        ),
        fault("reply.lost", "gce", "compute.instances.insert", json!({})),
        fault("reply.lost", "gce", "compute.instances.delete", json!({})),
        fault("reply.lost", "buildkite", "stacks.reserve", json!({})),
        fault("reply.lost", "buildkite", "stacks.finish", json!({})),
        fault("reply.lost", "buildkite", "stacks.acquisition-tokens", json!({})),
        fault(
            "reply.delay",
            "gce",
            "compute.regionInstances.bulkInsert",
            json!({"delay_s": 3}),
        ),
        fault(
            "reply.status",
            "buildkite",
            "stacks.get-states",
            json!({"status": 500}),
        ),
        fault("reply.html", "gce", "compute.instances.list", json!({})),
    ]
}

/// A replica that was killed between a commit and its line left the line out; etcd has the commit. Its time is not
/// known, so it only shows that there was a record.
fn add_unwritten(evidence: &mut Evidence, history: &[Event]) {
    let keys: BTreeSet<String> = evidence
        .journal
        .iter()
        .flat_map(|commit| commit["keys"].as_array().into_iter().flatten())
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect();
    let unwritten: BTreeSet<&String> = history
        .iter()
        .map(|event| &event.key)
        .filter(|name| name.starts_with(&key("batches/")) && !keys.contains(*name))
        .collect();
    for name in unwritten {
        evidence.journal.push(json!({"unix_ns": 0, "keys": [name]}));
    }
}

/// Each commit says which term wrote it: none may come after one of a later term, and each term is that of a leader
/// that etcd had elected. Returns how many terms wrote something.
fn terms(history: &[Event], verdict: &mut Verdict) -> usize {
    let (leader, commits) = (key("leader"), key("commits"));
    let mut elected = BTreeSet::new();
    let mut newest: Option<u64> = None;
    let mut wrote: BTreeMap<u64, usize> = BTreeMap::new();
    let mut leads = None;
    for event in history {
        if event.key == leader {
            leads = event.value.as_ref().map(|_| event.revision);
            elected.extend(leads);
        }
        let Some(value) = event.value.as_ref().filter(|_| event.key == commits) else {
            continue;
        };
        let text = String::from_utf8_lossy(value);
        let term = text.split('-').next().and_then(|term| term.parse::<u64>().ok());
        let Some(term) = term else {
            verdict
                .violations
                .push(format!("revision {}: `{text}` is no commit", event.revision));
            continue;
        };
        if leads != Some(term) || !elected.contains(&term) {
            verdict.violations.push(format!(
                "revision {}: term {term} wrote, and {leads:?} leads",
                event.revision
            ));
        }
        if newest.is_some_and(|newest| term < newest) {
            verdict
                .violations
                .push(format!("revision {}: deposed term {term} wrote", event.revision));
        }
        newest = newest.max(Some(term));
        *wrote.entry(term).or_default() += 1;
    }
    wrote.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, below: &str, value: Option<&str>) -> Event {
        Event {
            revision,
            key: key(below),
            value: value.map(|value| value.as_bytes().into()),
        }
    }

    #[test]
    fn a_write_by_who_does_not_lead_is_seen_in_etcds_history() {
        let history = |last: &str| {
            vec![
                event(2, "leader", Some("r0")),
                event(3, "commits", Some("2-1")),
                event(4, "leader", None),
                event(5, "leader", Some("r1")),
                event(6, "commits", Some("5-1")),
                event(7, "commits", Some(last)),
            ]
        };
        let judged = |last| {
            let mut verdict = Verdict::default();
            let wrote = terms(&history(last), &mut verdict);
            (wrote, verdict.violations.len())
        };
        assert_eq!(judged("5-2"), (2, 0));
        assert_eq!(judged("2-2"), (2, 2));
        assert_eq!(judged("nonsense"), (2, 1));
    }

    #[test]
    fn a_seed_draws_the_same_faults_again() {
        let drawn = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..20).map(|_| draw(&mut rng, 3)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn a_batch_that_only_etcd_knows_was_recorded() {
        let mut evidence = Evidence {
            journal: vec![json!({"unix_ns": 5, "keys": [key("batches/a")]})],
            ..Evidence::default()
        };
        let history = [
            event(3, "batches/a", Some("")),
            event(4, "batches/b", Some("")),
            event(5, "batches/b", None),
        ];
        add_unwritten(&mut evidence, &history);
        assert_eq!(evidence.journal.len(), 2);
        assert_eq!(evidence.journal[1]["keys"][0], key("batches/b"));
    }
}
