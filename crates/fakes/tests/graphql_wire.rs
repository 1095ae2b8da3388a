//! GraphQL over real HTTP, with queries as people write them for the real service.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::{Value, json};

use wire::{Fakes, TOKEN};

const SCHEDULED: &str = r#"
query Scheduled($org: ID!, $queues: [ID!], $first: Int = 100, $after: String, $rules: [String!]) {
  organization(slug: $org) {
    jobs(first: $first, after: $after, type: [COMMAND], state: [SCHEDULED], clusterQueue: $queues, agentQueryRules: $rules) {
      count
      pageInfo { hasNextPage endCursor }
      edges { cursor node { __typename ...job } }
    }
  }
}
fragment job on JobTypeCommand {
  id uuid state agentQueryRules priority { number } createdAt scheduledAt runnableAt
  build { uuid number branch } pipeline { slug uuid } step { key } clusterQueue { id key dispatchPaused }
}"#;

const THREE: &str = "steps:\n- {command: a, key: a, agents: {queue: gust, cpu: 8}}\n- {command: b, key: b, priority: 5}\n- {command: c, key: c}";

fn keys(reply: &Value) -> Vec<String> {
    let edges = reply["data"]["organization"]["jobs"]["edges"].as_array().unwrap();
    let key = |edge: &Value| edge["node"]["step"]["key"].as_str().unwrap().to_owned();
    edges.iter().map(key).collect()
}

#[tokio::test]
async fn scheduled_jobs_are_listed_in_pages_newest_first_and_filtered() {
    let fakes = Fakes::start().await;
    fakes.build(THREE).await;
    let all = fakes.graphql(SCHEDULED, json!({"org": "gust-demo"})).await;
    assert_eq!(all.status, 200, "{}", all.text);
    assert_eq!(keys(&all.body), ["c", "b", "a"]);
    let jobs = &all.body["data"]["organization"]["jobs"];
    assert_eq!(
        (&jobs["count"], &jobs["pageInfo"]["hasNextPage"]),
        (&json!(3), &json!(false))
    );
    let node = &jobs["edges"][2]["node"];
    assert_eq!(node["__typename"], "JobTypeCommand");
    assert_eq!(node["agentQueryRules"], json!(["queue=gust", "cpu=8"]));
    assert_eq!(
        (&node["state"], &node["clusterQueue"]["key"]),
        (&json!("SCHEDULED"), &json!("gust"))
    );
    assert_eq!(node["clusterQueue"]["dispatchPaused"], false);

    let mut after = Value::Null;
    let mut seen = Vec::new();
    for page in 1..=3 {
        let reply = fakes
            .graphql(SCHEDULED, json!({"org": "gust-demo", "first": 1, "after": after}))
            .await;
        seen.extend(keys(&reply.body));
        let info = &reply.body["data"]["organization"]["jobs"]["pageInfo"];
        assert_eq!(info["hasNextPage"], page < 3);
        after = info["endCursor"].clone();
        // What comes ahead of the cursor later does not move what is behind it.
        fakes.build("steps:\n- {command: n, key: n}").await;
    }
    assert_eq!(seen, ["c", "b", "a"]);

    let queue = node["clusterQueue"]["id"].clone();
    let narrow = json!({"org": "gust-demo", "queues": [queue], "rules": ["cpu=8"]});
    assert_eq!(keys(&fakes.graphql(SCHEDULED, narrow).await.body), ["a"]);
    let nowhere = json!({"org": "gust-demo", "queues": ["UXVldWUtLS14"]});
    assert!(keys(&fakes.graphql(SCHEDULED, nowhere).await.body).is_empty());
    let nobody = fakes.graphql(SCHEDULED, json!({"org": "other"})).await;
    assert_eq!(nobody.body, json!({"data": {"organization": null}}));
    let lost = fakes
        .graphql(SCHEDULED, json!({"org": "gust-demo", "after": "?"}))
        .await;
    assert_eq!(lost.body["data"]["organization"]["jobs"], Value::Null);
    assert_eq!(lost.body["errors"][0]["path"], json!(["organization", "jobs"]));
}

