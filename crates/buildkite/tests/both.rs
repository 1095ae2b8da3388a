//! What gust relies on of any source: the same tests over the Stacks API and over GraphQL, against the fake Buildkite.

mod world;

use std::{collections::BTreeSet, time::Duration};

use gust_core::{
    ids::JobId,
    ports::{Finish, FinishOutcome, JobState, Notification, Remedy, Source},
};
use gust_fakes::config::Settings;
use serde_json::json;
use world::{World, queue};

/// A test, once over each interface.
macro_rules! over_both {
    ($($name:ident)*) => {
        mod stacks {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Way::Stacks).await;
            })*
        }

        mod graphql {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Way::Graphql).await;
            })*
        }
    };
}

over_both! {
    a_job_goes_from_the_list_to_its_end
    all_pages_together_hold_each_job_once
    jobs_that_come_while_pages_are_read_are_in_the_next_list
    a_job_that_is_canceled_meanwhile_is_seen_to_be_over
    a_job_that_disappears_is_in_no_answer
    what_an_old_list_still_shows_is_not_taken_on
    a_job_that_another_stack_has_is_not_ours
    a_paused_queue_says_so_and_still_lists
    a_wrong_token_is_for_a_person_and_is_not_shown
    a_token_that_is_revoked_meanwhile_is_for_a_person
    whatever_is_wrong_with_a_reply_the_next_good_one_is_used
    a_lost_reply_ends_a_job_once
    progress_and_the_reason_of_the_end_show_on_the_job
    a_job_that_nobody_knows_rejects_its_note_and_no_other
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Stacks,
    Graphql,
}

impl Way {
    async fn source(self, world: &World) -> Box<dyn Source> {
        let source: Box<dyn Source> = match self {
            Self::Stacks => Box::new(world.source()),
            Self::Graphql => Box::new(world.graphql("bkua_fake")),
        };
        source.register().await.expect("it is known");
        source
    }

    /// The calls that list, read states and end a job, as the fake names them.
    fn calls(self) -> [&'static str; 3] {
        match self {
            Self::Stacks => ["stacks.list", "stacks.get-states", "stacks.finish"],
            Self::Graphql => ["graphql.ScheduledJobs", "graphql.JobStates", "graphql.CancelJob"],
        }
    }
}

fn finish() -> Finish {
    Finish {
        exit_status: -1,
        detail: "cpu=7: there is no such machine\nnearest: cpu=8".into(),
    }
}

/// All pages of a list.
async fn all(source: &dyn Source) -> Vec<JobId> {
    let (mut jobs, mut cursor) = (Vec::new(), None);
    loop {
        let page = source.list(&queue(), cursor.as_deref()).await.expect("a page");
        jobs.extend(page.jobs.into_iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            return jobs;
        }
    }
}

async fn a_job_goes_from_the_list_to_its_end(way: Way) {
    let world = World::new().await;
    let jobs = world.build(3).await;
    let source = way.source(&world).await;
    let page = source.list(&queue(), None).await.expect("a page");
    let ids: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
    assert_eq!(ids, jobs, "oldest first");
    let facts = &page.jobs[1].facts;
    assert_eq!(
        (facts.priority, facts.pipeline.as_str(), facts.branch.as_str()),
        (1, "p", "b1")
    );
    assert_eq!((facts.step.as_deref(), facts.build), (Some("k1"), 1));
    assert!(facts.rules.contains(&"cpu=8".to_owned()) && facts.runnable_at.0 > 0);

    let answer = source.reserve(&[jobs[0]], Duration::from_secs(60)).await;
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.reserved, answer.not_reserved),
        (vec![jobs[0]], Vec::new())
    );
    let stranger = JobId(uuid::Uuid::from_u128(1));
    let states = source
        .states(&[jobs[0], jobs[1], stranger])
        .await
        .expect("states");
    let ours = match way {
        Way::Stacks => JobState::Reserved,
        Way::Graphql => JobState::Scheduled,
    };
    assert_eq!(states.get(&jobs[0]), Some(&ours));
    assert_eq!(states.get(&jobs[1]), Some(&JobState::Scheduled));
    assert_eq!(states.get(&stranger), None);

    let outcome = source.finish(jobs[0], &finish()).await.expect("finished");
    assert_eq!(outcome, FinishOutcome::Finished);
    let states = source.states(&jobs[..1]).await.expect("states");
    assert!(states[&jobs[0]].is_over());
    let outcome = source.finish(jobs[0], &finish()).await.expect("over");
    assert_eq!(outcome, FinishOutcome::AlreadyOver);
    let error = source.finish(stranger, &finish()).await.expect_err("unknown");
    assert_eq!(error.remedy, Remedy::Gone, "{error}");
    assert_eq!(all(&*source).await, jobs[1..]);
}

