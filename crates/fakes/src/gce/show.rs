//! Resources as the API shows them: instances, operations, regions, zones, machine types, projects.
//!
//! int64 are strings, int32 numbers, quotas doubles; timestamps carry a Pacific offset; fingerprints are
//! URL-safe base64 with padding. Written from the wire reference, sections 1.7, 3.3, 4.5.

mod base;
mod instance;
mod operation;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::catalog::{Arch, MachineType, region_of};
use super::images::{IMAGE_GIB, Image};
use super::places::{Quota, Region, Subnet};
use base::BASE;
pub(super) use base::{disk_name, fingerprint, timestamp, zone_url};
pub(super) use instance::instance;
pub(super) use operation::operation;

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
        "quotas": quotas(project, &region.quotas),
        "selfLink": format!("{BASE}/{project}/regions/{}", region.name),
        "supportsPzs": false,
    })
}

fn quotas(project: &str, all: &[Quota]) -> Value {
    all.iter()
        .map(|quota| {
            json!({
                "metric": quota.metric,
                "limit": quota.limit,
                "usage": quota.usage as f64,
                "owner": format!("{BASE}/{project}"),
            })
        })
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

/// One image.
pub(super) fn image(project: &str, image: &Image) -> Value {
    let mut out = json!({
        "kind": "compute#image",
        "id": stable_id(&image.name),
        "creationTimestamp": "2026-01-01T00:00:00.000-08:00",
        "name": image.name,
        "description": image.name,
        "sourceType": "RAW",
        "status": "READY",
        "archiveSizeBytes": "1073741824",
        "diskSizeGb": IMAGE_GIB.to_string(),
        "guestOsFeatures": [{ "type": "GVNIC" }, { "type": "UEFI_COMPATIBLE" }],
        "labelFingerprint": fingerprint(42),
        "storageLocations": ["us"],
        "architecture": image.arch.unwrap_or(Arch::Amd64).wire_name(),
        "selfLink": format!("{BASE}/{project}/global/images/{}", image.name),
    });
    if let Some(family) = &image.family {
        out["family"] = json!(family);
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
        "quotas": quotas(id, all),
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
    out["unreachables"] = json!([]);
    out
}

/// The names of the scopes of an aggregated list over zones.
pub(super) fn zone_scopes(zones: &[Arc<str>]) -> Vec<(String, Vec<Value>)> {
    zones
        .iter()
        .map(|zone| (format!("zones/{zone}"), Vec::new()))
        .collect()
}
