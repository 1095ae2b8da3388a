//! Real processes: a Spot machine is taken back, its step does not say that it runs again, and the operator gave gust a
//! token for Buildkite's REST API.

use std::time::Duration;

use gust_loadtest::wire::{Control, Fakes, Programs, Replica};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(90);

const BUILD: &str = "
steps:
- { key: tests, command: 'sleep 600', agents: { queue: gust, cpu: 2, memory: 8, spot: prefer } }
";

/// The first event of a kind of which this holds.
async fn event(control: &Control, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = control.events(0).await.expect("a log");
        let found = events
            .into_iter()
            .find(|event| event["kind"] == kind && wanted(event));
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < deadline, "no {kind} in time");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preempted_job_is_run_again_over_the_rest_api_on_demand() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = Programs::find().expect("programs");
    let fakes = Fakes::start(&programs, dir.path(), 3).await.expect("fakes");
    let token = dir.path().join("api.token");
    std::fs::write(&token, "bkua_fake\n").expect("a file");
    let api = format!(
        "[source.api]\norganization = \"gust-demo\"\nendpoint = \"{}/v2\"\ntoken = {{ file = \"api.token\" }}\n",
        fakes.buildkite
    );
    let replica =
        Replica::start_in(&programs, dir.path(), &fakes, &["us-central1"], &api).expect("a replica");
    let control = Control::new(&fakes.control).expect("a client");
    let job = control.build(BUILD).await.expect("a build").remove(0);

    let first = event(&control, "job.acquired", |event| event["job"] == job.as_str()).await;
    let machine = first["agent_name"].as_str().expect("a name");
    let model = |machine: &str| {
        let machine = machine.to_owned();
        let made = event(&control, "instance.inserted", move |event| {
            event["name"] == machine.as_str()
        });
        async { made.await["model"].as_str().expect("a word").to_owned() }
    };
    assert_eq!(model(machine).await, "SPOT");
    control.preempt(machine).await.expect("it can be taken back");

    let again = event(&control, "job.created", |event| event["retry_of"] == job.as_str()).await;
    let again = again["job"].as_str().expect("an id");
    let second = event(&control, "job.acquired", |event| event["job"] == again).await;
    assert_eq!(
        model(second["agent_name"].as_str().expect("a name")).await,
        "STANDARD"
    );
    let calls = control.events(0).await.expect("a log");
    let retries = calls.iter().filter(|event| {
        event["kind"] == "api.call" && event["method"] == "rest.retry-job" && event["status"] == 200
    });
    assert_eq!(retries.count(), 1, "asked for once");
    replica.stop().await.expect("it ends");
    fakes.stop().await.expect("they end");
}
