//! Instances as the API shows them.

use serde_json::{Map, Value, json};

use super::super::addresses;
use super::super::catalog::{LOCAL_SSD_GIB, MachineType, region_of};
use super::super::instance::Instance;
use super::base::{BASE, disk_name, fingerprint, timestamp, zone_url};

/// One instance. `region_index` decides its internal address block.
pub(in crate::gce) fn instance(project: &str, region_index: usize, instance: &Instance) -> Value {
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
    put("canIpForward", json!(shape.template.forwards));
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
    put("deletionProtection", json!(shape.template.is_protected));
    put(
        "fingerprint",
        json!(fingerprint(
            instance.id
                ^ u64::from(instance.turn)
                ^ instance.label_fingerprint
                ^ instance.metadata_fingerprint.rotate_left(1)
        )),
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
    put("resourceStatus", json!({ "scheduling": {} }));
    for (key, value) in &shape.template.echoed {
        put(key, value.clone());
    }
    put(
        "shieldedInstanceConfig",
        shielded(shape.template.echoed.get("shieldedInstanceConfig")),
    );
    put(
        "shieldedInstanceIntegrityPolicy",
        json!({ "updateAutoLearnPolicy": true }),
    );
    Value::Object(out)
}

/// `shieldedInstanceConfig`: all that was not said is as Google has it by default.
fn shielded(given: Option<&Value>) -> Value {
    let flag = |key: &str, default: bool| {
        given
            .and_then(|given| given.get(key)?.as_bool())
            .unwrap_or(default)
    };
    json!({
        "enableSecureBoot": flag("enableSecureBoot", false),
        "enableVtpm": flag("enableVtpm", true),
        "enableIntegrityMonitoring": flag("enableIntegrityMonitoring", true),
    })
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
    let mut out = given.echoed.clone();
    out.insert("onHostMaintenance".into(), json!(given.maintenance()));
    out.insert("automaticRestart".into(), json!(given.restarts()));
    out.insert("preemptible".into(), json!(given.is_spot()));
    out.insert("provisioningModel".into(), json!(given.model()));
    if let Some(action) = &given.termination_action {
        out.insert("instanceTerminationAction".into(), json!(action));
    }
    if let Some(seconds) = given.max_run_s {
        out.insert("maxRunDuration".into(), json!({ "seconds": seconds.to_string() }));
    }
    Value::Object(out)
}
