//! What clients made by others for the real REST and metrics APIs send, and what they look at: go-buildkite,
//! pybuildkite, the `bk` program, buildkite-agent-scaler, buildkite-agent-metrics.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod wire;

use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::{Value, json};

use wire::{Fakes, Reply, TOKEN};

const ORG: &str = "/v2/organizations/gust-demo";
const P: &str = "/v2/organizations/gust-demo/pipelines/p";

async fn generous() -> Fakes {
    let mut limits = Limits::standard();
    limits.buildkite.rest.user_requests = 10_000;
    limits.buildkite.rest.organization_requests = 10_000;
    Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await
}

impl Fakes {
    async fn rest(&self, method: &str, path: &str) -> Reply {
        self.api(method, path, &[], &Value::Null).await
    }

    async fn shown(&self, path: &str) -> Value {
        let reply = self.rest("GET", path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        reply.body
    }

    /// Runs a job to its end.
    async fn end(&self, job: &str, status: &str) {
        let token = self.run(job).await;
        let body = json!({"exit_status": status});
        let path = format!("/v3/jobs/{job}/finish");
        assert_eq!(self.put(&path, &token, &body).await.status, 200);
    }
}

/// The jobs of a new build.
async fn jobs_of(fakes: &Fakes, yaml: &str) -> Vec<String> {
    let build = fakes.build(yaml).await;
    let jobs = build["jobs"].as_array().unwrap().iter();
    jobs.map(|job| job["uuid"].as_str().unwrap().to_owned()).collect()
}

fn all<'a>(list: &'a Value, field: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|item| &item[field]).collect()
}

#[tokio::test]
async fn the_caller_and_the_organization_are_told() {
    let fakes = generous().await;
    let organizations = fakes.shown("/v2/organizations").await;
    assert_eq!(all(&organizations, "slug"), ["gust-demo"]);
    assert_eq!(organizations[0], fakes.shown(ORG).await);
    let user = fakes.shown("/v2/user").await;
    assert_eq!(user["email"], "user-1@gust-demo.invalid");
    assert!(user["avatar_url"].is_string() && user["created_at"].is_string());
    let members = fakes.shown(&format!("{ORG}/members")).await;
    assert_eq!(all(&members, "id"), [&user["id"]]);
    assert_eq!(
        fakes
            .shown(&format!("{ORG}/members/{}", user["id"].as_str().unwrap()))
            .await["role"],
        "admin"
    );
    assert_eq!(fakes.shown(&format!("{ORG}/teams")).await, json!([]));
    let limits = fakes.shown(&format!("{ORG}/rate_limit")).await["scopes"].clone();
    assert_eq!(limits["rest"]["limit"], 10_000);
    assert_eq!(limits["graphql"]["current"], 0);
    // Anybody may ask for this.
    let meta = fakes
        .api("GET", "/v2/meta", &[("authorization", "none")], &Value::Null)
        .await;
    assert_eq!((meta.status, meta.header("ratelimit-scope")), (200, ""));
}

#[tokio::test]
async fn what_rails_lets_pass_is_let_pass() {
    let fakes = generous().await;
    fakes.build("steps:\n- {command: a}").await;
    // pybuildkite: a slash at the end, pages from 0, Python's words for flags, times without a zone.
    for path in [
        "/v2/organizations/?page=0&per_page=100".to_owned(),
        format!("{ORG}/pipelines/?page=0"),
        format!("{ORG}/agents/?page=0"),
        format!("{P}/builds/1/annotations/?page=0"),
        format!("{ORG}/builds?include_retried_jobs=True&created_from=2020-01-01T00:00:00&page=0"),
        format!("{ORG}/builds?created_from=2020-01-01"),
    ] {
        fakes.shown(&path).await;
    }
    let wrong = fakes.rest("GET", &format!("{ORG}/builds?created_from=now")).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(fakes.rest("HEAD", ORG).await.told(), "200 ");
    assert_eq!(fakes.rest("HEAD", &format!("{P}/builds/7")).await.told(), "404 ");
    assert_eq!(fakes.rest("HEAD", "/v2/nothing").await.told(), "501 ");
}

