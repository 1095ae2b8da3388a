//! What the fake GCE takes in the bodies of insert and bulk insert, and how it refuses the rest.

mod wire;

use serde_json::{Value, json};

use wire::Reply;
use wire::gce::{call, cloud};

const INSERT: &str = "/zones/us-central1-b/instances";
const BULK: &str = "/regions/us-central1/instances/bulkInsert";

fn properties(machine_type: &str, disk_type: &str) -> Value {
    json!({
        "machineType": machine_type,
        "disks": [{ "boot": true, "autoDelete": true, "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/debian-12-bookworm-v20250311",
            "diskType": disk_type } }],
        "networkInterfaces": [{ "network": "global/networks/default" }],
    })
}

fn insert() -> Value {
    let mut body = properties(
        "zones/us-central1-b/machineTypes/n2d-standard-2",
        "zones/us-central1-b/diskTypes/pd-ssd",
    );
    body["name"] = json!("one");
    body
}

fn bulk() -> Value {
    let properties = properties("n2d-standard-2", "pd-ssd");
    json!({ "count": 1, "perInstanceProperties": { "a": {} }, "instanceProperties": properties })
}

/// Puts a value at a JSON pointer; what is not there on the way comes to be.
fn put(body: &mut Value, pointer: &str, value: &Value) {
    let mut at = body;
    for part in pointer.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value.clone();
}

fn told(reply: &Reply) -> String {
    let error = &reply.body["error"];
    let reason = error["errors"][0]["reason"].as_str().unwrap_or_default();
    let message = error["message"].as_str().unwrap_or_default();
    format!("{} {reason}: {message}", reply.status)
}

#[tokio::test]
async fn bodies_that_google_refuses_are_refused_as_it_does() {
    let fakes = cloud(100.0).await;
    let mut seen = Vec::new();
    let nic = "/networkInterfaces/0";
    let disk = "/disks/0";
    let new = "/disks/0/initializeParams";
    let tags: Vec<String> = (0..65).map(|number| format!("t{number}")).collect();
    for (under, field, value) in [
        (
            new,
            "/diskType",
            json!("projects/gust-demo/zones/us-central1-a/diskTypes/pd-ssd"),
        ),
        (new, "/diskName", json!("Bad_Name")),
        (new, "/labels", json!({ "Upper": "x" })),
        (new, "/provisionedIops", json!("many")),
        (new, "/sourceSnapshot", json!("global/snapshots/s")),
        (new, "/resourcePolicies", json!(["p"])),
        (new, "/replicaZones", json!(["zones/us-central1-b"])),
        (disk, "/source", json!("zones/us-central1-b/disks/d")),
        (disk, "/forceAttach", json!(true)),
        (disk, "/diskEncryptionKey", json!({ "rawKey": "k" })),
        (nic, "/accessConfigs", json!([{ "natIP": "198.18.0.9" }])),
        (nic, "/accessConfigs", json!([{ "setPublicPtr": true }])),
        (nic, "/accessConfigs", json!([{ "foo": 1 }])),
        (nic, "/networkIP", json!("10.128.0.9")),
        (nic, "/aliasIpRanges", json!([{ "ipCidrRange": "/24" }])),
        (nic, "/vlan", json!(2)),
        ("/tags", "/items", json!(["Bad_Tag"])),
        ("/tags", "/items", json!(tags)),
        ("", "/canIpForward", json!("yes")),
        ("", "/shieldedInstanceConfig", json!({ "enableVtpm": "yes" })),
        ("", "/shieldedInstanceConfig", json!({ "foo": true })),
        (
            "",
            "/reservationAffinity",
            json!({ "consumeReservationType": "SOME" }),
        ),
        ("", "/advancedMachineFeatures", json!({ "threadsPerCore": "x" })),
        ("", "/description", json!(7)),
        ("", "/keyRevocationActionType", json!("BURN")),
        ("", "/privateIpv6GoogleAccess", json!("SOME")),
        (
            "",
            "/guestAccelerators",
            json!([{ "acceleratorType": "nvidia-l4", "acceleratorCount": 1 }]),
        ),
        ("", "/scheduling", json!({ "hostErrorTimeoutSeconds": 80 })),
        ("", "/scheduling", json!({ "gracefulShutdown": { "enabled": 1 } })),
        (
            "",
            "/scheduling",
            json!({ "nodeAffinities": [{ "operator": "NEAR" }] }),
        ),
        (
            "",
            "/scheduling",
            json!({ "nodeAffinities": [{ "key": "k", "operator": "IN", "values": ["v"] }] }),
        ),
    ] {
        for (name, path, mut body, root) in [
            ("insert", INSERT, insert(), ""),
            ("bulk", BULK, bulk(), "/instanceProperties"),
        ] {
            // Sole tenancy is only shown again in an insert.
            if name == "insert" && value.pointer("/nodeAffinities/0/key").is_some() {
                continue;
            }
            put(&mut body, &format!("{root}{under}{field}"), &value);
            let reply = call(&fakes, "POST", path, &body).await;
            seen.push(format!("{name} {under}{field} {value}\n    {}", told(&reply)));
        }
    }
    insta::assert_snapshot!(seen.join("\n").replace(&json!(tags).to_string(), "(65 tags)"));
    assert!(fakes.events("instance.inserted").await.is_empty());
}

