//! The client against the fake Buildkite, over the wire, through the trait that the server uses.

mod world;

use std::{collections::BTreeSet, time::Duration};

use gust_buildkite::{RestRetrier, StacksSource};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{Finish, FinishOutcome, JobState, Notification, Remedy, Retried, Retrier, Source},
    secret::Secret,
    time::Timestamp,
};
use gust_fakes::config::Settings;
use serde_json::json;
use tokio::time::Instant;
use world::{World, queue};

fn finish(exit_status: i32) -> Finish {
    Finish {
        exit_status,
        detail: "cpu=7: there is no such machine; nearest: cpu=8".into(),
    }
}

#[tokio::test]
async fn nothing_works_before_the_stack_is_registered() {
    let world = World::new().await;
    let source = world.source();
    let error = source.list(&queue(), None).await.expect_err("not registered");
    assert_eq!(error.remedy, Remedy::Gone, "{error}");
    source.register().await.expect("201");
    source.register().await.expect("200 the second time");
    assert!(source.list(&queue(), None).await.expect("a page").jobs.is_empty());
    let error = source
        .list(&QueueKey::from("nope"), None)
        .await
        .expect_err("no such queue");
    assert_eq!(error.remedy, Remedy::Gone, "{error}");
}

#[tokio::test]
async fn a_wrong_token_is_for_a_person() {
    let world = World::new().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = world
        .client("bkct_wrong")
        .token_identity(deadline)
        .await
        .expect_err("401");
    assert_eq!(error.remedy(), gust_buildkite::Remedy::Unauthorized);
    let identity = world
        .client("bkct_fake")
        .token_identity(deadline)
        .await
        .expect("ours");
    assert_eq!(identity.organization_slug.as_deref(), Some("gust-demo"));
    assert!(identity.cluster_uuid.is_some());
}

#[tokio::test]
async fn a_job_goes_from_the_list_to_its_end() {
    let world = World::new().await;
    let jobs = world.build(3).await;
    let source = world.source();
    source.register().await.expect("registered");

    let page = source.list(&queue(), None).await.expect("a page");
    assert_eq!(
        page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        jobs,
        "in the order of the list"
    );
    let facts = &page.jobs[1].facts;
    assert_eq!(
        (facts.priority, facts.pipeline.as_str(), facts.branch.as_str()),
        (1, "p", "b1")
    );
    assert_eq!((facts.step.as_deref(), facts.build), (Some("k1"), 1));
    assert!(facts.rules.contains(&"cpu=8".to_owned()) && facts.runnable_at > Timestamp(0));

    let stranger = JobId(uuid::Uuid::from_u128(1));
    let answer = source
        .reserve(&[jobs[0], stranger], Duration::from_secs(120))
        .await
        .expect("an answer");
    assert_eq!(
        (answer.reserved, answer.not_reserved),
        (vec![jobs[0]], vec![stranger])
    );
    let states = source
        .states(&[jobs[0], jobs[1], stranger])
        .await
        .expect("states");
    assert_eq!(states.get(&jobs[0]), Some(&JobState::Reserved));
    assert_eq!(states.get(&jobs[1]), Some(&JobState::Scheduled));
    assert_eq!(states.get(&stranger), None);
    assert!(
        source
            .list(&queue(), None)
            .await
            .expect("a page")
            .jobs
            .iter()
            .all(|job| job.id != jobs[0])
    );

    let tokens = source
        .acquisition_tokens(&jobs[..2], Duration::from_secs(60))
        .await
        .expect("an answer");
    assert_eq!(
        tokens.issued.iter().map(|token| token.job).collect::<Vec<_>>(),
        [jobs[0]]
    );
    assert!(tokens.issued[0].token.reveal().starts_with("bkjat_"));
    assert_eq!(tokens.not_issued, [jobs[1]]);

    let outcome = source.finish(jobs[0], &finish(0)).await.expect("finished");
    assert_eq!(outcome, FinishOutcome::Finished);
    assert_eq!(
        world.job(jobs[0]).await["exit_status"],
        "0",
        "the exit status is sent even where it is 0"
    );
    assert_eq!(
        source.finish(jobs[0], &finish(-1)).await.expect("over"),
        FinishOutcome::AlreadyOver
    );
    let error = source.finish(stranger, &finish(-1)).await.expect_err("unknown");
    assert_eq!(error.remedy, Remedy::Gone, "{error}");
}