#[tokio::test]
async fn builds_show_what_the_query_wants_of_them() {
    let fakes = generous().await;
    let jobs = jobs_of(
        &fakes,
        "steps:\n- {command: a, key: a}\n- {block: go}\n- {command: b}",
    )
    .await;
    fakes.end(&jobs[0], "1").await;
    fakes.rest("PUT", &format!("{ORG}/jobs/{}/retry", jobs[0])).await;
    let own = format!("{P}/builds/1");
    let build = fakes.shown(&own).await;
    // In the order of the steps, of each only the last try.
    assert_eq!(all(&build["jobs"], "type"), ["script", "manual", "script"]);
    assert_ne!(build["jobs"][0]["id"], jobs[0].as_str());
    assert_eq!(
        build["job_state_counts"],
        json!({"total": 3, "states": {"scheduled": 1, "waiting": 2}})
    );
    let with = fakes.shown(&format!("{own}?include_retried_jobs=true")).await;
    assert_eq!(
        all(&with["jobs"], "retried")[..2],
        [&json!(true), &json!(false)],
        "{with}"
    );
    assert_eq!(with["job_state_counts"]["total"], 4);
    let some = fakes
        .shown(&format!("{own}?job_states[]=scheduled&exclude_pipeline=true"))
        .await;
    assert_eq!(all(&some["jobs"], "state"), ["scheduled"]);
    assert_eq!(
        (&some["pipeline"], &some["job_state_counts"]["total"]),
        (&Value::Null, &json!(3))
    );
    let bare = fakes.shown(&format!("{own}?exclude_jobs=true")).await;
    assert_eq!(
        (&bare["jobs"], &bare["pipeline"]["scheduled_jobs_count"]),
        (&Value::Null, &json!(1))
    );
    let user = fakes.shown("/v2/user").await["id"].as_str().unwrap().to_owned();
    let by_first = format!("creator={user}");
    for (query, count) in [
        ("branch=*ai*", 1),
        ("branch[]=topic&branch[]=m*", 1),
        ("branch=mai", 0),
        ("state=finished", 0),
        ("creator=5acb99cf-d349-4189-b361-d1b9f36d70d7", 0),
        (by_first.as_str(), 1),
    ] {
        let found = fakes.shown(&format!("{ORG}/builds?{query}")).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    let named = fakes
        .shown(&format!("{ORG}/pipelines?name=P&repository=git"))
        .await;
    assert_eq!(all(&named, "running_builds_count"), [1]);
    assert_eq!(fakes.shown(&format!("{ORG}/pipelines?name=q")).await, json!([]));
}

#[tokio::test]
async fn pages_of_jobs_go_both_ways_and_keep_the_filters() {
    let fakes = generous().await;
    jobs_of(
        &fakes,
        "steps:\n- {group: g, key: g, steps: [{command: a, key: a}, {command: b}]}\n- {input: who}\n- {command: c}",
    )
    .await;
    let base = &fakes.handle.addresses.buildkite;
    let own = format!("{P}/builds/1/jobs");
    let first = fakes
        .shown(&format!("{own}?state[]=scheduled&state[]=blocked&per_page=2"))
        .await;
    assert_eq!(all(&first["items"], "group_key"), ["g", "g"]);
    assert_eq!(first["links"]["prev"], Value::Null);
    let follow = |page: &Value, link: &str| {
        let url = page["links"][link].as_str().unwrap();
        url.strip_prefix(base.as_str()).unwrap().to_owned()
    };
    let next = follow(&first, "next");
    assert!(next.contains("state[]=scheduled&state[]=blocked"), "{next}");
    let second = fakes.shown(&next).await;
    assert_eq!(all(&second["items"], "type"), ["manual", "script"]);
    assert_eq!(second["links"]["next"], Value::Null);
    let back = fakes.shown(&follow(&second, "prev")).await;
    assert_eq!(back["items"], first["items"]);
    let grouped = fakes.shown(&format!("{own}?group_key=g&step_key=a")).await;
    assert_eq!(all(&grouped["items"], "step_key"), ["a"]);
    let both = fakes.rest("GET", &format!("{own}?after=x&before=x")).await;
    assert_eq!(both.status, 400);
}

#[tokio::test]
async fn the_end_of_a_log_and_its_size_can_be_had_alone() {
    let fakes = generous().await;
    let job = jobs_of(&fakes, "steps:\n- {command: a}").await.remove(0);
    let log = format!("{ORG}/jobs/{job}/log");
    let range = async |value: &str, accept: &str| {
        let headers = [("accept", accept), ("range", value)];
        fakes.api("GET", &log, &headers, &Value::Null).await
    };
    assert_eq!(range("bytes=-3", "text/plain").await.status, 416);
    let token = fakes.run(&job).await;
    let chunk = format!("/v3/jobs/{job}/chunks?sequence=1&offset=0&size=9");
    fakes.chunk(&chunk, &token, b"<b> end\r\n").await;
    let head = fakes.rest("HEAD", &log).await;
    assert_eq!(
        (
            head.status,
            head.header("content-length"),
            head.header("accept-ranges")
        ),
        (200, "9", "bytes")
    );
    let end = range("bytes=-5", "text/plain").await;
    assert_eq!(
        (end.told(), end.header("content-range")),
        ("206 end\r\n".to_owned(), "bytes 4-8/9")
    );
    assert_eq!(range("bytes=-99", "text/plain").await.text, "<b> end\r\n");
    for (value, accept) in [
        ("bytes=0-3", "text/plain"),
        ("bytes=-0", "text/plain"),
        ("bytes=-3", "application/json"),
    ] {
        assert_eq!(range(value, accept).await.status, 400, "{value} {accept}");
    }
    assert_eq!(
        fakes.rest("GET", &format!("{log}.html")).await.told(),
        "200 &lt;b&gt; end\n"
    );
    let env = fakes.rest("GET", &format!("{ORG}/jobs/{job}/env.txt")).await;
    assert!(env.text.contains("BUILDKITE_BRANCH=\"main\"\n"), "{}", env.text);
}

#[tokio::test]
async fn artifacts_are_listed_fetched_and_deleted() {
    let fakes = generous().await;
    let job = jobs_of(&fakes, "steps:\n- {command: a}").await.remove(0);
    let token = fakes.run(&job).await;
    let artifacts = json!({"artifacts": [
        {"path": "out/a.txt", "file_size": 2, "sha1sum": "ab", "content_type": "text/plain"}, {"path": "b", "file_size": 0},
    ]});
    let made = fakes
        .post(&format!("/v3/jobs/{job}/artifacts"), &token, &artifacts)
        .await
        .body;
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"batch\"\r\n\r\n{}\r\n--x\r\nContent-Disposition: form-data; \
         name=\"path\"\r\n\r\nout/a.txt\r\n--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhi\r\n--x--\r\n",
        made["id"].as_str().unwrap()
    );
    let store = format!("{}/uploads/form", fakes.handle.addresses.buildkite);
    fakes
        .raw("POST", &store, "multipart/form-data; boundary=x", form.into())
        .await;
    let of_build = fakes.shown(&format!("{P}/builds/1/artifacts/?page=0")).await;
    assert_eq!(all(&of_build, "path"), ["out/a.txt", "b"]);
    assert_eq!(
        ["dirname", "filename", "mime_type", "state", "glob_path"].map(|field| of_build[0][field].clone()),
        [
            json!("out"),
            json!("a.txt"),
            json!("text/plain"),
            json!("new"),
            Value::Null
        ]
    );
    let own = format!("{ORG}/jobs/{job}/artifacts");
    let some = fakes.shown(&format!("{own}?path=out/*&state=new")).await;
    assert_eq!(all(&some, "id"), [&of_build[0]["id"]]);
    assert_eq!(fakes.rest("GET", &format!("{own}?state=old")).await.status, 422);
    let one = format!("{own}/{}", of_build[0]["id"].as_str().unwrap());
    assert_eq!(fakes.shown(&one).await, of_build[0]);
    // The download is a redirection, which this client follows.
    assert_eq!(
        fakes.rest("GET", &format!("{one}/download")).await.told(),
        "200 hi"
    );
    assert_eq!(fakes.rest("DELETE", &one).await.status, 204);
    assert_eq!(fakes.rest("GET", &one).await.status, 404);
    assert_eq!(all(&fakes.shown(&own).await, "path"), ["b"]);
}

