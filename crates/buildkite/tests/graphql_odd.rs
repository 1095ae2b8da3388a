//! The source over GraphQL and REST against a server that answers oddly: errors of the right class, unknown words, and what is
//! sent in which order.

mod stub;

use std::time::Duration;

use gust_buildkite::{Client, Config, GraphqlSource, client::Scheme, source::Patience};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{Finish, FinishOutcome, JobState, Notification, Remedy, Source, SourceError},
    secret::Secret,
    time::Timestamp,
};
use serde_json::{Value, json};
use stub::{Answer, Stub};
use tokio::task::JoinSet;

fn client(stub: &Stub) -> Client {
    let endpoint = stub.endpoint().parse().expect("a URL");
    Client::new(Config {
        scheme: Scheme::Bearer,
        ..Config::new(endpoint, Secret::new("bkua_very_secret"), "gust-test")
    })
    .expect("a client")
}

/// All is answered here: a slow machine changes nothing of what calls meet.
const PATIENCE: Patience = Patience {
    reads: Duration::from_secs(20),
    writes: Duration::from_secs(20),
};

fn source(graphql: &Stub, rest: &Stub) -> GraphqlSource {
    GraphqlSource::new(client(graphql), client(rest), "acme".to_owned(), None).with_patience(PATIENCE)
}

fn job(n: u128) -> JobId {
    JobId(uuid::Uuid::from_u128(n))
}

fn queue() -> QueueKey {
    QueueKey::from("gust")
}

fn ok(data: Value) -> Answer {
    Answer::json(200, &json!({ "data": data }).to_string())
}

/// A page of these jobs.
fn page(jobs: &[u128]) -> Answer {
    let edges: Vec<Value> = jobs
        .iter()
        .map(|n| json!({ "node": { "uuid": job(*n).to_string() } }))
        .collect();
    let jobs = json!({ "pageInfo": { "hasNextPage": false, "endCursor": null }, "edges": edges });
    ok(json!({ "organization": { "jobs": jobs, "head": { "edges": [] } } }))
}

fn facts(priority: i64) -> Value {
    json!({
        "agentQueryRules": ["queue=gust", "cpu=8"], "priority": { "number": priority }, "scheduledAt": "2026-08-01T10:00:00Z",
        "runnableAt": null, "build": { "number": 12, "branch": "main" }, "pipeline": { "slug": "web" }, "step": { "key": "test" }
    })
}

/// The body of a request.
fn body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("a request");
    serde_json::from_str(body).expect("JSON")
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).expect("a request line")
}

/// No clusters.
fn unclustered() -> Answer {
    ok(json!({ "organization": { "clusters": { "edges": [] } } }))
}

async fn list_error(answer: Answer) -> SourceError {
    let stub = Stub::start(vec![unclustered(), answer]).await;
    let listed = source(&stub, &stub).list(&queue(), None).await;
    listed.expect_err("the stub answers badly")
}

