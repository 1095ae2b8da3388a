//! The job's process: started in a group of its own, read, canceled, reaped.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, Command},
    time::{Instant, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    api::Api,
    cli::StartOptions,
    log::Log,
    say,
    stop::{Level, Stop},
};

/// How the job ended, as it is reported.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub exit_status: i32,
    pub signal: Option<&'static str>,
    pub reason: Option<&'static str>,
}

/// Variables of the agent that the job must not see.
const AGENT_ONLY: [&str; 4] = [
    "BUILDKITE_AGENT_TOKEN",
    "BUILDKITE_AGENT_ACQUIRE_JOB",
    "BUILDKITE_AGENT_TAGS",
    "BUILDKITE_BOOTSTRAP_SCRIPT_PATH",
];

/// All that the job's process needs.
pub struct Run<'a> {
    pub options: &'a StartOptions,
    pub api: &'a Api,
    pub env: &'a BTreeMap<String, String>,
    /// How often the log goes out.
    pub flush: Duration,
    /// The service wants the job canceled.
    pub cancel: &'a CancellationToken,
    pub stop: &'a Stop,
}

/// The running process. The directory goes when this is dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
    output: pipe::Receiver,
    _workshop: Workshop,
}

impl Run<'_> {
    /// Runs the job's process to its end.
    pub async fn to_end(&self, mut log: Log) -> Ended {
        let mut running = match self.start() {
            Ok(running) => running,
            Err(error) => {
                say(&format!("cannot start the job: {error}"));
                log.write(format!("cannot start the job: {error}\n").as_bytes());
                log.end();
                return Ended {
                    exit_status: -1,
                    signal: None,
                    reason: Some("process_run_error"),
                };
            }
        };
        let (status, reason) = self.watch(&mut running, &mut log).await;
        // What the job left behind loses its terminal, so to speak; its last words are not waited for long.
        signal(running.group, Signal::HUP);
        let _ = timeout(Duration::from_secs(1), drain(&mut running.output, &mut log)).await;
        log.end();
        ended(status, reason)
    }

    fn start(&self) -> io::Result<Running> {
        let workshop = Workshop::new()?;
        let (reader, writer) = io::pipe()?;
        let mut command = self.command(&workshop)?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // The command holds our copies of the writing end; they go with it, so that the end can be seen.
        drop(command);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Running {
            child,
            group,
            output: pipe::Receiver::from_owned_fd(reader.into())?,
            _workshop: workshop,
        })
    }

    /// Reads, flushes and cancels until the process ends.
    async fn watch(
        &self,
        running: &mut Running,
        log: &mut Log,
    ) -> (io::Result<ExitStatus>, Option<&'static str>) {
        let Running {
            child, group, output, ..
        } = running;
        let grace = signal_grace(self.options);
        let mut buffer = vec![0; 64 << 10];
        let mut flushes = interval(self.flush);
        let mut reason = None;
        let mut kill_at = None;
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = self.stop.reached(Level::Now), if reason != Some("agent_stop") => {
                    reason = Some("agent_stop");
                }
                () = self.cancel.cancelled(), if reason.is_none() => reason = Some("cancel"),
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    signal(*group, Signal::KILL);
                    kill_at = Some(Instant::now() + grace);
                    continue;
                }
                _ = flushes.tick() => {
                    log.flush();
                    continue;
                }
                status = child.wait() => return (status, reason),
                // Last, so that endless output cannot hold up anything above.
                read = output.read(&mut buffer), if open => {
                    match read {
                        Ok(0) | Err(_) => open = false,
                        Ok(count) => log.write(&buffer[..count]),
                    }
                    continue;
                }
            }
            // Just told to end: the whole group hears it once, whichever reason came first.
            if kill_at.is_none() {
                signal(*group, Signal::TERM);
                kill_at = Some(Instant::now() + grace);
            }
        }
    }

    fn command(&self, workshop: &Workshop) -> io::Result<Command> {
        let mut command = match self
            .options
            .bootstrap_script
            .as_deref()
            .map(str::split_whitespace)
        {
            Some(mut words) => {
                let mut command = Command::new(
                    words
                        .next()
                        .ok_or_else(|| io::Error::other("empty bootstrap script"))?,
                );
                command.args(words);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bootstrap");
                command
            }
        };
        let build_path = self.options.build_path.clone().unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        for name in AGENT_ONLY {
            command.env_remove(name);
        }
        command
            .envs(
                self.env
                    .iter()
                    .filter(|(name, _)| !AGENT_ONLY.contains(&name.as_str())),
            )
            .env("BUILDKITE_AGENT_ACCESS_TOKEN", self.api.token())
            .env("BUILDKITE_AGENT_ENDPOINT", self.api.base())
            .env("BUILDKITE_AGENT_PID", std::process::id().to_string())
            .env("BUILDKITE_BIN_PATH", &workshop.bin)
            .env("BUILDKITE_BUILD_PATH", std::path::absolute(build_path)?)
            .env("BUILDKITE_SHELL", &self.options.shell)
            .env(
                "BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS",
                signal_grace(self.options).as_secs().to_string(),
            )
            .env("PATH", format!("{}:{path}", workshop.bin.display()))
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

async fn drain(output: &mut pipe::Receiver, log: &mut Log) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        log.write(&buffer[..count]);
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The group may be gone already, which is what was wanted.
        let _ = kill_process_group(group, signal);
    }
}

fn signal_grace(options: &StartOptions) -> Duration {
    let own = options.signal_grace_period_seconds;
    let seconds = if own < 0 {
        options.cancel_grace_period + own
    } else {
        own
    };
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn ended(status: io::Result<ExitStatus>, reason: Option<&'static str>) -> Ended {
    let Ok(status) = status else {
        return Ended {
            exit_status: -1,
            signal: None,
            reason: reason.or(Some("process_run_error")),
        };
    };
    match (status.signal(), status.code()) {
        (Some(number), _) => Ended {
            exit_status: -1,
            signal: Some(signal_name(number)),
            reason,
        },
        (None, code) => Ended {
            exit_status: code.unwrap_or(-1),
            signal: None,
            reason,
        },
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        6 => "SIGABRT",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => "SIGUNKNOWN",
    }
}

/// A directory beside the job with `buildkite-agent` in it, so that jobs find it on their PATH.
struct Workshop {
    root: PathBuf,
    bin: PathBuf,
}

impl Workshop {
    fn new() -> io::Result<Self> {
        // Made anew, never taken over: somebody else may have put one there.
        let name =
            |n: u32| std::env::temp_dir().join(format!("gust-agent-standin-{}-{n}", std::process::id()));
        let mut tries = 0..100;
        let root = loop {
            let root = name(
                tries
                    .next()
                    .ok_or_else(|| io::Error::other("no free name in the temporary directory"))?,
            );
            match fs::create_dir(&root) {
                Ok(()) => break root,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let bin = root.join("bin");
        fs::create_dir(&bin)?;
        symlink(std::env::current_exe()?, bin.join("buildkite-agent"))?;
        Ok(Self { root, bin })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Left-overs in the temporary directory harm nobody.
        let _ = fs::remove_dir_all(&self.root);
    }
}
