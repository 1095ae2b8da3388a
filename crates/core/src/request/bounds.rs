//! What jobs may ask for. The author of a pull request writes the tags, so everything a tag can choose is bounded: for
//! all jobs, for those of a queue, and for those of a pipeline in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::allow::{Allow, Models};
use super::types::Backend;
use super::units::{Cpus, Gib, Mib};

/// One thing that is bounded, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Machine families.
    Families,
    /// Machine types, predefined and custom.
    MachineTypes,
    /// Regions.
    Regions,
    /// Zones.
    Zones,
    /// Boot disk types.
    DiskTypes,
    /// Boot images.
    Images,
    /// Networks that machines join. No tag chooses one: it follows from the project.
    Networks,
    /// Service accounts.
    ServiceAccounts,
    /// Warm disk images.
    Caches,
    /// Accelerators, by Google's names of their types.
    Gpus,
    /// On demand, Spot or both.
    Spot,
    /// vCPUs.
    MaxCpu,
    /// Memory.
    MaxMemory,
    /// Boot disk.
    MaxDisk,
    /// Local SSDs.
    MaxLocalSsd,
    /// Longest run.
    MaxRunLimit,
}

impl Bound {
    /// Every bound.
    pub const ALL: [Bound; 16] = [
        Bound::Families,
        Bound::MachineTypes,
        Bound::Regions,
        Bound::Zones,
        Bound::DiskTypes,
        Bound::Images,
        Bound::Networks,
        Bound::ServiceAccounts,
        Bound::Caches,
        Bound::Gpus,
        Bound::Spot,
        Bound::MaxCpu,
        Bound::MaxMemory,
        Bound::MaxDisk,
        Bound::MaxLocalSsd,
        Bound::MaxRunLimit,
    ];

    /// Its key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Families => "families",
            Bound::MachineTypes => "machine_types",
            Bound::Regions => "regions",
            Bound::Zones => "zones",
            Bound::DiskTypes => "disk_types",
            Bound::Images => "images",
            Bound::Networks => "networks",
            Bound::ServiceAccounts => "service_accounts",
            Bound::Caches => "caches",
            Bound::Gpus => "gpus",
            Bound::Spot => "spot",
            Bound::MaxCpu => "max_cpu",
            Bound::MaxMemory => "max_memory",
            Bound::MaxDisk => "max_disk",
            Bound::MaxLocalSsd => "max_local_ssd",
            Bound::MaxRunLimit => "max_run_limit",
        }
    }
}

/// The most a job may ask for; what is left out has no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most vCPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<Cpus>,
    /// Most memory, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<Mib>,
    /// Most boot disk, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_disk_gib: Option<Gib>,
    /// Most local SSDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_local_ssd: Option<u32>,
    /// Longest run in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_run_s: Option<u64>,
}

/// What one level of the configuration says; of what it does not speak, the level above has said all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Says {
    /// Lists.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<Bound, Allow>,
    /// On demand, Spot or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Models>,
    /// Limits.
    pub limits: Limits,
    /// Of these it says all: what the levels above say of them does not hold.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub widens: BTreeSet<Bound>,
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
    /// Zones.
    pub zones: Allow,
    /// Boot disk types.
    pub disk_types: Allow,
    /// Images. None but the default unless the operator lists some: an image runs before any job.
    pub images: Allow,
    /// Networks that machines may join.
    pub networks: Allow,
    /// Service accounts. None unless listed: an account opens the project to the job.
    pub service_accounts: Allow,
    /// Warm disk images. None unless listed.
    pub caches: Allow,
    /// Accelerators.
    pub gpus: Allow,
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
    /// Who said what, from the widest level to the narrowest; what is not in here the operator said for all jobs.
    #[serde(skip)]
    pub said: Vec<(Bound, Said)>,
}

/// What one level says of one bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Such as "queue `gust`".
    whose: String,
    /// Its list; any where it speaks of no list.
    list: Allow,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            families: Allow::Any,
            machine_types: Allow::Any,
            regions: Allow::Any,
            zones: Allow::Any,
            disk_types: Allow::Any,
            images: Allow::none(),
            networks: Allow::Any,
            service_accounts: Allow::none(),
            caches: Allow::none(),
            gpus: Allow::Any,
            backends: vec![Backend::Gce],
            models: Models::Any,
            max_cpu: None,
            max_memory_mib: None,
            max_disk_gib: None,
            max_local_ssd: None,
            max_run_s: None,
            said: Vec::new(),
        }
    }
}

