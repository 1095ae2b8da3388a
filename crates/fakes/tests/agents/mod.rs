//! Scenarios that every agent must pass against the fake Buildkite, the real one and the stand-in alike.
//!
//! Each scenario owns its world: fakes in this process, the agent as a child with an environment of its
//! own. What happened is read from the event log and the control surface, not from the agent.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use gust_fakes::{
    config::Settings,
    http::{Handle, serve},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Longest wait for anything; only a failing test ever waits that long.
const DEADLINE: Duration = Duration::from_secs(60);
const CLUSTER_TOKEN: &str = "bkct_fake";

/// The program under test.
pub struct Agent(pub PathBuf);

/// Fakes, a client for them, and a directory.
struct World {
    fakes: Handle,
    http: reqwest::Client,
    home: TempDir,
}

impl World {
    async fn new() -> Self {
        let fakes = serve(Settings::default()).await.expect("free ports");
        Self {
            fakes,
            http: reqwest::Client::new(),
            home: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Creates a build and returns the ids of its jobs.
    async fn build(&self, yaml: &str) -> Vec<String> {
        let url = format!("{}/builds?pipeline=agents", self.fakes.addresses.control);
        let request = self
            .http
            .post(url)
            .header("content-type", "text/yaml")
            .body(yaml.to_owned());
        let build = read(request, 201).await;
        let jobs = build["jobs"].as_array().expect("jobs");
        jobs.iter()
            .map(|job| job["uuid"].as_str().expect("a uuid").to_owned())
            .collect()
    }

    async fn job(&self, id: &str) -> Value {
        read(
            self.http
                .get(format!("{}/jobs/{id}", self.fakes.addresses.control)),
            200,
        )
        .await
    }

    async fn cancel(&self, id: &str) {
        read(
            self.http
                .post(format!("{}/jobs/{id}/cancel", self.fakes.addresses.control)),
            200,
        )
        .await;
    }

    /// A call of the Stacks API.
    async fn stacks(&self, method: reqwest::Method, path: &str, body: Value, status: u16) -> Value {
        let url = format!("{}/v3/stacks/{path}", self.fakes.addresses.buildkite);
        let request = self
            .http
            .request(method, url)
            .header("authorization", format!("Token {CLUSTER_TOKEN}"));
        read(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
            status,
        )
        .await
    }

    /// The events of one kind that concern the job.
    async fn events(&self, job: &str, kind: &str) -> Vec<Value> {
        let url = format!("{}/events?after=0", self.fakes.addresses.control);
        let reply = self.http.get(url).send().await.expect("the control surface");
        let lines = reply.text().await.expect("the log");
        let events = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        events
            .filter(|event| event["kind"] == kind && (job.is_empty() || event["job"] == job))
            .collect()
    }

    /// Waits until the job is in `state`.
    async fn reaches(&self, job: &str, state: &str) {
        let reached = async {
            while self.job(job).await["state"] != state {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, reached)
            .await
            .unwrap_or_else(|_| panic!("{job} never got {state}"));
    }

    /// Starts the agent for a job, as the guest does.
    fn start(&self, agent: &Agent, job: &str, token: &str) -> Child {
        let endpoint = format!("{}/v3", self.fakes.addresses.buildkite);
        let name = format!("vm-{}", &job[..8]);
        Command::new(&agent.0)
            .args([
                "start",
                "--acquire-job",
                job,
                "--endpoint",
                &endpoint,
                "--name",
                &name,
            ])
            .args([
                "--tags",
                "queue=gust,cpu=2",
                "--ping-mode",
                "poll-only",
                "--disconnect-after-uptime",
                "1",
            ])
            .arg("--no-color")
            .arg("--build-path")
            .arg(self.home.path().join("builds"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("BUILDKITE_AGENT_TOKEN", token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.home.path().join("agent.log")).expect("a log file"))
            .kill_on_drop(true)
            .spawn()
            .expect("the agent starts")
    }

    /// Waits for the agent's end and returns its exit code.
    async fn end(&self, mut agent: Child) -> i32 {
        let ended = timeout(DEADLINE, agent.wait()).await;
        let log = fs::read_to_string(self.home.path().join("agent.log")).unwrap_or_default();
        let status = ended
            .unwrap_or_else(|_| panic!("the agent does not end:\n{log}"))
            .expect("a child");
        eprintln!("agent ended with {status}:\n{log}");
        status.code().unwrap_or(-1)
    }

    async fn run(&self, agent: &Agent, job: &str) -> i32 {
        self.end(self.start(agent, job, CLUSTER_TOKEN)).await
    }

    /// The states the job went through, each beginning where the one before ended.
    async fn path(&self, job: &str) -> Vec<String> {
        let events = self.events(job, "job.state").await;
        for pair in events.windows(2) {
            assert_eq!(pair[0]["to"], pair[1]["from"], "the states of a job form a chain");
        }
        events
            .iter()
            .map(|event| event["to"].as_str().expect("a state").to_owned())
            .collect()
    }
}

async fn read(request: reqwest::RequestBuilder, status: u16) -> Value {
    let reply = request.send().await.expect("a reply");
    let got = reply.status();
    let text = reply.text().await.expect("a body");
    assert!(
        got.as_u16() == status || (status == 200 && got.is_success()),
        "{got} instead of {status}: {text}"
    );
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn one(mut events: Vec<Value>) -> Value {
    assert_eq!(events.len(), 1, "exactly one: {events:?}");
    events.remove(0)
}

/// A command's own exit status reaches Buildkite, and the agent itself ends with 0.
pub async fn exit_status_is_reported(agent: &Agent, status: i32) {
    let world = World::new().await;
    let yaml = format!(
        "steps:\n  - command: 'echo \"out $BUILDKITE_LABEL\"; echo err >&2; exit {status}'\n    label: L1\n"
    );
    let job = world.build(&yaml).await.remove(0);
    assert_eq!(world.run(agent, &job).await, 0);

    let seen = world.job(&job).await;
    assert_eq!(seen["state"], "finished");
    assert_eq!(seen["exit_status"], status.to_string());
    assert_eq!(seen["signal_reason"], Value::Null);
    assert_eq!(seen["agent"]["name"], format!("vm-{}", &job[..8]));
    let log = seen["log"].as_str().expect("a log");
    assert!(log.contains("out L1") && log.contains("err"), "{log}");

    let path = world.path(&job).await;
    assert!(
        path.ends_with(&["accepted".into(), "running".into(), "finished".into()]),
        "{path:?}"
    );
    let acquired = one(world.events(&job, "job.acquired").await);
    assert_eq!(acquired["agent_name"], format!("vm-{}", &job[..8]));
    let finished = one(world.events(&job, "job.finished").await);
    assert_eq!(
        (&finished["by"], &finished["exit_status"]),
        (&json!("agent"), &json!(status.to_string()))
    );
    let registered = one(world.events("", "agent.registered").await);
    assert_eq!(registered["token_kind"], "cluster");
    assert_eq!(registered["tags"], json!(["queue=gust", "cpu=2"]));
    assert_eq!(
        one(world.events("", "agent.disconnected").await)["agent"],
        registered["agent"]
    );
}

/// A running job that is canceled ends by SIGTERM with reason `cancel`, whatever the command makes of it.
pub async fn a_running_job_can_be_canceled(agent: &Agent) {
    let world = World::new().await;
    let yaml = "steps:\n  - command: 'trap \"echo trapped; exit 7\" TERM; echo up; sleep 60 & wait'\n";
    let job = world.build(yaml).await.remove(0);
    let child = world.start(agent, &job, CLUSTER_TOKEN);
    world.reaches(&job, "running").await;
    world.cancel(&job).await;
    assert_eq!(world.end(child).await, 0);

    let seen = world.job(&job).await;
    assert_eq!(seen["state"], "canceled");
    assert_eq!(seen["exit_status"], "-1");
    assert_eq!(seen["signal"], "SIGTERM");
    assert_eq!(seen["signal_reason"], "cancel");
    let path = world.path(&job).await;
    assert!(
        path.ends_with(&["running".into(), "canceling".into(), "canceled".into()]),
        "{path:?}"
    );
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "agent");
}

/// A job that is over cannot be acquired: exit code 27, and nothing runs.
pub async fn a_refused_acquire_ends_with_27(agent: &Agent) {
    let world = World::new().await;
    let marker = world.home.path().join("ran");
    let job = world
        .build(&format!("steps:\n  - command: touch {}\n", marker.display()))
        .await
        .remove(0);
    world.cancel(&job).await;
    assert_eq!(world.run(agent, &job).await, 27);
    assert!(!marker.exists(), "the command must not run");
    assert!(world.events(&job, "job.acquired").await.is_empty());
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "server");
    assert_eq!(world.events("", "agent.disconnected").await.len(), 1);
}

/// A job reaches Buildkite by the agent's commands: annotations, meta-data, artifacts, more steps.
pub async fn a_job_can_use_the_agents_commands(agent: &Agent) {
    let world = World::new().await;
    fs::write(world.home.path().join("more.yml"), MORE).expect("a file");
    let shim = path_to_agent(world.home.path(), agent);
    let yaml = format!(
        r#"
steps:
  - env: {{ MORE: "{home}/more.yml" }}
    command: |
      export PATH="{shim}:$PATH"
      buildkite-agent annotate "used 3 of 4 GiB" --style info --context usage --scope job
      buildkite-agent meta-data set release v7
      test "$(buildkite-agent meta-data get release)" = v7
      buildkite-agent meta-data exists release
      buildkite-agent meta-data exists nothing && exit 9 || test $? -eq 100
      test "$(buildkite-agent meta-data get nothing --default d)" = d
      echo content > report.txt
      buildkite-agent artifact upload report.txt
      buildkite-agent pipeline upload "$MORE"
"#,
        home = world.home.path().display(),
        shim = shim.display(),
    );
    let job = world.build(&yaml).await.remove(0);
    assert_eq!(world.run(agent, &job).await, 0);

    let seen = world.job(&job).await;
    assert_eq!(seen["exit_status"], "0", "{}", seen["log"]);
    let annotation = one(seen["annotations"].as_array().expect("annotations").clone());
    let fields =
        ["context", "style", "body", "scope"].map(|field| annotation[field].as_str().unwrap_or_default());
    assert_eq!(fields, ["usage", "info", "used 3 of 4 GiB", "job"]);
    assert_eq!(one(world.events(&job, "job.annotated").await)["context"], "usage");

    // The uploaded step exists by the time the upload is answered, its values as text.
    let created = world.events("", "job.created").await;
    let uploaded = created
        .iter()
        .find(|event| event["job"] != job.as_str())
        .expect("a second job");
    assert_eq!(uploaded["key"], "second");
    assert_eq!(uploaded["rules"], json!(["queue=gust", "cpu=8", "big=true"]));
    let second = uploaded["job"].as_str().expect("an id").to_owned();
    assert_eq!(world.run(agent, &second).await, 0);
    let log = world.job(&second).await["log"]
        .as_str()
        .expect("a log")
        .to_owned();
    assert!(log.contains("branch main end"), "{log}");
}

const MORE: &str = r#"
steps:
  - key: second
    command: echo "branch ${BUILDKITE_BRANCH} end"
    agents: { queue: gust, cpu: 8, big: true }
"#;

/// A directory in which the agent is called `buildkite-agent`.
fn path_to_agent(home: &Path, agent: &Agent) -> PathBuf {
    let directory = home.join("bin");
    fs::create_dir_all(&directory).expect("a directory");
    std::os::unix::fs::symlink(&agent.0, directory.join("buildkite-agent")).expect("a link");
    directory
}

/// With a job acquisition token an agent gets its own job and no other, and only once.
pub async fn an_acquisition_token_is_good_for_one_job_once(agent: &Agent) {
    use reqwest::Method;
    let world = World::new().await;
    let jobs = world
        .build("steps:\n  - command: 'true'\n  - command: 'true'\n")
        .await;
    let stack = json!({ "key": "s", "type": "custom", "queue_key": "gust", "metadata": {} });
    world.stacks(Method::POST, "register", stack, 201).await;
    let reserve = json!({ "job_uuids": jobs, "reservation_expiry_seconds": 300 });
    world
        .stacks(Method::PUT, "s/scheduled-jobs/batch-reserve", reserve, 200)
        .await;
    let ask = json!({ "job_uuids": [jobs[0]], "token_lifetime_seconds": 300 });
    let tokens = world
        .stacks(Method::POST, "s/job-acquisition-tokens", ask, 201)
        .await;
    let token = tokens["job_acquisition_tokens"][0]["job_acquisition_token"]
        .as_str()
        .expect("a token")
        .to_owned();

    // Another job is out of reach for it.
    assert_ne!(world.job(&jobs[1]).await["state"], "finished");
    let other = world.end(world.start(agent, &jobs[1], &token)).await;
    assert_eq!(
        world.job(&jobs[1]).await["state"],
        "reserved",
        "exit code {other}"
    );
    assert!(world.events(&jobs[1], "job.acquired").await.is_empty());

    assert_eq!(world.end(world.start(agent, &jobs[0], &token)).await, 0);
    assert_eq!(world.job(&jobs[0]).await["exit_status"], "0");
    let registered = world.events(&jobs[0], "agent.registered").await;
    assert!(
        registered
            .iter()
            .all(|event| event["token_kind"] == "acquisition"),
        "{registered:?}"
    );

    // The job is over, so the token does not even register: 1, or 27 from 4.0.3 on.
    let late = world.end(world.start(agent, &jobs[0], &token)).await;
    assert!(late == 1 || late == 27, "{late}");
    assert_eq!(
        world.events(&jobs[0], "agent.registered").await.len(),
        registered.len()
    );
}

/// SIGQUIT, sent when a machine is about to be taken away, ends the job at once with reason `agent_stop`.
pub async fn a_quit_agent_says_so_before_it_goes(agent: &Agent) {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: sleep 60\n").await.remove(0);
    let child = world.start(agent, &job, CLUSTER_TOKEN);
    world.reaches(&job, "running").await;
    let pid = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
        .expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).expect("it runs");
    assert_eq!(world.end(child).await, 0);
    let seen = world.job(&job).await;
    assert_eq!(
        (&seen["exit_status"], &seen["signal_reason"]),
        (&json!("-1"), &json!("agent_stop"))
    );
    assert_eq!(world.events("", "agent.disconnected").await.len(), 1);
}

/// A reply that is lost after it took effect makes the agent repeat its finish; the job ends once all the same.
pub async fn a_lost_finish_reply_is_made_good(agent: &Agent) {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: exit 4\n").await.remove(0);
    let path = format!("/v3/jobs/{job}/finish");
    let fault = json!({ "kind": "reply.lost", "match": { "host": "buildkite", "path": path }, "count": 1 });
    let url = format!("{}/faults", world.fakes.addresses.control);
    read(
        world
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(fault.to_string()),
        201,
    )
    .await;
    assert_eq!(world.run(agent, &job).await, 0);
    assert_eq!(world.job(&job).await["exit_status"], "4");
    assert_eq!(world.events(&job, "job.finished").await.len(), 1);
    assert_eq!(world.events("", "fault.applied").await.len(), 1);
}

/// Two agents race for one job: one runs it, the other ends with 27.
pub async fn of_two_agents_one_gets_the_job(agent: &Agent) {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: sleep 1\n").await.remove(0);
    let (one, two) = (
        world.start(agent, &job, CLUSTER_TOKEN),
        world.start(agent, &job, CLUSTER_TOKEN),
    );
    let (one, two) = tokio::join!(world.end(one), world.end(two));
    let mut codes = [one, two];
    codes.sort_unstable();
    assert_eq!(codes, [0, 27]);
    assert_eq!(world.events(&job, "job.acquired").await.len(), 1);
    assert_eq!(world.job(&job).await["exit_status"], "0");
}
