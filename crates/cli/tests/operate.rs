//! The commands of operators against a gust that runs: the demo, whole.

mod programs;

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use programs::{GUST, stand_in};

const PATIENCE: Duration = Duration::from_secs(120);

const PIPELINE: &str = "
steps:
- { key: runs, command: 'sleep 600', agents: { queue: gust, cpu: 2, memory: 8 } }
";
const MORE: &str = "
steps:
- { key: waits, command: 'true', agents: { queue: gust, cpu: 2, memory: 8 } }
- { key: unwanted, command: 'true', agents: { queue: gust, cpu: 2, memory: 8 } }
";

/// A demo that stays up.
struct Demo {
    _world: tempfile::TempDir,
    process: Child,
    control: String,
    address: String,
    metrics: String,
}

impl Demo {
    async fn start() -> Option<Self> {
        let agent = stand_in()?;
        let world = tempfile::tempdir().expect("a directory");
        let pipeline = world.path().join("pipeline.yml");
        std::fs::write(&pipeline, PIPELINE).expect("a file");
        let mut process = Command::new(GUST)
            .arg("demo")
            .arg("--pipeline")
            .arg(&pipeline)
            .current_dir(world.path())
            .env("TMPDIR", world.path())
            .env("GUST_BUILDKITE_AGENT", agent)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("gust starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (mut control, mut address) = (String::new(), String::new());
        let metrics = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.expect("text").expect("it goes on");
                let word = |mark: &str| {
                    line.split(mark)
                        .nth(1)
                        .and_then(|rest| rest.split_whitespace().next())
                };
                if let Some(found) = word("control:") {
                    found.clone_into(&mut control);
                } else if let Some(found) = word("GUST_ADDRESS=") {
                    found.clone_into(&mut address);
                } else if let Some(found) = word("metrics:  curl") {
                    return found.to_owned();
                }
            }
        })
        .await
        .expect("the demo tells where it is");
        Some(Self {
            _world: world,
            process,
            control,
            address,
            metrics,
        })
    }

    /// Exit code, data and the rest of a command.
    async fn gust(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(GUST)
            .args(args)
            .env("GUST_ADDRESS", &self.address)
            .env("GUST_TOKEN", "demo")
            .env("NO_COLOR", "1")
            .output();
        let output = timeout(PATIENCE, output)
            .await
            .expect("in time")
            .expect("gust starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (
            output.status.code().expect("a code"),
            text(output.stdout),
            text(output.stderr),
        )
    }

    async fn json(&self, args: &[&str]) -> Value {
        let (code, data, words) = self.gust(&[args, &["--json"]].concat()).await;
        assert_eq!(code, 0, "{args:?}: {words}");
        serde_json::from_str(&data).expect("JSON")
    }

    /// The job of a step, once `wanted` holds of it.
    async fn job(&self, step: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = timeout(PATIENCE, async {
            loop {
                let list = self.json(&["jobs"]).await;
                let jobs = list["jobs"].as_array().expect("a list").clone();
                let job = jobs.into_iter().find(|job| job["step"] == step && wanted(job));
                if let Some(job) = job {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("{step} never becomes what it should be"))
    }

    async fn stop(mut self) {
        let pid = self
            .process
            .id()
            .and_then(|id| Pid::from_raw(id as i32))
            .expect("it runs");
        kill_process(pid, Signal::INT).expect("it can be asked to end");
        timeout(PATIENCE, self.process.wait())
            .await
            .expect("it ends")
            .expect("a status");
    }
}

#[tokio::test]
async fn operators_see_what_is_there_and_their_orders_are_obeyed() {
    let Some(demo) = Demo::start().await else { return };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let running = demo.job("runs", |job| job["phase"] == "JOB_PHASE_CLAIMED").await;

    let (code, text, words) = demo.gust(&["status"]).await;
    assert_eq!(code, 0, "{words}");
    for part in [
        "leader    demo-1",
        "deciding",
        "gust-demo/us-central1",
        "1 claimed",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let (code, _, words) = demo.gust(&["pause", "--note", "a quota is being moved"]).await;
    assert_eq!(code, 0, "{words}");
    let submitted = http
        .post(format!("{}/builds?pipeline=more", demo.control))
        .body(MORE)
        .send()
        .await
        .expect("the stand-in answers");
    assert!(submitted.status().is_success());
    let stopped = |job: &Value| job["reasonKind"] == "stopped";
    let waits = demo.job("waits", stopped).await;
    assert_eq!(
        waits["reason"],
        "waiting: the operator paused gust (a quota is being moved)"
    );
    assert_eq!(demo.json(&["status"]).await["leading"]["paused"]["by"], "demo");

    let unwanted = demo.job("unwanted", stopped).await;
    let (id, runs) = (unwanted["id"].as_str().unwrap(), running["id"].as_str().unwrap());
    let (code, _, words) = demo.gust(&["cancel", id, "--note", "not today"]).await;
    assert_eq!(code, 0, "{words}");
    let (code, _, words) = demo.gust(&["cancel", runs]).await;
    assert_eq!(code, 6);
    assert!(words.contains("cancel it in Buildkite"), "{words}");

    let (code, text, _) = demo
        .gust(&["drain", "us-central1-a", "--note", "maintenance"])
        .await;
    assert_eq!(
        (code, text.starts_with("draining us-central1-a")),
        (0, true),
        "{text}"
    );
    let asked = demo
        .json(&["explain", "--live", "--cpu", "2", "--memory", "8"])
        .await;
    let first = &asked["choices"][0];
    let zones: Vec<&str> = first["zones"]
        .as_array()
        .expect("zones")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        !zones.is_empty() && !zones.contains(&"us-central1-a"),
        "what is drained is not asked: {first:#}"
    );
    assert!(
        first["room"].as_str().is_some_and(|room| room != "0"),
        "{first:#}"
    );
    assert_eq!(demo.gust(&["cordon", "e2"]).await.0, 0);
    let (code, text, words) = demo
        .gust(&["explain", "--live", "--cpu", "2", "--memory", "8", "family=e2"])
        .await;
    assert_eq!(code, 0, "{words}");
    assert!(text.contains("closed by the operator"), "{text}");
    assert_eq!(demo.gust(&["uncordon", "e2"]).await.0, 0);
    let (code, _, words) = demo.gust(&["explain", "--live", "--cpu", "2000"]).await;
    assert_eq!(code, 6, "{words}");
    let (code, _, words) = demo.gust(&["cordon", "gust-demo/us-centrall1"]).await;
    assert_eq!(code, 6);
    assert!(words.contains("there are gust-demo/us-central1"), "{words}");

    assert_eq!(demo.json(&["resume"]).await["wasPaused"], true);
    let id = waits["id"].as_str().unwrap();
    let told = timeout(PATIENCE, async {
        loop {
            let job = demo.json(&["job", id]).await;
            if job["job"]["phase"] == "JOB_PHASE_ENDED" {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let told = told.await.expect("it runs and ends");
    assert_eq!(told["job"]["outcome"], "ran");
    let timeline: Vec<&str> = told["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .filter_map(|entry| entry["text"].as_str())
        .collect();
    let position = |part: &str| timeline.iter().position(|text| text.contains(part));
    assert!(
        position("taken in").is_some() && position("the operator paused gust") < position("claimed the job"),
        "{timeline:?}"
    );

    let machines = demo.json(&["machines"]).await;
    assert!(machines["machines"].as_array().is_some_and(|all| !all.is_empty()));
    let metrics = http
        .get(&demo.metrics)
        .send()
        .await
        .expect("metrics")
        .text()
        .await
        .unwrap();
    for line in [
        "gust_leader 1",
        "gust_decides 1",
        "gust_jobs{phase=\"claimed\"} 1",
        "gust_pass_seconds_bucket",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    demo.stop().await;
}

#[tokio::test]
async fn who_has_no_token_learns_nothing() {
    let Some(demo) = Demo::start().await else { return };
    for token in [None, Some("wrong")] {
        let mut command = Command::new(GUST);
        command
            .args(["status", "--address", &demo.address])
            .env("NO_COLOR", "1");
        match token {
            Some(token) => command.env("GUST_TOKEN", token),
            None => command.env_remove("GUST_TOKEN"),
        };
        let output = timeout(PATIENCE, command.output())
            .await
            .expect("in time")
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{words}");
        assert!(words.contains("GUST_TOKEN"), "{words}");
        assert!(output.stdout.is_empty());
    }
    demo.stop().await;
}

#[test]
fn a_gust_that_is_not_there_is_told_with_what_to_do() {
    let output = std::process::Command::new(GUST)
        .args(["status", "--address", "http://127.0.0.1:1"])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("cannot reach gust at http://127.0.0.1:1"),
        "{words}"
    );
    assert!(words.contains("GUST_ADDRESS"), "{words}");
}
