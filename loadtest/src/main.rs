//! `gust-loadtest`: proves gust under stress. Data goes to stdout, progress to stderr.

mod report;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use gust_loadtest::adversity::{AdversityArgs, adversity};
use gust_loadtest::mutants::{MutantsArgs, mutants};
use gust_loadtest::sim::{SimArgs, sim};
use gust_loadtest::wire::{
    BurstOptions, Cause, ChaosOptions, FailoverOptions, KillOptions, Programs, Records, UpgradeOptions,
    burst, chaos, failover, kill, storm, upgrade,
};
use strum::IntoEnumIterator as _;
use tokio::signal::unix::{SignalKind, signal};

/// Load tests and chaos for gust, against the fakes.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads many jobs at once and measures how soon all their machines are asked for, next to how soon the limits
    /// allow it, and how many calls to Google that takes. Machines are simulated.
    Burst {
        /// How many jobs [default: 10,000; with default quotas 500].
        #[arg(long)]
        jobs: Option<usize>,
        /// With the quotas of a new project, and jobs that each fit the smallest of them: whether those that wait
        /// are told why.
        #[arg(long)]
        default_quotas: bool,
        /// Another limits file than `loadtest/limits/burst.toml`, or than the defaults.
        #[arg(long)]
        limits: Option<PathBuf>,
        /// Where gust keeps its records.
        #[arg(long, value_enum, default_value_t = Records::Embedded)]
        records: Records,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds until no machine may be left.
        #[arg(long, default_value_t = 3_600)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Runs several replicas over etcd through builds while their processes, and etcd's, are killed and frozen and
    /// replies get lost, as each seed draws it; judges from the fakes' event log, the replicas' journals and etcd's
    /// history.
    Chaos {
        /// How many seeds, each with processes of its own.
        #[arg(long, default_value_t = 10)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Replicas of gust.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
        replicas: u16,
        /// Members of etcd; by default one and three in turn.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=5))]
        members: Option<u16>,
        /// Faults in each build.
        #[arg(long, default_value_t = 4)]
        faults: usize,
        /// Seconds that a build may take after its last fault.
        #[arg(long, default_value_t = 180)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Loses the leader of three replicas over three members of etcd, again and again and in several ways, while more
    /// jobs wait than can be placed, and measures for how long nothing is placed.
    Failover {
        /// How the leader is lost; several causes take turns, all by default.
        #[arg(long, value_delimiter = ',')]
        cause: Vec<Cause>,
        /// How many losses, all causes together.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// At least so many jobs wait whenever a leader is lost.
        #[arg(long, default_value_t = 1_000)]
        backlog: usize,
        /// Seed of the fakes and of the moments of losses.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the replicas may take to be whole again after a loss.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// A bad day in virtual time: zones without a family, a quota that is halved, Spot machines that are taken back, calls
    /// that are refused; and the same day for an oracle that knows of all that. Prints how long jobs wait on each.
    Adversity(AdversityArgs),
    /// Kills `gust serve` with SIGKILL in every phase of a job's life, each time in its own build, and judges
    /// from the fakes' event log and the commit journal that nothing was lost, doubled or left behind.
    Kill {
        /// How many kills; the six phases take turns.
        #[arg(long, default_value_t = 50)]
        count: usize,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that a build may take after a restart.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Puts known faults back into gust, one at a time, and shows that the checks of `sim` notice each. Needs a
    /// build with the feature `mutants`.
    Mutants(MutantsArgs),
    /// Runs the whole shell in virtual time over the fakes' models, with faults drawn from a seed, and holds each
    /// run to the invariants of the design.
    Sim(SimArgs),
    /// Restarts the replicas one by one with another build while more jobs wait than can be placed, and measures for
    /// how long nothing is placed.
    Upgrade {
        /// The other build's `gust`; by default this build's once more.
        #[arg(long)]
        to: Option<PathBuf>,
        /// At least so many jobs wait whenever a replica is restarted.
        #[arg(long, default_value_t = 1_000)]
        backlog: usize,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the replicas may take to be whole again after a restart.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Runs one build while Google and Buildkite lose, delay, truncate and refuse replies, and judges it.
    Storm {
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the build may take.
        #[arg(long, default_value_t = 180)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

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
    if let Command::Mutants(args) = &args.command {
        return mutants(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match args.command {
        Command::Sim(_) | Command::Mutants(_) | Command::Adversity(_) => Ok(true),
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
        Command::Storm { seed, patience, dir } => {
            let weathered = within(dir, |dir| {
                runtime.block_on(unless_stopped(storm(dir, seed, Duration::from_secs(patience))))
            })?;
            Ok(report::counted(&weathered.faults, "times", &weathered.verdict))
        }
    }
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
