//! Who calls, seen by the network; who leads and owns, seen by etcd; and what Buildkite says, unheeded.

use std::time::Duration;

use gust_core::{
    ids::{Shard, Term},
    reason::Reason,
    records::{Call, JobPhase},
};
use serde_json::{Value, json};

use super::{
    super::{super::run, Checker, HostEvent, Invariant, Picture},
    history::{Told, commit, event, expect},
    world::{self, id, job_record},
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tell(checker: &mut Checker, seconds: u64, told: Told) {
    match told {
        Told::Event(event) => checker.event(at(seconds), &event),
        Told::Commit(commit) => checker.commit(at(seconds), &commit),
        Told::Fault(fault) => checker.fault(at(seconds), &fault),
    }
}

fn broken(checker: &Checker) -> Option<(Invariant, &str)> {
    let violation = checker.violation()?;
    Some((violation.invariant, violation.what.as_str()))
}

#[test]
fn only_the_leader_calls_buildkite() {
    let mut checker = Checker::new(expect());
    tell(&mut checker, 1, commit(0, 5, &[("leader", json!("a"))]));
    checker.calls_buildkite(at(2), "a", "list");
    assert_eq!(broken(&checker), None);
    tell(&mut checker, 3, commit(0, 6, &[("leader", Value::Null)]));
    checker.calls_buildkite(at(4), "a", "list");
    let what = "a calls Buildkite (list) while nobody leads";
    assert_eq!(broken(&checker), Some((Invariant::Terms, what)));
}

#[test]
fn only_the_owner_of_a_shard_calls_google_there() {
    let mut checker = Checker::new(expect());
    let shard = Shard {
        project: "p".into(),
        region: "r1".into(),
    };
    tell(&mut checker, 1, commit(0, 5, &[("shards/p/r1", json!("a"))]));
    checker.calls_google(at(2), "a", &shard, "create");
    assert_eq!(broken(&checker), None);
    checker.calls_google(at(3), "b", &shard, "create");
    let what = "b calls Google (create) for p/r1 while a owns it";
    assert_eq!(broken(&checker), Some((Invariant::Terms, what)));
}

#[test]
fn no_worker_goes_back_to_an_older_term_in_one_life() {
    let mut checker = Checker::new(expect());
    checker.followed(at(1), 0, 1, 3);
    // Told late, and earlier all the same.
    checker.followed(at(2), 0, 3, 9);
    checker.followed(at(3), 0, 2, 3);
    checker.host(at(4), 0, HostEvent::Crashed);
    checker.host(at(5), 0, HostEvent::Started);
    checker.followed(at(6), 0, 4, 3);
    checker.followed(at(7), 1, 5, 2);
    assert_eq!(broken(&checker), None);
    checker.followed(at(8), 0, 6, 2);
    let what = "the worker of replica 0 follows term 2 after it followed term 3";
    assert_eq!(broken(&checker), Some((Invariant::Terms, what)));
}

#[test]
fn who_ends_as_it_was_asked_to_gives_up_the_lead() {
    let mut checker = Checker::new(expect());
    checker.replica_ended(at(1), 0, false);
    assert_eq!(broken(&checker), None);
    checker.replica_ended(at(2), 1, true);
    let what = "replica 1 ended as it was asked to, and kept the lead to itself";
    assert_eq!(broken(&checker), Some((Invariant::Terms, what)));
}

/// What a checker says of a batch that is recorded in term 1, after replica 1 took its shard in term `took` and made
/// these calls.
fn made_blindly(took: u64, calls: &[&str]) -> Option<String> {
    let mut checker = Checker::new(expect());
    let shard = world::shape().shard();
    let key = format!("shards/{shard}");
    tell(&mut checker, 0, commit(0, 1, &[("leader", json!("a"))]));
    checker.followed(at(1), 1, 1, took);
    let owner = run::name_of(1);
    tell(&mut checker, 1, commit(0, 2, &[(&key, json!(owner.as_str()))]));
    for call in calls {
        checker.calls_google(at(2), owner.as_str(), &shard, call);
    }
    let (job, record) = job_record(1, 0, JobPhase::Booked);
    tell(&mut checker, 3, commit(1, 3, &[(&job, record)]));
    let (batch, record) = world::batch(&[(1, 1)], Call::Bulk);
    tell(&mut checker, 3, commit(1, 4, &[(&batch, record)]));
    broken(&checker).map(|(_, what)| what.to_owned())
}

#[test]
fn nothing_new_is_made_in_a_shard_before_its_new_owner_has_looked_at_it() {
    assert_eq!(made_blindly(1, &["list", "quotas"]), None);
    let kept_from_an_earlier_term = made_blindly(0, &[]);
    assert_eq!(kept_from_an_earlier_term, None);
    for calls in [&["list"][..], &["quotas", "delete"], &[]] {
        let what = made_blindly(1, calls).expect("it is noticed");
        assert!(
            what.ends_with("which took it in this term, has looked at it"),
            "{what}"
        );
    }
}

/// A job that is booked, known to a leader that decides, and now in this state in Buildkite.
fn unheeded(state: &str) -> Checker {
    let mut checker = Checker::new(expect());
    let job = id(1).to_string();
    let made = json!({"job": job, "rules": ["queue=gust"]});
    tell(&mut checker, 0, commit(0, 1, &[("leader", json!("a"))]));
    tell(&mut checker, 1, event("job.created", made));
    let changed = |to: &str| event("job.state", json!({"job": job, "to": to}));
    tell(&mut checker, 1, changed("reserved"));
    let (key, record) = job_record(1, 0, JobPhase::Booked);
    tell(&mut checker, 2, commit(1, 2, &[(key.as_str(), record)]));
    let reason = Reason::Unowned("r1".into());
    let picture = Picture {
        term: Term(1),
        decides: true,
        waiting: vec![(world::job(1), reason.clone())],
        ..Picture::default()
    };
    checker.host(at(2), 0, HostEvent::Started);
    checker.picture(at(2), 0, &picture);
    let note = json!({"job": job, "detail": reason.to_string()});
    tell(&mut checker, 3, event("job.notified", note));
    tell(&mut checker, 150, changed(state));
    checker
}

#[test]
fn a_reservation_that_is_gone_is_renewed() {
    let mut checker = unheeded("scheduled");
    let back = json!({"job": id(1).to_string(), "to": "reserved"});
    tell(&mut checker, 160, event("job.state", back));
    checker.quiet(at(1000));
    assert_eq!(broken(&checker), None);
}

#[test]
fn a_job_that_is_over_or_reserved_for_nobody_is_not_waited_for() {
    for (state, invariant, words) in [
        ("scheduled", Invariant::Lost, "is reserved for nobody since 150s"),
        (
            "canceled",
            Invariant::Liveness,
            "is over, and still waited for since 150s",
        ),
    ] {
        let mut checker = unheeded(state);
        checker.quiet(at(1000));
        let (found, what) = broken(&checker).expect("it is caught");
        assert!(what.ends_with(words) && found == invariant, "{found}: {what}");
    }
}
