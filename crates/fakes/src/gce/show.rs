//! Resources as the API shows them: instances, operations, regions, zones, machine types, projects.
//!
//! int64 are strings, int32 numbers, quotas doubles; timestamps carry a Pacific offset; fingerprints are
//! URL-safe base64 with padding. Written from the wire reference, sections 1.7, 3.3, 4.5.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Map, Value, json};

use super::addresses;
use super::catalog::{LOCAL_SSD_GIB, MachineType, region_of};
use super::error::{Detail, OpError};
use super::instance::Instance;
use super::operation::{BulkState, Operation, Progress, Scope, ZoneCount};
use super::places::{Quota, Region, Subnet};
use crate::stamp;

const BASE: &str = "https://www.googleapis.com/compute/v1/projects";

/// `https://www.googleapis.com/compute/v1/projects/P/zones/Z`.
pub(super) fn zone_url(project: &str, zone: &str) -> String {
    format!("{BASE}/{project}/zones/{zone}")
}

/// A timestamp with a Pacific offset (summer time is left out: the instant is the same).
pub(super) fn timestamp(unix_ns: i128) -> String {
    let shifted = stamp::rfc3339(unix_ns - 8 * 3_600_000_000_000);
    format!("{}-08:00", shifted.trim_end_matches('Z'))
}

/// A fingerprint as it is written.
pub(super) fn fingerprint(value: u64) -> String {
    URL_SAFE.encode(value.to_be_bytes())
}

/// The name of a disk that was given none: the machine's, numbered from the second on.
pub(super) fn disk_name(instance: &str, index: usize) -> String {
    if index == 0 {
        instance.to_owned()
    } else {
        format!("{instance}-{index}")
    }
}

/// One instance. `region_index` decides its internal address block.
pub(super) fn instance(project: &str, region_index: usize, instance: &Instance) -> Value {
    let (zone, shape) = (&*instance.zone, &instance.shape);
    let zone_url = zone_url(project, zone);
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("kind", json!("compute#instance"));
    put("id", json!(instance.id.to_string()));
    put("creationTimestamp", json!(timestamp(instance.created_ns)));
    put("name", json!(&*instance.name));
    put(
        "tags",
        json!({ "items": shape.template.tags, "fingerprint": fingerprint(instance.id) }),
    );
    put(
        "machineType",
        json!(format!("{zone_url}/machineTypes/{}", shape.machine.name)),
    );
    put("status", json!(instance.status.name()));
    put("zone", json!(zone_url));
    put("canIpForward", json!(false));
    put(
        "networkInterfaces",
        network_interfaces(project, region_index, instance),
    );
    put("disks", disks(project, instance));
    let items: Vec<Value> = instance
        .metadata
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect();
    let metadata_fingerprint = fingerprint(instance.metadata_fingerprint);
    put(
        "metadata",
        json!({ "kind": "compute#metadata", "fingerprint": metadata_fingerprint, "items": items }),
    );
    if let Some((email, scopes)) = &shape.template.service_account {
        put("serviceAccounts", json!([{ "email": email, "scopes": scopes }]));
    }
    put(
        "selfLink",
        json!(format!("{zone_url}/instances/{}", instance.name)),
    );
    put("scheduling", scheduling(instance));
    put("cpuPlatform", json!(platform(&shape.machine)));
    put("labels", json!(*instance.labels));
    put("labelFingerprint", json!(fingerprint(instance.label_fingerprint)));
    put("startRestricted", json!(false));
    put("deletionProtection", json!(false));
    put(
        "fingerprint",
        json!(fingerprint(instance.id ^ u64::from(instance.turn))),
    );
    if let Some(started) = instance.started_ns {
        put("lastStartTimestamp", json!(timestamp(started)));
    }
    if let Some(stopped) = instance.stopped_ns {
        put("lastStopTimestamp", json!(timestamp(stopped)));
    }
    if let Some(hostname) = &instance.hostname {
        put("hostname", json!(hostname));
    }
    for (key, value) in &shape.template.echoed {
        put(key, value.clone());
    }
    Value::Object(out)
}

fn platform(machine: &MachineType) -> &'static str {
    match &*machine.family {
        "c4a" | "n4a" => "Google Axion",
        "t2a" => "Ampere Altra",
        "n2d" | "c2d" | "t2d" => "AMD Milan",
        "c3d" => "AMD Genoa",
        "c4d" | "n4d" => "AMD Turin",
        "c3" => "Intel Sapphire Rapids",
        "c4" => "Intel Granite Rapids",
        "n4" => "Intel Emerald Rapids",
        "n2" => "Intel Ice Lake",
        "c2" => "Intel Cascade Lake",
        _ => "Intel Broadwell",
    }
}

