//! The agent's command line, as a value.
//!
//! Flags differ between versions of the agent, so it is asked which it knows. The token is not part of the
//! plan: it goes into the agent's environment, from where the agent removes it before any job runs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use gust_core::ids::MachineName;
use gust_proto::machine::Assignment;

/// Seconds that the agent gives a job to end: with what the guest needs itself, within Google's 30 s notice.
const GRACE_SECONDS: u32 = 20;

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its version, such as `3.136.3`.
    pub version: Option<String>,
    /// Long flags of `start`, without dashes. Empty if its help could not be read.
    pub flags: BTreeSet<String>,
}

impl Known {
    /// From the output of `--version` and of `start --help`.
    pub fn read(version: &str, help: &str) -> Self {
        let version = version
            .split_whitespace()
            .map(|word| word.trim_start_matches('v').trim_end_matches(','))
            .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
            .map(|word| word.split('+').next().unwrap_or(word).to_owned());
        let flags = help
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '[' | ']' | '`' | '"'))
            .filter_map(|word| word.strip_prefix("--"))
            .filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(str::to_owned);
        Self {
            version,
            flags: flags.collect(),
        }
    }

    /// Whether `start` takes a flag. Without help to go by, the flags of version 3 count, but for those that
    /// version 4 is known to have renamed (`--cancel-grace-period` is `--cancel-signal-timeout` there).
    fn takes(&self, flag: &str) -> bool {
        if !self.flags.contains("acquire-job") {
            let fourth = self.major().is_some_and(|major| major >= 4);
            return match flag {
                "cancel-grace-period" => !fourth,
                "cancel-signal-timeout" => fourth,
                _ => true,
            };
        }
        self.flags.contains(flag)
    }

    fn major(&self) -> Option<u32> {
        self.version.as_ref()?.split('.').next()?.parse().ok()
    }
}

/// How the agent is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Ingredients<'a> {
    /// The agent's program.
    pub agent: &'a Path,
    /// What it says of itself.
    pub known: &'a Known,
    /// The job.
    pub assignment: &'a Assignment,
    /// The machine, after which the agent is named.
    pub machine: &'a MachineName,
    /// Where builds are checked out.
    pub builds: &'a Path,
    /// The script that runs the job as another user, where one does.
    pub bootstrap: Option<&'a Path>,
}

impl Plan {
    /// The command line for one job.
    pub fn new(of: Ingredients<'_>) -> Self {
        let mut args = vec!["start".to_owned()];
        let mut add = |flag: &str, value: String| {
            if of.known.takes(flag) {
                args.extend([format!("--{flag}"), value]);
            }
        };
        add("acquire-job", of.assignment.job.id.to_string());
        add("name", of.machine.to_string());
        add("endpoint", of.assignment.agent_endpoint.clone());
        if !of.assignment.tags.is_empty() {
            add("tags", of.assignment.tags.join(","));
        }
        add("build-path", of.builds.display().to_string());
        // A stream that stays silent would keep the agent, and so the machine, long after the job.
        add("ping-mode", "poll-only".to_owned());
        // Counted from the end of the job when a job is acquired: caps the wait for the last ping at 1 s.
        add("disconnect-after-uptime", "1".to_owned());
        add("cancel-grace-period", GRACE_SECONDS.to_string());
        add("cancel-signal-timeout", format!("{GRACE_SECONDS}s"));
        if let Some(script) = of.bootstrap {
            add("bootstrap-script", script.display().to_string());
        }
        Self {
            program: of.agent.to_owned(),
            args,
        }
    }
}

#[cfg(test)]
mod tests;
