//! What gust asks for, as the fake's own typed request.

use gust_core::{
    ids::Zone,
    ports::Creation,
    shape::{ProvisioningModel, Shape},
};
use gust_fakes::gce::spec;

/// The request for many machines.
pub(super) fn bulk(creation: &Creation) -> spec::Bulk {
    let names = creation.names.iter().map(|name| (name.to_string(), None));
    spec::Bulk {
        count: creation.names.len() as u64,
        min_count: Some(1),
        names: spec::Names::Each(names.collect()),
        template: template(&creation.shape, None),
        policy: spec::LocationPolicy {
            zones: creation.shape.zones.iter().map(Zone::to_string).collect(),
            shape: spec::TargetShape::Any,
            ..spec::LocationPolicy::default()
        },
        flexibility: ranked(&creation.shape),
    }
}

/// The types that may be taken, by rank; none where there is one.
fn ranked(shape: &Shape) -> Vec<spec::Selection> {
    if shape.alternatives.is_empty() {
        return Vec::new();
    }
    let others = shape.alternatives.iter().map(|it| &it.machine_type);
    let ranked = std::iter::once(&shape.machine_type).chain(others).zip(0..);
    let selections = ranked.map(|(name, rank)| spec::Selection {
        rank,
        machine_types: vec![name.to_string()],
        disks: None,
    });
    selections.collect()
}

/// The request for one machine; `None` if the creation names none.
pub(super) fn single(creation: &Creation, zone: &Zone) -> Option<spec::Single> {
    Some(spec::Single {
        name: creation.names.first()?.to_string(),
        hostname: None,
        template: template(&creation.shape, Some(zone)),
    })
}

/// A template; for a single insert the zone, since types are then given as URLs.
fn template(shape: &Shape, zone: Option<&Zone>) -> spec::Template {
    let url = |what: &str, name: &str| match zone {
        Some(zone) => format!("zones/{zone}/{what}/{name}"),
        None => name.to_owned(),
    };
    let spot = shape.model == ProvisioningModel::Spot;
    let mut disks = vec![spec::Disk {
        boot: true,
        auto_delete: true,
        disk_type: Some(url("diskTypes", &shape.boot_disk.disk_type)),
        size_gib: Some(shape.boot_disk.gib.into()),
        source_image: Some(shape.boot_disk.image.clone()),
        ..spec::Disk::default()
    }];
    for _ in 0..shape.local_ssds {
        disks.push(spec::Disk {
            auto_delete: true,
            is_scratch: true,
            disk_type: Some(url("diskTypes", "local-ssd")),
            interface: Some("NVME".to_owned()),
            ..spec::Disk::default()
        });
    }
    spec::Template {
        machine_type: url("machineTypes", shape.machine_type.as_str()),
        labels: shape.labels.clone(),
        metadata: shape.metadata.clone().into_iter().collect(),
        disks,
        networks: vec![spec::Network {
            network: Some(shape.network.network.clone()),
            subnetwork: shape.network.subnetwork.clone(),
            is_external: shape.network.external_address,
            nic_type: Some("GVNIC".to_owned()),
        }],
        service_account: Some((
            shape.service_account.clone(),
            vec!["https://www.googleapis.com/auth/cloud-platform".to_owned()],
        )),
        scheduling: spec::Scheduling {
            provisioning_model: Some(if spot { "SPOT" } else { "STANDARD" }.to_owned()),
            termination_action: Some("DELETE".to_owned()),
            max_run_s: Some(shape.max_run_seconds),
            automatic_restart: Some(false),
            on_host_maintenance: spot.then(|| "TERMINATE".to_owned()),
            ..spec::Scheduling::default()
        },
        ..spec::Template::default()
    }
}
