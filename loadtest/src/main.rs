//! `gust-loadtest`: proves gust under stress. Data goes to stdout, progress to stderr.

mod args;
mod report;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use gust_loadtest::adversity::adversity;
use gust_loadtest::day::day;
use gust_loadtest::fuzz::fuzz;
use gust_loadtest::mutants::mutants;
use gust_loadtest::sim::sim;
use gust_loadtest::wire::{
    BurstOptions, Cause, ChaosOptions, FailoverOptions, KillOptions, Programs, SourcesOptions,
    UpgradeOptions, Way, burst, chaos, failover, kill, sources, storm, upgrade,
};
use strum::IntoEnumIterator as _;
use tokio::signal::unix::{SignalKind, signal};

use self::args::{Args, Command};

fn main() -> ExitCode {
    gust_loadtest::said::listen();
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<bool> {
    if let Command::Sim(args) = &args.command {
        return sim(args);
    }
    if let Command::Adversity(args) = &args.command {
        return adversity(args);
    }
    if let Command::Day(args) = &args.command {
        return day(args);
    }
    if let Command::Fuzz(args) = &args.command {
        return fuzz(args);
    }
    if let Command::Mutants(args) = &args.command {
        return mutants(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match args.command {
        Command::Sim(_)
        | Command::Mutants(_)
        | Command::Adversity(_)
        | Command::Day(_)
        | Command::Fuzz(_) => Ok(true),
        Command::Burst {
            jobs,
            default_quotas,
            limits,
            records,
            seed,
            patience,
            dir,
        } => {
            let options = BurstOptions {
                jobs: jobs.unwrap_or(if default_quotas { 500 } else { 10_000 }),
                default_quotas,
                limits,
                records,
                seed,
                patience: Duration::from_secs(patience),
            };
            let run = within(dir, |dir| {
                runtime.block_on(unless_stopped(burst(&options, dir, &mut |line| {
                    eprintln!("{line}")
                })))
            })?;
            Ok(report::burst(&run))
        }
        Command::Chaos {
            seeds,
            from,
            replicas,
            members,
            faults,
            patience,
            dir,
        } => {
            let options = |seed: u64| ChaosOptions {
                seed,
                replicas: replicas.into(),
                members: members.map_or(if seed % 2 == 1 { 1 } else { 3 }, usize::from),
                faults,
                patience: Duration::from_secs(patience),
            };
            within(dir, |dir| {
                runtime.block_on(unless_stopped(chaos_of((from..from + seeds).map(options), dir)))
            })
        }
        Command::Failover {
            cause,
            count,
            backlog,
            seed,
            patience,
            dir,
        } => {
            let options = FailoverOptions {
                causes: if cause.is_empty() {
                    Cause::iter().collect()
                } else {
                    cause
                },
                count,
                backlog,
                seed,
                patience: Duration::from_secs(patience),
            };
            let run = within(dir, |dir| {
                runtime.block_on(unless_stopped(failover(&options, dir, &mut |line| {
                    eprintln!("{line}")
                })))
            })?;
            Ok(report::failovers(&run))
        }
        Command::Kill {
            count,
            seed,
            patience,
            dir,
        } => {
            let options = KillOptions {
                count,
                seed,
                patience: Duration::from_secs(patience),
            };
            let killed = within(dir, |dir| {
                runtime.block_on(unless_stopped(kill(&options, dir, &mut |line| {
                    eprintln!("{line}")
                })))
            })?;
            Ok(report::counted(&killed.phases, "kills", &killed.verdict))
        }
        Command::Upgrade {
            to,
            backlog,
            seed,
            patience,
            dir,
        } => {
            let options = UpgradeOptions {
                to: to.map_or_else(|| Programs::find().map(|programs| programs.gust()), Ok)?,
                backlog,
                seed,
                patience: Duration::from_secs(patience),
            };
            let run = within(dir, |dir| {
                runtime.block_on(unless_stopped(upgrade(&options, dir, &mut |line| {
                    eprintln!("{line}")
                })))
            })?;
            Ok(report::upgraded(&run))
        }
        Command::Sources {
            jobs,
            way,
            seed,
            patience,
            dir,
        } => {
            let options = SourcesOptions {
                jobs,
                seed,
                patience: Duration::from_secs(patience),
            };
            let ways = ways(&way)?;
            let run = within(dir, |dir| {
                runtime.block_on(unless_stopped(sources(&options, dir, &ways, &mut |line| {
                    eprintln!("{line}")
                })))
            })?;
            Ok(report::sources(&run))
        }
        Command::Storm { seed, patience, dir } => {
            let weathered = within(dir, |dir| {
                runtime.block_on(unless_stopped(storm(dir, seed, Duration::from_secs(patience))))
            })?;
            Ok(report::counted(&weathered.faults, "times", &weathered.verdict))
        }
    }
}

/// The ways of these names; all of them for none.
fn ways(names: &[String]) -> Result<Vec<Way>> {
    if names.is_empty() {
        return Ok(Way::ALL.to_vec());
    }
    let known = Way::ALL.map(Way::name).join(", ");
    let way = |name: &String| Way::ALL.into_iter().find(|way| way.name() == *name);
    let found = names
        .iter()
        .map(|name| way(name).with_context(|| format!("`{name}` is no way; there are {known}")));
    found.collect()
}

/// Runs to the end, or until this process is asked to end: the processes of a run end with it, either way.
async fn unless_stopped<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    tokio::select! {
        biased;
        _ = terminate.recv() => bail!("asked to end by SIGTERM; all processes of the run are ended"),
        _ = interrupt.recv() => bail!("asked to end by SIGINT; all processes of the run are ended"),
        done = run => done,
    }
}

/// Runs each, and prints one line for each and the sum. True if nothing was violated.
#[expect(clippy::print_stdout, reason = "the report is this program's product")]
async fn chaos_of(all: impl Iterator<Item = ChaosOptions>, dir: &Path) -> Result<bool> {
    let (mut jobs, mut faults, mut terms, mut violations) = (0, 0, 0, 0);
    for options in all {
        let dir = dir.join(format!("seed-{}", options.seed));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let run = chaos(&options, &dir)
            .await
            .with_context(|| format!("seed {}", options.seed))?;
        for line in &run.done {
            eprintln!("{line}");
        }
        println!(
            "seed {:>4}: {} jobs, {} faults, {} terms, {} violations",
            options.seed,
            run.verdict.jobs,
            run.done.len(),
            run.terms,
            run.verdict.violations.len()
        );
        for violation in &run.verdict.violations {
            println!("violation: {violation}");
        }
        jobs += run.verdict.jobs;
        faults += run.done.len();
        terms += run.terms;
        violations += run.verdict.violations.len();
    }
    println!("{jobs} jobs, {faults} faults, {terms} terms, {violations} violations");
    Ok(violations == 0)
}

// Runs in a directory, which is kept if the run fails.
fn within<T>(dir: Option<PathBuf>, run: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let dir = dir.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let result = run(&dir);
    if result.is_err() {
        if dir == temporary.path() {
            let _ = temporary.keep();
        }
        eprintln!("logs, records and journal are in {}", dir.display());
    }
    result
}
