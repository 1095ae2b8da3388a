//! Buildkite's own programs that need no code of ours: `bk`, its command line, and `buildkite-agent-metrics`. Each of
//! their commands is a row, judged by what it prints.

use std::{env, process::Command};

use gust_fakes::{
    config::Settings,
    http::{Addresses, serve},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Outcome, Row, runtime};

/// Names `bk`, made of `github.com/buildkite/cli/v3`.
const BK_CLI: &str = "GUST_BK_CLI";
/// Names `buildkite-agent-metrics`.
const AGENT_METRICS: &str = "GUST_AGENT_METRICS";

/// What a build is made of: one job for each command that changes one.
const STEPS: &str =
    "steps:\n- {command: one, key: one}\n- {command: two, key: two}\n- {input: Release, key: release}\n";

/// A command, and what must stand in what it prints. `{one}`, `{two}` and `{release}` are ids of jobs, `{agent}`,
/// `{cluster}` and `{queue}` those of the rest.
struct Case(&'static str, &'static [&'static str], &'static str);

/// In this order against the same fakes.
const BK: &[Case] = &[
    Case("whoami", &["whoami", "-o", "json"], "gust-demo"),
    Case("any call", &["api", "/pipelines"], "\"slug\": \"p\""),
    Case(
        "pipelines",
        &["pipeline", "list", "-o", "json"],
        "\"slug\": \"p\"",
    ),
    Case(
        "pipeline",
        &["pipeline", "view", "p", "-o", "json"],
        "git.invalid",
    ),
    Case(
        "builds",
        &["build", "list", "-p", "p", "-o", "json"],
        "\"number\": 1",
    ),
    Case("build", &["build", "view", "1", "-p", "p", "-o", "json"], "{one}"),
    Case(
        "jobs by GraphQL",
        &["job", "list", "--state", "scheduled", "-o", "json"],
        "{two}",
    ),
    Case(
        "jobs by REST",
        &[
            "job",
            "list",
            "-p",
            "p",
            "--build",
            "1",
            "--step-key",
            "one",
            "-o",
            "json",
        ],
        "{one}",
    ),
    Case("reprioritize", &["job", "reprioritize", "{one}", "7"], "{one}"),
    Case("cancel", &["job", "cancel", "{two}"], ""),
    Case("retry", &["job", "retry", "{two}"], ""),
    Case("unblock", &["job", "unblock", "{release}"], ""),
    Case("log", &["job", "log", "{one}"], ""),
    Case("artifacts", &["artifacts", "list", "1", "-p", "p"], ""),
    Case("clusters", &["cluster", "list", "-o", "json"], "{cluster}"),
    Case("queues", &["queue", "list", "{cluster}", "-o", "json"], "{queue}"),
    Case(
        "pause a queue",
        &["queue", "pause", "{cluster}", "{queue}", "--note", "night"],
        "",
    ),
    Case("resume it", &["queue", "resume", "{cluster}", "{queue}"], ""),
    Case("agents", &["agent", "list", "-o", "json"], "\"vm\""),
    Case("pause an agent", &["agent", "pause", "{agent}"], ""),
    Case("resume it", &["agent", "resume", "{agent}"], ""),
    Case("cancel the build", &["build", "cancel", "1", "-p", "p"], ""),
];

const METRICS: &[Case] = &[
    Case(
        "all queues",
        &["-backend", "statsd", "-dry-run"],
        "Queue=gust > ScheduledJobsCount=2",
    ),
    Case(
        "one queue",
        &["-backend", "statsd", "-dry-run", "-queue", "gust"],
        "Queue=gust > TotalAgentCount=1",
    ),
];

/// Buildkite's command line.
pub fn bk_cli() -> Vec<Row> {
    named("bk", BK_CLI, BK, |command, addresses, home| {
        command
            .env("BUILDKITE_REST_API_ENDPOINT", &addresses.buildkite)
            .env(
                "BUILDKITE_GRAPHQL_ENDPOINT",
                format!("{}/v1", addresses.buildkite),
            )
            .env("BUILDKITE_API_TOKEN", "bkua_fake")
            .env("BUILDKITE_ORGANIZATION_SLUG", "gust-demo")
            // It must neither ask, nor tell anybody, nor look for a keyring.
            .env("CI", "true")
            .env("HOME", home.path())
            .current_dir(home.path())
            .args(["--yes", "--no-input"]);
    })
}

/// The collector of counts that scaling is steered by.
pub fn agent_metrics() -> Vec<Row> {
    named(
        "agent-metrics",
        AGENT_METRICS,
        METRICS,
        |command, addresses, _| {
            let endpoint = format!("{}/v3", addresses.buildkite);
            command.args(["-endpoint", &endpoint, "-token", "bkct_fake"]);
        },
    )
}

fn named(
    client: &str,
    variable: &str,
    cases: &[Case],
    prepare: impl Fn(&mut Command, &Addresses, &TempDir),
) -> Vec<Row> {
    let Some(program) = env::var_os(variable).filter(|value| !value.is_empty()) else {
        return vec![Row::skipped(client, format!("{variable} is not set"))];
    };
    eprintln!("== {client}");
    let runtime = runtime();
    let fakes = runtime.block_on(serve(generous())).expect("free ports");
    let home = tempfile::tempdir().expect("a directory");
    let names = Names::make(&runtime, &fakes.addresses);
    let row = |Case(scenario, arguments, expected): &Case| {
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default());
        prepare(&mut command, &fakes.addresses, &home);
        command.args(arguments.iter().map(|argument| names.fill(argument)));
        run(client, scenario, &names.fill(expected), command)
    };
    cases.iter().map(row).collect()
}

