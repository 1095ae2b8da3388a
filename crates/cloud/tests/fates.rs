//! What became of each machine of a batch, over a small made-up region: which calls it takes, and that no
//! machine that exists is ever called refused.

mod stub;

use std::collections::BTreeMap;

use gust_core::{
    ids::{MachineName, MachineTypeName, Zone},
    ports::{Cloud as _, CloudError, Creation, MemberFate, OperationRef, RefusalClass},
    records::Call,
    shape::ProvisioningModel,
};
use serde_json::{Value, json};
use stub::{Reply, Seen, Stub, creation, refusal, shard};

const GROUP: &str = "0b6e7c5a-0000-4000-8000-000000000001";

/// A region as Google would show it.
#[derive(Clone, Default)]
struct Region {
    /// The bulk operation; none if it is forgotten.
    operation: Option<Value>,
    /// Which machines exist, and in which zone.
    machines: BTreeMap<&'static str, &'static str>,
    /// Which of them the lists do not show yet.
    unlisted: Vec<&'static str>,
    /// Single operations by zone.
    singles: Vec<(&'static str, Value)>,
}

impl Region {
    fn answer(&self, seen: &Seen) -> Reply {
        let parts: Vec<_> = seen.path.split('/').skip(3).collect();
        match parts.as_slice() {
            ["projects", _, "regions", _, "operations", _] | ["projects", _, "zones", _, "operations", _] => {
                match &self.operation {
                    Some(operation) => Reply::Json(200, operation.clone()),
                    None => refusal(404, "notFound", "no such operation"),
                }
            }
            ["projects", _, "zones", zone, "operations"] => {
                let items: Vec<_> = self
                    .singles
                    .iter()
                    .filter(|(z, _)| z == zone)
                    .map(|(_, o)| o.clone())
                    .collect();
                Reply::Json(200, json!({"items": items}))
            }
            ["projects", _, "zones", zone, "instances"] => {
                let here = self
                    .machines
                    .iter()
                    .filter(|(n, z)| *z == zone && !self.unlisted.contains(*n));
                let items: Vec<_> = here.map(|(name, _)| instance(name)).collect();
                Reply::Json(200, json!({"items": items}))
            }
            ["projects", _, "zones", zone, "instances", name] => match self.machines.get(name) {
                Some(z) if z == zone => Reply::Json(200, instance(name)),
                _ => refusal(404, "notFound", "no such instance"),
            },
            other => panic!("unexpected call {other:?}"),
        }
    }

