//! Matching a request with the catalog: every family is considered, and one that has nothing says why.

use std::sync::Arc;

use super::placement::{Group, Place, Placement};
use super::types::{LocalSsds, Offer, OfferedDisk, Preference};
use crate::catalog::{Catalog, Disk, DiskType, Family, FamilyName, HOURS_PER_MONTH, LocalSsd, Predefined};
use crate::ids::{MachineTypeName, Zone};
use crate::request::{Backend, Bounds, Cpus, Gib, Mib, Request, Spot};
use crate::shape::{Price, ProvisioningModel};

/// More offers than anybody tries; a wide range of sizes could make thousands.
const MOST_OFFERS: usize = 256;

/// Why a family has nothing for a request. The later in this list, the closer it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuledOut {
    /// The request names other families or machine types.
    NotAsked,
    /// The operator's bounds exclude it.
    NotAllowed,
    /// Another architecture was asked for.
    Arch,
    /// None of the usable places has it.
    NoPlace,
    /// It is not sold in the model asked for.
    Model,
    /// It takes none of the boot disk types asked for, or not of that size.
    DiskType,
    /// It has no local SSD.
    NoLocalSsd,
    /// The named machine type shares a core.
    SharedCore,
    /// It has no type with the vCPUs asked for.
    Cpu,
    /// It has the vCPUs, but never with that memory.
    Memory,
    /// It has the size, but not with so many local SSDs.
    LocalSsdCount,
}

/// A size of a family that satisfies a request.
#[derive(Clone, Copy, Debug)]
struct Size<'a> {
    /// `None` for a custom type.
    predefined: Option<&'a Predefined>,
    cpus: u32,
    memory_mib: u64,
    ssds: LocalSsds,
}

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

    pub fn price(&self) -> Price {
        Price((self.nano_per_hour + 500) / 1000)
    }

    pub fn disk_type(&self) -> &DiskType {
        self.disk_type
    }

    pub fn machine_type(&self) -> MachineTypeName {
        name_of(self.family, &self.size)
    }

    /// Ranks as [`Preference`] does, without writing names.
    pub fn rank(&self) -> impl Ord + '_ {
        let size = &self.size;
        (
            (self.second_choice, self.nano_per_hour, size.memory_mib, size.ssds.count),
            (size.predefined.is_none(), &self.family.name, size.cpus, self.disk_type, &self.group.region),
        )
    }
}

/// Every family's answer.
pub(super) struct Survey<'a> {
    pub candidates: Vec<Candidate<'a>>,
    pub ruled_out: Vec<(&'a FamilyName, RuledOut)>,
}

pub(super) fn survey<'a>(request: &Request, catalog: &'a Catalog, placement: &'a Placement) -> Survey<'a> {
    let mut survey = Survey { candidates: Vec::new(), ruled_out: Vec::new() };
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
    let has_zone = |zone: &Zone| catalog.regions().get(&zone.region()).is_some_and(|all| all.contains(zone));
    request.families.iter().all(|name| catalog.family(name.as_str()).is_some())
        && request.machine_types.iter().all(|name| catalog.machine_type(name).is_some())
        && request.disk_types.iter().all(|name| catalog.disk(name).is_some())
        && request.regions.iter().all(|name| catalog.regions().contains_key(name))
        && request.zones.iter().all(has_zone)
}

