//! A new leader places booked jobs at once, but not before it knows which queues are paused.

use std::path::Path;

use gust_loadtest::virtual_gear::{Keep, Scenario, run};
use serde_json::Value;

#[test]
fn a_new_leader_makes_no_machines_for_a_paused_queue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/paused-queue.toml");
    let scenario = Scenario::load(&file).unwrap_or_else(|bad| panic!("{bad}"));
    let outcome = run(&scenario, Keep::Log);
    assert_eq!(outcome.failure(), None);
    let events = outcome
        .log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let made: Vec<f64> = events
        .filter(|event| event["kind"] == "instance.inserted")
        .filter_map(|event| event["at"].as_f64())
        .collect();
    let paused = made.iter().filter(|at| (30.5..90.0).contains(*at)).count();
    assert_eq!(paused, 0, "{made:?}");
    assert!(
        made.iter().any(|at| *at >= 90.0),
        "they run once it goes on: {made:?}"
    );
}
