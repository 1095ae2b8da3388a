//! The bodies of `bulkInsert`, `insert`, `setLabels` and `setMetadata`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::fields::Fields;
use crate::gce::error::ApiError;
use crate::gce::spec::{
    Bulk, Disk, Location, LocationPolicy, Names, Network, Scheduling, Selection, Single, TargetShape,
    Template,
};

type Read<T> = Result<T, ApiError>;

/// Fields of a machine that are shown again and mean nothing here.
const ECHOED: &[&str] = &[
    "advancedMachineFeatures",
    "confidentialInstanceConfig",
    "description",
    "guestAccelerators",
    "keyRevocationActionType",
    "localSsdEncryptionMode",
    "minCpuPlatform",
    "networkPerformanceConfig",
    "privateIpv6GoogleAccess",
    "reservationAffinity",
    "resourcePolicies",
    "shieldedInstanceConfig",
    "workloadIdentityConfig",
];

/// Fields of an instance that only Google writes.
const OUTPUT_ONLY: &[&str] = &[
    "kind",
    "id",
    "creationTimestamp",
    "status",
    "statusMessage",
    "zone",
    "selfLink",
    "cpuPlatform",
    "labelFingerprint",
    "fingerprint",
    "startRestricted",
    "lastStartTimestamp",
    "lastStopTimestamp",
    "lastSuspendedTimestamp",
    "resourceStatus",
    "satisfiesPzi",
    "satisfiesPzs",
    "canIpForward",
    "deletionProtection",
    "displayDevice",
    "eraseWindowsVssSignature",
    "shieldedInstanceIntegrityPolicy",
];

/// The body of a bulk insert.
pub(super) fn bulk(body: &[u8]) -> Read<Bulk> {
    let mut fields = Fields::of_body("resource", body)?;
    refuse_template(&fields.text("sourceInstanceTemplate")?)?;
    let count = fields
        .count("count")?
        .ok_or_else(|| ApiError::required("resource.count"))?;
    let min_count = fields.count("minCount")?;
    let names = names(&mut fields)?;
    let mut properties = fields
        .object("instanceProperties")?
        .ok_or_else(|| ApiError::required("resource.instanceProperties"))?;
    let template = template(&mut properties)?;
    properties.ignore(&["canIpForward", "resourceManagerTags"]);
    properties.end()?;
    let policy = fields
        .object("locationPolicy")?
        .map_or_else(|| Ok(LocationPolicy::default()), location_policy)?;
    let flexibility = fields
        .object("instanceFlexibilityPolicy")?
        .map_or_else(|| Ok(Vec::new()), flexibility)?;
    fields.ignore(&["kind"]);
    fields.end()?;
    Ok(Bulk {
        count,
        min_count,
        names,
        template,
        policy,
        flexibility,
    })
}

/// The body of an insert.
pub(super) fn single(body: &[u8]) -> Read<Single> {
    let mut fields = Fields::of_body("resource", body)?;
    let name = fields
        .text("name")?
        .ok_or_else(|| ApiError::required("resource.name"))?;
    let hostname = fields.text("hostname")?.filter(|hostname| !hostname.is_empty());
    let template = template(&mut fields)?;
    fields.ignore(OUTPUT_ONLY);
    fields.ignore(&["params"]);
    fields.end()?;
    Ok(Single {
        name,
        hostname,
        template,
    })
}

/// No instance templates exist here.
pub(super) fn refuse_template(template: &Option<String>) -> Read<()> {
    match template.as_deref().filter(|template| !template.is_empty()) {
        None => Ok(()),
        Some(template) => Err(ApiError::not_found(template)),
    }
}

fn names(fields: &mut Fields) -> Read<Names> {
    let pattern = fields.text("namePattern")?.filter(|pattern| !pattern.is_empty());
    let mut each = IndexMap::new();
    if let Some(given) = fields.object("perInstanceProperties")? {
        for (name, mut properties) in given.named_objects()? {
            let hostname = properties
                .text("hostname")?
                .filter(|hostname| !hostname.is_empty());
            properties.ignore(&["name"]);
            properties.end()?;
            each.insert(name, hostname);
        }
    }
    Ok(match (pattern, each.is_empty()) {
        (None, true) => Names::Missing,
        (Some(_), false) => Names::Both,
        (Some(pattern), true) => Names::Pattern(pattern),
        (None, false) => Names::Each(each),
    })
}

