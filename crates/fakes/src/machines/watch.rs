//! The last guard: machines do not outlive fakes that died without a chance to end them.
//!
//! A process that is killed cannot clean up, so a small shell waits on a pipe that only this process holds open.
//! When the pipe closes, it kills whatever still lives in the machines' directories or carries their path in its
//! environment, and removes them.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

const SCRIPT: &str = r#"
read -r _
for round in 1 2 3; do
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" = "$$" ] && continue
    case "$(readlink "$process/cwd" 2>/dev/null)" in
      "$1"/*) kill -9 "$pid" 2>/dev/null ;;
      *) grep -qF "=$1/" "$process/environ" 2>/dev/null && kill -9 "$pid" 2>/dev/null ;;
    esac
  done
done
rm -rf "$1"
"#;

/// The guard of one directory of machines.
pub(super) struct Guard(Child);

impl Guard {
    /// Starts the guard. It works for as long as this process lives, and once more when it is gone.
    pub fn start(root: &Path) -> io::Result<Self> {
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "gust-machines-guard"])
            .arg(root)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not ended by the terminal's signals, nor by a signal to our group.
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    /// Ends the guard: all machines are ended already.
    pub async fn dismiss(mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill().await;
    }
}
