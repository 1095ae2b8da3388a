//! The whole shell on paused time: one seed, one event log.

use std::time::Duration;

use gust_fakes::limits::Limits;
use gust_loadtest::virtual_gear::{Act, Scenario, run};
use serde_json::Value;

const PIPELINE: &str = r#"
agents: { queue: gust }
steps:
  - { key: build, command: make, agents: { cpu: 16, memory: 64 }, priority: 5, env: { GUST_SIM_RUN_S: "40" } }
  - { key: fan, command: test, parallelism: 16, depends_on: build, agents: { cpu: 4, memory: 16 } }
  - { key: arm, command: test, parallelism: 4, agents: { cpu: 4, memory: 8, arch: arm64 } }
  - { key: never, command: huge, agents: { cpu: 1, memory: 700 } }
  - { key: fails, command: "false", agents: { cpu: 2, memory: 8 }, env: { GUST_SIM_EXIT: "3" } }
  - key: flaky
    command: flaky
    agents: { cpu: 2, memory: 8 }
    env: { GUST_SIM_EXIT: "7" }
    retry: { automatic: [ { exit_status: 7, limit: 1 } ] }
  - { key: stopped, command: sleep, agents: { cpu: 8, memory: 32 }, env: { GUST_SIM_RUN_S: "300" } }
"#;

fn scenario(seed: u64) -> Scenario {
    Scenario {
        seed,
        pipeline: PIPELINE.to_owned(),
        limits: Limits::demo(),
        acts: vec![(Duration::from_secs(60), Act::Cancel("stopped".to_owned()))],
        patience: Duration::from_secs(3600),
    }
}

fn events(log: &str, kind: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
        .filter(|event| event["kind"] == kind)
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_log_and_another_seed_another() {
    let first = run(&scenario(7)).expect("it ends");
    let again = run(&scenario(7)).expect("it ends");
    if let Some((at, (a, b))) = first
        .log
        .lines()
        .zip(again.log.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        panic!("line {at} differs:\n{a}\n{b}");
    }
    assert_eq!(first.log.len(), again.log.len());
    let other = run(&scenario(8)).expect("it ends");
    assert_ne!(first.log, other.log);
}

#[test]
fn a_build_with_a_refusal_a_retry_and_a_cancel_leaves_nothing_behind() {
    let log = run(&scenario(11)).expect("it ends").log;
    let created = events(&log, "job.created");
    assert!(created.len() >= 25, "{} jobs", created.len());
    let finished = events(&log, "job.finished");
    assert_eq!(finished.len(), created.len());
    let by_stack = finished.iter().filter(|event| event["by"] == "stack").count();
    assert_eq!(by_stack, 1, "the impossible request is refused by gust");
    let inserted = events(&log, "instance.inserted");
    assert_eq!(inserted.len(), events(&log, "instance.deleted").len());
    // One machine for every job that ran, none for the refused one.
    assert_eq!(inserted.len(), events(&log, "job.acquired").len());
    assert_eq!(inserted.len(), created.len() - 1);
    let bulk = events(&log, "api.call")
        .into_iter()
        .filter(|call| call["method"] == "compute.regionInstances.bulkInsert")
        .count();
    assert!((1..=6).contains(&bulk), "equal shapes share a call: {bulk}");
    for note in events(&log, "job.notified") {
        let detail = note["detail"].as_str().expect("a text");
        assert!(
            !detail.contains("a new one is made"),
            "no job here needs a second machine: {detail}"
        );
    }
    let mut jobs: Vec<&Value> = Vec::new();
    let issued = events(&log, "token.issued");
    for token in &issued {
        assert!(
            !jobs.contains(&&token["job"]),
            "a second token for {}",
            token["job"]
        );
        jobs.push(&token["job"]);
    }
}