#[tokio::test]
async fn notifications_show_on_the_job_and_bad_ones_come_back_by_place() {
    let world = World::new().await;
    let jobs = world.build(2).await;
    let source = world.source();
    source.register().await.expect("registered");
    let at = source.list(&queue(), None).await.expect("a page").jobs[0]
        .facts
        .runnable_at;
    let at = at.after(Duration::from_millis(1));
    let note = |job, detail: &str, at| Notification {
        job,
        detail: detail.into(),
        at: Some(at),
    };
    let far = at.after(Duration::from_secs(86_400));
    let notes = [
        note(
            jobs[0],
            "placed on n2d-standard-8 spot in us-central1, $0.11/h",
            at,
        ),
        note(jobs[0], "", at),
        note(jobs[1], "from the future", far),
    ];
    let rejected = source.notify(&notes).await.expect("an answer");
    assert_eq!(
        rejected.iter().map(|note| note.index).collect::<Vec<_>>(),
        [1, 2],
        "{rejected:?}"
    );
    let shown = world.job(jobs[0]).await["notifications"].clone();
    assert_eq!(shown[0]["detail"], notes[0].detail);
    assert_eq!(
        shown[0]["timestamp"].as_str().and_then(Timestamp::parse_rfc3339),
        Some(at)
    );
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repeat() {
    let world = World::new().await;
    let jobs = world.build(25).await;
    let client = world.client("bkct_fake");
    let deadline = Instant::now() + Duration::from_secs(20);
    client
        .register("gust", &Default::default(), deadline)
        .await
        .expect("registered");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = client
            .list(&queue(), 10, cursor.as_deref(), deadline)
            .await
            .expect("a page");
        seen.extend(page.jobs.into_iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, jobs);
}

#[tokio::test]
async fn a_paused_queue_says_so_and_still_lists() {
    let world = World::new().await;
    world.build(1).await;
    let source = world.source();
    source.register().await.expect("registered");
    world
        .fault(json!({ "kind": "buildkite.pause", "match": { "queue": "gust" } }))
        .await;
    let page = source.list(&queue(), None).await.expect("a page");
    assert!(page.paused);
    assert_eq!(page.jobs.len(), 1);
}

#[tokio::test]
async fn many_calls_at_once_stay_within_the_rate() {
    let world = World::new().await;
    world.build(1).await;
    let source = world.source();
    source.register().await.expect("registered");
    // Thirty at once through a window of ten: none is refused for good, and none is lost.
    let jobs = source.list(&queue(), None).await.expect("a page").jobs;
    let ids = [jobs[0].id];
    let (a, b, c) = tokio::join!(ten(&source, &ids), ten(&source, &ids), ten(&source, &ids));
    assert_eq!(a + b + c, 30);
}

async fn ten(source: &StacksSource, ids: &[JobId]) -> usize {
    let mut done = 0;
    for _ in 0..10 {
        source.states(ids).await.expect("within the limit, or waited for");
        done += 1;
    }
    done
}

#[tokio::test]
async fn a_finish_whose_reply_is_lost_happens_once_and_is_known_to_have_happened() {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = world.source();
    source.register().await.expect("registered");
    source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("reserved");
    let lost = json!({ "kind": "reply.lost", "match": { "host": "buildkite", "method": "stacks.finish" }, "count": 1 });
    world.fault(lost).await;
    let outcome = source.finish(jobs[0], &finish(-1)).await.expect("known");
    assert_eq!(outcome, FinishOutcome::AlreadyOver);
    assert_eq!(world.job(jobs[0]).await["state"], "finished");
    assert_eq!(world.calls("stacks.finish").await, 2);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_reply_the_next_good_one_is_used() {
    let kinds = [
        json!({ "kind": "reply.html" }),
        json!({ "kind": "reply.truncated" }),
        json!({ "kind": "reply.lost" }),
        json!({ "kind": "reply.duplicate" }),
        json!({ "kind": "reply.status", "match": { "status": 500 } }),
        json!({ "kind": "reply.status", "match": { "status": 503 } }),
    ];
    for mut fault in kinds {
        let world = World::new().await;
        let jobs = world.build(2).await;
        let source = world.source();
        source.register().await.expect("registered");
        for method in ["stacks.list", "stacks.reserve", "stacks.get-states"] {
            fault["match"]["host"] = json!("buildkite");
            fault["match"]["method"] = json!(method);
            fault["count"] = json!(1);
            world.fault(fault.clone()).await;
        }
        let page = source
            .list(&queue(), None)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(page.jobs.len(), 2, "{fault}");
        let answer = source
            .reserve(&jobs, Duration::from_secs(60))
            .await
            .unwrap_or_else(|e| panic!("{fault}: {e}"));
        assert_eq!(answer.reserved, jobs, "{fault}");
        let states = source
            .states(&jobs)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert!(
            states.values().all(|state| *state == JobState::Reserved),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_token_call_whose_reply_is_lost_is_not_sent_again() {
    let world = World::new().await;
    let jobs = world.build(1).await;
    let source = world.source();
    source.register().await.expect("registered");
    source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("reserved");
    world.fault(json!({ "kind": "reply.lost", "match": { "host": "buildkite", "path": "/v3/stacks/gust-test/job-acquisition-tokens" }, "count": 1 })).await;
    let error = source
        .acquisition_tokens(&jobs, Duration::from_secs(60))
        .await
        .expect_err("lost");
    assert_eq!(error.remedy, Remedy::Unclear, "{error}");
    let again = source
        .acquisition_tokens(&jobs, Duration::from_secs(60))
        .await
        .expect("the caller's own repeat");
    assert_eq!(
        again
            .issued
            .iter()
            .map(|token| token.job)
            .collect::<BTreeSet<_>>(),
        jobs.into_iter().collect()
    );
}

fn retrier(world: &World, token: &'static str) -> RestRetrier {
    let endpoint = format!("{}/v2", world.fakes.addresses.buildkite);
    let token: gust_buildkite::client::TokenOf = std::sync::Arc::new(move || Ok(Secret::new(token)));
    RestRetrier::new(endpoint.parse().expect("a URL"), "gust-demo", token, "gust/test").expect("a client")
}

#[tokio::test]
async fn a_job_that_failed_is_run_again_once_over_the_rest_api() {
    let world = World::new().await;
    let source = world.source();
    source.register().await.expect("registered");
    let jobs = world.build(2).await;
    let rest = retrier(&world, "bkua_fake");
    let waits = rest.retry(jobs[0]).await.expect_err("it is not over");
    assert!(matches!(waits.remedy, Remedy::RetryLater(_)), "{waits}");
    source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("reserved");
    for (job, exit_status) in [(jobs[0], -1), (jobs[1], 0)] {
        let detail = "the machine is gone".to_owned();
        source
            .finish(job, &Finish { exit_status, detail })
            .await
            .expect("finished");
    }
    let Retried::In(new) = rest.retry(jobs[0]).await.expect("it is run again") else {
        panic!("it failed")
    };
    assert!(!jobs.contains(&new));
    // Whoever asks again learns of the same job.
    assert_eq!(rest.retry(jobs[0]).await.expect("it is known"), Retried::In(new));
    assert_eq!(
        rest.retry(jobs[1]).await.expect("it is known"),
        Retried::Needless,
        "it passed"
    );
    let unknown = rest
        .retry(JobId(uuid::Uuid::nil()))
        .await
        .expect_err("there is none");
    assert_eq!(unknown.remedy, Remedy::Gone);
    let stranger = retrier(&world, "bkua_other")
        .retry(jobs[0])
        .await
        .expect_err("no such token");
    assert_eq!(stranger.remedy, Remedy::Unauthorized);
    assert!(!format!("{stranger:?} {rest:?}").contains("bkua"));
}

#[tokio::test]
async fn a_token_that_may_only_read_says_what_it_lacks() {
    let mut settings = Settings::default();
    let scopes = vec!["read_builds".to_owned()];
    settings
        .buildkite
        .api_scopes
        .insert("bkua_fake".to_owned(), scopes);
    let world = World::with(settings).await;
    let source = world.source();
    source.register().await.expect("registered");
    let jobs = world.build(1).await;
    source
        .reserve(&jobs, Duration::from_secs(60))
        .await
        .expect("reserved");
    let detail = "the machine is gone".to_owned();
    let finish = Finish {
        exit_status: -1,
        detail,
    };
    source.finish(jobs[0], &finish).await.expect("finished");
    let reads = retrier(&world, "bkua_fake")
        .retry(jobs[0])
        .await
        .expect_err("it may not");
    assert_eq!(reads.remedy, Remedy::Unauthorized);
    assert!(reads.to_string().contains("write_builds"), "{reads}");
}

#[tokio::test]
async fn ten_thousand_jobs_are_all_seen_while_pages_are_reserved_and_more_come_behind_the_cursor() {
    let world = World::new().await;
    let mut jobs = BTreeSet::new();
    for _ in 0..10 {
        jobs.extend(world.build(1000).await);
    }
    let source = world.source();
    source.register().await.expect("registered");
    let (mut reserved, mut rounds) = (BTreeSet::new(), 0);
    // From the head each time, as many pages as there are, and what they hold is reserved at once.
    while reserved.len() < jobs.len() {
        let mut cursor: Option<String> = None;
        loop {
            let page = source.list(&queue(), cursor.as_deref()).await.expect("a page");
            let ids: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
            let answer = source.reserve(&ids, Duration::from_secs(600)).await;
            for job in answer.expect("an answer").reserved {
                assert!(reserved.insert(job), "a reserved job is not listed again");
            }
            if rounds < 2 {
                jobs.extend(world.build(5).await);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        rounds += 1;
        assert!(rounds < 30, "{} of {} jobs", reserved.len(), jobs.len());
    }
    assert_eq!(reserved, jobs);
}

#[tokio::test]
async fn a_token_that_was_replaced_is_taken_up_when_the_old_one_is_refused() {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    let world = World::new().await;
    world.build(1).await;
    let asked = std::sync::Arc::new(AtomicU32::new(0));
    // First the same again, then a good one.
    let (count, tokens) = (asked.clone(), ["bkct_old", "bkct_fake"]);
    let renew: gust_buildkite::client::TokenOf = std::sync::Arc::new(move || {
        let at = usize::try_from(count.fetch_add(1, Relaxed)).unwrap_or_default();
        Ok(Secret::new(tokens[at.min(1)]))
    });
    let source = world.stacks_renewing("bkct_old", renew);
    let error = source.register().await.expect_err("still the old one");
    assert_eq!(error.remedy, Remedy::Unauthorized, "{error}");
    source.register().await.expect("the new one");
    assert_eq!(source.list(&queue(), None).await.expect("a page").jobs.len(), 1);
    assert_eq!(asked.load(Relaxed), 2, "it is asked for only when it is refused");
}