/// A world in which no budget for minutes is the limit.
async fn wealthy() -> World {
    let mut settings = Settings::default();
    let graphql = &mut settings.limits.buildkite.graphql;
    (graphql.organization_complexity, graphql.user_complexity) = (1_000_000, 1_000_000);
    World::with(settings).await
}

async fn all_pages_together_hold_each_job_once(way: Way) {
    let world = wealthy().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.extend(world.build(400).await);
    }
    let source = way.source(&world).await;
    let listed = all(&*source).await;
    assert_eq!(listed.len(), jobs.len());
    let (listed, jobs): (BTreeSet<_>, BTreeSet<_>) =
        (listed.into_iter().collect(), jobs.into_iter().collect());
    assert_eq!(listed, jobs);
}

async fn jobs_that_come_while_pages_are_read_are_in_the_next_list(way: Way) {
    let world = wealthy().await;
    for _ in 0..3 {
        world.build(400).await;
    }
    let source = way.source(&world).await;
    let first = source.list(&queue(), None).await.expect("a page");
    let late = world.build(5).await;
    let (mut seen, mut cursor) = (BTreeSet::new(), first.next);
    seen.extend(first.jobs.into_iter().map(|job| job.id));
    while let Some(at) = cursor {
        let page = source.list(&queue(), Some(&at)).await.expect("a page");
        let before = seen.len();
        seen.extend(page.jobs.iter().map(|job| job.id));
        assert_eq!(seen.len() - before, page.jobs.len(), "a job came twice");
        cursor = page.next;
    }
    // Whether this list has those that came meanwhile depends on its order; the next one has them.
    let next: BTreeSet<JobId> = all(&*source).await.into_iter().collect();
    assert!(seen.is_subset(&next) && late.iter().all(|job| next.contains(job)));
}

async fn a_job_that_is_canceled_meanwhile_is_seen_to_be_over(way: Way) {
    let world = World::new().await;
    let jobs = world.build(2).await;
    let source = way.source(&world).await;
    assert_eq!(all(&*source).await, jobs);
    let path = format!("/jobs/{}/cancel", jobs[0]);
    world.control(&path, "application/json", String::new()).await;
    assert_eq!(all(&*source).await, jobs[1..]);
    let states = source.states(&jobs).await.expect("states");
    assert_eq!(states.get(&jobs[0]), Some(&JobState::Canceled));
    assert_eq!(states.get(&jobs[1]), Some(&JobState::Scheduled));
    let outcome = source.finish(jobs[0], &finish()).await.expect("over");
    assert_eq!(outcome, FinishOutcome::AlreadyOver);
}