#[tokio::test]
async fn what_only_one_of_the_calls_takes_is_refused_in_the_other() {
    let fakes = cloud(100.0).await;
    let mut seen = Vec::new();
    for (name, pointer, value) in [
        ("insert", "/disks/0/initializeParams/diskType", json!("pd-ssd")),
        ("insert", "/hostname", json!("one")),
        ("insert", "/deletionProtection", json!("yes")),
        ("insert", "/params", json!({ "foo": {} })),
        ("insert", "/sourceMachineImage", json!("global/machineImages/m")),
        ("insert", "/instanceEncryptionKey", json!({ "rawKey": "k" })),
        (
            "insert",
            "/confidentialInstanceConfig",
            json!({ "enableConfidentialCompute": true }),
        ),
        (
            "insert",
            "/machineType",
            json!("projects/other/zones/us-central1-b/machineTypes/n2d-standard-2"),
        ),
        (
            "insert e2",
            "/scheduling",
            json!({ "onHostMaintenance": "TERMINATE" }),
        ),
        (
            "bulk",
            "/perInstanceProperties/a",
            json!({ "hostname": "under_score.example.com" }),
        ),
    ] {
        let (path, mut body) = match name {
            "bulk" => (BULK, bulk()),
            _ => (INSERT, insert()),
        };
        if name == "insert e2" {
            body["machineType"] = json!("zones/us-central1-b/machineTypes/e2-standard-2");
        }
        put(&mut body, pointer, &value);
        let reply = call(&fakes, "POST", path, &body).await;
        seen.push(format!("{name} {pointer} {value}\n    {}", told(&reply)));
    }
    let path = format!("{INSERT}?sourceMachineImage=global/machineImages/m");
    let reply = call(&fakes, "POST", &path, &insert()).await;
    seen.push(format!("insert?sourceMachineImage\n    {}", told(&reply)));
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test]
async fn what_was_given_is_shown_and_a_protected_machine_stays() {
    let fakes = cloud(100.0).await;
    let mut body = insert();
    for (pointer, value) in [
        ("/deletionProtection", json!(true)),
        ("/canIpForward", json!(true)),
        ("/hostname", json!("one.ci.example.com")),
        ("/shieldedInstanceConfig", json!({ "enableSecureBoot": true })),
        ("/tags", json!({ "items": ["ci"] })),
        // The project's number is as good as its id.
        (
            "/machineType",
            json!("projects/100000000001/zones/us-central1-b/machineTypes/n2d-standard-2"),
        ),
        (
            "/networkInterfaces/0/network",
            json!("projects/100000000001/global/networks/default"),
        ),
        // Some clients write what was never set.
        ("/networkInterfaces/0/aliasIpRanges", json!([])),
        ("/disks/0/initializeParams/resourcePolicies", json!([])),
        ("/sourceMachineImage", json!("")),
    ] {
        put(&mut body, pointer, &value);
    }
    let accepted = call(&fakes, "POST", INSERT, &body).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    let place = "/zones/us-central1-b";
    let wait = format!(
        "{place}/operations/{}/wait",
        accepted.body["name"].as_str().unwrap()
    );
    assert_eq!(
        call(&fakes, "POST", &wait, &Value::Null).await.body["status"],
        "DONE"
    );
    let path = format!("{INSERT}/one");
    let shown = call(&fakes, "GET", &path, &Value::Null).await.body;
    assert_eq!(shown["deletionProtection"], true);
    assert_eq!(shown["canIpForward"], true);
    assert_eq!(shown["hostname"], "one.ci.example.com");
    assert_eq!(
        shown["shieldedInstanceConfig"],
        json!({ "enableSecureBoot": true, "enableVtpm": true, "enableIntegrityMonitoring": true })
    );
    assert!(shown["resourceStatus"].is_object());
    let kept = call(&fakes, "DELETE", &path, &Value::Null).await;
    assert_eq!(
        told(&kept),
        "400 invalidResourceUsage: Invalid resource usage: 'Resource cannot be deleted if it's protected \
         against deletion.'."
    );
    let labels = json!({ "labels": { "k": "v" }, "labelFingerprint": shown["labelFingerprint"] });
    call(&fakes, "POST", &format!("{path}/setLabels"), &labels).await;
    let again = call(&fakes, "GET", &path, &Value::Null).await.body;
    assert_ne!(
        again["fingerprint"], shown["fingerprint"],
        "the instance has changed"
    );
}

