//! The fake Buildkite over real HTTP: statuses, headers and shapes of the contract.

mod wire;

use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::{Value, json};

use wire::{Fakes, Reply, TOKEN};

const ONE: &str = "steps:\n- {command: a, key: a}";

#[tokio::test]
async fn a_stack_must_be_registered_and_its_calls_carry_rate_headers() {
    let fakes = Fakes::start().await;
    let list = "/v3/stacks/g/scheduled-jobs?queue_key=gust";
    assert_eq!(fakes.get(list, TOKEN).await.status, 404);
    assert_eq!(fakes.get(list, "bkct_wrong").await.status, 401);
    let body = json!({"key": "g", "type": "custom", "queue_key": "_default", "metadata": {}});
    let first = fakes.post("/v3/stacks/register", TOKEN, &body).await;
    assert_eq!(
        (first.status, first.body["cluster_queue_key"].as_str()),
        (201, Some("gust"))
    );
    let rate = |reply: &Reply| {
        ["scope", "remaining"].map(|name| reply.header(&format!("ratelimit-{name}")).to_owned())
    };
    assert_eq!(rate(&first), ["default", "9"]);
    // The window is one second of real time: on a slow machine it takes a few tries to meet the one before in it.
    let mut again: Vec<[String; 2]> = Vec::new();
    while again.len() < 200 && again.last() != Some(&["default", "8"].map(str::to_owned)) {
        let reply = fakes.post("/v3/stacks/register", TOKEN, &body).await;
        assert_eq!(reply.status, 200);
        again.push(rate(&reply));
    }
    let (last, others) = again.split_last().expect("it was registered again");
    assert_eq!(*last, ["default", "8"]);
    assert!(others.iter().all(|rate| *rate == ["default", "9"]), "{again:?}");
    let page = fakes.get(list, TOKEN).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("ratelimit-scope"), "list-scheduled-jobs");
    assert_eq!(
        (page.header("ratelimit-limit"), page.header("ratelimit-remaining")),
        ("10", "9")
    );
    let queue = &page.body["cluster_queue"];
    assert_eq!(
        (&queue["paused"], &queue["dispatch_paused"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        page.body["page_info"],
        json!({"has_next_page": false, "end_cursor": null})
    );
    assert_eq!(
        fakes
            .post("/v3/stacks/g/deregister", TOKEN, &json!(null))
            .await
            .status,
        204
    );
    assert_eq!(fakes.get(list, TOKEN).await.status, 404);
}

#[tokio::test]
async fn malformed_stack_requests_meet_the_documented_statuses() {
    let mut limits = Limits::standard();
    limits.buildkite.rates_per_second.clear();
    limits.buildkite.stacks_per_organization = 2;
    let fakes = Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let job = fakes.build(ONE).await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut seen = Vec::new();
    let stack = |key: &str, kind: &str, queue: &str| json!({"key": key, "type": kind, "queue_key": queue, "metadata": {}});
    for body in [
        stack("g", "custom", "~"),
        stack("has space", "custom", "gust"),
        stack(&"k".repeat(81), "custom", "gust"),
        stack("h", "machine", "gust"),
        stack("h", "custom", "nowhere"),
        json!({"key": "h", "type": "custom", "queue_key": "gust"}),
        json!({"key": "h", "type": "custom", "queue_key": "gust", "metadata": {"k": "v".repeat(257)}}),
        json!({"key": "h", "type": "custom", "queue_key": "gust", "metadata": null}),
        stack("i", "custom", "gust"),
        json!([]),
    ] {
        let reply = fakes.post("/v3/stacks/register", TOKEN, &body).await;
        seen.push(format!("register {}", reply.told()));
    }
    for query in [
        "",
        "?queue_key=",
        "?queue_key=x",
        "?queue_key=gust&limit=0",
        "?queue_key=gust&limit=1001",
        "?queue_key=gust&limit=x",
        "?queue_key=gust&after=zz",
    ] {
        let reply = fakes
            .get(&format!("/v3/stacks/g/scheduled-jobs{query}"), TOKEN)
            .await;
        seen.push(format!("list{query} {}", reply.told()));
    }
    let reserve = "/v3/stacks/g/scheduled-jobs/batch-reserve";
    for body in [
        json!({}),
        json!({"job_uuids": null}),
        json!({"job_uuids": [1]}),
        json!({"job_uuids": [], "reservation_expiry_seconds": 3601}),
        json!({"job_uuids": [], "reservation_expiry_seconds": 0}),
        json!({"job_uuids": vec!["x"; 1001]}),
        json!({"job_uuids": [job, "junk"]}),
    ] {
        let reply = fakes.put(reserve, TOKEN, &body).await;
        seen.push(format!("reserve {}", reply.told()));
    }
    for body in [json!({"job_uuids": "x"}), json!({"job_uuids": ["junk", job]})] {
        let reply = fakes.post("/v3/stacks/g/jobs/get-states", TOKEN, &body).await;
        seen.push(format!("states {}", reply.told()));
    }
    let finish = format!("/v3/stacks/g/jobs/{job}/finish");
    for body in [
        json!({}),
        json!({"detail": "x".repeat(4097)}),
        json!({"detail": "x", "exit_status": "0"}),
    ] {
        seen.push(format!(
            "finish {}",
            fakes.post(&finish, TOKEN, &body).await.told()
        ));
    }
    seen.push(format!(
        "finish {}",
        fakes
            .post("/v3/stacks/g/jobs/junk/finish", TOKEN, &json!({"detail": "x"}))
            .await
            .told()
    ));
    seen.push(format!(
        "get-job {}",
        fakes.get("/v3/stacks/g/jobs/junk", TOKEN).await.status
    ));
    seen.push(format!(
        "get-job {}",
        fakes.get(&format!("/v3/stacks/g/jobs/{job}"), TOKEN).await.status
    ));
    seen.push(format!(
        "finish {}",
        fakes
            .post(&finish, TOKEN, &json!({"detail": "x".repeat(4096)}))
            .await
            .told()
    ));
    seen.push(format!(
        "finish {}",
        fakes.post(&finish, TOKEN, &json!({"detail": "x"})).await.told()
    ));
    seen.push(format!(
        "path {}",
        fakes.get("/v3/stacks/g/none", TOKEN).await.told()
    ));
    let shown = seen.join("\n").replace(&job, "JOB");
    insta::with_settings!({filters => vec![(r#""(id|organization_uuid)":"[0-9a-f-]{36}""#, r#""$1":"UUID""#)]}, {
        insta::assert_snapshot!(shown);
    });
}

#[tokio::test]
async fn the_eleventh_list_within_a_second_is_refused_with_the_documented_body() {
    let fakes = Fakes::start().await;
    fakes.register("g").await;
    let mut refused = None;
    // The window is one second of real time: on a slow machine it takes a few tries to fill it.
    for _ in 0..200 {
        let path = "/v3/stacks/g/scheduled-jobs?queue_key=gust";
        let replies = [(); 12].map(|()| fakes.get(path, TOKEN));
        for reply in replies {
            let reply = reply.await;
            if reply.status == 429 {
                refused = Some(reply);
            }
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("200 × 12 calls fill some window");
    let body = &refused.body;
    assert_eq!(
        (&body["scope"], &body["limit"], &body["current"], &body["reset"]),
        (&json!("list-scheduled-jobs"), &json!(10), &json!(11), &json!(1))
    );
    assert!(body["message"].is_string());
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    let told = fakes.events("api.call").await;
    assert!(
        told.iter()
            .any(|event| event["status"] == 429 && event["scope"] == "list-scheduled-jobs")
    );
}

#[tokio::test]
async fn a_job_goes_from_the_list_to_its_end_over_the_wire() {
    let fakes = Fakes::start().await;
    fakes.register("g").await;
    let build = fakes
        .build("steps:\n- {command: a, key: a, agents: {queue: gust, cpu: 8, big: true}}")
        .await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap().to_owned();
    assert_eq!(
        build["jobs"][0]["rules"],
        json!(["queue=gust", "cpu=8", "big=true"])
    );
    let page = fakes
        .get("/v3/stacks/g/scheduled-jobs?queue_key=gust", TOKEN)
        .await;
    assert_eq!(page.body["jobs"][0]["id"], job.as_str());
    let batch = json!({"job_uuids": [job], "reservation_expiry_seconds": 60});
    let reserved = fakes
        .put("/v3/stacks/g/scheduled-jobs/batch-reserve", TOKEN, &batch)
        .await;
    assert_eq!(reserved.body, json!({"reserved": [job], "not_reserved": []}));
    let tokens = fakes
        .post(
            "/v3/stacks/g/job-acquisition-tokens",
            TOKEN,
            &json!({"job_uuids": [job]}),
        )
        .await;
    assert_eq!(tokens.status, 201);
    let token = tokens.body["job_acquisition_tokens"][0]["job_acquisition_token"]
        .as_str()
        .unwrap()
        .to_owned();

    let agent = fakes
        .post(
            "/v3/register",
            &token,
            &json!({"name": "vm-1", "meta_data": ["queue=gust"]}),
        )
        .await;
    assert_eq!((agent.status, agent.body["name"].as_str()), (200, Some("vm-1")));
    let session = agent.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        fakes.post("/v3/connect", &session, &Value::Null).await.status,
        200
    );
    assert!(
        fakes
            .post("/v3/heartbeat", &session, &json!({"sent_at": "x"}))
            .await
            .body["received_at"]
            .is_string()
    );
    let acquired = fakes
        .put(&format!("/v3/jobs/{job}/acquire"), &session, &Value::Null)
        .await;
    assert_eq!(acquired.status, 200);
    assert!(
        acquired.body["exit_status"].is_string(),
        "a number would break the agent"
    );
    assert!(
        acquired.body["env"]
            .as_object()
            .unwrap()
            .values()
            .all(Value::is_string)
    );
    let own = acquired.body["token"].as_str().unwrap().to_owned();
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/acquire"), &session, &Value::Null)
            .await
            .status,
        422
    );
    assert_eq!(
        fakes
            .post("/v3/register", &token, &json!({"name": "vm-2"}))
            .await
            .status,
        422
    );

    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/start"), &session, &json!({}))
            .await
            .status,
        401
    );
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/start"), &own, &json!({}))
            .await
            .status,
        200
    );
    let chunk = format!("/v3/jobs/{job}/chunks?sequence=1&offset=0&size=5");
    assert_eq!(fakes.chunk(&chunk, &own, b"hello").await, 201);
    assert_eq!(
        fakes.chunk(&chunk, &own, b"hello").await,
        201,
        "a repeat is welcome"
    );
    assert_eq!(fakes.chunk(&chunk, &own, b"other size").await, 422);
    assert_eq!(
        fakes.get(&format!("/v3/jobs/{job}"), &own).await.body["state"],
        "running"
    );
    let note = json!({"body": "done", "context": "gust", "style": "success"});
    assert_eq!(
        fakes
            .post(&format!("/v3/jobs/{job}/annotations"), &own, &note)
            .await
            .status,
        201
    );
    let end = json!({"exit_status": "3", "signal_reason": ""});
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/finish"), &own, &end)
            .await
            .status,
        200
    );
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/finish"), &own, &end)
            .await
            .status,
        422
    );
    assert_eq!(fakes.get(&format!("/v3/jobs/{job}"), &own).await.status, 401);
    assert_eq!(fakes.get("/v3/ping", &session).await.body, json!({}));
    assert_eq!(
        fakes.post("/v3/disconnect", &session, &Value::Null).await.status,
        200
    );

    let shown = fakes.control("GET", &format!("/jobs/{job}"), "").await.body;
    assert_eq!(
        (shown["state"].as_str(), shown["exit_status"].as_str()),
        (Some("finished"), Some("3"))
    );
    assert_eq!(shown["log"], "hello");
    assert!(shown["signal_reason"].is_null());
    assert_eq!(shown["agent"]["name"], "vm-1");
    assert_eq!(shown["annotations"][0]["body"], "done");
    let acquired = fakes.events("job.acquired").await;
    assert_eq!(acquired.len(), 1);
    assert_eq!(acquired[0]["agent_name"], "vm-1");
    assert!(acquired[0]["caller"].as_str().unwrap().starts_with("gust-test "));
}

