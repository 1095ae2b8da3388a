//! The names of the tags.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::nearest;

/// Something a job can ask for. The order is that of the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// vCPUs, exact or a range.
    Cpu,
    /// Least memory.
    Memory,
    /// Least boot disk.
    Disk,
    /// Boot disk types, any of them.
    DiskType,
    /// Least number of local SSDs.
    LocalSsd,
    /// Machine families, any of them.
    Family,
    /// Machine types, any of them.
    MachineType,
    /// Processor architecture.
    Arch,
    /// Whether the machine may be reclaimed.
    Spot,
    /// Accelerators.
    Gpu,
    /// Regions, any of them.
    Region,
    /// Zones, any of them.
    Zone,
    /// Boot image.
    Image,
    /// Where the machine comes from.
    Backend,
    /// Longest run.
    MaxRun,
    /// Google service account of the machine.
    ServiceAccount,
    /// A named warm disk image.
    Cache,
    /// Operating system.
    Os,
}

impl Tag {
    /// Every tag, in canonical order.
    pub const ALL: [Tag; 18] = [
        Tag::Cpu,
        Tag::Memory,
        Tag::Disk,
        Tag::DiskType,
        Tag::LocalSsd,
        Tag::Family,
        Tag::MachineType,
        Tag::Arch,
        Tag::Spot,
        Tag::Gpu,
        Tag::Region,
        Tag::Zone,
        Tag::Image,
        Tag::Backend,
        Tag::MaxRun,
        Tag::ServiceAccount,
        Tag::Cache,
        Tag::Os,
    ];

    /// The name as pipelines write it, without the operator's prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Tag::Cpu => "cpu",
            Tag::Memory => "memory",
            Tag::Disk => "disk",
            Tag::DiskType => "disk-type",
            Tag::LocalSsd => "local-ssd",
            Tag::Family => "family",
            Tag::MachineType => "machine-type",
            Tag::Arch => "arch",
            Tag::Spot => "spot",
            Tag::Gpu => "gpu",
            Tag::Region => "region",
            Tag::Zone => "zone",
            Tag::Image => "image",
            Tag::Backend => "backend",
            Tag::MaxRun => "max-run",
            Tag::ServiceAccount => "service-account",
            Tag::Cache => "cache",
            Tag::Os => "os",
        }
    }

    /// A value that many could use.
    pub const fn example(self) -> &'static str {
        match self {
            Tag::Cpu => "8",
            Tag::Memory => "32",
            Tag::Disk => "100",
            Tag::DiskType => "pd-balanced",
            Tag::LocalSsd => "1",
            Tag::Family => "n2d|c3d",
            Tag::MachineType => "n2d-standard-8",
            Tag::Arch => "amd64",
            Tag::Spot => "prefer",
            Tag::Gpu => "nvidia-l4:1",
            Tag::Region => "us-central1",
            Tag::Zone => "us-central1-a",
            Tag::Image => "family/debian-12",
            Tag::Backend => "gce",
            Tag::MaxRun => "1h",
            Tag::ServiceAccount => "build@my-project.iam.gserviceaccount.com",
            Tag::Cache => "warm",
            Tag::Os => "linux",
        }
    }

    /// The tag of that exact name.
    pub fn of(name: &str) -> Option<Tag> {
        Tag::ALL.into_iter().find(|tag| tag.name() == name)
    }

    /// The tag that was probably meant.
    pub(super) fn meant_by(name: &str) -> Option<Tag> {
        // What people call these things elsewhere, which no edit distance would find.
        let plain = name.to_ascii_lowercase().replace('_', "-");
        let known = match plain.as_str() {
            "cpus" | "vcpu" | "vcpus" | "cores" | "core" => Some(Tag::Cpu),
            "ram" | "mem" => Some(Tag::Memory),
            "preemptible" | "preemptable" => Some(Tag::Spot),
            "timeout" | "max-runtime" => Some(Tag::MaxRun),
            "instance-type" | "type" | "machine" => Some(Tag::MachineType),
            "architecture" => Some(Tag::Arch),
            "storage" | "disk-size" | "boot-disk" => Some(Tag::Disk),
            "ssd" | "nvme" | "scratch" => Some(Tag::LocalSsd),
            _ => None,
        };
        known.or_else(|| nearest::name(&plain, Tag::ALL.iter().map(|t| t.name())).and_then(Tag::of))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
