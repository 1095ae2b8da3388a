//! The fake GCE over real HTTP: paths, queries, bodies, envelopes, holds, and faults of replies.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod wire;

use gust_fakes::limits::Limits;
use serde_json::{Value, json};

use wire::gce::{PROJECT, call, cloud};
use wire::{Fakes, Reply};

async fn get(fakes: &Fakes, path: &str) -> Reply {
    call(fakes, "GET", path, &Value::Null).await
}

fn properties() -> Value {
    json!({
        "machineType": "n2d-standard-2",
        "labels": { "gust-stack": "test" },
        "disks": [{ "boot": true, "autoDelete": true, "type": "PERSISTENT", "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/family/debian-12",
            "diskSizeGb": "20", "diskType": "pd-balanced" } }],
        "networkInterfaces": [{ "network": "global/networks/default" }],
        "serviceAccounts": [{ "email": "ci@gust-demo.iam.gserviceaccount.com", "scopes": [] }],
        "metadata": { "items": [{ "key": "enable-guest-attributes", "value": "TRUE" }] },
        "scheduling": { "provisioningModel": "SPOT", "instanceTerminationAction": "DELETE",
            "automaticRestart": false, "onHostMaintenance": "TERMINATE", "maxRunDuration": { "seconds": "7200" } },
    })
}

/// A body with what other clients add: int64 as number, empty maps never set.
fn bulk(names: &[&str]) -> Value {
    let each: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    json!({
        "count": names.len(), "minCount": "1", "perInstanceProperties": each, "instanceProperties": properties(),
        "locationPolicy": { "targetShape": "ANY", "locations": { "zones/us-central1-f": { "preference": "DENY" } } },
    })
}

const BULK: &str = "/regions/us-central1/instances/bulkInsert";

/// Waits for an operation the way clients do: `wait` holds until it is DONE.
async fn wait(fakes: &Fakes, place: &str, operation: &Value) -> Value {
    let name = operation["name"].as_str().unwrap();
    for _ in 0..10 {
        let reply = call(
            fakes,
            "POST",
            &format!("/{place}/operations/{name}/wait?alt=json"),
            &json!(""),
        )
        .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        if reply.body["status"] == "DONE" {
            return reply.body;
        }
    }
    panic!("{name} is never DONE");
}

#[tokio::test]
async fn a_bulk_insert_is_followed_listed_and_deleted() {
    let fakes = cloud(10.0).await;
    let query = "?%24alt=json&%24apiVersion=2026-09-01&requestId=5f0c6f0e-0000-4000-8000-000000000001";
    let accepted = call(&fakes, "POST", &format!("{BULK}{query}"), &bulk(&["a", "b", "c"])).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    assert_eq!(accepted.body["operationType"], "bulkInsert");
    assert_eq!(
        accepted.body["clientOperationId"],
        "5f0c6f0e-0000-4000-8000-000000000001"
    );
    assert!(accepted.body["id"].is_string() && accepted.body["region"].is_string());
    let done = wait(&fakes, "regions/us-central1", &accepted.body).await;
    assert!(done.get("error").is_none(), "{done}");
    let counts = done["instancesBulkInsertOperationMetadata"]["perLocationStatus"]
        .as_object()
        .unwrap();
    assert!(
        counts
            .keys()
            .all(|zone| zone.starts_with("zones/us-central1-") && zone != "zones/us-central1-f")
    );
    let created: i64 = counts
        .values()
        .map(|zone| zone["createdVmCount"].as_i64().unwrap())
        .sum();
    assert_eq!(created, 3);

    let again = call(&fakes, "POST", &format!("{BULK}{query}"), &bulk(&["a", "b", "c"])).await;
    assert_eq!(again.body["name"], accepted.body["name"]);

    let listed = get(
        &fakes,
        "/aggregated/instances?filter=labels.gust-stack+%3D+%22test%22&returnPartialSuccess=true",
    )
    .await;
    let zones = listed.body["items"].as_object().unwrap();
    let found: Vec<&Value> = zones
        .values()
        .filter_map(|zone| zone["instances"].as_array())
        .flatten()
        .collect();
    assert_eq!(found.len(), 3);
    assert!(
        zones
            .values()
            .any(|zone| zone["warning"]["code"] == "NO_RESULTS_ON_PAGE")
    );
    for instance in found {
        assert_eq!(instance["status"], "RUNNING");
        assert_eq!(instance["scheduling"]["maxRunDuration"]["seconds"], "7200");
        let zone = instance["zone"].as_str().unwrap().rsplit('/').next().unwrap();
        let path = format!("/zones/{zone}/instances/{}", instance["name"].as_str().unwrap());
        let deleted = call(&fakes, "DELETE", &path, &Value::Null).await;
        wait(&fakes, &format!("zones/{zone}"), &deleted.body).await;
        assert_eq!(get(&fakes, &path).await.status, 404);
        let operation = format!(
            "/zones/{zone}/operations/{}",
            deleted.body["name"].as_str().unwrap()
        );
        assert_eq!(call(&fakes, "DELETE", &operation, &Value::Null).await.text, "{}");
        assert_eq!(get(&fakes, &operation).await.status, 404);
    }
    assert_eq!(fakes.events("instance.deleted").await.len(), 3);
    let calls = fakes.events("api.call").await;
    let first = calls
        .iter()
        .find(|call| call["method"] == "compute.regionInstances.bulkInsert")
        .unwrap();
    assert_eq!(
        (&first["count"], &first["group"], &first["region"]),
        (&json!(3), &json!("default_per_region"), &json!("us-central1"))
    );
    assert!(
        first["caller"]
            .as_str()
            .unwrap()
            .starts_with("gust-test 127.0.0.1:")
    );
}

