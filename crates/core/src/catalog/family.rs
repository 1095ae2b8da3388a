//! One machine family: its types, the rules of custom types and local SSD, its prices.
//!
//! Everything here is lookup and arithmetic. Which machine is best is a question for offers.

use std::collections::BTreeMap;

use super::money::{NanoUsd, Rate};
use super::names::{DiskType, FamilyName, GpuName};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::quota::Metric;
use crate::shape::{Arch, ProvisioningModel};

/// A machine type with a fixed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predefined {
    /// Its name.
    pub name: MachineTypeName,
    /// vCPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Local SSDs that come with the type (`-lssd`); zero for all others.
    pub bundled_ssds: u32,
    /// Accelerators that come with the type.
    pub gpus: Option<Gpus>,
    /// Whether the vCPUs are shares of a core. Such types are known by name but never offered: a build on
    /// a quarter of a core is nobody's wish.
    pub shared_core: bool,
}

/// Accelerators of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gpus {
    /// Their kind.
    pub kind: GpuName,
    /// How many.
    pub count: u32,
}

/// So many accelerators may be attached to machines up to a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachGpu {
    /// How many.
    pub count: u32,
    /// Most vCPUs of the machine.
    pub max_cpus: u32,
    /// Most memory of the machine in MiB.
    pub max_memory_mib: u64,
}

/// Which custom sizes a family takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRule {
    pub(super) prefix: String,
    /// Allowed vCPU counts, ascending.
    pub(super) cpus: Vec<u32>,
    pub(super) mib_per_cpu_min: u64,
    pub(super) mib_per_cpu_max: u64,
    pub(super) step_mib: u64,
    pub(super) max_mib: u64,
    /// Most memory with extended memory.
    pub(super) extended_max_mib: Option<u64>,
}

impl CustomRule {
    /// The allowed vCPU counts, ascending.
    pub fn cpus(&self) -> &[u32] {
        &self.cpus
    }

    /// Whether a machine of so many vCPUs can be made.
    pub fn has_cpus(&self, cpus: u32) -> bool {
        self.cpus.binary_search(&cpus).is_ok()
    }

    /// The most memory, in MiB, of a machine with so many vCPUs and no extended memory.
    pub fn most_regular_memory(&self, cpus: u32) -> u64 {
        let most = self
            .mib_per_cpu_max
            .saturating_mul(u64::from(cpus))
            .min(self.max_mib);
        most - most % self.step_mib
    }

    /// The most memory, in MiB, of a machine with so many vCPUs, extended where the family has that.
    pub fn most_memory(&self, cpus: u32) -> u64 {
        let extended = self.extended_max_mib.unwrap_or(0);
        self.most_regular_memory(cpus)
            .max(extended - extended % self.step_mib)
    }

    /// The least memory, in MiB, that is at least `asked_mib` and allowed with so many vCPUs.
    pub fn least_memory(&self, cpus: u32, asked_mib: u64) -> Option<u64> {
        let floor = self
            .mib_per_cpu_min
            .saturating_mul(u64::from(cpus))
            .max(asked_mib);
        let least = floor.div_ceil(self.step_mib).checked_mul(self.step_mib)?;
        (self.has_cpus(cpus) && least <= self.most_memory(cpus)).then_some(least)
    }

    /// The name of such a machine. Extended memory is said by `-ext`.
    pub fn name(&self, cpus: u32, memory_mib: u64) -> MachineTypeName {
        let ext = if memory_mib > self.most_regular_memory(cpus) {
            "-ext"
        } else {
            ""
        };
        MachineTypeName::new(format!("{}-{cpus}-{memory_mib}{ext}", self.prefix))
    }

    /// Reads a name this rule could have made; `None` if it is not of this family or not allowed.
    pub fn parse(&self, name: &str) -> Option<(u32, u64)> {
        let (cpus, memory) = name
            .strip_prefix(&self.prefix)?
            .strip_prefix('-')?
            .split_once('-')?;
        let memory = memory.strip_suffix("-ext").unwrap_or(memory);
        let (cpus, memory): (u32, u64) = (cpus.parse().ok()?, memory.parse().ok()?);
        let allowed = self.least_memory(cpus, memory) == Some(memory);
        (allowed && self.name(cpus, memory).as_str() == name).then_some((cpus, memory))
    }
}

/// How many local SSDs a machine of some sizes takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttachRule {
    pub from: u32,
    pub to: u32,
    /// Ascending.
    pub counts: Vec<u32>,
}

/// Where a family's local SSDs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalSsd {
    /// The family has none.
    None,
    /// They are attached when the machine is made.
    Attached(AttachRules),
    /// They come with the `-lssd` types.
    Bundled,
}

/// The counts of local SSDs that may be attached, by size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRules(pub(super) Vec<AttachRule>);

impl AttachRules {
    /// The allowed counts on a machine of so many vCPUs, ascending; empty if it takes none.
    pub fn counts(&self, cpus: u32) -> &[u32] {
        self.0
            .iter()
            .find(|r| (r.from..=r.to).contains(&cpus))
            .map_or(&[], |r| &r.counts)
    }
}

