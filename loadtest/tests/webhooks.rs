//! Webhooks on the wire: from the fake Buildkite to a follower, and from it to the leader.

use std::time::Duration;

use gust_loadtest::wire::{Control, Fakes, Fleet, Muster, Programs};
use tokio::time::{Instant, sleep};

/// Longer than lists take to find what no webhook told of.
const PATIENCE: Duration = Duration::from_secs(180);
const MUSTER: Muster = Muster {
    replicas: 2,
    members: 1,
    regions: &["us-central1"],
    more: "",
};
/// Lists come so seldom that only a webhook explains one that comes sooner. It is the most that gust takes.
const SELDOM: Duration = Duration::from_secs(60);
/// A webhook may be lost, or so late that a list comes first: then another job is tried, up to so many.
const JOBS: usize = 5;
const STEP: &str = "steps:\n- { command: 'true', agents: { queue: gust, cpu: 2, memory: 8 } }\n";

/// A list of jobs.
const LISTED: &str = "\"stacks.list\"";
/// A reservation that is none of those that gust renews.
const RESERVED: &str = "\"renewed\":false";

/// What a replica says of itself, once it says whether it leads.
async fn leads(http: &reqwest::Client, url: String) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(answer) = http.get(&url).send().await
            && answer.status() == 200
        {
            return answer.text().await.expect("a text").contains("ready: leads");
        }
        assert!(Instant::now() < deadline, "{url} does not get ready");
        sleep(Duration::from_millis(100)).await;
    }
}

/// How often the fakes saw this, once `wanted` holds of it.
async fn seen(control: &Control, mark: &str, wanted: impl Fn(usize) -> bool) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = control.some_events(0, |line| line.contains(mark)).await;
        let count = events.expect("the log").0.len();
        if wanted(count) {
            return count;
        }
        assert!(Instant::now() < deadline, "{mark}: {count}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// How long after the list before it the one came that found a job, by the fakes' clock.
async fn distance(control: &Control, job: &str) -> Duration {
    let read = |line: &str| line.contains(LISTED) || line.contains(RESERVED);
    let (events, _) = control.some_events(0, read).await.expect("the log");
    let until = events.iter().take_while(|event| event["job"] != job);
    let lists: Vec<f64> = until
        .filter(|event| event["method"] == "stacks.list" && event["status"] == 200)
        .filter_map(|event| event["at"].as_f64())
        .collect();
    let [.., before, last] = lists[..] else {
        panic!("{job} was reserved, but jobs were not listed twice: {lists:?}");
    };
    Duration::from_secs_f64(last - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_told_of_a_job_has_the_leader_look_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = Programs::find().expect("programs");
    let mut fakes = Fakes::start(&programs, dir.path(), 1).await.expect("fakes");
    fakes.poll = Some(SELDOM);
    let control = Control::new(&fakes.control).expect("a way to the fakes");
    let mut fleet = Fleet::start(&programs, dir.path(), &fakes, &MUSTER).expect("a fleet");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    // Both are ready: one leads, and the other follows it.
    let (first, second) = (
        leads(&http, fleet.ready_url(0)).await,
        leads(&http, fleet.ready_url(1)).await,
    );
    assert_ne!(first, second, "one leads");
    let leader = usize::from(second);
    seen(&control, LISTED, |count| count > 0).await;

    let follower = 1 - leader;
    control
        .webhook(&fleet.webhook_url(follower), "bkct_fake")
        .await
        .expect("a webhook");
    let mut distances = Vec::new();
    let before = loop {
        let before = seen(&control, LISTED, |_| true).await;
        let jobs = control.build(STEP).await.expect("a build");
        let count = distances.len() + 1;
        seen(&control, RESERVED, |reserved| reserved == count).await;
        let passed = distance(&control, &jobs[0]).await;
        distances.push(passed);
        if passed < SELDOM / 2 {
            break before;
        }
        assert!(
            count < JOBS,
            "each was found by a list that was due: {distances:?}"
        );
    };

    // Twice, late and out of order: it is looked at once more, and that is all.
    for kind in ["webhook.doubled", "webhook.reordered"] {
        let fault = serde_json::json!({ "kind": kind, "match": { "event": "job.scheduled" } });
        control.fault(&fault).await.expect("a fault");
    }
    control.build(STEP).await.expect("a build");
    control.build(STEP).await.expect("a build");
    let all = distances.len() + 2;
    seen(&control, RESERVED, |count| count == all).await;
    let lists = seen(&control, LISTED, |_| true).await - before;
    assert!(lists <= 20, "{lists} lists for three jobs");
    for nth in [leader, follower] {
        fleet.stop(nth).await.expect("it ends");
    }
    fakes.stop().await.expect("they end");
}
