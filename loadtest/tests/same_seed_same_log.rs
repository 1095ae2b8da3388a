//! One seed, one event log, byte for byte: in this process, in a fresh one, in another time zone, with the program's
//! own log on.

use std::process::{Command, Stdio};

use gust_loadtest::virtual_gear::{INTENSITY, Keep, Profile, Scenario, run};
use serde_json::Value;

fn log(scenario: &Scenario) -> String {
    let outcome = run(scenario, Keep::Log);
    assert_eq!(outcome.failure(), None);
    assert!(outcome.verdict.counts.faults > 0, "no fault met anything");
    outcome.log
}

fn assert_same(a: &str, b: &str) {
    let differing = a.lines().zip(b.lines()).enumerate().find(|(_, (a, b))| a != b);
    if let Some((at, (a, b))) = differing {
        panic!("line {at} differs:\n{a}\n{b}");
    }
    assert_eq!(a.len(), b.len(), "one log goes on where the other ends");
}

#[test]
fn the_same_seed_gives_the_same_log_and_another_seed_another() {
    for replicas in [1, 3] {
        let scenario = |seed| Scenario::draw(seed, Profile::MassCancel, replicas, INTENSITY);
        let first = log(&scenario(7));
        assert_same(&first, &log(&scenario(7)));
        assert_ne!(first, log(&scenario(8)));
    }
}

/// The event log that a fresh process prints.
fn printed(seed: u64, replicas: usize, surroundings: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gust-loadtest"))
        .args(["sim", "--log", "--profile", "burst"])
        .args(["--seed", &seed.to_string(), "--replicas", &replicas.to_string()])
        .env_remove("RUST_LOG")
        .envs(surroundings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    String::from_utf8(output.stdout).expect("a log is text")
}

#[test]
fn a_fresh_process_in_another_time_zone_with_a_loud_log_gives_the_same_log() {
    for replicas in [1, 3] {
        let here = log(&Scenario::draw(5, Profile::Burst, replicas, INTENSITY));
        let there = printed(5, replicas, &[("TZ", "Pacific/Chatham"), ("LC_ALL", "C")]);
        assert_same(&here, &there);
        let loud = printed(
            5,
            replicas,
            &[("TZ", "America/St_Johns"), ("RUST_LOG", "gust_server=debug")],
        );
        assert_same(&here, &loud);
    }
}

fn events(log: &str, kind: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
        .filter(|event| event["kind"] == kind)
        .collect()
}

// Not the checker's word, but a plain count in the log: without faults there is nothing to excuse.
#[test]
fn without_faults_each_job_has_one_machine_and_one_token_and_nothing_is_left() {
    let scenario = Scenario::draw(11, Profile::MassCancel, 3, 0.0);
    let scenario = Scenario {
        acts: Vec::new(),
        ..scenario
    };
    let outcome = run(&scenario, Keep::Log);
    assert_eq!(outcome.failure(), None);
    let log = outcome.log;
    let created = events(&log, "job.created");
    assert!(created.len() >= 20, "{} jobs", created.len());
    let finished = events(&log, "job.finished");
    assert_eq!(finished.len(), created.len());
    let by_stack = finished.iter().filter(|event| event["by"] == "stack").count();
    assert_eq!(by_stack, 3, "the impossible requests are refused by gust");
    let inserted = events(&log, "instance.inserted");
    assert_eq!(inserted.len(), events(&log, "instance.deleted").len());
    assert_eq!(inserted.len(), events(&log, "job.acquired").len());
    let mut tokens: Vec<String> = events(&log, "token.issued")
        .iter()
        .map(|token| token["job"].to_string())
        .collect();
    let issued = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), issued, "a second token for a job");
    assert_eq!(inserted.len(), issued);
}
