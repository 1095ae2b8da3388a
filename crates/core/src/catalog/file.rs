//! The form of the data files. Every key is known by name; what the keys mean together is checked in
//! [`super::compile`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::money::{NanoUsd, OnDemandAndSpot, Rate};
use crate::shape::Arch;

/// All data files together, the later laid over the earlier.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub family: BTreeMap<String, Family>,
    #[serde(default)]
    pub disk: BTreeMap<String, Disk>,
    pub regions: Option<Regions>,
    pub local_ssd: Option<LocalSsdSize>,
    pub address: Option<Address>,
    #[serde(default)]
    pub gpu: BTreeMap<String, Gpu>,
    /// Whence the price lists of a region are that name no source of their own.
    #[serde(default)]
    pub price_source: BTreeMap<String, PriceSource>,
}

impl Document {
    /// Reads the layers as one document, later keys over earlier ones.
    pub fn of(layers: &[toml::Table]) -> Result<Self, toml::de::Error> {
        let mut whole = toml::Table::new();
        for layer in layers {
            lay_over(&mut whole, layer);
        }
        whole.try_into()
    }
}

fn lay_over(under: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Family {
    pub as_of: String,
    pub source: String,
    pub arch: Arch,
    pub cpu: String,
    pub threads_per_core: u32,
    pub boot_disks: Vec<String>,
    pub vcpu_quota: String,
    pub local_ssd_quota: Option<String>,
    /// Regions of the catalog that lack the family.
    #[serde(default)]
    pub not_in: Vec<String>,
    /// Zones that lack the family although their region has it.
    #[serde(default)]
    pub not_in_zones: Vec<String>,
    /// An operator's switch: false takes the family out.
    #[serde(default = "yes")]
    pub offered: bool,
    #[serde(default)]
    pub types: Vec<TypeClass>,
    #[serde(default)]
    pub shared_core: Vec<SharedCore>,
    /// Types whose names follow no pattern of class and vCPUs.
    #[serde(default)]
    pub named: Vec<Named>,
    /// Accelerators that may be attached, by kind.
    #[serde(default)]
    pub attach_gpu: BTreeMap<String, Vec<AttachGpu>>,
    pub custom: Option<Custom>,
    pub local_ssd: Option<LocalSsd>,
    #[serde(default)]
    pub prices: BTreeMap<String, Prices>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeClass {
    pub class: String,
    pub cpus: Vec<u32>,
    pub mib_per_cpu: Option<u64>,
    pub memory_mib: Option<Vec<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedCore {
    pub name: String,
    pub cpus: u32,
    pub memory_mib: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub name: String,
    pub cpus: u32,
    pub memory_mib: u64,
    /// Kind of the accelerators that come with it.
    pub gpu: Option<String>,
    #[serde(default)]
    pub gpus: u32,
    /// Local SSDs of 375 GiB that come with it.
    #[serde(default)]
    pub bundled_ssds: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachGpu {
    pub count: u32,
    pub max_cpus: u32,
    pub max_memory_mib: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpu {
    #[serde(rename = "as_of")]
    pub _as_of: String,
    #[serde(rename = "source")]
    pub _source: String,
    pub quota: String,
    /// Zones that have it, for kinds that are attached; a type that brings its own says so by being there.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Per piece and hour, by region, for kinds that are attached.
    #[serde(default)]
    pub prices: BTreeMap<String, OnDemandAndSpot>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceSource {
    pub as_of: String,
    pub source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Custom {
    pub prefix: String,
    #[serde(default)]
    pub cpus: Vec<u32>,
    #[serde(default)]
    pub cpu_ranges: Vec<CpuRange>,
    pub mib_per_cpu_min: u64,
    pub mib_per_cpu_max: u64,
    pub memory_step_mib: u64,
    pub memory_mib_max: Option<u64>,
    /// Most memory with extended memory (`-ext`), where the family has that.
    pub extended_memory_mib_max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CpuRange {
    pub from: u32,
    pub to: u32,
    pub step: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalSsd {
    #[serde(default)]
    pub attach: Vec<Attach>,
    #[serde(default)]
    pub bundled: Vec<Bundled>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attach {
    pub from: u32,
    pub to: u32,
    pub counts: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundled {
    pub classes: Vec<String>,
    /// Pairs of vCPUs and disks.
    pub disks: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    pub as_of: Option<String>,
    pub source: Option<String>,
    /// Left out where each type has a price of its own.
    pub on_demand: Option<Rate>,
    pub spot: Option<Rate>,
    pub custom: Option<Rate>,
    pub custom_spot: Option<Rate>,
    pub custom_premium_percent: Option<u32>,
    /// Per GiB-hour of memory beyond what a custom type has without extension.
    pub extended: Option<MaybeSpot>,
    pub local_ssd: Option<OnDemandAndSpot>,
    /// Whole machines by type, with all that comes with them, per hour.
    #[serde(default)]
    pub types: BTreeMap<String, TypePrice>,
}

/// A type that is not sold in one of the models has no price for it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypePrice {
    pub on_demand: Option<NanoUsd>,
    pub spot: Option<NanoUsd>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaybeSpot {
    pub on_demand: NanoUsd,
    pub spot: Option<NanoUsd>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    pub as_of: String,
    pub source: String,
    pub min_gib: u64,
    pub max_gib: u64,
    pub quota: String,
    /// Per GiB-month, by region.
    pub prices: BTreeMap<String, NanoUsd>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Regions {
    #[serde(rename = "as_of")]
    pub _as_of: String,
    #[serde(rename = "source")]
    pub _source: String,
    /// The last part of each zone's name, by region.
    pub zones: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalSsdSize {
    #[serde(rename = "as_of")]
    pub _as_of: String,
    #[serde(rename = "source")]
    pub _source: String,
    pub gib: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    #[serde(rename = "as_of")]
    pub _as_of: String,
    #[serde(rename = "source")]
    pub _source: String,
    pub on_demand: NanoUsd,
    pub spot: NanoUsd,
}
