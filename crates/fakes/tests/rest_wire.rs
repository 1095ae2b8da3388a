//! The REST API over real HTTP.

mod wire;

use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::{Value, json};

use wire::Fakes;

const P: &str = "/v2/organizations/gust-demo/pipelines/p";

/// Fakes whose budgets do not get in the way.
async fn generous() -> Fakes {
    let mut limits = Limits::standard();
    limits.buildkite.rest.user_requests = 10_000;
    limits.buildkite.rest.organization_requests = 10_000;
    let mut settings = Settings {
        limits,
        ..Settings::default()
    };
    settings.buildkite.api_tokens.push("bkua_read".into());
    settings
        .buildkite
        .api_scopes
        .insert("bkua_read".into(), vec!["read_builds".into()]);
    Fakes::with(settings).await
}

impl Fakes {
    async fn rest(&self, method: &str, path: &str, body: Value) -> wire::Reply {
        self.api(method, path, &[], &body).await
    }
}

#[tokio::test]
async fn builds_are_listed_in_pages_with_links_and_filters() {
    let fakes = generous().await;
    for _ in 0..3 {
        fakes.build("steps:\n- {command: a}").await;
    }
    fakes.control("POST", "/builds/2/cancel", "").await;
    let page = fakes
        .rest(
            "GET",
            &format!("{P}/builds?per_page=1&page=2&state[]=scheduled&state[]=canceled"),
            json!(null),
        )
        .await;
    assert_eq!(
        (page.status, &page.body[0]["number"], &page.body[0]["state"]),
        (200, &json!(2), &json!("canceled")),
        "{}",
        page.text
    );
    let base = &fakes.handle.addresses.buildkite;
    let url =
        |page: u32| format!("<{base}{P}/builds?per_page=1&state[]=scheduled&state[]=canceled&page={page}>");
    assert_eq!(
        page.header("link"),
        format!(
            "{}; rel=\"first\", {}; rel=\"prev\", {}; rel=\"next\", {}; rel=\"last\"",
            url(1),
            url(1),
            url(3),
            url(3)
        )
    );
    let all = fakes
        .rest(
            "GET",
            "/v2/organizations/gust-demo/builds?exclude_jobs=true&branch=main",
            json!(null),
        )
        .await;
    let numbers: Vec<&Value> = all
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|build| &build["number"])
        .collect();
    assert_eq!(numbers, [&json!(3), &json!(2), &json!(1)]);
    assert_eq!(all.body[0]["jobs"], Value::Null);
    assert_eq!(all.header("link"), "");
    assert_eq!(
        fakes
            .rest("GET", "/v2/builds?branch=other", json!(null))
            .await
            .body,
        json!([])
    );
    let one = fakes
        .rest("GET", &format!("{P}/builds/2"), json!(null))
        .await
        .body;
    assert_eq!(
        (&one["job_state_counts"], &one["jobs"][0]["type"]),
        (&json!({"total": 1, "states": {"canceled": 1}}), &json!("script"))
    );
}

