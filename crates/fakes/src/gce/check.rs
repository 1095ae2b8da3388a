//! Whether Google would take a template: names, labels, metadata, scheduling, machine type, disks, network.
//!
//! Pure judgement of one template; what there is room for is decided in `plan`.

mod scheduling;
mod text;

use super::catalog::{Catalog, HOURS_PER_MONTH, MachineType, NoSuchType};
use super::error::ApiError;
use super::images::{self, IMAGE_GIB};
use super::instance::Shape;
use super::quota;
use super::spec::{Disk, Template};
use crate::limits;
pub(super) use text::{check_hostname, check_labels, check_metadata, check_name, check_tags, is_name};

/// What a template is judged against.
pub(super) struct Judge<'a> {
    pub catalog: &'a Catalog,
    pub limits: &'a limits::Gce,
    pub project: &'a str,
    pub number: u64,
    /// The zone of an insert, which takes types as URLs; a bulk insert has none and takes bare names.
    pub zone: Option<&'a str>,
    pub region: &'a str,
    /// Where messages say a field is: `resource` or `resource.instanceProperties`.
    pub field: &'a str,
}

type Checked = Result<(), ApiError>;

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
        check_tags(&format!("{}.tags", self.field), &template.tags)?;
        self.check_scheduling(&machine, &template)?;
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

    /// The bare name of an insert's machine type, which is a URL into the instance's own zone.
    pub fn type_in_zone(&self, zone: &str, url: &str) -> Result<String, ApiError> {
        let bad = |why: &str| self.bad("machineType", url, why);
        if url.is_empty() {
            return Err(ApiError::required(&format!("{}.machineType", self.field)));
        }
        let path = in_project(url, self.project, self.number)
            .ok_or_else(|| bad("The URL is malformed or names another project."))?;
        let (of, name) = path
            .strip_prefix("zones/")
            .and_then(|rest| rest.split_once("/machineTypes/"))
            .ok_or_else(|| bad("The URL is malformed."))?;
        match of == zone {
            true => Ok(name.to_owned()),
            false => Err(bad(&format!(
                "Machine type must be in the instance's zone '{zone}'."
            ))),
        }
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
        in_project(url, self.project, self.number) == Some(&format!("{home}/default"))
    }

    /// Whether this is the caller's project, by id or number.
    fn is_own(&self, project: &str) -> bool {
        is_project(project, self.project, self.number)
    }

    /// The bare name of a disk type, which an insert gives as a URL and a bulk insert does not.
    fn disk_type(&self, field: &str, given: &str) -> Result<String, ApiError> {
        let bad = |why: &str| Err(self.bad(field, given, why));
        let Some(zone) = self.zone else {
            return match given.contains('/') {
                true => bad("Must be the name of a disk type, not a URL."),
                false => Ok(given.to_owned()),
            };
        };
        let path = in_project(given, self.project, self.number).and_then(|path| path.strip_prefix("zones/"));
        match path.and_then(|path| path.split_once("/diskTypes/")) {
            None => bad("The URL is malformed."),
            Some((of, _)) if of != zone => bad(&format!("The disk type must be in zone '{zone}'.")),
            Some((_, name)) => Ok(name.to_owned()),
        }
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
            let labels = format!("{}.{}", self.field, field("initializeParams.labels"));
            check_labels(&labels, &disk.labels)?;
            if let Some(kind) = &disk.disk_type {
                disk.disk_type = Some(self.disk_type(&field("initializeParams.diskType"), kind)?);
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
        let arch = images::find(project, self.is_own(project), name)
            .ok_or_else(missing)?
            .arch;
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
fn partial(url: &str) -> &str {
    let path = url
        .find("/compute/v1/")
        .map_or(url, |at| &url[at + "/compute/v1/".len()..]);
    let path = path
        .strip_prefix("https://")
        .and_then(|rest| rest.find("projects/").map(|at| &rest[at..]))
        .unwrap_or(path);
    path.trim_start_matches('/')
}

/// Whether `named` is this project, by its id or its number.
fn is_project(named: &str, id: &str, number: u64) -> bool {
    named == id || named.parse() == Ok(number)
}

/// The path within the project of a full or partial URL; `None` if it names another project.
pub(super) fn in_project<'u>(url: &'u str, id: &str, number: u64) -> Option<&'u str> {
    let path = partial(url);
    match path
        .strip_prefix("projects/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((of, rest)) => is_project(of, id, number).then_some(rest),
        None => Some(path),
    }
}