/// Prices of a family in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// Day of the data, ISO.
    pub as_of: String,
    /// Where the figures are from.
    pub source: String,
    pub(super) on_demand: Option<Rate>,
    pub(super) spot: Option<Rate>,
    pub(super) custom: Option<Rate>,
    pub(super) custom_spot: Option<Rate>,
    /// Per GiB-hour of extended memory, on demand and on Spot.
    pub(super) extended: Option<(NanoUsd, Option<NanoUsd>)>,
    /// Whole machines by type, on demand and on Spot.
    pub(super) types: BTreeMap<MachineTypeName, (Option<NanoUsd>, Option<NanoUsd>)>,
    /// Per GiB-month, on demand and on Spot.
    pub(super) local_ssd: Option<(NanoUsd, NanoUsd)>,
}

impl PriceList {
    /// vCPU and memory prices; `None` where the family is not sold in that model.
    pub fn rate(&self, custom: bool, model: ProvisioningModel) -> Option<Rate> {
        match (custom, model) {
            (false, ProvisioningModel::Standard) => self.on_demand,
            (false, ProvisioningModel::Spot) => self.spot,
            (true, ProvisioningModel::Standard) => self.custom,
            (true, ProvisioningModel::Spot) => self.custom_spot,
        }
    }

    /// Whether anything of the family is sold in that model.
    pub fn sells(&self, model: ProvisioningModel) -> bool {
        let typed = |name| self.whole(name, model).is_some_and(|price| price.is_some());
        self.rate(false, model).is_some() || self.types.keys().any(typed)
    }

    /// Price of a whole predefined machine in billionths of a dollar per hour, where its type has a price of its own:
    /// all that comes with the type (local SSD, accelerators) is in it. The outer `None` means that parts are priced.
    pub fn whole(&self, name: &MachineTypeName, model: ProvisioningModel) -> Option<Option<NanoUsd>> {
        let (on_demand, spot) = self.types.get(name)?;
        Some(match model {
            ProvisioningModel::Standard => *on_demand,
            ProvisioningModel::Spot => *spot,
        })
    }

    /// Price of a GiB-hour of extended memory; `None` where none is known.
    pub fn extended(&self, model: ProvisioningModel) -> Option<NanoUsd> {
        let (on_demand, spot) = self.extended?;
        match model {
            ProvisioningModel::Standard => Some(on_demand),
            ProvisioningModel::Spot => spot,
        }
    }

    /// Whether two lists have the same prices, wherever they are from.
    pub fn same_prices(&self, other: &Self) -> bool {
        let named = Self {
            as_of: other.as_of.clone(),
            source: other.source.clone(),
            ..self.clone()
        };
        named == *other
    }

    /// Price of local SSD per GiB-month.
    pub fn local_ssd(&self, model: ProvisioningModel) -> Option<NanoUsd> {
        self.local_ssd.map(|(on_demand, spot)| match model {
            ProvisioningModel::Standard => on_demand,
            ProvisioningModel::Spot => spot,
        })
    }
}

/// One machine family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: FamilyName,
    /// Architecture of all its types.
    pub arch: Arch,
    /// The processors, as people call them.
    pub cpu: String,
    /// Hardware threads a core: 1 means that a vCPU is a whole core.
    pub threads_per_core: u32,
    /// Day of the data, ISO.
    pub as_of: String,
    /// Where the data is from.
    pub source: String,
    /// Boot disk types it takes, the default first.
    pub boot_disks: Vec<DiskType>,
    /// The quota its vCPUs count against on demand.
    pub vcpu_metric: Metric,
    /// The quota its local SSD counts against on demand.
    pub local_ssd_metric: Option<Metric>,
    /// Predefined types, by vCPUs, then memory, then name.
    pub(super) types: Vec<Predefined>,
    /// Custom sizes, where the family has them.
    pub custom: Option<CustomRule>,
    /// Accelerators that may be attached, by kind.
    pub attach_gpus: BTreeMap<GpuName, Vec<AttachGpu>>,
    /// Local SSD.
    pub local_ssd: LocalSsd,
    /// Zones that have it, by region.
    pub zones: BTreeMap<Region, Vec<Zone>>,
    pub(super) prices: BTreeMap<Region, PriceList>,
    /// The region whose prices stand in where a region has none of its own.
    pub(super) base_region: Region,
}

impl Family {
    /// All predefined types, by vCPUs, then memory.
    pub fn types(&self) -> &[Predefined] {
        &self.types
    }

    /// The predefined types with vCPUs from `min` to `max`, by vCPUs, then memory.
    pub fn types_between(&self, min: u32, max: u32) -> &[Predefined] {
        let start = self.types.partition_point(|t| t.cpus < min);
        let end = self.types.partition_point(|t| t.cpus <= max);
        self.types.get(start..end).unwrap_or(&[])
    }

    /// Finds a predefined type by name.
    pub fn predefined(&self, name: &str) -> Option<&Predefined> {
        self.types.iter().find(|t| t.name.as_str() == name)
    }

    /// Prices that hold in a region, and the region they were read for: another one where this region has
    /// no list of its own.
    pub fn prices(&self, region: &Region) -> (&Region, &PriceList) {
        self.prices
            .get_key_value(region)
            .or_else(|| self.prices.get_key_value(&self.base_region))
            .expect("the catalog is compiled only if the base region has prices")
    }
}
