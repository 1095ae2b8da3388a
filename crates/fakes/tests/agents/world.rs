//! What a scenario has: fakes in this process, a client for them, a directory, and the agent as a child.

use std::{fs, process::Stdio, time::Duration};

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

use super::Agent;

/// Longest wait for anything; only a failing test ever waits that long.
const DEADLINE: Duration = Duration::from_secs(60);
/// Opens all queues of the fake's cluster.
pub const CLUSTER_TOKEN: &str = "bkct_fake";

/// Fakes, a client for them, and a directory.
pub struct World {
    /// The fakes.
    pub fakes: Handle,
    /// Calls them.
    pub http: reqwest::Client,
    /// The agent's home.
    pub home: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let fakes = serve(settings).await.expect("free ports");
        Self {
            fakes,
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            home: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Creates a build and returns the ids of its jobs.
    pub async fn build(&self, yaml: &str) -> Vec<String> {
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

    pub async fn job(&self, id: &str) -> Value {
        read(
            self.http
                .get(format!("{}/jobs/{id}", self.fakes.addresses.control)),
            200,
        )
        .await
    }

    pub async fn cancel(&self, id: &str) {
        self.control(&format!("jobs/{id}/cancel"), &Value::Null, 200)
            .await;
    }

    /// Everything the fakes know.
    pub async fn state(&self) -> Value {
        read(
            self.http.get(format!("{}/state", self.fakes.addresses.control)),
            200,
        )
        .await
    }

    /// A call of the control surface that changes something.
    pub async fn control(&self, path: &str, body: &Value, status: u16) -> Value {
        let url = format!("{}/{path}", self.fakes.addresses.control);
        let mut request = self.http.post(url).header("content-type", "application/json");
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        read(request, status).await
    }

    /// Registers the stack `s`, reserves the jobs for it and returns an acquisition token for the first.
    pub async fn reserve(&self, jobs: &[String]) -> String {
        let stack = json!({ "key": "s", "type": "custom", "queue_key": "gust", "metadata": {} });
        self.stacks(reqwest::Method::POST, "register", stack, 201).await;
        let reserve = json!({ "job_uuids": jobs, "reservation_expiry_seconds": 300 });
        let path = "s/scheduled-jobs/batch-reserve";
        self.stacks(reqwest::Method::PUT, path, reserve, 200).await;
        let ask = json!({ "job_uuids": [jobs[0]], "token_lifetime_seconds": 300 });
        let path = "s/job-acquisition-tokens";
        let tokens = self.stacks(reqwest::Method::POST, path, ask, 201).await;
        let token = &tokens["job_acquisition_tokens"][0]["job_acquisition_token"];
        token.as_str().expect("a token").to_owned()
    }

    /// A call of the Stacks API.
    pub async fn stacks(&self, method: reqwest::Method, path: &str, body: Value, status: u16) -> Value {
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
    pub async fn events(&self, job: &str, kind: &str) -> Vec<Value> {
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
    pub async fn reaches(&self, job: &str, state: &str) {
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
    pub fn start(&self, agent: &Agent, job: &str, token: &str) -> Child {
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
    pub async fn end(&self, mut agent: Child) -> i32 {
        let ended = timeout(DEADLINE, agent.wait()).await;
        let log = fs::read_to_string(self.home.path().join("agent.log")).unwrap_or_default();
        let status = ended
            .unwrap_or_else(|_| panic!("the agent does not end:\n{log}"))
            .expect("a child");
        eprintln!("agent ended with {status}:\n{log}");
        status.code().unwrap_or(-1)
    }

    pub async fn run(&self, agent: &Agent, job: &str) -> i32 {
        self.end(self.start(agent, job, CLUSTER_TOKEN)).await
    }

    /// The states the job went through, each beginning where the one before ended.
    pub async fn path(&self, job: &str) -> Vec<String> {
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

pub async fn read(request: reqwest::RequestBuilder, status: u16) -> Value {
    let reply = request.send().await.expect("a reply");
    let got = reply.status();
    let text = reply.text().await.expect("a body");
    assert!(
        got.as_u16() == status || (status == 200 && got.is_success()),
        "{got} instead of {status}: {text}"
    );
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

pub fn one(mut events: Vec<Value>) -> Value {
    assert_eq!(events.len(), 1, "exactly one: {events:?}");
    events.remove(0)
}
