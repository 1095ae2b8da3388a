//! `gust-loadtest`: proves gust under stress. Data goes to stdout, progress to stderr.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use gust_loadtest::mutants::{MutantsArgs, mutants};
use gust_loadtest::sim::{SimArgs, sim};
use gust_loadtest::wire::{KillOptions, Verdict, kill, storm};

/// Load tests and chaos for gust, against the fakes.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    if let Command::Mutants(args) = &args.command {
        return mutants(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match args.command {
        Command::Sim(_) | Command::Mutants(_) => Ok(true),
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
                runtime.block_on(kill(&options, dir, &mut |line| eprintln!("{line}")))
            })?;
            Ok(report(&killed.phases, "kills", &killed.verdict))
        }
        Command::Storm { seed, patience, dir } => {
            let weathered = within(dir, |dir| {
                runtime.block_on(storm(dir, seed, Duration::from_secs(patience)))
            })?;
            Ok(report(&weathered.faults, "times", &weathered.verdict))
        }
    }
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

#[expect(clippy::print_stdout, reason = "the report is this program's product")]
fn report<K: Display>(counts: &BTreeMap<K, usize>, what: &str, verdict: &Verdict) -> bool {
    for (name, count) in counts {
        println!("{name:<48} {count:>3} {what}");
    }
    println!(
        "{} jobs, {} machines, {} tokens issued anew to the machine that had claimed, {} violations",
        verdict.jobs,
        verdict.machines,
        verdict.reissued,
        verdict.violations.len()
    );
    for violation in &verdict.violations {
        println!("violation: {violation}");
    }
    verdict.violations.is_empty()
}
