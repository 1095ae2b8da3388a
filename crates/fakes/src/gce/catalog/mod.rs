//! What Google offers: regions, zones, machine families and their rules.
//!
//! Responsible for answering "does this machine type exist here, and what is it". Quotas, stockouts and
//! prices of disks in use belong to others. The data are two dated files (`data/machine-types.toml`,
//! `data/zones.toml`); [`data`] reads them, [`custom`] judges custom types.

mod custom;
mod data;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

pub use data::{Custom, Family, Price};

/// Processor architecture of a machine or an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64, `X86_64` on Google's wire.
    Amd64,
    /// 64-bit Arm, `ARM64` on Google's wire.
    Arm64,
}

impl Arch {
    /// The name in event fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name on Google's wire.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Amd64 => "X86_64",
            Self::Arm64 => "ARM64",
        }
    }
}

/// A machine type that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineType {
    /// Its name, `n2d-standard-16`.
    pub name: Arc<str>,
    /// Its family, `n2d`.
    pub family: Arc<str>,
    /// vCPUs.
    pub cpus: u32,
    /// Memory.
    pub memory_mib: u64,
    /// Architecture.
    pub arch: Arch,
    /// Local SSDs (375 GiB each) that come attached, the `-lssd` types.
    pub bundled_ssds: u32,
    /// Whether vCPUs are shared with other VMs (`e2-micro` …).
    pub is_shared: bool,
    /// Whether it is a custom type.
    pub is_custom: bool,
}

/// Why a machine type does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSuchType {
    /// No family or no predefined type of that name.
    Unknown,
    /// A custom name whose figures break the rules: 400.
    BadCustom(String),
}

/// The whole offer.
#[derive(Debug)]
pub struct Catalog {
    families: BTreeMap<Arc<str>, Family>,
    predefined: BTreeMap<Arc<str>, MachineType>,
    regions: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    only: BTreeMap<String, Vec<String>>,
    disk_price_month: BTreeMap<String, f64>,
}

impl Catalog {
    /// The built-in catalogue.
    pub fn builtin() -> Self {
        data::builtin()
    }

    /// The same, read once in the life of the process: a load test makes thousands of worlds.
    pub fn shared() -> Arc<Self> {
        static READ: OnceLock<Arc<Catalog>> = OnceLock::new();
        Arc::clone(READ.get_or_init(|| Arc::new(Self::builtin())))
    }

    /// The machine type of that name, predefined or custom.
    pub fn machine_type(&self, name: &str) -> Result<MachineType, NoSuchType> {
        match self.predefined.get(name) {
            Some(known) => Ok(known.clone()),
            None => custom::parse(self, name),
        }
    }

    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// All families, by name.
    pub fn families(&self) -> impl Iterator<Item = (&Arc<str>, &Family)> {
        self.families.iter()
    }

    /// All predefined types of a zone, by name.
    pub fn types_in(&self, zone: &str) -> impl Iterator<Item = &MachineType> {
        self.predefined
            .values()
            .filter(move |known| self.offers(zone, &known.family))
    }

    /// Whether the family is offered in the zone.
    pub fn offers(&self, zone: &str, family: &str) -> bool {
        self.only
            .get(family)
            .is_none_or(|zones| zones.iter().any(|only| only == zone))
    }

    /// The zones of a region that the catalogue knows, none for an unknown region.
    pub fn zones(&self, region: &str) -> &[Arc<str>] {
        self.regions.get(region).map_or(&[], Vec::as_slice)
    }

    /// All regions the catalogue knows.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<str>> {
        self.regions.keys()
    }

    /// Price of a disk type, USD per GiB and month; `None` if there is no such disk type.
    pub fn disk_price_month(&self, disk_type: &str) -> Option<f64> {
        self.disk_price_month.get(disk_type).copied()
    }

    /// Price of a machine without its disks, USD per hour, us-central1.
    pub fn machine_price(&self, machine: &MachineType, spot: bool) -> f64 {
        let Some(family) = self.families.get(&machine.family) else {
            return 0.0;
        };
        if let Some((.., price)) = family.shared.get(&*machine.name).filter(|_| !spot) {
            return *price;
        }
        let (cpu, gib) = family.price.rates(spot, machine.is_custom);
        cpu * f64::from(machine.cpus) + gib * machine.memory_mib as f64 / 1024.0
    }

    /// Price of `count` local SSDs, USD per hour.
    pub fn local_ssd_price(&self, family: &str, count: u32, spot: bool) -> f64 {
        let month = self.families.get(family).map_or(0.08, |family| {
            if spot {
                family.local_ssd_spot_month
            } else {
                family.local_ssd_month
            }
        });
        f64::from(count) * LOCAL_SSD_GIB as f64 * month / HOURS_PER_MONTH
    }
}

/// Size of one local SSD.
pub const LOCAL_SSD_GIB: u64 = 375;

/// Hours in a month as Google's price page counts.
pub const HOURS_PER_MONTH: f64 = 730.0;

/// The region of a zone: `us-central1-a` is in `us-central1`.
pub fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}
