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
    pub as_of: String,
    pub source: String,
    pub on_demand: Rate,
    pub spot: Option<Rate>,
    pub custom: Option<Rate>,
    pub custom_spot: Option<Rate>,
    pub custom_premium_percent: Option<u32>,
    pub local_ssd: Option<OnDemandAndSpot>,
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
