//! A machine in a body: its disks, network interfaces and scheduling. Most of it is the same in both calls.

use super::body::{Read, metadata_items};
use super::fields::Fields;
use super::form::{self, Form};
use crate::gce::error::ApiError;
use crate::gce::spec::{Disk, Network, Scheduling, Template};

/// The call whose body is read: not all that an insert may ask for can be had in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// `bulkInsert`.
    Bulk,
    /// `insert`.
    Insert,
}

/// What `instanceProperties` and an instance have in common.
pub(super) fn template(fields: &mut Fields, call: For) -> Read<Template> {
    let mut template = Template {
        machine_type: fields.text("machineType")?.unwrap_or_default(),
        scheduling: fields
            .object("scheduling")?
            .map_or_else(|| Ok(Scheduling::default()), |given| scheduling(given, call))?,
        forwards: fields.flag("canIpForward")?.unwrap_or_default(),
        ..Template::default()
    };
    if let Some(labels) = fields.object("labels")? {
        template.labels = labels.named_texts()?.into_iter().collect();
    }
    if let Some(given) = fields.object("metadata")? {
        template.metadata = metadata_items(given)?.1;
    }
    for disk in fields.objects("disks")? {
        template.disks.push(self::disk(disk, call)?);
    }
    for network in fields.objects("networkInterfaces")? {
        template.networks.push(self::network(network, call)?);
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
        tags.check(&[("fingerprint", Form::Text)])?;
        tags.end()?;
    }
    fields.echo(form::MACHINE, &mut template.echoed)?;
    Ok(template)
}

fn scheduling(mut fields: Fields, call: For) -> Read<Scheduling> {
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
        run.check(&[("nanos", Form::Whole(0, 999_999_999))])?;
        run.end()?;
    }
    fields.not_built(&["terminationTime"])?;
    if call == For::Bulk {
        fields.not_in_bulk(&["nodeAffinities"])?;
    }
    fields.echo(form::SCHEDULING, &mut scheduling.echoed)?;
    fields.end()?;
    Ok(scheduling)
}

/// One disk.
pub(super) fn disk(mut fields: Fields, call: For) -> Read<Disk> {
    if call == For::Bulk {
        fields.not_in_bulk(&["source", "forceAttach", "diskEncryptionKey"])?;
    }
    fields.not_built(&[
        "source",
        "forceAttach",
        "diskEncryptionKey",
        "savedState",
        "shieldedInstanceInitialState",
    ])?;
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
    if let Some(new) = fields.object("initializeParams")? {
        initialize(&mut disk, new, call)?;
    }
    fields.check(form::DISK)?;
    fields.end()?;
    Ok(disk)
}

/// `initializeParams`.
fn initialize(disk: &mut Disk, mut new: Fields, call: For) -> Read<()> {
    const FOREIGN: &[&str] = &[
        "resourcePolicies",
        "sourceSnapshot",
        "sourceSnapshotEncryptionKey",
        "sourceImageEncryptionKey",
    ];
    if call == For::Bulk {
        new.not_in_bulk(FOREIGN)?;
    }
    new.not_built(FOREIGN)?;
    new.not_built(&["licenses", "replicaZones"])?;
    disk.disk_type = new.text("diskType")?.filter(|kind| !kind.is_empty());
    disk.source_image = new.text("sourceImage")?.filter(|image| !image.is_empty());
    disk.disk_name = new.name("diskName")?;
    if let Some(size) = new.count("diskSizeGb")? {
        disk.size_gib = Some(size);
    }
    if let Some(labels) = new.object("labels")? {
        disk.labels = labels.named_texts()?.into_iter().collect();
    }
    new.check(form::NEW_DISK)?;
    new.end()
}

/// One network interface.
fn network(mut fields: Fields, call: For) -> Read<Network> {
    const FIXED: &[&str] = &[
        "networkIP",
        "aliasIpRanges",
        "aliasIpv6Ranges",
        "igmpQuery",
        "ipv6Address",
    ];
    if call == For::Bulk {
        fields.not_in_bulk(FIXED)?;
    }
    fields.not_built(FIXED)?;
    fields.not_built(&[
        "internalIpv6PrefixLength",
        "networkAttachment",
        "vlan",
        "parentNicName",
        "serviceClassId",
        "ipv6AccessConfigs",
    ])?;
    let access = fields.objects("accessConfigs")?;
    let is_external = !access.is_empty();
    access.into_iter().try_for_each(|one| access_config(one, call))?;
    let network = Network {
        network: fields.text("network")?.filter(|url| !url.is_empty()),
        subnetwork: fields.text("subnetwork")?.filter(|url| !url.is_empty()),
        is_external,
        nic_type: fields.name_of("nicType", &["GVNIC", "VIRTIO_NET", "IDPF", "MRDMA", "IRDMA"])?,
    };
    fields.check(form::NETWORK)?;
    fields.end()?;
    Ok(network)
}

/// One external address: any will do, a certain one or a name for it are not to be had.
fn access_config(mut fields: Fields, call: For) -> Read<()> {
    const FIXED: &[&str] = &["natIP", "setPublicPtr", "publicPtrDomainName"];
    if call == For::Bulk {
        fields.not_in_bulk(FIXED)?;
    }
    fields.not_built(FIXED)?;
    fields.not_built(&["externalIpv6", "externalIpv6PrefixLength", "securityPolicy"])?;
    fields.check(form::ACCESS)?;
    fields.end()
}