#[tokio::test]
async fn errors_are_classed_by_remedy_in_whichever_way_they_come() {
    let said =
        |status, words: &str| Answer::json(status, &json!({ "errors": [{ "message": words }] }).to_string());
    let over = "Your organization has exceeded the limit of 20000 complexity points. Please try again in 187 seconds.";
    let seconds = |n| Remedy::RetryLater(Duration::from_secs(n));
    let cases = [
        (
            "no access",
            said(401, "Authentication required"),
            Remedy::Unauthorized,
        ),
        (
            "over the budget",
            said(429, over).with("RateLimit-Reset", "187"),
            seconds(187),
        ),
        (
            "over the budget, with a good status",
            said(200, over),
            seconds(187),
        ),
        (
            "too much at once",
            said(
                200,
                "Query has complexity of 251503, which exceeds max complexity of 50000",
            ),
            Remedy::Refused,
        ),
        ("out of order", said(200, "Something went wrong"), seconds(1)),
        ("down", said(500, "oops"), seconds(1)),
        ("HTML", Answer::json(200, "<html>"), seconds(1)),
        ("empty", Answer::json(200, ""), seconds(1)),
        (
            "half of it",
            Answer::Half(r#"{"data":{"organization":"#.to_owned()),
            seconds(1),
        ),
        (
            "cut short",
            Answer::json(200, r#"{"data":{"organization":"#),
            seconds(1),
        ),
        (
            "another shape",
            ok(json!({ "organization": { "jobs": 7 } })),
            seconds(1),
        ),
        (
            "no organization",
            ok(json!({ "organization": null })),
            Remedy::Gone,
        ),
    ];
    // At the same time, for some are asked again for seconds.
    let mut all = JoinSet::new();
    for (what, answer, remedy) in cases {
        all.spawn(async move {
            let error = list_error(answer).await;
            assert_eq!(error.remedy, remedy, "{what}: {error}");
            assert!(!format!("{error:?}").contains("very_secret"), "{what}");
        });
    }
    all.join_all().await;
    let error = list_error(said(401, "Authentication required")).await;
    assert!(error.message.contains("Authentication required"), "{error}");
}

#[tokio::test]
async fn states_of_words_not_known_are_neither_waiting_nor_over_and_what_is_not_there_is_missing() {
    let states = json!({
        "data": { "j0": { "id": "a", "state": "HIBERNATING" }, "j1": null, "j2": { "id": "c", "state": "TIMED_OUT" }, "j3": { "id": "d" },
                  "j4": { "id": "e", "state": "LIMITED" } },
        "errors": [{ "message": "no access", "path": ["j1"] }]
    });
    let stub = Stub::start(vec![Answer::json(200, &states.to_string())]).await;
    let jobs: Vec<JobId> = (0..5).map(job).collect();
    let states = source(&stub, &stub).states(&jobs).await.expect("states");
    assert_eq!(
        states.get(&job(0)),
        Some(&JobState::Unknown("hibernating".to_owned()))
    );
    assert_eq!(states.get(&job(2)), Some(&JobState::Over("timed_out".to_owned())));
    assert_eq!(states.get(&job(4)), Some(&JobState::Held("limited".to_owned())));
    assert_eq!(states.len(), 3);
}

#[tokio::test]
async fn what_a_job_is_planned_by_is_asked_once_and_one_that_went_away_is_left_out() {
    let odd = json!({ "agentQueryRules": 7 });
    let stub = Stub::start(vec![
        unclustered(),
        page(&[1, 2, 3]),
        ok(json!({ "j0": facts(5), "j1": null, "j2": odd })),
        page(&[1]),
    ])
    .await;
    let source = source(&stub, &stub);
    for _ in 0..2 {
        let listed = source.list(&queue(), None).await.expect("a page");
        let ids: Vec<JobId> = listed.jobs.iter().map(|job| job.id).collect();
        assert_eq!(ids, [job(1)]);
        let facts = &listed.jobs[0].facts;
        assert_eq!((facts.priority, facts.build, &*facts.pipeline), (5, 12, "web"));
        assert_eq!(
            Some(facts.runnable_at),
            Timestamp::parse_rfc3339("2026-08-01T10:00:00Z")
        );
    }
    let requests = stub.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests[0]
            .to_lowercase()
            .contains("authorization: bearer bkua_very_secret")
    );
    let asked = body(&requests[1]);
    assert_eq!(asked["variables"]["org"], "acme");
    assert_eq!(asked["variables"]["rules"], json!(["queue=gust"]));
    assert_eq!(asked["variables"]["queues"], Value::Null);
}

#[tokio::test]
async fn when_half_of_the_budget_is_spent_calls_keep_their_distance() {
    let nearly = page(&[])
        .with("RateLimit-Limit", "20000")
        .with("RateLimit-Remaining", "15000")
        .with("RateLimit-Reset", "800")
        .with("RateLimit-User-Limit", "5000")
        .with("RateLimit-User-Remaining", "510")
        .with("RateLimit-User-Reset", "800");
    let stub = Stub::start(vec![unclustered(), nearly]).await;
    let source = source(&stub, &stub);
    source.list(&queue(), None).await.expect("a page");
    // 10 points may still be spent in 800 seconds, some of which have passed.
    let error = source
        .list(&queue(), None)
        .await
        .expect_err("it would wait too long");
    assert!(
        matches!(error.remedy, Remedy::RetryLater(wait) if (60.0..81.0).contains(&wait.as_secs_f64())),
        "{error:?}"
    );
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn a_queue_of_a_cluster_is_asked_for_by_its_id() {
    let queue_of = |id: &str, key: &str| json!({ "node": { "id": id, "key": key } });
    let cluster = |id: &str, queues: Value| json!({ "node": { "id": id, "queues": { "edges": queues } } });
    let clusters = json!([
        cluster("c1", json!([queue_of("q1", "gust"), queue_of("q2", "other")])),
        cluster("c2", json!([queue_of("q3", "gust")])),
    ]);
    let answer = ok(json!({ "organization": { "clusters": { "edges": clusters } } }));
    for (cluster, wanted) in [(None, json!(["q1", "q3"])), (Some("c2"), json!(["q3"]))] {
        let stub = Stub::start(vec![answer.clone(), page(&[])]).await;
        let cluster = cluster.map(str::to_owned);
        let source = GraphqlSource::new(client(&stub), client(&stub), "acme".to_owned(), cluster);
        source.register().await.expect("it is there");
        source.list(&queue(), None).await.expect("a page");
        let asked = body(&stub.requests()[1]);
        assert_eq!(asked["variables"]["queues"], wanted);
        assert_eq!(asked["variables"]["rules"], Value::Null);
    }
}

#[tokio::test]
async fn a_job_is_told_why_before_it_is_canceled() {
    let state = |word: &str| ok(json!({ "j0": { "id": "Sm9i", "state": word } }));
    let graphql = Stub::start(vec![
        state("SCHEDULED"),
        ok(json!({ "jobTypeCommandCancel": { "jobTypeCommand": { "state": "CANCELED" } } })),
        state("RUNNING"),
        state("CANCELED"),
        state("SCHEDULED"),
        Answer::json(200, r#"{"errors":[{"message":"Job can't be canceled"}]}"#),
        state("FINISHED"),
    ])
    .await;
    let rest = Stub::start(vec![Answer::json(201, "{}")]).await;
    let source = source(&graphql, &rest);
    let finish = Finish {
        exit_status: -1,
        detail: "cpu=7 <8>\nnearest: cpu=8".to_owned(),
    };
    assert_eq!(
        source.finish(job(1), &finish).await.expect("canceled"),
        FinishOutcome::Finished
    );
    let told = rest.requests();
    assert_eq!(
        path(&told[0]),
        format!("/v3/organizations/acme/jobs/{}/annotations", job(1))
    );
    insta::assert_snapshot!(body(&told[0]), @r#"{"body":"cpu=7 &lt;8>  \nnearest: cpu=8","context":"gust","style":"error","append":false}"#);
    let cancel = body(&graphql.requests()[1]);
    assert_eq!(cancel["variables"]["id"], "Sm9i");
    // What an agent has is not ours to end.
    let error = source.finish(job(1), &finish).await.expect_err("it runs");
    assert_eq!(error.remedy, Remedy::Refused, "{error}");
    assert_eq!(
        source.finish(job(1), &finish).await.expect("over"),
        FinishOutcome::AlreadyOver
    );
    // It ended between our look and the cancellation.
    assert_eq!(
        source.finish(job(1), &finish).await.expect("over"),
        FinishOutcome::AlreadyOver
    );
    assert_eq!(rest.requests().len(), 2);
}

#[tokio::test]
async fn a_job_is_not_canceled_while_the_reason_cannot_be_told() {
    let graphql = Stub::start(vec![ok(json!({ "j0": { "id": "Sm9i", "state": "SCHEDULED" } }))]).await;
    let rest = Stub::start(vec![Answer::json(503, "")]).await;
    let source = source(&graphql, &rest);
    let finish = Finish {
        exit_status: -1,
        detail: "why".to_owned(),
    };
    let error = source.finish(job(1), &finish).await.expect_err("later");
    assert!(
        matches!(error.remedy, Remedy::Unclear | Remedy::RetryLater(_)),
        "{error:?}"
    );
    assert_eq!(graphql.requests().len(), 1);
}

#[tokio::test]
async fn of_several_notes_the_last_one_stands_on_the_job_or_else_on_its_build() {
    let graphql = Stub::start(vec![unclustered(), page(&[1]), ok(json!({ "j0": facts(0) }))]).await;
    let rest = Stub::start(vec![
        Answer::json(201, "{}"),
        Answer::json(404, r#"{"message":"Not Found"}"#),
        Answer::json(201, "{}"),
        Answer::json(404, r#"{"message":"Not Found"}"#),
    ])
    .await;
    let source = source(&graphql, &rest);
    source.list(&queue(), None).await.expect("a page");
    let note = |n, detail: &str| Notification {
        job: job(n),
        detail: detail.to_owned(),
        at: Timestamp::parse_rfc3339("2026-08-01T10:00:00Z"),
    };
    let notes = [note(1, "first"), note(1, "second")];
    assert_eq!(source.notify(&notes).await.expect("told"), []);
    assert_eq!(source.notify(&notes[..1]).await.expect("told on the build"), []);
    let rejected = source
        .notify(&[note(2, "nobody knows it")])
        .await
        .expect("an answer");
    assert_eq!(rejected.iter().map(|note| note.index).collect::<Vec<_>>(), [0]);
    let told = rest.requests();
    assert_eq!(
        body(&told[0])["body"],
        "second <small>2026-08-01T10:00:00.000Z</small>"
    );
    assert_eq!(
        path(&told[2]),
        "/v3/organizations/acme/pipelines/web/builds/12/annotations"
    );
    let on_build = body(&told[2]);
    assert_eq!(on_build["context"], format!("gust-{}", job(1)));
    assert!(
        on_build["body"]
            .as_str()
            .is_some_and(|text| text.starts_with("test: first"))
    );
    assert_eq!(told.len(), 4);
}