#[tokio::test]
async fn a_job_is_canceled_and_retried_by_its_id_and_tells_its_events() {
    let fakes = Fakes::start().await;
    let job = fakes.build("steps:\n- {command: a, key: a}").await["jobs"][0]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let found = fakes
        .graphql(
            "query($u: ID!) { job(uuid: $u) { ... on JobTypeCommand { id } } }",
            json!({"u": job}),
        )
        .await;
    let id = found.body["data"]["job"]["id"].clone();
    let cancel = "mutation($id: ID!) { jobTypeCommandCancel(input: {id: $id, clientMutationId: \"m\"}) { clientMutationId jobTypeCommand { state } } }";
    let gone = fakes.graphql(cancel, json!({"id": id})).await;
    assert_eq!(
        gone.body["data"]["jobTypeCommandCancel"],
        json!({"clientMutationId": "m", "jobTypeCommand": {"state": "CANCELED"}})
    );
    let again = fakes.graphql(cancel, json!({"id": id})).await;
    assert_eq!(
        (again.status, &again.body["data"]["jobTypeCommandCancel"]),
        (200, &Value::Null)
    );
    assert_eq!(
        again.body["errors"][0]["message"],
        "A canceled job cannot be canceled"
    );

    let retry = "mutation($id: ID!) { jobTypeCommandRetry(input: {id: $id}) { jobTypeCommand { retried retryType } retriedInJobTypeCommand { uuid state retrySource { ... on JobInterface { uuid } } } } }";
    let retried = fakes.graphql(retry, json!({"id": id})).await;
    let payload = &retried.body["data"]["jobTypeCommandRetry"];
    assert_eq!(
        payload["jobTypeCommand"],
        json!({"retried": true, "retryType": "MANUAL"})
    );
    assert_eq!(payload["retriedInJobTypeCommand"]["state"], "SCHEDULED");
    assert_eq!(
        payload["retriedInJobTypeCommand"]["retrySource"]["uuid"],
        json!(job)
    );

    let events = "query($id: ID!) { node(id: $id) { ... on JobTypeCommand { events(first: 50) { edges { node { type actor { type } ... on JobEventRetried { retriedInJob { uuid } } } } } } } }";
    let told = fakes.graphql(events, json!({"id": id})).await;
    let edges = told.body["data"]["node"]["events"]["edges"].as_array().unwrap();
    let types: Vec<&str> = edges
        .iter()
        .map(|edge| edge["node"]["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["SCHEDULED", "CANCELATION", "CANCELED", "RETRIED"]);
}

#[tokio::test]
async fn builds_queues_agents_and_annotations_can_be_acted_on() {
    let fakes = Fakes::start().await;
    let build = fakes
        .build("steps:\n- {command: a, key: a}\n- {command: b}")
        .await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap();
    fakes.run(job).await;
    let look = "query($slug: ID!, $job: ID!) { build(slug: $slug) { id state } job(uuid: $job) { ... on JobTypeCommand { id clusterQueue { id } agent { id name connectionState isRunningJob } } } viewer { user { name } } }";
    let seen = fakes
        .graphql(look, json!({"slug": "gust-demo/p/1", "job": job}))
        .await
        .body;
    assert_eq!(seen["data"]["build"]["state"], "RUNNING");
    assert_eq!(seen["data"]["viewer"]["user"]["name"], "User 1");
    let found = &seen["data"]["job"];
    assert_eq!(
        (&found["agent"]["name"], &found["agent"]["isRunningJob"]),
        (&json!("vm"), &json!(true))
    );

    let act = r#"mutation($build: ID!, $job: ID!, $queue: ID!, $agent: ID!) {
      note: buildAnnotate(input: {buildID: $build, body: "**hello**", style: INFO, context: "gust"}) {
        build { number } annotationEdge { cursor } annotation { id scope style body { html text } } }
      jobAnnotate(input: {jobId: $job, body: "there"}) { job { uuid } annotation { id scope context } annotationEdge { node { priority } } }
      clusterQueuePauseDispatch(input: {id: $queue, note: "night"}) { queue { dispatchPaused dispatchPausedNote } }
      agentPause(input: {id: $agent, note: "n", timeoutInMinutes: 3}) { agent { paused pausedTimeoutInMinutes } }
      agentResume(input: {id: $agent}) { agent { paused } }
      agentStop(input: {id: $agent}) { agent { name } }
      buildCancel(input: {id: $build}) { build { state } }
    }"#;
    let ids = json!({"build": seen["data"]["build"]["id"], "job": found["id"], "queue": found["clusterQueue"]["id"], "agent": found["agent"]["id"]});
    let done = fakes.graphql(act, ids.clone()).await;
    assert_eq!(done.body["errors"], Value::Null, "{}", done.text);
    let done = &done.body["data"];
    assert_eq!(
        done["note"]["annotation"]["body"]["html"],
        "<p><strong>hello</strong></p>\n"
    );
    assert_eq!(done["jobAnnotate"]["annotation"]["scope"], "JOB");
    let paused = json!({"dispatchPaused": true, "dispatchPausedNote": "night"});
    assert_eq!(done["clusterQueuePauseDispatch"]["queue"], paused);
    assert_eq!(
        done["agentPause"]["agent"],
        json!({"paused": true, "pausedTimeoutInMinutes": 3})
    );
    assert_eq!(done["agentResume"]["agent"]["paused"], false);
    assert_eq!(done["buildCancel"]["build"]["state"], "CANCELING");

    // The Stacks API tells of the pause as well.
    fakes.register("g").await;
    let list = fakes
        .get("/v3/stacks/g/scheduled-jobs?queue_key=gust", TOKEN)
        .await;
    assert_eq!(list.body["cluster_queue"]["dispatch_paused"], true);
    let resume = "mutation($queue: ID!) { clusterQueueResumeDispatch(input: {id: $queue}) { queue { dispatchPaused } } }";
    let resumed = fakes.graphql(resume, json!({"queue": ids["queue"]})).await;
    assert_eq!(
        resumed.body["data"]["clusterQueueResumeDispatch"]["queue"]["dispatchPaused"],
        false
    );
    let delete = "mutation($id: ID!) { annotationDelete(input: {id: $id}) { build { annotations { count } } deletedAnnotationId } }";
    let deleted = fakes
        .graphql(delete, json!({"id": done["note"]["annotation"]["id"]}))
        .await;
    assert_eq!(
        deleted.body["data"]["annotationDelete"]["build"]["annotations"]["count"],
        1
    );
}

#[tokio::test]
async fn what_is_refused_is_refused_as_the_real_service_does() {
    let fakes = Fakes::start().await;
    let mut seen = Vec::new();
    let mut tell = |what: &str, reply: wire::Reply| seen.push(format!("{what}: {}", reply.told()));
    let query = json!({"query": "{ viewer { id } }"});
    for authorization in ["", "Bearer bkua_wrong", "Token bkua_fake"] {
        tell(
            authorization,
            fakes
                .api("POST", "/v1", &[("authorization", authorization)], &query)
                .await,
        );
    }
    for body in [
        json!([]),
        json!({}),
        json!({"query": 1}),
        json!({"query": "{ viewer { id }"}),
        json!({"query": "{ organization(slug: \"gust-demo\") { jobs(first: 1) { nodes { uuid } } } }"}),
        json!({"query": "{ organization(slug: \"gust-demo\") { jobs(first: 1, state: [QUEUED]) { count } } }"}),
        json!({"query": "query A { viewer { id } } query B { viewer { id } }"}),
        json!({"query": "query A { viewer { id } }", "operationName": "C"}),
        json!({"query": "query($u: ID!) { job(uuid: $u) { __typename } }"}),
        json!({"query": "{ organization(slug: \"gust-demo\") { pipelines { edges { node { builds { edges { node { number } } } } } } } }"}),
        json!({"query": "mutation { jobTypeCommandCancel(input: {id: \"junk\"}) { clientMutationId } }"}),
    ] {
        tell(&body.to_string(), fakes.api("POST", "/v1", &[], &body).await);
    }
    tell("GET", fakes.api("GET", "/v1", &[], &Value::Null).await);
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test]
async fn complexity_is_told_and_the_budgets_are_kept() {
    let mut limits = Limits::standard();
    limits.buildkite.graphql.user_complexity = 20;
    let fakes = Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    fakes.build(THREE).await;
    let query = json!({"query": "{ organization(slug: \"gust-demo\") { jobs(first: 10) { edges { node { ... on JobTypeCommand { uuid } } } } } }"});
    let stats = [("buildkite-include-query-stats", "true")];
    let first = fakes.api("POST", "/v1", &stats, &query).await;
    // 1 organization, 1 connection, 1 for the edges, and 3 nodes of 10 possible ones.
    assert_eq!(
        first.body["stats"],
        json!({"requestedComplexity": 13, "actualComplexity": 6})
    );
    assert_eq!(first.header("ratelimit-complexity-requested"), "13");
    assert_eq!(first.header("ratelimit-complexity-actual"), "6");
    assert_eq!(
        (
            first.header("ratelimit-user-limit"),
            first.header("ratelimit-user-remaining")
        ),
        ("20", "14")
    );
    assert_eq!(
        (
            first.header("ratelimit-limit"),
            first.header("ratelimit-remaining")
        ),
        ("20000", "19994")
    );
    assert_eq!(first.header("ratelimit-reset"), "300");
    for _ in 0..3 {
        assert_eq!(fakes.api("POST", "/v1", &[], &query).await.status, 200);
    }
    let over = fakes.api("POST", "/v1", &[], &query).await;
    assert_eq!(over.status, 429);
    let words = over.body["errors"][0]["message"].as_str().unwrap();
    assert!(
        words.starts_with(
            "You have exceeded your per-user limit of 20 complexity points. Please try again in "
        ),
        "{words}"
    );
}

#[tokio::test]
async fn operations_have_names_in_the_log_and_for_faults() {
    let fakes = Fakes::start().await;
    fakes.graphql(SCHEDULED, json!({"org": "gust-demo"})).await;
    fakes.graphql("{ viewer { id } }", json!({})).await;
    let fault = json!({"kind": "reply.status", "match": {"host": "buildkite", "method": "graphql.viewer", "status": 502}, "count": 1});
    assert_eq!(
        fakes.control("POST", "/faults", &fault.to_string()).await.status,
        201
    );
    assert_eq!(fakes.graphql("{ viewer { id } }", json!({})).await.status, 502);
    assert_eq!(fakes.graphql("{ viewer { id } }", json!({})).await.status, 200);
    let methods: Vec<String> = fakes
        .events("api.call")
        .await
        .iter()
        .map(|event| event["method"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        methods,
        [
            "graphql.Scheduled",
            "graphql.viewer",
            "graphql.viewer",
            "graphql.viewer"
        ]
    );
}

#[tokio::test]
async fn the_schema_can_be_asked_for() {
    let fakes = Fakes::start().await;
    let query = r#"{ __schema { queryType { name } mutationType { name } types { name kind } } __type(name: "JobTypeCommand") { fields { name type { kind name ofType { name } } } } }"#;
    let reply = fakes.graphql(query, json!({})).await;
    assert_eq!(
        reply.body["data"]["__schema"]["mutationType"]["name"], "Mutation",
        "{}",
        reply.text
    );
    let fields = reply.body["data"]["__type"]["fields"].as_array().unwrap();
    assert!(fields.iter().any(|field| field["name"] == "agentQueryRules"));
}

#[tokio::test]
async fn a_block_step_is_a_job_that_can_be_unblocked() {
    let fakes = Fakes::start().await;
    fakes.build("steps:\n- {command: a}\n- {input: Who, key: in, fields: [{text: Who, key: who}]}\n- {command: b, depends_on: in}").await;
    let look = r#"{ organization(slug: "gust-demo") { jobs(first: 10, type: [BLOCK, COMMAND]) { edges { node { __typename
        ... on JobTypeBlock { id state label isUnblockable step { key } } ... on JobTypeCommand { state } } } } } }"#;
    let nodes = async || {
        let edges =
            fakes.graphql(look, json!({})).await.body["data"]["organization"]["jobs"]["edges"].clone();
        edges
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["node"].clone())
            .collect::<Vec<_>>()
    };
    let seen = nodes().await;
    let states: Vec<&str> = seen.iter().map(|node| node["state"].as_str().unwrap()).collect();
    assert_eq!(
        states,
        ["WAITING", "SCHEDULED", "BLOCKED"],
        "jobs of a build are made behind its steps"
    );
    let block = &seen[2];
    assert_eq!(
        (&block["__typename"], &block["step"]["key"]),
        (&json!("JobTypeBlock"), &json!("in"))
    );
    let act = "mutation($id: ID!, $fields: JSON) { jobTypeBlockUnblock(input: {id: $id, fields: $fields}) { jobTypeBlock { state unblockedBy { name } } } }";
    let done = fakes
        .graphql(act, json!({"id": block["id"], "fields": {"who": "me"}}))
        .await;
    let now = &done.body["data"]["jobTypeBlockUnblock"]["jobTypeBlock"];
    assert_eq!(
        now,
        &json!({"state": "UNBLOCKED", "unblockedBy": {"name": "User 1"}}),
        "{}",
        done.text
    );
    assert_eq!(nodes().await[0]["state"], "SCHEDULED");
}

