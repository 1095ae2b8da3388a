//! The bodies of the two calls that create machines, as pure functions of what the batch record holds.
//!
//! Nothing is added here that is not in the record: a repeat of the call, by whichever replica, is the same
//! request. Bare names against URLs are the one difference between the two calls: bulk insert and templates
//! take the bare machine type and disk type (a URL ends in `INTERNAL_ERROR`), `instances.insert` takes URLs.
//! Source: the model's own doc comments in google-cloud-compute-v1 4.1.

use google_cloud_compute_v1::model::{
    AcceleratorConfig, AccessConfig, AttachedDisk, AttachedDiskInitializeParams, BulkInsertInstanceResource,
    BulkInsertInstanceResourcePerInstanceProperties, Duration, Instance, InstanceFlexibilityPolicy,
    InstanceFlexibilityPolicyInstanceSelection, InstanceProperties, LocationPolicy, LocationPolicyLocation,
    LocationPolicyZoneConfiguration, Metadata, NetworkInterface, Scheduling, ServiceAccount, access_config,
    attached_disk, location_policy::TargetShape, location_policy_location::Preference, metadata::Items,
    network_interface::NicType, scheduling,
};
use gust_core::{
    ids::{MachineName, Zone},
    ports::Creation,
    shape::{Arch, ProvisioningModel, Shape},
};

/// The one scope a machine's account gets: what it may do is decided by its roles, not by scopes.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The body of `regionInstances.bulkInsert`.
///
/// `minCount` is 1, so that a refusal of a few never rolls back the rest, and the zones are an allow-list
/// with `targetShape: ANY`, so that Google may fill any of them.
pub fn bulk_body(creation: &Creation) -> BulkInsertInstanceResource {
    let shape = &creation.shape;
    let nothing = BulkInsertInstanceResourcePerInstanceProperties::new;
    BulkInsertInstanceResource::new()
        .set_count(i64::try_from(creation.names.len()).unwrap_or(i64::MAX))
        .set_min_count(1)
        .set_per_instance_properties(creation.names.iter().map(|n| (n.as_str(), nothing())))
        .set_location_policy(locations(&shape.zones))
        .set_or_clear_instance_flexibility_policy(flexibility(shape))
        .set_instance_properties(
            InstanceProperties::new()
                .set_machine_type(shape.machine_type.as_str())
                .set_labels(&shape.labels)
                .set_metadata(metadata(shape))
                .set_disks(disks(shape, &str::to_owned))
                .set_network_interfaces([network(shape)])
                .set_service_accounts([account(shape)])
                .set_guest_accelerators(accelerators(shape, &str::to_owned))
                .set_scheduling(rules(shape)),
        )
}

/// The body of `instances.insert` for one machine in one zone.
pub fn insert_body(creation: &Creation, name: &MachineName, zone: &Zone) -> Instance {
    let shape = &creation.shape;
    let here = format!("projects/{}/zones/{zone}", shape.project);
    Instance::new()
        .set_name(name.as_str())
        .set_machine_type(format!("{here}/machineTypes/{}", shape.machine_type))
        .set_labels(&shape.labels)
        .set_metadata(metadata(shape))
        .set_disks(disks(shape, &|bare| format!("{here}/diskTypes/{bare}")))
        .set_network_interfaces([network(shape)])
        .set_service_accounts([account(shape)])
        .set_guest_accelerators(accelerators(shape, &|bare| {
            format!("{here}/acceleratorTypes/{bare}")
        }))
        .set_scheduling(rules(shape))
}

/// The types that Google may take, by rank; `None` where there is one. Ranked first is the shape's own, which the instance
/// properties name as well.
fn flexibility(shape: &Shape) -> Option<InstanceFlexibilityPolicy> {
    if shape.alternatives.is_empty() {
        return None;
    }
    let others = shape.alternatives.iter().map(|it| &it.machine_type);
    let ranked = std::iter::once(&shape.machine_type).chain(others).zip(0_i64..);
    let selections = ranked.map(|(machine_type, rank)| {
        let selection = InstanceFlexibilityPolicyInstanceSelection::new()
            .set_rank(rank)
            .set_machine_types([machine_type.as_str()]);
        (format!("rank-{rank}"), selection)
    });
    Some(InstanceFlexibilityPolicy::new().set_instance_selections(selections))
}

