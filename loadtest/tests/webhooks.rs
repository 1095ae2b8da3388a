//! Webhooks on the wire: from the fake Buildkite to a follower, and from it to the leader.

use std::time::Duration;

use gust_loadtest::wire::{Control, Fakes, Fleet, Muster, Programs};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);
const MUSTER: Muster = Muster {
    replicas: 2,
    members: 1,
    regions: &["us-central1"],
    more: "",
};
/// Lists come so seldom that only a webhook explains one that comes sooner.
const SELDOM: Duration = Duration::from_secs(60);
const STEP: &str = "steps:\n- { command: 'true', agents: { queue: gust, cpu: 2, memory: 8 } }\n";

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
    let lists = "\"stacks.list\"";
    seen(&control, lists, |count| count > 0).await;

    let follower = 1 - leader;
    control
        .webhook(&fleet.webhook_url(follower), "bkct_fake")
        .await
        .expect("a webhook");
    let begun = Instant::now();
    let before = seen(&control, lists, |_| true).await;
    control.build(STEP).await.expect("a build");
    seen(&control, RESERVED, |count| count == 1).await;
    let took = begun.elapsed();
    assert!(took < SELDOM / 2, "it was seen only after {took:?}");

    // Twice, late and out of order: it is looked at once more, and that is all.
    for kind in ["webhook.doubled", "webhook.reordered"] {
        let fault = serde_json::json!({ "kind": kind, "match": { "event": "job.scheduled" } });
        control.fault(&fault).await.expect("a fault");
    }
    control.build(STEP).await.expect("a build");
    control.build(STEP).await.expect("a build");
    seen(&control, RESERVED, |count| count == 3).await;
    let lists = seen(&control, lists, |_| true).await - before;
    assert!(lists <= 20, "{lists} lists for three jobs");
    for nth in [leader, follower] {
        fleet.stop(nth).await.expect("it ends");
    }
    fakes.stop().await.expect("they end");
}
