//! Jobs from booking to their end, apart from where they are placed.

use super::world::{World, facts, job};
use crate::{
    ports::{JobState, ListedJob, RefusalClass},
    records::{Failures, JobPhase},
    snapshot::Backlog,
};

#[test]
fn a_listed_job_is_reserved_and_then_placed() {
    let mut world = World::small();
    let jobs = vec![ListedJob {
        id: job(1).id,
        facts: facts("small", world.now),
    }];
    world.backlog.insert("bk".into(), Backlog { jobs });
    assert_eq!(world.pass(), ["reserve 1"]);
    assert_eq!(
        world.pass(),
        ["create small in r1-a: m1.1", "1: creating small in r1"]
    );
    assert_eq!(world.pass(), ["1: creating small in r1"]);
}

#[test]
fn a_reservation_is_renewed_at_half_time_until_an_agent_has_the_job() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    let half = world.settings.reservation / 2;
    world.now = world.now.after(half);
    assert_eq!(world.pass(), ["renew 1", "1: booting m1.1"]);
    assert_eq!(world.pass(), ["1: booting m1.1"]);
    assert_eq!(world.claim("m1.1", "k"), "job 1");
    world.now = world.now.after(half);
    assert_eq!(world.pass(), ["renew 1"], "the token dies with the reservation");
    world.now = world.now.after(half);
    world.state(1, JobState::Accepted);
    assert!(world.pass().is_empty());
}

#[test]
fn an_unknown_reservation_is_renewed_at_once() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.seen(1).reserved_until = None;
    assert_eq!(world.pass()[0], "renew 1");
}

#[test]
fn a_new_leader_places_a_job_whose_state_it_has_not_read_and_renews_it_once_it_has() {
    let mut world = World::small();
    world.job(1, "small");
    world.seen(1).state = None;
    world.seen(1).reserved_until = None;
    assert_eq!(
        world.pass(),
        ["create small in r1-a: m1.1", "1: creating small in r1"]
    );
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass()[0], "renew 1");
}

#[test]
fn a_job_that_another_stack_reserved_waits_and_its_machine_goes() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world.seen(1).reservation_lost = true;
    assert_eq!(
        world.pass(),
        ["delete m1.1: no-job", "1: held back, reserved by another stack"]
    );
    assert!(world.gone("m1.1"));
    world.wait(500);
    world.seen(1).reserved_until = None;
    assert_eq!(
        world.pass(),
        ["1: held back, reserved by another stack"],
        "it is not ours to renew"
    );
    // The other one lets go: it is ours again, and its names go on where they were.
    world.state(1, JobState::Scheduled);
    assert_eq!(
        world.pass(),
        ["renew 1", "create small in r1-b: m1.2", "1: creating small in r1"]
    );
}