#[tokio::test]
async fn a_job_shows_its_state_log_environment_and_annotations_and_is_retried() {
    let fakes = generous().await;
    let job = fakes.build("steps:\n- {command: a, key: a, env: {A: b}}").await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let own = format!("/v2/organizations/gust-demo/jobs/{job}");
    let retry = fakes.rest("PUT", &format!("{own}/retry"), json!(null)).await;
    assert_eq!(
        (retry.status, &retry.body["message"]),
        (
            400,
            &json!("Only failed, timed out or canceled jobs can be retried")
        )
    );
    let changed = fakes
        .rest("PUT", &format!("{own}/reprioritize"), json!({"priority": 5}))
        .await;
    assert_eq!(
        (changed.status, &changed.body["priority"]["number"]),
        (200, &json!(5))
    );
    assert_eq!(
        fakes
            .rest("PUT", &format!("{own}/reprioritize"), json!({"priority": "x"}))
            .await
            .body["message"],
        "Priority must be an integer"
    );
    let unblocked = fakes.rest("PUT", &format!("{own}/unblock"), json!({})).await;
    assert_eq!(
        (unblocked.status, &unblocked.body["message"]),
        (400, &json!("This job type cannot be unblocked"))
    );
    assert_eq!(
        fakes.rest("GET", &format!("{own}/env"), json!(null)).await.body["env"]["A"],
        "b"
    );

    let token = fakes.run(&job).await;
    fakes
        .chunk(
            &format!("/v3/jobs/{job}/chunks?sequence=1&offset=0&size=5"),
            &token,
            b"hello",
        )
        .await;
    let log = fakes
        .rest("GET", &format!("{P}/builds/1/jobs/{job}/log"), json!(null))
        .await;
    assert_eq!(
        (&log.body["content"], &log.body["size"]),
        (&json!("hello"), &json!(5))
    );
    assert_eq!(
        fakes
            .rest("GET", &format!("{own}/log.txt"), json!(null))
            .await
            .text,
        "hello"
    );

    let note =
        json!({"body": "# Waiting\nfor <b>you</b>", "style": "info", "context": "gust", "priority": 5});
    let made = fakes
        .rest("POST", &format!("{own}/annotations"), note.clone())
        .await;
    assert_eq!(
        (made.status, &made.body["scope"], &made.body["job_id"]),
        (201, &json!("job"), &json!(job))
    );
    assert_eq!(
        made.body["body_html"],
        "<h1>Waiting</h1>\n<p>for &lt;b&gt;you&lt;/b&gt;</p>\n"
    );
    assert_eq!(
        fakes
            .rest("POST", &format!("{P}/builds/1/annotations"), note)
            .await
            .status,
        201
    );
    assert_eq!(
        fakes
            .rest(
                "POST",
                &format!("{P}/builds/1/annotations"),
                json!({"body": "x", "style": "loud"})
            )
            .await
            .status,
        422
    );
    let scopes = async |query: &str| {
        let all = fakes
            .rest("GET", &format!("{P}/builds/1/annotations{query}"), json!(null))
            .await
            .body;
        all.as_array().unwrap().len()
    };
    assert_eq!(
        (
            scopes("").await,
            scopes("?scope=job").await,
            scopes("?scope=all&omit_body=true").await
        ),
        (1, 1, 2)
    );
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(
        fakes
            .rest("DELETE", &format!("{own}/annotations/{id}"), json!(null))
            .await
            .status,
        204
    );
    assert_eq!(
        fakes
            .rest("DELETE", &format!("{own}/annotations/{id}"), json!(null))
            .await
            .status,
        404
    );
    assert_eq!(scopes("?scope=job").await, 0);

    fakes
        .put(
            &format!("/v3/jobs/{job}/finish"),
            &token,
            &json!({"exit_status": "3"}),
        )
        .await;
    let again = fakes.rest("PUT", &format!("{own}/retry"), json!(null)).await;
    assert_eq!(
        (again.status, &again.body["retry_source"]),
        (
            200,
            &json!({"job_id": job, "retry_type": "manual", "retried_by": {"name": "User 1", "email": "user-1@gust-demo.invalid"}})
        )
    );
    let jobs = fakes
        .rest("GET", &format!("{P}/builds/1/jobs?per_page=1"), json!(null))
        .await
        .body;
    assert_eq!(
        (&jobs["items"][0]["id"], &jobs["items"][0]["state"]),
        (&json!(job), &json!("failed"))
    );
    let next = jobs["links"]["next"]
        .as_str()
        .unwrap()
        .strip_prefix(&fakes.handle.addresses.buildkite)
        .unwrap();
    let more = fakes.rest("GET", next, json!(null)).await.body;
    assert_eq!(
        (&more["items"][0]["id"], &more["links"]["next"]),
        (&again.body["id"], &Value::Null)
    );
    let failed = fakes
        .rest("GET", &format!("{P}/builds/1/jobs?state[]=failed"), json!(null))
        .await
        .body;
    assert_eq!(failed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_block_step_is_a_manual_job() {
    let fakes = generous().await;
    fakes.build("steps:\n- {block: go}\n- {command: a}").await;
    let build = fakes
        .rest("GET", &format!("{P}/builds/1"), json!(null))
        .await
        .body;
    assert_eq!(
        (&build["state"], &build["blocked"]),
        (&json!("passed"), &json!(true))
    );
    let own = format!("{P}/builds/1/jobs/{}", build["jobs"][0]["id"].as_str().unwrap());
    let nobody = fakes
        .rest("PUT", &format!("{own}/unblock"), json!({"unblocker": "nobody"}))
        .await;
    assert_eq!(nobody.status, 422);
    let done = fakes
        .rest("PUT", &format!("{own}/unblock"), json!({"fields": {}}))
        .await;
    assert_eq!((done.status, &done.body["state"]), (200, &json!("unblocked")));
    let again = fakes
        .control(
            "POST",
            &format!("/jobs/{}/unblock", build["jobs"][0]["id"].as_str().unwrap()),
            "",
        )
        .await;
    assert_eq!(again.status, 422);
    assert_eq!(
        fakes.rest("GET", &own, json!(null)).await.body["unblockable"],
        false
    );
}

#[tokio::test]
async fn agents_and_queues_are_shown_stopped_and_paused() {
    let fakes = generous().await;
    let job = fakes.build("steps:\n- {command: a}").await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    fakes.run(&job).await;
    let org = "/v2/organizations/gust-demo";
    let agents = fakes
        .rest("GET", &format!("{org}/agents?name=vm"), json!(null))
        .await
        .body;
    assert_eq!(
        (&agents[0]["connection_state"], &agents[0]["job"]["id"]),
        (&json!("connected"), &json!(job))
    );
    let own = format!("{org}/agents/{}", agents[0]["id"].as_str().unwrap());
    let mut seen = Vec::new();
    for (method, act) in [
        ("PUT", "resume"),
        ("PUT", "pause"),
        ("PUT", "pause"),
        ("PUT", "resume"),
        ("PUT", "stop"),
        ("GET", ""),
    ] {
        let path = if act.is_empty() {
            own.clone()
        } else {
            format!("{own}/{act}")
        };
        let body = if method == "PUT" { json!({}) } else { json!(null) };
        let reply = fakes.rest(method, &path, body).await;
        let told = if act.is_empty() {
            reply.body["connection_state"].clone()
        } else {
            reply.body["message"].clone()
        };
        seen.push(format!("{act} {} {told}", reply.status));
    }
    assert_eq!(
        seen,
        [
            "resume 422 \"Agent is not paused\"",
            "pause 204 null",
            "pause 422 \"Agent is already paused\"",
            "resume 204 null",
            "stop 204 null",
            " 200 \"stopping\""
        ]
    );
    // A stop cancels the job, unless it says otherwise.
    assert_eq!(
        fakes.control("GET", &format!("/jobs/{job}"), "").await.body["state"],
        "canceling"
    );

    let clusters = fakes
        .rest("GET", &format!("{org}/clusters"), json!(null))
        .await
        .body;
    let queues = format!("{org}/clusters/{}/queues", clusters[0]["id"].as_str().unwrap());
    let queue = fakes.rest("GET", &queues, json!(null)).await.body[0].clone();
    assert_eq!(
        (&queue["key"], &queue["dispatch_paused"]),
        (&json!("gust"), &json!(false))
    );
    let queue = format!("{queues}/{}", queue["id"].as_str().unwrap());
    let paused = fakes
        .rest(
            "POST",
            &format!("{queue}/pause_dispatch"),
            json!({"dispatch_paused_note": "night"}),
        )
        .await;
    assert_eq!(
        (
            &paused.body["dispatch_paused"],
            &paused.body["dispatch_paused_note"]
        ),
        (&json!(true), &json!("night"))
    );
    let act = async |act: &str| {
        let path = format!("{queue}/{act}_dispatch");
        fakes.rest("POST", &path, json!(null)).await
    };
    let again = act("pause").await;
    assert_eq!(
        (again.status, again.body["message"].as_str()),
        (422, Some("Cluster queue is already paused"))
    );
    assert_eq!(act("resume").await.body["dispatch_paused"], false);
    let again = act("resume").await;
    assert_eq!(
        (again.status, again.body["message"].as_str()),
        (422, Some("Cluster queue is not paused"))
    );
}

#[tokio::test]
async fn what_waits_for_its_concurrency_group_is_scheduled_over_rest_and_can_be_asked_for() {
    let fakes = generous().await;
    fakes
        .build("steps:\n- {command: a, concurrency: 1, concurrency_group: g, parallelism: 2}")
        .await;
    let build = format!("{P}/builds/1");
    let shown = fakes.rest("GET", &build, json!(null)).await.body;
    let states = [0, 1].map(|at| shown["jobs"][at]["state"].clone());
    assert_eq!(states, ["scheduled", "scheduled"]);
    for (state, count) in [("limited", 1), ("scheduled", 2)] {
        let path = format!("{build}/jobs?state={state}");
        let listed = fakes.rest("GET", &path, json!(null)).await.body;
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{state}");
    }
}

#[tokio::test]
async fn a_job_of_a_canceled_build_or_one_that_may_not_is_not_retried() {
    let fakes = generous().await;
    let made = fakes
        .build("steps:\n- {command: a, retry: {manual: {permit_on_passed: false}}}\n- {command: b}")
        .await;
    let [a, b] = [0, 1].map(|at| made["jobs"][at]["uuid"].as_str().unwrap().to_owned());
    fakes.run(&a).await;
    let retry = async |job: &str| {
        let path = format!("{P}/builds/1/jobs/{job}/retry");
        fakes.rest("PUT", &path, json!(null)).await
    };
    assert_eq!(retry(&a).await.status, 400);
    let cancel = format!("{P}/builds/1/cancel");
    assert_eq!(fakes.rest("PUT", &cancel, json!(null)).await.status, 200);
    let refused = retry(&b).await;
    assert_eq!(
        (refused.status, refused.body["message"].as_str()),
        (422, Some("Jobs from canceled builds cannot be retried"))
    );
}

#[tokio::test]
async fn tokens_scopes_and_unknown_things_are_refused() {
    let fakes = generous().await;
    fakes.build("steps:\n- {command: a}").await;
    let mut seen = Vec::new();
    for (token, method, path) in [
        ("bkua_wrong", "GET", format!("{P}/builds/1")),
        ("bkua_read", "GET", format!("{P}/builds/1")),
        ("bkua_read", "PUT", format!("{P}/builds/1/cancel")),
        ("bkua_read", "GET", "/v2/organizations/gust-demo/agents".into()),
        ("bkua_read", "GET", "/v2/access-token".into()),
        ("bkua_fake", "GET", format!("{P}/builds/7")),
        ("bkua_fake", "GET", format!("{P}x/builds")),
        ("bkua_fake", "GET", "/v2/organizations/other/builds".into()),
        ("bkua_fake", "GET", format!("{P}/builds?page=x")),
        ("bkua_fake", "GET", format!("{P}/builds/1/jobs?state[]=finished")),
        ("bkua_fake", "PUT", format!("{P}/builds/1/cancel")),
        ("bkua_fake", "PUT", format!("{P}/builds/1/cancel")),
        ("bkua_read", "POST", format!("{P}/builds")),
        ("bkua_fake", "PUT", format!("{P}/builds/1/rebuild")),
    ] {
        let authorization = format!("Bearer {token}");
        let reply = fakes
            .api(method, &path, &[("authorization", &authorization)], &Value::Null)
            .await;
        let told = if reply.status < 300 && !path.ends_with("token") {
            Value::Null
        } else {
            reply.body
        };
        seen.push(format!("{token} {method} {path}: {} {told}", reply.status));
    }
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test]
async fn a_build_is_made_of_the_steps_that_a_pipeline_has() {
    let fakes = generous().await;
    let path = format!("{P}/builds");
    let create = |body: Value| fakes.rest("POST", &path, body);
    let wanted = json!({"commit": "abc", "branch": "topic", "message": "Why", "env": {"A": 1}, "meta_data": {"v": true},
        "author": {}, "clean_checkout": false, "ignore_pipeline_branch_filters": false});
    assert_eq!(create(wanted.clone()).await.status, 404);
    fakes.build("steps:\n- {command: a}").await;
    assert_eq!(create(wanted.clone()).await.status, 422, "it has no steps yet");
    let steps = "steps:\n- {command: a, if: build.message == 'Why'}\n- {trigger: p, branches: '!topic'}";
    assert_eq!(fakes.control("PUT", "/pipelines/p", steps).await.status, 201);
    assert_eq!(fakes.control("PUT", "/pipelines/p", steps).await.status, 200);
    assert_eq!(fakes.control("PUT", "/pipelines/p", "steps: 1").await.status, 422);
    let reply = create(wanted).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let build = reply.body;
    assert_eq!(
        ["commit", "branch", "message", "env", "meta_data"].map(|name| build[name].clone()),
        [
            json!("abc"),
            json!("topic"),
            json!("Why"),
            json!({"A": "1"}),
            json!({"v": "true"})
        ]
    );
    assert_eq!(
        [0, 1].map(|at| build["jobs"][at]["state"].clone()),
        ["scheduled", "broken"]
    );
    let trigger = build["jobs"][1]["id"].as_str().unwrap();
    let job = fakes
        .rest("GET", &format!("{P}/builds/2/jobs/{trigger}"), json!(null))
        .await;
    assert_eq!((job.status, &job.body["type"]), (200, &json!("trigger")));
    assert_eq!(create(json!({"commit": "abc"})).await.status, 422);
    let by_ann = json!({"commit": "abc", "branch": "b", "author": {"name": "Ann"}});
    assert_eq!(create(by_ann).await.body["author"]["name"], "Ann");
    let of_a_pull_request = json!({"commit": "abc", "branch": "b", "pull_request_id": 7});
    assert_eq!(create(of_a_pull_request).await.status, 501);
}

#[tokio::test]
async fn the_budgets_are_told_and_kept() {
    let mut limits = Limits::standard();
    limits.buildkite.rest.user_requests = 2;
    let fakes = Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let first = fakes.rest("GET", "/v2/builds", json!(null)).await;
    assert_eq!(
        (
            first.header("ratelimit-scope"),
            first.header("ratelimit-limit"),
            first.header("ratelimit-remaining")
        ),
        ("rest", "200", "199")
    );
    assert_eq!(
        (
            first.header("ratelimit-user-scope"),
            first.header("ratelimit-user-remaining")
        ),
        ("rest_user", "1")
    );
    let second = fakes.rest("GET", "/v2/builds", json!(null)).await;
    assert_eq!(
        (second.status, second.header("ratelimit-user-warning")),
        (200, "You have exceeded your API rate limit.")
    );
    let third = fakes.rest("GET", "/v2/builds", json!(null)).await;
    assert_eq!(
        (third.status, &third.body["scope"], &third.body["current"]),
        (429, &json!("rest_user"), &json!(3))
    );
}
