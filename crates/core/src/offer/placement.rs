//! Where an operator lets machines be made: projects, regions, zones, and the bounds of a queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::offered::Offered;
use super::prepaid::Prepaid;
use crate::catalog::{Catalog, Family, FamilyName};
use crate::ids::{ProjectId, Region, Shard, Zone};
use crate::request::{Allow, Bounds, Models, Policy, nearest, text::listed};
use crate::shape::ProvisioningModel;

/// A project with the places in it that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The project.
    pub project: ProjectId,
    /// Its regions, each with the zones that may be used; no zones means all of the region.
    pub regions: BTreeMap<Region, Vec<Zone>>,
}

/// A shard and the zones in it that can hold a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Project and region.
    pub shard: Shard,
    /// Zones, at least one.
    pub zones: Vec<Zone>,
}

/// How long a job is expected to hold its machine, in seconds. It weighs nothing but the price of a whole
/// job; which of two machines is cheaper does not depend on it unless a minimum charge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// From the machine's start until the job starts.
    pub boot_s: u64,
    /// The job itself.
    pub run_s: u64,
}

impl Default for Expectation {
    fn default() -> Self {
        // Boot: field measurements of 23 to 41 s. Run: a typical CI step.
        Self {
            boot_s: 35,
            run_s: 600,
        }
    }
}

impl Expectation {
    /// Seconds that are paid for: Google charges one minute at least.
    pub fn paid_s(self) -> u64 {
        (self.boot_s + self.run_s).max(60)
    }
}

/// A project names a place the catalog does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// An unknown region.
    #[error("project {project} names the unknown region {region}{}; known are {known}", hint(.nearest))]
    UnknownRegion {
        /// The project.
        project: ProjectId,
        /// The region.
        region: Region,
        /// The region that was probably meant.
        nearest: Option<String>,
        /// Regions of the catalog, for people.
        known: String,
    },
    /// A zone that its region does not have.
    #[error("project {project} names zone {zone}, which region {region} does not have; it has {known}")]
    UnknownZone {
        /// The project.
        project: ProjectId,
        /// The region.
        region: Region,
        /// The zone.
        zone: Zone,
        /// Zones of the region, for people.
        known: String,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

/// Places of a family that have equal prices.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Any region of the group; prices are looked up for it.
    pub region: Region,
    /// The places, by project and region.
    pub places: Arc<[Place]>,
}

/// What an operator lets the jobs of a queue use, matched with the catalog once.
#[derive(Clone, Debug)]
pub struct Placement {
    pub(super) bounds: Bounds,
    pub(super) tag_prefix: String,
    pub(super) external_address: bool,
    pub(super) expectation: Expectation,
    /// Regions with their zones that can be used at all.
    pub(super) served: BTreeMap<Region, Vec<Zone>>,
    families: BTreeMap<FamilyName, Vec<Group>>,
    pub(super) offered: Offered,
    pub(super) prepaid: Prepaid,
}

impl Placement {
    /// Matches an operator's projects and a queue's policy with the catalog. Prefer the same catalog in all later calls: a
    /// family that this one lacks has no places.
    ///
    /// # Errors
    /// [`PlacementError`] names the region or zone the catalog does not have.
    pub fn new(catalog: &Catalog, sites: &[Site], policy: &Policy) -> Result<Self, PlacementError> {
        let bounds = policy.bounds.clone();
        let mut served: BTreeMap<Region, Vec<Zone>> = BTreeMap::new();
        let mut usable: Vec<Place> = Vec::new();
        for site in sites {
            for (region, zones) in &site.regions {
                let mut zones = checked(catalog, &site.project, region, zones)?;
                zones.retain(|zone| bounds.zones.allows(zone.as_str()));
                if zones.is_empty() || !bounds.regions.allows(region.as_str()) {
                    continue;
                }
                let all = served.entry(region.clone()).or_default();
                all.extend(zones.iter().cloned());
                all.sort();
                all.dedup();
                let shard = Shard {
                    project: site.project.clone(),
                    region: region.clone(),
                };
                usable.push(Place { shard, zones });
            }
        }
        usable.sort();
        let families = catalog
            .families()
            .map(|f| (f.name.clone(), groups(catalog, f, &usable)))
            .collect();
        let expectation = Expectation::default();
        let tag_prefix = policy.tag_prefix.clone();
        Ok(Self {
            bounds,
            tag_prefix,
            external_address: false,
            expectation,
            served,
            families,
            offered: Offered::default(),
            prepaid: Prepaid::default(),
        })
    }

    /// Machines get an external address, which costs and counts against a quota.
    #[must_use]
    pub fn with_external_address(self, external_address: bool) -> Self {
        Self {
            external_address,
            ..self
        }
    }

