//! Matching a request with the catalog: every family is considered, and one that has nothing says why.

use std::sync::Arc;

use super::candidate::{Candidate, hourly, is_borrowed};
use super::placement::{Group, Place, Placement};
use super::prepaid::Paid;
use super::size::{RuledOut, Size, has_gpu, named, named_sizes, sizes};
use super::types::{Offer, OfferedDisk, Preference};
use super::zones::{Zones, is_by_type};
use crate::catalog::{Catalog, Disk, DiskType, Family, FamilyName};
use crate::ids::Zone;
use crate::request::{Backend, Bounds, Cpus, Gib, Mib, Request, Spot};
use crate::shape::ProvisioningModel;

/// More offers than anybody tries, of first and of second choice each; a wide range of sizes could make
/// thousands.
pub const MOST_OFFERS: usize = 64;

/// Every family's answer.
pub(super) struct Survey<'a> {
    pub candidates: Vec<Candidate<'a>>,
    pub ruled_out: Vec<(&'a FamilyName, RuledOut)>,
}

pub(super) fn survey<'a>(request: &Request, catalog: &'a Catalog, placement: &'a Placement) -> Survey<'a> {
    let mut survey = Survey {
        candidates: Vec::new(),
        ruled_out: Vec::new(),
    };
    // Machines of other backends are not in the catalog.
    // A mistyped name beside a right one must not go unnoticed either.
    if request.backend != Backend::Gce || !all_known(request, catalog) {
        return survey;
    }
    for family in catalog.families() {
        match consider(request, catalog, placement, family, &mut survey.candidates) {
            Ok(()) => {}
            Err(why) => survey.ruled_out.push((&family.name, why)),
        }
    }
    survey
}

/// Whether the catalog has every name of the request.
fn all_known(request: &Request, catalog: &Catalog) -> bool {
    let has_zone = |zone: &Zone| {
        catalog
            .regions()
            .get(&zone.region())
            .is_some_and(|all| all.contains(zone))
    };
    request
        .families
        .iter()
        .all(|name| catalog.family(name.as_str()).is_some())
        && request
            .machine_types
            .iter()
            .all(|name| catalog.machine_type(name).is_some())
        && request.disk_types.iter().all(|name| catalog.disk(name).is_some())
        && request.gpu.iter().all(|gpu| catalog.gpu(&gpu.kind).is_some())
        && request
            .regions
            .iter()
            .all(|name| catalog.regions().contains_key(name))
        && request.zones.iter().all(has_zone)
}

/// All offers for a request, best first; empty if nothing fits.
pub(super) fn ranked(request: &Request, catalog: &Catalog, placement: &Placement) -> Vec<Offer> {
    let mut candidates = survey(request, catalog, placement).candidates;
    if candidates.len() > MOST_OFFERS {
        candidates.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        // Each kind has its own share: cheap Spot sizes must not crowd out all that is on demand.
        let mut kept = [0; 2];
        candidates.retain(|candidate| {
            let count = &mut kept[usize::from(candidate.second_choice)];
            *count += 1;
            *count <= MOST_OFFERS
        });
    }
    // Offers of a group share their places, unless zones differ by type.
    let by_type = is_by_type(request, placement);
    let mut places: Vec<(*const Group, Arc<[Place]>)> = Vec::new();
    let mut offers: Vec<Offer> = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        let group = std::ptr::from_ref(candidate.group);
        let known = places.iter().rev().find(|(of, _)| *of == group && !by_type);
        let found = known.map(|(_, found)| Arc::clone(found)).unwrap_or_else(|| {
            let zones = Zones {
                request,
                catalog,
                placement,
                machine: by_type.then_some((candidate.family, &candidate.size, candidate.paid)),
            };
            let found = zones.within(candidate.group);
            places.push((group, Arc::clone(&found)));
            found
        });
        offers.push(written_out(candidate, request, catalog, placement, found));
    }
    offers.sort_by(|a, b| a.preference.cmp(&b.preference));
    offers
}

fn written_out(
    candidate: &Candidate<'_>,
    request: &Request,
    catalog: &Catalog,
    placement: &Placement,
    places: Arc<[Place]>,
) -> Offer {
    let Candidate { family, size, .. } = candidate;
    let region = &candidate.group.region;
    // Prices are the same in the whole group: those of a place that can be used are shown.
    let shown = places.first().map_or(region, |place| &place.shard.region);
    let priced_as = family.prices(shown).0.clone();
    let disk = catalog.disk(candidate.disk_type);
    let disk_priced_as = disk.map_or(shown, |disk| disk.price(shown).0);
    // A machine type by name is wanted as it is: nothing of it is excess.
    let named = !request.machine_types.is_empty();
    let asked = if named {
        size.memory_mib
    } else {
        request.memory.min.0
    };
    let machine_type = candidate.machine_type();
    let paid_s = u128::from(placement.expectation.paid_s());
    let job_cost = u128::from(candidate.nano_per_hour) * paid_s / 3600;
    Offer {
        machine_type: machine_type.clone(),
        family: family.name.clone(),
        custom: size.predefined.is_none(),
        cpus: Cpus(size.cpus),
        memory: Mib(size.memory_mib),
        arch: family.arch,
        local_ssds: size.ssds,
        gpus: size.gpus.offered(),
        model: candidate.model,
        disk: OfferedDisk {
            disk_type: candidate.disk_type.clone(),
            size: candidate.disk,
            priced_as: disk_priced_as.clone(),
        },
        price: candidate.price(),
        priced_as,
        places,
        paid: candidate.paid,
        preference: Preference {
            paid: candidate.paid,
            borrowed: candidate.borrowed,
            second_choice: candidate.second_choice,
            job_cost_nano_usd: u64::try_from(job_cost).unwrap_or(u64::MAX),
            excess_memory: Mib(size.memory_mib.saturating_sub(asked)),
            excess_local_ssds: if named {
                0
            } else {
                size.ssds.count.saturating_sub(request.local_ssd)
            },
            machine_type,
            disk_type: candidate.disk_type.clone(),
            region: region.clone(),
        },
    }
}

