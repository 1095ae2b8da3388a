//! Matching a request with the catalog: every family is considered, and one that has nothing says why.

use std::sync::Arc;

use super::placement::{Group, Place, Placement};
use super::size::{RuledOut, Size, most_memory, name_of, named, named_sizes, sizes};
use super::types::{Offer, OfferedDisk, Preference};
use crate::catalog::{Catalog, Disk, DiskType, Family, FamilyName, HOURS_PER_MONTH};
use crate::ids::{MachineTypeName, Zone};
use crate::request::{Backend, Bounds, Cpus, Gib, Mib, Request, Spot};
use crate::shape::{Price, ProvisioningModel};

/// More offers than anybody tries, of first and of second choice each; a wide range of sizes could make
/// thousands.
const MOST_OFFERS: usize = 64;

/// An offer before it is written out.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub family: &'a Family,
    size: Size<'a>,
    model: ProvisioningModel,
    second_choice: bool,
    disk_type: &'a DiskType,
    disk: Gib,
    group: &'a Group,
    nano_per_hour: u64,
}

impl Candidate<'_> {
    pub fn cpus(&self) -> Cpus {
        Cpus(self.size.cpus)
    }

    /// The most memory to be had with its family and vCPUs, in MiB.
    pub fn most_memory(&self) -> u64 {
        most_memory(self.family, self.size.cpus)
    }

    pub fn price(&self) -> Price {
        Price((self.nano_per_hour + 500) / 1000)
    }

    pub fn disk_type(&self) -> &DiskType {
        self.disk_type
    }

    pub fn model(&self) -> ProvisioningModel {
        self.model
    }

    pub fn machine_type(&self) -> MachineTypeName {
        name_of(self.family, &self.size)
    }

    /// Ranks as [`Preference`] does, without writing names.
    pub fn rank(&self) -> impl Ord + '_ {
        let size = &self.size;
        (
            (
                self.second_choice,
                self.nano_per_hour,
                size.memory_mib,
                size.ssds.count,
            ),
            (
                size.predefined.is_none(),
                &self.family.name,
                size.cpus,
                self.disk_type,
                &self.group.region,
            ),
        )
    }
}

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
    // Machines of other backends, and accelerators, are not in the catalog.
    // A mistyped name beside a right one must not go unnoticed either.
    if request.backend != Backend::Gce || request.gpu.is_some() || !all_known(request, catalog) {
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
    // Offers of a group share their places.
    let mut places: Vec<(*const Group, Arc<[Place]>)> = Vec::new();
    let mut offers: Vec<Offer> = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        let group = std::ptr::from_ref(candidate.group);
        let known = places.iter().rev().find(|(of, _)| *of == group);
        let found = known.map(|(_, found)| Arc::clone(found)).unwrap_or_else(|| {
            let found = within(request, candidate.group);
            places.push((group, Arc::clone(&found)));
            found
        });
        offers.push(written_out(candidate, request, placement, found));
    }
    offers.sort_by(|a, b| a.preference.cmp(&b.preference));
    offers
}

fn written_out(
    candidate: &Candidate<'_>,
    request: &Request,
    placement: &Placement,
    places: Arc<[Place]>,
) -> Offer {
    let Candidate { family, size, .. } = candidate;
    let region = &candidate.group.region;
    let priced_as = family.prices(region).0.clone();
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
        model: candidate.model,
        disk: OfferedDisk {
            disk_type: candidate.disk_type.clone(),
            size: candidate.disk,
        },
        price: candidate.price(),
        priced_as,
        places,
        preference: Preference {
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
    let groups: Vec<&Group> = placement
        .groups(&family.name)
        .iter()
        .filter(|group| reaches(request, group))
        .collect();
    if groups.is_empty() {
        return Err(RuledOut::NoPlace);
    }
    let models = models(request.spot, bounds);
    let sold = |model: ProvisioningModel| {
        groups
            .iter()
            .any(|g| family.prices(&g.region).1.rate(false, model).is_some())
    };
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
    for group in groups {
        for (model, second_choice) in &models {
            for size in &sizes {
                for (disk_type, disk) in &disks {
                    let gib = request.disk.0.max(disk.min_gib);
                    let sum = hourly(catalog, placement, family, group, *model, size, disk, gib);
                    let Some(nano_per_hour) = sum else { continue };
                    candidates.push(Candidate {
                        family,
                        size: *size,
                        model: *model,
                        second_choice: *second_choice,
                        disk_type,
                        disk: Gib(gib),
                        group,
                        nano_per_hour,
                    });
                }
            }
        }
    }
    Ok(())
}

/// Price per hour in billionths of a dollar; `None` if it is not sold so.
#[expect(
    clippy::too_many_arguments,
    reason = "a sum of independent parts, called in one place"
)]
fn hourly(
    catalog: &Catalog,
    placement: &Placement,
    family: &Family,
    group: &Group,
    model: ProvisioningModel,
    size: &Size<'_>,
    disk: &Disk,
    disk_gib: u64,
) -> Option<u64> {
    let (_, prices) = family.prices(&group.region);
    let machine = prices
        .rate(size.predefined.is_none(), model)?
        .of(size.cpus, size.memory_mib);
    let ssd = match size.ssds.count {
        0 => 0,
        count => prices.local_ssd(model)?.0 * catalog.local_ssd_gib() * u64::from(count) / HOURS_PER_MONTH,
    };
    let disk = disk.price(&group.region).1.0 * disk_gib / HOURS_PER_MONTH;
    let address = if placement.external_address {
        catalog.address_price(model).0
    } else {
        0
    };
    Some(machine + ssd + disk + address)
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

/// Whether any place of the group is one the request takes.
fn reaches(request: &Request, group: &Group) -> bool {
    group
        .places
        .iter()
        .any(|place| usable(request, place).next().is_some())
}

fn usable<'a>(request: &'a Request, place: &'a Place) -> impl Iterator<Item = &'a Zone> {
    let region = request.regions.is_empty() || request.regions.contains(&place.shard.region);
    place
        .zones
        .iter()
        .filter(move |zone| region && (request.zones.is_empty() || request.zones.contains(zone)))
}

fn within(request: &Request, group: &Group) -> Arc<[Place]> {
    if request.regions.is_empty() && request.zones.is_empty() {
        return Arc::clone(&group.places);
    }
    let places = group.places.iter().map(|place| Place {
        shard: place.shard.clone(),
        zones: usable(request, place).cloned().collect(),
    });
    places.filter(|place| !place.zones.is_empty()).collect()
}
