//! From "nothing fits" to a sentence: which demand is in the way, and the smallest changes that help.
//!
//! The barrier is the last hurdle that any family asked for failed at. What to ask for instead is in
//! [`super::suggest`].

use std::collections::BTreeSet;

use super::candidate::Candidate;
use super::impossible::{Barrier, Impossible};
use super::placement::Placement;
use super::search::{Survey, survey};
use super::size::{RuledOut, has_gpu};
use crate::catalog::{Catalog, Family, FamilyName, LocalSsd};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::request::text::{listed, quotable};
use crate::request::{Allow, Backend, Bound, Models, Request, Spot, Tag, nearest};
use crate::shape::Arch;

/// Says why a request has no offer, and which nearby requests have one.
pub fn diagnose(request: &Request, catalog: &Catalog, placement: &Placement) -> Impossible {
    let doctor = Doctor {
        request,
        catalog,
        placement,
    };
    let mut barriers = doctor.unknown_names();
    if barriers.is_empty() {
        barriers = doctor.not_served();
    }
    if barriers.is_empty() {
        barriers.push(doctor.barrier());
    }
    let nearest = doctor.suggestions(&barriers);
    Impossible { barriers, nearest }
}

/// A request that has no offer, with everything needed to ask about others.
pub(super) struct Doctor<'a> {
    pub request: &'a Request,
    pub catalog: &'a Catalog,
    pub placement: &'a Placement,
}

