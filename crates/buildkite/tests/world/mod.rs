//! The fake Buildkite of one test, and sources that reach it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::time::Duration;

use gust_buildkite::{
    Client, Config, GraphqlSource, StacksSource,
    client::{Scheme, TokenOf},
    source::Patience,
};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::Source as _,
    secret::Secret,
};
use gust_fakes::{
    config::Settings,
    http::{Handle, serve},
};
use serde_json::Value;

const PATIENCE: Patience = Patience {
    reads: Duration::from_secs(20),
    writes: Duration::from_secs(20),
};

/// The fakes, and a way to their control interface.
pub struct World {
    pub fakes: Handle,
    pub http: reqwest::Client,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self {
            fakes: serve(settings).await.expect("free ports"),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        }
    }

    fn bearer(&self, path: &str, token: &str) -> Client {
        let endpoint = format!("{}{path}", self.fakes.addresses.buildkite);
        let config = Config::new(endpoint.parse().expect("a URL"), Secret::new(token), "gust-test");
        Client::new(Config {
            scheme: Scheme::Bearer,
            ..config
        })
        .expect("a client")
    }

    pub fn graphql(&self, token: &str) -> GraphqlSource {
        let (graphql, rest) = (self.bearer("/v1", token), self.bearer("/v2", token));
        GraphqlSource::new(graphql, rest, "gust-demo".to_owned(), None).with_patience(PATIENCE)
    }

    pub fn client(&self, token: &str) -> Client {
        let endpoint = format!("{}/v3", self.fakes.addresses.buildkite)
            .parse()
            .expect("a URL");
        Client::new(Config::new(endpoint, Secret::new(token), "gust-test")).expect("a client")
    }

    /// A stack whose token may be replaced.
    pub fn stacks_renewing(&self, token: &str, renew: TokenOf) -> StacksSource {
        let endpoint = format!("{}/v3", self.fakes.addresses.buildkite);
        let config = Config::new(endpoint.parse().expect("a URL"), Secret::new(token), "gust-test");
        let client = Client::new(Config {
            renew: Some(renew),
            ..config
        });
        StacksSource::new(client.expect("a client"), queue(), Default::default()).with_patience(PATIENCE)
    }

    pub fn stacks(&self, token: &str) -> StacksSource {
        let metadata = [("version".into(), "1".into())].into();
        StacksSource::new(self.client(token), queue(), metadata).with_patience(PATIENCE)
    }

    pub fn source(&self) -> StacksSource {
        self.stacks("bkct_fake")
    }

    /// Somebody else's stack in the same cluster, registered.
    pub async fn other_stack(&self) -> StacksSource {
        let endpoint = format!("{}/v3", self.fakes.addresses.buildkite);
        let config = Config::new(
            endpoint.parse().expect("a URL"),
            Secret::new("bkct_fake"),
            "other",
        );
        let client = Client::new(config).expect("a client");
        let source = StacksSource::new(client, queue(), Default::default());
        source.register().await.expect("registered");
        source
    }

    pub async fn control(&self, path: &str, kind: &str, body: String) -> Value {
        let url = format!("{}{path}", self.fakes.addresses.control);
        let reply = self
            .http
            .post(url)
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .expect("a reply");
        assert!(reply.status().is_success(), "{path}: {}", reply.status());
        serde_json::from_str(&reply.text().await.expect("a body")).unwrap_or_default()
    }

    /// A job disappears.
    pub async fn delete(&self, job: JobId) {
        let url = format!("{}/jobs/{job}", self.fakes.addresses.control);
        let reply = self.http.delete(url).send().await.expect("a reply");
        assert!(reply.status().is_success(), "{}", reply.status());
    }

    pub async fn build(&self, jobs: usize) -> Vec<JobId> {
        let step =
            |n| format!("  - command: 'true'\n    key: k{n}\n    priority: {n}\n    agents: {{ cpu: 8 }}\n");
        let yaml = (0..jobs)
            .map(step)
            .fold("steps:\n".to_owned(), |yaml, step| yaml + &step);
        let build = self
            .control("/builds?pipeline=p&branch=b1", "text/yaml", yaml)
            .await;
        let jobs = build["jobs"].as_array().expect("jobs").iter();
        jobs.map(|job| JobId(job["uuid"].as_str().expect("text").parse().expect("a uuid")))
            .collect()
    }

    pub async fn fault(&self, fault: Value) {
        self.control("/faults", "application/json", fault.to_string())
            .await;
    }

    pub async fn job(&self, job: JobId) -> Value {
        let url = format!("{}/jobs/{job}", self.fakes.addresses.control);
        let reply = self
            .http
            .get(url)
            .send()
            .await
            .expect("a reply")
            .text()
            .await
            .expect("a body");
        serde_json::from_str(&reply).expect("JSON")
    }

    /// Annotations of a job, as anybody reads them.
    pub async fn annotations(&self, job: JobId) -> Value {
        let host = &self.fakes.addresses.buildkite;
        let url = format!("{host}/v2/organizations/gust-demo/jobs/{job}/annotations");
        let reply = self.http.get(url).bearer_auth("bkua_fake").send().await;
        let text = reply.expect("a reply").text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// How often the fake saw a call.
    pub async fn calls(&self, method: &str) -> usize {
        let url = format!("{}/events?after=0", self.fakes.addresses.control);
        let log = self
            .http
            .get(url)
            .send()
            .await
            .expect("a reply")
            .text()
            .await
            .expect("a body");
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        events
            .filter(|event| event["kind"] == "api.call" && event["method"] == method)
            .count()
    }
}

pub fn queue() -> QueueKey {
    QueueKey::from("gust")
}
