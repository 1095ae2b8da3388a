//! Operations as the API shows them, with the errors inside.

use serde_json::{Map, Value, json};

use super::super::error::{Detail, OpError};
use super::super::operation::{BulkState, Kind, Operation, Progress, Scope, ZoneCount};
use super::base::{BASE, timestamp, zone_url};

/// One operation.
pub(in crate::gce) fn operation(project: &str, number: u64, operation: &Operation) -> Value {
    let place = operation.scope.path();
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("kind", json!("compute#operation"));
    put("id", json!(operation.number.to_string()));
    put("name", json!(&*operation.name));
    match &operation.scope {
        Scope::Zone(zone) => put("zone", json!(zone_url(project, zone))),
        Scope::Region(region) => put("region", json!(format!("{BASE}/{project}/regions/{region}"))),
        Scope::Global => {}
    }
    if let Some(request_id) = &operation.request_id {
        put("clientOperationId", json!(&**request_id));
    }
    put("operationType", json!(operation.kind.name()));
    match &operation.target {
        Some(target) => {
            put(
                "targetLink",
                json!(format!(
                    "{}/instances/{}",
                    zone_url(project, &target.zone),
                    target.name
                )),
            );
            if target.id != 0 {
                put("targetId", json!(target.id.to_string()));
            }
        }
        None => put("targetLink", json!(format!("{BASE}/{project}/{place}/instances"))),
    }
    put("status", json!(operation.progress.name()));
    if let Some(message) = operation.status_message {
        put("statusMessage", json!(message));
    }
    let is_system = matches!(operation.kind, Kind::System(_));
    put(
        "user",
        json!(if is_system {
            "system".to_owned()
        } else {
            format!("{number}-compute@developer.gserviceaccount.com")
        }),
    );
    put(
        "progress",
        json!(if operation.progress == Progress::Done {
            100
        } else {
            0
        }),
    );
    put("insertTime", json!(timestamp(operation.inserted_ns)));
    for (key, at) in [
        ("startTime", operation.started_ns),
        ("endTime", operation.ended_ns),
    ] {
        if let Some(at) = at {
            put(key, json!(timestamp(at)));
        }
    }
    put(
        "selfLink",
        json!(format!("{BASE}/{project}/{place}/operations/{}", operation.name)),
    );
    if let Some(group) = &operation.group {
        put("operationGroupId", json!(&**group));
    }
    if let Some(first) = operation.errors.first() {
        let (status, message) = first.http();
        put("httpErrorStatusCode", json!(status));
        put("httpErrorMessage", json!(message));
        put(
            "error",
            json!({ "errors": operation.errors.iter().map(op_error).collect::<Vec<_>>() }),
        );
    }
    if let Some(bulk) = operation
        .bulk
        .as_ref()
        .filter(|_| operation.kind == Kind::BulkInsert)
    {
        put(
            "instancesBulkInsertOperationMetadata",
            json!({ "perLocationStatus": per_location(bulk, operation.progress) }),
        );
    }
    Value::Object(out)
}

fn per_location(bulk: &BulkState, progress: Progress) -> Value {
    let status = |zone: &ZoneCount| match (progress, bulk.is_rolling_back, zone.open) {
        (Progress::Done, ..) => "DONE",
        (_, true, _) => "ROLLING_BACK",
        (_, false, 0) => "DONE",
        _ => "CREATING",
    };
    let zones = bulk.zones.iter().map(|(zone, count)| {
        let value = json!({
            "targetVmCount": count.target,
            "createdVmCount": count.created,
            "deletedVmCount": count.deleted,
            "failedToCreateVmCount": count.failed,
            "status": status(count),
        });
        (format!("zones/{zone}"), value)
    });
    Value::Object(zones.collect())
}

fn op_error(error: &OpError) -> Value {
    let mut out = json!({ "code": error.code, "message": error.message });
    match &error.detail {
        Detail::None => {}
        Detail::Quota(shortage) => {
            out["errorDetails"] = json!([{ "quotaInfo": {
                "metricName": shortage.metric_name(),
                "limitName": shortage.limit_name(),
                "dimensions": shortage.dimensions(),
                "limit": shortage.limit,
            }}]);
        }
        Detail::Stockout {
            vm_type,
            zone,
            zones_available,
        } => {
            let message = format!("A {vm_type} VM instance is currently unavailable in the {zone} zone.");
            out["errorDetails"] = json!([
                { "localizedMessage": { "locale": "en-US", "message": message } },
                { "errorInfo": {
                    "domain": "compute.googleapis.com", "reason": "resource_availability",
                    "metadatas": { "vmType": vm_type, "zone": zone, "zonesAvailable": zones_available },
                }},
            ]);
        }
    }
    out
}