impl<'a> Doctor<'a> {
    pub fn survey(&self, request: &Request) -> Survey<'a> {
        survey(request, self.catalog, self.placement)
    }

    pub fn unknown_names(&self) -> Vec<Barrier> {
        let catalog = self.catalog;
        let mut barriers = Vec::new();
        let mut check = |tag: Tag, name: &str, known: Vec<&str>| {
            barriers.push(Barrier::UnknownName {
                tag,
                name: quotable(name),
                nearest: nearest_name(tag, name, &known).map(str::to_owned),
                known: listed(known),
            });
        };
        for name in &self.request.families {
            if catalog.family(name.as_str()).is_none() {
                check(
                    Tag::Family,
                    name.as_str(),
                    catalog.families().map(|f| f.name.as_str()).collect(),
                );
            }
        }
        for name in &self.request.disk_types {
            if catalog.disk(name).is_none() {
                check(
                    Tag::DiskType,
                    name.as_str(),
                    catalog.disks().keys().map(|d| d.as_str()).collect(),
                );
            }
        }
        let served = &self.placement.served;
        if let Some(gpu) = self
            .request
            .gpu
            .as_ref()
            .filter(|gpu| catalog.gpu(&gpu.kind).is_none())
        {
            let known = catalog.gpus().keys().map(|g| g.as_str()).collect();
            check(Tag::Gpu, &gpu.kind, known);
        }
        for region in &self.request.regions {
            if !catalog.regions().contains_key(region) {
                check(
                    Tag::Region,
                    region.as_str(),
                    served.keys().map(Region::as_str).collect(),
                );
            }
        }
        for zone in &self.request.zones {
            if !catalog
                .regions()
                .get(&zone.region())
                .is_some_and(|zones| zones.contains(zone))
            {
                check(
                    Tag::Zone,
                    zone.as_str(),
                    served.values().flatten().map(Zone::as_str).collect(),
                );
            }
        }
        let types = self
            .request
            .machine_types
            .iter()
            .filter(|name| catalog.machine_type(name).is_none());
        barriers.extend(types.map(|name| self.unknown_type(name.as_str())));
        barriers
    }

    fn unknown_type(&self, name: &str) -> Barrier {
        let family = name
            .split('-')
            .next()
            .and_then(|family| self.catalog.family(family));
        let mut known: Vec<String> = family
            .map(Family::types)
            .unwrap_or_default()
            .iter()
            .map(|t| t.name.to_string())
            .collect();
        // The nearest custom size is what a custom name meant, however many digits differ.
        let custom = family
            .and_then(|family| nearest_custom(family, name))
            .filter(|_| name.contains("custom-"));
        let typed = nearest::name(name, known.iter().map(String::as_str)).map(str::to_owned);
        let nearest = custom.clone().or(typed);
        known.extend(custom);
        if known.is_empty() {
            known.extend(self.catalog.families().map(|f| format!("{}-…", f.name)));
        }
        Barrier::UnknownName {
            tag: Tag::MachineType,
            name: quotable(name),
            nearest,
            known: listed(known),
        }
    }

    /// Places that exist but are not this queue's. Only if none of those asked for is.
    fn not_served(&self) -> Vec<Barrier> {
        let served = &self.placement.served;
        if served.is_empty() && self.request.backend == Backend::Gce {
            return vec![Barrier::NoPlaceAtAll];
        }
        let mut barriers = Vec::new();
        let regions = &self.request.regions;
        if !regions.is_empty() && regions.iter().all(|r| !served.contains_key(r)) {
            let served = listed(served.keys());
            barriers.push(Barrier::NotServed {
                tag: Tag::Region,
                name: quotable(&listed(regions)),
                served,
            });
        }
        let zones = &self.request.zones;
        let is_served = |zone: &Zone| served.get(&zone.region()).is_some_and(|all| all.contains(zone));
        if barriers.is_empty() && !zones.is_empty() && !zones.iter().any(is_served) {
            let served = listed(served.values().flatten());
            barriers.push(Barrier::NotServed {
                tag: Tag::Zone,
                name: quotable(&listed(zones)),
                served,
            });
        }
        barriers
    }

    fn barrier(&self) -> Barrier {
        let request = self.request;
        if request.backend != Backend::Gce {
            return Barrier::Backend {
                backend: request.backend.as_str(),
            };
        }
        let free = self.placement.unbounded();
        let fitting = survey(request, self.catalog, &free).candidates;
        if let Some(best) = fitting.iter().min_by(|a, b| a.rank().cmp(&b.rank())) {
            return self.not_allowed(told(best));
        }
        let ruled_out = self.survey(request).ruled_out;
        let last = ruled_out
            .iter()
            .map(|(_, why)| why.clone())
            .max()
            .unwrap_or(RuledOut::NotAsked);
        if last > RuledOut::Model
            && let Some(barrier) = self.sold_otherwise(&free, &last)
        {
            return barrier;
        }
        let stopped: Vec<&Family> = ruled_out
            .iter()
            .filter(|(_, why)| *why == last)
            .filter_map(|(name, _)| self.catalog.family(name.as_str()))
            .collect();
        let families = listed(stopped.iter().map(|f| &f.name));
        match last {
            RuledOut::NotAsked | RuledOut::NotAllowed => self.not_allowed("nothing".to_owned()),
            RuledOut::Arch => self.wrong_arch(families),
            RuledOut::NoPlace => Barrier::NotOffered {
                families,
                places: self.places(),
            },
            RuledOut::Model => Barrier::Model {
                asked: request.spot.as_str(),
                families,
            },
            RuledOut::NoGpu => self.no_gpu(families),
            RuledOut::GpuCount => self.wrong_gpu_count(&stopped),
            RuledOut::Gone => Barrier::Gone {
                families,
                places: self.places(),
            },
            RuledOut::DiskType => self.wrong_disk(families, &stopped),
            RuledOut::NoLocalSsd => {
                let has = self.catalog.families().filter(|f| f.local_ssd != LocalSsd::None);
                let has = has.filter(|f| request.arch.is_none_or(|arch| arch == f.arch));
                Barrier::NoLocalSsd {
                    families,
                    suitable: listed(has.map(|f| &f.name)),
                }
            }
            RuledOut::SharedCore => Barrier::SharedCore {
                name: quotable(&listed(&request.machine_types)),
            },
            RuledOut::LocalSsdCount => Barrier::LocalSsdCount {
                asked: request.local_ssd,
                families,
            },
            RuledOut::Cpu | RuledOut::Memory if !request.machine_types.is_empty() => self.wrong_size(),
            RuledOut::Cpu | RuledOut::Memory => self.no_shape(),
        }
    }

    /// Whether what was asked for exists, but is not sold in the way asked for. What the families said does not tell:
    /// another than those may have come closest.
    fn sold_otherwise(&self, free: &Placement, last: &RuledOut) -> Option<Barrier> {
        let spot = match self.request.spot {
            Spot::Never => Spot::Only,
            Spot::Only => Spot::Never,
            Spot::Prefer => return None,
        };
        let other = Request {
            spot,
            ..self.request.clone()
        };
        let fitting = self.survey(&other).candidates;
        if fitting.is_empty() {
            let forbidden = survey(&other, self.catalog, free).candidates;
            let best = forbidden.iter().min_by(|a, b| a.rank().cmp(&b.rank()))?;
            return Some(self.not_allowed(told(best)));
        }
        let families: BTreeSet<&FamilyName> = fitting.iter().map(|found| &found.family.name).collect();
        let families = listed(families);
        Some(Barrier::Model {
            asked: self.request.spot.as_str(),
            families: match last {
                RuledOut::Cpu | RuledOut::Memory => {
                    let (cpu, memory) = self.size();
                    format!("{cpu} and {memory} ({families})")
                }
                _ => families,
            },
        })
    }

    fn not_allowed(&self, fitting: String) -> Barrier {
        let bounds = &self.placement.bounds;
        let whose = |bound| bounds.narrowest(bound);
        let of = |what: &str, bound: Bound, allow: &Allow| match allow {
            Allow::Any => None,
            Allow::Only(names) => Some(format!("{what} {} ({})", listed(names), whose(bound))),
        };
        let models = match bounds.models {
            Models::Any => None,
            Models::OnDemand => Some(format!("on demand ({})", whose(Bound::Spot))),
            Models::Spot => Some(format!("Spot ({})", whose(Bound::Spot))),
        };
        let all = [
            of("families", Bound::Families, &bounds.families),
            of("machine types", Bound::MachineTypes, &bounds.machine_types),
            models,
        ];
        let allowed: Vec<String> = all.into_iter().flatten().collect();
        let allowed = if allowed.is_empty() {
            "anything else".to_owned()
        } else {
            allowed.join("; ")
        };
        Barrier::NotAllowed { fitting, allowed }
    }

    fn places(&self) -> String {
        let request = self.request;
        if !request.zones.is_empty() {
            return listed(&request.zones);
        }
        if !request.regions.is_empty() {
            return listed(&request.regions);
        }
        listed(self.placement.served.keys())
    }

    fn wrong_arch(&self, families: String) -> Barrier {
        let arch = self.request.arch.unwrap_or(Arch::Amd64);
        let suitable = self
            .catalog
            .families()
            .filter(|f| f.arch == arch)
            .map(|f| &f.name);
        Barrier::Arch {
            families,
            arch,
            suitable: listed(suitable),
        }
    }

    fn wrong_disk(&self, families: String, stopped: &[&Family]) -> Barrier {
        let mut suitable: Vec<String> = Vec::new();
        let allowed = &self.placement.bounds.disk_types;
        let taken = stopped.iter().flat_map(|f| &f.boot_disks);
        for name in taken.filter(|name| allowed.allows(name.as_str())) {
            let Some(disk) = self.catalog.disk(name) else {
                continue;
            };
            let text = format!("{name} to {} GiB", disk.max_gib);
            if !suitable.contains(&text) {
                suitable.push(text);
            }
        }
        let types = match self.request.disk_types.as_slice() {
            [] => String::new(),
            types => format!("{} with ", listed(types)),
        };
        let asked = format!("{types}{} GiB", self.request.disk);
        Barrier::DiskType {
            families,
            asked,
            suitable: listed(suitable),
        }
    }

    fn no_gpu(&self, families: String) -> Barrier {
        let kind = self.request.gpu.as_ref().map_or("", |gpu| gpu.kind.as_str());
        let has = self.catalog.families().filter(|f| has_gpu(f, kind));
        Barrier::NoGpu {
            kind: quotable(kind),
            families,
            suitable: listed(has.map(|f| &f.name)),
        }
    }

    /// A size was asked for, in numbers or by the name of a type.
    fn is_sized(&self) -> bool {
        let tags = self.request.tags();
        tags.iter()
            .any(|(tag, _)| matches!(tag, Tag::Cpu | Tag::Memory | Tag::MachineType))
    }

    fn wrong_gpu_count(&self, stopped: &[&Family]) -> Barrier {
        let gpu = self.request.gpu.as_ref();
        let kind = gpu.map_or("", |gpu| gpu.kind.as_str());
        let asked = gpu.map_or_else(String::new, |gpu| {
            quotable(&format!("{}:{}", gpu.kind, gpu.count))
        });
        if !self.is_sized() {
            let types = stopped.iter().flat_map(|family| family.types());
            let bundled = types.filter_map(|t| t.gpus.as_ref().filter(|gpus| gpus.kind.as_str() == kind));
            let attached = stopped.iter().filter_map(|family| family.attach_gpus.get(kind));
            let attached = attached.flatten().map(|rule| rule.count);
            let counts: BTreeSet<u32> = bundled.map(|gpus| gpus.count).chain(attached).collect();
            return Barrier::GpuCount {
                asked,
                sized: false,
                suitable: listed(counts),
            };
        }
        let mut suitable: Vec<String> = Vec::new();
        for family in stopped {
            let bundled = family.types().iter().filter_map(|t| {
                let gpus = t.gpus.as_ref().filter(|gpus| gpus.kind.as_str() == kind)?;
                Some(format!("{} ({})", gpus.count, t.name))
            });
            let attached = family.attach_gpus.get(kind).into_iter().flatten().map(|rule| {
                let size = format!("{} and {}", cpus(rule.max_cpus), memory(rule.max_memory_mib));
                format!("{} ({}, to {size})", rule.count, family.name)
            });
            suitable.extend(bundled.chain(attached));
        }
        Barrier::GpuCount {
            asked,
            sized: true,
            suitable: listed(suitable),
        }
    }

    fn wrong_size(&self) -> Barrier {
        let describe = |name: &MachineTypeName| {
            let found = self.catalog.machine_type(name)?;
            Some(format!(
                "{name} has {} and {} of memory",
                cpus(found.cpus),
                memory(found.memory_mib)
            ))
        };
        let actual = listed(self.request.machine_types.iter().filter_map(describe));
        let tags = self
            .request
            .tags()
            .into_iter()
            .filter(|(tag, _)| matches!(tag, Tag::Cpu | Tag::Memory));
        let asked: Vec<String> = tags.map(|(tag, value)| format!("{tag}={value}")).collect();
        Barrier::NamedSize {
            actual,
            asked: asked.join(" "),
        }
    }

    /// The size asked for, for people.
    fn size(&self) -> (String, String) {
        let Request {
            cpu, memory: asked, ..
        } = self.request;
        let cpu = match (cpu.min.0, cpu.max) {
            (min, Some(max)) if max.0 == min => cpus(min),
            (min, Some(max)) => format!("{min} to {}", cpus(max.0)),
            (min, None) => format!("{} or more", cpus(min)),
        };
        let memory = match asked.max {
            Some(max) if max == asked.min => format!("exactly {}", memory(max.0)),
            Some(max) => format!("{} to {}", memory(asked.min.0), memory(max.0)),
            None => memory(asked.min.0),
        };
        (cpu, memory)
    }

    fn no_shape(&self) -> Barrier {
        let (cpu, memory) = self.size();
        let among = match (self.request.families.as_slice(), self.request.arch) {
            ([], Some(arch)) => arch.to_string(),
            ([], None) => "any architecture".to_owned(),
            (families, _) => listed(families),
        };
        let among = match &self.request.gpu {
            Some(gpu) => format!("{among}, with {}:{}", quotable(&gpu.kind), gpu.count),
            None => among,
        };
        Barrier::Shape { cpu, memory, among }
    }
}

