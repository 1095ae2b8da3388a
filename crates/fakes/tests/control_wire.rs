//! The control surface, the event log and the faults of replies, over real HTTP.

mod wire;

use std::time::Duration;

use serde_json::{Value, json};

use wire::{Fakes, TOKEN};

const ONE: &str = "steps:\n- {command: a, key: a}";

#[tokio::test]
async fn control_calls_answer_with_the_statuses_of_the_contract() {
    let fakes = Fakes::start().await;
    let build = fakes
        .build("steps:\n- {command: a, key: a}\n- {command: b, key: b}")
        .await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap();
    let none = "6f0c6f0e-0000-4000-8000-000000000000";
    let mut seen = Vec::new();
    for (method, path, body) in [
        ("PUT", format!("/jobs/{job}/priority"), r#"{"priority": 7}"#),
        ("PUT", format!("/jobs/{job}/priority"), r#"{"priority": "x"}"#),
        ("POST", format!("/jobs/{job}/retry"), ""),
        ("POST", format!("/jobs/{job}/cancel"), ""),
        ("POST", format!("/jobs/{job}/cancel"), ""),
        ("POST", format!("/jobs/{job}/retry"), ""),
        ("POST", format!("/jobs/{job}/retry"), ""),
        ("GET", format!("/jobs/{none}"), ""),
        ("POST", format!("/jobs/{none}/cancel"), ""),
        ("POST", "/jobs/junk/retry".to_owned(), ""),
        ("POST", "/builds/1/cancel".to_owned(), ""),
        ("POST", "/builds/1/cancel".to_owned(), ""),
        ("POST", "/builds/9/cancel".to_owned(), ""),
        ("POST", "/builds".to_owned(), "steps: 1"),
        ("DELETE", "/faults/f9".to_owned(), ""),
        ("POST", "/faults".to_owned(), r#"{"kind":"gce.earthquake"}"#),
        ("POST", "/faults".to_owned(), r#"{"kind":"no.such"}"#),
        (
            "POST",
            "/faults".to_owned(),
            r#"{"kind":"reply.lost","match":{"host":"run"}}"#,
        ),
        ("POST", "/faults".to_owned(), r#"{"kind":"reply.lost","whom":{}}"#),
        ("POST", "/faults".to_owned(), "{"),
        ("PUT", "/limits".to_owned(), r#"{"buildkite":{"no_such":1}}"#),
        ("PUT", "/limits".to_owned(), r#"{"buildkite":{"batch_max":5}}"#),
        ("POST", "/instances/none/preempt".to_owned(), ""),
        ("POST", "/instances/none/explode".to_owned(), ""),
        ("GET", "/nothing".to_owned(), ""),
    ] {
        let reply = fakes.control(method, &path, body).await;
        if reply.status >= 400 {
            assert!(
                reply.body["message"].is_string(),
                "{method} {path}: {}",
                reply.text
            );
        }
        let message = reply.body["message"].as_str().unwrap_or("");
        seen.push(
            format!("{method} {path} {body} -> {} {message}", reply.status)
                .replace(job, "JOB")
                .replace(none, "NONE"),
        );
    }
    insta::assert_snapshot!(seen.join("\n"));
    let state = fakes.control("GET", "/state", "").await.body;
    assert_eq!(state["buildkite"]["jobs"].as_array().unwrap().len(), 3);
    assert!(state["gce"].is_object());
}

#[tokio::test]
async fn the_log_is_gapless_ends_without_follow_and_grows_with_it() {
    let fakes = Fakes::start().await;
    fakes.build(ONE).await;
    let all = fakes.control("GET", "/events?after=0", "").await.text;
    let seqs: Vec<u64> = all
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let rest = fakes.control("GET", "/events?after=2", "").await.text;
    assert_eq!(rest.lines().count(), seqs.len() - 2);

    let url = format!(
        "{}/events?after={}&follow=true",
        fakes.handle.addresses.control,
        seqs.len()
    );
    let mut stream = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    fakes.build(ONE).await;
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !text.contains("job.state") {
            text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    })
    .await
    .expect("what happens is streamed");
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["seq"].as_u64(), first["kind"].as_str()),
        (Some(seqs.len() as u64 + 1), Some("build.created"))
    );
}

#[tokio::test]
async fn faults_do_to_replies_what_they_say() {
    let fakes = Fakes::start().await;
    fakes.register("g").await;
    let url = format!("{}/v3/stacks/g/notifications", fakes.handle.addresses.buildkite);
    let job = fakes.build(ONE).await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"notifications": [{"job_uuid": job, "detail": "hello"}]});
    let send = async || fakes.post("/v3/stacks/g/notifications", TOKEN, &body).await;
    let set = async |kind: &str, more: Value| {
        let mut aim = json!({"host": "buildkite", "method": "stacks.notify"});
        aim.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let reply = fakes
            .control(
                "POST",
                "/faults",
                &json!({"kind": kind, "match": aim, "count": 1}).to_string(),
            )
            .await;
        assert_eq!(reply.status, 201, "{}", reply.text);
    };
    let told = async || fakes.events("job.notified").await.len();

    set(
        "reply.status",
        json!({"status": 502, "body": {"message": "gone"}}),
    )
    .await;
    assert_eq!(send().await.told(), r#"502 {"message":"gone"}"#);
    assert_eq!(told().await, 0, "the call was not made");

    set("reply.html", json!({})).await;
    let html = send().await;
    assert!(html.status == 200 && html.text.starts_with("<!DOCTYPE html>"));
    assert_eq!(told().await, 0);

    set("reply.duplicate", json!({})).await;
    assert_eq!(send().await.status, 200);
    assert_eq!(told().await, 2, "the call was made twice");

    for kind in ["reply.lost", "reply.truncated"] {
        let before = told().await;
        set(kind, json!({})).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client
            .post(&url)
            .header("authorization", format!("Token {TOKEN}"))
            .json(&body)
            .send()
            .await;
        let lost = match sent {
            Err(_) => true,
            Ok(reply) => reply.bytes().await.is_err(),
        };
        assert!(lost, "{kind}");
        assert_eq!(told().await, before + 1, "{kind}: the effect happened");
    }
    assert_eq!(fakes.events("fault.applied").await.len(), 5);
    assert_eq!(send().await.status, 200, "each fault applied once");
}

#[tokio::test]
async fn a_paused_queue_shows_both_flags_and_lists_its_jobs_until_the_fault_is_deleted() {
    let fakes = Fakes::start().await;
    fakes.register("g").await;
    fakes.build(ONE).await;
    let set = fakes
        .control(
            "POST",
            "/faults",
            r#"{"kind":"buildkite.pause","match":{"queue":"gust"}}"#,
        )
        .await;
    let list = "/v3/stacks/g/scheduled-jobs?queue_key=~";
    let page = fakes.get(list, TOKEN).await.body;
    assert_eq!(
        (
            &page["cluster_queue"]["paused"],
            &page["cluster_queue"]["dispatch_paused"]
        ),
        (&json!(true), &json!(true))
    );
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1);
    let id = set.body["id"].as_str().unwrap();
    assert_eq!(
        fakes.control("DELETE", &format!("/faults/{id}"), "").await.status,
        200
    );
    assert_eq!(
        fakes.get(list, TOKEN).await.body["cluster_queue"]["paused"],
        false
    );
}

#[tokio::test]
async fn an_agent_whose_heartbeats_are_not_heard_is_lost() {
    let fakes = Fakes::start().await;
    let job = fakes.build(ONE).await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    fakes
        .control(
            "POST",
            "/faults",
            r#"{"kind":"buildkite.agent-lost","match":{"agent_name":"vm"}}"#,
        )
        .await;
    fakes.run(&job).await;
    // Only now: it must not be lost before it has its job.
    let quick = r#"{"buildkite":{"agent_lost_after_s":1,"agent_lost_sweep_s":1}}"#;
    assert_eq!(fakes.control("PUT", "/limits", quick).await.status, 200);
    fakes
        .until("the agent is lost", async || {
            !fakes.events("agent.lost").await.is_empty()
        })
        .await;
    let end = &fakes.events("job.finished").await[0];
    assert_eq!(
        (end["by"].as_str(), end["exit_status"].as_str()),
        (Some("server"), Some("-1"))
    );
}
