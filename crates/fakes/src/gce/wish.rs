//! What a bulk request wants: its machines by name, the zones and the shapes that it may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::{check_hostname, check_name, is_name};
use super::error::ApiError;
use super::instance::Shape;
use super::model::{Model, Place};
use super::spec::{Bulk, LocationPolicy, Names, TargetShape};

/// Most machines of one bulk request.
const BULK_MAX: u64 = 5_000;

/// A zone a request may use.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub zone: Arc<str>,
    /// How many more of the request's machines it may take; `None` for any number.
    pub left: Option<u64>,
}

/// A machine's name and, if one was given, its hostname.
pub(super) type Named = (Arc<str>, Option<String>);

/// A request ready for placement.
pub(super) struct Wish {
    pub project: usize,
    pub region: Arc<str>,
    pub names: Vec<Named>,
    pub rooms: Vec<Room>,
    /// In order of preference.
    pub shapes: Vec<Arc<Shape>>,
    pub spread: TargetShape,
}

impl Model {
    /// Judges a bulk request and lays it out for placement.
    pub(super) fn bulk_wish(
        &mut self,
        project: usize,
        place: Place<'_>,
        bulk: &Bulk,
    ) -> Result<Wish, ApiError> {
        const FIELD: &str = "resource.instanceProperties";
        if bulk.count == 0 || bulk.count > BULK_MAX {
            let why = format!("Must be between 1 and {BULK_MAX}.");
            return Err(ApiError::field("resource.count", &bulk.count.to_string(), &why));
        }
        if let Some(least) = bulk.min_count.filter(|least| *least == 0 || *least > bulk.count) {
            return Err(ApiError::field(
                "resource.minCount",
                &least.to_string(),
                "Must be between 1 and count.",
            ));
        }
        let rooms = self.rooms(place, bulk)?;
        let region: Arc<str> = place.region().into();
        let mut shapes = Vec::new();
        if bulk.flexibility.is_empty() {
            if bulk.template.machine_type.contains('/') {
                // It only fails inside: any type of the region will do for the shape that never comes to be.
                shapes.push(Arc::new(
                    self.judge(project, &region, FIELD)
                        .shape("e2-standard-2", &bulk.template)?,
                ));
            } else {
                let shape = self
                    .judge(project, &region, FIELD)
                    .shape(&bulk.template.machine_type, &bulk.template)?;
                shapes.push(Arc::new(shape));
            }
        } else if matches!(place, Place::Zone(_)) {
            return Err(ApiError::field(
                "resource.instanceFlexibilityPolicy",
                "",
                "Only regional requests take it.",
            ));
        }
        let mut selections: Vec<_> = bulk.flexibility.iter().collect();
        selections.sort_by_key(|selection| selection.rank);
        for selection in selections {
            let mut template = bulk.template.clone();
            if let Some(disks) = &selection.disks {
                template.disks.clone_from(disks);
            }
            for name in &selection.machine_types {
                shapes.push(Arc::new(
                    self.judge(project, &region, FIELD).shape(name, &template)?,
                ));
            }
        }
        if shapes.is_empty() {
            return Err(ApiError::required("resource.instanceProperties.machineType"));
        }
        let offered = |shape: &Arc<Shape>| {
            rooms
                .iter()
                .any(|room| self.catalog.offers(&room.zone, &shape.machine.family))
        };
        if !shapes.iter().any(offered) {
            self.check_offered(&rooms[0].zone, &shapes[0], FIELD)?;
        }
        let names = self.bulk_names(project, &rooms, bulk)?;
        Ok(Wish {
            project,
            region,
            names,
            rooms,
            shapes,
            spread: bulk.policy.shape,
        })
    }

