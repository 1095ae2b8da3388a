//! Invariant 8: pictures that are late, false, or not told.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::Term,
    quota::Metric,
    reason::{Reason, Shortage},
    time::Timestamp,
};
use gust_fakes::event::Event;
use serde_json::json;

use super::{
    super::{Checker, Invariant, Met, Picture, Subject},
    history::{Told, event, expect, limit},
    world::{Tale, id, job, name},
};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// Job 1 is booked at 0 s.
fn checker() -> Checker {
    let mut checker = Checker::new(expect());
    let mut tale = Tale::begin();
    tale.booked(1, 0);
    for (at, told) in &tale.history.told {
        match told {
            Told::Event(event) => checker.event(*at, event),
            Told::Commit(commit) => checker.commit(*at, commit),
            _ => {}
        }
    }
    checker
}

fn picture(reasons: Vec<Reason>) -> Picture {
    Picture {
        term: Term(1),
        at: Timestamp(0),
        decides: true,
        waiting: reasons.into_iter().map(|reason| (job(1), reason)).collect(),
        ..Picture::default()
    }
}

fn slot() -> Reason {
    Reason::Slot {
        project: "gust-demo".into(),
        slots: 10,
    }
}

fn quota(limit: u64) -> Reason {
    Reason::Quota {
        shortage: Arc::new(Shortage {
            metric: Metric::new("CPUS"),
            region: Some("us-central1".into()),
            used: limit,
            limit,
            needed: 2,
            refused: false,
            kept: 0,
        }),
        line: 1,
        about: None,
    }
}

fn note(detail: &str) -> Event {
    match event("job.notified", json!({"job": id(1), "detail": detail})) {
        Told::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn says(checker: &Checker, words: &str) {
    let violation = checker.violation().expect("it is caught");
    assert_eq!(violation.invariant, Invariant::Reasons, "{violation}");
    assert!(violation.what.contains(words), "{violation}");
}

#[test]
fn a_job_without_a_reason_is_caught_after_two_seconds_of_a_deciding_leader() {
    let mut checker = checker();
    checker.quiet(seconds(5));
    assert_eq!(checker.violation(), None, "nobody decides yet");
    checker.picture(seconds(5), 0, &picture(vec![]));
    checker.quiet(seconds(7));
    assert_eq!(checker.violation(), None);
    checker.quiet(seconds(8));
    says(&checker, "waits without a reason");
}

#[test]
fn a_reason_that_comes_in_time_or_from_another_term_is_told_apart() {
    let mut fine = checker();
    fine.picture(seconds(5), 0, &picture(vec![]));
    fine.picture(seconds(6), 0, &picture(vec![slot()]));
    fine.quiet(seconds(20));
    assert_eq!(fine.violation(), None);
    let mut deposed = checker();
    deposed.picture(seconds(5), 0, &picture(vec![]));
    let old = Picture {
        term: Term(7),
        ..picture(vec![slot()])
    };
    deposed.picture(seconds(6), 0, &old);
    deposed.quiet(seconds(20));
    says(&deposed, "waits without a reason");
}

#[test]
fn a_leader_whose_store_is_away_is_judged_by_its_next_picture() {
    let mut checker = checker();
    checker.picture(seconds(5), 0, &picture(vec![]));
    let gone = Met {
        kind: "etcd-gone",
        subject: Subject::World,
        note: String::new(),
    };
    checker.fault(seconds(6), &gone);
    checker.catch_up(seconds(60));
    assert_eq!(checker.violation(), None, "it can show nothing");
    checker.picture(seconds(60), 0, &picture(vec![]));
    checker.catch_up(seconds(90));
    says(&checker, "waits without a reason");
}

#[test]
fn a_limit_that_the_world_never_had_is_caught() {
    let mut checker = checker();
    checker.limit(seconds(0), &limit("CPUS", 8));
    checker.limit(seconds(10), &limit("CPUS", 4));
    checker.picture(seconds(50), 0, &picture(vec![quota(8)]));
    assert_eq!(checker.violation(), None, "it was 8 within the last 90 s");
    checker.event(
        seconds(50),
        &note("waiting for CPUS in us-central1: 8 of 8 used, 1st in line"),
    );
    checker.picture(seconds(101), 0, &picture(vec![quota(8)]));
    says(&checker, "the limit of CPUS is not 8");
}

#[test]
fn a_pause_that_is_none_is_caught() {
    let mut checker = checker();
    checker.paused(seconds(1), "gust", true);
    checker.picture(seconds(2), 0, &picture(vec![Reason::Paused("gust".into())]));
    checker.paused(seconds(3), "gust", false);
    checker.picture(seconds(12), 0, &picture(vec![Reason::Paused("gust".into())]));
    assert_eq!(checker.violation(), None);
    checker.picture(seconds(14), 0, &picture(vec![Reason::Paused("gust".into())]));
    says(&checker, "is not paused");
}

#[test]
fn a_machine_that_the_store_does_not_have_is_no_reason() {
    let mut checker = checker();
    let booting = Reason::Replacing(name(1, 1));
    checker.picture(seconds(1), 0, &picture(vec![booting]));
    checker.quiet(seconds(4));
    assert_eq!(checker.violation(), None, "it may have gone a moment ago");
    checker.quiet(seconds(10));
    says(&checker, "holds no such machine");
}

#[test]
fn a_change_of_kind_that_is_not_told_is_caught() {
    let mut checker = checker();
    checker.picture(seconds(1), 0, &picture(vec![slot()]));
    checker.event(
        seconds(2),
        &note("waiting for a bulk operation in project gust-demo: all 10"),
    );
    checker.picture(seconds(40), 0, &picture(vec![quota(8)]));
    checker.quiet(seconds(60));
    assert_eq!(checker.violation(), None);
    checker.quiet(seconds(71));
    says(&checker, "Buildkite was not told");
}

#[test]
fn each_kind_of_reason_is_known_by_its_words() {
    use gust_core::{
        reason::{HoldReason, Placement},
        shape::{Price, ProvisioningModel},
    };
    let placement = Arc::new(Placement {
        machine_type: "e2".into(),
        model: ProvisioningModel::Spot,
        region: "r".into(),
        price: Price(1),
    });
    let hold = Arc::new(HoldReason {
        machine_type: "e2".into(),
        region: "r".into(),
        class: "stockout",
        retry_seconds: 3,
    });
    let all = [
        Reason::Creating(placement.clone()),
        Reason::Booting {
            machine: name(1, 1),
            placement,
        },
        quota(8),
        Reason::Held { hold, line: 1 },
        slot(),
        Reason::Cordoned,
        Reason::Unowned("r".into()),
        Reason::Paused("gust".into()),
        Reason::HeldByBuildkite("limited".into()),
        Reason::Replacing(name(1, 1)),
    ];
    for reason in all {
        let told = super::super::reasons::kind_told(&reason.to_string());
        assert_eq!(told, Some(reason.kind()), "{reason}");
    }
    assert_eq!(
        super::super::reasons::kind_told("machine m up after 2 s, agent starting"),
        None
    );
}