fn template(fields: &mut Fields) -> Read<Template> {
    let mut template = Template {
        machine_type: fields.text("machineType")?.unwrap_or_default(),
        scheduling: fields
            .object("scheduling")?
            .map_or_else(|| Ok(Scheduling::default()), scheduling)?,
        ..Template::default()
    };
    if let Some(labels) = fields.object("labels")? {
        template.labels = labels.named_texts()?.into_iter().collect();
    }
    if let Some(given) = fields.object("metadata")? {
        template.metadata = metadata_items(given)?.1;
    }
    for disk in fields.objects("disks")? {
        template.disks.push(self::disk(disk)?);
    }
    for network in fields.objects("networkInterfaces")? {
        template.networks.push(self::network(network)?);
    }
    let mut accounts = fields.objects("serviceAccounts")?;
    if accounts.len() > 1 {
        return Err(ApiError::invalid("At most one service account can be attached."));
    }
    if let Some(mut account) = accounts.pop() {
        let email = account.text("email")?.unwrap_or_else(|| "default".into());
        template.service_account = Some((email, account.texts("scopes")?));
        account.end()?;
    }
    if let Some(mut tags) = fields.object("tags")? {
        template.tags = tags.texts("items")?;
        tags.ignore(&["fingerprint"]);
        tags.end()?;
    }
    fields.echo(ECHOED, &mut template.echoed);
    Ok(template)
}

fn scheduling(mut fields: Fields) -> Read<Scheduling> {
    let mut scheduling = Scheduling {
        provisioning_model: fields.text("provisioningModel")?,
        termination_action: fields.text("instanceTerminationAction")?,
        max_run_s: None,
        automatic_restart: fields.flag("automaticRestart")?,
        on_host_maintenance: fields.name_of("onHostMaintenance", &["MIGRATE", "TERMINATE"])?,
        preemptible: fields.flag("preemptible")?.unwrap_or_default(),
        ..Scheduling::default()
    };
    if let Some(mut run) = fields.object("maxRunDuration")? {
        scheduling.max_run_s = Some(run.count("seconds")?.unwrap_or_default());
        run.ignore(&["nanos"]);
        run.end()?;
    }
    if fields.value("terminationTime").is_some() {
        return Err(ApiError::not_built("scheduling.terminationTime"));
    }
    let shown = [
        "onInstanceStopAction",
        "preemptionNoticeDuration",
        "gracefulShutdown",
        "skipGuestOsShutdown",
        "hostErrorTimeoutSeconds",
        "localSsdRecoveryTimeout",
        "availabilityDomain",
        "minNodeCpus",
        "nodeAffinities",
        "locationHint",
    ];
    fields.echo(&shown, &mut scheduling.echoed);
    fields.end()?;
    Ok(scheduling)
}

fn disk(mut fields: Fields) -> Read<Disk> {
    if fields.value("source").is_some() {
        return Err(ApiError::not_built("disks[].source (disks that exist already)"));
    }
    let mut disk = Disk {
        boot: fields.flag("boot")?.unwrap_or_default(),
        auto_delete: fields.flag("autoDelete")?.unwrap_or_default(),
        is_scratch: fields.name_of("type", &["PERSISTENT", "SCRATCH"])?.as_deref() == Some("SCRATCH"),
        device_name: fields.text("deviceName")?.filter(|name| !name.is_empty()),
        interface: fields.name_of("interface", &["SCSI", "NVME"])?,
        size_gib: fields.count("diskSizeGb")?,
        ..Disk::default()
    };
    fields.name_of("mode", &["READ_WRITE", "READ_ONLY"])?;
    if let Some(mut new) = fields.object("initializeParams")? {
        disk.disk_type = new.text("diskType")?.filter(|kind| !kind.is_empty());
        disk.source_image = new.text("sourceImage")?.filter(|image| !image.is_empty());
        disk.disk_name = new.text("diskName")?.filter(|name| !name.is_empty());
        if let Some(size) = new.count("diskSizeGb")? {
            disk.size_gib = Some(size);
        }
        if let Some(labels) = new.object("labels")? {
            disk.labels = labels.named_texts()?.into_iter().collect();
        }
        new.ignore(&[
            "provisionedIops",
            "provisionedThroughput",
            "architecture",
            "description",
            "resourceManagerTags",
            "onUpdateAction",
            "enableConfidentialCompute",
            "storagePool",
        ]);
        new.end()?;
    }
    fields.ignore(&[
        "kind",
        "index",
        "architecture",
        "guestOsFeatures",
        "licenses",
        "shieldedInstanceInitialState",
    ]);
    fields.end()?;
    Ok(disk)
}

