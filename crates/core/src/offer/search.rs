//! Matching a request with the catalog: every family is considered, and one that has nothing says why.

use std::sync::Arc;

use super::placement::{Group, Place, Placement};
use super::prepaid::Paid;
use super::size::{RuledOut, Size, SizeGpus, has_gpu, most_memory, name_of, named, named_sizes, sizes};
use super::types::{Offer, OfferedDisk, Preference};
use crate::catalog::{Catalog, Disk, DiskType, Family, FamilyName, HOURS_PER_MONTH, PriceList};
use crate::ids::{MachineTypeName, Shard, Zone};
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
    paid: Paid,
    nano_per_hour: u64,
}

impl<'a> Candidate<'a> {
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

    /// The same machine where it is paid for already. It is never second choice: who would rather have Spot for its price
    /// gets a machine that costs less and stays.
    fn paid(&self, paid: Paid) -> Option<Self> {
        let size = &self.size;
        let attached = size.ssds.attach > 0 || matches!(size.gpus, SizeGpus::Attached(..));
        if self.model != ProvisioningModel::Standard || (paid == Paid::Reserved && attached) {
            return None;
        }
        let (_, prices) = self.family.prices(&self.group.region);
        let whole = size.predefined.and_then(|p| prices.whole(&p.name, self.model));
        let rate = |custom| prices.rate(custom, self.model);
        let saved = match (paid, whole) {
            (Paid::Full, _) => return None,
            (Paid::Reserved, Some(whole)) => whole?.0,
            (Paid::Reserved, None) => rate(size.predefined.is_none())?.of(size.cpus, size.memory_mib),
            // The premium of custom types and extended memory are paid all the same.
            (Paid::Committed, None) => {
                let regular = self.regular_memory();
                rate(false)?.of(size.cpus, size.memory_mib.min(regular))
            }
            (Paid::Committed, Some(_)) => return None,
        };
        Some(Self {
            paid,
            second_choice: false,
            nano_per_hour: self.nano_per_hour.saturating_sub(saved),
            ..self.clone()
        })
    }

    fn regular_memory(&self) -> u64 {
        match (self.size.predefined, &self.family.custom) {
            (None, Some(rule)) => rule.most_regular_memory(self.size.cpus),
            _ => u64::MAX,
        }
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
                self.paid,
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
        gpus: size.gpus.offered(),
        model: candidate.model,
        disk: OfferedDisk {
            disk_type: candidate.disk_type.clone(),
            size: candidate.disk,
        },
        price: candidate.price(),
        priced_as,
        places,
        paid: candidate.paid,
        preference: Preference {
            paid: candidate.paid,
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
    let whole = size.predefined.and_then(|p| prices.whole(&p.name, model));
    let machine = match whole {
        Some(price) => price?.0,
        None => parts(catalog, family, prices, model, size)?,
    };
    let gpus = match size.gpus {
        SizeGpus::Attached(kind, count) => {
            catalog.gpu(kind.as_str())?.price(&group.region, model)?.0 * u64::from(count)
        }
        SizeGpus::None | SizeGpus::Bundled(_) => 0,
    };
    let disk = disk.price(&group.region).1.0 * disk_gib / HOURS_PER_MONTH;
    let address = if placement.external_address {
        catalog.address_price(model).0
    } else {
        0
    };
    Some(machine + gpus + disk + address)
}

/// Price per hour of a machine that is the sum of its vCPUs, memory and local SSD.
fn parts(
    catalog: &Catalog,
    family: &Family,
    prices: &PriceList,
    model: ProvisioningModel,
    size: &Size<'_>,
) -> Option<u64> {
    let rate = prices.rate(size.predefined.is_none(), model)?;
    let most = match (size.predefined, &family.custom) {
        (None, Some(rule)) => rule.most_regular_memory(size.cpus),
        _ => u64::MAX,
    };
    let extended = match size.memory_mib.saturating_sub(most) {
        0 => 0,
        mib => prices.extended(model)?.0 * mib / 1024,
    };
    let ssd = match size.ssds.count {
        0 => 0,
        count => prices.local_ssd(model)?.0 * catalog.local_ssd_gib() * u64::from(count) / HOURS_PER_MONTH,
    };
    Some(rate.of(size.cpus, size.memory_mib.min(most)) + extended + ssd)
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

/// Whether places differ by machine type, and not only by what the request names.
fn is_by_type(request: &Request, placement: &Placement) -> bool {
    !placement.offered.is_empty() || !placement.prepaid.is_empty() || request.gpu.is_some()
}

/// Which zones of a place a request can use.
#[derive(Clone, Copy)]
struct Zones<'a> {
    request: &'a Request,
    catalog: &'a Catalog,
    placement: &'a Placement,
    /// The machine they must have; without one, zones are looked at for what the request names alone.
    machine: Option<(&'a Family, &'a Size<'a>, Paid)>,
}

impl Zones<'_> {
    /// Whether any place of the group has one.
    fn reaches(&self, group: &Group) -> bool {
        group
            .places
            .iter()
            .any(|place| self.usable(place).next().is_some())
    }

    fn usable<'p>(&'p self, place: &'p Place) -> impl Iterator<Item = &'p Zone> {
        let Request { regions, zones, .. } = self.request;
        let region = regions.is_empty() || regions.contains(&place.shard.region);
        place.zones.iter().filter(move |zone| {
            region && (zones.is_empty() || zones.contains(zone)) && self.has_machine(&place.shard, zone)
        })
    }

    fn has_machine(&self, shard: &Shard, zone: &Zone) -> bool {
        let Some((family, size, paid)) = self.machine else {
            return true;
        };
        let has_gpu = match size.gpus {
            SizeGpus::Attached(kind, _) => self
                .catalog
                .gpu(kind.as_str())
                .is_some_and(|gpu| gpu.zones.contains(zone)),
            SizeGpus::None | SizeGpus::Bundled(_) => true,
        };
        let is_paid = paid == Paid::Full
            || self
                .placement
                .prepaid
                .has(shard, zone, paid, &family.name, &name_of(family, size));
        has_gpu && is_paid && self.placement.offered.has(zone, family, size)
    }

    fn within(&self, group: &Group) -> Arc<[Place]> {
        let Request { regions, zones, .. } = self.request;
        if regions.is_empty() && zones.is_empty() && self.machine.is_none() {
            return Arc::clone(&group.places);
        }
        let places = group.places.iter().map(|place| Place {
            shard: place.shard.clone(),
            zones: self.usable(place).cloned().collect(),
        });
        places.filter(|place| !place.zones.is_empty()).collect()
    }
}
