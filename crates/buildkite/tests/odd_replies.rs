//! The client against a server that answers badly: every odd reply becomes an error of the right class, a
//! write whose fate is unclear says so, and nothing is repeated that must not be.

mod stub;

use std::{collections::BTreeMap, error::Error as _, time::Duration};

use gust_buildkite::{Client, Config, Error, Remedy, RestRetrier};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{Finish, FinishOutcome, JobState, Notification, Retried, Retrier},
    secret::Secret,
    time::Timestamp,
};
use stub::{Answer, Stub};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

const TOKEN: &str = "bkct_very_secret";

fn client(stub: &Stub) -> Client {
    let endpoint = stub.endpoint().parse().expect("a URL");
    let config = Config {
        max_body: 4096,
        ..Config::new(endpoint, Secret::new(TOKEN), "gust-test")
    };
    Client::new(Config {
        replica: "r 1".into(),
        ..config
    })
    .expect("a client")
}

/// For calls that get no answer.
fn soon() -> Instant {
    Instant::now() + Duration::from_millis(700)
}

/// For all others: a slow machine changes nothing of what they meet.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn job() -> JobId {
    JobId(Uuid::from_u128(7))
}

fn finish() -> Finish {
    Finish {
        exit_status: 0,
        detail: "why".into(),
    }
}

async fn list_error(answers: Vec<Answer>, deadline: Instant) -> Error {
    let stub = Stub::start(answers).await;
    let result = client(&stub)
        .list(&QueueKey::from("gust"), 1000, None, deadline)
        .await;
    result.expect_err("the stub answers badly")
}

async fn finish_result(answers: Vec<Answer>) -> (Result<FinishOutcome, Error>, usize) {
    let stub = Stub::start(answers).await;
    let result = client(&stub).finish(job(), &finish(), later()).await;
    (result, stub.requests().len())
}

