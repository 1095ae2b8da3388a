use std::sync::atomic::{AtomicUsize, Ordering};

use google_cloud_gax::error::rpc::Status;
use tokio::{task::JoinSet, time::Instant};

use super::*;
use crate::layers::{Lane, Stack};

const CREATE: Method = Method {
    name: "test.create",
    group: Group::Write,
    creates: true,
};
const DELETE: Method = Method {
    name: "test.delete",
    group: Group::Write,
    creates: false,
};
const GLOBAL: Method = Method {
    name: "test.global",
    group: Group::GlobalRead,
    creates: false,
};

/// A stack whose wall time begins with a minute and is tokio's from then on.
fn stack(rates: Rates, regions: usize) -> Stack {
    let begun = Instant::now();
    let wall = Wall::new(move || {
        let ms = begun.elapsed().as_millis();
        Timestamp(60_000 * 1_000 + i64::try_from(ms).expect("a short test"))
    });
    let spent = |_: Method, error: &ClientError| error.http_status_code() == Some(403);
    Stack::new(1, 1, Budget::new(rates, regions, wall, spent))
}

fn rates(writes: u32) -> Rates {
    Rates {
        writes,
        ..Rates::default()
    }
}

fn call(
    method: Method,
    region: &str,
    run: impl Future<Output = Result<(), ClientError>> + Send + 'static,
) -> Call<()> {
    Call {
        method,
        region: Region::new(region),
        within: Duration::from_secs(5),
        run: Box::pin(run),
    }
}

async fn made(stack: &Stack, method: Method, region: &str) -> Result<(), Failure> {
    stack
        .call(Lane::Quick, call(method, region, async { Ok(()) }))
        .await
}

fn refusal() -> ClientError {
    let body = br#"{"error": {"code": 403, "message": "m", "errors": [{"reason": "rateLimitExceeded", "message": "m"}]}}"#;
    let status = Status::try_from(&bytes::Bytes::from_static(body)).expect("Google's form");
    ClientError::service_with_http_metadata(status, Some(403), None)
}

#[tokio::test(start_paused = true)]
async fn calls_are_spread_over_the_minute_and_all_are_made() {
    let stack = stack(rates(60), 1);
    let (begun, made_by_now) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let (stack, count) = (stack.clone(), Arc::clone(&made_by_now));
        calls.spawn(async move {
            made(&stack, DELETE, "us-central1").await.expect("made");
            count.fetch_add(1, Ordering::SeqCst);
        });
    }
    for (second, expected) in [(0, 7), (1, 8), (30, 37), (52, 59)] {
        // A call goes out in the millisecond after the one in which its share is full.
        tokio::time::sleep_until(begun + Duration::from_millis(second * 1000 + 5)).await;
        assert_eq!(made_by_now.load(Ordering::SeqCst), expected, "after {second} s");
    }
    calls.join_all().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "within the minute");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_overtakes_creations_that_wait_for_their_turn() {
    let stack = stack(rates(60), 1);
    let mut creations = JoinSet::new();
    for _ in 0..40 {
        let stack = stack.clone();
        creations.spawn(async move { made(&stack, CREATE, "us-central1").await });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    made(&stack, DELETE, "us-central1").await.expect("made");
    assert_eq!(begun.elapsed(), Duration::ZERO, "the reserve is there for it");
    // Other regions have accounts of their own.
    made(&stack, CREATE, "us-east4").await.expect("made");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(creations.len() == 40, "creations still wait");
    creations.abort_all();
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_next_call_waits_for_the_next_minute() {
    let stack = stack(rates(600), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let begun = Instant::now();
    let refused = stack
        .call(Lane::Quick, call(DELETE, "us-central1", async { Err(refusal()) }))
        .await;
    assert!(
        matches!(refused, Err(Failure::Client(_))),
        "it is told: {refused:?}"
    );
    made(&stack, DELETE, "us-central1").await.expect("made");
    // And a moment more: Google's clock may be behind.
    assert_eq!(begun.elapsed(), Duration::from_millis(40_250));
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_goes_on_at_the_pace_of_the_minute() {
    let stack = stack(rates(60), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    stack.begin(&Region::new("us-central1"));
    let begun = Instant::now();
    made(&stack, DELETE, "us-central1").await.expect("made");
    let waited = begun.elapsed();
    assert!(
        waited > Duration::ZERO && waited <= Duration::from_millis(1001),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn regions_share_what_belongs_to_none() {
    let global = Rates {
        global_reads: 120,
        ..Rates::default()
    };
    let stack = stack(global, 2);
    let begun = Instant::now();
    for _ in 0..60 {
        made(&stack, GLOBAL, "us-central1").await.expect("made");
    }
    assert!(
        begun.elapsed() > Duration::from_secs(50),
        "half of it is the other region's"
    );
    made(&stack, GLOBAL, "us-central1").await.expect("made");
    assert!(begun.elapsed() >= Duration::from_secs(60));
}
