//! The operator's side of reading tags: defaults, and bounds on what a tag can choose. The author of a pull
//! request writes the tags, so everything a tag can choose is bounded here.

use serde::{Deserialize, Serialize};

use super::types::{Backend, Request, Spot};
use super::units::{Cpus, Gib, Mib};
use crate::catalog::{DiskType, FamilyName};
use crate::shape::{Arch, ProvisioningModel};

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

/// Names a tag may choose from. A `*` in an entry stands for any text: `n2d-*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allow {
    /// Any name.
    #[default]
    Any,
    /// These names and no others; an empty list allows none.
    Only(Vec<String>),
}

impl Allow {
    /// Nothing at all.
    pub const fn none() -> Self {
        Allow::Only(Vec::new())
    }

    /// Whether a name may be chosen.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Allow::Any => true,
            Allow::Only(patterns) => patterns.iter().any(|pattern| matches(pattern, name)),
        }
    }

    /// The entries, empty for [`Allow::Any`].
    pub fn entries(&self) -> &[String] {
        match self {
            Allow::Any => &[],
            Allow::Only(patterns) => patterns,
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Which ways of selling a machine a job may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Models {
    /// Both.
    #[default]
    Any,
    /// On demand only.
    OnDemand,
    /// Spot only.
    Spot,
}

impl Models {
    /// Whether machines may be made so.
    pub fn allows(self, model: ProvisioningModel) -> bool {
        match self {
            Models::Any => true,
            Models::OnDemand => model == ProvisioningModel::Standard,
            Models::Spot => model == ProvisioningModel::Spot,
        }
    }
}

/// What the jobs of a queue or pipeline may ask for. What a job did not ask for is chosen within them too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Families.
    pub families: Allow,
    /// Machine types, predefined and custom.
    pub machine_types: Allow,
    /// Regions.
    pub regions: Allow,
    /// Images. None but the default unless the operator lists some: an image runs before any job.
    pub images: Allow,
    /// Service accounts. None unless listed: an account opens the project to the job.
    pub service_accounts: Allow,
    /// Warm disk images. None unless listed.
    pub caches: Allow,
    /// Backends.
    pub backends: Vec<Backend>,
    /// On demand, Spot or both.
    pub models: Models,
    /// Most vCPUs.
    pub max_cpu: Option<Cpus>,
    /// Most memory, MiB.
    pub max_memory_mib: Option<Mib>,
    /// Most boot disk, GiB.
    pub max_disk_gib: Option<Gib>,
    /// Most local SSDs.
    pub max_local_ssd: Option<u32>,
    /// Longest run in seconds.
    pub max_run_s: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            families: Allow::Any,
            machine_types: Allow::Any,
            regions: Allow::Any,
            images: Allow::none(),
            service_accounts: Allow::none(),
            caches: Allow::none(),
            backends: vec![Backend::Gce],
            models: Models::Any,
            max_cpu: None,
            max_memory_mib: None,
            max_disk_gib: None,
            max_local_ssd: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("n2d", "n2d", true),
            ("n2d", "n2d-standard-4", false),
            ("n2d-*", "n2d-standard-4", true),
            ("n2d-*-4", "n2d-standard-4", true),
            ("*-custom-*-4096", "n2d-custom-2-4096", true),
            ("*-custom-*-4096", "n2d-custom-2-8192", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(
                Allow::Only(vec![pattern.to_owned()]).allows(name),
                fits,
                "{pattern} {name}"
            );
        }
        assert!(!Allow::none().allows("x"));
    }
}
