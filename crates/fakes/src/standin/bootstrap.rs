//! `bootstrap`: the process between the agent and the job's command.
//!
//! It checks the environment, makes a fresh directory and runs the command in it. Told to end, it waits for
//! the command (the whole group is told, so it need not pass anything on) and then ends by the same signal,
//! so that the agent reports a canceled job as such whatever the command made of it.

use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until, timeout},
};

use super::{artifacts, cli::BootstrapOptions};

/// Without these the real bootstrap refuses to run.
const REQUIRED: [&str; 8] = [
    "BUILDKITE_JOB_ID",
    "BUILDKITE_REPO",
    "BUILDKITE_COMMIT",
    "BUILDKITE_BRANCH",
    "BUILDKITE_AGENT_NAME",
    "BUILDKITE_ORGANIZATION_SLUG",
    "BUILDKITE_PIPELINE_SLUG",
    "BUILDKITE_PIPELINE_PROVIDER",
];
/// What a failed checkout ends with.
const CHECKOUT_FAILED: u8 = 128;
/// What a command ends with that a signal killed.
const KILLED: u8 = 255;

/// Any time above zero makes the runtime look for signals once more.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// Runs the job's command and returns the exit code.
pub async fn run(options: &BootstrapOptions) -> u8 {
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| var(name).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("the job's environment lacks {}", missing.join(", "));
        return 1;
    }
    let Some(script) = var("BUILDKITE_COMMAND") else {
        eprintln!("there is no command to run");
        return 1;
    };
    if var("BUILDKITE_PLUGINS").is_some_and(|plugins| plugins.trim() != "[]") {
        eprintln!("the job uses plugins, and gust-agent-standin runs none: use buildkite-agent");
        return 1;
    }
    if !matches!(var("BUILDKITE_SKIP_CHECKOUT").as_deref(), Some("true" | "1")) {
        eprintln!(
            "gust-agent-standin checks out no code: use buildkite-agent, or set BUILDKITE_SKIP_CHECKOUT=true"
        );
        return CHECKOUT_FAILED;
    }
    let ran = match fresh_directory() {
        Ok(directory) => command(options, &script, directory).await,
        Err(error) => Err(error),
    };
    let code = match ran {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cannot run the command: {error}");
            return 1;
        }
    };
    match var("BUILDKITE_ARTIFACT_PATHS") {
        Some(paths) => code.max(artifacts::upload_from_environment(&paths).await),
        None => code,
    }
}

fn var(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// `<build path>/<agent>/<organization>/<pipeline>`, emptied.
fn fresh_directory() -> io::Result<PathBuf> {
    let mut path =
        PathBuf::from(var("BUILDKITE_BUILD_PATH").ok_or_else(|| io::Error::other("no build path"))?);
    for name in [
        "BUILDKITE_AGENT_NAME",
        "BUILDKITE_ORGANIZATION_SLUG",
        "BUILDKITE_PIPELINE_SLUG",
    ] {
        path.push(directory_name(&var(name).unwrap_or_default()));
    }
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// One path segment, whatever the name holds.
fn directory_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

async fn command(options: &BootstrapOptions, script: &str, directory: PathBuf) -> io::Result<u8> {
    // Listening before the command exists: a cancel must never find this process without a handler.
    let mut term = signal(SignalKind::terminate())?;
    println_log(&format!("~~~ Running commands\n$ {script}"));
    let mut words = options.shell.split_whitespace();
    let shell = words
        .next()
        .ok_or_else(|| io::Error::other("the shell is empty"))?;
    let mut child = Command::new(shell)
        .args(words)
        .arg(script)
        .current_dir(&directory)
        .env("BUILDKITE_BUILD_CHECKOUT_PATH", &directory)
        .stdin(Stdio::null())
        .spawn()?;
    let status = tokio::select! {
        biased;
        _ = term.recv() => return Err(end_by_signal(&mut child).await),
        status = child.wait() => status?,
    };
    // A signal to the whole group may show here only after it has ended the command: the handler has run by
    // now, so one more look at what it left behind settles the matter.
    match timeout(LAST_LOOK, term.recv()).await {
        Ok(_) => Err(end_by_signal(&mut child).await),
        Err(_) => Ok(code_of(status)),
    }
}

/// Waits for the command within the grace and ends by SIGTERM; returns only where that fails.
async fn end_by_signal(child: &mut Child) -> io::Error {
    let grace = var("BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(9);
    let until = Instant::now() + Duration::from_secs(grace);
    tokio::select! {
        biased;
        _ = child.wait() => {}
        // The agent kills the whole group about now; this is for a wrapper that does not.
        () = sleep_until(until) => {
            let _ = child.start_kill();
        }
    }
    // A new program has the default handlers back.
    std::process::Command::new("/bin/sh")
        .args(["-c", "kill -TERM $$"])
        .exec()
}

fn code_of(status: ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(KILLED)
}

/// A line of the job's log. Nobody reads it any more once the pipe is closed.
fn println_log(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stdout(), "{line}");
}
