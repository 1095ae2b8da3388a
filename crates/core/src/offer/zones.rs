//! Which zones of the places a request can use.

use std::sync::Arc;

use super::placement::{Group, Place, Placement};
use super::prepaid::Paid;
use super::size::{Size, SizeGpus, name_of};
use crate::catalog::{Catalog, Family};
use crate::ids::{Shard, Zone};
use crate::request::Request;

/// Whether places differ by machine type, and not only by what the request names.
pub(super) fn is_by_type(request: &Request, placement: &Placement) -> bool {
    !placement.offered.is_empty() || !placement.prepaid.is_empty() || request.gpu.is_some()
}

/// Which zones of a place a request can use.
#[derive(Clone, Copy)]
pub(super) struct Zones<'a> {
    pub request: &'a Request,
    pub catalog: &'a Catalog,
    pub placement: &'a Placement,
    /// The machine they must have; without one, zones are looked at for what the request names alone.
    pub machine: Option<(&'a Family, &'a Size<'a>, Paid)>,
}

impl Zones<'_> {
    /// Whether any place of the group has one.
    pub fn reaches(&self, group: &Group) -> bool {
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

    pub fn within(&self, group: &Group) -> Arc<[Place]> {
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
