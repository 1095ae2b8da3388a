//! The backend against replies that no honest server gives: what is repeated, what is called refused, and
//! what is left unclear.

mod stub;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use gust_core::{
    ids::{MachineName, Zone},
    ports::{Cloud as _, CloudError, OperationRef, OperationState, RefusalClass},
    records::Call,
};
use serde_json::json;
use stub::{ATTEMPT, Reply, Seen, Stub, config, creation, refusal, shard};

const ZONE: &str = "us-central1-a";

fn operation(seen: &Seen) -> Reply {
    let id = seen.query("requestId").unwrap_or_default();
    Reply::Json(
        200,
        json!({"kind": "compute#operation", "name": format!("op-{id}"), "status": "RUNNING"}),
    )
}

type Odd = fn() -> Reply;

/// How long an attempt waits for an answer that never comes. The one after it may need some of that.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Answers with `odd` so many times, then as it should.
fn odd_first(times: usize, odd: Odd) -> impl Fn(&Seen) -> Reply {
    let calls = AtomicUsize::new(0);
    move |seen| {
        if calls.fetch_add(1, Ordering::SeqCst) < times {
            odd()
        } else {
            operation(seen)
        }
    }
}

async fn create_on(
    handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Result<OperationRef, CloudError>, Vec<Seen>) {
    create_within(ATTEMPT, handler).await
}

async fn create_within(
    attempt: Duration,
    handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Result<OperationRef, CloudError>, Vec<Seen>) {
    let stub = Stub::start(handler).await;
    let result = stub
        .cloud_with(attempt)
        .await
        .create(&creation(&["gust-a-1", "gust-b-1"]))
        .await;
    (result, stub.seen())
}

fn class(error: &CloudError) -> Option<&RefusalClass> {
    match error {
        CloudError::Refused { class, .. } => Some(class),
        CloudError::Unclear { .. } => None,
    }
}

#[tokio::test]
async fn a_creation_is_one_call_under_the_records_request_id() {
    let (result, seen) = create_on(operation).await;
    let id = creation(&["gust-a-1"]).request_id.to_string();
    assert_eq!(result.expect("it was accepted").name, format!("op-{id}"));
    let [seen] = seen.as_slice() else {
        panic!("one call, not {}", seen.len())
    };
    assert_eq!(seen.method, "POST");
    assert_eq!(
        seen.path,
        "/compute/v1/projects/gust-demo/regions/us-central1/instances/bulkInsert"
    );
    assert_eq!(seen.query("requestId"), Some(id.as_str()));
    assert_eq!(seen.user_agent.as_deref(), Some("gust/0.1.0 (test-1)"));
    assert_eq!(seen.body["count"], "2");
}

#[tokio::test]
async fn a_reply_lost_after_its_effect_is_asked_for_again_under_the_same_id() {
    let cases: [(Odd, Duration); 4] = [
        (|| Reply::Reset, ATTEMPT),
        (|| Reply::Half, ATTEMPT),
        (|| Reply::Html(200), ATTEMPT),
        (|| Reply::Never, UNANSWERED),
    ];
    for (odd, attempt) in cases {
        let (result, seen) = create_within(attempt, odd_first(1, odd)).await;
        result.expect("the repeat was answered");
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].query("requestId"), seen[1].query("requestId"));
        assert_eq!(seen[0].body, seen[1].body);
    }
}