    async fn fates(&self, creation: &Creation) -> (Result<Fates, CloudError>, Vec<Seen>) {
        let region = self.clone();
        let stub = Stub::start(move |seen| region.answer(seen)).await;
        let zone = match &creation.call {
            Call::Bulk => None,
            Call::Insert { zone } => Some(zone.clone()),
        };
        let reference = OperationRef {
            shard: shard(),
            zone,
            name: "op".into(),
        };
        let fates = stub.cloud().await.fates(Some(&reference), creation).await;
        (fates, stub.seen())
    }
}

type Fates = Vec<(MachineName, MemberFate)>;

fn instance(name: &str) -> Value {
    json!({"name": name, "id": "42", "status": "RUNNING", "machineType": "https://x/machineTypes/e2-standard-4"})
}

/// A finished bulk operation with (created, failed) for each zone.
fn bulk(zones: &[(&str, i32, i32)]) -> Value {
    let status: serde_json::Map<_, _> = zones
        .iter()
        .map(|(zone, created, failed)| {
            let counts = json!({"targetVmCount": created + failed, "createdVmCount": created,
                "failedToCreateVmCount": failed, "deletedVmCount": 0, "status": "DONE"});
            (format!("zones/{zone}"), counts)
        })
        .collect();
    json!({"name": "op", "status": "DONE", "operationGroupId": GROUP, "operationType": "bulkInsert",
        "insertTime": "2026-11-01T03:10:00.123-07:00", "endTime": "2026-11-01T03:11:00.000-07:00",
        "instancesBulkInsertOperationMetadata": {"perLocationStatus": status}})
}

fn single(name: &str, code: Option<&str>) -> Value {
    let mut operation = json!({"name": format!("op-{name}"), "status": "DONE", "operationType": "insert",
        "operationGroupId": GROUP, "targetLink": format!("https://x/zones/z/instances/{name}")});
    if let Some(code) = code {
        operation["error"] = json!({"errors": [{"code": code, "message": "words"}]});
        operation["httpErrorStatusCode"] = json!(403);
    }
    operation
}

fn created(zone: &str) -> MemberFate {
    MemberFate::Created {
        zone: Zone::new(zone),
        instance_id: Some(42),
        machine_type: Some(MachineTypeName::new("e2-standard-4")),
    }
}

fn class(fate: &MemberFate) -> &RefusalClass {
    match fate {
        MemberFate::Refused { class, .. } => class,
        MemberFate::Created { .. } => panic!("it was created"),
    }
}

#[tokio::test]
async fn a_whole_success_costs_one_read_and_one_list_for_each_zone_used() {
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 2, 0), ("us-central1-b", 0, 0)])),
        machines: [("g-a-1", "us-central1-a"), ("g-b-1", "us-central1-a")].into(),
        ..Region::default()
    };
    let (fates, seen) = region.fates(&creation(&["g-a-1", "g-b-1"])).await;
    let fates: Vec<_> = fates.expect("fates").into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(fates, [created("us-central1-a"), created("us-central1-a")]);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(
        seen[1].query("filter"),
        Some("(name = \"g-a-1\") OR (name = \"g-b-1\")")
    );
    assert_eq!(seen[1].query("maxResults"), Some("500"));
}

#[tokio::test]
async fn a_large_batch_is_found_among_all_of_ours() {
    let names: Vec<String> = (0..41).map(|n| format!("g-{n}-1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 41, 0)])),
        ..Region::default()
    };
    let (_, seen) = region.fates(&creation(&names)).await;
    assert_eq!(seen[1].query("filter"), Some("labels.gust-stack = \"gust\""));
}

#[tokio::test]
async fn each_missing_machine_gets_the_cause_of_its_own_operation() {
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 1, 1), ("us-central1-b", 0, 1)])),
        machines: [("g-a-1", "us-central1-a")].into(),
        singles: vec![
            ("us-central1-a", single("g-a-1", None)),
            ("us-central1-a", single("g-b-1", Some("QUOTA_EXCEEDED"))),
            ("us-central1-b", single("g-c-1", Some("IP_SPACE_EXHAUSTED"))),
        ],
        ..Region::default()
    };
    let (fates, seen) = region.fates(&creation(&["g-a-1", "g-b-1", "g-c-1"])).await;
    let fates = fates.expect("fates");
    assert_eq!(fates[0].1, created("us-central1-a"));
    assert!(matches!(class(&fates[1].1), RefusalClass::Quota { .. }));
    assert_eq!(class(&fates[2].1), &RefusalClass::Addresses);
    // The account of each zone is met by what was found, so no machine is read by itself.
    assert!(!seen.iter().any(|s| s.last().starts_with("g-")), "{seen:?}");
    let filters: Vec<_> = seen.iter().filter(|s| s.last() == "operations").collect();
    insta::assert_snapshot!(
        filters[0].query("filter").unwrap_or_default(),
        @r#"(operationType eq "insert") AND (creationTimestamp > "2026-11-01T10:09:00.123Z") AND (creationTimestamp < "2026-11-01T10:12:00.000Z")"#
    );
}

#[tokio::test]
async fn a_machine_the_list_does_not_show_yet_is_found_by_reading_it() {
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 1, 0), ("us-central1-b", 1, 0)])),
        machines: [("g-a-1", "us-central1-a"), ("g-b-1", "us-central1-b")].into(),
        unlisted: vec!["g-b-1"],
        singles: vec![("us-central1-b", single("g-b-1", None))],
    };
    let (fates, _) = region.fates(&creation(&["g-a-1", "g-b-1"])).await;
    assert_eq!(fates.expect("fates")[1].1, created("us-central1-b"));
}

