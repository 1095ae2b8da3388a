//! What Google sells: families, machine types, rules, prices, regions.
//!
//! The data lives in dated files with sources (`data/catalog/`), one a family; an operator can lay
//! overrides over them. This module reads and checks them and answers lookups. It does not know what a
//! job asks for: matching is the business of [`crate::offer`].
//!
//! Prices are those of us-central1 unless a region has a list of its own; offers say whose prices they show.

mod builtin;
mod compile;
mod error;
mod family;
mod file;
mod money;
mod names;

use std::collections::{BTreeMap, BTreeSet};

pub use error::Error;
pub use family::{AttachGpu, AttachRules, CustomRule, Family, Gpus, LocalSsd, Predefined, PriceList};
pub(crate) use money::HOURS_PER_MONTH;
pub use money::{BadPrice, NanoUsd, OnDemandAndSpot, Rate};
pub use names::{DiskType, FamilyName, GpuName};

use crate::ids::{MachineTypeName, Region, Zone};
use crate::quota::Metric;
use crate::shape::ProvisioningModel;

/// A boot disk type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Day of the data, ISO.
    pub as_of: String,
    /// Where the data is from.
    pub source: String,
    /// Smallest size, GiB.
    pub min_gib: u64,
    /// Largest size, GiB.
    pub max_gib: u64,
    /// The quota it counts against.
    pub metric: Metric,
    prices: BTreeMap<Region, NanoUsd>,
}

impl Disk {
    /// Price per GiB-month in a region, and the region it was read for.
    pub fn price(&self, region: &Region) -> (&Region, NanoUsd) {
        let base = Region::from(compile::BASE_REGION);
        self.prices
            .get_key_value(region)
            .or_else(|| self.prices.get_key_value(&base))
            .map(|(region, price)| (region, *price))
            .expect("the catalog is compiled only if the base region has a price")
    }
}

/// A kind of accelerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuKind {
    /// The quota it counts against on demand.
    pub metric: Metric,
    /// Zones that have it, where it is attached to machines.
    pub zones: BTreeSet<Zone>,
    prices: BTreeMap<Region, OnDemandAndSpot>,
}

impl GpuKind {
    /// Whether a region has a price of its own.
    pub fn is_priced(&self, region: &Region) -> bool {
        self.prices.contains_key(region)
    }

    /// Price of one that is attached, per hour; the base region's where this one has none. `None` for kinds that only
    /// come with machine types.
    pub fn price(&self, region: &Region, model: ProvisioningModel) -> Option<NanoUsd> {
        let base = Region::from(compile::BASE_REGION);
        let price = self.prices.get(region).or_else(|| self.prices.get(&base))?;
        Some(match model {
            ProvisioningModel::Standard => price.on_demand,
            ProvisioningModel::Spot => price.spot,
        })
    }
}

/// A machine type found by its name.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Its family.
    pub family: &'a Family,
    /// vCPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The predefined type; `None` for a custom one.
    pub predefined: Option<&'a Predefined>,
}

/// All that can be bought.
#[derive(Clone, Debug)]
pub struct Catalog {
    zones: BTreeMap<Region, Vec<Zone>>,
    disks: BTreeMap<DiskType, Disk>,
    families: BTreeMap<FamilyName, Family>,
    gpus: BTreeMap<GpuName, GpuKind>,
    local_ssd_gib: u64,
    /// External address per hour, on demand and on Spot.
    address: (NanoUsd, NanoUsd),
    /// The files it was made of, laid over each other in this order.
    layers: Vec<toml::Table>,
}

impl Catalog {
    /// The catalog that comes with gust.
    pub fn builtin() -> Self {
        Self::parse(builtin::FILES).expect("the built-in data files are checked by the tests")
    }

    /// Reads data files, given as names and texts; later ones override keys of earlier ones.
    ///
    /// # Errors
    /// [`Error`] names the file or key that does not fit, and how to fix it.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, Error> {
        Self::layered(Vec::new(), files)
    }

    /// This catalog with more files laid over it: single keys override, whole families and regions can be
    /// added, and `offered = false` takes a family out. Lists are replaced, never appended to.
    ///
    /// # Errors
    /// [`Error`] names the file or key that does not fit, and how to fix it.
    pub fn merge(&self, files: &[(&str, &str)]) -> Result<Self, Error> {
        Self::layered(self.layers.clone(), files)
    }

    fn layered(mut layers: Vec<toml::Table>, files: &[(&str, &str)]) -> Result<Self, Error> {
        let first_new = layers.len();
        for (file, text) in files {
            let syntax = |source| Error::Syntax {
                file: (*file).to_owned(),
                source: Box::new(source),
            };
            layers.push(toml::from_str(text).map_err(syntax)?);
        }
        let document = match file::Document::of(&layers) {
            Ok(document) => document,
            Err(source) => {
                // Blame the file that brought the misfit: the first after which the whole fails to read.
                let culprit = (first_new + 1..layers.len()).find_map(|end| {
                    let failed = file::Document::of(layers.get(..end)?).err()?;
                    Some((files.get(end - 1 - first_new)?.0, failed))
                });
                let last = files.last().map_or("(none)", |(file, _)| file);
                let (file, source) = culprit.unwrap_or((last, source));
                return Err(Error::Form {
                    file: file.to_owned(),
                    source: Box::new(source),
                });
            }
        };
        let catalog = compile::catalog(document)?;
        Ok(Self { layers, ..catalog })
    }

    /// All families, by name.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.values()
    }

    /// A family by name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// All kinds of accelerators.
    pub fn gpus(&self) -> &BTreeMap<GpuName, GpuKind> {
        &self.gpus
    }

    /// A kind of accelerator by name.
    pub fn gpu(&self, name: &str) -> Option<&GpuKind> {
        self.gpus.get(name)
    }

    /// All regions with their zones.
    pub fn regions(&self) -> &BTreeMap<Region, Vec<Zone>> {
        &self.zones
    }

    /// All boot disk types.
    pub fn disks(&self) -> &BTreeMap<DiskType, Disk> {
        &self.disks
    }

    /// A boot disk type by name.
    pub fn disk(&self, name: &DiskType) -> Option<&Disk> {
        self.disks.get(name)
    }

    /// Size of one local SSD, GiB.
    pub fn local_ssd_gib(&self) -> u64 {
        self.local_ssd_gib
    }

    /// Price of an external address per hour.
    pub fn address_price(&self, model: ProvisioningModel) -> NanoUsd {
        match model {
            ProvisioningModel::Standard => self.address.0,
            ProvisioningModel::Spot => self.address.1,
        }
    }

    /// Finds a machine type, predefined or custom, by its name.
    pub fn machine_type(&self, name: &MachineTypeName) -> Option<Found<'_>> {
        let text = name.as_str();
        // N1's custom types alone do not begin with the family's name.
        let family = text.split('-').next().and_then(|f| self.families.get(f));
        let candidates = family
            .into_iter()
            .chain(self.families.values().filter(|_| family.is_none()));
        for family in candidates {
            if let Some(found) = family.predefined(text) {
                let Predefined { cpus, memory_mib, .. } = *found;
                return Some(Found {
                    family,
                    cpus,
                    memory_mib,
                    predefined: Some(found),
                });
            }
            if let Some((cpus, memory_mib)) = family.custom.as_ref().and_then(|rule| rule.parse(text)) {
                return Some(Found {
                    family,
                    cpus,
                    memory_mib,
                    predefined: None,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