#[tokio::test]
async fn a_server_that_fails_once_is_asked_again() {
    let (result, seen) = create_on(odd_first(1, || refusal(503, "backendError", "try again"))).await;
    result.expect("the repeat was answered");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn what_never_becomes_clear_is_unclear_after_a_few_attempts() {
    let short = Duration::from_millis(500);
    let cases: [(Odd, Duration, &str); 7] = [
        (|| refusal(500, "internalError", "oh"), ATTEMPT, "HTTP 500"),
        (
            || Reply::Html(502),
            ATTEMPT,
            "HTTP 502 with a body that is not Google's",
        ),
        (
            || Reply::Html(403),
            ATTEMPT,
            "HTTP 403 with a body that is not Google's",
        ),
        (
            || Reply::Html(200),
            ATTEMPT,
            "a reply that is no JSON of this call",
        ),
        (|| Reply::Half, ATTEMPT, "the connection broke"),
        (|| Reply::Reset, ATTEMPT, "the connection broke"),
        (|| Reply::Never, short, "no reply in time"),
    ];
    for (odd, attempt, words) in cases {
        let (result, seen) = create_within(attempt, odd_first(usize::MAX, odd)).await;
        match result.expect_err("nothing was ever answered") {
            CloudError::Unclear {
                call,
                message,
                source,
            } => {
                assert_eq!(call, "regionInstances.bulkInsert");
                assert_eq!(message, words);
                assert!(source.is_some());
            }
            refused => panic!("{words}: {refused}"),
        }
        assert!((2..=4).contains(&seen.len()), "{words}: {} attempts", seen.len());
    }
}

#[tokio::test]
async fn refusals_are_believed_at_once() {
    let quota = "Quota 'N2D_CPUS' exceeded.  Limit: 24.0 in region us-central1.";
    let cases = [
        (
            503,
            "insufficientCapacity",
            "",
            RefusalClass::Stockout { zone: None },
        ),
        (403, "rateLimitExceeded", "", RefusalClass::Rate),
        (429, "rateLimitExceeded", "", RefusalClass::Rate),
        (
            403,
            "quotaExceeded",
            quota,
            RefusalClass::Quota {
                metric: "N2D_CPUS".into(),
                limit: Some(24),
            },
        ),
        (403, "forbidden", "", RefusalClass::Denied),
        (400, "invalid", "", RefusalClass::Broken),
        (404, "notFound", "", RefusalClass::Broken),
        (409, "alreadyExists", "", RefusalClass::Exists),
    ];
    for (status, reason, message, expected) in cases {
        let (result, seen) = create_on(move |_| refusal(status, reason, message)).await;
        let error = result.expect_err("it was refused");
        assert_eq!(class(&error), Some(&expected), "{error}");
        assert_eq!(seen.len(), 1, "{status} {reason} was repeated");
    }
}

#[tokio::test]
async fn details_of_a_refusal_go_before_its_list_of_errors() {
    let (result, _) = create_on(|_| {
        Reply::Json(
            403,
            json!({"error": {
                "code": 403, "message": "Rate Limit Exceeded", "status": "PERMISSION_DENIED",
                "errors": [{"message": "m", "domain": "usageLimits", "reason": "forbidden"}],
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED", "domain": "compute.googleapis.com",
                    "metadatas": {"containerType": "PROJECT"}}],
            }}),
        )
    })
    .await;
    assert_eq!(
        class(&result.expect_err("it was refused")),
        Some(&RefusalClass::Rate)
    );
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unclear() {
    let stub = Stub::start(operation).await;
    let config = config(&stub.url);
    drop(stub);
    let cloud = gust_cloud::gce::GceCloud::connect(config)
        .await
        .expect("no call is made to connect");
    let error = cloud
        .create(&creation(&["gust-a-1"]))
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(&error, CloudError::Unclear { message, .. } if message == "no connection"),
        "{error}"
    );
}

#[tokio::test]
async fn an_insert_names_its_zone_and_exactly_one_machine() {
    let stub = Stub::start(operation).await;
    let cloud = stub.cloud().await;
    let mut one = creation(&["gust-a-1"]);
    one.call = Call::Insert {
        zone: Zone::new(ZONE),
    };
    let reference = cloud.create(&one).await.expect("it was accepted");
    assert_eq!(reference.zone, Some(Zone::new(ZONE)));
    let seen = stub.seen();
    assert_eq!(
        seen[0].path,
        "/compute/v1/projects/gust-demo/zones/us-central1-a/instances"
    );
    assert_eq!(seen[0].body["name"], "gust-a-1");

    let mut two = creation(&["gust-a-1", "gust-b-1"]);
    two.call = one.call;
    let error = cloud.create(&two).await.expect_err("an insert makes one");
    assert_eq!(class(&error), Some(&RefusalClass::Broken));
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn only_google_itself_can_say_that_a_machine_is_gone() {
    let (zone, name) = (Zone::new(ZONE), MachineName::new("gust-a-1"));
    let stub = Stub::start(|_| refusal(404, "notFound", "was not found")).await;
    let cloud = stub.cloud().await;
    assert_eq!(
        cloud.delete(&shard(), &zone, &name).await.expect("an answer"),
        None
    );
    assert_eq!(
        cloud
            .get(&shard().project, &zone, &name)
            .await
            .expect("an answer"),
        None
    );

    let stub = Stub::start(|_| Reply::Html(404)).await;
    let cloud = stub.cloud().await;
    assert!(cloud.delete(&shard(), &zone, &name).await.is_err());
    assert!(cloud.get(&shard().project, &zone, &name).await.is_err());
}

#[tokio::test]
async fn a_delete_that_failed_is_not_answered_by_its_own_failure_for_ever() {
    let stub = Stub::start(|seen| {
        let id = seen.query("requestId").unwrap_or_default().to_owned();
        // The operation of the first id has failed; Google answers a repeat with it.
        if id == FIRST {
            let error = json!({"errors": [{"code": "RESOURCE_NOT_READY", "message": "busy"}]});
            return Reply::Json(200, json!({"name": "op-1", "status": "DONE", "error": error}));
        }
        Reply::Json(200, json!({"name": "op-2", "status": "RUNNING"}))
    })
    .await;
    let cloud = stub.cloud().await;
    let (zone, name) = (Zone::new(ZONE), MachineName::new("gust-a-1"));
    let reference = cloud
        .delete(&shard(), &zone, &name)
        .await
        .expect("an answer")
        .expect("it exists");
    assert_eq!(reference.name, "op-2");
    assert_eq!(stub.seen()[0].query("requestId"), Some(FIRST));
}

/// The request id of the first delete of `gust-a-1`: derived, so that every replica sends the same.
const FIRST: &str = "0d8bd308-60d7-5cb8-b201-a531044aed29";

#[tokio::test]
async fn an_operation_is_waited_for_until_it_is_over_or_patience_ends() {
    let waits = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| match seen.last() {
        // Google may answer a wait at once, without an end.
        "wait" if waits.fetch_add(1, Ordering::SeqCst) == 0 => {
            Reply::Json(200, json!({"name": "op", "status": "RUNNING"}))
        }
        "wait" => Reply::Json(200, json!({"name": "op", "status": "DONE"})),
        "forgotten" => refusal(404, "notFound", "no such operation"),
        _ => Reply::Json(200, json!({"name": "op", "status": "PENDING"})),
    })
    .await;
    let cloud = stub.cloud().await;
    let reference = |name: &str| OperationRef {
        shard: shard(),
        zone: None,
        name: name.to_owned(),
    };
    let state = |name: &'static str, patience: u64| {
        let cloud = &cloud;
        async move {
            cloud
                .operation(&reference(name), Duration::from_secs(patience))
                .await
                .expect("a state")
        }
    };
    assert_eq!(state("op", 0).await, OperationState::Running);
    assert_eq!(state("op", 60).await, OperationState::Succeeded);
    assert_eq!(state("forgotten", 0).await, OperationState::Forgotten);
    let paths: Vec<_> = stub.seen().iter().map(|s| s.path.clone()).collect();
    assert_eq!(
        paths[0],
        "/compute/v1/projects/gust-demo/regions/us-central1/operations/op"
    );
    assert!(
        paths[1].ends_with("/op/wait") && paths[2].ends_with("/op/wait"),
        "{paths:?}"
    );
}