impl Bounds {
    /// The list of a bound, if it is one of names.
    pub fn list(&self, bound: Bound) -> Option<&Allow> {
        Some(match bound {
            Bound::Families => &self.families,
            Bound::MachineTypes => &self.machine_types,
            Bound::Regions => &self.regions,
            Bound::Zones => &self.zones,
            Bound::DiskTypes => &self.disk_types,
            Bound::Images => &self.images,
            Bound::Networks => &self.networks,
            Bound::ServiceAccounts => &self.service_accounts,
            Bound::Caches => &self.caches,
            Bound::Gpus => &self.gpus,
            _ => return None,
        })
    }

    fn list_mut(&mut self, bound: Bound) -> Option<&mut Allow> {
        Some(match bound {
            Bound::Families => &mut self.families,
            Bound::MachineTypes => &mut self.machine_types,
            Bound::Regions => &mut self.regions,
            Bound::Zones => &mut self.zones,
            Bound::DiskTypes => &mut self.disk_types,
            Bound::Images => &mut self.images,
            Bound::Networks => &mut self.networks,
            Bound::ServiceAccounts => &mut self.service_accounts,
            Bound::Caches => &mut self.caches,
            Bound::Gpus => &mut self.gpus,
            _ => return None,
        })
    }

    /// These bounds as a narrower level leaves them. It widens only what it says it does: models that exclude each other
    /// stay as they are here.
    #[must_use]
    pub fn narrowed(&self, whose: &str, says: &Says) -> Bounds {
        let mut bounds = self.clone();
        for (bound, list) in &says.lists {
            let widens = says.widens.contains(bound);
            if let Some(all) = bounds.list_mut(*bound) {
                *all = if widens { list.clone() } else { all.and(list) };
                bounds.note(*bound, widens, whose, list.clone());
            }
        }
        if let Some(models) = says.models {
            let widens = says.widens.contains(&Bound::Spot);
            let both = if widens {
                Some(models)
            } else {
                self.models.and(models)
            };
            if let Some(both) = both.filter(|both| widens || *both != self.models) {
                bounds.models = both;
                bounds.note(Bound::Spot, true, whose, Allow::Any);
            }
        }
        let limits = says.limits;
        let mut noted = Vec::new();
        let mut note = |bound, is| {
            if is {
                noted.push(bound);
            }
        };
        let widens = |bound| says.widens.contains(&bound);
        note(
            Bound::MaxCpu,
            lower(&mut bounds.max_cpu, limits.max_cpu, widens(Bound::MaxCpu)),
        );
        note(
            Bound::MaxMemory,
            lower(
                &mut bounds.max_memory_mib,
                limits.max_memory_mib,
                widens(Bound::MaxMemory),
            ),
        );
        note(
            Bound::MaxDisk,
            lower(
                &mut bounds.max_disk_gib,
                limits.max_disk_gib,
                widens(Bound::MaxDisk),
            ),
        );
        note(
            Bound::MaxLocalSsd,
            lower(
                &mut bounds.max_local_ssd,
                limits.max_local_ssd,
                widens(Bound::MaxLocalSsd),
            ),
        );
        note(
            Bound::MaxRunLimit,
            lower(
                &mut bounds.max_run_s,
                limits.max_run_s,
                widens(Bound::MaxRunLimit),
            ),
        );
        for bound in noted {
            bounds.note(bound, true, whose, Allow::Any);
        }
        bounds
    }

    fn note(&mut self, bound: Bound, alone: bool, whose: &str, list: Allow) {
        if alone {
            self.said.retain(|(other, _)| *other != bound);
        }
        let whose = whose.to_owned();
        self.said.push((bound, Said { whose, list }));
    }

    /// Which list refuses a name, or which level set a limit, for people: "`families` of queue `gust`".
    pub(crate) fn whose(&self, bound: Bound, name: &str) -> String {
        let said = || {
            self.said
                .iter()
                .filter(|(of, _)| *of == bound)
                .map(|(_, said)| said)
        };
        let refuses = said().find(|said| !said.list.allows(name));
        // A limit has one who set it; a list that allows the name is not the one that refuses it.
        let limit = || said().find(|said| said.list == Allow::Any);
        named(bound, refuses.or_else(limit))
    }

    /// The narrowest list or limit, for people.
    pub(crate) fn narrowest(&self, bound: Bound) -> String {
        let mut said = self.said.iter().rev().filter(|(of, _)| *of == bound);
        named(bound, said.next().map(|(_, said)| said))
    }
}

fn named(bound: Bound, said: Option<&Said>) -> String {
    let whose = said.map_or("the operator's policy", |said| &said.whose);
    format!("`{}` of {whose}", bound.name())
}

/// Takes over a lower limit, or any if it widens; tells whether it did.
fn lower<T: Ord + Copy>(limit: &mut Option<T>, says: Option<T>, widens: bool) -> bool {
    let Some(says) = says else { return false };
    let takes = widens || limit.is_none_or(|limit| says < limit);
    if takes {
        *limit = Some(says);
    }
    takes
}
