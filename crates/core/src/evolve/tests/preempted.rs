//! Spot machines that Google takes back while their jobs run, and the jobs that run in their place.

use std::collections::BTreeSet;

use crate::{
    decide::tests::world::{START, World, facts, job},
    evolve::{asked_again, booked, needless, reclaimed, retried},
    ids::JobId,
    ports::{JobState, ListedJob},
    records::{Change, KeyHash, Preempted},
    time::Timestamp,
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

/// Two jobs of one step, both on Spot machines, both taken back.
fn both_taken_back() -> World {
    let mut world = World::default();
    world.kind("spot", &[("CPUS", 1)]);
    world.plan("spot", &[("spot", "r1")]);
    for n in [1, 2] {
        world.job(n, "spot");
    }
    world.pass();
    world.all_created();
    world.wait(30);
    for n in [1, 2] {
        assert_eq!(
            world.claim(&format!("m{n}.1"), &format!("k{n}")),
            format!("job {n}")
        );
        world.state(n, JobState::Running);
    }
    world.wait(60);
    for n in [1, 2] {
        let (name, key) = (world.name(&format!("m{n}.1")), KeyHash(format!("k{n}")));
        let step = reclaimed(&world.book, &name, &key, world.now).expect("its own key");
        world.step(step);
    }
    world
}

/// The job has ended, and its machine is gone.
fn ends(world: &mut World, n: u128) {
    world.state(n, JobState::Finished);
    world.gone(&format!("m{n}.1"));
    world.wait(60);
    world.pass();
    assert_eq!(world.phase(n), "none");
}

#[test]
fn of_preempted_jobs_that_are_alike_each_gets_what_buildkite_told() {
    for closed in [false, true] {
        let mut world = both_taken_back();
        let step = retried(&world.book, &job(2), job(4).id).expect("the first answer");
        world.step(step);
        if closed {
            ends(&mut world, 2);
        }
        assert_eq!(listed(&mut world, 4, 300), Some(job(2).id), "closed: {closed}");
        let other = preempted(&world, 1).expect("it was");
        assert_eq!((other.retried_in, other.recognized), (None, false));
    }
}

#[test]
fn what_was_guessed_is_set_right_by_what_buildkite_tells() {
    let mut world = both_taken_back();
    // By what it is it may run either.
    assert_eq!(listed(&mut world, 4, 300), Some(job(1).id));
    let guess = preempted(&world, 1).expect("it was");
    assert_eq!((guess.told_retry(), guess.guessed), (None, true));
    let step = asked_again(&world.book, &job(1), world.now).expect("a guess is no reason not to ask");
    world.step(step);
    let step = retried(&world.book, &job(1), job(5).id).expect("the first answer");
    world.step(step);
    assert_eq!(world.book.jobs()[&job(4)].preemption.retry_of, None);
    let told = preempted(&world, 1).expect("it was");
    assert_eq!((told.told_retry(), told.recognized), (Some(job(5).id), false));
    assert_eq!(
        listed(&mut world, 5, 2),
        Some(job(1).id),
        "it is recognized when it comes"
    );
}

#[test]
fn two_that_come_at_once_run_two_that_have_left() {
    let mut world = both_taken_back();
    ends(&mut world, 1);
    ends(&mut world, 2);
    let listed: Vec<_> = [4, 5]
        .map(|n| {
            let facts = facts("spot", Timestamp(START.0 + 300_000));
            ListedJob { id: job(n).id, facts }
        })
        .into();
    let step = booked(&world.book, &job(4).source, &listed, world.now);
    let of: BTreeSet<_> = step
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::PutJob(record) => record.preemption.retry_of,
            _ => None,
        })
        .collect();
    assert_eq!(of, [job(1).id, job(2).id].into());
}

#[test]
fn a_job_that_passed_all_the_same_awaits_none() {
    let mut world = both_taken_back();
    let step = needless(&world.book, &job(1)).expect("the first answer");
    world.step(step);
    assert_eq!(needless(&world.book, &job(1)), None, "once");
    ends(&mut world, 1);
    assert_eq!(listed(&mut world, 4, 300), Some(job(2).id));
    assert_eq!(listed(&mut world, 5, 300), None);
}

#[test]
fn a_job_that_gets_another_machine_starts_afresh() {
    let mut world = both_taken_back();
    world.gone("m1.1");
    world.state(1, JobState::Reserved);
    world.pass();
    assert_eq!(world.phase(1), "booked");
    assert_eq!(preempted(&world, 1), None, "how it ends then is another story");
}
