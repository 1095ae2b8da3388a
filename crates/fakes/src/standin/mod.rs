//! A small agent that speaks Buildkite's Agent API and truly runs the job's command.
//!
//! It stands in for `buildkite-agent start --acquire-job` in the demo and the tests where no real agent is
//! installed, and keeps to what was measured of agent 3.136: the order and bodies of its calls, its retries,
//! what it does on each refusal, its exit codes and its signals. What it does not do, it refuses by name:
//! checkout of code, plugins, hooks, and every flag it does not know. There is no terminal (`--no-pty`
//! always), and log lines carry no time markers.
//!
//! It says who it is: its User-Agent is `gust-agent-standin/<version>`.

mod agent;
pub(crate) mod api;
mod artifacts;
mod bootstrap;
mod cli;
mod commands;
mod glob;
mod interpolate;
pub(crate) mod job;
pub(crate) mod log;
mod ping;
mod pipeline;
mod redact;
pub(crate) mod register;
mod stop;
mod supervise;

use std::ffi::OsString;

use clap::Parser;

use cli::{Cli, Command};

/// Runs one command line and returns the exit code: those of `buildkite-agent`, see `docs/fakes.md`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is 1, as with the real agent.
            let code = u8::from(error.use_stderr());
            // Nobody is left to tell if even this cannot be printed.
            let _ = error.print();
            return code;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return 1;
        }
    };
    runtime.block_on(async {
        match cli.command {
            Command::Start(options) => agent::start(*options).await,
            Command::Bootstrap(options) => bootstrap::run(&options).await,
            Command::Annotate(options) => commands::annotate(options).await,
            Command::MetaData(options) => commands::meta_data(options).await,
            Command::Artifact(options) => artifacts::run(options).await,
            Command::Pipeline(options) => pipeline::run(options).await,
        }
    })
}

/// One line of the agent's own log, on stderr.
fn say(line: &str) {
    eprintln!("gust-agent-standin: {line}");
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line += &format!(": {inner}");
        cause = inner.source();
    }
    line
}

/// Wall time as RFC 3339.
#[expect(clippy::disallowed_methods, reason = "the one clock of the stand-in agent")]
pub(crate) fn wall_time() -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    crate::stamp::rfc3339(since.as_nanos() as i128)
}
