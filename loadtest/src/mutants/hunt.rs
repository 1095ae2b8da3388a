//! Runs with a mutant in, until one fails.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use gust_core::mutant;
use strum::VariantArray as _;

use super::{BREAKS, MutantsArgs};
use crate::{
    sim::progress::Stopwatch,
    virtual_gear::{Keep, Outcome, Profile, Scenario, Sweep, run},
};

/// The first run that failed.
struct Caught {
    /// Which run, from 0.
    n: u64,
    /// The kept scenario that it was, if none that was drawn failed.
    kept: Option<String>,
    scenario: Scenario,
    outcome: Outcome,
}

/// Looks for each mutant. True if all are caught, or if the control finds nothing.
///
/// # Errors
/// None in a build that has mutants.
#[expect(clippy::print_stdout, reason = "the report is this command's product")]
pub fn mutants(args: &MutantsArgs) -> Result<bool> {
    if args.none {
        return Ok(control(args));
    }
    let kept = kept_scenarios(&args.kept)?;
    println!(
        "{:<24} {:>5}  {:<28} {:<20} what it breaks",
        "mutant", "runs", "caught by", "invariant"
    );
    let mut all = true;
    let asked = |name: &str| args.only.is_none_or(|only| only == name);
    for (name, breaks) in BREAKS.into_iter().filter(|(name, _)| asked(name)) {
        let clock = Stopwatch::start();
        let caught = hunt(args, Some(name)).or_else(|| hunt_kept(args, name, &kept));
        all &= caught.as_ref().is_some_and(is_honest);
        println!("{}", line(args, name, breaks, caught.as_ref(), clock.elapsed()));
        if let Some(caught) = caught.filter(|_| args.explain) {
            println!("{}", caught.outcome.failure().unwrap_or_default());
        }
    }
    Ok(all)
}

/// The same run is a good one without the mutant.
fn is_honest(caught: &Caught) -> bool {
    mutant::put(None);
    run(&caught.scenario, Keep::Nothing).broken().is_none()
}

fn line(args: &MutantsArgs, name: &str, breaks: &str, caught: Option<&Caught>, took: Duration) -> String {
    let took = took.as_secs_f64();
    let Some(caught) = caught else {
        return format!(
            "{name:<24} {:>5}  {:<28} {:<20} {breaks} ({took:.1} s)",
            args.seeds, "NOT CAUGHT", "-"
        );
    };
    let Scenario { seed, replicas, .. } = caught.scenario;
    let profile: &str = caught.scenario.profile.into();
    let by = match &caught.kept {
        Some(kept) => format!("kept: {kept}"),
        None => format!("seed {seed}, {profile}, {replicas}"),
    };
    let invariant = caught.outcome.broken().unwrap_or_default();
    let doubt = if is_honest(caught) {
        ""
    } else {
        "; THE SAME RUN FAILS WITHOUT IT"
    };
    format!(
        "{name:<24} {:>5}  {by:<28} {invariant:<20} {breaks} ({took:.1} s{doubt})",
        caught.n + 1
    )
}

#[expect(clippy::print_stdout, reason = "the report is this command's product")]
fn control(args: &MutantsArgs) -> bool {
    let Some(found) = hunt(args, None) else {
        println!("no mutant: {} runs, 0 violations", args.seeds);
        return true;
    };
    let Scenario { seed, replicas, .. } = found.scenario;
    let profile: &str = found.scenario.profile.into();
    println!(
        "no mutant, and yet: seed {seed}, {profile}, {replicas} replicas\n{}",
        found.outcome.failure().unwrap_or_default()
    );
    false
}

/// What once failed and was kept, by name, in order.
fn kept_scenarios(dir: &Path) -> Result<Vec<(String, Scenario)>> {
    let entries = fs::read_dir(dir).with_context(|| {
        format!(
            "--kept {}: run this from the root of the repository",
            dir.display()
        )
    })?;
    let mut kept = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            kept.push((name, Scenario::load(&path)?));
        }
    }
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(kept)
}

/// Tries kept scenarios with a mutant that no run which was drawn has caught: they are tests as well.
fn hunt_kept(args: &MutantsArgs, mutant: &'static str, kept: &[(String, Scenario)]) -> Option<Caught> {
    mutant::put(Some(mutant));
    let caught = kept.iter().zip(args.seeds..).find_map(|((name, scenario), n)| {
        let outcome = run(scenario, Keep::Nothing);
        outcome.broken().is_some().then(|| Caught {
            n,
            kept: Some(name.clone()),
            scenario: scenario.clone(),
            outcome,
        })
    });
    mutant::put(None);
    caught
}

/// Makes runs with a mutant until one fails: the first of them, whichever thread made it.
fn hunt(args: &MutantsArgs, name: Option<&'static str>) -> Option<Caught> {
    let sweep = Sweep {
        from: 1,
        seeds: args.seeds,
        profiles: Profile::VARIANTS.to_vec(),
        replicas: vec![1, 3],
        all: false,
        plain: false,
        jobs: None,
        threads: args
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        most_violations: 1,
    };
    let next = AtomicU64::new(0);
    let first = AtomicU64::new(sweep.runs());
    let caught = Mutex::new(None::<Caught>);
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(|| {
                // A mutant is in for one thread only, and a run stays on its thread.
                mutant::put(name);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= first.load(Ordering::Relaxed) {
                        return;
                    }
                    let scenario = sweep.scenario(n);
                    let outcome = run(&scenario, Keep::Nothing);
                    if outcome.broken().is_none() {
                        continue;
                    }
                    first.fetch_min(n, Ordering::Relaxed);
                    let mut caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
                    if caught.as_ref().is_none_or(|earlier| n < earlier.n) {
                        *caught = Some(Caught {
                            n,
                            kept: None,
                            scenario,
                            outcome,
                        });
                    }
                }
            });
        }
    });
    caught.into_inner().unwrap_or_else(PoisonError::into_inner)
}
