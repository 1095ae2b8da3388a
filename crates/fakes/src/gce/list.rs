//! Lists: pages, order, filters, and the lag with which they see the world.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;

use super::error::ApiError;
use super::filter::{Field, Filter, Record};
use super::instance::Instance;
use super::method::{self, Method};
use super::model::{Call, Model, Place};
use super::show;

/// Instances that are gone can be seen in lagging lists at most so long.
pub(super) const GRAVE: Duration = Duration::from_secs(300);

/// Largest page, and the page when no size is given.
const PAGE: usize = 500;

/// What a list call asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    /// `filter`.
    pub filter: Option<&'a str>,
    /// `maxResults`.
    pub max_results: Option<&'a str>,
    /// `orderBy`.
    pub order_by: Option<&'a str>,
    /// `pageToken`.
    pub page_token: Option<&'a str>,
}

/// A query, judged.
pub(super) struct Plan {
    pub filter: Option<Filter>,
    pub size: usize,
    pub newest_first: bool,
    pub after: Option<String>,
    /// So many records slipped to the page before, which was read already.
    pub skip: usize,
}

/// Pages that are short, and whose borders move between two reads.
#[derive(Clone, Copy, Debug)]
struct Shift {
    size: usize,
    skip: usize,
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Token of the next page, if there is more.
    pub next: Option<String>,
}

impl Query<'_> {
    pub(super) fn judge(&self) -> Result<Plan, ApiError> {
        let size = match self.max_results.filter(|text| !text.is_empty()) {
            None => PAGE,
            Some(text) => match text.parse::<usize>() {
                Ok(0) => PAGE,
                Ok(size) if size <= PAGE => size,
                _ => return Err(ApiError::field("maxResults", text, "Must be between [0, 500].")),
            },
        };
        let newest_first = match self.order_by.map(str::trim).filter(|text| !text.is_empty()) {
            None | Some("name") => false,
            Some("creationTimestamp desc") => true,
            Some(other) => {
                return Err(ApiError::field(
                    "orderBy",
                    other,
                    "Must be 'name' or 'creationTimestamp desc'.",
                ));
            }
        };
        let after = match self.page_token.filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let bad = || ApiError::field("pageToken", token, "The page token is not valid.");
                let text = URL_SAFE
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                Some(
                    text.and_then(|text| text.strip_prefix("after:").map(str::to_owned))
                        .ok_or_else(bad)?,
                )
            }
        };
        Ok(Plan {
            filter: Filter::parse(self.filter)?,
            size,
            newest_first,
            after,
            skip: 0,
        })
    }
}

fn token(key: &str) -> String {
    URL_SAFE.encode(format!("after:{key}"))
}

impl Plan {
    /// Cuts one page out of records in the order of their keys. A token names the last key of its page, so
    /// that it stays good when that record is gone.
    pub fn page<T>(&self, all: impl Iterator<Item = (String, T)>, passes: impl Fn(&T) -> bool) -> Page<T> {
        let slipped = if self.after.is_some() { self.skip } else { 0 };
        let rest = all.skip_while(|(key, _)| self.after.as_ref().is_some_and(|after| key <= after));
        let mut rest = rest.skip(slipped);
        let (mut items, mut last) = (Vec::new(), None);
        while items.len() < self.size {
            let Some((key, item)) = rest.next() else {
                return Page { items, next: None };
            };
            if passes(&item) {
                items.push(item);
                last = Some(key);
            }
        }
        let has_more = rest.any(|(_, item)| passes(&item));
        Page {
            items,
            next: last.filter(|_| has_more).map(|key| token(&key)),
        }
    }
}

/// An instance as a list sees it.
struct Seen<'m> {
    project: &'m str,
    region_index: usize,
    instance: Cow<'m, Instance>,
}

impl Record for Seen<'_> {
    fn field(&self, path: &str) -> Field<'_> {
        let instance = &*self.instance;
        if let Some(label) = path.strip_prefix("labels.") {
            return instance
                .labels
                .get(label)
                .map_or(Field::Absent, |value| Field::Is(Cow::Borrowed(value)));
        }
        match path {
            "name" => Field::Is(Cow::Borrowed(&instance.name)),
            "status" => Field::Is(Cow::Borrowed(instance.status.name())),
            "id" => Field::Is(Cow::Owned(instance.id.to_string())),
            "zone" => Field::Is(Cow::Owned(show::zone_url(self.project, &instance.zone))),
            "creationTimestamp" => Field::Is(Cow::Owned(show::timestamp(instance.created_ns))),
            _ => Field::Look,
        }
    }

    fn whole(&self) -> Value {
        show::instance(self.project, self.region_index, &self.instance)
    }
}

impl Model {
    /// `instances.list`.
    pub fn list_instances(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        zone: &str,
        query: Query<'_>,
    ) -> Result<Page<Instance>, ApiError> {
        self.api(
            call,
            &method::LIST_INSTANCES,
            project,
            Place::Zone(zone),
            |model, call, project| {
                let place = Place::Zone(zone);
                let lag = model.lag(call, &method::LIST_INSTANCES, project, place);
                let shift = model.shift(call, &method::LIST_INSTANCES, project, place);
                let page = model.instances_page(call, project, &[Arc::from(zone)], (lag, shift), &query)?;
                call.count = page.items.len() as u64;
                Ok(page)
            },
        )
    }