#[tokio::test]
async fn all_that_failed_is_retried_at_once() {
    let fakes = generous().await;
    let jobs = jobs_of(
        &fakes,
        "steps:\n- {command: a}\n- {command: b, soft_fail: true}\n- {command: c}",
    )
    .await;
    for (job, status) in jobs.iter().zip(["1", "1", "0"]) {
        fakes.end(job, status).await;
    }
    let path = format!("{P}/builds/1/retry_failed_jobs");
    let retry = async |states: &str| {
        let reply = fakes.api("PUT", &path, &[], &json!({"states": states})).await;
        (reply.status, reply.body)
    };
    let (status, wrong) = retry("failed,odd").await;
    assert_eq!(
        (status, &wrong["message"]),
        (
            400,
            &json!(
                "Invalid states: odd. Valid states are canceled, expired, failed, soft_failed, timed_out."
            )
        )
    );
    let (status, build) = retry("soft_failed").await;
    assert_eq!((status, &build["retried_jobs_count"]), (202, &json!(1)));
    let (_, build) = retry("").await;
    assert_eq!(
        (&build["retried_jobs_count"], &build["state"]),
        (&json!(1), &json!("running"))
    );
    assert_eq!(all(&build["jobs"], "state"), ["scheduled", "scheduled", "passed"]);
}

