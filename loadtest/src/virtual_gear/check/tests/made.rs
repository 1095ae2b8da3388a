//! Histories made by hand, where the real one has nothing to spoil.

use std::time::Duration;

use gust_core::{
    ids::BatchId,
    records::{Call, JobPhase},
};
use serde_json::{Value, json};

use super::{
    super::{Checker, Invariant, Met, Subject, seen::JobIx},
    history::{Told, event, expect},
    world::{Tale, batch, claimed, id, job_record, machine_record, name},
};

fn zone() -> Call {
    Call::Insert {
        zone: "us-central1-a".into(),
    }
}

#[track_caller]
fn caught(tale: &Tale, invariant: Invariant, words: &str) {
    let violation = tale.history.play().violation.expect("it is caught");
    assert_eq!(violation.invariant, invariant, "{violation}");
    assert!(violation.what.contains(words), "{violation}");
}

fn fault(kind: &'static str, subject: Subject) -> Told {
    Told::Fault(Met {
        kind,
        subject,
        note: String::new(),
    })
}

/// A job that ran, whose machine is still there.
fn ran() -> Tale {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).runs(1, 1).ends(1);
    tale
}

#[test]
fn a_made_history_passes() {
    let mut tale = ran();
    tale.removed(1, 1).closed(1);
    assert_eq!(tale.history.play().violation, None);
}

#[test]
fn a_second_machine_that_claims_while_the_first_still_holds_is_caught() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).registers(1, 1);
    let second = (machine_record(1, 2, claimed(1)), batch(&[(1, 2)], zone()));
    tale.commit(&[second.1]);
    caught(&tale, Invariant::Holders, "neither gone nor revoked");
    tale.history.told.pop();
    tale.commit(&[second.0]);
    caught(&tale, Invariant::Holders, "still has it");
}

#[test]
fn a_second_machine_after_the_first_was_revoked_is_counted_only() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).registers(1, 1);
    tale.removed(1, 1).commit(&[job_record(1, 0, JobPhase::Booked)]);
    tale.up(1, 2)
        .claims(1, 2)
        .runs(1, 2)
        .ends(1)
        .removed(1, 2)
        .closed(1);
    let verdict = tale.history.play();
    assert_eq!(verdict.violation, None);
    assert_eq!((verdict.counts.second_machines, verdict.counts.reissued), (1, 1));
}

#[test]
fn a_second_machine_while_the_first_is_asked_for_is_caught() {
    let mut tale = Tale::begin();
    tale.booked(1, 0)
        .intended(&[(1, 1)], zone())
        .intended(&[(1, 2)], zone());
    caught(&tale, Invariant::Holders, "neither gone nor revoked");
}

#[test]
fn a_stranger_with_a_token_is_caught() {
    let mut checker = Checker::new(expect());
    checker.stranger(Duration::ZERO, "gust-x-1", false);
    assert_eq!(checker.violation(), None);
    checker.stranger(Duration::ZERO, "gust-x-1", true);
    let found = checker.violation().map(|violation| violation.invariant);
    assert_eq!(found, Some(Invariant::Holders));
}

#[test]
fn a_machine_that_runs_on_after_its_job_is_caught_unless_faults_are_about() {
    let mut tale = ran();
    tale.after(16).removed(1, 1).closed(1);
    caught(&tale, Invariant::Leak, "still runs");
    tale.history
        .told
        .insert(0, (Duration::ZERO, fault("etcd-gone", Subject::World)));
    assert_eq!(tale.history.play().violation, None);
}

#[test]
fn a_machine_that_lives_without_a_record_is_caught_after_its_bound() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).intended(&[(1, 1)], zone());
    let batch = format!("batches/{}", BatchId::of(&name(1, 1)));
    tale.commit(&[(batch, Value::Null)]).inserted(1, 1);
    assert_eq!(tale.history.play().counts.strays, 1);
    let mut checker = Checker::new(expect());
    checker.host(Duration::ZERO, 0, super::super::HostEvent::Started);
    for (at, told) in &tale.history.told {
        match told {
            Told::Event(event) => checker.event(*at, event),
            Told::Commit(commit) => checker.commit(*at, commit),
            _ => {}
        }
    }
    checker.quiet(Duration::from_secs(299));
    assert_eq!(checker.violation(), None);
    checker.quiet(Duration::from_secs(301));
    let found = checker.violation().map(|violation| violation.invariant);
    assert_eq!(found, Some(Invariant::Leak));
}

#[test]
fn too_many_bulk_operations_are_caught() {
    let mut tale = Tale::begin();
    for n in 0..11 {
        tale.tell(event(
            "operation.state",
            json!({"operation": format!("o{n}"), "method": "compute.regionInstances.bulkInsert", "to": "PENDING"}),
        ));
        tale.after(1);
    }
    caught(&tale, Invariant::Quota, "11 bulk operations");
}

#[test]
fn too_many_bulk_batches_are_caught() {
    let mut tale = Tale::begin();
    for n in 0..11 {
        tale.booked(n, 0).intended(&[(n, 1)], Call::Bulk);
    }
    caught(&tale, Invariant::Quota, "11 bulk batches");
}

