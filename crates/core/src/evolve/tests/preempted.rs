//! Spot machines that Google takes back while their jobs run, and the jobs that run in their place.

use crate::{
    decide::tests::world::{World, job},
    evolve::{asked_again, reclaimed, retried},
    ids::JobId,
    ports::JobState,
    records::{KeyHash, Preempted},
};

/// Job 1 runs on a Spot machine for a minute.
fn running(kind: &str) -> World {
    let mut world = World::default();
    world.kind(kind, &[("CPUS", 1)]);
    world.plan(kind, &[(kind, "r1")]);
    world.job(1, kind);
    world.pass();
    world.all_created();
    world.wait(30);
    assert_eq!(world.claim("m1.1", "k"), "job 1");
    world.state(1, JobState::Running);
    world.wait(60);
    world
}

fn preempted(world: &World, n: u128) -> Option<Preempted> {
    world.book.jobs()[&job(n)].preemption.preempted.clone()
}

/// Books a job that became runnable so long after the world's beginning.
fn listed(world: &mut World, n: u128, runnable_s: i64) -> Option<JobId> {
    world.job_with(n, "spot", |facts| {
        facts.runnable_at.0 += (runnable_s - i64::try_from(n).unwrap_or(0)) * 1000;
    });
    world.book.jobs()[&job(n)].preemption.retry_of
}

#[test]
fn a_guest_that_is_told_says_so_once_and_nobody_else_does() {
    let mut world = running("spot");
    let says = |world: &World, key: &str| {
        reclaimed(&world.book, &world.name("m1.1"), &KeyHash(key.into()), world.now)
    };
    assert_eq!(says(&world, "another"), None);
    let step = says(&world, "k").expect("its own key");
    world.step(step);
    let found = preempted(&world, 1).expect("it was preempted");
    assert_eq!((found.after_ms, found.told, found.at), (60_000, true, world.now));
    assert_eq!(says(&world, "k"), None);
    assert_eq!(world.phase(1), "claimed", "it ends by itself");
}

#[test]
fn a_spot_machine_that_is_gone_while_its_job_runs_was_taken_back() {
    for (kind, after, is) in [
        ("spot", JobState::Running, true),
        ("spot", JobState::Finished, false),
        ("spot", JobState::Reserved, false),
        ("small", JobState::Running, false),
    ] {
        let mut world = running(kind);
        world.gone("m1.1");
        assert!(world.pass().is_empty(), "nothing was read since");
        world.state(1, after.clone());
        let said = world.pass();
        assert_eq!(
            said.contains(&"preempted 1".to_owned()),
            is,
            "{kind} {after} {said:?}"
        );
        if is {
            assert!(!preempted(&world, 1).expect("it was").told);
            assert!(world.pass().is_empty(), "once");
        } else if let Some(record) = world.book.jobs().get(&job(1)) {
            assert_eq!(record.preemption.preempted, None);
        }
    }
}

#[test]
fn the_job_that_runs_the_step_again_is_recognized_once_before_and_after_the_end() {
    for closed in [false, true] {
        let mut world = running("spot");
        world.gone("m1.1");
        world.state(1, JobState::Running);
        world.pass();
        if closed {
            world.wait(200);
            world.state(1, JobState::Finished);
            world.wait(60);
            world.pass();
            assert_eq!(world.phase(1), "none");
        }
        // Another job of the step that was there before, and one of another build.
        assert_eq!(listed(&mut world, 2, 2), None);
        world.job_with(3, "spot", |facts| {
            facts.build = 2;
            facts.runnable_at.0 += 300_000;
        });
        assert_eq!(world.book.jobs()[&job(3)].preemption.retry_of, None);
        assert_eq!(listed(&mut world, 4, 300), Some(job(1).id), "{closed}");
        assert_eq!(listed(&mut world, 5, 300), None, "one job runs it again");
        if !closed {
            assert_eq!(preempted(&world, 1).and_then(|it| it.retried_in), Some(job(4).id));
            world.state(1, JobState::Finished);
            world.wait(60);
            world.pass();
            assert!(!world.book.spent().knows(&job(1)), "nothing is awaited any more");
        }
    }
}

#[test]
fn buildkite_is_asked_once_and_what_it_tells_is_recognized_however_it_comes() {
    for booked_first in [false, true] {
        let mut world = running("spot");
        assert_eq!(
            asked_again(&world.book, &job(1), world.now),
            None,
            "it was not preempted"
        );
        let step = reclaimed(&world.book, &world.name("m1.1"), &KeyHash("k".into()), world.now);
        world.step(step.expect("its own key"));
        let step = asked_again(&world.book, &job(1), world.now).expect("not asked yet");
        world.step(step);
        assert_eq!(asked_again(&world.book, &job(1), world.now), None, "once");
        // Nothing but its id tells that it is the one.
        if booked_first {
            assert_eq!(listed(&mut world, 2, 2), None);
        }
        let step = retried(&world.book, &job(1), job(2).id).expect("the first answer");
        world.step(step);
        assert_eq!(retried(&world.book, &job(1), job(3).id), None);
        assert_eq!(asked_again(&world.book, &job(1), world.now), None);
        if !booked_first {
            assert_eq!(listed(&mut world, 4, 300), None, "it is another one");
            assert_eq!(listed(&mut world, 2, 2), Some(job(1).id));
        }
        assert_eq!(world.book.jobs()[&job(2)].preemption.retry_of, Some(job(1).id));
        assert!(preempted(&world, 1).expect("it was").recognized);
    }
}
