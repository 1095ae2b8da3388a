use serde_json::{Value, json};

use super::{
    pipeline::{Expect, Expected},
    render,
    state::State,
};

fn expected(name: &str, expect: Expect) -> Expected {
    Expected {
        name: name.to_owned(),
        key: Some(name.split(' ').next().unwrap_or(name).to_owned()),
        expect,
    }
}

/// A build of four jobs as the stand-ins log it: one passes, one fails, one is refused, one is canceled.
fn log() -> Vec<Value> {
    let created = |job: &str, key: &str, rules: &[&str]| json!({"at": 1.0, "host": "buildkite", "kind": "job.created", "job": job, "key": key, "rules": rules});
    let runnable = |job: &str| {
        json!({"at": 1.0, "host": "buildkite", "kind": "job.state", "job": job, "from": null,
               "to": "scheduled", "runnable": true})
    };
    let inserted = |at: f64, name: &str, machine_type: &str, model: &str, ssd: u64| {
        json!({"at": at, "host": "gce", "kind": "instance.inserted", "name": name, "zone": "us-central1-a",
               "machine_type": machine_type, "model": model, "local_ssd": ssd, "price_usd_h": 0.7757})
    };
    vec![
        json!({"at": 0.5, "host": "buildkite", "kind": "api.call", "method": "stacks.list"}),
        created("j1", "build", &["queue=gust", "cpu=16", "memory=64"]),
        created("j2", "fails", &["queue=gust", "cpu=2"]),
        created("j3", "impossible", &["queue=gust", "cpu=1", "memory=700"]),
        created("j4", "late", &["queue=gust"]),
        runnable("j1"),
        runnable("j2"),
        runnable("j3"),
        runnable("j4"),
        json!({"at": 1.1, "host": "buildkite", "kind": "job.notified", "job": "j1",
               "detail": "placed on n2d-standard-16 in us-central1, $0.78/h"}),
        json!({"at": 1.2, "host": "buildkite", "kind": "job.state", "job": "j3", "from": "reserved",
               "to": "finished"}),
        json!({"at": 1.2, "host": "buildkite", "kind": "job.finished", "job": "j3", "exit_status": "-1",
               "by": "stack", "detail": "no machine has 1 vCPU and 700 GiB"}),
        json!({"at": 1.3, "host": "gce", "kind": "api.call", "method": "compute.regionInstances.bulkInsert"}),
        inserted(
            1.4,
            "demo-a-1",
            "projects/p/zones/z/machineTypes/n2d-standard-16",
            "STANDARD",
            1,
        ),
        inserted(1.5, "demo-b-1", "e2-standard-2", "SPOT", 0),
        json!({"at": 3.0, "host": "buildkite", "kind": "agent.registered", "agent": "a1",
               "caller": "buildkite-agent/3.136.3.1 (linux; amd64) 127.0.0.1:5"}),
        json!({"at": 3.1, "host": "buildkite", "kind": "job.acquired", "job": "j1", "agent": "a1",
               "agent_name": "demo-a-1"}),
        json!({"at": 3.2, "host": "buildkite", "kind": "job.acquired", "job": "j2", "agent": "a2",
               "agent_name": "demo-b-1"}),
        json!({"at": 4.0, "host": "buildkite", "kind": "job.state", "job": "j2", "from": "running",
               "to": "finished"}),
        json!({"at": 4.0, "host": "buildkite", "kind": "job.finished", "job": "j2", "exit_status": "3",
               "by": "agent"}),
        json!({"at": 4.2, "host": "gce", "kind": "instance.deleted", "name": "demo-b-1"}),
    ]
}

fn rest() -> Vec<Value> {
    vec![
        json!({"at": 5.0, "host": "buildkite", "kind": "job.state", "job": "j1", "from": "running",
               "to": "finished"}),
        json!({"at": 5.0, "host": "buildkite", "kind": "job.finished", "job": "j1", "exit_status": "0",
               "by": "agent"}),
        json!({"at": 5.1, "host": "buildkite", "kind": "job.state", "job": "j4", "from": "reserved",
               "to": "canceled"}),
        json!({"at": 5.1, "host": "buildkite", "kind": "job.finished", "job": "j4", "exit_status": null,
               "by": "server"}),
        json!({"at": 6.0, "host": "gce", "kind": "instance.deleted", "name": "demo-a-1"}),
    ]
}

fn state() -> State {
    State::expecting(vec![
        expected("build", Expect::Pass),
        expected("fails", Expect::Exit(3)),
        expected("impossible", Expect::Refused),
        expected("late", Expect::Pass),
    ])
}

#[test]
fn what_happens_is_told_in_lines() {
    let mut state = state();
    let lines: Vec<String> = log()
        .iter()
        .chain(&rest())
        .filter_map(|event| state.apply(event))
        .map(|news| render::line(&news))
        .collect();
    insta::assert_snapshot!("lines", lines.join("\n"));
}

#[test]
fn the_live_table_shows_what_runs_and_why_the_rest_waits() {
    let mut state = state();
    for event in log() {
        state.apply(&event);
    }
    assert!(state.server_listens && !state.all_ended());
    insta::assert_snapshot!("live", render::live(&state, 4.5, 80, 20));
    insta::assert_snapshot!("live_in_a_small_window", render::live(&state, 4.5, 40, 3));
}

#[test]
fn the_table_at_the_end_tells_what_each_job_got_and_how_it_ended() {
    let mut state = state();
    for event in log().iter().chain(&rest()) {
        state.apply(event);
    }
    assert!(state.all_ended());
    assert_eq!(state.machines_left().count(), 0);
    let odd: Vec<_> = state.jobs.values().filter(|j| !j.as_expected()).collect();
    assert_eq!(odd.len(), 1, "the canceled job was expected to pass");
    let text = format!("{}\n{}", render::table(&state), render::summary(&state));
    insta::assert_snapshot!("table", text);
}

#[test]
fn a_retried_job_is_judged_by_its_successor() {
    let mut state = State::expecting(vec![expected("flaky", Expect::Pass)]);
    let created = |job: &str, of: Option<&str>| {
        let mut event = json!({"at": 1.0, "kind": "job.created", "job": job, "key": "flaky", "rules": []});
        if let Some(of) = of {
            event["retry_of"] = of.into();
        }
        event
    };
    let finished = |job: &str, code: &str| json!({"at": 2.0, "kind": "job.finished", "job": job, "exit_status": code, "by": "agent"});
    state.apply(&created("j1", None));
    state.apply(&finished("j1", "1"));
    assert!(!state.jobs["j1"].as_expected());
    state.apply(&created("j2", Some("j1")));
    assert!(!state.all_ended());
    state.apply(&finished("j2", "0"));
    assert!(state.all_ended() && state.jobs.values().all(super::state::Job::as_expected));
}

#[test]
fn any_event_is_taken() {
    let mut state = state();
    for kind in [
        "job.created",
        "job.state",
        "job.finished",
        "instance.inserted",
        "api.call",
        "x",
    ] {
        state.apply(&json!({"kind": kind}));
        state.apply(&json!({"kind": kind, "job": 5, "at": "late", "rules": {}, "key": []}));
    }
    state.apply(&Value::Null);
    let _ = render::live(&state, 0.0, 0, 0);
    let _ = render::table(&state);
}