/// More calls than people make in a minute are made here.
fn generous() -> Settings {
    let mut settings = Settings::default();
    settings.limits.buildkite.rest.user_requests = 10_000;
    settings.limits.buildkite.rest.organization_requests = 10_000;
    settings
}

fn run(client: &str, scenario: &str, expected: &str, mut command: Command) -> Row {
    let row = Row {
        client: client.to_owned(),
        scenario: scenario.to_owned(),
        expected: format!("it ends with 0 and prints {expected:?}"),
        seen: String::new(),
        outcome: Outcome::Failed,
    };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return row.saw(&error.to_string()),
    };
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if output.status.success() && printed.contains(expected) {
        let outcome = Outcome::Ok;
        return Row { outcome, ..row }.saw("as expected");
    }
    row.saw(&format!("{}: {printed}", output.status))
}

/// Ids that commands need.
struct Names(Vec<(&'static str, String)>);

impl Names {
    /// Makes a build and an agent, and learns what all is called.
    fn make(runtime: &Runtime, addresses: &Addresses) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let ask = |request: reqwest::RequestBuilder, token: &str| -> Value {
            let request = request.header("authorization", token);
            let text = runtime.block_on(async { request.send().await?.text().await });
            serde_json::from_str(&text.expect("an answer")).unwrap_or_default()
        };
        let rest = |path: &str| {
            let url = format!("{}/v2/organizations/gust-demo{path}", addresses.buildkite);
            ask(http.get(url), "Bearer bkua_fake")
        };
        let builds = format!("{}/builds?pipeline=p", addresses.control);
        ask(http.post(builds).body(STEPS), "");
        let agent = json!({"name": "vm", "version": "3.136.3", "meta_data": ["queue=gust"]});
        let v3 = |path: &str| http.post(format!("{}/v3/{path}", addresses.buildkite));
        let register = v3("register").header("content-type", "application/json");
        let agent = ask(register.body(agent.to_string()), "Token bkct_fake");
        let session = format!("Token {}", text(&agent["access_token"]));
        ask(v3("connect"), &session);
        let build = rest("/pipelines/p/builds/1");
        let cluster = rest("/clusters")[0].clone();
        let mut names = vec![
            ("{agent}", text(&agent["id"])),
            ("{cluster}", text(&cluster["id"])),
            ("{queue}", text(&cluster["default_queue_id"])),
        ];
        for (at, name) in ["{one}", "{two}", "{release}"].into_iter().enumerate() {
            names.push((name, text(&build["jobs"][at]["id"])));
        }
        Self(names)
    }

    fn fill(&self, text: &str) -> String {
        let fill = |text: String, (name, id): &(&str, String)| text.replace(name, id);
        self.0.iter().fold(text.to_owned(), fill)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
