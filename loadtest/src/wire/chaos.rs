//! Several replicas over etcd while processes die, freeze and come back, the network between them is cut, and replies
//! get lost: drawn from a seed.

mod fault;

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use super::{
    control::Control,
    fleet::{Done, Fleet, Muster},
    history::writers,
    kill::until_over,
    processes::{Fakes, PROJECT, Programs},
    retell::{Traces, expectations, retell},
    verdict::Verdict,
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

const REGIONS: &[&str] = &["us-central1", "us-east1"];

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
    let muster = Muster {
        replicas: options.replicas,
        members: options.members,
        regions: REGIONS,
        // What a leader had reserved and not yet booked when it died, its successor sees once that has run out.
        more: "[limits]\nreservation = \"30s\"\n",
    };
    let mut fleet = Fleet::start(&programs, dir, &fakes, &muster)?;
    wait_for_leader(&fleet).await?;
    let begun = Instant::now();
    let jobs: BTreeSet<String> = control.build(PIPELINE).await?.into_iter().collect();
    let mut done = Vec::new();
    for _ in 0..options.faults {
        sleep(Duration::from_millis(rng.random_range(50..2_000))).await;
        let fault = fault::draw(&mut rng, options.members);
        fleet.did(Done::Fault(format!("{fault:?}")));
        let at = begun.elapsed().as_secs_f64();
        let struck = fault::strike(fault, &mut rng, &mut fleet, &control).await;
        let what =
            struck.with_context(|| format!("{fault:?}, after these faults:\n  {}", done.join("\n  ")))?;
        fleet.did(Done::Fault(what.clone()));
        done.push(format!("{at:7.3} s  {what}"));
        for nth in 0..fleet.count() {
            if !fleet.check(nth)? {
                fleet.restart(nth)?;
            }
        }
    }
    fleet.did(Done::Quiet);
    let so_far = || format!("after these faults:\n  {}", done.join("\n  "));
    until_over(&control, 0, &jobs, options.patience)
        .await
        .with_context(so_far)?;
    until_no_record(&fleet).await.with_context(so_far)?;
    let history = fleet.history().await?;
    for nth in 0..fleet.count() {
        fleet.stop(nth).await?;
    }
    let (events, journal) = (control.events(0).await?, fleet.read_journals()?);
    let traces = Traces {
        events: &events,
        journal: &journal,
        history: &history,
        deeds: fleet.deeds(),
        started_unix_ns: fakes.started_unix_ns,
    };
    let found = retell(&traces, expectations(&["never"], PROJECT, REGIONS))?;
    fakes.stop().await?;
    Ok(ChaosRun {
        done,
        terms: writers(&history),
        verdict: found.into(),
    })
}

/// The records of what is over are gone soon after it.
async fn until_no_record(fleet: &Fleet) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = fleet.records().await;
        if matches!(left, Ok(0)) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "a minute after all is over there are still records: {left:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// The replica that leads, as soon as one does.
pub(super) async fn wait_for_leader(fleet: &Fleet) -> Result<usize> {
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
