//! `kill -9` of `gust serve`, again and again, each in its own build and at a chosen phase of a job's life.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    control::Control,
    processes::{Fakes, Programs, Replica},
    verdict::{Evidence, Verdict, judge},
};

/// What to do.
#[derive(Clone, Debug)]
pub struct KillOptions {
    /// How many kills; phases take turns.
    pub count: usize,
    /// Seed of the fakes.
    pub seed: u64,
    /// How long a build may take after the restart.
    pub patience: Duration,
}

/// The outcome.
#[derive(Debug)]
pub struct Killed {
    /// Kills by phase.
    pub phases: BTreeMap<&'static str, usize>,
    /// What the judge says.
    pub verdict: Verdict,
}

/// The moment at which a replica is killed: when the harness sees this.
struct Phase {
    name: &'static str,
    sign: Sign,
}

enum Sign {
    /// A commit of this phase is in the journal.
    Commit(&'static str),
    /// The fakes saw this.
    Event(fn(&Value) -> bool),
}

const PHASES: [Phase; 6] = [
    Phase {
        name: "booked",
        sign: Sign::Commit("booked"),
    },
    Phase {
        name: "batch recorded",
        sign: Sign::Commit("batch"),
    },
    Phase {
        name: "call in flight",
        sign: Sign::Event(|event| event["kind"] == "fault.applied"),
    },
    Phase {
        name: "VM up",
        sign: Sign::Event(|event| event["kind"] == "instance.state" && event["to"] == "RUNNING"),
    },
    Phase {
        name: "claimed",
        sign: Sign::Commit("claimed"),
    },
    Phase {
        name: "job ended",
        sign: Sign::Event(|event| event["kind"] == "job.finished"),
    },
];

const PIPELINE: &str = r#"
agents: { queue: gust }
steps:
  - { key: pair, command: "sleep 0.3", parallelism: 2, agents: { cpu: 4, memory: 16 } }
  - { key: single, command: "sleep 0.3", agents: { cpu: 2, memory: 8 } }
"#;

/// Runs all kills over one set of fakes and one store in `dir`, telling progress through `say`.
///
/// # Errors
/// A process fails, or a build does not end in time.
pub async fn kill(options: &KillOptions, dir: &Path, say: &mut dyn FnMut(String)) -> Result<Killed> {
    let programs = Programs::find()?;
    let fakes = Fakes::start(&programs, dir, options.seed).await?;
    let control = Control::new(&fakes.control)?;
    let mut replica = Replica::start(&programs, dir, &fakes)?;
    let mut phases = BTreeMap::new();
    for n in 0..options.count {
        let phase = &PHASES[n % PHASES.len()];
        let begun = Instant::now();
        one(phase, &control, &mut replica, options.patience)
            .await
            .with_context(|| format!("kill {} of {}, in phase `{}`", n + 1, options.count, phase.name))?;
        *phases.entry(phase.name).or_default() += 1;
        say(format!(
            "kill {:>3} of {}: {:<15} ok after {:.1} s",
            n + 1,
            options.count,
            phase.name,
            begun.elapsed().as_secs_f64()
        ));
    }
    let evidence = Evidence {
        events: control.events(0).await?,
        journal: replica.read_journal()?,
        started_unix_ns: fakes.started_unix_ns,
    };
    replica.stop().await?;
    fakes.stop().await?;
    Ok(Killed {
        phases,
        verdict: judge(&evidence),
    })
}

async fn one(phase: &Phase, control: &Control, replica: &mut Replica, patience: Duration) -> Result<()> {
    let events_before = control.events(0).await?.len() as u64;
    let commits_before = replica.read_journal()?.len();
    if phase.name == "call in flight" {
        let aim = json!({"host": "gce", "method": "compute.regionInstances.bulkInsert", "delay_s": 2});
        control
            .fault(&json!({"kind": "reply.delay", "match": aim, "count": 1}))
            .await?;
    }
    let jobs: BTreeSet<String> = control.build(PIPELINE).await?.into_iter().collect();
    let deadline = Instant::now() + patience;
    loop {
        let seen = match &phase.sign {
            Sign::Commit(word) => replica
                .read_journal()?
                .iter()
                .skip(commits_before)
                .any(|commit| has_phase(commit, word)),
            Sign::Event(sign) => control.events(events_before).await?.iter().any(sign),
        };
        if seen {
            break;
        }
        wait(deadline, || "the phase was not reached".to_owned()).await?;
    }
    replica.kill().await?;
    replica.restart()?;
    until_over(control, events_before, &jobs, patience).await
}

fn has_phase(commit: &Value, word: &str) -> bool {
    commit["phase"]
        .as_str()
        .is_some_and(|phases| phases.split('+').any(|phase| phase == word))
}

// All jobs of this build are finished, and no machine is left.
pub(super) async fn until_over(
    control: &Control,
    before: u64,
    jobs: &BTreeSet<String>,
    patience: Duration,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let events = control.events(before).await?;
        let mut open = jobs.clone();
        let mut live = BTreeSet::new();
        for event in &events {
            let name = event["name"].as_str().unwrap_or_default();
            match event["kind"].as_str() {
                Some("job.finished") => drop(open.remove(event["job"].as_str().unwrap_or_default())),
                Some("instance.inserted") => drop(live.insert(name.to_owned())),
                Some("instance.deleted") => drop(live.remove(name)),
                _ => {}
            }
        }
        if open.is_empty() && live.is_empty() {
            return Ok(());
        }
        wait(deadline, || {
            format!("after the restart these are not over: jobs {open:?}, machines {live:?}")
        })
        .await?;
    }
}

async fn wait(deadline: Instant, why: impl Fn() -> String) -> Result<()> {
    if Instant::now() >= deadline {
        bail!(why());
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}