#[tokio::test]
async fn lists_lag_and_shift_under_faults() {
    let fakes = Fakes::start().await;
    let build = fakes.build(THREE).await;
    let fault = async |kind: &str, more: Value| {
        let mut aim = json!({"method": "graphql.*"});
        aim.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let reply = fakes
            .control(
                "POST",
                "/faults",
                &json!({"kind": kind, "match": aim}).to_string(),
            )
            .await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body["id"].as_str().unwrap().to_owned()
    };
    let shift = fault("list.shift", json!({"size": 1, "skip": 1})).await;
    let first = fakes.graphql(SCHEDULED, json!({"org": "gust-demo"})).await.body;
    assert_eq!(keys(&first), ["c"]);
    let after = &first["data"]["organization"]["jobs"]["pageInfo"]["endCursor"];
    let second = fakes
        .graphql(SCHEDULED, json!({"org": "gust-demo", "after": after}))
        .await
        .body;
    assert_eq!(keys(&second), ["a"], "b slipped to the page before");
    fakes.control("DELETE", &format!("/faults/{shift}"), "").await;

    let lag = fault("list.lag", json!({"lag_s": 300})).await;
    let past = fakes.graphql(SCHEDULED, json!({"org": "gust-demo"})).await.body;
    assert!(keys(&past).is_empty(), "five minutes ago there was nothing");
    fakes.control("DELETE", &format!("/faults/{lag}"), "").await;
    let cancel = format!("/jobs/{}/cancel", build["jobs"][0]["uuid"].as_str().unwrap());
    fakes.control("POST", &cancel, "").await;
    assert_eq!(
        keys(&fakes.graphql(SCHEDULED, json!({"org": "gust-demo"})).await.body),
        ["c", "b"]
    );
}

