//! The clients of the table: how each is found and run, and what comes of it.

mod programs;

use std::{
    any::Any,
    env,
    ffi::OsStr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use gust_fakes::{config::Settings, http::serve};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::agents::{Agent, SCENARIOS};
pub use programs::{agent_metrics, bk_cli};

/// Names buildkite-agents, several with `:` between them.
const AGENTS: &str = "GUST_BUILDKITE_AGENT";
/// Names the program made of `tests/go/stacks.go`.
const STACKS_CLIENT: &str = "GUST_STACKS_CLIENT";

/// How a scenario went.
pub enum Outcome {
    /// As it must.
    Ok,
    /// Not so.
    Failed,
    /// Nothing was run, so nothing was shown.
    Skipped,
}

impl Outcome {
    /// The word of the table.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// One client in one scenario.
pub struct Row {
    /// Its name and version, as it says itself.
    pub client: String,
    /// What was tried.
    pub scenario: String,
    /// What must be seen.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Whether that is the same.
    pub outcome: Outcome,
}

impl Row {
    fn skipped(client: &str, why: String) -> Self {
        Self {
            client: client.to_owned(),
            scenario: "all".to_owned(),
            expected: "-".to_owned(),
            seen: format!("NOTHING: {why}"),
            outcome: Outcome::Skipped,
        }
    }

    fn failed(client: &str, why: &str) -> Self {
        let row = Self {
            client: client.to_owned(),
            scenario: "start".to_owned(),
            expected: "it starts and tells what it saw".to_owned(),
            seen: String::new(),
            outcome: Outcome::Failed,
        };
        row.saw(why)
    }

    fn saw(mut self, seen: &str) -> Self {
        // One row is one line.
        self.seen = seen.split_whitespace().collect::<Vec<_>>().join(" ");
        self
    }
}

/// Buildkite's own agents through all scenarios, one after the other.
pub fn real_agents() -> Vec<Row> {
    let named = env::var_os(AGENTS).filter(|value| !value.is_empty());
    let Some(named) = named else {
        return vec![Row::skipped("buildkite-agent", format!("{AGENTS} is not set"))];
    };
    env::split_paths(&named)
        .flat_map(|path| real_agent(&path))
        .collect()
}

fn real_agent(path: &Path) -> Vec<Row> {
    let client = match Command::new(path).arg("--version").output() {
        Ok(said) => String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        Err(error) => {
            return vec![Row::failed(
                "buildkite-agent",
                &format!("{}: {error}", path.display()),
            )];
        }
    };
    let agent = Agent(path.to_owned());
    let row = |scenario: &crate::agents::Scenario| {
        eprintln!("== {client}: {}", scenario.name);
        let ran = catch_unwind(AssertUnwindSafe(|| runtime().block_on((scenario.run)(&agent))));
        let (outcome, seen) = match ran {
            Ok(seen) => (Outcome::Ok, seen),
            Err(panic) => (Outcome::Failed, words(panic.as_ref())),
        };
        Row {
            client: client.clone(),
            scenario: scenario.name.to_owned(),
            expected: scenario.expected.to_owned(),
            seen: String::new(),
            outcome,
        }
        .saw(&seen)
    };
    SCENARIOS.iter().map(row).collect()
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// The public Go client of the Stacks API.
pub fn stacks_client() -> Vec<Row> {
    match env::var_os(STACKS_CLIENT).filter(|value| !value.is_empty()) {
        Some(program) => told_by("stacksapi", &program, &[]),
        None => vec![Row::skipped("stacksapi", format!("{STACKS_CLIENT} is not set"))],
    }
}

/// Our program in another language, which knows the documents and nothing of our types.
pub fn python() -> Vec<Row> {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/buildkite_client.py");
    if Command::new("python3").arg("--version").output().is_err() {
        return vec![Row::skipped("Python", "there is no python3".to_owned())];
    }
    told_by(
        "Python",
        OsStr::new("python3"),
        &[OsStr::new("-B"), program.as_os_str()],
    )
}

/// A row as a program prints it, one JSON object a line.
#[derive(Deserialize)]
struct Told {
    client: String,
    scenario: String,
    expected: String,
    seen: String,
    ok: bool,
}

/// Runs a program that is given the fakes' addresses (control, Buildkite) and prints rows.
fn told_by(client: &str, program: &OsStr, arguments: &[&OsStr]) -> Vec<Row> {
    eprintln!("== {client}");
    let runtime = runtime();
    let fakes = runtime.block_on(serve(Settings::default())).expect("free ports");
    let run = Command::new(program)
        .args(arguments)
        .args([&fakes.addresses.control, &fakes.addresses.buildkite])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) => return vec![Row::failed(client, &error.to_string())],
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rows: Vec<Row> = text.lines().map(|line| read(client, line)).collect();
    let whole = rows.iter().all(|row| matches!(row.outcome, Outcome::Ok));
    if rows.is_empty() || (whole && !output.status.success()) {
        rows.push(Row::failed(client, &format!("it ended with {}", output.status)));
    }
    rows
}

fn read(client: &str, line: &str) -> Row {
    match serde_json::from_str::<Told>(line) {
        Ok(told) => Row {
            client: told.client,
            scenario: told.scenario,
            expected: told.expected,
            seen: String::new(),
            outcome: if told.ok { Outcome::Ok } else { Outcome::Failed },
        }
        .saw(&told.seen),
        Err(_) => Row::failed(client, &format!("a line that is no row: {line}")),
    }
}
