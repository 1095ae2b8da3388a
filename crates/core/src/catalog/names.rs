//! Names in the catalog. They are shared text: cloning one is cheap, since every offer carries several.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The bare text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

shared_text!(
    /// A machine family such as `n2d`.
    FamilyName
);
shared_text!(
    /// A boot disk type such as `pd-balanced`.
    DiskType
);
shared_text!(
    /// A resource quota metric.
    ///
    /// Either a name of `regions.get` and `projects.get` (`N2D_CPUS`), or, for the quotas Google keeps per
    /// family and does not show there, the metric and the family: `CPUS_PER_VM_FAMILY:C3D`.
    Metric
);

impl Metric {
    /// Quota of vCPUs over all regions of a project.
    pub const CPUS_ALL_REGIONS: &str = "CPUS_ALL_REGIONS";
    /// Quota of VMs in a region.
    pub const INSTANCES: &str = "INSTANCES";
    /// Quota of external addresses in use in a region.
    pub const IN_USE_ADDRESSES: &str = "IN_USE_ADDRESSES";
    /// Quota of Spot vCPUs in a region, where it was granted.
    pub const PREEMPTIBLE_CPUS: &str = "PREEMPTIBLE_CPUS";
    /// Quota of local SSD on Spot machines in a region, where it was granted.
    pub const PREEMPTIBLE_LOCAL_SSD_GB: &str = "PREEMPTIBLE_LOCAL_SSD_GB";

    /// Whether the quota belongs to the whole project and not to one region.
    pub fn project_wide(&self) -> bool {
        self.0.ends_with("_ALL_REGIONS")
    }

    /// The family in upper case (`C3D`), for a quota that Google keeps per family.
    pub fn vm_family(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, family)| family)
    }

    /// The metric's name without the family.
    pub fn base(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(base, _)| base)
    }
}
