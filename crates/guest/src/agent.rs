//! Buildkite's agent: finding it, asking it what it knows, running it to its end.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use gust_core::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    plan::{Known, Plan},
    settings::Settings,
};

/// The name of Buildkite's agent.
const AGENT: &str = "buildkite-agent";
/// The agent of the demo and the tests, for machines without Buildkite's.
const STAND_IN: &str = "gust-agent-standin";

/// No agent.
#[derive(Debug, thiserror::Error)]
pub enum NoAgent {
    /// The one that was named cannot be run.
    #[error("GUST_BUILDKITE_AGENT names {}, which is no program", .0.display())]
    Named(PathBuf),
    /// There is none.
    #[error(
        "there is no `buildkite-agent` on PATH; install it in the machine's image, or set GUST_BUILDKITE_AGENT"
    )]
    Nowhere,
}

/// Which agent runs the jobs of this machine.
///
/// # Errors
/// [`NoAgent`].
pub fn find(settings: &Settings) -> Result<PathBuf, NoAgent> {
    if let Some(named) = &settings.agent {
        return if is_program(named) {
            Ok(named.clone())
        } else {
            Err(NoAgent::Named(named.clone()))
        };
    }
    let on_path = std::env::split_paths(&settings.path).map(|dir| dir.join(AGENT));
    let beside = settings.beside.iter().map(|dir| dir.join(STAND_IN));
    on_path
        .chain(beside)
        .find(|path| is_program(path))
        .ok_or(NoAgent::Nowhere)
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Asks an agent for its version and its flags. What it does not say, it does not know.
pub async fn ask(agent: &Path) -> Known {
    let (version, help) = tokio::join!(
        output(agent, ["--version"].as_slice()),
        output(agent, ["start", "--help"].as_slice())
    );
    Known::read(&version, &help)
}

async fn output(program: &Path, args: &[&str]) -> String {
    let asked = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => String::new(),
    }
}

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal, or it never started.
    Killed,
}

impl AgentEnd {
    /// The code, where there is one.
    pub fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Killed => None,
        }
    }

    /// What the code says (measured with buildkite-agent 3.136).
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Exited(0) => "it ended as it should; the job's own result is Buildkite's to tell",
            Self::Exited(1) => "it could not register or connect, or was called wrongly",
            Self::Exited(27) => "the job was not to be had any more",
            Self::Exited(_) => "it failed",
            Self::Killed => "it was killed, or never started",
        }
    }
}

impl From<ExitStatus> for AgentEnd {
    fn from(status: ExitStatus) -> Self {
        status.code().map_or(Self::Killed, Self::Exited)
    }
}

/// A running agent. It is killed when this is dropped.
#[derive(Debug)]
pub struct Agent(Child);

impl Agent {
    /// Starts it.
    ///
    /// The token goes through the environment: there the agent takes it out before it runs anything, and no
    /// command line shows it. Nothing of the guest's own settings is passed on.
    ///
    /// # Errors
    /// The system's, if the program cannot be started.
    pub fn start(plan: &Plan, token: &Secret, work_dir: &Path) -> std::io::Result<Self> {
        let mut command = Command::new(&plan.program);
        command
            .args(&plan.args)
            .current_dir(work_dir)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if is_ours(&name) {
                command.env_remove(name);
            }
        }
        command
            .env("BUILDKITE_AGENT_TOKEN", token.reveal())
            .kill_on_drop(true);
        let child = command.spawn()?;
        if let Some(id) = child.id() {
            share_the_fate_of_others(id);
        }
        Ok(Self(child))
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> AgentEnd {
        self.0.wait().await.map_or(AgentEnd::Killed, AgentEnd::from)
    }

    /// Tells it to stop the job and go: SIGQUIT, to the agent alone, so that it reports `agent_stop` and
    /// the job's processes are signalled by it and in its order. Kills it when patience ends.
    pub async fn stop(&mut self, patience: Duration) -> AgentEnd {
        self.signal(Signal::QUIT);
        if let Ok(end) = timeout(patience, self.ended()).await {
            return end;
        }
        tracing::warn!("the agent does not stop: killing it");
        self.signal(Signal::KILL);
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        // Without an id it has ended and was waited for; a process that just ended makes kill fail: both are fine.
        let pid = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, "the agent was gone before the signal");
        }
    }
}

/// The image's unit protects the guest from the kernel's out-of-memory killer, and children inherit that:
/// a job that eats all memory must be the one to die.
fn share_the_fate_of_others(id: u32) {
    let protected = fs::read_to_string("/proc/self/oom_score_adj").is_ok_and(|score| score.starts_with('-'));
    if protected && let Err(error) = fs::write(format!("/proc/{id}/oom_score_adj"), "0") {
        tracing::warn!(%error, "the job is as protected from running out of memory as the guest");
    }
}

fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("GUST_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Patience, PowerOff};

    fn settings(dir: &Path) -> Settings {
        Settings {
            metadata: String::new(),
            agent: None,
            path: dir.join("bin").into_os_string(),
            beside: Some(dir.join("beside")),
            work_dir: dir.to_owned(),
            power_off: PowerOff::Exit,
            patience: Patience::default(),
        }
    }

    fn program(path: PathBuf, mode: u32) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_named_agent_comes_before_the_installed_and_that_before_the_stand_in() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        assert!(matches!(find(&settings), Err(NoAgent::Nowhere)));
        let stand_in = program(dir.path().join("beside/gust-agent-standin"), 0o755);
        assert_eq!(find(&settings).unwrap(), stand_in);
        let text = program(dir.path().join("bin/buildkite-agent"), 0o644);
        assert_eq!(
            find(&settings).unwrap(),
            stand_in,
            "what cannot be run does not count"
        );
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(&settings).unwrap(), text);
        let named = program(dir.path().join("named"), 0o755);
        settings.agent = Some(named.clone());
        assert_eq!(find(&settings).unwrap(), named);
        settings.agent = Some(dir.path().join("gone"));
        assert!(matches!(find(&settings), Err(NoAgent::Named(_))));
    }
}