#[tokio::test]
async fn refusals_have_googles_envelope() {
    let fakes = cloud(10.0).await;
    let mut seen = Vec::new();
    let unknown_field = |at: &str| {
        let mut body = bulk(&["a"]);
        match at {
            "" => body["foo"] = json!(1),
            at => body["instanceProperties"][at] = json!(1),
        }
        body
    };
    let patterned = json!({ "count": "1", "instanceProperties": properties() });
    for (method, path, body) in [
        ("GET", "/zones/us-central1-a/instances/none", Value::Null),
        ("GET", "/zones/us-central1-z/instances", Value::Null),
        ("GET", "/regions/mars-north1", Value::Null),
        ("GET", "/regions/us-central1/operations/operation-1", Value::Null),
        (
            "GET",
            "/zones/us-central1-a/machineTypes/n9-standard-4",
            Value::Null,
        ),
        (
            "GET",
            "/zones/us-central1-a/instances?maxResults=501",
            Value::Null,
        ),
        (
            "GET",
            "/zones/us-central1-a/instances?filter=name+eq+%5B",
            Value::Null,
        ),
        ("GET", "/zones/us-central1-a/instances?foo=bar", Value::Null),
        ("GET", "/zones/us-central1-a/nothing", Value::Null),
        ("PATCH", "/zones/us-central1-a/instances/none", Value::Null),
        ("POST", BULK, unknown_field("")),
        ("POST", BULK, unknown_field("deletionProtection")),
        ("POST", BULK, patterned),
        ("POST", BULK, json!([])),
        ("POST", "/zones/us-central1-a/instances", json!({ "name": "a" })),
        ("POST", "/zones/us-central1-a/instances/none/stop", json!({})),
    ] {
        let reply = call(&fakes, method, path, &body).await;
        let error = &reply.body["error"];
        assert_eq!(error["code"], reply.status, "{method} {path}: {}", reply.text);
        let first = &error["errors"][0];
        assert_eq!(error["message"], first["message"]);
        seen.push(format!(
            "{} {} {}: {}",
            method,
            path,
            reply.status,
            first["reason"].as_str().unwrap()
        ));
        seen.push(format!("    {}", error["message"].as_str().unwrap()));
    }
    let url = format!("{}/compute/v1/projects/other/zones", fakes.handle.addresses.gce);
    assert_eq!(fakes.raw("GET", &url, "", Vec::new()).await.status, 404);
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test]
async fn places_types_and_quotas_are_shown() {
    let fakes = cloud(10.0).await;
    let region = get(&fakes, "/regions/us-central1").await.body;
    assert_eq!(region["zones"].as_array().unwrap().len(), 4);
    let quota = |metric: &str| {
        region["quotas"]
            .as_array()
            .unwrap()
            .iter()
            .find(|quota| quota["metric"] == metric)
            .cloned()
    };
    assert_eq!(quota("N2D_CPUS").unwrap()["limit"], 5000.0);
    assert_eq!(
        quota("C3D_CPUS"),
        None,
        "families without a classic metric are not shown"
    );
    assert!(
        get(&fakes, "").await.body["quotas"]
            .as_array()
            .unwrap()
            .iter()
            .any(|quota| quota["metric"] == "CPUS_ALL_REGIONS")
    );
    let regions = get(&fakes, "/regions").await.body;
    assert_eq!(
        regions["items"].as_array().unwrap().len(),
        Limits::demo().gce.regions.len()
    );
    let machine = get(&fakes, "/zones/us-central1-a/machineTypes/c4a-highcpu-64")
        .await
        .body;
    assert_eq!(
        (
            &machine["guestCpus"],
            &machine["memoryMb"],
            &machine["architecture"]
        ),
        (&json!(64), &json!(131_072), &json!("ARM64"))
    );
    let custom = get(&fakes, "/zones/us-central1-a/machineTypes/n2d-custom-16-32768")
        .await
        .body;
    assert_eq!(custom["memoryMb"], 32_768);
    let mut path = "/zones/us-central1-a/machineTypes?maxResults=100".to_owned();
    let mut names = Vec::new();
    loop {
        let page = get(&fakes, &path).await.body;
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        path = format!("/zones/us-central1-a/machineTypes?maxResults=100&pageToken={next}");
    }
    assert!(names.len() > 200 && names.is_sorted());
    let few = get(&fakes, "/zones?filter=name+%3D+us-east4-a").await.body;
    assert_eq!(few["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_reply_takes_effect_and_its_repeat_gives_the_first_operation() {
    let fakes = cloud(10.0).await;
    let fault = json!({ "kind": "reply.lost", "count": 1,
        "match": { "host": "gce", "method": "compute.regionInstances.bulkInsert" } });
    assert_eq!(
        fakes.control("POST", "/faults", &fault.to_string()).await.status,
        201
    );
    let url = format!(
        "{}{PROJECT}{BULK}?requestId=5f0c6f0e-0000-4000-8000-000000000002",
        fakes.handle.addresses.gce
    );
    let body = bulk(&["a"]).to_string().into_bytes();
    assert!(
        fakes
            .try_raw("POST", &url, "application/json", body.clone())
            .await
            .is_err()
    );
    let repeat = fakes.raw("POST", &url, "application/json", body).await;
    assert_eq!(repeat.status, 200);
    wait(&fakes, "regions/us-central1", &repeat.body).await;
    assert_eq!(fakes.events("instance.inserted").await.len(), 1);
}

#[tokio::test]
async fn control_acts_befall_machines_and_limits_change_while_running() {
    let fakes = cloud(10.0).await;
    let accepted = call(&fakes, "POST", BULK, &bulk(&["a"])).await;
    wait(&fakes, "regions/us-central1", &accepted.body).await;
    assert_eq!(
        fakes.control("POST", "/instances/a/preempt", "").await.status,
        200
    );
    assert_eq!(
        fakes.control("POST", "/instances/a/preempt", "").await.status,
        422
    );
    assert_eq!(
        fakes.control("POST", "/instances/none/crash", "").await.status,
        404
    );
    fakes
        .until("the machine is gone", async || {
            !fakes.events("instance.deleted").await.is_empty()
        })
        .await;
    let change = json!({ "gce": { "quotas": { "PREEMPTIBLE_CPUS": 0, "N2D_CPUS": 1 } } });
    assert_eq!(
        fakes.control("PUT", "/limits", &change.to_string()).await.status,
        200
    );
    let refused = call(&fakes, "POST", BULK, &bulk(&["b"])).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["errors"][0]["reason"]),
        (403, &json!("quotaExceeded"))
    );
}

