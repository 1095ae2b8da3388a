//! What is held against the catalog once all is read: places, quotas of families, and what is paid for already. A name that the
//! catalog does not have would otherwise be told one at a time, by whoever plans, without its line.

use std::collections::BTreeMap;

use gust_core::{
    catalog::Catalog,
    ids::{Region, Shard, Zone},
    offer::{self, Prepaid, PrepaidError, Site},
};
use toml::de::DeValue;

use super::{
    nearest::nearest,
    prepaid::{Commitment, Reservation},
    project::{Project, Zones},
    section::{Complaint, Field, Section},
};

/// What begins the quota of a family that regions do not show.
const VM_FAMILY: &str = "CPUS_PER_VM_FAMILY:";

/// Reports what of the projects does not go with the catalog. Those that could not be read have been told of.
pub(super) fn check(root: &Section<'_>, catalog: &Catalog, projects: &[(usize, Option<Project>)]) {
    let sections = tables(root, "project");
    for (section, (_, project)) in sections.iter().zip(projects) {
        let Some(project) = project else { continue };
        if let Some(field) = section.field("regions") {
            places(&field, catalog);
        }
        family_quotas(section, catalog, project);
        let commitments = tables(section, "commitment");
        // Where one could not be read they cannot be told apart, and that is to be mended first.
        if commitments.len() == project.commitments.len() {
            for (section, one) in commitments.iter().zip(&project.commitments) {
                commitment(section, catalog, project, one);
            }
        }
        let reservations = tables(section, "reservation");
        if reservations.len() == project.reservations.len() {
            for (section, one) in reservations.iter().zip(&project.reservations) {
                reservation(section, catalog, project, one);
            }
        }
    }
}

/// The tables in a list, without a word on what is none: whoever read it has told.
fn tables<'a>(section: &Section<'a>, key: &'static str) -> Vec<Section<'a>> {
    let items = section.field(key).map(|field| list(&field)).unwrap_or_default();
    items
        .iter()
        .filter(|item| matches!(item.value, DeValue::Table(_)))
        .filter_map(|item| item.section("a table"))
        .collect()
}

fn list<'a>(field: &Field<'a>) -> Vec<Field<'a>> {
    match field.value {
        DeValue::Array(_) => field.items("a list").unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn text<'a>(field: &Field<'a>) -> Option<&'a str> {
    match field.value {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

fn places(field: &Field<'_>, catalog: &Catalog) {
    for item in list(field) {
        let name = text(&item).filter(|name| super::project::region_name(name).is_ok());
        if let Some(Err(complaint)) = name.map(|name| known_region(catalog, name)) {
            item.report(complaint);
        }
    }
    let DeValue::Table(_) = field.value else { return };
    let named = field.section("a table").map(|table| table.named());
    for (name, zones) in named.into_iter().flatten() {
        if super::project::region_name(name).is_err() {
            continue;
        }
        match known_region(catalog, name) {
            Err(complaint) => zones.report(complaint),
            Ok(known) => list(&zones).iter().for_each(|item| known_zone(item, name, known)),
        }
    }
}

fn known_region<'c>(catalog: &'c Catalog, name: &str) -> Result<&'c [Zone], Complaint> {
    if let Some(zones) = catalog.regions().get(&Region::new(name)) {
        return Ok(zones);
    }
    let complaint = Complaint::new(format!("the catalog has no region `{name}`"));
    let known: Vec<&str> = catalog.regions().keys().map(Region::as_str).collect();
    Err(match nearest(name, known.iter().copied()) {
        Some(near) => complaint.hint(format!("did you mean `{near}`?")),
        None => complaint.hint(format!("known are {}", known.join(", "))),
    })
}

fn known_zone(item: &Field<'_>, region: &str, known: &[Zone]) {
    let Some(zone) = text(item).map(Zone::new) else {
        return;
    };
    // One of another region has been told of.
    if zone.region().as_str() == region && !known.contains(&zone) {
        let names: Vec<&str> = known.iter().map(Zone::as_str).collect();
        let complaint = Complaint::new(format!("{region} has no zone `{zone}` in the catalog"));
        item.report(complaint.hint(format!("it has {}", names.join(", "))));
    }
}

