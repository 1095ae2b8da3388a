//! What an operator has paid for already: committed use and reservations. Up to its size it costs nothing more, so a
//! machine that fits in is offered a second time, at the price of what comes on top.
//!
//! How much of it is used depends on what runs, which offers do not know. So each such offer needs a row of quota of its own,
//! named here; whoever places finds it used up or not, as with any quota.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, FamilyName};
use crate::ids::{MachineTypeName, Shard, Zone};
use crate::ports::Quota;
use crate::quota::{Footprint, Metric, SUBNET_ADDRESSES, Usage};
use crate::shape::ProvisioningModel;

/// Committed use of a family in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commitment {
    /// vCPUs.
    pub cpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// How the machine itself is paid. The order breaks ties between equal prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paid {
    /// By a reservation: the machine costs nothing more.
    Reserved,
    /// By committed use: its vCPUs and memory cost nothing more.
    Committed,
    /// In full.
    #[default]
    Full,
}

impl Paid {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reservation",
            Self::Committed => "committed use",
            Self::Full => "full price",
        }
    }
}

/// What is paid for in one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Of {
    families: BTreeMap<FamilyName, Commitment>,
    /// Machines of a type that are reserved in each zone.
    machines: BTreeMap<MachineTypeName, BTreeMap<Zone, u32>>,
}

/// All that is paid for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepaid(BTreeMap<Shard, Of>);

/// A name that the catalog does not have, or that cannot be paid for so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepaidError {
    /// A commitment for a family that is not priced by vCPU and memory, or is not in that region.
    #[error("project {} has a commitment of family `{family}`, {why}", shard.project)]
    Family {
        /// Where.
        shard: Shard,
        /// The family.
        family: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A reservation of a type that is unknown, or in a zone that lacks it.
    #[error("project {} has a reservation of `{machine_type}` in {zone}, {why}", shard.project)]
    Machine {
        /// Where.
        shard: Shard,
        /// The type.
        machine_type: MachineTypeName,
        /// The zone.
        zone: Zone,
        /// What is wrong with it, and what to do.
        why: String,
    },
}

/// Rows of the ledger. They are no quotas of Google's: none of them is ever a reason to wait.
const CPUS: &str = "PREPAID_CPUS:";
const MEMORY_MIB: &str = "PREPAID_MEMORY_MIB:";
const MACHINES: &str = "PREPAID_MACHINES:";

impl Prepaid {
    /// Adds committed use; several commitments of a family in a region are one.
    ///
    /// # Errors
    /// [`PrepaidError`] if the catalog has no such family there, or not priced by vCPU and memory.
    pub fn commit(
        &mut self,
        catalog: &Catalog,
        shard: &Shard,
        family: &str,
        commitment: Commitment,
    ) -> Result<(), PrepaidError> {
        let wrong = |why: String| PrepaidError::Family {
            shard: shard.clone(),
            family: family.to_owned(),
            why,
        };
        let Some(found) = catalog.family(family) else {
            let names = catalog.families().map(|f| f.name.as_str());
            let near = crate::request::nearest::name(family, names);
            let hint = near.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            return Err(wrong(format!("which the catalog does not have{hint}")));
        };
        if !found.zones.contains_key(&shard.region) {
            return Err(wrong(format!("which {} does not have", shard.region)));
        }
        let (_, prices) = found.prices(&shard.region);
        if prices.rate(false, ProvisioningModel::Standard).is_none() {
            let why = "whose machines are priced whole; write reservations of its types instead";
            return Err(wrong(why.to_owned()));
        }
        let of = self.0.entry(shard.clone()).or_default();
        let sum = of.families.entry(found.name.clone()).or_default();
        sum.cpus += commitment.cpus;
        sum.memory_mib += commitment.memory_mib;
        Ok(())
    }

    /// Adds a reservation of so many machines in a zone.
    ///
    /// # Errors
    /// [`PrepaidError`] if the catalog has no such type, or not in that zone.
    pub fn reserve(
        &mut self,
        catalog: &Catalog,
        shard: &Shard,
        machine_type: &MachineTypeName,
        zone: &Zone,
        count: u32,
    ) -> Result<(), PrepaidError> {
        let wrong = |why: String| PrepaidError::Machine {
            shard: shard.clone(),
            machine_type: machine_type.clone(),
            zone: zone.clone(),
            why,
        };
        let Some(found) = catalog.machine_type(machine_type) else {
            return Err(wrong("a type that the catalog does not have".to_owned()));
        };
        let zones = found.family.zones.get(&shard.region);
        if !zones.is_some_and(|zones| zones.contains(zone)) {
            return Err(wrong(format!("a zone that has no {}", found.family.name)));
        }
        let of = self.0.entry(shard.clone()).or_default();
        let zones = of.machines.entry(machine_type.clone()).or_default();
        *zones.entry(zone.clone()).or_default() += count;
        Ok(())
    }

