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
use crate::ids::Zone;
use crate::request::text::{listed, quotable};
use crate::request::{Allow, Backend, Bound, Models, Request, Spot, Tag};
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
}

/// A machine for people.
fn told(candidate: &Candidate<'_>) -> String {
    format!("{} ({})", candidate.machine_type(), candidate.model().as_str())
}
