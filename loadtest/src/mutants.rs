//! The command `gust-loadtest mutants`: known faults are put back into gust, one at a time, and runs of the
//! virtual gear go on until the checker notices. A fault that it does not notice shows a hole in the checker.

use anyhow::Result;
use clap::Args;

/// What to look for.
#[derive(Args, Clone, Debug)]
pub struct MutantsArgs {
    /// A mutant that is not caught within so many runs has got away.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// One mutant only, by its name.
    #[arg(long, value_parser = known)]
    only: Option<&'static str>,
    /// The control: no mutant, and nothing may be found.
    #[arg(long, conflicts_with = "only")]
    none: bool,
    /// Threads; one for each core by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Print what was found.
    #[arg(long)]
    explain: bool,
}

/// Each mutant with what it breaks, in the words of the report.
const BREAKS: [(&str, &str); 28] = [
    (
        "effect-before-commit",
        "effects go out before their records are durable",
    ),
    ("guard-skipped", "writes do not compare the leader's key"),
    ("term-not-compared", "a worker follows a leader of an older term"),
    (
        "request-id-renewed",
        "a call of unknown outcome is repeated under another request id",
    ),
    (
        "claim-not-single-use",
        "a job stays in the queue of claims after it was given away",
    ),
    (
        "promise-not-counted",
        "machines that are asked for do not count as using quota",
    ),
    (
        "delete-forgotten",
        "a machine that is done is recorded as going, and never deleted",
    ),
    (
        "timer-lost",
        "a new leader forgets the deadlines of what earlier ones made",
    ),
    ("reason-not-updated", "only the first reason is told in Buildkite"),
    ("reservation-not-renewed", "reservations lapse while jobs wait"),
    ("page-end-trusted", "only the first page of a list is read"),
    (
        "cancel-ignored",
        "a job that was cancelled while it waits is not noticed",
    ),
    ("lease-believed", "a lease is believed in beyond its time"),
    (
        "owner-never-stops",
        "calls and commands go out although the lease may have lapsed",
    ),
    ("shard-key-ignored", "a worker does not wait for a shard's key"),
    (
        "state-not-repeated",
        "a worker is not told again what the records ask of it when its session is opened anew",
    ),
    (
        "unclear-taken-for-written",
        "a commit of unknown outcome counts as durable",
    ),
    (
        "lease-stopped-late",
        "a lease is believed in for a second more than it lasts",
    ),
    (
        "late-renewal-untold",
        "who waits for a lease to be renewed is not told that it was",
    ),
    (
        "shard-not-looked-at",
        "what a shard's earlier owner told is acted upon under the next",
    ),
    (
        "stale-events-believed",
        "what a worker said in an earlier session counts",
    ),
    (
        "resumed-as-new",
        "a batch that may have been asked for is handed on as one that never was",
    ),
    (
        "silent-watch-trusted",
        "a watch that says nothing is trusted for ever",
    ),
    (
        "adoption-forgotten",
        "an election whose answer was lost is not recognized as won",
    ),
    (
        "commits-not-chained",
        "a commit does not compare what it follows: late and doubled messages write again",
    ),
    (
        "records-half-loaded",
        "a new leader reads only the first page of the records",
    ),
    ("orders-ignored", "machines are made where the operator closed it"),
    (
        "kept-after-all",
        "a worker that let go of a shard goes on with what it knew of it",
    ),
];

fn known(name: &str) -> Result<&'static str, String> {
    let found = BREAKS.iter().find(|(known, _)| *known == name);
    found.map(|(known, _)| *known).ok_or_else(|| {
        let names: Vec<&str> = BREAKS.iter().map(|(known, _)| *known).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Looks for each mutant. True if all are caught, or if the control finds nothing.
///
/// # Errors
/// In a build without the feature `mutants`: how to get one with it.
#[cfg(not(feature = "mutants"))]
pub fn mutants(_: &MutantsArgs) -> Result<bool> {
    anyhow::bail!(
        "this build has no mutants in it: cargo run --release -p gust-loadtest --features mutants -- mutants"
    )
}

#[cfg(feature = "mutants")]
pub use hunt::mutants;

#[cfg(feature = "mutants")]
mod hunt {
    use std::{
        sync::{
            Mutex, PoisonError,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use anyhow::Result;
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
        println!(
            "{:<24} {:>5}  {:<28} {:<20} what it breaks",
            "mutant", "runs", "caught by", "invariant"
        );
        let mut all = true;
        let asked = |name: &str| args.only.is_none_or(|only| only == name);
        for (name, breaks) in BREAKS.into_iter().filter(|(name, _)| asked(name)) {
            let clock = Stopwatch::start();
            let caught = hunt(args, Some(name));
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
        let by = format!("seed {seed}, {profile}, {replicas}");
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
                            *caught = Some(Caught { n, scenario, outcome });
                        }
                    }
                });
            }
        });
        caught.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_of_the_program_is_looked_for() {
        let names: Vec<&str> = BREAKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, gust_core::mutant::NAMES);
    }
}
