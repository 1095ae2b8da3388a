//! What a new leader does at first, over scenarios that were written by hand.

use std::path::Path;

use gust_loadtest::virtual_gear::{Keep, Scenario, run};
use serde_json::Value;

/// The seconds at which events of a kind happened.
fn times(scenario: &str, kind: &str) -> Vec<f64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{scenario}.toml"));
    let scenario = Scenario::load(&file).unwrap_or_else(|bad| panic!("{bad}"));
    let outcome = run(&scenario, Keep::Log);
    assert_eq!(outcome.failure(), None);
    let events = outcome
        .log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events
        .filter(|event| event["kind"] == kind)
        .filter_map(|event| event["at"].as_f64())
        .collect()
}

#[test]
fn a_new_leader_makes_no_machines_for_a_paused_queue() {
    let made = times("paused-queue", "instance.inserted");
    let paused = made.iter().filter(|at| (30.5..90.0).contains(*at)).count();
    assert_eq!(paused, 0, "{made:?}");
    assert!(
        made.iter().any(|at| *at >= 90.0),
        "they run once it goes on: {made:?}"
    );
}

#[test]
fn a_job_that_was_reserved_and_not_booked_waits_half_a_minute_for_the_next_leader() {
    let made = times("reserved-not-booked", "instance.inserted");
    let [at] = made[..] else {
        panic!("one machine for one job: {made:?}")
    };
    // Not before the reservation is over, and not as long as one of a booked job lasts.
    assert!((30.0..60.0).contains(&at), "{at}");
}