    /// Whether nothing is paid for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the machine can be had in the zone in this way.
    pub(super) fn has(
        &self,
        shard: &Shard,
        zone: &Zone,
        paid: Paid,
        family: &FamilyName,
        machine_type: &MachineTypeName,
    ) -> bool {
        let of = self.0.get(shard);
        match paid {
            Paid::Full => true,
            Paid::Committed => of.is_some_and(|of| of.families.contains_key(family)),
            Paid::Reserved => {
                let zones = of.and_then(|of| of.machines.get(machine_type));
                zones.is_some_and(|zones| zones.contains_key(zone))
            }
        }
    }

    /// How much there is in a shard, as rows of its ledger. Reservations of a family are taken off its commitment: they are
    /// billed against it whether they are used or not.
    pub fn rows(&self, catalog: &Catalog, shard: &Shard) -> Vec<Quota> {
        let Some(of) = self.0.get(shard) else {
            return Vec::new();
        };
        let row = |metric: String, limit: u64| Quota {
            metric,
            limit: limit as f64,
            usage: 0.0,
            project_wide: false,
        };
        let mut left = of.families.clone();
        let mut rows = Vec::new();
        for (name, zones) in &of.machines {
            let count: u64 = zones.values().map(|n| u64::from(*n)).sum();
            rows.push(row(format!("{MACHINES}{name}"), count));
            let Some(found) = catalog.machine_type(name) else {
                continue;
            };
            if let Some(left) = left.get_mut(&found.family.name) {
                left.cpus = left.cpus.saturating_sub(count * u64::from(found.cpus));
                left.memory_mib = left.memory_mib.saturating_sub(count * found.memory_mib);
            }
        }
        for (family, left) in left {
            rows.push(row(format!("{CPUS}{family}"), left.cpus));
            rows.push(row(format!("{MEMORY_MIB}{family}"), left.memory_mib));
        }
        rows
    }

    /// What a machine that exists uses of it, whatever it was offered as: Google asks nobody. Machines of a reserved type
    /// count as being in the reservation.
    pub fn used(&self, footprint: &Footprint, catalog: &Catalog) -> Vec<(Metric, u64)> {
        let of = self.0.get(&footprint.shard);
        let on_demand = footprint.model == ProvisioningModel::Standard;
        let Some(of) = of.filter(|_| on_demand) else {
            return Vec::new();
        };
        let name = &footprint.machine_type;
        if of.machines.contains_key(name) && is_bare(footprint) {
            return vec![(Metric::new(format!("{MACHINES}{name}")), 1)];
        }
        let found = catalog.machine_type(name);
        match found.filter(|f| of.families.contains_key(&f.family.name)) {
            Some(found) => committed(&found.family.name, found.cpus, found.memory_mib),
            None => Vec::new(),
        }
    }

    /// What a machine needs that is offered as paid for in this way, given what it needs anyhow.
    pub fn needed(&self, paid: Paid, footprint: &Footprint, catalog: &Catalog, anyhow: Usage) -> Usage {
        let name = &footprint.machine_type;
        match paid {
            Paid::Full => anyhow,
            // A reservation counts against the machine's quotas from the day it was made.
            Paid::Reserved => {
                let mut usage = vec![(Metric::new(format!("{MACHINES}{name}")), 1)];
                usage.extend(anyhow.0.into_iter().filter(|(metric, _)| is_beside(metric)));
                Usage(usage)
            }
            Paid::Committed => {
                let found = catalog.machine_type(name);
                let own = found.map(|f| committed(&f.family.name, f.cpus, f.memory_mib));
                Usage(own.into_iter().flatten().chain(anyhow.0).collect())
            }
        }
    }
}

/// Quotas that a reservation does not hold for its machines.
fn is_beside(metric: &Metric) -> bool {
    let name = metric.as_str();
    let disks = ["SSD_TOTAL_GB", "DISKS_TOTAL_GB", "HDB_TOTAL_GB"];
    [super::INSTANCES, SUBNET_ADDRESSES].contains(&name)
        || name == super::IN_USE_ADDRESSES
        || disks.contains(&name)
}

fn is_bare(footprint: &Footprint) -> bool {
    footprint.local_ssds == 0 && !footprint.gpus.as_ref().is_some_and(|gpus| gpus.attach)
}

fn committed(family: &FamilyName, cpus: u32, memory_mib: u64) -> Vec<(Metric, u64)> {
    vec![
        (Metric::new(format!("{CPUS}{family}")), u64::from(cpus)),
        (Metric::new(format!("{MEMORY_MIB}{family}")), memory_mib),
    ]
}
