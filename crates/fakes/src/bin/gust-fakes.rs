//! `gust-fakes`: all fakes in one process.
//!
//! Prints exactly one JSON line on stdout when every listener is bound, then nothing more there. SIGTERM and
//! SIGINT end it with 0, a start that fails with 1, a command line that is wrong with 2.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use gust_fakes::ceiling;
use gust_fakes::config::{File, Machines, Settings};
use gust_fakes::http::{Handle, serve};
use gust_fakes::limits::Limits;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Stand-ins for Buildkite, GCE and the metadata server, on loopback.
#[derive(Debug, Parser)]
#[command(name = "gust-fakes", version)]
struct Arguments {
    /// Configuration file (TOML): ports, limits, projects, queues, tokens
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What runs on the machines of the fake GCE
    #[arg(long, value_name = "KIND")]
    machines: Option<Machines>,
    /// The guest program that `--machines exec` starts [default: gust-guest beside this program]
    #[arg(long, value_name = "PATH")]
    guest: Option<PathBuf>,
    /// Limits: `default`, `demo`, or a file
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Divides boot, stop and delete times; rate windows keep real time
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,
    /// Measures how fast the fakes themselves are on this machine, prints it as one JSON line and ends
    #[arg(long)]
    ceiling: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one place where a failure is told to a person.
            let _ = writeln!(std::io::stderr(), "gust-fakes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let measures = arguments.ceiling;
    let settings = settings(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    if measures {
        return runtime.block_on(async {
            let ceiling = ceiling::measure(settings).await?;
            let line = serde_json::to_string(&ceiling).context("the ceiling cannot be written")?;
            writeln!(std::io::stdout(), "{line}").context("the ceiling cannot be written")
        });
    }
    runtime.block_on(run_until_told(settings))
}

fn settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let mut settings = match &arguments.config {
        Some(path) => File::load(path)?.settings()?,
        None => Settings::default(),
    };
    if let Some(limits) = &arguments.limits {
        settings.limits = Limits::load(limits)?;
    }
    if let Some(speed) = arguments.speed {
        anyhow::ensure!(
            speed.is_finite() && speed > 0.0,
            "--speed must be a positive number, not {speed}"
        );
        settings.limits.speed = speed;
    }
    settings.seed = arguments.seed.unwrap_or(settings.seed);
    settings.machines = arguments.machines.unwrap_or(settings.machines);
    settings.guest = arguments.guest.or(settings.guest);
    Ok(settings)
}

async fn run_until_told(settings: Settings) -> anyhow::Result<()> {
    // Before the ready line, so that whoever reads it can already end us properly.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let seed = settings.seed;
    let handle: Handle = serve(settings).await?;
    let line = serde_json::to_string(&handle.addresses).context("the ready line cannot be written")?;
    writeln!(std::io::stdout(), "{line}").context("the ready line cannot be written")?;
    std::io::stdout()
        .flush()
        .context("the ready line cannot be written")?;
    info!(seed, control = handle.addresses.control, "fakes are up");
    tokio::select! {
        biased;
        _ = terminate.recv() => info!("SIGTERM: ending"),
        _ = interrupt.recv() => info!("SIGINT: ending"),
    }
    handle.shutdown().await;
    Ok(())
}
