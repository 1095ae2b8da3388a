//! The supervisor of one of several replicas: a parent process that gives the replica's leases back the moment it dies,
//! so that the others need not wait for them to lapse.
//!
//! It ends as its child ends: starting a replica again is up to whoever runs gust.

use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use gust_server::config::Config;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

use crate::exit_codes;

/// Set for the child: it is the replica, and not another supervisor.
const MARK: &str = "GUST_SUPERVISED";

/// Whether this process is the replica of a supervisor.
pub(crate) fn is_supervised() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Makes this process end in good order should its supervisor die first: nobody would give its leases back.
pub(crate) fn follow_parent() {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        warn!(%error, "cannot be told of the supervisor's end");
    }
}

/// Runs this very command line as a child, and gives its leases back if it does not end in good order. Returns the
/// code to end with.
///
/// # Errors
/// The child cannot be started.
pub(crate) async fn supervise(config: &Config) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    // Of a replica that died together with its supervisor nobody has given the leases back.
    give_back(config).await;
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the replica")?;
    info!(pid = child.id(), "the replica runs as a child");
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status.context("cannot wait for the replica")?,
            _ = terminate.recv() => pass(&child, Signal::TERM),
            // A terminal sends it to the child as well; a second one is harmless.
            _ = interrupt.recv() => pass(&child, Signal::INT),
        }
    };
    if !status.success() {
        warn!(%status, "the replica died; its leases are given back");
        give_back(config).await;
    }
    Ok(code(status))
}

async fn give_back(config: &Config) {
    if let Err(error) = gust_server::revoke_leases(config).await {
        warn!(%error, "leases cannot be given back; they lapse by themselves");
    }
}

fn pass(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended meanwhile is seen by the wait.
        let _ = kill_process(pid, signal);
    }
}

/// As shells count: 128 and the signal for a child that was killed.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit_codes::FAILED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn it_ends_as_its_child_ended() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(5 << 8)), 5);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
