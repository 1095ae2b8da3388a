//! Which machines a job is covered by, and which must go.

use super::{
    events::{created, refused},
    world::World,
};
use crate::ports::{
    InstanceStatus::{Other, Running, Starting, Stopped, Stopping},
    JobState, RefusalClass,
};

/// Job 1 with a machine that exists.
fn booting() -> World {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world
}

/// Job 1 given to its machine.
fn claimed() -> World {
    let mut world = booting();
    assert_eq!(world.claim("m1.1", "k"), "job 1");
    world
}

#[test]
fn a_canceled_job_leaves_its_coming_machine_to_the_next_of_the_same_request() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.job(2, "small");
    world.state(1, JobState::Canceled);
    assert_eq!(world.pass(), ["close 1: canceled", "2: creating small in r1"]);
    world.all_created();
    assert_eq!(world.pass(), ["2: booting m1.1"]);
    assert_eq!(world.claim("m1.1", "k"), "job 2");
    assert!(world.pass().is_empty());
}

#[test]
fn a_canceled_job_without_a_successor_has_its_machine_deleted_while_it_is_being_made() {
    let mut world = World::small();
    world.kind("b", &[]);
    world.plan("b", &[("b", "r1")]);
    world.job(1, "small");
    world.pass();
    world.job(2, "b");
    world.state(1, JobState::Canceled);
    assert_eq!(
        world.pass(),
        [
            "close 1: canceled",
            "delete m1.1: no-job",
            "create b in r1-b: m2.1",
            "2: creating b in r1"
        ]
    );
    // A job of the same request comes too late for a machine whose right to claim is gone.
    world.job(3, "small");
    assert_eq!(world.pass()[0], "create small in r1-a: m3.1");
    let again = world.settle(world.batch_of("m1.1"), |_| created("r1-a"));
    assert_eq!(
        again,
        ["m1.1"],
        "now it exists, and its deletion is asked for again"
    );
    assert_eq!(world.pass(), ["2: creating b in r1", "3: creating small in r1"]);
}

#[test]
fn a_machine_serves_the_most_urgent_job_and_the_others_keep_one_each() {
    let mut world = World::small();
    world.settings.singles = 1;
    world.job(1, "small");
    world.job(2, "small");
    world.pass();
    world.job_with(3, "small", |facts| facts.priority = 9);
    world.job(4, "small");
    assert_eq!(
        world.pass()[..],
        [
            "create bulk small in r1: m3.1 m4.1",
            "3: creating small in r1",
            "1: creating small in r1",
            "2: creating small in r1",
            "4: creating small in r1",
        ]
    );
    world.settle(world.batch_of("m1.1"), |_| created("r1-a"));
    assert_eq!(world.claim("m1.1", "k"), "job 3");
    // Job 1 lost its machine and is covered by the one made for job 3.
    assert_eq!(
        world.pass(),
        [
            "1: creating small in r1",
            "2: booting m2.1",
            "4: creating small in r1"
        ]
    );
    assert_eq!(world.claim("m2.1", "k2"), "job 1");
    world.all_created();
    assert_eq!(world.claim("m3.1", "k3"), "job 2");
    assert_eq!(world.claim("m4.1", "k4"), "job 4");
    assert!(world.pass().is_empty());
}

#[test]
fn of_two_machines_made_for_one_job_one_is_kept() {
    let mut world = booting();
    let mut second = world.book.machines()[&world.name("m1.1")].clone();
    second.name = world.name("m1.2");
    let changes = vec![crate::records::Change::PutMachine(Box::new(second))];
    world.step(crate::evolve::Step {
        phase: crate::ports::CommitPhase::Resolved,
        changes,
    });
    assert_eq!(world.pass(), ["delete m1.2: no-job", "1: booting m1.1"]);
}

#[test]
fn a_refused_machine_is_made_anew_under_a_new_name() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    let class = RefusalClass::Quota {
        metric: "CPUS".into(),
        limit: None,
    };
    world.all_refused(&class);
    assert_eq!(world.pass(), ["1: held small in r1: quota, 31 s, line 1"]);
    world.wait(30);
    assert_eq!(
        world.pass(),
        ["create small in r1-b: m1.2", "1: creating small in r1"]
    );
    assert_eq!(world.failures(1), [0, 0, 0, 0], "what passes costs no patience");
}

/// Found by the simulation: a job that counted on a machine which the same pass retired was passed over.
#[test]
fn a_job_whose_machine_is_retired_comes_before_one_of_lower_rank() {
    let mut world = booting();
    world.wait(300);
    world.job(2, "small");
    assert_eq!(
        world.pass(),
        [
            "delete m1.1: boot-timeout",
            "create bulk small in r1: m1.2 m2.1",
            "1: creating small in r1",
            "2: creating small in r1"
        ]
    );
}

/// Found by the simulation: a clock that was set back made a claim of a moment ago look three minutes old.
#[test]
fn no_deadline_counts_from_before_the_term_began() {
    let mut world = claimed();
    world.wait(1000);
    world.began = world.now;
    world.state(1, JobState::Reserved);
    assert!(world.pass().is_empty(), "the claim was timed by another clock");
    world.wait(180);
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass(), ["delete m1.1: acquire-timeout"]);
}