/// All offers for a request, best first; empty if nothing fits.
pub(super) fn ranked(request: &Request, catalog: &Catalog, placement: &Placement) -> Vec<Offer> {
    let mut candidates = survey(request, catalog, placement).candidates;
    if candidates.len() > MOST_OFFERS {
        candidates.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        candidates.truncate(MOST_OFFERS);
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

fn written_out(candidate: &Candidate<'_>, request: &Request, placement: &Placement, places: Arc<[Place]>) -> Offer {
    let Candidate { family, size, .. } = candidate;
    let region = &candidate.group.region;
    let priced_as = family.prices(region).0.clone();
    // A machine type by name is wanted as it is: nothing of it is excess.
    let asked = if request.machine_types.is_empty() { request.memory.min.0 } else { size.memory_mib };
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
        disk: OfferedDisk { disk_type: candidate.disk_type.clone(), size: candidate.disk },
        price: candidate.price(),
        priced_as,
        places,
        preference: Preference {
            second_choice: candidate.second_choice,
            job_cost_nano_usd: u64::try_from(job_cost).unwrap_or(u64::MAX),
            excess_memory: Mib(size.memory_mib.saturating_sub(asked)),
            excess_local_ssds: size.ssds.count.saturating_sub(request.local_ssd),
            machine_type,
            disk_type: candidate.disk_type.clone(),
            region: region.clone(),
        },
    }
}

fn name_of(family: &Family, size: &Size<'_>) -> MachineTypeName {
    match (size.predefined, &family.custom) {
        (Some(predefined), _) => predefined.name.clone(),
        (None, Some(rule)) => rule.name(size.cpus, size.memory_mib),
        (None, None) => unreachable!("only a custom rule makes a size without a predefined type"),
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
    let groups: Vec<&Group> =
        placement.groups(&family.name).iter().filter(|group| reaches(request, group)).collect();
    if groups.is_empty() {
        return Err(RuledOut::NoPlace);
    }
    let models = models(request.spot, bounds);
    let sold = |model: ProvisioningModel| {
        groups.iter().any(|g| family.prices(&g.region).1.rate(false, model).is_some())
    };
    if !models.iter().any(|(model, _)| sold(*model)) {
        return Err(RuledOut::Model);
    }
    let disks = disks(request, catalog, family);
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
#[expect(clippy::too_many_arguments, reason = "a sum of independent parts, called in one place")]
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
    let machine = prices.rate(size.predefined.is_none(), model)?.of(size.cpus, size.memory_mib);
    let ssd = match size.ssds.count {
        0 => 0,
        count => prices.local_ssd(model)?.0 * catalog.local_ssd_gib() * u64::from(count) / HOURS_PER_MONTH,
    };
    let disk = disk.price(&group.region).1.0 * disk_gib / HOURS_PER_MONTH;
    let address = if placement.external_address { catalog.address_price(model).0 } else { 0 };
    Some(machine + ssd + disk + address)
}

/// The models to try, and whether each is only second choice.
fn models(spot: Spot, bounds: &Bounds) -> Vec<(ProvisioningModel, bool)> {
    let wished: &[(ProvisioningModel, bool)] = match spot {
        Spot::Never => &[(ProvisioningModel::Standard, false)],
        Spot::Only => &[(ProvisioningModel::Spot, false)],
        Spot::Prefer => &[(ProvisioningModel::Spot, false), (ProvisioningModel::Standard, true)],
    };
    wished.iter().copied().filter(|(model, _)| bounds.models.allows(*model)).collect()
}

fn disks<'a>(request: &Request, catalog: &'a Catalog, family: &'a Family) -> Vec<(&'a DiskType, &'a Disk)> {
    // Without a wish the family's default alone: another type would be another machine to the job.
    let wished = |at: usize, name: &DiskType| match request.disk_types.as_slice() {
        [] => at == 0,
        names => names.contains(name),
    };
    let known = family.boot_disks.iter().enumerate().filter(|(at, name)| wished(*at, name));
    known
        .filter_map(|(_, name)| Some((name, catalog.disk(name)?)))
        .filter(|(_, disk)| request.disk.0 <= disk.max_gib)
        .collect()
}

/// Whether any place of the group is one the request takes.
fn reaches(request: &Request, group: &Group) -> bool {
    group.places.iter().any(|place| usable(request, place).next().is_some())
}

fn usable<'a>(request: &'a Request, place: &'a Place) -> impl Iterator<Item = &'a Zone> {
    let region = request.regions.is_empty() || request.regions.contains(&place.shard.region);
    place.zones.iter().filter(move |zone| region && (request.zones.is_empty() || request.zones.contains(zone)))
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

/// The machine types of this family that the request names.
fn named<'a>(request: &Request, catalog: &'a Catalog, family: &Family) -> Vec<Size<'a>> {
    let found = request.machine_types.iter().filter_map(|name| catalog.machine_type(name));
    found
        .filter(|f| f.family.name == family.name)
        .map(|f| {
            let ssds = f.predefined.map_or(0, |p| p.bundled_ssds);
            let ssds = LocalSsds { count: ssds, attach: 0 };
            Size { predefined: f.predefined, cpus: f.cpus, memory_mib: f.memory_mib, ssds }
        })
        .collect()
}

fn named_sizes<'a>(
    request: &Request,
    bounds: &Bounds,
    family: &'a Family,
    named: &[Size<'a>],
) -> Result<Vec<Size<'a>>, RuledOut> {
    let mut closest = RuledOut::NotAllowed;
    let mut fitting = Vec::new();
    for size in named {
        match fit(request, bounds, family, *size) {
            Ok(size) => fitting.push(size),
            Err(why) => closest = closest.max(why),
        }
    }
    if fitting.is_empty() { Err(closest) } else { Ok(fitting) }
}