/// An allow-list said twice: `zones[]` lists the zones that may be used at all, and each of them is allowed.
fn locations(zones: &[Zone]) -> LocationPolicy {
    let allow = || LocationPolicyLocation::new().set_preference(Preference::Allow);
    LocationPolicy::new()
        .set_target_shape(TargetShape::Any)
        .set_locations(zones.iter().map(|zone| (format!("zones/{zone}"), allow())))
        .set_zones(
            zones
                .iter()
                .map(|zone| LocationPolicyZoneConfiguration::new().set_zone(format!("zones/{zone}"))),
        )
}

fn disks(shape: &Shape, disk_type: &dyn Fn(&str) -> String) -> Vec<AttachedDisk> {
    let boot = AttachedDisk::new()
        .set_boot(true)
        .set_auto_delete(true)
        .set_type(attached_disk::Type::Persistent)
        .set_initialize_params(
            AttachedDiskInitializeParams::new()
                .set_source_image(&shape.boot_disk.image)
                .set_disk_size_gb(i64::from(shape.boot_disk.gib))
                .set_disk_type(disk_type(&shape.boot_disk.disk_type)),
        );
    let local = || {
        AttachedDisk::new()
            .set_auto_delete(true)
            .set_type(attached_disk::Type::Scratch)
            .set_interface(attached_disk::Interface::Nvme)
            .set_initialize_params(AttachedDiskInitializeParams::new().set_disk_type(disk_type("local-ssd")))
    };
    std::iter::once(boot)
        .chain((0..shape.local_ssds).map(|_| local()))
        .collect()
}

/// What is attached; types that bring accelerators name none.
fn accelerators(shape: &Shape, kind: &dyn Fn(&str) -> String) -> Option<AcceleratorConfig> {
    let gpus = shape.gpus.as_ref().filter(|gpus| gpus.attach)?;
    let count = i32::try_from(gpus.count).unwrap_or(i32::MAX);
    Some(
        AcceleratorConfig::new()
            .set_accelerator_type(kind(&gpus.kind))
            .set_accelerator_count(count),
    )
}

fn network(shape: &Shape) -> NetworkInterface {
    let mut nic = NetworkInterface::new()
        .set_network(&shape.network.network)
        .set_or_clear_subnetwork(shape.network.subnetwork.as_ref());
    // Without an access config there is no external address.
    if shape.network.external_address {
        nic = nic.set_access_configs([AccessConfig::new()
            .set_type(access_config::Type::OneToOneNat)
            .set_name("External NAT")
            .set_network_tier(access_config::NetworkTier::Premium)]);
    }
    if needs_gvnic(shape) {
        nic.set_nic_type(NicType::Gvnic)
    } else {
        nic
    }
}

/// Families of the third generation and later have no other network card, and neither has an Arm machine.
/// The generation is the digit in the family's name. Source: docs.cloud.google.com/compute/docs/machine-resource.
fn needs_gvnic(shape: &Shape) -> bool {
    let others = shape.alternatives.iter().map(|it| &it.family);
    let third = |family: &String| {
        let generation = family.chars().find_map(|c| c.to_digit(10));
        generation.is_some_and(|g| g >= 3)
    };
    // Families that have other cards as well have this one, too.
    shape.arch == Arch::Arm64 || std::iter::once(&shape.family).chain(others).any(third)
}

fn account(shape: &Shape) -> ServiceAccount {
    ServiceAccount::new()
        .set_email(&shape.service_account)
        .set_scopes([CLOUD_PLATFORM])
}

fn metadata(shape: &Shape) -> Metadata {
    Metadata::new().set_items(
        shape
            .metadata
            .iter()
            .map(|(key, value)| Items::new().set_key(key).set_value(value)),
    )
}

/// A machine never starts again by itself (its one job is lost with it), and Google deletes it at the end of
/// its time, also if all of gust is gone. No action on stop is set: the guest's power-off must stop it, not
/// more, so that what it was can still be read.
fn rules(shape: &Shape) -> Scheduling {
    let seconds = i64::try_from(shape.max_run_seconds).unwrap_or(i64::MAX);
    let common = Scheduling::new()
        .set_automatic_restart(false)
        .set_max_run_duration(Duration::new().set_seconds(seconds))
        .set_instance_termination_action(scheduling::InstanceTerminationAction::Delete);
    let common = match shape.model {
        ProvisioningModel::Standard => common.set_provisioning_model(scheduling::ProvisioningModel::Standard),
        ProvisioningModel::Spot => common.set_provisioning_model(scheduling::ProvisioningModel::Spot),
    };
    // Neither Spot machines nor those with accelerators can move to another host.
    if shape.model == ProvisioningModel::Spot || shape.gpus.is_some() {
        common.set_on_host_maintenance(scheduling::OnHostMaintenance::Terminate)
    } else {
        common
    }
}

#[cfg(test)]
mod tests;
