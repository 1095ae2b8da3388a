//! Operators of several replicas: whichever is asked, the leader answers, and orders outlive it.

use std::{path::Path, time::Duration};

use gust_loadtest::wire::{Fakes, Fleet, Muster, Programs};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);
const MUSTER: Muster = Muster {
    replicas: 3,
    members: 1,
    regions: &["us-central1", "us-east1"],
    more: "",
};

/// Exit code, data and words of a command of this build's gust.
async fn gust(program: &Path, address: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program)
        .args(args)
        .args(["--address", address])
        .env("GUST_TOKEN", "bkct_fake")
        .output();
    let output = timeout(PATIENCE, output)
        .await
        .expect("in time")
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The status as a replica tells it, once `wanted` holds of it.
async fn status(program: &Path, address: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, data, words) = gust(program, address, &["status", "--json"]).await;
        let status: Value = serde_json::from_str(&data).unwrap_or_default();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "not in time: {status:#} {words}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_answers_for_the_leader_and_orders_outlive_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = Programs::find().expect("programs");
    let program = programs.gust();
    let fakes = Fakes::start(&programs, dir.path(), 1).await.expect("fakes");
    let mut fleet = Fleet::start(&programs, dir.path(), &fakes, &MUSTER).expect("a fleet");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let whole = |status: &Value| {
        let replicas = status["leading"]["replicas"].as_array();
        status["leading"]["decides"] == true
            && replicas.is_some_and(|all| all.len() == 3 && all.iter().all(|one| one["connected"] == true))
    };
    let first = status(&program, &fleet.admin_url(0), whole).await;
    let leader = first["leader"].as_str().expect("a leader").to_owned();
    let led: usize = leader.trim_start_matches('r').parse().expect("a number");
    let others = [(led + 1) % 3, (led + 2) % 3];
    for nth in others {
        let told = status(&program, &fleet.admin_url(nth), whole).await;
        assert_eq!(
            (&told["leader"], &told["replica"]),
            (&first["leader"], &Value::from(format!("r{nth}")))
        );
        let ready = http.get(fleet.ready_url(nth)).send().await.expect("an answer");
        assert_eq!(ready.status(), 200);
    }

    // A follower passes the order on; who gave it is told all the way.
    let asked = fleet.admin_url(others[0]);
    let (code, _, words) = gust(&program, &asked, &["pause", "--note", "a test"]).await;
    assert_eq!(code, Some(0), "{words}");
    let (code, text, words) = gust(
        &program,
        &asked,
        &["explain", "--live", "--cpu", "4", "--memory", "16"],
    )
    .await;
    assert_eq!(code, Some(0), "{words}");
    assert!(
        text.contains("us-east1"),
        "the leader tells of all shards: {text}"
    );
    let (code, _, words) = gust(&program, &asked, &["drain", "us-central1-a"]).await;
    assert_eq!(code, Some(0), "{words}");

    fleet.kill_both(led).await.expect("the leader can be killed");
    let paused = |status: &Value| {
        status["leader"] != first["leader"] && status["leading"]["paused"]["by"] == "operator"
    };
    let next = status(&program, &fleet.admin_url(others[1]), paused).await;
    assert_eq!(next["leading"]["paused"]["note"], "a test");
    assert_eq!(next["leading"]["cordons"][0]["place"]["zone"], "us-central1-a");

    let (code, data, words) = gust(&program, &asked, &["resume", "--json"]).await;
    assert_eq!((code, data.contains("true")), (Some(0), true), "{data} {words}");
    let lively = |status: &Value| status["leading"]["paused"].is_null();
    status(&program, &fleet.admin_url(others[1]), lively).await;
    for nth in others {
        fleet.stop(nth).await.expect("it ends");
    }
    fakes.stop().await.expect("they end");
}