#[tokio::test]
async fn what_command_lines_and_provisioners_ask_for_is_answered() {
    let fakes = Fakes::start().await;
    let build = fakes.build(THREE).await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap().to_owned();
    let token = fakes.run(&job).await;
    let artifacts = json!({"artifacts": [{"path": "out/a", "file_size": 1, "content_type": "text/plain"}]});
    fakes
        .post(&format!("/v3/jobs/{job}/artifacts"), &token, &artifacts)
        .await;
    fakes
        .post(
            "/v3/register",
            TOKEN,
            &json!({"name": "one", "os": "linux", "arch": "amd64", "version": "3"}),
        )
        .await;
    let query = r#"query Whole($org: ID!, $job: ID!) {
      organization(slug: $org) {
        allowedApiIpAddresses membersRequireTwoFactorAuthentication
        members(first: 2, email: "user-1@gust-demo.invalid") { edges { node { role user { email avatar { url } } } } }
        pipelines(first: 5, search: "p", repository: {url: "https://git.invalid/gust-demo.git"}) {
          edges { node { slug visibility tags { label } repository { url provider { name __typename } } createdBy { name } } }
        }
        cluster: clusters(first: 1) { edges { node {
          agentTokens(first: 5) { edges { node { description expiresAt cluster { name } } } }
          queues(first: 1) { edges { node { key dispatchPausedBy { id } createdBy { name } } } }
        } } }
        agents(first: 1) { edges { node { name userAgent operatingSystem { name } permissions { agentStop { allowed } } } } }
      }
      job(uuid: $job) { ... on JobTypeCommand {
        artifacts(first: 5, path: "out/*", state: NEW) { count edges { node { path state mimeType job { uuid } } } }
      } }
    }"#;
    let reply = fakes
        .graphql(query, json!({"org": "gust-demo", "job": job}))
        .await
        .body;
    assert_eq!(reply["errors"], Value::Null);
    let organization = &reply["data"]["organization"];
    let first = |list: &Value| list["edges"][0]["node"].clone();
    let member = first(&organization["members"]);
    assert_eq!(
        (&member["role"], &member["user"]["email"]),
        (&json!("ADMIN"), &json!("user-1@gust-demo.invalid"))
    );
    assert_eq!(
        first(&organization["pipelines"]),
        json!({
            "slug": "p", "visibility": "PRIVATE", "tags": [], "createdBy": {"name": "User 1"},
            "repository": {
                "url": "https://git.invalid/gust-demo.git",
                "provider": {"name": "Unknown", "__typename": "RepositoryProviderUnknown"},
            },
        })
    );
    let cluster = first(&organization["cluster"]);
    assert_eq!(
        first(&cluster["agentTokens"])["cluster"],
        json!({"name": "gust-demo"})
    );
    assert_eq!(
        first(&cluster["queues"])["dispatchPausedBy"],
        Value::Null,
        "nobody has paused it"
    );
    assert_eq!(
        first(&organization["agents"]),
        json!({
            "name": "one", "userAgent": "buildkite-agent/3 (linux; amd64)", "operatingSystem": {"name": "linux"},
            "permissions": {"agentStop": {"allowed": true}},
        })
    );
    let artifacts = &reply["data"]["job"]["artifacts"];
    assert_eq!(
        (&artifacts["count"], &first(artifacts)["job"]["uuid"]),
        (&json!(1), &json!(job))
    );
    // `JobTypeCommand---` and the job, as `bk job cancel` makes it.
    let id = STANDARD.encode(format!("JobTypeCommand---{job}"));
    let cancel =
        "mutation($id: ID!) { jobTypeCommandCancel(input: {id: $id}) { jobTypeCommand { state url } } }";
    let canceled = fakes.graphql(cancel, json!({ "id": id })).await.body;
    assert_eq!(
        canceled["data"]["jobTypeCommandCancel"]["jobTypeCommand"]["state"], "CANCELING",
        "{canceled}"
    );
    let none = fakes
        .graphql(
            "{ organization(slug: \"gust-demo\") { pipelines(first: 1, tags: [\"x\"]) { count } } }",
            json!({}),
        )
        .await
        .body;
    assert_eq!(none["data"]["organization"]["pipelines"]["count"], 0);
}