async fn a_job_that_disappears_is_in_no_answer(way: Way) {
    let world = World::new().await;
    let jobs = world.build(2).await;
    let source = way.source(&world).await;
    let reserved = source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("ours");
    assert_eq!(reserved.reserved.len(), 2);
    world.delete(jobs[0]).await;
    let states = source.states(&jobs).await.expect("states");
    assert_eq!(states.into_keys().collect::<Vec<_>>(), jobs[1..]);
    let error = source.finish(jobs[0], &finish()).await.expect_err("gone");
    assert_eq!(error.remedy, Remedy::Gone, "{error}");
    let rejected = source
        .notify(&[note(jobs[0], "machine up")])
        .await
        .expect("an answer");
    assert_eq!(rejected.len(), 1);
    assert!(!all(&*source).await.contains(&jobs[0]));
}

async fn what_an_old_list_still_shows_is_not_taken_on(way: Way) {
    let world = World::new().await;
    let lag = json!({ "kind": "list.lag", "match": { "host": "buildkite", "lag_s": 1 } });
    world.fault(lag).await;
    let jobs = world.build(1).await;
    let source = way.source(&world).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while all(&*source).await != jobs {
        assert!(tokio::time::Instant::now() < deadline, "it is never listed");
    }
    let path = format!("/jobs/{}/cancel", jobs[0]);
    world.control(&path, "application/json", String::new()).await;
    // Whether the list shows it still is a matter of a second.
    let _ = source.list(&queue(), None).await.expect("a page");
    let answer = source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("an answer");
    assert_eq!((answer.reserved, answer.not_reserved), (Vec::new(), jobs));
}

async fn a_job_that_another_stack_has_is_not_ours(way: Way) {
    let world = World::new().await;
    let jobs = world.build(2).await;
    let other = world.other_stack().await;
    let answer = other.reserve(&jobs[..1], Duration::from_secs(60)).await;
    assert_eq!(answer.expect("an answer").reserved, jobs[..1]);
    let source = way.source(&world).await;
    assert_eq!(all(&*source).await, jobs[1..]);
    let answer = source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("an answer");
    assert_eq!(answer.reserved, jobs[1..]);
    assert_eq!(answer.not_reserved, jobs[..1]);
}

async fn a_paused_queue_says_so_and_still_lists(way: Way) {
    let world = World::new().await;
    world.build(1).await;
    let source = way.source(&world).await;
    assert!(!source.list(&queue(), None).await.expect("a page").paused);
    let pause = json!({ "kind": "buildkite.pause", "match": { "queue": "gust" } });
    world.fault(pause).await;
    let page = source.list(&queue(), None).await.expect("a page");
    assert!(page.paused);
    assert_eq!(page.jobs.len(), 1);
}

async fn a_wrong_token_is_for_a_person_and_is_not_shown(way: Way) {
    let world = World::new().await;
    let source: Box<dyn Source> = match way {
        Way::Stacks => Box::new(world.stacks("bkct_wrong")),
        Way::Graphql => Box::new(world.graphql("bkua_wrong")),
    };
    let refused = [
        source.register().await.expect_err("401"),
        source.list(&queue(), None).await.expect_err("401"),
        source.states(&[JobId(uuid::Uuid::nil())]).await.expect_err("401"),
    ];
    for error in refused {
        assert_eq!(error.remedy, Remedy::Unauthorized, "{error}");
        assert!(!format!("{error:?}").contains("_wrong"));
    }
}

async fn a_token_that_is_revoked_meanwhile_is_for_a_person(way: Way) {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = way.source(&world).await;
    assert_eq!(all(&*source).await, jobs);
    for call in way.calls() {
        let revoked = json!({ "kind": "reply.status", "match": { "host": "buildkite", "method": call, "status": 401 } });
        world.fault(revoked).await;
    }
    let error = source.list(&queue(), None).await.expect_err("revoked");
    assert_eq!(error.remedy, Remedy::Unauthorized, "{error}");
    let error = source.states(&jobs).await.expect_err("revoked");
    assert_eq!(error.remedy, Remedy::Unauthorized, "{error}");
    let error = source.finish(jobs[0], &finish()).await.expect_err("revoked");
    assert_eq!(error.remedy, Remedy::Unauthorized, "{error}");
    assert_eq!(world.job(jobs[0]).await["state"], "scheduled");
}

