//! Webhooks over real HTTP: who is told what, how it is proved, and what faults do to it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod wire;

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use gust_fakes::config::Settings;
use gust_fakes::event::{Effects, Host};
use gust_fakes::http::{Clock, Shared, Site, listen, spawn};
use gust_fakes::limits::Limits;
use gust_fakes::now::Now;
use gust_fakes::wire::{Outcome, Request, Response};
use gust_fakes::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use wire::Fakes;

/// A receiver of webhooks that keeps what it gets and answers with one status.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Request>>>,
    _cancel: tokio_util::sync::DropGuard,
}

struct Keeper(Arc<Mutex<Vec<Request>>>, u16);

impl Site for Keeper {
    fn host(&self) -> Option<Host> {
        None
    }

    fn method_of(&self, _: &Request) -> String {
        String::new()
    }

    fn handle(&self, _: &mut World, _: Now, request: &Request, _: &mut Effects) -> Outcome {
        self.0.lock().unwrap().push(request.clone());
        Outcome::Now(Response::empty(self.1))
    }
}

impl Receiver {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared::new(World::new(&Settings::default()), Clock::start());
        let cancel = CancellationToken::new();
        spawn(
            "receiver",
            listen(
                listener,
                shared,
                Arc::new(Keeper(got.clone(), status)),
                cancel.clone(),
            ),
        );
        Self {
            url,
            got,
            _cancel: cancel.drop_guard(),
        }
    }

    /// Names of the events, in the order in which they came.
    fn events(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|request| request.header("x-buildkite-event").unwrap().to_owned())
            .collect()
    }
}

async fn hook(fakes: &Fakes, webhook: Value) -> String {
    let reply = fakes.control("POST", "/webhooks", &webhook.to_string()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_jobs_life_is_told_with_the_objects_of_the_rest_api() {
    let (fakes, receiver) = (Fakes::start().await, Receiver::start(200).await);
    let events = [
        "job.scheduled",
        "job.started",
        "job.finished",
        "build.scheduled",
        "build.running",
        "build.failing",
        "build.finished",
    ];
    hook(
        &fakes,
        json!({"url": receiver.url, "token": "secret", "events": events}),
    )
    .await;
    let job = fakes.build("steps:\n- {command: a, key: a}").await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = fakes.run(&job).await;
    let end = json!({"exit_status": "3"});
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/finish"), &token, &end)
            .await
            .status,
        200
    );
    // The log has a delivery only once it is answered, later than the receiver does.
    fakes
        .until("all events", async || {
            fakes.events("webhook.sent").await.len() >= 7
        })
        .await;
    assert_eq!(
        receiver.events(),
        [
            "build.scheduled",
            "job.scheduled",
            "build.running",
            "job.started",
            "job.finished",
            "build.failing",
            "build.finished"
        ]
    );
    let got = receiver.got.lock().unwrap().clone();
    assert_eq!(got[1].header("x-buildkite-token"), Some("secret"));
    assert_eq!(got[1].header("x-buildkite-signature"), None);
    let body: Value = serde_json::from_slice(&got[4].body).unwrap();
    assert_eq!(
        (&body["event"], &body["job"]["id"]),
        (&json!("job.finished"), &json!(job))
    );
    assert_eq!(
        (&body["job"]["state"], &body["job"]["exit_status"]),
        (&json!("failed"), &json!(3))
    );
    assert_eq!(
        (&body["build"]["number"], &body["pipeline"]["slug"]),
        (&json!(1), &json!("p"))
    );
    assert_eq!(
        body["build"]["jobs"],
        Value::Null,
        "builds in webhooks have no jobs"
    );
    assert_eq!(body["sender"]["name"], "User 1");
    let sent = fakes.events("webhook.sent").await;
    assert_eq!(sent.len(), 7);
    assert_eq!(
        (&sent[4]["event"], &sent[4]["status"], &sent[4]["job"]),
        (&json!("job.finished"), &json!(200), &json!(job))
    );
}

#[tokio::test]
async fn a_signature_covers_the_time_of_dispatch_and_the_body() {
    let (fakes, receiver) = (Fakes::start().await, Receiver::start(200).await);
    hook(&fakes, json!({"url": receiver.url, "token": "secret", "scheme": "signature", "events": ["ping", "agent.connected"]})).await;
    fakes
        .until("the ping", async || receiver.events() == ["ping"])
        .await;
    let ping = receiver.got.lock().unwrap()[0].clone();
    let header = ping.header("x-buildkite-signature").unwrap();
    let (timestamp, signature) = header
        .strip_prefix("timestamp=")
        .unwrap()
        .split_once(",signature=")
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let tag = hmac::sign(&key, &[timestamp.as_bytes(), b".", &ping.body].concat());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, hex);
    let now = fakes.handle.shared.clock().now().unix_ns / 1_000_000_000;
    assert!((now - timestamp.parse::<i128>().unwrap()).abs() < 10);
}