#[tokio::test]
async fn an_insert_takes_urls_and_a_taken_name_is_409() {
    let fakes = cloud(10.0).await;
    let mut body = properties();
    body["name"] = json!("one");
    body["machineType"] = json!(
        "https://www.googleapis.com/compute/v1/projects/gust-demo/zones/us-central1-b/machineTypes/n2d-standard-2"
    );
    body["disks"][0]["initializeParams"]["diskType"] = json!("zones/us-central1-b/diskTypes/pd-balanced");
    let accepted = call(&fakes, "POST", "/zones/us-central1-b/instances", &body).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    let taken = call(&fakes, "POST", "/zones/us-central1-b/instances", &body).await;
    assert_eq!(
        (taken.status, &taken.body["error"]["errors"][0]["reason"]),
        (409, &json!("alreadyExists"))
    );
    wait(&fakes, "zones/us-central1-b", &accepted.body).await;
    let shown = get(&fakes, "/zones/us-central1-b/instances/one").await.body;
    assert_eq!(shown["networkInterfaces"][0]["networkIP"], "10.128.0.2");
    let labels = json!({ "labels": { "x": "y" }, "labelFingerprint": shown["labelFingerprint"] });
    let path = "/zones/us-central1-b/instances/one/setLabels";
    assert_eq!(call(&fakes, "POST", path, &labels).await.status, 200);
    assert_eq!(call(&fakes, "POST", path, &labels).await.status, 412);
    assert_eq!(
        get(&fakes, "/zones/us-central1-b/instances/one/serialPort")
            .await
            .body["next"],
        "0"
    );
    assert_eq!(
        get(
            &fakes,
            "/zones/us-central1-b/instances/one/getGuestAttributes?queryPath=ns/"
        )
        .await
        .status,
        404
    );
}
