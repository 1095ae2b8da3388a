//! The processes a demo starts, and how it ends them: by their ids, gently first.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{self, Command},
    time::timeout,
};

use crate::{exit_codes, failure::Failure};

/// How much of a log is repeated when its process ended early.
const TAIL_LINES: usize = 15;

/// Variables that would send requests to loopback through a proxy.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// A process of the demo. Dropped, it is killed.
pub(crate) struct Child {
    name: &'static str,
    log: PathBuf,
    process: process::Child,
}

impl Child {
    /// Starts a program; what it says goes to `<dir>/<name>.log`, its stdout too unless `piped`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        dir: &Path,
        piped: bool,
    ) -> Result<Self, Failure> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let stdout = if piped {
            Stdio::piped()
        } else {
            file.try_clone().context("cannot share a log file")?.into()
        };
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        // A group of its own: Ctrl-C must reach the demo alone, which then ends its children in order.
        let process = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))
            .map_err(|error| Failure::new(exit_codes::DEMO_PROGRAM, error))?;
        Ok(Self { name, log, process })
    }

    /// The first line on its stdout, which must be piped.
    ///
    /// # Errors
    /// It ended, or said nothing in time.
    pub(crate) async fn first_line(&mut self, patience: Duration) -> Result<String, Failure> {
        let stdout = self.process.stdout.take().context("stdout is not piped")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        match timeout(patience, reader.read_line(&mut line)).await {
            Ok(Ok(count)) if count > 0 => Ok(line),
            Ok(_) => {
                let status = timeout(Duration::from_secs(5), self.process.wait()).await;
                Err(self.ended_early(status.ok().and_then(Result::ok)))
            }
            Err(_) => Err(self.complaint(&format!(
                "{} was not ready within {} s",
                self.name,
                patience.as_secs()
            ))),
        }
    }

    /// Waits until it ends by itself, which it should not.
    pub(crate) async fn early_end(&mut self) -> Failure {
        let status = self.process.wait().await;
        self.ended_early(status.ok())
    }

    fn ended_early(&self, status: Option<ExitStatus>) -> Failure {
        let status = status.map_or_else(|| "for an unknown cause".to_owned(), |s| s.to_string());
        self.complaint(&format!("{} ended early: {status}", self.name))
    }

    /// A failure that repeats the end of its log.
    pub(crate) fn complaint(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n  ");
        let error = if tail.is_empty() {
            anyhow!("{what}")
        } else {
            anyhow!("{what}; the end of {}:\n  {tail}", self.log.display())
        };
        Failure::new(exit_codes::DEMO_PROGRAM, error)
    }

    /// Asks it to end; kills it if it takes longer than `patience`. True if it ended by itself with 0.
    pub(crate) async fn stop(&mut self, patience: Duration) -> bool {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It may be gone already; `wait` below tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        match timeout(patience, self.process.wait()).await {
            Ok(Ok(status)) => status.success(),
            Ok(Err(_)) => false,
            Err(_) => {
                let _ = self.process.kill().await;
                false
            }
        }
    }
}