#[tokio::test]
async fn artifacts_and_uploads_work_as_the_agent_drives_them() {
    let fakes = Fakes::start().await;
    let build = fakes.build(ONE).await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap().to_owned();
    let token = fakes.run(&job).await;
    let announced = json!({
        "id": "x", "upload_destination": "", "multipart_supported": true,
        "artifacts": [
            {"id": "", "path": "a.txt", "absolute_path": "/a.txt", "glob_path": "", "file_size": 3, "sha1sum": "s"},
            {"id": "", "path": "big", "file_size": 9 << 20},
        ],
    });
    let created = fakes
        .post(&format!("/v3/jobs/{job}/artifacts"), &token, &announced)
        .await;
    assert_eq!(created.status, 201);
    let ids: Vec<&str> = created.body["artifact_ids"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let form = &created.body["upload_instructions"];
    let data = form["data"]["batch"].as_str().unwrap();
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"batch\"\r\n\r\n{data}\r\n--B\r\nContent-Disposition: form-data; \
         name=\"path\"\r\n\r\na.txt\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nabc\r\n--B--\r\n"
    );
    let url = format!(
        "{}{}",
        form["action"]["url"].as_str().unwrap(),
        form["action"]["path"].as_str().unwrap()
    );
    assert_eq!(
        fakes
            .raw("POST", &url, "multipart/form-data; boundary=B", body.into_bytes())
            .await
            .status,
        204
    );
    let parts = created.body["per_artifact_instructions"][ids[1]]["actions"]
        .as_array()
        .unwrap();
    assert_eq!(parts.len(), 2);
    for part in parts {
        let reply = fakes
            .raw(
                "PUT",
                part["url"].as_str().unwrap(),
                "application/octet-stream",
                vec![1; 4],
            )
            .await;
        assert!(!reply.header("etag").is_empty());
    }
    let states = json!({"artifacts": [{"id": ids[0], "state": "finished"}, {"id": ids[1], "state": "finished", "multipart": true}]});
    assert_eq!(
        fakes
            .put(&format!("/v3/jobs/{job}/artifacts"), &token, &states)
            .await
            .status,
        200
    );
    let build_id = build["build"]["uuid"].as_str().unwrap();
    let search = format!("/v3/builds/{build_id}/artifacts/search?query=*.txt&state=finished");
    let found = fakes.get(&search, &token).await.body;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let content = fakes
        .raw("GET", found[0]["url"].as_str().unwrap(), "text/plain", Vec::new())
        .await;
    assert_eq!(content.text, "abc");

    let upload = json!({"uuid": "11111111-1111-4111-8111-111111111111", "pipeline": {"steps": [{"command": "n", "key": "n"}]}});
    let accepted = fakes
        .post(&format!("/v3/jobs/{job}/pipelines?async=true"), &token, &upload)
        .await;
    assert_eq!(accepted.status, 202);
    let location = accepted.header("location").to_owned();
    fakes
        .until("the upload is applied", async || {
            fakes.get(&location, &token).await.body["state"] == "applied"
        })
        .await;
    assert!(
        fakes
            .events("job.created")
            .await
            .iter()
            .any(|event| event["key"] == "n")
    );
}

#[tokio::test]
async fn what_is_not_built_answers_501_and_unknown_paths_404() {
    let fakes = Fakes::start().await;
    for (path, status) in [
        ("/v1", 401),
        ("/v2/organizations", 401),
        ("/v3/nothing", 404),
        ("/agentedge.v1.AgentEdgeService/StreamPings", 404),
    ] {
        assert_eq!(fakes.post(path, TOKEN, &json!({})).await.status, status, "{path}");
    }
    let run = format!("{}/v2/projects/p", fakes.handle.addresses.run);
    assert_eq!(fakes.raw("GET", &run, "", Vec::new()).await.status, 501);
}
