//! Whether Google would take a template: names, labels, metadata, scheduling, machine type, disks, network.
//!
//! Pure judgement of one template; what there is room for is decided in `plan`.

use std::collections::BTreeMap;

use super::catalog::{Arch, Catalog, HOURS_PER_MONTH, MachineType, NoSuchType};
use super::error::ApiError;
use super::instance::Shape;
use super::quota;
use super::spec::{Disk, Scheduling, Template};
use crate::limits;

/// What a template is judged against.
pub(super) struct Judge<'a> {
    pub catalog: &'a Catalog,
    pub limits: &'a limits::Gce,
    pub project: &'a str,
    pub region: &'a str,
    /// Where messages say a field is: `resource` or `resource.instanceProperties`.
    pub field: &'a str,
}

type Checked = Result<(), ApiError>;

/// Size of the public images when no disk size is given.
const IMAGE_GIB: u64 = 10;

/// Public image families that exist, with their architecture.
const PUBLIC_IMAGES: &[(&str, &str, Arch)] = &[
    ("debian-cloud", "debian-11", Arch::Amd64),
    ("debian-cloud", "debian-12", Arch::Amd64),
    ("debian-cloud", "debian-12-arm64", Arch::Arm64),
    ("debian-cloud", "debian-13", Arch::Amd64),
    ("debian-cloud", "debian-13-arm64", Arch::Arm64),
    ("ubuntu-os-cloud", "ubuntu-2204-lts", Arch::Amd64),
    ("ubuntu-os-cloud", "ubuntu-2204-lts-arm64", Arch::Arm64),
    ("ubuntu-os-cloud", "ubuntu-2404-lts-amd64", Arch::Amd64),
    ("ubuntu-os-cloud", "ubuntu-2404-lts-arm64", Arch::Arm64),
    ("cos-cloud", "cos-stable", Arch::Amd64),
    ("cos-cloud", "cos-arm64-stable", Arch::Arm64),
];

/// Whether a name is 1 to 63 characters of `[a-z]([-a-z0-9]*[a-z0-9])?`.
pub(super) fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(inner)
        && !name.ends_with('-')
}

/// Labels: at most 64, lower-case keys that begin with a letter.
pub(super) fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Checked {
    let is_inner = |text: &str| {
        text.chars()
            .all(|c| c == '_' || c == '-' || c.is_numeric() || (c.is_alphabetic() && !c.is_uppercase()))
    };
    if labels.len() > 64 {
        return Err(ApiError::field(field, "labels", "There are more than 64 labels."));
    }
    for (key, value) in labels {
        let starts = key.starts_with(|first: char| first.is_alphabetic() && !first.is_uppercase());
        if !starts || key.chars().count() > 63 || !is_inner(key) {
            return Err(ApiError::field(field, key, "Label key is not valid."));
        }
        if value.chars().count() > 63 || !is_inner(value) {
            return Err(ApiError::field(
                field,
                value,
                &format!("Label value of '{key}' is not valid."),
            ));
        }
    }
    Ok(())
}

/// Metadata: keys of `[a-zA-Z0-9-_]`, values up to 256 KiB, 512 KiB in all.
pub(super) fn check_metadata<'a>(
    field: &str,
    items: impl Iterator<Item = (&'a String, &'a String)>,
) -> Checked {
    let mut total = 0;
    for (key, value) in items {
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.is_empty() || key.len() >= 128 || !key.bytes().all(is_key) {
            return Err(ApiError::field(
                &format!("{field}.items.key"),
                key,
                "Metadata key is not valid.",
            ));
        }
        if value.len() > 262_144 {
            let why = "Value is too large: maximum size 262144 character(s)";
            return Err(ApiError::field(&format!("{field}.items.value"), key, why));
        }
        total += key.len() + value.len();
    }
    if total >= 512 * 1024 {
        return Err(ApiError::invalid(
            "Metadata is too large: the total must be less than 524288 bytes.",
        ));
    }
    Ok(())
}

