//! What a job asks for, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::tag::Tag;
use super::units::{Cpus, Gib, Mib, Range};
use super::value;
use crate::catalog::{DiskType, FamilyName};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::shape::Arch;

/// Whether the machine may be one that Google can reclaim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spot {
    /// `false`: on demand only.
    #[default]
    Never,
    /// `prefer`: Spot where there is some, else on demand.
    Prefer,
    /// `true`: Spot only.
    Only,
}

impl Spot {
    /// The tag's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Spot::Never => "false",
            Spot::Prefer => "prefer",
            Spot::Only => "true",
        }
    }
}

/// Where a machine comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// A VM of Google Compute Engine.
    #[default]
    Gce,
    /// An execution of a Cloud Run job.
    CloudRun,
    /// A process beside gust.
    Process,
}

impl Backend {
    /// Every backend.
    pub const ALL: [Backend; 3] = [Backend::Gce, Backend::CloudRun, Backend::Process];

    /// The tag's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Gce => "gce",
            Backend::CloudRun => "cloud-run",
            Backend::Process => "process",
        }
    }
}

/// Accelerators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gpu {
    /// Google's name of the type, such as `nvidia-l4`.
    pub kind: String,
    /// How many.
    pub count: u32,
}

/// What one job asks for: its tags, read, with the operator's defaults filled in.
///
/// Lists are sorted and mean "any of these"; an empty one means "any". Equal requests get equal machines,
/// so a machine made for one job can run another with an equal request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Request {
    /// vCPUs.
    pub cpu: Range<Cpus>,
    /// Memory: at least, and with an end also at most.
    pub memory: Range<Mib>,
    /// Least boot disk.
    pub disk: Gib,
    /// Boot disk types; empty for the family's default.
    pub disk_types: Vec<DiskType>,
    /// Least number of local SSDs.
    pub local_ssd: u32,
    /// Families.
    pub families: Vec<FamilyName>,
    /// Machine types by name.
    pub machine_types: Vec<MachineTypeName>,
    /// Architecture; `None` where families or machine types say it.
    pub arch: Option<Arch>,
    /// Spot or not.
    pub spot: Spot,
    /// Accelerators.
    pub gpu: Option<Gpu>,
    /// Regions.
    pub regions: Vec<Region>,
    /// Zones.
    pub zones: Vec<Zone>,
    /// Boot image; `None` for the one the operator set for the architecture.
    pub image: Option<String>,
    /// Backend.
    pub backend: Backend,
    /// Longest run in seconds; `None` for the operator's.
    pub max_run_s: Option<u64>,
    /// Service account by e-mail; `None` for the operator's.
    pub service_account: Option<String>,
    /// Warm disk image by name.
    pub cache: Option<String>,
}

/// vCPUs of a request that names machine types and no number.
pub(super) const ANY_CPU: Range<Cpus> = Range::at_least(Cpus(1));
/// Memory of a request that names machine types and no size.
pub(super) const ANY_MEMORY: Range<Mib> = Range::at_least(Mib(0));

impl Request {
    /// The tags and values that say the same, in canonical order. Reading them under the same policy gives
    /// this request again.
    pub fn tags(&self) -> Vec<(Tag, String)> {
        let mut tags = Vec::new();
        let mut put = |tag: Tag, value: String| tags.push((tag, value));
        // Any size is what a machine type or an accelerator without a size means; said with nothing else it must be written.
        let named = !self.machine_types.is_empty() || self.gpu.is_some();
        if self.cpu != ANY_CPU || !named {
            put(Tag::Cpu, self.cpu.exact_form());
        }
        if self.memory != ANY_MEMORY || !named {
            put(Tag::Memory, self.memory.minimum_form());
        }
        put(Tag::Disk, self.disk.to_string());
        if !self.disk_types.is_empty() {
            put(Tag::DiskType, list(&self.disk_types));
        }
        if self.local_ssd > 0 {
            put(Tag::LocalSsd, self.local_ssd.to_string());
        }
        if !self.families.is_empty() {
            put(Tag::Family, list(&self.families));
        }
        if !self.machine_types.is_empty() {
            put(Tag::MachineType, list(&self.machine_types));
        }
        if let Some(arch) = self.arch {
            put(Tag::Arch, arch.to_string());
        }
        put(Tag::Spot, self.spot.as_str().to_owned());
        if let Some(gpu) = &self.gpu {
            put(Tag::Gpu, format!("{}:{}", gpu.kind, gpu.count));
        }
        if !self.regions.is_empty() {
            put(Tag::Region, list(&self.regions));
        }
        if !self.zones.is_empty() {
            put(Tag::Zone, list(&self.zones));
        }
        if let Some(image) = &self.image {
            put(Tag::Image, image.clone());
        }
        if self.backend != Backend::default() {
            put(Tag::Backend, self.backend.as_str().to_owned());
        }
        if let Some(seconds) = self.max_run_s {
            put(Tag::MaxRun, value::run_text(seconds));
        }
        if let Some(account) = &self.service_account {
            put(Tag::ServiceAccount, account.clone());
        }
        if let Some(cache) = &self.cache {
            put(Tag::Cache, cache.clone());
        }
        tags
    }

    /// The request as one line of tags: equal requests have equal lines.
    pub fn canonical(&self) -> String {
        let tags: Vec<String> = self
            .tags()
            .into_iter()
            .map(|(tag, value)| format!("{tag}={value}"))
            .collect();
        tags.join(" ")
    }

    /// The rules a pipeline would carry for this request, with the operator's prefix.
    pub fn to_rules(&self, prefix: &str) -> Vec<String> {
        self.tags()
            .into_iter()
            .map(|(tag, value)| format!("{prefix}{tag}={value}"))
            .collect()
    }
}

fn list(items: &[impl fmt::Display]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join("|")
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}