/// While Buildkite issues no tokens, a machine asks again and again, and its agent begins only then.
#[test]
fn a_machine_that_waited_for_its_token_has_the_whole_time_to_take_its_job() {
    let mut world = claimed();
    world.wait(170);
    world.seen(1).asked_at = Some(world.now);
    world.wait(179);
    world.state(1, JobState::Reserved);
    assert!(world.pass().is_empty());
    world.wait(1);
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass(), ["delete m1.1: acquire-timeout"]);
}

#[test]
fn a_machine_that_never_claims_is_replaced() {
    let mut world = booting();
    world.wait(299);
    assert_eq!(world.pass(), ["1: booting m1.1"]);
    world.wait(1);
    assert_eq!(
        world.pass(),
        [
            "delete m1.1: boot-timeout",
            "create small in r1-b: m1.2",
            "1: creating small in r1"
        ]
    );
    assert!(
        world.claim("m1.1", "k").starts_with("no job"),
        "its right to claim is gone"
    );
    assert!(world.gone("m1.1"));
    assert_eq!(world.failures(1), [1, 0, 0, 0]);
    assert_eq!(world.pass(), ["1: creating small in r1"]);
}

#[test]
fn a_machine_whose_agent_never_takes_the_job_is_replaced() {
    let mut world = claimed();
    world.state(1, JobState::Reserved);
    world.wait(180);
    assert!(
        world.pass().is_empty(),
        "what was seen before the deadline says nothing about it"
    );
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass(), ["delete m1.1: acquire-timeout"]);
    assert_eq!(world.pass(), ["1: replacing m1.1"]);
    assert!(world.gone("m1.1"));
    world.state(1, JobState::Reserved);
    assert_eq!(world.pass(), ["rebook 1"]);
    assert_eq!(world.failures(1), [0, 1, 0, 0]);
}

#[test]
fn a_running_job_is_never_disturbed_by_a_deadline_of_waiting() {
    let mut world = claimed();
    world.state(1, JobState::Running);
    world.wait(3600);
    assert!(world.pass().is_empty());
}

#[test]
fn a_machine_past_its_own_limit_goes() {
    let mut world = claimed();
    world.state(1, JobState::Running);
    world.wait(3600 + 120);
    assert_eq!(world.pass(), ["delete m1.1: overdue"]);
    assert!(world.pass().is_empty());
}

#[test]
fn a_machine_that_powered_off_is_deleted_once_whatever_else_is_wrong_with_it() {
    let mut world = claimed();
    world.wait(4000);
    world.state(1, JobState::Reserved);
    world.list("r1", &[("m1.1", Stopped)]);
    assert_eq!(world.pass(), ["delete m1.1: stopped"]);
    assert_eq!(world.pass(), ["1: replacing m1.1"]);

    let mut world = booting();
    world.list("r1", &[("m1.1", Stopped)]);
    assert_eq!(
        world.pass(),
        [
            "delete m1.1: stopped",
            "create small in r1-b: m1.2",
            "1: creating small in r1"
        ]
    );
    assert!(world.gone("m1.1"));
    assert_eq!(world.failures(1), [1, 0, 0, 0]);
}

#[test]
fn a_machine_that_is_idle_and_stopped_is_deleted_once() {
    let mut world = booting();
    world.state(1, JobState::Canceled);
    world.list("r1", &[("m1.1", Stopped)]);
    assert_eq!(world.pass(), ["close 1: canceled", "delete m1.1: stopped"]);
    world.list("r1", &[("m1.1", Stopping)]);
    assert!(world.pass().is_empty());
}

#[test]
fn a_machine_in_any_other_state_is_left_alone() {
    for status in [Starting, Running, Stopping, Other] {
        let mut world = booting();
        world.list("r1", &[("m1.1", status)]);
        assert_eq!(world.pass(), ["1: booting m1.1"]);
    }
}

#[test]
fn a_listed_machine_without_a_record_is_deleted_if_it_is_ours() {
    let mut world = World::small();
    world.list(
        "r1",
        &[
            ("m9.4", Running),
            ("m8.1", Stopping),
            ("somebody-elses", Running),
            ("m7.1", Stopped),
        ],
    );
    assert_eq!(
        world.pass(),
        [
            "delete m7.1 found in r1-a: unknown",
            "delete m9.4 found in r1-a: unknown"
        ],
        "what stops is on its way out already"
    );
    assert!(
        world.book.footprints().is_empty(),
        "it counts among what others use"
    );
    world.list("r1", &[("m9.4", Running)]);
    assert!(world.pass().is_empty());
    assert!(world.gone("m9.4"));
}

#[test]
fn a_machine_of_a_call_under_way_is_no_stranger() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.list("r1", &[("m1.1", Running)]);
    assert_eq!(world.pass(), ["1: creating small in r1"]);
}