#[test]
fn a_job_of_lower_priority_that_goes_first_is_caught() {
    let mut tale = Tale::begin();
    tale.booked(1, 0)
        .booked(2, 5)
        .intended(&[(1, 1)], zone())
        .after(3)
        .booked(3, 0);
    caught(&tale, Invariant::Rank, "of priority 0 gets a machine");
}

#[test]
fn a_job_booked_in_the_same_transaction_or_served_in_it_is_not_passed_over() {
    let mut together = Tale::begin();
    together.booked(1, 0);
    together.tell(event("job.created", json!({"job": id(2), "rules": ["cpu=2"]})));
    together.state(2, "scheduled").state(2, "reserved");
    together.commit(&[job_record(2, 5, JobPhase::Booked), batch(&[(1, 1)], zone())]);
    let mut both = Tale::begin();
    both.booked(1, 0).booked(2, 5).intended(&[(1, 1), (2, 1)], zone());
    for tale in [together, both] {
        let found = tale.history.play().violation.map(|violation| violation.invariant);
        assert_ne!(found, Some(Invariant::Rank));
    }
}

#[test]
fn a_job_served_by_anothers_machine_is_not_passed_over() {
    let mut tale = Tale::begin();
    // Job 3 is cancelled while its machine boots: the machine is for job 2 now.
    tale.booked(3, 0).up(3, 1).booked(1, 0).booked(2, 5);
    tale.state(3, "canceled").closed(3).intended(&[(1, 1)], zone());
    let found = tale.history.play().violation.map(|violation| violation.invariant);
    assert_ne!(found, Some(Invariant::Rank));
}

#[test]
fn a_machine_whose_job_is_over_serves_before_the_record_is_gone() {
    let mut tale = Tale::begin();
    tale.booked(3, 0).up(3, 1).booked(1, 0).booked(2, 5);
    tale.state(3, "canceled").intended(&[(1, 1)], zone());
    let found = tale.history.play().violation.map(|violation| violation.invariant);
    assert_ne!(found, Some(Invariant::Rank));
}

#[test]
fn a_running_job_that_is_disturbed_is_caught() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).runs(1, 1).removed(1, 1);
    caught(&tale, Invariant::Running, "was told to delete while job");
}

#[test]
fn a_frozen_machine_may_be_deleted() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).up(1, 1).claims(1, 1).runs(1, 1);
    let machine = name(1, 1);
    tale.tell(event(
        "guest.state",
        json!({"name": machine.as_str(), "to": "frozen"}),
    ));
    tale.removed(1, 1).ends(1).closed(1);
    assert_eq!(tale.history.play().violation, None);
}

#[test]
fn a_fault_meets_the_states_that_are_there() {
    let mut tale = Tale::begin();
    tale.booked(1, 0)
        .up(2, 1)
        .booked(3, 0)
        .intended(&[(3, 1)], zone());
    let mut checker = Checker::new(expect());
    for (at, told) in &tale.history.told {
        match told {
            Told::Event(event) => checker.event(*at, event),
            Told::Commit(commit) => checker.commit(*at, commit),
            _ => {}
        }
    }
    let met = |kind, subject| Met {
        kind,
        subject,
        note: String::new(),
    };
    checker.fault(Duration::ZERO, &met("job-cancel", Subject::Job(id(1))));
    checker.fault(Duration::ZERO, &met("job-cancel", Subject::Job(id(9))));
    checker.fault(
        Duration::ZERO,
        &met("preempted", Subject::Machine(name(2, 1).to_string())),
    );
    checker.fault(Duration::ZERO, &met("etcd-gone", Subject::World));
    let pairs: Vec<String> = checker.cover().met().keys().map(ToString::to_string).collect();
    insta::assert_snapshot!(pairs.join("\n"));
}

#[test]
fn the_mirror_keeps_count_of_who_waits_uncovered() {
    let mut tale = Tale::begin();
    tale.booked(1, 0).booked(2, 5).up(1, 1);
    let mut checker = Checker::new(expect());
    for (at, told) in &tale.history.told {
        match told {
            Told::Event(event) => checker.event(*at, event),
            Told::Commit(commit) => checker.commit(*at, commit),
            _ => {}
        }
    }
    let uncovered: Vec<JobIx> = checker
        .store
        .uncovered
        .values()
        .flatten()
        .map(|(_, job)| *job)
        .collect();
    let second = checker.seen.job(id(2));
    assert_eq!(uncovered, [second]);
    // The job's own machine is revoked: it waits uncovered again, behind the more urgent one.
    checker.commit(
        tale.now,
        &super::super::Committed {
            replica: Some("a".into()),
            term: 1,
            revision: 77,
            writes: vec![{
                let (key, value) = machine_record(1, 1, super::world::deleting());
                (key, Some(serde_json::to_vec(&value).expect("writable").into()))
            }],
        },
    );
    let uncovered: Vec<JobIx> = checker
        .store
        .uncovered
        .values()
        .flatten()
        .map(|(_, job)| *job)
        .collect();
    assert_eq!(uncovered, [second, checker.seen.job(id(1))]);
}
