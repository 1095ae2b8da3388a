//! One way to satisfy a request.

use std::sync::Arc;

use super::placement::Place;
use super::prepaid::Paid;
use crate::catalog::{DiskType, FamilyName, Gpus};
use crate::ids::{MachineTypeName, Region};
use crate::request::{Cpus, Gib, Mib};
use crate::shape::{Arch, Price, ProvisioningModel};

/// How much an offer is preferred: smaller is better, fields in order of weight. What a shard knows (stockouts,
/// headroom) is not in here; whoever places weighs it between equals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preference {
    /// On demand for a job that would rather have Spot.
    pub second_choice: bool,
    /// What the whole job is expected to cost with disks and boot, in billionths of a dollar.
    pub job_cost_nano_usd: u64,
    /// Memory beyond what was asked for.
    pub excess_memory: Mib,
    /// Local SSDs beyond what was asked for.
    pub excess_local_ssds: u32,
    /// How the machine is paid.
    pub paid: Paid,
    /// A part of the price is that of another region, for want of one of its own.
    pub borrowed: bool,
    /// The rest makes the order total and the same everywhere.
    pub machine_type: MachineTypeName,
    /// See `machine_type`.
    pub disk_type: DiskType,
    /// See `machine_type`.
    pub region: Region,
}

/// Local SSDs of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalSsds {
    /// How many the machine has.
    pub count: u32,
    /// How many of them are attached when it is made: all, or none where the type brings them.
    pub attach: u32,
}

/// Accelerators of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedGpus {
    /// Kind and number.
    pub gpus: Gpus,
    /// Whether they are attached when the machine is made; else the type brings them.
    pub attach: bool,
}

/// The boot disk of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedDisk {
    /// Its type.
    pub disk_type: DiskType,
    /// Its size.
    pub size: Gib,
    /// The region its price was read for.
    pub priced_as: Region,
}

/// One way to satisfy a request: a machine type sold in one way, with its price and all places of that price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Machine type.
    pub machine_type: MachineTypeName,
    /// Its family.
    pub family: FamilyName,
    /// Whether the type is made to measure.
    pub custom: bool,
    /// vCPUs.
    pub cpus: Cpus,
    /// Memory.
    pub memory: Mib,
    /// Architecture.
    pub arch: Arch,
    /// Local SSDs.
    pub local_ssds: LocalSsds,
    /// Accelerators.
    pub gpus: Option<OfferedGpus>,
    /// On demand or Spot.
    pub model: ProvisioningModel,
    /// Boot disk.
    pub disk: OfferedDisk,
    /// Price per hour with disks and address, less what is paid for already.
    pub price: Price,
    /// How the machine itself is paid.
    pub paid: Paid,
    /// The region the machine's price was read for. Where a place lies elsewhere, its true price may differ.
    pub priced_as: Region,
    /// Shards and zones where it can be made; at least one.
    pub places: Arc<[Place]>,
    /// Its rank among the offers of the request.
    pub preference: Preference,
}

impl Offer {
    /// Whether the machine has exactly the memory and local SSD that were asked for.
    pub fn is_exact(&self) -> bool {
        self.preference.excess_memory == Mib(0) && self.preference.excess_local_ssds == 0
    }
}
