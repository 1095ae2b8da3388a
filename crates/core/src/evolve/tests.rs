//! Facts told twice, late or in part; what becomes of machines and failures.

mod preempted;
mod spent;

use super::{done, gone, record, refused, seen_at, settled};
use crate::{
    decide::{
        Action,
        tests::{
            events::{self, STOCKOUT, created},
            world::{World, job},
        },
    },
    ids::MachineName,
    ports::{CommitPhase, Instance, InstanceStatus, JobState, MemberFate, RefusalClass},
    records::{Change, DeleteCause, KeyHash, MachinePhase, Outcome},
};

/// Two jobs in one batch, and that batch.
fn two() -> (World, crate::ids::BatchId) {
    let mut world = World::small();
    world.job(1, "small");
    world.job(2, "small");
    world.pass();
    let batch = world.batch_of("m1.1");
    (world, batch)
}

fn fates(world: &World, fates: &[(&str, MemberFate)]) -> Vec<(MachineName, MemberFate)> {
    fates
        .iter()
        .map(|(name, fate)| (world.name(name), fate.clone()))
        .collect()
}

fn delete(world: &mut World, machine: &str, cause: DeleteCause) {
    let action = Action::Delete {
        machine: world.name(machine),
        cause,
        found: None,
    };
    let step = record(&world.book, &action, world.now).expect("not deleted yet");
    world.step(step);
}

fn phase(world: &World, machine: &str) -> &'static str {
    match world
        .book
        .machines()
        .get(&world.name(machine))
        .map(|machine| &machine.phase)
    {
        None => "none",
        Some(MachinePhase::Booting) => "booting",
        Some(MachinePhase::Claimed(_)) => "claimed",
        Some(MachinePhase::Deleting { .. }) => "deleting",
    }
}

#[test]
fn a_batch_settled_twice_changes_nothing_the_second_time() {
    let (mut world, batch) = two();
    let report = fates(
        &world,
        &[("m1.1", created("r1-a")), ("m2.1", events::refused(STOCKOUT))],
    );
    let settlement = settled(&world.book, batch, &report, world.now).expect("an open batch");
    assert_eq!(settlement.step.phase, CommitPhase::Resolved);
    assert_eq!(settlement.outcomes.refusals.len(), 1);
    assert_eq!(
        settlement
            .outcomes
            .made_in
            .iter()
            .map(|(zone, _)| zone.as_str())
            .collect::<Vec<_>>(),
        ["r1-a"]
    );
    world.step(settlement.step);
    assert_eq!(settled(&world.book, batch, &report, world.now), None);
    assert_eq!(refused(&world.book, batch, &STOCKOUT, "late", world.now), None);
    assert_eq!(
        (phase(&world, "m1.1"), phase(&world, "m2.1")),
        ("booting", "none")
    );
    assert!(world.book.batches().is_empty());
}

#[test]
fn a_report_with_holes_is_no_report() {
    let (world, batch) = two();
    let report = fates(&world, &[("m1.1", created("r1-a")), ("m9.1", created("r1-a"))]);
    assert_eq!(settled(&world.book, batch, &report, world.now), None);
    assert_eq!(settled(&world.book, batch, &[], world.now), None);
}

#[test]
fn a_refused_batch_ends_every_attempt() {
    let (mut world, batch) = two();
    let settlement =
        refused(&world.book, batch, &RefusalClass::Broken, "bad body", world.now).expect("an open batch");
    world.step(settlement.step);
    assert!(settlement.outcomes.refusals.is_empty() && settlement.delete.is_empty());
    for n in [1, 2] {
        assert_eq!(world.book.jobs()[&job(n)].attempts, 1);
        assert_eq!(world.failures(n), [0, 0, 0, 1]);
    }
    assert!(world.book.footprints().is_empty());
}

#[test]
fn a_job_that_ended_meanwhile_is_not_brought_back_by_its_machines_fate() {
    let (mut world, batch) = two();
    world.state(1, JobState::Canceled);
    world.pass();
    assert_eq!(world.phase(1), "none");
    world.settle(batch, |_| events::refused(RefusalClass::Denied));
    assert_eq!(world.phase(1), "none");
    assert!(gone(&world.book, &world.name("m1.1"), world.now).is_none());
}

#[test]
fn a_machine_being_deleted_while_its_batch_settles_keeps_being_deleted() {
    let (mut world, batch) = two();
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    // The worker does not find it: not yet born, or gone before its time. Only the batch can tell.
    assert!(!world.gone("m1.1"));
    assert_eq!(phase(&world, "m1.1"), "deleting");
    assert_eq!(world.settle(batch, |_| created("r1-b")), ["m1.1"]);
    assert_eq!(phase(&world, "m1.1"), "deleting");
    let machine = &world.book.machines()[&world.name("m1.1")];
    assert_eq!(
        (machine.zone.as_ref().map(|z| z.as_str()), machine.instance_id),
        (Some("r1-b"), Some(77))
    );
    assert!(world.gone("m1.1"));
    assert_eq!(phase(&world, "m1.1"), "none");
    assert_eq!(
        world.book.footprints().values().sum::<u64>(),
        1,
        "the other one still counts"
    );
}

