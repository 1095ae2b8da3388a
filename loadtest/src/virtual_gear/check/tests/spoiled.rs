//! The real history, whole and spoiled in one place each.

use serde_json::json;

use super::{
    super::Invariant,
    history::{History, Told, commit, event, expect, limit, other_request},
};

const BUILD: &str = "841defe4-2955-46ca-9359-a7365c5af78f";
const NEVER: &str = "a7c9c0de-4999-4e73-8586-0365eeac6dbb";
const BUILD_MACHINE: &str = "gust-qqo67zbjkvdmve2zu43fywxxr4-1";
const OTHER_MACHINE: &str = "gust-en5iofhhuzbp3ask327rm67wlm-1";

fn set(told: &mut Told, field: &str, value: serde_json::Value) {
    let Told::Event(event) = told else {
        panic!("no event")
    };
    event.fields.insert(field.to_owned(), value);
}

#[test]
fn a_real_run_passes() {
    let verdict = History::real().play();
    assert_eq!(verdict.violation, None);
    assert!(verdict.left.is_empty(), "{:?}", verdict.left);
    assert_eq!((verdict.counts.jobs, verdict.counts.machines), (8, 7));
    assert!(verdict.counts.commits >= 35 && verdict.counts.pictures > 0);
}

#[track_caller]
fn caught(history: &History, invariant: Invariant, words: &str) {
    let violation = history.play().violation.expect("it is caught");
    assert_eq!(violation.invariant, invariant, "{violation}");
    assert!(violation.what.contains(words), "{violation}");
    assert!(violation.because.len() <= 12, "{violation}");
}

#[test]
fn a_possible_job_that_the_stack_finished_is_lost() {
    let mut expect = expect();
    expect.impossible.clear();
    let violation = History::real().play_with(expect).violation.expect("it is caught");
    assert_eq!(violation.invariant, Invariant::Lost, "{violation}");
}

#[test]
fn a_job_is_not_given_up_for_failures_that_nobody_saw() {
    let mut expect = expect();
    expect.impossible.clear();
    let gave_up = "gust gave up: 3 machines were made for this job and none of them came up in time.";
    let history = History::real().altered(
        |told| told.is("job.finished", "job", NEVER),
        |told| set(told, "detail", json!(gave_up)),
    );
    let violation = history.play_with(expect).violation.expect("it is caught");
    assert!(violation.what.contains("0 machines failed so"), "{violation}");
}

#[test]
fn a_job_that_never_ends_is_told_with_its_record() {
    let history = History::real().without(|told| {
        told.is("job.finished", "job", BUILD)
            || told.is("job.state", "to", "finished") && told.is("job.state", "job", BUILD)
    });
    // Its record was closed all the same: nobody will look after it.
    caught(&history, Invariant::Lost, "nobody knows of this job");
    let verdict = history.play();
    assert_eq!(verdict.left.jobs.len(), 1, "{:?}", verdict.left);
}

#[test]
fn two_machines_with_tokens_of_one_job_are_caught() {
    let history = History::real().with_after(
        |told| told.is("job.acquired", "job", BUILD),
        event(
            "agent.registered",
            json!({"agent_name": OTHER_MACHINE, "job": BUILD}),
        ),
    );
    caught(&history, Invariant::Holders, "which it was not given");
    assert!(history.play().counts.violations >= 2);
}

#[test]
fn a_record_that_goes_before_its_machine_is_a_leak() {
    let history = History::real().without(|told| told.is("instance.deleted", "name", BUILD_MACHINE));
    caught(&history, Invariant::Leak, "was removed while it exists");
}

#[test]
fn more_promises_than_quota_are_caught() {
    let history = History::real();
    let mut tight = expect();
    tight.limits = vec![limit("CPUS", 25)];
    let violation = history.play_with(tight).violation.expect("26 are promised");
    assert_eq!(violation.invariant, Invariant::Quota, "{violation}");
    let mut exact = expect();
    exact.limits = vec![limit("CPUS", 40), limit("CPUS_ALL_REGIONS", 40)];
    assert_eq!(history.play_with(exact).violation, None);
}

#[test]
fn an_unguarded_write_is_caught() {
    let history = History::real().altered(
        |told| matches!(told, Told::Commit(commit) if commit.revision == 5),
        |told| {
            if let Told::Commit(commit) = told {
                commit.term = 0;
            }
        },
    );
    caught(&history, Invariant::Terms, "without comparing");
}

#[test]
fn a_deposed_leader_that_writes_is_caught() {
    let deposed = commit(0, 50, &[("leader", json!(null))]);
    let elected = commit(0, 51, &[("leader", json!("b"))]);
    let place = |told: &Told| told.is("job.state", "to", "accepted");
    let history = History::real()
        .with_after(place, elected)
        .with_after(place, deposed);
    caught(&history, Invariant::Terms, "while term 51 leads");
}

#[test]
fn effects_that_were_not_durable_are_caught() {
    let refusing = History::real().without(|told| told.writes(&format!("jobs/virtual/{NEVER}"), "refusing"));
    caught(&refusing, Invariant::Terms, "before that was durable");
    let claim = History::real().without(|told| told.writes(&format!("jobs/virtual/{BUILD}"), "claimed"));
    caught(&claim, Invariant::Terms, "before a claim of it was durable");
    let deleting = History::real()
        .without(|told| told.writes(&format!("machines/{BUILD_MACHINE}"), "deleting"))
        .altered(
            |told| {
                told.is("instance.state", "name", BUILD_MACHINE)
                    && told.is("instance.state", "to", "STOPPING")
            },
            |told| set(told, "cause", json!("delete")),
        );
    caught(&deleting, Invariant::Terms, "was deleted before");
}

#[test]
fn a_machine_without_intent_is_caught() {
    let request = History::real().altered(
        |told| told.is("instance.inserted", "name", BUILD_MACHINE),
        |told| set(told, "request_id", other_request()),
    );
    caught(&request, Invariant::Intent, "was made by request");
    let twice = event("instance.inserted", json!({"name": "gust-nobody-1"}));
    let nobody = History::real().with_after(|told| told.is("job.state", "to", "running"), twice);
    caught(&nobody, Invariant::Intent, "has no record");
}

#[test]
fn nothing_passes_on_what_was_not_seen() {
    let blind = History::real().without(|told| matches!(told, Told::Commit(_)));
    let verdict = blind.play();
    assert!(verdict.violation.is_some());
    let mut silent = History::real();
    silent.pictures = false;
    caught(&silent, Invariant::Reasons, "not shown any picture");
    let deaf = History::real().without(|told| matches!(told, Told::Event(_)));
    assert!(deaf.play().violation.is_some());
}

#[test]
fn a_run_cut_short_says_what_is_left() {
    let mut history = History::real();
    let cut = history
        .told
        .iter()
        .position(|(_, told)| told.is("job.state", "to", "running"))
        .expect("some job runs");
    history.told.truncate(cut + 1);
    let verdict = history.play();
    let invariant = verdict.violation.as_ref().map(|violation| violation.invariant);
    assert_eq!(invariant, Some(Invariant::Liveness), "{:?}", verdict.violation);
    insta::assert_snapshot!(format!(
        "{}\n{}",
        verdict.left.jobs.join("\n"),
        verdict.left.machines.join("\n")
    ));
}

#[test]
fn a_violation_reads_as_a_short_story() {
    let history = History::real().without(|told| told.is("instance.deleted", "name", BUILD_MACHINE));
    let violation = history.play().violation.expect("it is caught");
    insta::assert_snapshot!(violation.to_string());
}