#[tokio::test]
async fn confidential_machines_that_move_fail_inside_a_bulk_insert() {
    let fakes = cloud(100.0).await;
    let mut body = bulk();
    body["instanceProperties"]["confidentialInstanceConfig"] = json!({ "enableConfidentialCompute": true });
    let accepted = call(&fakes, "POST", BULK, &body).await;
    let name = accepted.body["name"].as_str().unwrap();
    let wait = format!("/regions/us-central1/operations/{name}/wait");
    let done = call(&fakes, "POST", &wait, &Value::Null).await.body;
    let codes: Vec<&Value> = done["error"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["code"])
        .collect();
    assert_eq!(codes, ["VM_MIN_COUNT_NOT_REACHED"]);
}

#[tokio::test]
async fn images_are_shown_by_name_and_by_family() {
    let fakes = cloud(100.0).await;
    let get = async |path: &str| {
        let url = format!("{}/compute/v1/projects/{path}", fakes.handle.addresses.gce);
        fakes.raw("GET", &url, "", Vec::new()).await
    };
    let newest = get("debian-cloud/global/images/family/debian-12-arm64")
        .await
        .body;
    let shown = ["kind", "family", "diskSizeGb", "status", "architecture"].map(|key| &newest[key]);
    assert_eq!(
        shown,
        ["compute#image", "debian-12-arm64", "10", "READY", "ARM64"]
    );
    assert!(newest["id"].is_string() && newest["creationTimestamp"].is_string());
    let link = newest["selfLink"]
        .as_str()
        .unwrap()
        .rsplit_once("/projects/")
        .unwrap()
        .1;
    assert_eq!(get(link).await.body, newest);
    for missing in [
        "debian-cloud/global/images/family/debian-9",
        "debian-cloud/global/images/debian-12-v20250311",
        "other/global/images/family/debian-12",
    ] {
        assert_eq!(get(missing).await.status, 404, "{missing}");
    }
}