#[tokio::test]
async fn statuses_are_classed_by_remedy() {
    let classes = [
        (400, Remedy::Refused),
        (401, Remedy::Unauthorized),
        (403, Remedy::Refused),
        (404, Remedy::Gone),
        (422, Remedy::Refused),
        (301, Remedy::Refused),
        (500, Remedy::Wait),
        (503, Remedy::Wait),
        (429, Remedy::RetryLater { after: None }),
    ];
    // At the same time, for some are asked again for seconds.
    let mut all = JoinSet::new();
    for (status, remedy) in classes {
        all.spawn(async move {
            let answer = Answer::json(status, r#"{"message":"no\nluck"}"#);
            let error = list_error(vec![answer], later()).await;
            assert_eq!(error.remedy(), remedy, "{status}");
            assert!(!error.outcome_unknown(), "a read has no outcome");
            assert_eq!(error.status(), Some((status, "no luck")));
        });
    }
    all.join_all().await;
}

#[tokio::test]
async fn the_wait_a_429_asks_for_is_told_and_kept() {
    let told = Answer::json(429, r#"{"message":"slow down"}"#)
        .with("Retry-After", "30")
        .with("RateLimit-Reset", "1");
    let stub = Stub::start(vec![told]).await;
    let client = client(&stub);
    let queue = QueueKey::from("gust");
    let error = client.list(&queue, 10, None, later()).await.expect_err("429");
    assert_eq!(
        error.remedy(),
        Remedy::RetryLater {
            after: Some(Duration::from_secs(30))
        }
    );
    // The next call does not even go out: there is no room before its deadline.
    let error = client.list(&queue, 10, None, soon()).await.expect_err("no room");
    assert!(
        matches!(error, Error::NoRoom { after, .. } if after > Duration::from_secs(20)),
        "{error}"
    );
    assert_eq!(stub.requests().len(), 1);
    // Other calls have windows of their own.
    let error = client
        .states(&[job()], later())
        .await
        .expect_err("the stub knows only one answer");
    assert!(!matches!(error, Error::NoRoom { .. }));
}

#[tokio::test]
async fn bodies_of_no_use_are_to_be_tried_later() {
    let bodies = [
        "",
        "<html><body>Bad gateway</body></html>",
        r#"{"jobs":["#,
        r#"{"jobs":7}"#,
        r#"{"ok":true}"#,
    ];
    let mut all = JoinSet::new();
    for body in bodies {
        all.spawn(async move {
            let error = list_error(vec![Answer::json(200, body)], later()).await;
            assert_eq!(
                error.remedy(),
                Remedy::RetryLater { after: None },
                "{body}: {error}"
            );
            assert!(error.source().is_some(), "{body}: the cause is told");
        });
    }
    all.join_all().await;
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(5000));
    let error = list_error(vec![Answer::json(200, &large)], later()).await;
    assert!(
        error
            .source()
            .is_some_and(|cause| cause.to_string().contains("larger than 4096")),
        "{error}"
    );
}

#[tokio::test]
async fn a_broken_connection_and_half_a_body_mean_wait() {
    for answer in [Answer::Reset, Answer::Half(r#"{"jobs":[],"#.into())] {
        let error = list_error(vec![answer], later()).await;
        assert_eq!(error.remedy(), Remedy::Wait);
    }
    let error = list_error(vec![Answer::Silence], soon()).await;
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    let stub = Stub::start(vec![]).await;
    let nobody = client(&stub);
    drop(stub);
    let error = nobody
        .list(&QueueKey::from("gust"), 1, None, later())
        .await
        .expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Wait);
}

#[tokio::test]
async fn reads_are_repeated_until_they_succeed() {
    let stub = Stub::start(vec![
        Answer::json(500, "oops"),
        Answer::Reset,
        Answer::json(200, r#"{"jobs":[],"cluster_queue":{"paused":true}}"#),
    ])
    .await;
    let page = client(&stub)
        .list(&QueueKey::from("gust"), 5, Some("c=="), later())
        .await
        .expect("the third time");
    assert!(page.paused);
    let requests = stub.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests[2]
            .starts_with("GET /v3/stacks/gust-test/scheduled-jobs?queue_key=gust&limit=5&after=c%3D%3D ")
    );
    let lower = requests[2].to_lowercase();
    assert!(lower.contains("authorization: token bkct_very_secret"));
    assert!(lower.contains(&format!("user-agent: gust/{} (r_1)", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn states_of_words_not_known_are_kept_and_null_is_missing() {
    let states = r#"{"states":{"00000000-0000-0000-0000-000000000007":"hibernating","00000000-0000-0000-0000-000000000008":null}}"#;
    let stub = Stub::start(vec![Answer::json(200, states)]).await;
    let jobs = [job(), JobId(Uuid::from_u128(8))];
    let states = client(&stub).states(&jobs, later()).await.expect("states");
    let unknown = JobState::Unknown("hibernating".to_owned());
    assert_eq!(states.into_iter().collect::<Vec<_>>(), [(job(), unknown)]);
}

#[tokio::test]
async fn a_finish_whose_reply_was_lost_is_sent_again_and_a_422_then_means_done() {
    let refused = || Answer::json(422, r#"{"message":"Job cannot be finished twice"}"#);
    let (result, sent) = finish_result(vec![Answer::Reset, refused()]).await;
    assert_eq!(result.ok(), Some(FinishOutcome::AlreadyOver));
    assert_eq!(sent, 2);
    let (result, _) = finish_result(vec![Answer::json(204, "")]).await;
    assert_eq!(result.ok(), Some(FinishOutcome::Finished));
    let (result, _) = finish_result(vec![Answer::json(
        422,
        r#"{"message":"job has already finished"}"#,
    )])
    .await;
    assert_eq!(result.ok(), Some(FinishOutcome::AlreadyOver));
    let (result, _) = finish_result(vec![Answer::json(422, r#"{"message":"detail is too odd"}"#)]).await;
    assert_eq!(result.expect_err("refused").remedy(), Remedy::Refused);
}

#[tokio::test]
async fn what_must_not_happen_twice_is_never_repeated_on_its_own() {
    for answer in [Answer::Reset, Answer::json(500, ""), Answer::json(201, "<html>")] {
        let stub = Stub::start(vec![answer]).await;
        let client = client(&stub);
        let error = client
            .acquisition_tokens(&[job()], Duration::from_secs(60), later())
            .await
            .expect_err("bad");
        assert!(error.outcome_unknown(), "{error}");
        assert_eq!(stub.requests().len(), 1);
    }
    // Refused by the rate limit it had no effect, so there it is repeated.
    let token = r#"{"job_acquisition_tokens":[{"job_uuid":"00000000-0000-0000-0000-000000000007",
        "job_acquisition_token":"bkjat_x","expires_at":"2026-08-01T10:00:00Z"}],"not_issued":[]}"#;
    let slow = Answer::json(429, "{}").with("Retry-After", "0.05");
    let stub = Stub::start(vec![slow, Answer::json(201, token)]).await;
    let tokens = client(&stub)
        .acquisition_tokens(&[job()], Duration::from_secs(60), later())
        .await
        .expect("the second time");
    assert_eq!(tokens.issued[0].token.reveal(), "bkjat_x");
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn rejected_notifications_point_at_the_callers_entries() {
    let stub = Stub::start(vec![Answer::json(
        200,
        r#"{"errors":[{"error":"too many","indexes":[1,9]}]}"#,
    )])
    .await;
    let note = |detail: &str| Notification {
        job: job(),
        detail: detail.into(),
        at: Some(Timestamp(0)),
    };
    let notes = [note("a"), note("  "), note(&"é".repeat(300))];
    let rejected = client(&stub).notify(&notes, later()).await.expect("a reply");
    let places: Vec<_> = rejected
        .iter()
        .map(|note| (note.index, note.reason.as_str()))
        .collect();
    assert_eq!(places, [(1, "detail is required"), (2, "too many")]);
    assert!(stub.requests()[0].contains(&format!("\"{}\"", "é".repeat(256))));
}

#[tokio::test]
async fn no_error_ever_shows_the_token() {
    let stub = Stub::start(vec![Answer::Reset]).await;
    let client = client(&stub);
    let error = client
        .register("gust", &BTreeMap::new(), later())
        .await
        .expect_err("reset");
    let mut shown = format!("{error} {error:?} {client:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        shown += &format!(" {inner} {inner:?}");
        cause = inner.source();
    }
    assert!(!shown.contains("very_secret"), "{shown}");
}

#[test]
fn endpoints_and_keys_that_cannot_work_are_refused_with_what_to_change() {
    let make = |endpoint: &str, key: &str, token: &str| {
        Client::new(Config::new(
            endpoint.parse().expect("a URL"),
            Secret::new(token),
            key,
        ))
        .err()
        .map(|error| error.to_string())
    };
    insta::assert_yaml_snapshot!([
        make("http://agent.buildkite.com/v3", "k", "t"),
        make("ftp://localhost/v3", "k", "t"),
        make("http://127.0.0.1:1/v3", "a/b", "t"),
        make("http://localhost/v3", "k", "a\nb"),
        make("https://agent.buildkite.com/v3/", "k", "t"),
    ]);
}

#[tokio::test]
async fn of_a_body_without_end_the_rest_api_reads_the_beginning() {
    let told = format!(r#"{{"id":"{}","state":"passed"}}"#, job());
    // Twice as much is promised and never comes.
    let stub = Stub::start(vec![Answer::Half(told + &" ".repeat(2 << 20))]).await;
    let token: gust_buildkite::client::TokenOf = std::sync::Arc::new(|| Ok(Secret::new(TOKEN)));
    let endpoint = stub.endpoint().parse().expect("a URL");
    let rest = RestRetrier::new(endpoint, "gust-demo", token, "gust/test").expect("a client");
    assert_eq!(rest.retry(job()).await.expect("it is known"), Retried::Needless);
}
