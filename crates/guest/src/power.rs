//! Off.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::settings::PowerOff;

/// Nothing turned the machine off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no command turned the machine off; whoever started the guest must")]
pub struct StillOn;

/// Ways to turn a machine off, best first. Services are not stopped one by one: nothing on the machine is
/// worth keeping, and what the job left running would hold it up.
const WAYS: [(&str, &[&str]); 3] = [
    ("systemctl", &["poweroff", "--force"]),
    ("poweroff", &["-f"]),
    ("busybox", &["poweroff", "-f"]),
];

/// Turns the machine off, or leaves the host alone where the settings say so.
///
/// # Errors
/// [`StillOn`] if no way worked.
pub async fn off(how: PowerOff) -> Result<(), StillOn> {
    if how == PowerOff::Exit {
        tracing::info!("power off: the guest ends, the host stays");
        return Ok(());
    }
    for (program, args) in WAYS {
        tracing::info!(program, "power off");
        let tried = Command::new(program).args(args).stdin(Stdio::null()).status();
        match timeout(Duration::from_secs(20), tried).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => tracing::error!(program, %status, "power off failed"),
            Ok(Err(error)) => tracing::error!(program, %error, "power off failed"),
            Err(_) => tracing::error!(program, "power off takes too long"),
        }
    }
    Err(StillOn)
}