    /// `instances.aggregatedList`: over all zones, in order of zone and name.
    pub fn aggregated_list(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        query: Query<'_>,
    ) -> Result<Page<Instance>, ApiError> {
        self.api(
            call,
            &method::AGGREGATED_LIST,
            project,
            Place::Global,
            |model, call, project| {
                let lag = model.lag(call, &method::AGGREGATED_LIST, project, Place::Global);
                let shift = model.shift(call, &method::AGGREGATED_LIST, project, Place::Global);
                let zones = model.all_zones();
                let page = model.instances_page(call, project, &zones, (lag, shift), &query)?;
                call.count = page.items.len() as u64;
                Ok(page)
            },
        )
    }

    /// All zones of all regions, by name.
    pub fn all_zones(&self) -> Vec<Arc<str>> {
        let mut zones: Vec<Arc<str>> = self
            .limits
            .regions
            .iter()
            .flat_map(|region| self.zones_of(region))
            .collect();
        zones.sort();
        zones
    }

    fn shift(&self, call: &mut Call<'_>, method: &Method, project: usize, place: Place<'_>) -> Option<Shift> {
        if !call.faults.any("list.shift") {
            return None;
        }
        let zone = if let Place::Zone(zone) = place { zone } else { "" };
        let subject = BTreeMap::from([
            ("host", "gce"),
            ("method", method.name),
            ("project", &*self.projects[project].id),
            ("region", place.region()),
            ("zone", zone),
        ]);
        let fault = call.faults.check(call.now, "list.shift", &subject, call.out)?;
        // The casts saturate.
        let count = |name| fault.number(name).map(|number| number as usize);
        Some(Shift {
            size: count("size").unwrap_or(PAGE).max(1),
            skip: count("skip").unwrap_or(0),
        })
    }

    fn lag(&self, call: &mut Call<'_>, method: &Method, project: usize, place: Place<'_>) -> Duration {
        let mut lag = self.limits.list_lag_s;
        if call.faults.any("list.lag") {
            let zone = if let Place::Zone(zone) = place { zone } else { "" };
            let subject = BTreeMap::from([
                ("host", "gce"),
                ("method", method.name),
                ("project", &*self.projects[project].id),
                ("region", place.region()),
                ("zone", zone),
            ]);
            if let Some(fault) = call.faults.standing(call.now, "list.lag", &subject, call.out) {
                lag = lag.max(fault.number("lag_s").unwrap_or(5.0));
            }
        }
        Duration::try_from_secs_f64(lag).unwrap_or_default().min(GRAVE)
    }

    fn instances_page(
        &self,
        call: &Call<'_>,
        project: usize,
        zones: &[Arc<str>],
        (lag, shift): (Duration, Option<Shift>),
        query: &Query<'_>,
    ) -> Result<Page<Instance>, ApiError> {
        let mut plan = query.judge()?;
        if let Some(shift) = shift {
            plan.size = plan.size.min(shift.size);
            plan.skip = shift.skip;
        }
        let id = self.projects[project].id.clone();
        let seen = |instance| Seen {
            project: &id,
            region_index: 0,
            instance,
        };
        let mut all: Vec<(String, Seen<'_>)> = Vec::new();
        for zone in zones {
            let first = (project, zone.clone(), Arc::from(""));
            let mine = self
                .names
                .range(first..)
                .take_while(|((of, at, _), _)| *of == project && at == zone);
            let live = mine
                .filter_map(|(_, id)| self.instances.get(id))
                .map(Cow::Borrowed);
            if lag.is_zero() {
                all.extend(live.map(|instance| (key_of(&instance), seen(instance))));
                continue;
            }
            // What was true `lag` ago: instances with the state of then, and those that are gone since.
            let Some(then) = call.now.since_start.checked_sub(lag) else {
                continue;
            };
            let gone = self
                .graves
                .iter()
                .filter(|(at, _)| *at > then)
                .map(|(_, instance)| instance);
            let gone = gone.filter(|instance| instance.project == project && instance.zone == *zone);
            let mut known: Vec<_> = live
                .chain(gone.map(Cow::Borrowed))
                .filter_map(|instance| {
                    let status = instance.status_at(then)?;
                    Some(Cow::Owned(Instance {
                        status,
                        ..instance.into_owned()
                    }))
                })
                .collect();
            known.sort_by(|left: &Cow<'_, Instance>, right| left.name.cmp(&right.name));
            all.extend(
                known
                    .into_iter()
                    .map(|instance| (key_of(&instance), seen(instance))),
            );
        }
        if plan.newest_first {
            for (key, seen) in &mut all {
                *key = format!(
                    "{:030}-{}",
                    i64::MAX as i128 - seen.instance.created_ns,
                    seen.instance.id
                );
            }
            all.sort_by(|(left, _), (right, _)| left.cmp(right));
        }
        let passes = |seen: &Seen<'_>| plan.filter.as_ref().is_none_or(|filter| filter.passes(seen));
        let page = plan.page(all.into_iter(), passes);
        Ok(Page {
            items: page
                .items
                .into_iter()
                .map(|seen| seen.instance.into_owned())
                .collect(),
            next: page.next,
        })
    }
}

fn key_of(instance: &Instance) -> String {
    format!("{}/{}", instance.zone, instance.name)
}
