use gust_core::{ids::QueueKey, ports::Hint, time::Timestamp};

use super::*;
use crate::leader::Handle;

const TOKEN: &str = "whsec";

fn receiver(leader: Handle) -> Receiver {
    let tasks = Tasks::default();
    Receiver {
        token: Secret::new(TOKEN),
        hints: Hints::begin(leader, None, &tasks),
        clock: Clock::starting_at(Timestamp(1_700_000_000_000)),
    }
}

/// What is answered to a webhook with these headers.
async fn answered(headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
    answered_by(Handle::default(), headers, body).await
}

async fn answered_by(leader: Handle, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
    let mut request = Request::post(PATH);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    let response = take(State(receiver(leader)), request).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 4096).await.expect("a body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{timestamp}.{body}").as_bytes());
    format!("timestamp={timestamp},signature={}", hex::encode(tag))
}

#[tokio::test]
async fn each_answer_says_what_is_wrong_and_none_repeats_the_token() {
    let body = r#"{"event":"job.scheduled","job":{"agent_query_rules":["queue=gust"]}}"#;
    let proof = [(webhook::TOKEN, TOKEN)];
    let (stale, forged) = (
        signature(TOKEN, 1_699_999_400, body),
        signature("other", 1_700_000_000, body),
    );
    let good = signature(TOKEN, 1_700_000_000, body);
    let too_long = "x".repeat(webhook::MAX_BODY + 1);
    let answers = [
        ("token", answered(&proof, body).await),
        ("signature", answered(&[(webhook::SIGNATURE, &good)], body).await),
        ("another event", answered(&proof, r#"{"event":"ping"}"#).await),
        ("no proof", answered(&[], body).await),
        ("another token", answered(&[(webhook::TOKEN, "x")], body).await),
        (
            "another signature",
            answered(&[(webhook::SIGNATURE, &forged)], body).await,
        ),
        (
            "ten minutes old",
            answered(&[(webhook::SIGNATURE, &stale)], body).await,
        ),
        ("no signature", answered(&[(webhook::SIGNATURE, "x")], body).await),
        ("HTML", answered(&proof, "<html>").await),
        ("half", answered(&proof, &body[..20]).await),
        ("too long", answered(&proof, too_long).await),
        // Who is not known learns nothing about bodies.
        ("HTML of a stranger", answered(&[], "<html>").await),
    ];
    let told: Vec<String> = answers
        .iter()
        .map(|(what, (status, text))| format!("{what}: {status} {}", text.trim_end()))
        .collect();
    assert!(!told.join("\n").contains(TOKEN));
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_webhook_hints_at_where_to_look_and_one_that_is_refused_at_nothing() {
    let (leader, mut hinted) = Handle::hinted();
    let body = r#"{"event":"job.scheduled","job":{"state":"canceled","agent_query_rules":["queue=gust"]}}"#;
    for _ in 0..2 {
        answered_by(leader.clone(), &[(webhook::TOKEN, TOKEN)], body).await;
    }
    answered_by(leader.clone(), &[(webhook::TOKEN, "x")], body).await;
    answered_by(leader, &[(webhook::TOKEN, TOKEN)], r#"{"event":"agent.lost"}"#).await;
    let hint = Hint::Scheduled(Some(QueueKey::from("gust")));
    assert_eq!(hinted(), [hint.clone(), hint]);
}