fn family_quotas(section: &Section<'_>, catalog: &Catalog, project: &Project) {
    let field = section.field("family_quotas");
    let table = field.filter(|field| matches!(field.value, DeValue::Table(_)));
    let named = table.and_then(|field| Some(field.section("a table")?.named()));
    for (name, field) in named.into_iter().flatten() {
        if !project.family_quotas.contains_key(name) {
            continue;
        }
        // A limit holds for the families that count against it, whatever they are called.
        let own = format!("{VM_FAMILY}{name}");
        let metrics: BTreeMap<&str, String> = catalog
            .families()
            .map(|family| (family.name.as_str(), family.vcpu_metric.to_string()))
            .collect();
        if metrics.values().any(|metric| *metric == own) {
            continue;
        }
        field.report(match metrics.get(name.to_lowercase().as_str()) {
            Some(metric) => Complaint::new(format!(
                "has no effect: vCPUs of {name} count against {metric}, which Google's regions show"
            ))
            .hint(format!("remove it; the limit of {metric} is read from Google")),
            None => no_family(name, metrics.values()),
        });
    }
}

fn no_family<'m>(name: &str, metrics: impl Iterator<Item = &'m String>) -> Complaint {
    let complaint = Complaint::new(format!("the catalog has no machine family {name}"));
    let known: Vec<String> = metrics
        .filter_map(|metric| Some(metric.strip_prefix(VM_FAMILY)?.to_lowercase()))
        .collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => complaint.hint(format!("did you mean {}?", near.to_uppercase())),
        None => complaint.hint(format!(
            "families with such a quota: {}",
            known.join(", ").to_uppercase()
        )),
    }
}

fn commitment(section: &Section<'_>, catalog: &Catalog, project: &Project, one: &Commitment) {
    if !project.regions.contains_key(&one.region) {
        return unserved(section, "region", one.region.as_str(), "region");
    }
    // What is wrong with a region that is served is told where it is named.
    if !catalog.regions().contains_key(&one.region) {
        return;
    }
    let size = offer::Commitment {
        cpus: one.vcpus,
        memory_mib: one.memory * 1024,
    };
    let shard = shard(project, &one.region);
    let paid = Prepaid::default().commit(catalog, &shard, &one.family, size);
    if let Err(PrepaidError::Family { family, why, .. }) = paid {
        let complaint = Complaint::new(format!("commits to `{family}`, {why}"));
        report(
            section,
            "family",
            complaint.hint("name a family that the region sells by vCPU and GiB"),
        );
    }
}

fn reservation(section: &Section<'_>, catalog: &Catalog, project: &Project, one: &Reservation) {
    let region = one.zone.region();
    let is_served = project.regions.get(&region).is_some_and(|zones| match zones {
        Zones::All => true,
        Zones::Only(zones) => zones.contains(&one.zone),
    });
    if !is_served {
        return unserved(section, "zone", one.zone.as_str(), "zone");
    }
    if !catalog.regions().contains_key(&region) {
        return;
    }
    let shard = shard(project, &region);
    let paid = Prepaid::default().reserve(catalog, &shard, &one.machine_type, &one.zone, one.count);
    if let Err(PrepaidError::Machine {
        machine_type, why, ..
    }) = paid
    {
        let (key, hint) = match catalog.machine_type(&machine_type) {
            None => ("machine_type", "for example \"n2d-standard-16\""),
            Some(_) => ("zone", "name the zone of the reservation"),
        };
        report(
            section,
            key,
            Complaint::new(format!("reserves `{machine_type}`: {why}")).hint(hint),
        );
    }
}

fn shard(project: &Project, region: &Region) -> Shard {
    Shard {
        project: project.id.clone(),
        region: region.clone(),
    }
}

fn unserved(section: &Section<'_>, key: &'static str, name: &str, what: &str) {
    let complaint = Complaint::new(format!(
        "{name} is not among the places of this project, so no machine would use what is paid for there"
    ));
    report(
        section,
        key,
        complaint.hint(format!("add the {what} to `regions`, or remove this")),
    );
}

fn report(section: &Section<'_>, key: &'static str, complaint: Complaint) {
    match section.field(key) {
        Some(field) => field.report(complaint),
        None => section.report(key, complaint),
    }
}

impl Project {
    /// The project and its places.
    pub(crate) fn site(&self) -> Site {
        let zones = |zones: &Zones| match zones {
            Zones::All => Vec::new(),
            Zones::Only(zones) => zones.clone(),
        };
        let regions = self.regions.iter();
        Site {
            project: self.id.clone(),
            regions: regions.map(|(region, of)| (region.clone(), zones(of))).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