#[test]
fn a_machine_missing_from_a_list_is_looked_for_before_it_is_called_gone() {
    let mut world = booting();
    world.wait(20);
    world.list("r1", &[]);
    assert_eq!(world.pass(), ["1: booting m1.1"], "lists lag");
    world.wait(1);
    world.list("r1", &[]);
    assert_eq!(world.pass(), ["check m1.1 in r1-a", "1: booting m1.1"]);
    assert_eq!(world.pass(), ["1: booting m1.1"], "a list is looked at once");
    assert!(world.gone("m1.1"));
    assert_eq!(world.failures(1), [0, 0, 1, 0]);
    assert_eq!(
        world.pass(),
        ["create small in r1-b: m1.2", "1: creating small in r1"]
    );
}

#[test]
fn a_deleted_machine_of_which_nobody_tells_the_end_is_looked_for() {
    let mut world = booting();
    world.state(1, JobState::Canceled);
    world.list("r1", &[("m1.1", Stopped)]);
    assert_eq!(world.pass(), ["close 1: canceled", "delete m1.1: stopped"]);
    world.wait(600);
    world.list("r1", &[]);
    assert!(world.pass().is_empty(), "deletions take their time");
    world.wait(1);
    world.list("r1", &[("m1.1", Stopping)]);
    assert!(world.pass().is_empty(), "it is there yet");
    world.list("r1", &[]);
    assert_eq!(world.pass(), ["check m1.1 in r1-a"]);
    assert!(world.gone("m1.1"));
    assert!(world.pass().is_empty());
}

#[test]
fn names_go_on_through_settling_refusal_vanishing_and_rebooking() {
    let mut world = World::small();
    world.job(1, "small");
    let mut names = Vec::new();
    // Refused, gone unclaimed, gone claimed, deleted: World refuses a name that comes twice.
    let created = |lines: &[String]| -> Vec<String> {
        let created = lines.iter().filter_map(|line| line.strip_prefix("create "));
        created.map(str::to_owned).collect()
    };
    for round in 0..8 {
        names.extend(created(&world.pass()));
        match round % 4 {
            0 => world.all_refused(&RefusalClass::Internal),
            1 => {
                world.all_created();
                assert!(world.gone(&format!("m1.{}", world.named.len())));
            }
            2 => {
                world.all_created();
                let machine = format!("m1.{}", world.named.len());
                world.claim(&machine, "k");
                world.gone(&machine);
                world.state(1, JobState::Scheduled);
                assert_eq!(world.pass(), ["rebook 1"]);
            }
            _ => {
                world.all_created();
                world.wait(300);
                let lines = world.pass();
                assert!(
                    lines.iter().any(|line| line.ends_with("boot-timeout")),
                    "{lines:?}"
                );
                names.extend(created(&lines));
            }
        }
        world.wait(30);
    }
    assert_eq!(
        names,
        [
            "small in r1-a: m1.1",
            "small in r1-b: m1.2",
            "small in r1-a: m1.3",
            "small in r1-b: m1.4",
            "small in r1-a: m1.5",
            "small in r1-b: m1.6",
            "small in r1-a: m1.7",
            "small in r1-b: m1.8",
            "small in r1-a: m1.9",
        ]
    );
}

#[test]
fn a_batch_of_mixed_fates_leaves_each_job_with_its_own() {
    let mut world = World::small();
    for n in 1..=3 {
        world.job(n, "small");
    }
    world.pass();
    world.settle(world.batch_of("m1.1"), |name| match name {
        "m1.1" => created("r1-b"),
        "m2.1" => refused(RefusalClass::Broken),
        _ => refused(RefusalClass::Stockout {
            zone: Some("r1-a".into()),
        }),
    });
    assert_eq!(world.failures(2), [0, 0, 0, 1]);
    assert_eq!(world.failures(3), [0, 0, 0, 0]);
    assert_eq!(
        world.pass(),
        [
            "create bulk small in r1: m2.2 m3.2",
            "1: booting m1.1",
            "2: creating small in r1",
            "3: creating small in r1",
        ]
    );
}

#[test]
fn a_creation_that_nobody_settles_in_time_loses_its_right_and_its_job_is_placed_anew() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.wait(299);
    assert_eq!(world.pass(), ["1: creating small in r1"]);
    world.wait(1);
    let lines = world.pass();
    assert!(
        lines.contains(&"delete m1.1: create-timeout".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"create small in r1-b: m1.2".to_owned()),
        "{lines:?}"
    );
    assert_eq!(world.pass(), ["1: creating small in r1"]);
    // It was made after all: it has no right to claim, and goes.
    assert_eq!(world.claim("m1.1", "k"), "no job: this machine is being removed");
}

#[test]
fn a_machine_that_waited_out_a_pause_goes_without_costing_its_job_patience() {
    let mut world = booting();
    world.paused.insert(("bk".into(), "main".into()));
    world.wait(300);
    assert_eq!(world.pass(), ["delete m1.1: no-job", "1: paused main"]);
    assert!(world.gone("m1.1"));
    assert_eq!(world.failures(1), [0, 0, 0, 0]);
    world.paused.clear();
    assert_eq!(
        world.pass(),
        ["create small in r1-b: m1.2", "1: creating small in r1"]
    );
}
