//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{admin::args::AdminCommand, explain::ExplainArgs, lint::LintArgs};

/// One machine per CI job, just in time.
///
/// Gust takes jobs from Buildkite and makes, for each, exactly the Google Cloud machine that the job asked
/// for; the machine runs that one job and is removed.
#[derive(Debug, Parser)]
#[command(name = "gust", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a replica
    Serve(ServeArgs),
    #[command(flatten)]
    Admin(AdminCommand),
    /// Show which machine a request gets, at which price, and why no other
    Explain(Box<ExplainArgs>),
    /// Show which machine each step of a pipeline gets, or what is wrong with its tags
    Lint(LintArgs),
    /// Show gust at work on this computer: no accounts, nothing leaves loopback
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration (TOML); `deploy/gust.example.toml` shows every key
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Append one JSON line to this file for every commit of the store
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// End when all jobs have ended; the exit code tells whether each ended as expected
    #[arg(long)]
    pub(crate) once: bool,
    /// Run the steps of this pipeline file instead of the sample
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// Run a CI build described by a table (CSV: step, arch, cpu, memory_gib, …), its commands short sleeps
    #[arg(long, value_name = "FILE", conflicts_with = "pipeline")]
    pub(crate) mix: Option<PathBuf>,
    /// Write what the stand-ins of Buildkite and Google saw to this file (JSON lines)
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Append one JSON line to this file for every commit of the store
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Boot machines as slowly as Google does
    #[arg(long)]
    pub(crate) real_time: bool,
    /// The cloud's limits: `demo` (quotas raised), `default` (those of a new project), or a file
    #[arg(long, value_name = "default|demo|FILE", default_value = "demo")]
    pub(crate) limits: String,
    /// Seed of everything random in the stand-ins
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_help_reads_well() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        command.build();
        insta::assert_snapshot!("help", command.render_long_help());
        let commands = [
            "serve", "status", "jobs", "job", "machines", "cancel", "pause", "resume", "cordon", "drain",
            "uncordon", "explain", "lint", "demo",
        ];
        for name in commands {
            let sub = command.find_subcommand_mut(name).expect("a command");
            insta::assert_snapshot!(format!("help_{name}"), sub.render_long_help());
        }
    }
}