    fn bulk_names(&self, project: usize, rooms: &[Room], bulk: &Bulk) -> Result<Vec<Named>, ApiError> {
        match &bulk.names {
            Names::Missing => Err(ApiError::invalid(
                "One of 'resource.namePattern' or 'resource.perInstanceProperties' must be specified.",
            )),
            Names::Both => Err(ApiError::invalid(
                "Only one of 'resource.namePattern' and 'resource.perInstanceProperties' can be specified.",
            )),
            Names::Pattern(pattern) => {
                let taken = rooms.iter().flat_map(|room| {
                    let first = (project, room.zone.clone(), Arc::from(""));
                    let mine = self.names.range(first..).map(|(key, _)| key);
                    mine.take_while(|(of, zone, _)| *of == project && *zone == room.zone)
                        .map(|(_, _, name)| &**name)
                });
                let names = names_of_pattern(pattern, bulk.count, taken)?;
                Ok(names.into_iter().map(|name| (name, None)).collect())
            }
            Names::Each(each) => {
                let field = "resource.perInstanceProperties";
                if each.len() as u64 != bulk.count {
                    let why = format!("Must have exactly 'count' ({}) entries.", bulk.count);
                    return Err(ApiError::field(field, &each.len().to_string(), &why));
                }
                for (name, hostname) in each {
                    check_name(field, name)?;
                    check_hostname(&format!("{field}[{name}].hostname"), hostname.as_deref())?;
                }
                Ok(each
                    .iter()
                    .map(|(name, hostname)| (name.as_str().into(), hostname.clone()))
                    .collect())
            }
        }
    }

    /// The zones that the request may use.
    fn rooms(&self, place: Place<'_>, bulk: &Bulk) -> Result<Vec<Room>, ApiError> {
        if let Place::Zone(zone) = place {
            if bulk.policy != LocationPolicy::default() {
                return Err(ApiError::field(
                    "resource.locationPolicy",
                    "",
                    "Only regional requests take it.",
                ));
            }
            return Ok(vec![Room {
                zone: zone.into(),
                left: None,
            }]);
        }
        let zones = self.zones_of(place.region());
        let named: BTreeSet<&str> = bulk
            .policy
            .locations
            .keys()
            .chain(&bulk.policy.zones)
            .map(String::as_str)
            .collect();
        if let Some(unknown) = named
            .iter()
            .find(|name| !zones.iter().any(|zone| **zone == ***name))
        {
            let why = format!("The zone is not in region '{}'.", place.region());
            return Err(ApiError::field(
                "resource.locationPolicy.locations",
                unknown,
                &why,
            ));
        }
        let rooms: Vec<Room> = zones
            .into_iter()
            .filter(|zone| {
                bulk.policy.zones.is_empty() || bulk.policy.zones.iter().any(|only| **only == **zone)
            })
            .filter_map(|zone| {
                let location = bulk.policy.locations.get(&*zone);
                let left = location.and_then(|location| location.max_count);
                location
                    .is_none_or(|location| location.is_allowed)
                    .then_some(Room { zone, left })
            })
            .collect();
        match rooms.is_empty() {
            true => Err(ApiError::field(
                "resource.locationPolicy",
                "",
                "No zone of the region is allowed.",
            )),
            false => Ok(rooms),
        }
    }
}

/// The names of a pattern: numbers go on after the largest one that is taken.
pub(super) fn names_of_pattern<'n>(
    pattern: &str,
    count: u64,
    taken: impl Iterator<Item = &'n str>,
) -> Result<Vec<Arc<str>>, ApiError> {
    let bad = |why: &str| ApiError::field("namePattern", pattern, why);
    let (before, rest) = pattern
        .split_once('#')
        .ok_or_else(|| bad("Must contain a run of '#'."))?;
    let after = rest.trim_start_matches('#');
    let width = rest.len() - after.len() + 1;
    if after.contains('#') || width > 18 {
        return Err(bad("Must contain one contiguous run of at most 18 '#'."));
    }
    let number = |name: &str| -> Option<u64> {
        let digits = name.strip_prefix(before)?.strip_suffix(after)?;
        let is_number = digits.len() >= width && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let last = taken.filter_map(number).max().unwrap_or(0);
    let end = last
        .checked_add(count)
        .ok_or_else(|| bad("No numbers are left after the largest one in use."))?;
    let names: Vec<Arc<str>> = (last..end)
        .map(|before| before + 1)
        .map(|number| format!("{before}{number:0width$}{after}").into())
        .collect();
    match names.iter().all(|name| is_name(name)) {
        true => Ok(names),
        false => Err(bad("Does not make valid names.")),
    }
}