#[test]
fn a_machine_being_deleted_that_was_never_made_is_gone_with_its_batch() {
    let (mut world, batch) = two();
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    assert!(world.settle(batch, |_| events::refused(STOCKOUT)).is_empty());
    assert_eq!(phase(&world, "m1.1"), "none");
    assert_eq!(world.book.jobs()[&job(1)].attempts, 1);
    assert!(world.book.footprints().is_empty());
}

#[test]
fn a_machine_that_claimed_before_its_batch_settled_stays_claimed() {
    let (mut world, batch) = two();
    assert_eq!(world.claim("m1.1", "k"), "job 1");
    assert!(world.settle(batch, |_| created("r1-a")).is_empty());
    assert_eq!(phase(&world, "m1.1"), "claimed");
    assert_eq!(world.phase(1), "claimed");
}

#[test]
fn a_claimed_machine_is_not_forgotten_because_its_call_is_said_to_have_failed() {
    let (mut world, batch) = two();
    world.claim("m1.1", "k");
    world.claim("m2.1", "k2");
    assert!(world.done("m2.1", "k2"));
    let again = world.settle(batch, |_| events::refused(RefusalClass::Denied));
    assert_eq!(again, ["m2.1"], "it may be there or not: deleting it tells");
    assert_eq!(
        (phase(&world, "m1.1"), phase(&world, "m2.1")),
        ("claimed", "deleting")
    );
    assert_eq!((world.failures(1), world.failures(2)), ([0; 4], [0; 4]));
    assert!(world.memory == Default::default());
    assert!(
        world.gone("m1.1") && world.gone("m2.1"),
        "the batch is out of the way"
    );
}

#[test]
fn a_machine_gone_is_told_of_once() {
    let (mut world, batch) = two();
    world.settle(batch, |_| created("r1-a"));
    assert!(world.gone("m1.1"));
    assert!(!world.gone("m1.1"));
    assert!(!world.gone("m7.7"));
    assert_eq!(world.failures(1), [0, 0, 1, 0]);
    assert_eq!(world.book.jobs()[&job(1)].attempts, 1);
}

#[test]
fn an_older_machine_that_goes_last_takes_no_attempt_back() {
    let (mut world, batch) = two();
    world.settle(batch, |_| created("r1-a"));
    delete(&mut world, "m1.1", DeleteCause::BootTimeout);
    world.pass();
    world.all_created();
    assert!(world.gone("m1.2") && world.gone("m1.1"));
    assert_eq!(world.book.jobs()[&job(1)].attempts, 2);
    assert_eq!(world.pass()[0], "create small in r1-a: m1.3");
}

#[test]
fn a_failure_is_counted_under_its_cause() {
    let after = |claimed: bool, cause: Option<DeleteCause>| {
        let (mut world, batch) = two();
        world.settle(batch, |_| created("r1-a"));
        if claimed {
            world.claim("m1.1", "k");
        }
        if let Some(cause) = cause {
            delete(&mut world, "m1.1", cause);
        }
        assert!(world.gone("m1.1"));
        world.failures(1)
    };
    use DeleteCause::{AcquireTimeout, BootTimeout, Done, JobEnded, NoJob, Overdue, Stopped};
    assert_eq!(after(false, None), [0, 0, 1, 0]);
    assert_eq!(after(false, Some(BootTimeout)), [1, 0, 0, 0]);
    assert_eq!(after(false, Some(Stopped)), [1, 0, 0, 0]);
    assert_eq!(after(false, Some(NoJob)), [0; 4]);
    assert_eq!(after(true, None), [0, 0, 1, 0]);
    assert_eq!(after(true, Some(Stopped)), [0, 0, 1, 0]);
    assert_eq!(after(true, Some(AcquireTimeout)), [0, 1, 0, 0]);
    assert_eq!(after(true, Some(Done)), [0, 1, 0, 0]);
    assert_eq!(after(true, Some(JobEnded)), [0; 4]);
    assert_eq!(after(true, Some(Overdue)), [0; 4]);
}

#[test]
fn a_failure_of_a_rebound_machine_counts_for_the_job_it_ran() {
    let (mut world, batch) = two();
    world.job_with(3, "small", |facts| facts.priority = 1);
    world.settle(batch, |_| created("r1-a"));
    assert_eq!(world.claim("m1.1", "k"), "job 3");
    assert!(world.gone("m1.1"));
    assert_eq!((world.failures(1), world.failures(3)), ([0; 4], [0, 0, 1, 0]));
}