async fn whatever_is_wrong_with_a_reply_the_next_good_one_is_used(way: Way) {
    let kinds = [
        json!({ "kind": "reply.html" }),
        json!({ "kind": "reply.truncated" }),
        json!({ "kind": "reply.lost" }),
        json!({ "kind": "reply.duplicate" }),
        json!({ "kind": "reply.status", "match": { "status": 500 } }),
        json!({ "kind": "reply.status", "match": { "status": 503 } }),
        json!({ "kind": "reply.status", "match": { "status": 429 } }),
    ];
    let [list, states, _] = way.calls();
    for mut fault in kinds {
        let world = World::new().await;
        let jobs = world.build(2).await;
        let source = way.source(&world).await;
        for method in [list, states] {
            fault["match"]["host"] = json!("buildkite");
            fault["match"]["method"] = json!(method);
            fault["count"] = json!(1);
            world.fault(fault.clone()).await;
        }
        assert_eq!(all(&*source).await, jobs, "{fault}");
        let read = source
            .states(&jobs)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(read.len(), 2, "{fault}");
        assert!(
            world.calls(list).await >= 2 && world.calls(states).await >= 2
                || fault["kind"] == "reply.duplicate"
        );
    }
}

async fn a_lost_reply_ends_a_job_once(way: Way) {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = way.source(&world).await;
    let [_, _, end] = way.calls();
    let lost = json!({ "kind": "reply.lost", "match": { "host": "buildkite", "method": end }, "count": 1 });
    world.fault(lost).await;
    // Known to have happened, by this call or another; and it happened once.
    let outcome = source.finish(jobs[0], &finish()).await.expect("it is known");
    assert!(matches!(
        outcome,
        FinishOutcome::Finished | FinishOutcome::AlreadyOver
    ));
    let states = source.states(&jobs).await.expect("states");
    assert!(states[&jobs[0]].is_over());
    let outcome = source.finish(jobs[0], &finish()).await.expect("over");
    assert_eq!(outcome, FinishOutcome::AlreadyOver);
}

/// What people see on a job.
async fn shown(way: Way, world: &World, job: JobId) -> String {
    let shown = world.job(job).await;
    match way {
        Way::Stacks => shown["notifications"].to_string() + &shown["detail"].to_string(),
        Way::Graphql => world.annotations(job).await.to_string(),
    }
}

fn note(job: JobId, detail: &str) -> Notification {
    Notification {
        job,
        detail: detail.to_owned(),
        at: None,
    }
}

async fn progress_and_the_reason_of_the_end_show_on_the_job(way: Way) {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = way.source(&world).await;
    let placed = note(jobs[0], "placed on n2d-standard-8 spot in us-central1, $0.11/h");
    assert_eq!(source.notify(&[placed]).await.expect("told"), []);
    let seen = shown(way, &world, jobs[0]).await;
    assert!(seen.contains("n2d-standard-8 spot"), "{seen}");
    source.finish(jobs[0], &finish()).await.expect("finished");
    let seen = shown(way, &world, jobs[0]).await;
    assert!(way == Way::Stacks || seen.contains("nearest: cpu=8"), "{seen}");
}

async fn a_job_that_nobody_knows_rejects_its_note_and_no_other(way: Way) {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = way.source(&world).await;
    let stranger = JobId(uuid::Uuid::from_u128(1));
    let notes = [
        note(stranger, "nobody reads it"),
        note(jobs[0], "machine up after 34 s"),
    ];
    let rejected = source.notify(&notes).await.expect("an answer");
    assert_eq!(rejected.iter().map(|note| note.index).collect::<Vec<_>>(), [0]);
    let seen = shown(way, &world, jobs[0]).await;
    assert!(seen.contains("machine up"), "{seen}");
}
