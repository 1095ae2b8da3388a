//! The nearest requests to an impossible one. Each way gives up one demand and asks again, so whatever is
//! suggested is known to have an offer.

use std::collections::BTreeSet;

use super::candidate::Candidate;
use super::diagnose::Doctor;
use super::impossible::{Barrier, Suggestion};

use crate::ids::Region;
use crate::request::{Backend, Cpus, Gib, Gpu, Mib, Range, Request, Spot, Tag};
use crate::shape::{Arch, ProvisioningModel};

/// Most suggestions.
const MOST: usize = 3;

impl<'a> Doctor<'a> {
    pub(super) fn suggestions(&self, barriers: &[Barrier]) -> Vec<Suggestion> {
        type Way<'x> = fn(&Doctor<'x>) -> Option<Suggestion>;
        let first: &[Way<'a>] = match barriers.first() {
            Some(Barrier::UnknownName { .. } | Barrier::NotServed { .. }) => &[Self::renamed, Self::placed],
            Some(Barrier::Arch { .. }) => &[Self::other_family, Self::other_arch],
            Some(Barrier::NoLocalSsd { .. } | Barrier::LocalSsdCount { .. }) => {
                &[Self::other_family, Self::fewer_ssds, Self::other_cpu]
            }
            Some(Barrier::DiskType { .. }) => &[Self::other_disk, Self::other_family],
            Some(Barrier::NotOffered { .. }) => &[Self::placed, Self::other_family],
            Some(Barrier::Model { .. }) => &[Self::other_model, Self::rather_spot, Self::other_family],
            Some(Barrier::NotAllowed { .. }) => &[
                Self::other_family,
                Self::other_model,
                Self::other_cpu,
                Self::other_memory,
            ],
            Some(Barrier::SharedCore { .. }) => &[Self::other_family],
            Some(Barrier::NamedSize { .. }) => &[Self::type_alone, Self::other_family],
            Some(Barrier::Shape { .. }) => &[
                Self::other_cpu,
                Self::other_memory,
                Self::other_family,
                Self::roomiest,
            ],
            Some(Barrier::NoGpu { .. }) => &[Self::other_family, Self::plain_gce],
            Some(Barrier::GpuCount { .. }) => &[Self::other_gpu_count, Self::other_cpu, Self::plain_gce],
            Some(Barrier::Gone { .. }) => &[Self::other_family, Self::placed],
            Some(Barrier::NoPlaceAtAll | Barrier::Backend { .. }) | None => &[],
        };
        // Where the obvious ways lead nowhere, any other is better than none.
        let any: &[Way<'a>] = &[
            Self::plain_gce,
            Self::other_cpu,
            Self::other_memory,
            Self::other_family,
            Self::other_arch,
            Self::fewer_ssds,
            Self::other_disk,
            Self::placed,
            Self::other_model,
            Self::other_size,
            Self::roomiest,
            Self::size_alone,
            Self::anything,
        ];
        let mut found: Vec<Suggestion> = Vec::new();
        for way in first {
            let new = way(self).filter(|s| found.iter().all(|f| f.request != s.request));
            found.extend(new);
        }
        if found.is_empty() {
            found.extend(any.iter().find_map(|way| way(self)));
        }
        found.truncate(MOST);
        found
    }

    /// The suggestion of this request, if it has an offer.
    fn suggest(&self, request: Request) -> Option<Suggestion> {
        let survey = self.survey(&request);
        let best = survey.candidates.iter().min_by(|a, b| a.rank().cmp(&b.rank()))?;
        let (old, new) = (self.request.tags(), request.tags());
        let sized = |tag: &Tag| matches!(tag, Tag::Cpu | Tag::Memory);
        let resized = self.request.machine_types.is_empty()
            && (request.cpu != self.request.cpu || request.memory != self.request.memory);
        // A changed size is shown whole: 700 GiB mean nothing without the vCPUs they go with.
        let shown = |change: &&(Tag, String)| !old.contains(change) || (resized && sized(&change.0));
        let changes = new.iter().filter(shown).cloned().collect();
        let gone = old
            .iter()
            .filter(|(tag, _)| new.iter().all(|(kept, _)| kept != tag));
        Some(Suggestion {
            changes,
            without: gone.map(|(tag, _)| *tag).collect(),
            prefix: self.placement.tag_prefix.clone(),
            machine_type: best.machine_type(),
            price: best.price(),
            request,
        })
    }

    /// Names corrected to the nearest known ones.
    fn renamed(&self) -> Option<Suggestion> {
        let mut request = self.request.clone();
        for barrier in self.unknown_names() {
            let Barrier::UnknownName {
                tag,
                name,
                nearest: Some(right),
                ..
            } = barrier
            else {
                continue;
            };
            match tag {
                Tag::Family => replace(&mut request.families, &name, right.as_str().into()),
                Tag::MachineType => replace(&mut request.machine_types, &name, right.as_str().into()),
                Tag::DiskType => replace(&mut request.disk_types, &name, right.as_str().into()),
                Tag::Gpu => {
                    if let Some(gpu) = &mut request.gpu {
                        gpu.kind = right;
                    }
                }
                Tag::Region => replace(&mut request.regions, &name, right.as_str().into()),
                Tag::Zone => replace(&mut request.zones, &name, right.as_str().into()),
                _ => {}
            }
        }
        (request != *self.request)
            .then(|| self.suggest(request))
            .flatten()
    }

    /// The nearest number of vCPUs with all else as asked; of two equally near the larger.
    fn other_cpu(&self) -> Option<Suggestion> {
        self.nearest_cpu(self.request.clone())
    }

    /// The nearest number of vCPUs with at least the memory asked for, without an upper end.
    fn other_size(&self) -> Option<Suggestion> {
        self.nearest_cpu(Request {
            memory: Range::at_least(self.request.memory.min),
            ..self.request.clone()
        })
    }

    fn nearest_cpu(&self, mut request: Request) -> Option<Suggestion> {
        request.cpu = Range::at_least(Cpus(1));
        let Range { min, max } = self.request.cpu;
        let distance = |c: &Candidate<'_>| {
            let (cpus, max) = (c.cpus(), max.unwrap_or(Cpus(u32::MAX)));
            (
                min.0.saturating_sub(cpus.0) + cpus.0.saturating_sub(max.0),
                u32::MAX - cpus.0,
            )
        };
        let survey = self.survey(&request);
        let nearest = survey.candidates.iter().min_by_key(|c| distance(c))?;
        request.cpu = Range::exactly(nearest.cpus());
        self.suggest(request)
    }

    /// The nearest memory with the vCPUs as asked: without an upper end, or else the most there is.
    fn other_memory(&self) -> Option<Suggestion> {
        let open = Request {
            memory: Range::at_least(self.request.memory.min),
            ..self.request.clone()
        };
        if open != *self.request
            && let Some(suggestion) = self.suggest(open)
        {
            return Some(suggestion);
        }
        let any = Request {
            memory: Range::at_least(Mib(1)),
            ..self.request.clone()
        };
        let survey = self.survey(&any);
        let most: BTreeSet<u64> = survey.candidates.iter().map(Candidate::most_memory).collect();
        let tries = most.into_iter().rev().filter(|mib| *mib > 0).take(8);
        let with = |mib| Request {
            memory: Range::at_least(Mib(mib)),
            ..self.request.clone()
        };
        tries.map(with).find_map(|request| self.suggest(request))
    }

    /// The machine with the most memory there is, if that is less than asked.
    fn roomiest(&self) -> Option<Suggestion> {
        let mut any = self.request.clone();
        (any.cpu, any.memory) = (Range::at_least(Cpus(1)), Range::at_least(Mib(1)));
        let survey = self.survey(&any);
        let roomiest = survey
            .candidates
            .iter()
            .max_by_key(|c| (c.most_memory(), u32::MAX - c.cpus().0))?;
        let most = roomiest.most_memory();
        if most >= self.request.memory.min.0 {
            return None;
        }
        any.cpu = Range::exactly(roomiest.cpus());
        any.memory = Range::at_least(Mib(most));
        self.suggest(any)
    }

    /// Other families, with all else as asked; named machine types give way to their sizes.
    fn other_family(&self) -> Option<Suggestion> {
        let mut request = Request {
            families: Vec::new(),
            machine_types: Vec::new(),
            ..self.request.clone()
        };
        self.give_size(&mut request);
        let mut candidates = self.survey(&request).candidates;
        candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));
        // Who named families has named an architecture with them, and their image is made for it.
        let named = self
            .request
            .families
            .iter()
            .filter_map(|name| self.catalog.family(name.as_str()));
        let mut archs: BTreeSet<Arch> = named.map(|family| family.arch).collect();
        if archs.is_empty() {
            archs.extend(candidates.first().map(|best| best.family.arch));
        }
        for candidate in &candidates {
            let name = &candidate.family.name;
            if self.request.arch.is_none() && !archs.contains(&candidate.family.arch) {
                continue;
            }
            if request.families.len() < 4 && !request.families.contains(name) {
                request.families.push(name.clone());
            }
        }
        if request.families.is_empty() {
            return None;
        }
        request.families.sort();
        self.suggest(request)
    }

    fn other_arch(&self) -> Option<Suggestion> {
        let other = match self.request.arch? {
            Arch::Amd64 => Arch::Arm64,
            Arch::Arm64 => Arch::Amd64,
        };
        self.suggest(Request {
            arch: Some(other),
            ..self.request.clone()
        })
    }

    /// The most local SSDs that are fewer than asked.
    fn fewer_ssds(&self) -> Option<Suggestion> {
        let fewer = (0..self.request.local_ssd).rev();
        let with = |local_ssd| Request {
            local_ssd,
            ..self.request.clone()
        };
        fewer.map(with).find_map(|request| self.suggest(request))
    }

    /// The nearest number of accelerators; of two equally near the larger.
    fn other_gpu_count(&self) -> Option<Suggestion> {
        let asked = self.request.gpu.clone()?;
        let mut counts: Vec<u32> = (1..=16).filter(|count| *count != asked.count).collect();
        counts.sort_by_key(|count| (count.abs_diff(asked.count), u32::MAX - count));
        let with = |count| Request {
            gpu: Some(Gpu {
                count,
                ..asked.clone()
            }),
            ..self.request.clone()
        };
        counts
            .into_iter()
            .map(with)
            .find_map(|request| self.suggest(request))
    }

    fn other_disk(&self) -> Option<Suggestion> {
        let mut request = Request {
            disk_types: Vec::new(),
            ..self.request.clone()
        };
        let largest = self.catalog.disks().values().map(|d| d.max_gib).max()?;
        request.disk = Gib(request.disk.0.min(largest));
        let survey = self.survey(&request);
        let best = survey.candidates.iter().min_by(|a, b| a.rank().cmp(&b.rank()))?;
        request.disk_types = vec![best.disk_type().clone()];
        self.suggest(request)
    }

    /// Wherever machines are made.
    fn placed(&self) -> Option<Suggestion> {
        let mut request = Request {
            regions: Vec::new(),
            zones: Vec::new(),
            ..self.request.clone()
        };
        let survey = self.survey(&request);
        let candidate = survey.candidates.iter().min_by(|a, b| a.rank().cmp(&b.rank()))?;
        let groups = self.placement.groups(&candidate.family.name);
        let regions = groups
            .iter()
            .flat_map(|g| g.places.iter())
            .map(|place| place.shard.region.clone());
        let regions: BTreeSet<Region> = regions.collect();
        request.regions = regions.into_iter().take(3).collect();
        self.suggest(request)
    }

    fn other_model(&self) -> Option<Suggestion> {
        let others = [Spot::Never, Spot::Only]
            .into_iter()
            .filter(|spot| *spot != self.request.spot);
        others
            .map(|spot| Request {
                spot,
                ..self.request.clone()
            })
            .find_map(|request| self.suggest(request))
    }

    /// Spot where it is to be had, for who asked for nothing else.
    fn rather_spot(&self) -> Option<Suggestion> {
        let only = self.request.spot == Spot::Only;
        only.then(|| Request {
            spot: Spot::Prefer,
            ..self.request.clone()
        })
        .and_then(|request| self.suggest(request))
    }

    /// The named machine types without a size beside them.
    fn type_alone(&self) -> Option<Suggestion> {
        let (cpu, memory) = (Range::at_least(Cpus(1)), Range::at_least(Mib(0)));
        self.suggest(Request {
            cpu,
            memory,
            ..self.request.clone()
        })
    }

    /// Without accelerators, on a VM.
    fn plain_gce(&self) -> Option<Suggestion> {
        let mut plain = Request {
            gpu: None,
            backend: Backend::Gce,
            ..self.request.clone()
        };
        // The accelerator brought the size; without one it must be said.
        if self.request.gpu.is_some()
            && plain.machine_types.is_empty()
            && plain.cpu == Range::at_least(Cpus(1))
        {
            plain.cpu = Range::exactly(Cpus(2));
            plain.memory.min = plain.memory.min.max(Mib::gib(8));
        }
        (plain != *self.request).then(|| self.suggest(plain)).flatten()
    }

    /// The size alone, with no further wish.
    fn size_alone(&self) -> Option<Suggestion> {
        let plain = self.without_wishes();
        let either = plain.arch.into_iter().chain([Arch::Amd64, Arch::Arm64]);
        either
            .map(|arch| Request {
                arch: Some(arch),
                ..plain.clone()
            })
            .find_map(|request| self.suggest(request))
    }

    /// The nearest size there is, with no further wish.
    fn anything(&self) -> Option<Suggestion> {
        let plain = self.without_wishes();
        let inner = Doctor {
            request: &plain,
            catalog: self.catalog,
            placement: self.placement,
        };
        let found = inner
            .other_cpu()
            .or_else(|| inner.other_memory())
            .or_else(|| inner.other_size())
            .or_else(|| inner.roomiest())?;
        // Told against what was asked, not against the plain request.
        self.suggest(found.request)
    }

    fn without_wishes(&self) -> Request {
        let on_demand = self.placement.bounds.models.allows(ProvisioningModel::Standard);
        let spot = if on_demand { Spot::Never } else { Spot::Only };
        let mut plain = Request {
            families: Vec::new(),
            machine_types: Vec::new(),
            // Always said: without families, leaving it out would mean the operator's default.
            arch: self.request.arch.or(Some(Arch::Amd64)),
            disk_types: Vec::new(),
            local_ssd: 0,
            gpu: None,
            regions: Vec::new(),
            zones: Vec::new(),
            backend: Backend::Gce,
            spot,
            ..self.request.clone()
        };
        self.give_size(&mut plain);
        plain
    }

    /// A request that named machine types and no longer does gets their size; where they are unknown, the
    /// one that their name suggests.
    fn give_size(&self, request: &mut Request) {
        let named = &self.request.machine_types;
        let Some(first) = named.first() else { return };
        let found = named.iter().find_map(|name| self.catalog.machine_type(name));
        let (cpus, mib, arch) = match found {
            Some(found) => (found.cpus, found.memory_mib, Some(found.family.arch)),
            None => {
                let number = first
                    .as_str()
                    .split('-')
                    .find_map(|part| part.parse::<u32>().ok());
                let cpus = number.unwrap_or(2).clamp(1, 10_000);
                (cpus, Mib::gib(4).0 * u64::from(cpus), Some(Arch::Amd64))
            }
        };
        if request.cpu == Range::at_least(Cpus(1)) {
            request.cpu = Range::exactly(Cpus(cpus));
        }
        if request.memory.min == Mib(0) {
            request.memory = Range::at_least(Mib(mib));
        }
        request.arch = request.arch.or(arch);
    }
}

fn replace<T: Ord + ToString>(names: &mut Vec<T>, wrong: &str, right: T) {
    names.retain(|name| name.to_string() != wrong);
    names.push(right);
    names.sort();
    names.dedup();
}