#[tokio::test]
async fn webhooks_are_listed_removed_and_refused() {
    let fakes = Fakes::start().await;
    let id = hook(
        &fakes,
        json!({"url": "http://127.0.0.1:1/x", "token": "s", "events": ["job.scheduled"]}),
    )
    .await;
    let all = fakes.control("GET", "/webhooks", "").await.body;
    assert_eq!(
        all,
        json!([{"id": id, "url": "http://127.0.0.1:1/x", "scheme": "token", "events": ["job.scheduled"]}])
    );
    for wrong in [
        json!({"url": "ftp://x", "token": "s"}),
        json!({"url": "http://x", "token": "s", "events": ["job.reserved"]}),
        json!({"url": "http://x"}),
        json!({"url": "http://x", "token": "s", "scheme": "plain"}),
    ] {
        assert_eq!(
            fakes
                .control("POST", "/webhooks", &wrong.to_string())
                .await
                .status,
            422,
            "{wrong}"
        );
    }
    // Nobody is there: told once, and that is all.
    fakes.build("steps:\n- {command: a}").await;
    fakes
        .until("the attempt", async || {
            fakes.events("webhook.sent").await.len() == 1
        })
        .await;
    assert_eq!(fakes.events("webhook.sent").await[0]["status"], Value::Null);
    assert_eq!(
        fakes
            .control("DELETE", &format!("/webhooks/{id}"), "")
            .await
            .status,
        200
    );
    assert_eq!(
        fakes
            .control("DELETE", &format!("/webhooks/{id}"), "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_refused_delivery_is_tried_as_often_as_the_limits_say() {
    let mut limits = Limits::standard();
    limits.buildkite.webhooks.attempts = 2;
    let fakes = Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let receiver = Receiver::start(500).await;
    hook(
        &fakes,
        json!({"url": receiver.url, "token": "s", "events": ["ping"]}),
    )
    .await;
    fakes
        .until("both attempts", async || {
            fakes.events("webhook.sent").await.len() == 2
        })
        .await;
    let attempts: Vec<Value> = fakes
        .events("webhook.sent")
        .await
        .iter()
        .map(|event| event["attempt"].clone())
        .collect();
    assert_eq!(attempts, [json!(1), json!(2)]);
}

#[tokio::test]
async fn faults_lose_double_delay_and_reorder_deliveries() {
    let (fakes, receiver) = (Fakes::start().await, Receiver::start(200).await);
    hook(&fakes, json!({"url": receiver.url, "token": "s", "events": ["build.scheduled", "job.scheduled", "build.finished", "job.finished"]})).await;
    let fault = async |kind: &str, event: &str, more: Value| {
        let mut aim = json!({"event": event});
        aim.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let body = json!({"kind": kind, "match": aim, "count": 1}).to_string();
        let reply = fakes.control("POST", "/faults", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
    };
    fault("webhook.lost", "build.scheduled", json!({})).await;
    fault("webhook.doubled", "job.scheduled", json!({"copies": 3})).await;
    fault("webhook.reordered", "job.finished", json!({})).await;
    let build = fakes.build("steps:\n- {command: a}").await;
    let cancel = format!("/builds/{}/cancel", build["build"]["number"]);
    assert_eq!(fakes.control("POST", &cancel, "").await.status, 200);
    fakes
        .until("five deliveries", async || receiver.events().len() >= 5)
        .await;
    assert_eq!(
        receiver.events(),
        [
            "job.scheduled",
            "job.scheduled",
            "job.scheduled",
            "build.finished",
            "job.finished"
        ]
    );
    fault(
        "webhook.late",
        "job.scheduled",
        json!({"delay_s": 0.3, "stale_s": 600}),
    )
    .await;
    fakes.build("steps:\n- {command: a}").await;
    fakes
        .until("the late one", async || receiver.events().len() >= 7)
        .await;
    assert_eq!(receiver.events()[5..], ["build.scheduled", "job.scheduled"]);
    let applied = fakes.events("fault.applied").await;
    let kinds: Vec<&str> = applied
        .iter()
        .map(|event| event["fault_kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "webhook.lost",
            "webhook.doubled",
            "webhook.reordered",
            "webhook.late"
        ]
    );
}
