//! A job that leaves and comes back: its machines' names are never used again.

use super::{delete, two};
use crate::{
    decide::{
        Action,
        tests::{
            events::created,
            world::{World, job},
        },
    },
    evolve::{gone, record},
    ports::JobState,
    records::{Change, DeleteCause, Outcome},
};

fn gone_from_buildkite() -> Outcome {
    Outcome::Gone { state: String::new() }
}

fn closed(world: &World, outcome: Outcome) -> Vec<Change> {
    let close = Action::Close { job: job(1), outcome };
    record(&world.book, &close, world.now)
        .expect("a booked job")
        .changes
}

fn step_of(world: &mut World, changes: &[Change]) {
    for change in changes {
        world.book.apply(change);
    }
}

#[test]
fn attempts_go_on_where_they_were_when_a_job_comes_back() {
    let (mut world, batch) = two();
    world.settle(batch, |_| created("r1-a"));
    let changes = closed(&world, gone_from_buildkite());
    let [
        Change::PutSpent(spent),
        Change::RemoveJob(_),
        Change::PutHistory(_),
    ] = &changes[..]
    else {
        panic!("kept before the job is removed: {changes:?}")
    };
    assert_eq!((&spent.job, spent.attempts), (&job(1), 1));
    step_of(&mut world, &changes);
    delete(&mut world, "m1.1", DeleteCause::NoJob);
    let removed = gone(&world.book, &world.name("m1.1"), world.now).expect("a machine");
    world.step(removed);

    world.job(1, "small");
    assert_eq!(world.book.jobs()[&job(1)].attempts, 1);
    assert!(!world.book.spent().knows(&job(1)), "its record counts again");
    world.pass();
    assert!(world.book.batch_of(&world.name("m1.2")).is_some());
    assert!(world.book.batch_of(&world.name("m1.1")).is_none());
}

#[test]
fn nothing_is_kept_of_a_job_that_had_no_machine_or_was_seen_at_its_end() {
    let mut world = World::small();
    world.job(1, "small");
    let kept = |changes: &[Change]| changes.iter().any(|change| matches!(change, Change::PutSpent(_)));
    assert!(
        !kept(&closed(&world, gone_from_buildkite())),
        "no machine was asked for"
    );
    world.pass();
    let refused = Outcome::Refused {
        detail: "too big".into(),
    };
    assert!(kept(&closed(&world, refused)), "nobody has seen its end");
    assert!(!kept(&closed(&world, Outcome::Ran)));
    assert!(!kept(&closed(&world, Outcome::Canceled)));
    let taken = Outcome::Gone {
        state: JobState::Accepted.to_string(),
    };
    assert!(kept(&closed(&world, taken)), "who took it may lose it");
}
