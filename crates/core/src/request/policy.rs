//! The operator's side of reading tags: how they are named, and what jobs get that do not ask.

use serde::{Deserialize, Serialize};

use super::bounds::Bounds;
use super::types::{Request, Spot};
use super::units::{Cpus, Gib, Mib};
use crate::catalog::{DiskType, FamilyName};
use crate::shape::Arch;

/// What becomes of tags gust does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownTags {
    /// The job is refused. A mistyped tag is then found at once.
    #[default]
    Refuse,
    /// They are left to others.
    Ignore,
}

/// How the tags of a queue's jobs are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Put before every tag name, such as `gust-`. Tags without it are not ours.
    pub tag_prefix: String,
    /// Name of the tag that chose the queue. It is never read.
    pub queue_tag: String,
    /// What becomes of tags gust does not know.
    pub unknown_tags: UnknownTags,
    /// What jobs get that do not ask.
    pub defaults: Defaults,
    /// What jobs may ask for.
    pub bounds: Bounds,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tag_prefix: String::new(),
            queue_tag: "queue".to_owned(),
            unknown_tags: UnknownTags::default(),
            defaults: Defaults::default(),
            bounds: Bounds::default(),
        }
    }
}

/// What a job gets where it does not ask. Defaults need not be within the bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// vCPUs. A job that asks for memory alone gets at least so many.
    pub cpu: Cpus,
    /// Memory in MiB for each vCPU asked for.
    pub memory_mib_per_cpu: Mib,
    /// Boot disk in GiB.
    pub disk_gib: Gib,
    /// Boot disk types; empty for each family's own default.
    pub disk_types: Vec<DiskType>,
    /// Families; empty for all.
    pub families: Vec<FamilyName>,
    /// Architecture where neither arch, family nor machine-type says it; `None` for whichever is cheaper.
    pub arch: Option<Arch>,
    /// Spot or not.
    pub spot: Spot,
    /// Boot image; `None` leaves it to the backend's configuration.
    pub image: Option<String>,
    /// Longest run in seconds; `None` leaves it to the backend's configuration.
    pub max_run_s: Option<u64>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            cpu: Cpus(2),
            memory_mib_per_cpu: Mib::gib(4),
            disk_gib: Gib(50),
            disk_types: Vec::new(),
            families: Vec::new(),
            arch: Some(Arch::Amd64),
            spot: Spot::Never,
            image: None,
            max_run_s: None,
        }
    }
}

impl Policy {
    /// The names of all tags as pipelines of this queue write them.
    pub(super) fn tag_names(&self) -> String {
        let names = super::tag::Tag::ALL.map(|tag| format!("{}{tag}", self.tag_prefix));
        names.join(", ")
    }

    /// The request of a job that asks for nothing.
    pub fn default_request(&self) -> Request {
        super::resolve::request(super::resolve::Asked::default(), self)
    }
}
