//! Preempted jobs, which are run again.

use gust_core::{
    records::{JobPhase, JobRecord, Preempted},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    super::Invariant,
    history::event,
    world::{Tale, id, job_record, name},
};

/// The record of the running job 1, whose machine was taken back.
fn preempted(asked: Option<Timestamp>) -> (String, Value) {
    let phase = JobPhase::Claimed {
        machine: name(1, 1),
        at: Timestamp(0),
    };
    let (key, value) = job_record(1, 0, phase);
    let mut record: JobRecord = serde_json::from_value(value).expect("a record");
    record.preemption.preempted = Some(Preempted {
        at: Timestamp(0),
        after_ms: 1000,
        told: true,
        asked,
        retried_in: None,
        guessed: false,
        recognized: false,
    });
    (key, serde_json::to_value(record).expect("writable"))
}

/// Job 1 is preempted, ends so, and is closed.
fn tale(exit_status: &str, asked: Option<Timestamp>) -> Tale {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).runs(1, 1);
    tale.commit(&[preempted(None)]).state(1, "finished");
    tale.tell(event(
        "job.finished",
        json!({"job": id(1), "by": "agent", "exit_status": exit_status}),
    ));
    if asked.is_some() {
        tale.commit(&[preempted(asked)]);
    }
    tale.removed(1, 1).closed(1);
    tale
}

#[test]
fn a_preempted_job_that_nobody_runs_again_is_lost() {
    let violation = tale("-1", None).history.play().violation.expect("it is caught");
    assert_eq!(violation.invariant, Invariant::Lost, "{violation}");
    assert!(violation.what.contains("nobody asked"), "{violation}");
}

#[test]
fn one_that_buildkite_was_asked_for_or_that_passed_is_not() {
    for (exit_status, asked) in [("-1", Some(Timestamp(7))), ("0", None)] {
        let verdict = tale(exit_status, asked).history.play();
        assert_eq!(verdict.violation, None, "{exit_status} {asked:?}");
    }
}

#[test]
fn one_that_the_steps_own_rule_runs_again_is_not() {
    let mut tale = tale("-1", None);
    tale.tell(event(
        "job.created",
        json!({"job": id(2), "retry_of": id(1), "rules": ["queue=another"]}),
    ));
    assert_eq!(tale.history.play().violation, None);
}