fn network_interfaces(project: &str, region_index: usize, instance: &Instance) -> Value {
    let region = region_of(&instance.zone);
    let interfaces = instance
        .shape
        .template
        .networks
        .iter()
        .enumerate()
        .map(|(index, network)| {
            let mut one = json!({
                "kind": "compute#networkInterface",
                "name": format!("nic{index}"),
                "network": format!("{BASE}/{project}/global/networks/default"),
                "subnetwork": format!("{BASE}/{project}/regions/{region}/subnetworks/default"),
                "networkIP": addresses::internal(region_index, instance.address),
                "fingerprint": fingerprint(instance.id.rotate_left(8)),
                "stackType": "IPV4_ONLY",
            });
            if let Some(kind) = &network.nic_type {
                one["nicType"] = json!(kind);
            }
            if network.is_external
                && let Some(address) = instance.external_address
            {
                one["accessConfigs"] = json!([{
                    "kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": "External NAT",
                    "natIP": addresses::external(address), "networkTier": "PREMIUM",
                }]);
            }
            one
        });
    interfaces.collect()
}

fn disks(project: &str, instance: &Instance) -> Value {
    let machine = &instance.shape.machine;
    let base = format!("{}/disks", zone_url(project, &instance.zone));
    let given = &instance.shape.template.disks;
    let mut all: Vec<Value> = Vec::new();
    for (index, disk) in given.iter().enumerate() {
        let default_device = if disk.is_scratch {
            format!("local-ssd-{index}")
        } else {
            format!("persistent-disk-{index}")
        };
        let mut one = json!({
            "kind": "compute#attachedDisk",
            "type": if disk.is_scratch { "SCRATCH" } else { "PERSISTENT" },
            "mode": "READ_WRITE",
            "deviceName": disk.device_name.clone().unwrap_or(default_device),
            "index": index,
            "boot": disk.boot,
            "autoDelete": disk.auto_delete,
            "interface": disk.interface.as_deref().unwrap_or(if disk.is_scratch { "NVME" } else { "SCSI" }),
            "diskSizeGb": disk.size_gib.unwrap_or(LOCAL_SSD_GIB).to_string(),
        });
        if !disk.is_scratch {
            let name = disk
                .disk_name
                .clone()
                .unwrap_or_else(|| disk_name(&instance.name, index));
            one["source"] = json!(format!("{base}/{name}"));
        }
        all.push(one);
    }
    for index in 0..machine.bundled_ssds {
        all.push(json!({
            "kind": "compute#attachedDisk", "type": "SCRATCH", "mode": "READ_WRITE",
            "deviceName": format!("local-nvme-ssd-{index}"), "index": given.len() + index as usize, "boot": false,
            "autoDelete": true, "interface": "NVME", "diskSizeGb": LOCAL_SSD_GIB.to_string(),
        }));
    }
    Value::Array(all)
}

fn scheduling(instance: &Instance) -> Value {
    let given = &instance.shape.template.scheduling;
    let is_spot = given.is_spot();
    let maintenance =
        given
            .on_host_maintenance
            .as_deref()
            .unwrap_or(if is_spot { "TERMINATE" } else { "MIGRATE" });
    let mut out = given.echoed.clone();
    out.insert("onHostMaintenance".into(), json!(maintenance));
    out.insert("automaticRestart".into(), json!(given.restarts()));
    out.insert("preemptible".into(), json!(is_spot));
    out.insert("provisioningModel".into(), json!(given.model()));
    if let Some(action) = &given.termination_action {
        out.insert("instanceTerminationAction".into(), json!(action));
    }
    if let Some(seconds) = given.max_run_s {
        out.insert("maxRunDuration".into(), json!({ "seconds": seconds.to_string() }));
    }
    Value::Object(out)
}