#[tokio::test]
async fn a_name_that_was_taken_by_our_own_machine_is_ours() {
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 0, 1)])),
        machines: [("g-a-1", "us-central1-b")].into(),
        singles: vec![("us-central1-a", single("g-a-1", Some("RESOURCE_ALREADY_EXISTS")))],
        ..Region::default()
    };
    let (fates, _) = region.fates(&creation(&["g-a-1"])).await;
    assert_eq!(fates.expect("fates")[0].1, created("us-central1-b"));
}

#[tokio::test]
async fn without_the_operation_every_zone_is_searched() {
    let region = Region {
        machines: [("g-a-1", "us-central1-a"), ("g-b-1", "us-central1-b")].into(),
        unlisted: vec!["g-b-1"],
        ..Region::default()
    };
    let (fates, _) = region.fates(&creation(&["g-a-1", "g-b-1", "g-c-1"])).await;
    let fates = fates.expect("fates");
    assert_eq!(fates[0].1, created("us-central1-a"));
    assert_eq!(fates[1].1, created("us-central1-b"));
    assert_eq!(class(&fates[2].1), &RefusalClass::Internal);
}

#[tokio::test]
async fn a_refused_whole_takes_the_cause_behind_the_summary() {
    let mut operation = bulk(&[]);
    operation["error"] = json!({"errors": [
        {"code": "VM_MIN_COUNT_NOT_REACHED", "message": "Requested minimum count of 1 VMs could not be created."},
        {"code": "ZONE_RESOURCE_POOL_EXHAUSTED",
         "message": "The zone 'projects/p/zones/us-central1-b' does not have enough resources available"}]});
    operation["httpErrorStatusCode"] = json!(503);
    let region = Region {
        operation: Some(operation),
        ..Region::default()
    };
    let (fates, _) = region.fates(&creation(&["g-a-1"])).await;
    let stockout = RefusalClass::Stockout {
        zone: Some(Zone::new("us-central1-b")),
    };
    assert_eq!(class(&fates.expect("fates")[0].1), &stockout);
}

#[tokio::test]
async fn a_spot_machine_that_came_and_went_was_preempted() {
    let region = Region {
        operation: Some(bulk(&[("us-central1-a", 1, 0)])),
        singles: vec![("us-central1-a", single("g-a-1", None))],
        ..Region::default()
    };
    let mut spot = creation(&["g-a-1"]);
    spot.shape.model = ProvisioningModel::Spot;
    let (fates, _) = region.fates(&spot).await;
    assert_eq!(class(&fates.expect("fates")[0].1), &RefusalClass::Preempted);
}

#[tokio::test]
async fn an_operation_that_is_not_over_decides_nothing() {
    let operation = json!({"name": "op", "status": "RUNNING"});
    let region = Region {
        operation: Some(operation),
        ..Region::default()
    };
    let (fates, seen) = region.fates(&creation(&["g-a-1"])).await;
    assert!(fates.is_err());
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn an_insert_has_the_fate_of_its_operation() {
    let mut one = creation(&["g-a-1"]);
    one.call = Call::Insert {
        zone: Zone::new("us-central1-b"),
    };
    let region = Region {
        operation: Some(single("g-a-1", None)),
        machines: [("g-a-1", "us-central1-b")].into(),
        ..Region::default()
    };
    let (fates, _) = region.fates(&one).await;
    assert_eq!(fates.expect("fates")[0].1, created("us-central1-b"));

    let failed = single("g-a-1", Some("ZONE_RESOURCE_POOL_EXHAUSTED"));
    let region = Region {
        operation: Some(failed),
        ..Region::default()
    };
    let (fates, seen) = region.fates(&one).await;
    assert_eq!(
        class(&fates.expect("fates")[0].1),
        &RefusalClass::Stockout { zone: None }
    );
    assert!(seen.iter().all(|s| !s.path.contains("us-central1-a")), "{seen:?}");
}
