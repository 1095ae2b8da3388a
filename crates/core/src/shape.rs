//! The shape of a machine: everything that must be equal for machines to be made in one call.
//!
//! A shape is written into the batch record and handed to the backend, which adds nothing of its own: a
//! replay of the record is therefore the same request, byte for byte in meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{MachineTypeName, ProjectId, Region, Shard, Zone};

/// The processor architecture of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Arch {
    /// `amd64` or `arm64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How Google sells the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvisioningModel {
    /// On demand: stays until deleted.
    Standard,
    /// Cheaper, may be reclaimed with 30 s notice.
    Spot,
}

impl ProvisioningModel {
    /// `standard` or `spot`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Spot => "spot",
        }
    }
}

/// A price in millionths of a US dollar per hour. Integer, so that sums and comparisons are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Price(pub u64);

impl Price {
    /// Cost of running for `seconds` at this price, in millionths of a dollar.
    pub fn cost_micro_usd(self, seconds: u64) -> u64 {
        self.0.saturating_mul(seconds) / 3600
    }
}

impl std::fmt::Display for Price {
    /// `$0.2112/h`; rounded to four digits, since shapes differ by less than a cent.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounded = self.0.saturating_add(50) / 100;
        write!(f, "${}.{:04}/h", rounded / 10_000, rounded % 10_000)
    }
}

/// The boot disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootDisk {
    /// Bare disk type such as `pd-balanced`.
    pub disk_type: String,
    /// Size in GiB.
    pub gib: u32,
    /// Source image, a partial or full URL.
    pub image: String,
}

/// Accelerators of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Accelerators {
    /// Google's name of the kind, such as `nvidia-l4`.
    pub kind: String,
    /// How many.
    pub count: u32,
    /// Whether they are attached when the machine is made; else the machine type brings them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach: bool,
}

/// The network the machine joins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    /// Network, a partial URL such as `global/networks/default`.
    pub network: String,
    /// Subnetwork, where the network is not in auto mode.
    pub subnetwork: Option<String>,
    /// Whether the machine gets an external address (and uses up that quota).
    pub external_address: bool,
}

/// A machine type that Google may take in place of the first, if it has none of that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alternative {
    /// Machine type.
    pub machine_type: MachineTypeName,
    /// Its family.
    pub family: String,
    /// Memory of that type in MiB.
    pub memory_mib: u64,
    /// Price per hour.
    pub price: Price,
}

/// Everything that machines of one call have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Google Cloud project.
    pub project: ProjectId,
    /// Region.
    pub region: Region,
    /// Zones the machines may land in; at least one.
    pub zones: Vec<Zone>,
    /// Machine type, predefined or custom.
    pub machine_type: MachineTypeName,
    /// Its family, such as `n2d`.
    pub family: String,
    /// What may be taken instead, best first. All of it has the same vCPUs, disks and architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
    /// Virtual CPUs of that type.
    pub cpus: u32,
    /// Memory of that type in MiB.
    pub memory_mib: u64,
    /// Its architecture.
    pub arch: Arch,
    /// On demand or Spot.
    pub model: ProvisioningModel,
    /// Boot disk.
    pub boot_disk: BootDisk,
    /// Local SSDs of 375 GiB to attach. Zero where the machine type brings its own.
    pub local_ssds: u32,
    /// Accelerators, attached or brought by the machine type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Accelerators>,
    /// Network.
    pub network: Network,
    /// E-mail of the service account; no account means no identity token, so it is always set.
    pub service_account: String,
    /// Labels, ours and the operator's.
    pub labels: BTreeMap<String, String>,
    /// Instance metadata: never a secret.
    pub metadata: BTreeMap<String, String>,
    /// Google deletes the machine after this many seconds, whatever happens to gust.
    pub max_run_seconds: u64,
}

impl Shape {
    /// The shard that makes machines of this shape.
    pub fn shard(&self) -> Shard {
        Shard {
            project: self.project.clone(),
            region: self.region.clone(),
        }
    }

    /// The same with one of its alternatives, and nothing else, as its type.
    #[must_use]
    pub fn with(&self, alternative: &Alternative) -> Self {
        Self {
            machine_type: alternative.machine_type.clone(),
            family: alternative.family.clone(),
            memory_mib: alternative.memory_mib,
            alternatives: Vec::new(),
            ..self.clone()
        }
    }
}

/// The label that marks a machine as one of a stack's: `gust-stack=<stack>`.
pub const STACK_LABEL: &str = "gust-stack";
/// The label that names the batch of a machine that a bulk operation made: those of one batch are listed by it.
pub const BATCH_LABEL: &str = "gust-batch";