/// One size against the request, with the local SSDs it would have.
fn fit<'a>(request: &Request, bounds: &Bounds, family: &Family, size: Size<'a>) -> Result<Size<'a>, RuledOut> {
    if !bounds.machine_types.allows(name_of(family, &size).as_str()) {
        return Err(RuledOut::NotAllowed);
    }
    if size.predefined.is_some_and(|p| p.shared_core) {
        return Err(RuledOut::SharedCore);
    }
    if !request.cpu.contains(Cpus(size.cpus)) {
        return Err(RuledOut::Cpu);
    }
    if !request.memory.contains(Mib(size.memory_mib)) {
        return Err(RuledOut::Memory);
    }
    let ssds = local_ssds(request.local_ssd, family, &size)?;
    Ok(Size { ssds, ..size })
}

/// The local SSDs a machine of this size gets when at least `asked` are wanted.
fn local_ssds(asked: u32, family: &Family, size: &Size<'_>) -> Result<LocalSsds, RuledOut> {
    if size.ssds.count > 0 {
        return if size.ssds.count >= asked { Ok(size.ssds) } else { Err(RuledOut::LocalSsdCount) };
    }
    match (&family.local_ssd, asked) {
        (_, 0) => Ok(LocalSsds::default()),
        (LocalSsd::None, _) => Err(RuledOut::NoLocalSsd),
        // The types of such a family that lack them never get any.
        (LocalSsd::Bundled, _) => Err(RuledOut::LocalSsdCount),
        (LocalSsd::Attached(rules), asked) => {
            let count = rules.counts(size.cpus).iter().copied().find(|count| *count >= asked);
            count.map(|count| LocalSsds { count, attach: count }).ok_or(RuledOut::LocalSsdCount)
        }
    }
}

/// For each vCPU count asked for: the smallest predefined type with enough memory, and the smallest custom
/// one unless it would be no smaller.
fn sizes<'a>(request: &Request, bounds: &Bounds, family: &'a Family) -> Result<Vec<Size<'a>>, RuledOut> {
    if request.local_ssd > 0 && family.local_ssd == LocalSsd::None {
        return Err(RuledOut::NoLocalSsd);
    }
    let (min, max) = (request.cpu.min.0, request.cpu.max.map_or(u32::MAX, |max| max.0));
    let mut closest = RuledOut::Cpu;
    let mut found: Vec<Size<'a>> = Vec::new();
    for predefined in family.types_between(min, max) {
        // Types with local SSD are for those who ask for it, and for no one else. Shares of a core are for no one.
        if predefined.shared_core || (predefined.bundled_ssds > 0 && request.local_ssd == 0) {
            continue;
        }
        let Predefined { cpus, memory_mib, bundled_ssds, .. } = *predefined;
        if found.last().is_some_and(|size| size.cpus == cpus) {
            continue;
        }
        let ssds = LocalSsds { count: bundled_ssds, attach: 0 };
        match fit(request, bounds, family, Size { predefined: Some(predefined), cpus, memory_mib, ssds }) {
            Ok(size) => found.push(size),
            Err(why) => closest = closest.max(why),
        }
    }
    let predefined = found.len();
    // A family whose local SSD comes with predefined types has no custom types that could have any.
    if let Some(rule) = &family.custom {
        let counts = rule.cpus();
        let counts = counts.get(counts.partition_point(|c| *c < min)..counts.partition_point(|c| *c <= max));
        for cpus in counts.unwrap_or(&[]).iter().copied() {
            let Some(memory_mib) = rule.least_memory(cpus, request.memory.min.0) else {
                closest = closest.max(RuledOut::Memory);
                continue;
            };
            let smaller_exists = found.get(..predefined).unwrap_or(&[]).iter();
            if smaller_exists.clone().any(|size| size.cpus == cpus && size.memory_mib <= memory_mib) {
                continue;
            }
            let size = Size { predefined: None, cpus, memory_mib, ssds: LocalSsds::default() };
            match fit(request, bounds, family, size) {
                Ok(size) => found.push(size),
                Err(why) => closest = closest.max(why),
            }
        }
    }
    if found.is_empty() { Err(closest) } else { Ok(found) }
}

/// The most memory any machine of a candidate's family with its vCPUs has, in MiB.
pub(super) fn most_memory(candidate: &Candidate<'_>) -> u64 {
    let (family, cpus) = (candidate.family, candidate.size.cpus);
    let predefined = family.types_between(cpus, cpus).iter().filter(|t| !t.shared_core).map(|t| t.memory_mib).max();
    let custom = family.custom.as_ref().filter(|rule| rule.has_cpus(cpus)).map(|rule| rule.most_memory(cpus));
    predefined.max(custom).unwrap_or(0)
}