fn network(mut fields: Fields) -> Read<Network> {
    let network = Network {
        network: fields.text("network")?.filter(|url| !url.is_empty()),
        subnetwork: fields.text("subnetwork")?.filter(|url| !url.is_empty()),
        is_external: !fields.objects("accessConfigs")?.is_empty(),
        nic_type: fields.name_of("nicType", &["GVNIC", "VIRTIO_NET", "IDPF", "MRDMA", "IRDMA"])?,
    };
    fields.name_of("stackType", &["IPV4_ONLY", "IPV4_IPV6", "IPV6_ONLY"])?;
    fields.ignore(&[
        "kind",
        "name",
        "fingerprint",
        "queueCount",
        "ipv6AccessConfigs",
        "ipv6AccessType",
    ]);
    fields.end()?;
    Ok(network)
}

fn location_policy(mut fields: Fields) -> Read<LocationPolicy> {
    let shape = fields.name_of("targetShape", &["ANY", "ANY_SINGLE_ZONE", "BALANCED"])?;
    let mut policy = LocationPolicy {
        shape: match shape.as_deref() {
            Some("ANY") => TargetShape::Any,
            Some("BALANCED") => TargetShape::Balanced,
            _ => TargetShape::AnySingleZone,
        },
        ..LocationPolicy::default()
    };
    if let Some(locations) = fields.object("locations")? {
        for (url, mut location) in locations.named_objects()? {
            let preference = location.name_of("preference", &["ALLOW", "DENY", "PREFERENCE_UNSPECIFIED"])?;
            let mut max_count = None;
            if let Some(mut constraints) = location.object("constraints")? {
                max_count = constraints.count("maxCount")?;
                constraints.end()?;
            }
            location.end()?;
            let is_allowed = preference.as_deref() != Some("DENY");
            policy.locations.insert(
                zone_name(&url)?,
                Location {
                    is_allowed,
                    max_count,
                },
            );
        }
    }
    for mut zone in fields.objects("zones")? {
        let url = zone.text("zone")?.unwrap_or_default();
        zone.end()?;
        policy.zones.push(zone_name(&url)?);
    }
    fields.end()?;
    Ok(policy)
}

/// `us-central1-a` of `zones/us-central1-a`, or of a longer URL.
fn zone_name(url: &str) -> Read<String> {
    let (before, name) = url.rsplit_once('/').unwrap_or(("", ""));
    match (before == "zones" || before.ends_with("/zones")) && !name.is_empty() {
        true => Ok(name.to_owned()),
        false => Err(ApiError::field(
            "resource.locationPolicy.locations",
            url,
            "Must be of the form 'zones/ZONE'.",
        )),
    }
}

fn flexibility(mut fields: Fields) -> Read<Vec<Selection>> {
    let mut selections = Vec::new();
    if let Some(given) = fields.object("instanceSelections")? {
        for (_, mut one) in given.named_objects()? {
            let mut selection = Selection {
                rank: one.integer("rank")?.unwrap_or_default(),
                machine_types: one.texts("machineTypes")?,
                disks: None,
            };
            let disks = one.objects("disks")?;
            if !disks.is_empty() {
                selection.disks = Some(disks.into_iter().map(disk).collect::<Read<_>>()?);
            }
            one.ignore(&["minCpuPlatform"]);
            one.end()?;
            selections.push(selection);
        }
    }
    fields.end()?;
    Ok(selections)
}

fn metadata_items(mut fields: Fields) -> Read<(String, IndexMap<String, String>)> {
    let fingerprint = fields.text("fingerprint")?.unwrap_or_default();
    let mut items = IndexMap::new();
    for mut item in fields.objects("items")? {
        let key = item.text("key")?.unwrap_or_default();
        let value = item.text("value")?.unwrap_or_default();
        item.end()?;
        if items.insert(key.clone(), value).is_some() {
            return Err(ApiError::field(
                "metadata.items.key",
                &key,
                "Metadata key is there twice.",
            ));
        }
    }
    fields.ignore(&["kind"]);
    fields.end()?;
    Ok((fingerprint, items))
}

/// The body of `setMetadata`: fingerprint and items.
pub(super) fn metadata(body: &[u8]) -> Read<(String, IndexMap<String, String>)> {
    metadata_items(Fields::of_body("metadata", body)?)
}

/// The body of `setLabels`: fingerprint and labels.
pub(super) fn labels(body: &[u8]) -> Read<(String, BTreeMap<String, String>)> {
    let mut fields = Fields::of_body("", body)?;
    let fingerprint = fields.text("labelFingerprint")?.unwrap_or_default();
    let labels = fields
        .object("labels")?
        .map_or_else(|| Ok(Vec::new()), Fields::named_texts)?;
    fields.end()?;
    Ok((fingerprint, labels.into_iter().collect()))
}