#[test]
fn a_job_that_another_stack_runs_is_closed() {
    let mut world = World::small();
    world.job(1, "small");
    world.seen(1).reservation_lost = true;
    world.state(1, JobState::Running);
    assert_eq!(world.pass(), [r#"close 1: gone, "running""#]);
    assert!(world.pass().is_empty());
}

#[test]
fn a_job_held_back_by_buildkite_gets_no_machine() {
    for state in [
        JobState::Held("limited".into()),
        // A word of a later Buildkite: neither over, nor sure to run on a machine of ours.
        JobState::Unknown("hibernating".into()),
    ] {
        let mut world = World::small();
        world.job(1, "small");
        let held = format!("1: held back, {state}");
        world.state(1, state);
        assert_eq!(world.pass(), [held]);
        world.state(1, JobState::Scheduled);
        assert_eq!(
            world.pass(),
            ["create small in r1-a: m1.1", "1: creating small in r1"]
        );
    }
}

#[test]
fn a_job_over_before_its_machine_came_is_closed_as_what_it_was() {
    let mut world = World::small();
    for (n, state) in [
        (1, JobState::Canceled),
        (2, JobState::Over("expired".into())),
        (3, JobState::Finished),
    ] {
        world.job(n, "small");
        world.state(n, state);
    }
    world.job(4, "small");
    world.seen(4).missing = 2;
    assert_eq!(
        world.pass(),
        [
            "close 1: canceled",
            r#"close 2: gone, "expired""#,
            r#"close 3: gone, "finished""#,
            r#"close 4: gone, """#
        ]
    );
}

#[test]
fn one_answer_that_does_not_know_a_job_proves_nothing() {
    let mut world = World::small();
    world.job(1, "small");
    world.seen(1).missing = 1;
    assert_eq!(
        world.pass(),
        ["create small in r1-a: m1.1", "1: creating small in r1"]
    );
}

#[test]
fn an_impossible_request_is_refused_then_finished_once_then_closed() {
    let mut world = World::small();
    world.job(1, "nonsense");
    assert_eq!(world.pass(), ["refuse 1: no such plan"]);
    assert_eq!(world.phase(1), "refusing");
    assert!(
        world.pass().is_empty(),
        "the finish that followed the record is under way"
    );
    // A new leader knows only the record.
    world.seen(1).finishing = false;
    assert_eq!(world.pass(), ["finish 1: no such plan"]);
    assert!(world.pass().is_empty());
    world.state(1, JobState::Finished);
    assert_eq!(world.pass(), ["close 1: refused, no such plan"]);
    assert!(world.pass().is_empty());
}

#[test]
fn a_refusing_job_is_neither_renewed_nor_placed() {
    let mut world = World::small();
    world.job(1, "nonsense");
    world.pass();
    world.now = world.now.after(world.settings.reservation);
    assert!(world.pass().is_empty());
}

fn after(change: impl FnOnce(&mut Failures)) -> Vec<String> {
    let mut world = World::small();
    world.job(1, "small");
    let mut record = world.book.jobs()[&job(1)].clone();
    change(&mut record.failures);
    world.book.apply(&crate::records::Change::PutJob(record));
    world.pass()
}

#[test]
fn patience_ends_with_the_failures_of_one_cause() {
    assert_eq!(after(|f| f.boot = 2)[0], "create small in r1-a: m1.1");
    assert_eq!(
        after(|f| *f = Failures {
            boot: 2,
            acquire: 2,
            lost: 8,
            refused: 2
        })[0],
        "create small in r1-a: m1.1",
        "causes are not added up"
    );
    let refusals: Vec<String> = [
        after(|f| f.boot = 3),
        after(|f| f.acquire = 3),
        after(|f| f.refused = 3),
        after(|f| f.lost = 9),
    ]
    .concat();
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn a_permanent_refusal_by_google_finishes_the_job_after_some_tries() {
    let mut world = World::small();
    world.job(1, "small");
    for attempt in 1..=3 {
        assert_eq!(world.pass().len(), 2, "attempt {attempt}");
        world.all_refused(&RefusalClass::Denied);
        assert_eq!(world.failures(1), [0, 0, 0, attempt]);
    }
    let decision = world.pass();
    assert_eq!(decision.len(), 1);
    assert!(
        decision[0].starts_with("refuse 1: gust gave up: 3 machines were refused by Google"),
        "{decision:?}"
    );
    assert!(world.memory.holds.is_empty(), "nothing to wait for");
}

#[test]
fn a_run_ends_with_done_and_the_state_in_either_order() {
    for done_first in [true, false] {
        let mut world = World::small();
        world.job(1, "small");
        world.pass();
        world.all_created();
        assert_eq!(world.claim("m1.1", "k"), "job 1");
        world.state(1, JobState::Running);
        assert!(world.pass().is_empty());
        if done_first {
            assert!(world.done("m1.1", "k"));
            assert!(world.pass().is_empty());
            world.state(1, JobState::Finished);
        } else {
            world.state(1, JobState::Finished);
            assert!(world.pass().is_empty(), "done is on its way and tells more");
            assert!(world.done("m1.1", "k"));
        }
        assert_eq!(world.pass(), ["close 1: ran"]);
        assert!(world.gone("m1.1"));
        assert!(world.pass().is_empty());
        assert!(world.book.machines().is_empty() && world.book.footprints().is_empty());
    }
}

#[test]
fn a_machine_that_never_says_done_is_deleted_soon_after_its_job() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world.claim("m1.1", "k");
    world.state(1, JobState::Canceled);
    world.wait(9);
    assert!(world.pass().is_empty());
    world.wait(1);
    assert_eq!(world.pass(), ["close 1: canceled", "delete m1.1: job-ended"]);
    assert!(world.pass().is_empty());
}

#[test]
fn a_job_whose_machine_vanished_waits_until_its_state_is_known_and_then_again() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world.claim("m1.1", "k");
    world.state(1, JobState::Reserved);
    assert!(world.gone("m1.1"));
    assert!(world.pass().is_empty(), "it may have run");
    world.state(1, JobState::Scheduled);
    assert_eq!(world.pass(), ["rebook 1"]);
    assert_eq!(world.failures(1), [0, 0, 1, 0]);
    assert_eq!(
        world.pass(),
        ["create small in r1-b: m1.2", "1: creating small in r1"]
    );
    assert_eq!(world.phase(1), "booked");
}

#[test]
fn a_running_job_whose_machine_vanished_is_left_to_buildkite() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world.claim("m1.1", "k");
    assert!(world.gone("m1.1"));
    world.state(1, JobState::Running);
    assert!(world.pass().is_empty());
    world.state(1, JobState::Over("timed_out".into()));
    assert_eq!(world.pass(), [r#"close 1: gone, "timed_out""#]);
}

#[test]
fn a_job_is_not_given_a_second_machine_before_the_first_is_gone() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world.claim("m1.1", "k");
    assert!(world.done("m1.1", "k"));
    world.state(1, JobState::Reserved);
    assert_eq!(
        world.pass(),
        ["1: replacing m1.1"],
        "its agent never took the job"
    );
    assert!(world.gone("m1.1"));
    assert_eq!(world.failures(1), [0, 1, 0, 0]);
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass(), ["rebook 1"]);
    let JobPhase::Booked = world.book.jobs()[&job(1)].phase else {
        panic!("booked again")
    };
}
