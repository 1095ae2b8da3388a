//! Reading the data files. They are part of the program, so that what is wrong in them is a broken build: the
//! tests read them, and reading them here cannot fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{Arch, Catalog, MachineType};

const MACHINE_TYPES: &str = include_str!("../../../data/machine-types.toml");
const ZONES: &str = include_str!("../../../data/zones.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    #[serde(rename = "as_of")]
    _as_of: String,
    disk_price_month: BTreeMap<String, f64>,
    family: BTreeMap<String, Family>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneFile {
    #[serde(rename = "as_of")]
    _as_of: String,
    regions: BTreeMap<String, Vec<String>>,
    only: BTreeMap<String, Vec<String>>,
}

/// One machine family and its rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Architecture of all its machines.
    pub arch: Arch,
    /// Its classic quota metric; families without one count in `per_family`.
    #[serde(default)]
    pub metric: Option<String>,
    /// Its dimension `vm_family` of the quota `CPUS_PER_VM_FAMILY`.
    #[serde(default)]
    pub per_family: Option<String>,
    /// What `cpuPlatform` says.
    pub platform: String,
    /// Disk types it takes.
    pub disks: Vec<String>,
    /// Disk type when none is given.
    pub default_disk: String,
    /// Prices of its machines.
    pub price: Price,
    /// Shared-core types: vCPUs, MiB, USD per hour.
    #[serde(default)]
    pub shared: BTreeMap<String, (u32, u64, f64)>,
    /// Shared-core custom types: smallest and largest MiB.
    #[serde(default)]
    pub custom_shared: BTreeMap<String, (u64, u64)>,
    /// How many local SSDs a machine can be given.
    #[serde(default)]
    pub local_ssd: Vec<SsdRule>,
    /// Shapes that also exist with attached local SSDs.
    #[serde(default)]
    pub lssd_shapes: Vec<String>,
    /// How many, by vCPUs.
    #[serde(default)]
    pub lssd_disks: BTreeMap<String, u32>,
    /// USD per GiB and month.
    #[serde(default = "old_ssd_price")]
    pub local_ssd_month: f64,
    /// USD per GiB and month on Spot.
    #[serde(default = "old_ssd_spot_price")]
    pub local_ssd_spot_month: f64,
    /// `standard`, `highmem`, `highcpu`.
    pub shapes: BTreeMap<String, Shape>,
    /// Custom types, if the family has them.
    #[serde(default)]
    pub custom: Option<Custom>,
}

fn old_ssd_price() -> f64 {
    0.08
}

fn old_ssd_spot_price() -> f64 {
    0.0428
}

impl Family {
    /// The counts of local SSDs that a machine of this many vCPUs can be given.
    pub fn ssd_counts(&self, cpus: u32) -> &[u32] {
        let rule = self
            .local_ssd
            .iter()
            .find(|rule| (rule.cpus.0..=rule.cpus.1).contains(&cpus));
        rule.map_or(&[], |rule| rule.counts.as_slice())
    }
}

/// Prices in us-central1, USD per hour.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    cpu: f64,
    gib: f64,
    spot_cpu: f64,
    spot_gib: f64,
    #[serde(default)]
    custom_cpu: Option<f64>,
    #[serde(default)]
    custom_gib: Option<f64>,
}

/// Custom types cost so much more where no price of their own is known.
const CUSTOM_PREMIUM: f64 = 1.05;

impl Price {
    /// Price of a vCPU and of a GiB of memory.
    pub(super) fn rates(&self, spot: bool, is_custom: bool) -> (f64, f64) {
        match (spot, is_custom) {
            (true, _) => (self.spot_cpu, self.spot_gib),
            (false, false) => (self.cpu, self.gib),
            (false, true) => (
                self.custom_cpu.unwrap_or(self.cpu * CUSTOM_PREMIUM),
                self.custom_gib.unwrap_or(self.gib * CUSTOM_PREMIUM),
            ),
        }
    }
}

/// Predefined types of one shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    cpus: Vec<u32>,
    mib_per_cpu: f64,
    /// MiB of the types that are off the line, by vCPUs.
    #[serde(default)]
    exact: BTreeMap<String, u64>,
}

/// Which counts of local SSDs go with a range of vCPUs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsdRule {
    cpus: (u32, u32),
    counts: Vec<u32>,
}

/// Rules of custom types.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Ranges of vCPUs: from, to, step.
    pub cpus: Vec<(u32, u32, u32)>,
    /// Least and most MiB for each vCPU.
    pub mib_per_cpu: (u64, u64),
    /// Most MiB in all.
    pub max_mib: u64,
    /// Most MiB in all with `-ext`, which lifts the limit for each vCPU.
    #[serde(default)]
    pub ext_max_mib: Option<u64>,
}

pub(super) fn builtin() -> Catalog {
    let machines: MachineFile = toml::from_str(MACHINE_TYPES).expect("data/machine-types.toml is tested");
    let zones: ZoneFile = toml::from_str(ZONES).expect("data/zones.toml is tested");
    let families: BTreeMap<Arc<str>, Family> = machines
        .family
        .into_iter()
        .map(|(name, family)| (name.into(), family))
        .collect();
    let mut predefined = BTreeMap::new();
    for (name, family) in &families {
        for machine in types_of(name, family) {
            predefined.insert(machine.name.clone(), machine);
        }
    }
    let regions = zones
        .regions
        .into_iter()
        .map(|(region, letters)| {
            let zones = letters
                .iter()
                .map(|letter| format!("{region}-{letter}").into())
                .collect();
            (region.into(), zones)
        })
        .collect();
    Catalog {
        families,
        predefined,
        regions,
        only: zones.only,
        disk_price_month: machines.disk_price_month,
    }
}

fn types_of(family_name: &Arc<str>, family: &Family) -> Vec<MachineType> {
    let machine = |name: String, cpus: u32, memory_mib: u64| MachineType {
        name: name.into(),
        family: family_name.clone(),
        cpus,
        memory_mib,
        arch: family.arch,
        bundled_ssds: 0,
        is_shared: false,
        is_custom: false,
    };
    let mut all = Vec::new();
    for (name, (cpus, mib, _)) in &family.shared {
        all.push(MachineType {
            is_shared: true,
            ..machine(name.clone(), *cpus, *mib)
        });
    }
    for (shape, rule) in &family.shapes {
        for &cpus in &rule.cpus {
            let on_the_line = (rule.mib_per_cpu * f64::from(cpus)) as u64;
            let mib = rule.exact.get(&cpus.to_string()).copied().unwrap_or(on_the_line);
            let name = format!("{family_name}-{shape}-{cpus}");
            if family.lssd_shapes.contains(shape)
                && let Some(&ssds) = family.lssd_disks.get(&cpus.to_string())
            {
                all.push(MachineType {
                    bundled_ssds: ssds,
                    ..machine(format!("{name}-lssd"), cpus, mib)
                });
            }
            all.push(machine(name, cpus, mib));
        }
    }
    all
}
