//! `gust demo`: a whole CI build on one computer. Stand-ins play Buildkite and Google's cloud; the replica,
//! the guest and, where it is installed, Buildkite's agent are the real ones, in processes of their own.
//!
//! This module starts and ends them in order and judges the outcome by the stand-ins' event log. What is
//! read from that log is [`state`]'s, how it looks is [`render`]'s.

mod child;
mod control;
mod csv;
mod limits;
mod mix;
mod pipeline;
mod programs;
mod render;
mod run;
mod screen;
mod server_config;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::process::Command;

use self::{
    child::Child,
    control::{Control, Ready},
    limits::Limits,
    pipeline::Expected,
    programs::Programs,
    screen::Screen,
};
use crate::{args::DemoArgs, exit_codes, failure::Failure};

/// The sample pipeline.
const SAMPLE: &str = include_str!("../../demo/pipeline.yml");

/// Everything settled before the first process starts.
struct Plan {
    args: DemoArgs,
    programs: Programs,
    limits: Limits,
    yaml: String,
    expected: Vec<Expected>,
    dir: PathBuf,
    journal: PathBuf,
    events: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A program or file is missing or refused, a job ended otherwise than expected, or a machine was left.
pub(crate) fn run(args: DemoArgs) -> Result<(), Failure> {
    let plan = plan(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run::run(plan))
}

/// Checks everything that can be checked before anything runs.
fn plan(args: DemoArgs) -> Result<Plan, Failure> {
    let programs = Programs::find()?;
    let limits = limits::choose(&args.limits, args.real_time)?;
    let (yaml, file) = read_pipeline(&args)?;
    let expected = pipeline::read(&yaml).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot use {}", file.display()));
        Failure::new(exit_codes::CONFIG, error)
    })?;
    // Kept: the logs and the store are what a curious reader looks at afterwards.
    let dir = tempfile::Builder::new()
        .prefix("gust-demo-")
        .tempdir()
        .context("cannot make a directory for the demo")?
        .keep();
    let journal = args.journal.clone();
    let events = args.events.clone();
    Ok(Plan {
        journal: journal.unwrap_or_else(|| dir.join("journal.jsonl")),
        events: events.unwrap_or_else(|| dir.join("events.jsonl")),
        args,
        programs,
        limits,
        yaml,
        expected,
        dir,
    })
}

fn read_pipeline(args: &DemoArgs) -> Result<(String, PathBuf), Failure> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(|error| Failure::new(exit_codes::CONFIG, error))
    };
    match (&args.mix, &args.pipeline) {
        (Some(file), _) => {
            let yaml =
                mix::pipeline(&read(file)?, file).map_err(|error| Failure::new(exit_codes::CONFIG, error))?;
            Ok((yaml, file.clone()))
        }
        (None, Some(file)) => Ok((read(file)?, file.clone())),
        (None, None) => Ok((SAMPLE.to_owned(), PathBuf::from("the sample pipeline"))),
    }
}

impl Plan {
    /// Opens the file the event log goes to.
    fn create_events(&self) -> Result<File, Failure> {
        File::create(&self.events)
            .with_context(|| format!("cannot write the event log {}", self.events.display()))
            .map_err(|error| {
                Failure::new(exit_codes::CONFIG, error).hint("give --events a file that can be written")
            })
    }

    /// Starts the stand-ins; returns when they are ready.
    async fn start_fakes(&self) -> Result<(Child, Ready), Failure> {
        let limits = self.dir.join("limits.toml");
        fs::write(&limits, &self.limits.text).context("cannot write the limits")?;
        let mut command = Command::new(&self.programs.fakes);
        command
            .args(["--machines", "exec", "--guest"])
            .arg(&self.programs.guest)
            .arg("--limits")
            .arg(&limits)
            .args(["--seed", &self.args.seed.to_string()]);
        let mut fakes = Child::start("gust-fakes", command, &self.dir, true)?;
        let line = fakes.first_line(std::time::Duration::from_secs(30)).await?;
        let ready = serde_json::from_str(&line)
            .map_err(|_| fakes.complaint("gust-fakes said something else than that it is ready"))?;
        Ok((fakes, ready))
    }

    /// Starts the replica.
    fn start_server(&self, ready: &Ready) -> Result<Child, Failure> {
        let config = self.dir.join("gust.toml");
        fs::write(&config, server_config::text(ready, &self.limits.family_quotas))
            .context("cannot write the configuration")?;
        let mut command = Command::new(&self.programs.gust);
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .arg("--journal")
            .arg(&self.journal)
            .env(server_config::TOKEN_VARIABLE, server_config::TOKEN)
            .env(server_config::ADMIN_TOKEN_VARIABLE, server_config::ADMIN_TOKEN);
        Child::start("gust-serve", command, &self.dir, false)
    }

    /// What is said before anything happens.
    fn introduce(&self, screen: &mut Screen) {
        screen.say(&format!(
            "gust demo: {} on this computer; Buildkite and Google are stand-ins, nothing leaves loopback.\n\
             cloud:  {}\n\
             agent:  {}",
            match self.expected.len() {
                1 => "one job".to_owned(),
                n => format!("{n} jobs"),
            },
            self.limits.told,
            self.programs.agent.describe(),
        ));
    }

    /// What can be done while the demo stays up.
    fn invite(&self, screen: &mut Screen, control: &Control, ready: &Ready) {
        screen.say(&format!(
            "control:  {base}\n\
             submit:   curl -H 'Content-Type: text/yaml' --data-binary @pipeline.yml '{base}/builds?pipeline=mine'\n\
             events:   curl -N '{base}/events?after=0&follow=true'\n\
             stand-ins: Buildkite {buildkite}, Google {gce}\n\
             operator: export GUST_ADDRESS=http://{admin} GUST_TOKEN={token}; then gust status, gust jobs --watch\n\
             metrics:  curl http://{http}/metrics\n\
             Ctrl-C ends the demo.",
            base = control.base(),
            buildkite = ready.buildkite,
            gce = ready.gce,
            admin = self.address("admin"),
            http = self.address("http"),
            token = server_config::ADMIN_TOKEN,
        ));
    }

    /// Where the replica answers operators, and who reads its metrics.
    fn address(&self, what: &str) -> String {
        let text = fs::read(self.dir.join("store").join(gust_server::ADDRESSES)).unwrap_or_default();
        let bound: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        bound[what].as_str().unwrap_or_default().to_owned()
    }
}