impl Judge<'_> {
    fn bad(&self, field: &str, value: &str, why: &str) -> ApiError {
        ApiError::field(&format!("{}.{field}", self.field), value, why)
    }

    /// The shape of the template with this machine type (a bare name), or why Google refuses it.
    pub fn shape(&self, type_name: &str, template: &Template) -> Result<Shape, ApiError> {
        let machine = self.machine(type_name)?;
        let mut template = template.clone();
        check_labels(&format!("{}.labels", self.field), &template.labels)?;
        check_metadata(&format!("{}.metadata", self.field), template.metadata.iter())?;
        self.check_scheduling(&template.scheduling)?;
        self.check_networks(&template)?;
        if let Some((email, _)) = &template.service_account
            && email != "default"
            && !email.contains('@')
        {
            return Err(self.bad(
                "serviceAccounts[0].email",
                email,
                "The service account does not exist.",
            ));
        }
        self.settle_disks(&machine, &mut template.disks)?;
        let disk_gib = template
            .disks
            .iter()
            .filter(|disk| !disk.is_scratch)
            .filter_map(|disk| disk.size_gib)
            .sum();
        let scratch = template.disks.iter().filter(|disk| disk.is_scratch).count();
        let local_ssds = machine.bundled_ssds + u32::try_from(scratch).unwrap_or(u32::MAX);
        let needs = quota::needs(self.catalog, self.limits, self.region, &machine, &template);
        let price_usd_h = self.price(&machine, &template, local_ssds);
        Ok(Shape {
            machine,
            template,
            needs,
            price_usd_h,
            disk_gib,
            local_ssds,
        })
    }

    fn machine(&self, name: &str) -> Result<MachineType, ApiError> {
        if name.is_empty() {
            return Err(ApiError::required(&format!("{}.machineType", self.field)));
        }
        self.catalog.machine_type(name).map_err(|why| match why {
            NoSuchType::Unknown => self.bad(
                "machineType",
                name,
                &format!(
                    "Machine type with name '{name}' does not exist in '{}'.",
                    self.region
                ),
            ),
            NoSuchType::BadCustom(why) => self.bad("machineType", name, &why),
        })
    }

    fn price(&self, machine: &MachineType, template: &Template, local_ssds: u32) -> f64 {
        let spot = template.scheduling.is_spot();
        let disks: f64 = template
            .disks
            .iter()
            .filter_map(|disk| {
                Some((
                    disk.size_gib?,
                    self.catalog.disk_price_month(disk.disk_type.as_deref()?)?,
                ))
            })
            .map(|(gib, month)| gib as f64 * month / HOURS_PER_MONTH)
            .sum();
        self.catalog.machine_price(machine, spot)
            + self.catalog.local_ssd_price(&machine.family, local_ssds, spot)
            + disks
    }

    fn check_scheduling(&self, scheduling: &Scheduling) -> Checked {
        let bad = |field: &str, value: &str, why: &str| self.bad(&format!("scheduling.{field}"), value, why);
        if let Some(model) = scheduling.provisioning_model.as_deref() {
            match model {
                "STANDARD" | "SPOT" => {}
                "FLEX_START" | "RESERVATION_BOUND" => {
                    return Err(ApiError::not_built(&format!("provisioningModel {model}")));
                }
                _ => return Err(bad("provisioningModel", model, "Unknown provisioning model.")),
            }
        }
        if scheduling.is_spot() {
            if scheduling.automatic_restart == Some(true) {
                let why =
                    "Scheduling automaticRestart must be false when preemptible is true or SPOT is used.";
                return Err(bad("automaticRestart", "true", why));
            }
            if scheduling.on_host_maintenance.as_deref() == Some("MIGRATE") {
                let why = "Scheduling onHostMaintenance must be TERMINATE for Spot VMs.";
                return Err(bad("onHostMaintenance", "MIGRATE", why));
            }
        }
        if let Some(seconds) = scheduling.max_run_s
            && (scheduling.preemptible || !(30..=120 * 86_400).contains(&seconds))
        {
            let why = "Must be between 30 seconds and 120 days, and not with preemptible.";
            return Err(bad("maxRunDuration", &seconds.to_string(), why));
        }
        match scheduling.termination_action.as_deref() {
            None => Ok(()),
            Some(action @ ("STOP" | "DELETE")) => {
                if scheduling.provisioning_model.as_deref() == Some("SPOT") || scheduling.max_run_s.is_some()
                {
                    return Ok(());
                }
                let why = "Instance termination action needs provisioning model SPOT or a limited run time.";
                Err(bad("instanceTerminationAction", action, why))
            }
            Some(other) => Err(bad("instanceTerminationAction", other, "Must be STOP or DELETE.")),
        }
    }

    fn check_networks(&self, template: &Template) -> Checked {
        if template.networks.is_empty() {
            return Err(self.bad(
                "networkInterfaces",
                "",
                "At least one network interface is required.",
            ));
        }
        for (index, network) in template.networks.iter().enumerate() {
            let field = |name: &str| format!("networkInterfaces[{index}].{name}");
            if let Some(url) = network
                .network
                .as_deref()
                .filter(|url| !self.is_mine(url, "global/networks"))
            {
                let why = "The referenced network resource cannot be found.";
                return Err(self.bad(&field("network"), url, why));
            }
            let home = format!("regions/{}/subnetworks", self.region);
            if let Some(url) = network
                .subnetwork
                .as_deref()
                .filter(|url| !self.is_mine(url, &home))
            {
                let why = "The referenced subnetwork resource cannot be found.";
                return Err(self.bad(&field("subnetwork"), url, why));
            }
        }
        Ok(())
    }

    /// Whether a full or partial URL names the network or subnet `default` of the project.
    fn is_mine(&self, url: &str, home: &str) -> bool {
        let path = partial(url);
        let path = path
            .strip_prefix(&format!("projects/{}/", self.project))
            .unwrap_or(path);
        path == format!("{home}/default")
    }

    fn settle_disks(&self, machine: &MachineType, disks: &mut [Disk]) -> Checked {
        let Some(family) = self.catalog.family(&machine.family) else {
            return Ok(());
        };
        if disks.iter().filter(|disk| disk.boot).count() != 1 || !disks[0].boot {
            return Err(self.bad(
                "disks",
                "",
                "The first disk, and no other, must be the boot disk.",
            ));
        }
        let mut scratch = 0;
        for (index, disk) in disks.iter_mut().enumerate() {
            let field = |name: &str| format!("disks[{index}].{name}");
            if let Some(kind) = &disk.disk_type {
                disk.disk_type = Some(partial(kind).rsplit('/').next().unwrap_or_default().to_owned());
            }
            if disk.is_scratch {
                scratch += 1;
                if disk.boot || disk.disk_type.as_deref() != Some("local-ssd") {
                    return Err(self.bad(
                        &field("initializeParams.diskType"),
                        "",
                        "A SCRATCH disk is a local-ssd.",
                    ));
                }
                disk.size_gib = None;
                continue;
            }
            let kind = disk
                .disk_type
                .get_or_insert_with(|| family.default_disk.clone())
                .clone();
            if self.catalog.disk_price_month(&kind).is_none() {
                let why = "The referenced diskType resource cannot be found.";
                return Err(self.bad(&field("initializeParams.diskType"), &kind, why));
            }
            if !family.disks.contains(&kind) || (disk.boot && !is_boot_disk(&kind)) {
                let why = format!(
                    "{kind} disk type cannot be used by {} machine type.",
                    machine.name
                );
                return Err(ApiError::invalid(why));
            }
            self.check_image(machine, disk, &field("initializeParams.sourceImage"))?;
            let least = if disk.source_image.is_some() { IMAGE_GIB } else { 1 };
            let size = *disk
                .size_gib
                .get_or_insert(if disk.boot { IMAGE_GIB } else { 500 });
            if size < least.max(if kind.starts_with("hyperdisk") { 4 } else { 1 }) || size > 65_536 {
                let why = format!("Requested disk size must be between {least} GB and 65536 GB.");
                return Err(self.bad(&field("initializeParams.diskSizeGb"), &size.to_string(), &why));
            }
        }
        self.check_local_ssds(machine, family.ssd_counts(machine.cpus), scratch)
    }

    fn check_local_ssds(&self, machine: &MachineType, allowed: &[u32], scratch: u32) -> Checked {
        let name = &machine.name;
        let why = if machine.bundled_ssds > 0 {
            match scratch {
                0 => return Ok(()),
                _ => format!("Machine type {name} comes with its local SSDs: they cannot be given."),
            }
        } else if scratch == 0 || (!machine.is_shared && allowed.contains(&scratch)) {
            return Ok(());
        } else if machine.is_shared || allowed.is_empty() {
            format!("[local-ssd] cannot be used by {name} machine type.")
        } else {
            format!("Number of local SSDs for machine type {name} must be one of {allowed:?}, is {scratch}.")
        };
        Err(ApiError::invalid(why))
    }

    fn check_image(&self, machine: &MachineType, disk: &Disk, field: &str) -> Checked {
        let Some(url) = disk.source_image.as_deref() else {
            return match disk.boot {
                true => Err(ApiError::required(&format!("{}.{field}", self.field))),
                false => Ok(()),
            };
        };
        let missing = || self.bad(field, url, "The referenced image resource cannot be found.");
        let path = partial(url);
        let (project, path) = match path
            .strip_prefix("projects/")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((project, path)) => (project, path),
            None => (self.project, path),
        };
        let name = path.strip_prefix("global/images/").ok_or_else(missing)?;
        let family = name.strip_prefix("family/");
        let arch = if project == self.project {
            // Images of the project are not kept: any well-formed name exists, and says its architecture.
            if !is_name(family.unwrap_or(name)) {
                return Err(missing());
            }
            (name.contains("arm64") || name.contains("aarch64")).then_some(Arch::Arm64)
        } else {
            let known = |(of, image, _): &&(&str, &str, Arch)| {
                *of == project
                    && family.map_or(name.starts_with(&format!("{image}-v")), |family| family == *image)
            };
            Some(PUBLIC_IMAGES.iter().find(known).ok_or_else(missing)?.2)
        };
        match arch {
            Some(arch) if arch != machine.arch && self.limits.switches.image_architecture => {
                Err(ApiError::invalid(format!(
                    "Requested boot disk architecture ({}) is not compatible with machine type architecture ({}).",
                    arch.wire_name(),
                    machine.arch.wire_name(),
                )))
            }
            _ => Ok(()),
        }
    }
}

fn is_boot_disk(kind: &str) -> bool {
    !matches!(kind, "hyperdisk-throughput" | "hyperdisk-ml")
}

/// The part of a full URL that begins at `projects/`; partial URLs stay as they are.
pub(super) fn partial(url: &str) -> &str {
    let path = url
        .find("/compute/v1/")
        .map_or(url, |at| &url[at + "/compute/v1/".len()..]);
    let path = path
        .strip_prefix("https://")
        .and_then(|rest| rest.find("projects/").map(|at| &rest[at..]))
        .unwrap_or(path);
    path.trim_start_matches('/')
}