fn consider<'a>(
    request: &Request,
    catalog: &'a Catalog,
    placement: &'a Placement,
    family: &'a Family,
    candidates: &mut Vec<Candidate<'a>>,
) -> Result<(), RuledOut> {
    let bounds = &placement.bounds;
    if !request.families.is_empty() && !request.families.contains(&family.name) {
        return Err(RuledOut::NotAsked);
    }
    let named = named(request, catalog, family);
    if !request.machine_types.is_empty() && named.is_empty() {
        return Err(RuledOut::NotAsked);
    }
    if !bounds.families.allows(family.name.as_str()) {
        return Err(RuledOut::NotAllowed);
    }
    if request.arch.is_some_and(|arch| arch != family.arch) {
        return Err(RuledOut::Arch);
    }
    if request
        .gpu
        .as_ref()
        .is_some_and(|gpu| !has_gpu(family, &gpu.kind))
    {
        return Err(RuledOut::NoGpu);
    }
    let zones = Zones {
        request,
        catalog,
        placement,
        machine: None,
    };
    let groups: Vec<&Group> = placement
        .groups(&family.name)
        .iter()
        .filter(|group| zones.reaches(group))
        .collect();
    if groups.is_empty() {
        return Err(RuledOut::NoPlace);
    }
    let models = models(request.spot, bounds);
    let sold = |model: ProvisioningModel| groups.iter().any(|g| family.prices(&g.region).1.sells(model));
    if !models.iter().any(|(model, _)| sold(*model)) {
        return Err(RuledOut::Model);
    }
    let disks = disks(request, catalog, family, bounds);
    if disks.is_empty() {
        return Err(RuledOut::DiskType);
    }
    let sizes = if request.machine_types.is_empty() {
        sizes(request, bounds, family)?
    } else {
        named_sizes(request, bounds, family, &named)?
    };
    let (before, mut is_gone) = (candidates.len(), false);
    let by_type = is_by_type(request, placement);
    let reaches = |group: &Group, size: &Size<'a>, paid| {
        let machine = Some((family, size, paid));
        Zones { machine, ..zones }.reaches(group)
    };
    for group in groups {
        for (model, second_choice) in &models {
            for size in &sizes {
                if by_type && !reaches(group, size, Paid::Full) {
                    is_gone = true;
                    continue;
                }
                for (disk_type, disk) in &disks {
                    let gib = request.disk.0.max(disk.min_gib);
                    let sum = hourly(catalog, placement, family, group, *model, size, disk, gib);
                    let Some(nano_per_hour) = sum else { continue };
                    let candidate = Candidate {
                        family,
                        size: *size,
                        model: *model,
                        second_choice: *second_choice,
                        disk_type,
                        disk: Gib(gib),
                        group,
                        paid: Paid::Full,
                        nano_per_hour,
                        borrowed: is_borrowed(catalog, family, &group.region, size, disk),
                    };
                    if !placement.prepaid.is_empty() {
                        let ways = [Paid::Reserved, Paid::Committed];
                        let ways = ways.into_iter().filter(|paid| reaches(group, size, *paid));
                        candidates.extend(ways.filter_map(|paid| candidate.paid(paid)));
                    }
                    candidates.push(candidate);
                }
            }
        }
    }
    // Sizes there are, but no price for them in that model: extended memory on Spot, for one.
    if candidates.len() == before {
        return Err(if is_gone { RuledOut::Gone } else { RuledOut::Model });
    }
    Ok(())
}

/// The models to try, and whether each is only second choice.
fn models(spot: Spot, bounds: &Bounds) -> Vec<(ProvisioningModel, bool)> {
    let wished: &[(ProvisioningModel, bool)] = match spot {
        Spot::Never => &[(ProvisioningModel::Standard, false)],
        Spot::Only => &[(ProvisioningModel::Spot, false)],
        Spot::Prefer => &[
            (ProvisioningModel::Spot, false),
            (ProvisioningModel::Standard, true),
        ],
    };
    wished
        .iter()
        .copied()
        .filter(|(model, _)| bounds.models.allows(*model))
        .collect()
}

fn disks<'a>(
    request: &Request,
    catalog: &'a Catalog,
    family: &'a Family,
    bounds: &Bounds,
) -> Vec<(&'a DiskType, &'a Disk)> {
    let allowed = family
        .boot_disks
        .iter()
        .filter(|name| bounds.disk_types.allows(name.as_str()));
    // Without a wish the family's default alone: another type would be another machine to the job.
    let wished = |at: usize, name: &DiskType| match request.disk_types.as_slice() {
        [] => at == 0,
        names => names.contains(name),
    };
    let known = allowed.enumerate().filter(|(at, name)| wished(*at, name));
    known
        .filter_map(|(_, name)| Some((name, catalog.disk(name)?)))
        .filter(|(_, disk)| request.disk.0 <= disk.max_gib)
        .collect()
}
