//! Names that the catalog does not have, and the nearest that it has.

use super::diagnose::Doctor;
use super::impossible::Barrier;
use crate::catalog::Family;
use crate::ids::{Region, Zone};
use crate::request::text::{listed, quotable};
use crate::request::{Tag, nearest};

impl Doctor<'_> {
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

    pub fn unknown_type(&self, name: &str) -> Barrier {
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
