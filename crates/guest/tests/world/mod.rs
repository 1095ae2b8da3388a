//! A world for one guest: a metadata server, a gust, an agent made of shell, and the real program.

pub mod fake_gust;
pub mod fake_metadata;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

pub use fake_gust::{FakeGust, Reply};
pub use fake_metadata::FakeMetadata;

pub const MACHINE: &str = "gust-aaaaaaaaaaaaaaaaaaaaaaaaaa-1";
pub const TOKEN: &str = "bkjat_very_secret";
const GUEST: &str = env!("CARGO_BIN_EXE_gust-guest");
const DEADLINE: Duration = Duration::from_secs(30);

/// An agent that says what the real one says of itself, notes how it was called, and goes on as told.
const AGENT: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "buildkite-agent version 3.136.3+1"; exit 0; fi
if [ "$2" = --help ]; then
  echo "--acquire-job --name --endpoint --tags --build-path --ping-mode --disconnect-after-uptime --cancel-grace-period"
  exit 0
fi
printf '%s\n' "$@" > args
printf '%s' "$BUILDKITE_AGENT_TOKEN" > token
tr '\0' '\n' < /proc/$$/cmdline > cmdline
env > environment
"#;

pub struct World {
    dir: TempDir,
    pub metadata: FakeMetadata,
    pub gust: FakeGust,
}

/// A task of a fake; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of these tests that spawns"
)]
pub fn serve(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

impl World {
    /// `then` is how the agent goes on after it noted how it was called.
    pub async fn new(then: &str) -> Self {
        let gust = FakeGust::start().await;
        let metadata = FakeMetadata::start(MACHINE).await;
        metadata.set("gust-stack", "gust");
        metadata.set("gust-addresses", &gust.address());
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            metadata,
            gust,
        };
        let agent = world.agent();
        fs::write(&agent, format!("{AGENT}{then}\n")).unwrap();
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn agent(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub fn work_dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file that the agent wrote.
    pub fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn command(&self) -> Command {
        self.here(Command::new(GUEST))
    }

    fn here(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path())
            .env("GCE_METADATA_HOST", self.metadata.address())
            .env("GUST_POWER_OFF", "exit")
            .env("GUST_BUILDKITE_AGENT", self.agent())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub fn boot(&self) -> Guest {
        Guest(self.command().spawn().unwrap())
    }

    pub fn boot_with(&self, change: impl FnOnce(&mut Command)) -> Guest {
        let mut command = self.command();
        change(&mut command);
        Guest(command.spawn().unwrap())
    }

    /// Started by something that ignores SIGQUIT.
    pub fn boot_deaf(&self) -> Guest {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' QUIT; exec \"$0\"", GUEST]);
        Guest(self.here(shell).spawn().unwrap())
    }

    /// From boot to power off.
    pub async fn live(&self) -> Ended {
        self.boot().ended().await
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "never happened: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The running program.
pub struct Guest(Child);

/// How it ended.
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

impl Guest {
    pub fn signal(&self, signal: Signal) {
        let id = self.0.id().expect("it runs");
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    pub async fn ended(self) -> Ended {
        let Output {
            status,
            stdout,
            stderr,
        } = timeout(DEADLINE, self.0.wait_with_output())
            .await
            .expect("the guest ends in time")
            .unwrap();
        Ended {
            code: status.code(),
            log: format!(
                "{}{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            ),
        }
    }
}