    /// Jobs are expected to take so long.
    #[must_use]
    pub fn with_expectation(self, expectation: Expectation) -> Self {
        Self { expectation, ..self }
    }

    /// What is paid for already costs nothing more.
    #[must_use]
    pub fn with_prepaid(self, prepaid: Prepaid) -> Self {
        Self { prepaid, ..self }
    }

    /// Zones that do not list a machine type are left out for it.
    #[must_use]
    pub fn with_offered(self, offered: Offered) -> Self {
        Self { offered, ..self }
    }

    /// The same places without the operator's bounds on machines, to tell what the bounds exclude.
    pub(super) fn unbounded(&self) -> Self {
        let free = Bounds {
            families: Allow::Any,
            machine_types: Allow::Any,
            models: Models::Any,
            ..self.bounds.clone()
        };
        Self {
            bounds: free,
            ..self.clone()
        }
    }

    /// What was learned of zones.
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Regions in use where families have no prices of their own, with these families, for people.
    pub fn unpriced(&self, catalog: &Catalog) -> Vec<(Region, String)> {
        let unpriced = |region: &Region| {
            let here = catalog.families().filter(|family| {
                family.zones.contains_key(region)
                    && self.bounds.families.allows(family.name.as_str())
                    && family.prices(region).0 != region
            });
            let names: Vec<&FamilyName> = here.map(|family| &family.name).collect();
            (!names.is_empty()).then(|| (region.clone(), listed(names)))
        };
        self.served.keys().filter_map(unpriced).collect()
    }

    /// The bounds of the queue.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn groups(&self, family: &FamilyName) -> &[Group] {
        self.families.get(family).map_or(&[], Vec::as_slice)
    }
}

fn checked(
    catalog: &Catalog,
    project: &ProjectId,
    region: &Region,
    zones: &[Zone],
) -> Result<Vec<Zone>, PlacementError> {
    let Some(known) = catalog.regions().get(region) else {
        let names = || catalog.regions().keys().map(Region::as_str);
        return Err(PlacementError::UnknownRegion {
            project: project.clone(),
            region: region.clone(),
            nearest: nearest::name(region.as_str(), names()).map(str::to_owned),
            known: listed(names()),
        });
    };
    if let Some(zone) = zones.iter().find(|zone| !known.contains(zone)) {
        return Err(PlacementError::UnknownZone {
            project: project.clone(),
            region: region.clone(),
            zone: zone.clone(),
            known: listed(known),
        });
    }
    Ok(if zones.is_empty() {
        known.clone()
    } else {
        zones.to_vec()
    })
}

/// The usable places that have a family, those with equal prices together.
fn groups(catalog: &Catalog, family: &Family, usable: &[Place]) -> Vec<Group> {
    let mut by_price: Vec<(&Region, Vec<Place>)> = Vec::new();
    for place in usable {
        let region = &place.shard.region;
        let Some(has) = family.zones.get(region) else {
            continue;
        };
        let zones: Vec<Zone> = place
            .zones
            .iter()
            .filter(|zone| has.contains(zone))
            .cloned()
            .collect();
        if zones.is_empty() {
            continue;
        }
        let place = Place {
            shard: place.shard.clone(),
            zones,
        };
        match by_price
            .iter_mut()
            .find(|(of, _)| same_prices(catalog, family, of, region))
        {
            Some((_, places)) => places.push(place),
            None => by_price.push((region, vec![place])),
        }
    }
    let group = |(region, places): (&Region, Vec<Place>)| Group {
        region: region.clone(),
        places: places.into(),
    };
    by_price.into_iter().map(group).collect()
}

/// Whether any machine of the family costs the same in both regions, and its price is known as well.
fn same_prices(catalog: &Catalog, family: &Family, one: &Region, other: &Region) -> bool {
    let ((a, one_list), (b, other_list)) = (family.prices(one), family.prices(other));
    let own = |list: &Region, region: &Region| list == region;
    let mut disks = family.boot_disks.iter().filter_map(|d| catalog.disk(d));
    let mut gpus = family
        .attach_gpus
        .keys()
        .filter_map(|kind| catalog.gpu(kind.as_str()));
    let models = [ProvisioningModel::Standard, ProvisioningModel::Spot];
    one == other
        || (own(a, one) == own(b, other)
            && one_list.same_prices(other_list)
            && disks.all(|d| {
                let ((a, first), (b, second)) = (d.price(one), d.price(other));
                own(a, one) == own(b, other) && first == second
            })
            && gpus.all(|gpu| {
                gpu.is_priced(one) == gpu.is_priced(other)
                    && models.iter().all(|m| gpu.price(one, *m) == gpu.price(other, *m))
            }))
}
