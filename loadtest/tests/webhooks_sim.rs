//! Webhooks that are lost, doubled, late or false change nothing but how soon gust looks.

use std::collections::BTreeMap;

use gust_loadtest::virtual_gear::{INTENSITY, Keep, Outcome, Profile, Scenario, run, run_with_webhooks};
use serde_json::Value;

const PROFILES: [Profile; 4] = [
    Profile::Trickle,
    Profile::Burst,
    Profile::MassCancel,
    Profile::Priorities,
];

/// Fails if anything was violated.
fn sound(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.failure(), None, "{what}");
}

#[test]
fn with_all_that_goes_wrong_nothing_is_violated_either_way() {
    for seed in 1..=2 {
        for profile in PROFILES {
            let scenario = Scenario::draw(seed, profile, 3, INTENSITY);
            let (without, with) = (
                run(&scenario, Keep::Nothing),
                run_with_webhooks(&scenario, Keep::Nothing),
            );
            sound(&without, &format!("{profile:?} {seed}"));
            sound(&with, &format!("{profile:?} {seed} with webhooks"));
            assert_eq!(without.verdict.left, with.verdict.left, "{profile:?} {seed}");
        }
    }
}

/// Seconds from the moment each job could run to its first reservation, in order.
fn waits(outcome: &Outcome) -> Vec<f64> {
    let (mut since, mut waits) = (BTreeMap::new(), Vec::new());
    for line in outcome.log.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let (Some(at), Some(job)) = (event["at"].as_f64(), event["job"].as_str()) else {
            continue;
        };
        match event["kind"].as_str() {
            Some("job.state") if event["to"] == "scheduled" => {
                since.entry(job.to_owned()).or_insert(at);
            }
            Some("job.reserved") => waits.extend(since.remove(job).map(|since| at - since)),
            _ => {}
        }
    }
    waits.sort_by(f64::total_cmp);
    waits
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted
        .get(sorted.len().saturating_sub(1) * percent / 100)
        .copied()
        .unwrap_or_default()
}

#[test]
fn with_webhooks_jobs_are_seen_sooner() {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        let scenario = Scenario::draw(seed, Profile::Trickle, 1, 0.0);
        let outcomes = [run(&scenario, Keep::Log), run_with_webhooks(&scenario, Keep::Log)];
        outcomes
            .iter()
            .for_each(|outcome| sound(outcome, &format!("seed {seed}")));
        without.extend(waits(&outcomes[0]));
        with.extend(waits(&outcomes[1]));
    }
    assert!(!with.is_empty());
    assert_eq!(without.len(), with.len(), "the same jobs");
    without.sort_by(f64::total_cmp);
    with.sort_by(f64::total_cmp);
    let line = |waits: &[f64]| {
        format!(
            "P50 {:.3} s, P99 {:.3} s",
            percentile(waits, 50),
            percentile(waits, 99)
        )
    };
    eprintln!(
        "{} jobs, scheduled to reserved: {}; with webhooks that take up to 3 s: {}",
        with.len(),
        line(&without),
        line(&with)
    );
    assert!(percentile(&with, 50) <= percentile(&without, 50));
}