#[tokio::test]
async fn those_who_scale_get_counts_of_one_queue() {
    let fakes = generous().await;
    let jobs = jobs_of(&fakes, "steps:\n- {command: a}\n- {command: b}").await;
    fakes.run(&jobs[0]).await;
    let metrics = async |name: &str| fakes.get(&format!("/v3/metrics/queue?name={name}"), TOKEN).await;
    let gust = metrics("gust").await.body;
    assert_eq!(
        (&gust["jobs"], &gust["agents"]),
        (
            &json!({"scheduled": 1, "running": 1, "waiting": 0, "total": 2}),
            &json!({"idle": 0, "busy": 1, "total": 1})
        )
    );
    assert_eq!(gust["organization"]["slug"], "gust-demo");
    assert_eq!(
        metrics("other").await.told(),
        "404 {\"message\":\"No queue found\"}"
    );
    let wrong = fakes.get("/v3/metrics/queue?name=gust", "bkct_wrong").await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn agents_tokens_and_waits_are_told_whole() {
    let fakes = generous().await;
    let agent = json!({"name": "vm", "version": "3.136.3", "os": "linux", "arch": "arm64", "meta_data": ["queue=gust"]});
    let agent = fakes.post("/v3/register", TOKEN, &agent).await.body;
    let shown = fakes
        .shown(&format!("{ORG}/agents/{}", agent["id"].as_str().unwrap()))
        .await;
    assert_eq!(
        [
            "connection_state",
            "user_agent",
            "os_id",
            "arch",
            "ip_address",
            "connected_at"
        ]
        .map(|field| shown[field].clone()),
        [
            json!("never_connected"),
            json!("buildkite-agent/3.136.3 (linux; arm64)"),
            json!("linux"),
            json!("arm64"),
            json!("127.0.0.1"),
            Value::Null
        ]
    );
    let cluster = fakes.shown(&format!("{ORG}/clusters")).await[0].clone();
    let tokens = format!("{ORG}/clusters/{}/tokens", cluster["id"].as_str().unwrap());
    let token = fakes.shown(&tokens).await[0].clone();
    assert_eq!(token["token"], Value::Null, "secrets are not shown");
    assert_eq!(
        fakes
            .shown(&format!("{tokens}/{}", token["id"].as_str().unwrap()))
            .await,
        token
    );

    let yaml = "steps:\n- {command: a, concurrency: 1, concurrency_group: g}\n- {command: b, concurrency: 1, concurrency_group: g}\n- {command: c}";
    let jobs = jobs_of(&fakes, yaml).await;
    let waited = async |at: usize| {
        let job = fakes.shown(&format!("{ORG}/jobs/{}", jobs[at])).await;
        job["concurrency_wait_time_ms"].clone()
    };
    assert_eq!(
        [waited(0).await, waited(1).await, waited(2).await],
        [json!(0), Value::Null, Value::Null]
    );
    fakes.end(&jobs[0], "0").await;
    assert!(waited(1).await.is_u64());
    let token = fakes.run(&jobs[2]).await;
    let promise = format!("/v3/jobs/{}/promise_failure", jobs[2]);
    fakes.put(&promise, &token, &json!({"exit_status": 3})).await;
    let job = fakes.shown(&format!("{ORG}/jobs/{}", jobs[2])).await;
    assert_eq!(job["promised_exit_status"], 3);
    assert!(job["promised_exit_status_at"].is_string(), "{job}");
}
