//! Paths of the fake GCE: methods that are not built, names that nothing can have, and lists over all scopes.

mod wire;

use gust_fakes::config::Settings;
use gust_fakes::limits::Limits;
use serde_json::json;

use wire::{Fakes, Reply};

async fn get(fakes: &Fakes, method: &str, path: &str) -> Reply {
    let url = format!(
        "{}/compute/v1/projects/gust-demo{path}",
        fakes.handle.addresses.gce
    );
    fakes.raw(method, &url, "application/json", Vec::new()).await
}

#[tokio::test]
async fn methods_that_are_not_built_say_so_and_others_do_not_exist() {
    let fakes = Fakes::with(Settings::default()).await;
    for (method, path) in [
        ("POST", "/zones/us-central1-a/instances/a/setTags"),
        ("POST", "/zones/us-central1-a/instances/a/setMachineType"),
        ("POST", "/zones/us-central1-a/instances/a/setScheduling"),
        ("POST", "/zones/us-central1-a/instances/a/setServiceAccount"),
        ("POST", "/zones/us-central1-a/instances/a/setDeletionProtection"),
        ("POST", "/zones/us-central1-a/instances/a/attachDisk"),
        ("GET", "/zones/us-central1-a/disks"),
        ("GET", "/zones/us-central1-a/diskTypes/pd-ssd"),
        ("GET", "/zones/us-central1-a/acceleratorTypes"),
        ("GET", "/zones/us-central1-a/reservations"),
        ("GET", "/regions/us-central1/commitments"),
        ("GET", "/global/networks"),
        ("GET", "/global/images"),
        ("GET", "/aggregated/disks"),
        ("GET", "/aggregated/subnetworks"),
    ] {
        let reply = get(&fakes, method, path).await;
        let reason = &reply.body["error"]["errors"][0]["reason"];
        assert_eq!((reply.status, reason), (501, &json!("notImplemented")), "{path}");
    }
    for path in [
        "/zones/us-central1-a/nothing",
        "/global/nothing",
        "/aggregated/nothing/x",
    ] {
        assert_eq!(get(&fakes, "GET", path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_name_that_nothing_can_have_is_malformed() {
    let fakes = Fakes::with(Settings::default()).await;
    for (path, field) in [
        ("/zones/us-central1-a/instances/Bad_Name", "instance"),
        ("/zones/us-central1-a/operations/a.b", "operation"),
        ("/zones/US_CENTRAL/instances", "zone"),
        ("/regions/us-central1-/subnetworks/default", "region"),
        ("/global/images/family/Bad", "family"),
        ("/zones/us-central1-a/instances/012", "instance"),
    ] {
        let reply = get(&fakes, "GET", path).await;
        let message = reply.body["error"]["message"].as_str().unwrap();
        assert_eq!(reply.status, 400, "{path}: {message}");
        let start = format!("Invalid value for field '{field}': ");
        assert!(message.starts_with(&start), "{path}: {message}");
    }
    let by_id = get(
        &fakes,
        "GET",
        "/zones/us-central1-a/instances/1234567890123456789",
    )
    .await;
    assert_eq!(by_id.status, 404, "an id is as good as a name");
}

#[tokio::test]
async fn aggregated_lists_have_every_scope() {
    let fakes = Fakes::with(Settings::default()).await;
    let regions = get(&fakes, "GET", "/regions").await.body["items"]
        .as_array()
        .unwrap()
        .len();
    let operations = get(&fakes, "GET", "/aggregated/operations").await.body;
    let scopes = operations["items"].as_object().unwrap();
    let of = |kind: &str| scopes.keys().filter(|scope| scope.starts_with(kind)).count();
    assert_eq!((of("regions/"), of("global")), (regions, 1));
    assert!(of("zones/") > regions);
    for kind in ["operations", "instances", "machineTypes"] {
        let list = get(&fakes, "GET", &format!("/aggregated/{kind}")).await.body;
        assert_eq!(list["unreachables"], json!([]), "{kind}");
    }
}

#[tokio::test]
async fn too_many_operations_are_refused_with_help() {
    let mut limits = Limits::demo();
    limits.gce.concurrent_operations = 0;
    let fakes = Fakes::with(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    let body = json!({
        "name": "one", "machineType": "zones/us-central1-a/machineTypes/e2-standard-2",
        "disks": [{ "boot": true, "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/family/debian-12" } }],
        "networkInterfaces": [{}],
    });
    let path = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances";
    let url = format!("{}{path}", fakes.handle.addresses.gce);
    let bytes = body.to_string().into_bytes();
    let refused = fakes.raw("POST", &url, "application/json", bytes).await;
    let details = &refused.body["error"]["details"];
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(details[0]["reason"], "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED");
    assert_eq!(details[1]["@type"], "type.googleapis.com/google.rpc.Help");
    assert!(details[1]["links"][0]["url"].is_string());
}