/// One operation.
pub(super) fn operation(project: &str, number: u64, operation: &Operation) -> Value {
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
    let is_system = matches!(operation.kind, super::operation::Kind::System(_));
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
        .filter(|_| operation.kind == super::operation::Kind::BulkInsert)
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

/// One region with its quotas.
pub(super) fn region(project: &str, region: &Region) -> Value {
    json!({
        "kind": "compute#region",
        "id": stable_id(&region.name),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": &*region.name,
        "description": &*region.name,
        "status": "UP",
        "zones": region.zones.iter().map(|zone| zone_url(project, zone)).collect::<Vec<_>>(),
        "quotas": quotas(&region.quotas),
        "selfLink": format!("{BASE}/{project}/regions/{}", region.name),
        "supportsPzs": false,
    })
}

fn quotas(all: &[Quota]) -> Value {
    all.iter()
        .map(|quota| json!({ "metric": quota.metric, "limit": quota.limit, "usage": quota.usage as f64 }))
        .collect()
}

/// One zone.
pub(super) fn zone(project: &str, zone: &str) -> Value {
    json!({
        "kind": "compute#zone",
        "id": stable_id(zone),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": zone,
        "description": zone,
        "status": "UP",
        "region": format!("{BASE}/{project}/regions/{}", region_of(zone)),
        "selfLink": zone_url(project, zone),
        "supportsPzs": false,
    })
}

/// One machine type in a zone.
pub(super) fn machine_type(project: &str, zone: &str, machine: &MachineType) -> Value {
    let mut out = json!({
        "kind": "compute#machineType",
        "id": stable_id(&machine.name),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": &*machine.name,
        "description": format!("{} vCPUs, {} MB RAM", machine.cpus, machine.memory_mib),
        "guestCpus": machine.cpus,
        "memoryMb": machine.memory_mib,
        "imageSpaceGb": 0,
        "maximumPersistentDisks": if machine.is_shared { 16 } else { 128 },
        "maximumPersistentDisksSizeGb": if machine.is_shared { "3072" } else { "263168" },
        "zone": zone,
        "selfLink": format!("{}/machineTypes/{}", zone_url(project, zone), machine.name),
        "isSharedCpu": machine.is_shared,
        "architecture": machine.arch.wire_name(),
    });
    if machine.bundled_ssds > 0 {
        out["bundledLocalSsds"] =
            json!({ "defaultInterface": "NVME", "partitionCount": machine.bundled_ssds });
    }
    out
}

/// One subnet. How many of its addresses are in use is told to who asks for it.
pub(super) fn subnetwork(project: &str, subnet: &Subnet, with_utilization: bool) -> Value {
    let region = &subnet.region;
    let mut out = json!({
        "kind": "compute#subnetwork",
        "id": stable_id(region),
        "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
        "name": "default",
        "network": format!("{BASE}/{project}/global/networks/default"),
        "ipCidrRange": subnet.range,
        "gatewayAddress": subnet.gateway,
        "region": format!("{BASE}/{project}/regions/{region}"),
        "selfLink": format!("{BASE}/{project}/regions/{region}/subnetworks/default"),
        "privateIpGoogleAccess": false,
        "fingerprint": fingerprint(u64::from(subnet.allocated)),
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
    });
    if with_utilization {
        out["utilizationDetails"] = json!({
            "ipv4Utilizations": [{
                "totalAllocatedIp": subnet.allocated.to_string(),
                "totalFreeIp": subnet.free.to_string(),
            }],
        });
    }
    out
}

/// One project with its quotas.
pub(super) fn project(id: &str, number: u64, all: &[Quota]) -> Value {
    json!({
        "kind": "compute#project",
        "id": number.to_string(),
        "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
        "name": id,
        "commonInstanceMetadata": { "kind": "compute#metadata", "fingerprint": fingerprint(number) },
        "quotas": quotas(all),
        "selfLink": format!("{BASE}/{id}"),
        "defaultServiceAccount": format!("{number}-compute@developer.gserviceaccount.com"),
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
    })
}

/// A number for things that have no other: always the same for the same name.
fn stable_id(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 20).to_string()
}

/// A page of resources as a list reply.
pub(super) fn list(kind: &str, path: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut out = Map::new();
    out.insert("kind".into(), json!(kind));
    out.insert("id".into(), json!(path));
    if !items.is_empty() {
        out.insert("items".into(), Value::Array(items));
    }
    if let Some(next) = next {
        out.insert("nextPageToken".into(), json!(next));
    }
    out.insert(
        "selfLink".into(),
        json!(format!("{BASE}/{}", path.trim_start_matches("projects/"))),
    );
    Value::Object(out)
}

/// A page of resources by scope as an aggregated list reply; scopes without any carry a warning.
pub(super) fn aggregated(
    kind: &str,
    path: &str,
    name: &str,
    scopes: Vec<(String, Vec<Value>)>,
    next: Option<String>,
) -> Value {
    let items: Map<String, Value> = scopes
        .into_iter()
        .map(|(scope, items)| {
            let value = match items.is_empty() {
                false => json!({ name: items }),
                true => json!({ "warning": {
                    "code": "NO_RESULTS_ON_PAGE",
                    "message": format!("There are no results for scope '{scope}' on this page."),
                    "data": [{ "key": "scope", "value": scope }],
                }}),
            };
            (scope, value)
        })
        .collect();
    let mut out = list(kind, path, Vec::new(), next);
    out["items"] = Value::Object(items);
    out
}

/// The names of the scopes of an aggregated list over zones.
pub(super) fn zone_scopes(zones: &[Arc<str>]) -> Vec<(String, Vec<Value>)> {
    zones
        .iter()
        .map(|zone| (format!("zones/{zone}"), Vec::new()))
        .collect()
}