/// A machine for people.
fn told(candidate: &Candidate<'_>) -> String {
    format!("{} ({})", candidate.machine_type(), candidate.model().as_str())
}

/// The name that was probably meant. Accelerators are called by their last word too: `l4` is `nvidia-l4`.
fn nearest_name<'a>(tag: Tag, name: &str, known: &[&'a str]) -> Option<&'a str> {
    let ends = |known: &&&str| tag == Tag::Gpu && known.rsplit('-').next() == Some(name);
    let by_end = known.iter().find(ends).copied();
    by_end.or_else(|| nearest::name(name, known.iter().copied()))
}

/// The custom size of a family nearest to what a name that is none of its sizes seems to ask for.
fn nearest_custom(family: &Family, name: &str) -> Option<String> {
    let rule = family.custom.as_ref()?;
    let mut numbers = name.split('-').filter_map(|part| part.parse::<u64>().ok());
    let (asked_cpus, asked_memory) = (numbers.next()?, numbers.next()?);
    let cpus = rule
        .cpus()
        .iter()
        .copied()
        .min_by_key(|c| (u64::from(*c).abs_diff(asked_cpus), u32::MAX - c))?;
    let memory = rule
        .least_memory(cpus, asked_memory)
        .unwrap_or_else(|| rule.most_memory(cpus));
    Some(rule.name(cpus, memory).to_string())
}

fn cpus(n: u32) -> String {
    if n == 1 {
        "1 vCPU".to_owned()
    } else {
        format!("{n} vCPUs")
    }
}

fn memory(mib: u64) -> String {
    if mib.is_multiple_of(1024) {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}