#[test]
fn done_counts_only_from_the_machine_and_key_that_claimed() {
    let (mut world, batch) = two();
    world.settle(batch, |_| created("r1-a"));
    assert!(!world.done("m1.1", "k"), "not claimed");
    world.claim("m1.1", "k");
    let before = world.book.clone();
    assert!(!world.done("m1.1", "other"), "another key");
    assert!(!world.done("m2.1", "k"), "another machine");
    assert!(!world.done("m9.1", "k"), "no machine");
    assert_eq!(world.book, before);
    assert!(world.done("m1.1", "k"));
    assert!(!world.done("m1.1", "k"), "said twice");
    let machine = &world.book.machines()[&world.name("m1.1")];
    let MachinePhase::Deleting { cause, claim, .. } = &machine.phase else {
        panic!("being deleted")
    };
    assert_eq!(
        (cause, claim.as_ref().map(|claim| &claim.job)),
        (&DeleteCause::Done, Some(&job(1)))
    );
    assert!(done(&world.book, &world.name("m1.1"), &KeyHash("k".into()), world.now).is_none());
}

#[test]
fn a_deletion_is_recorded_once_and_keeps_its_first_cause() {
    let (mut world, _) = two();
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    let action = Action::Delete {
        machine: world.name("m1.1"),
        cause: DeleteCause::Stopped,
        found: None,
    };
    assert_eq!(record(&world.book, &action, world.now), None);
    let unknown = Action::Delete {
        machine: "nobody".into(),
        cause: DeleteCause::Unknown,
        found: None,
    };
    assert_eq!(
        record(&world.book, &unknown, world.now),
        None,
        "without a place there is nothing to delete"
    );
}

#[test]
fn a_job_is_booked_once() {
    let (world, _) = two();
    let facts = world.book.jobs()[&job(1)].facts.clone();
    let listed = crate::ports::ListedJob { id: job(1).id, facts };
    assert!(
        super::booked(&world.book, &"bk".into(), &[listed], world.now)
            .changes
            .is_empty()
    );
}

#[test]
fn what_is_exempt_needs_no_record() {
    let (world, _) = two();
    let finish = Action::Finish {
        job: job(1),
        detail: String::new(),
    };
    let renew = Action::Renew {
        source: "bk".into(),
        jobs: vec![job(1).id],
    };
    assert_eq!(record(&world.book, &finish, world.now), None);
    assert_eq!(record(&world.book, &renew, world.now), None);
    let close = Action::Close {
        job: job(9),
        outcome: Outcome::Ran,
    };
    assert_eq!(record(&world.book, &close, world.now), None, "closed already");
}

#[test]
fn a_closed_job_leaves_its_summary() {
    let (mut world, batch) = two();
    world.settle(batch, |_| created("r1-a"));
    world.wait(5);
    world.claim("m1.1", "k");
    world.wait(5);
    let close = Action::Close {
        job: job(1),
        outcome: Outcome::Ran,
    };
    let step = record(&world.book, &close, world.now).expect("a booked job");
    assert_eq!(step.phase, CommitPhase::Ended);
    let [Change::RemoveJob(removed), Change::PutHistory(history)] = &step.changes[..] else {
        panic!("removed and summed up: {step:?}")
    };
    assert_eq!(*removed, job(1));
    insta::assert_yaml_snapshot!(history);
}

#[test]
fn a_list_pins_what_the_record_lacks_and_nothing_else() {
    let instance = |world: &World, zone: &str, id| Instance {
        name: world.name("m1.1"),
        id,
        zone: zone.into(),
        status: InstanceStatus::Running,
        machine_type: "small".into(),
        created_at: None,
    };
    let place = |world: &World| {
        let machine = &world.book.machines()[&world.name("m1.1")];
        (
            machine.zone.as_ref().map(|zone| zone.to_string()),
            machine.instance_id,
        )
    };
    // A bulk call tells neither zone nor id beforehand.
    let (mut world, _) = two();
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    let step = seen_at(&world.book, &[instance(&world, "r1-b", 5)]).expect("neither is known");
    world.step(step);
    assert_eq!(seen_at(&world.book, &[instance(&world, "r1-a", 6)]), None);
    assert_eq!(place(&world), (Some("r1-b".into()), Some(5)));
    // A single one tells the zone.
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    let step = seen_at(&world.book, &[instance(&world, "r1-b", 5)]).expect("its id is not known");
    world.step(step);
    assert_eq!(place(&world), (Some("r1-a".into()), Some(5)));
}