#[tokio::test]
async fn quotas_that_google_could_not_read_are_not_taken_for_none() {
    let region = |warn: bool| {
        let mut region = json!({"name": "us-central1", "quotas": [
            {"metric": "N2D_CPUS", "limit": 500.0, "usage": 12.0},
            {"metric": "BRAND_NEW_CPUS", "limit": 8.0, "usage": 0.0}]});
        if warn {
            region["quotaStatusWarning"] = json!({"code": "UNREACHABLE", "message": "later"});
        }
        region
    };
    let answer = move |warn: bool| {
        move |seen: &Seen| match seen.last() {
            "us-central1" => Reply::Json(200, region(warn)),
            _ => Reply::Json(
                200,
                json!({"quotas": [{"metric": "CPUS_ALL_REGIONS", "limit": 64.0, "usage": 1.0}]}),
            ),
        }
    };
    let stub = Stub::start(answer(false)).await;
    let mut config = config(&stub.url);
    config.family_quotas = [("C3D".to_owned(), 360)].into();
    let cloud = gust_cloud::gce::GceCloud::connect(config)
        .await
        .expect("a good configuration");
    let quotas = cloud.quotas(&shard()).await.expect("both were read");
    let told: Vec<_> = quotas
        .iter()
        .map(|q| (q.metric.as_str(), q.limit, q.project_wide))
        .collect();
    assert_eq!(
        told,
        [
            ("N2D_CPUS", 500.0, false),
            ("BRAND_NEW_CPUS", 8.0, false),
            ("CPUS_ALL_REGIONS", 64.0, true),
            ("CPUS_PER_VM_FAMILY:C3D", 360.0, false),
        ]
    );
    let stub = Stub::start(answer(true)).await;
    assert!(stub.cloud().await.quotas(&shard()).await.is_err());
}

#[tokio::test]
async fn a_key_document_is_checked_before_it_is_believed() {
    let keys = json!({"keys": [{"kid": "1", "kty": "RSA"}]});
    let good = keys.clone();
    let stub = Stub::start(move |_| Reply::Json(200, good.clone())).await;
    let text = stub.cloud().await.identity_keys().await.expect("a key document");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
        keys
    );

    let huge = "x".repeat(300 * 1024);
    for (bad, words) in [
        (json!({"keys": []}), "holds no `keys`"),
        (json!({"keys": [huge]}), "is larger than"),
        (json!([1]), "holds no `keys`"),
    ] {
        let stub = Stub::start(move |_| Reply::Json(200, bad.clone())).await;
        let error = stub.cloud().await.identity_keys().await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    let stub = Stub::start(|_| Reply::Html(200)).await;
    assert!(stub.cloud().await.identity_keys().await.is_err());
}
