//! The state of the fake, and what every call has in common: project, place, rates, the log.
//!
//! **Guarantees.** A call that is refused changes nothing but the counts of its rate groups. Every change of
//! state pushes its event in the same call. All randomness comes from the seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::addresses::Pool;
use super::catalog::{Catalog, region_of};
use super::due::Queue;
use super::error::ApiError;
use super::events;
use super::instance::Instance;
use super::method::{self, Method};
use super::operation::{Operations, Scope};
use super::orders::Order;
use super::quota::{self, Ledger};
use super::rate::Rates;
use super::request_id::Asked;
use super::spec::Disk;
use crate::event::Effects;
use crate::fault::Faults;
use crate::limits::{self, Limits, Range};
use crate::now::Now;

/// The project that exists out of the box.
pub const DEFAULT_PROJECT: &str = "gust-demo";

/// What surrounds a call: the present, the faults, and where events go.
pub struct Call<'a> {
    /// The present.
    pub now: Now,
    /// The faults that are set.
    pub faults: &'a mut Faults,
    /// Where events go.
    pub out: &'a mut Effects,
    /// How many instances or other things the call was about, for its `api.call`.
    pub(super) count: u64,
}

impl<'a> Call<'a> {
    /// A call at that moment.
    pub fn new(now: Now, faults: &'a mut Faults, out: &'a mut Effects) -> Self {
        Self {
            now,
            faults,
            out,
            count: 0,
        }
    }
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A zone, by name.
    Zone(&'a str),
    /// A region, by name.
    Region(&'a str),
    /// The project.
    Global,
}

impl Place<'_> {
    /// Region of the place, empty for the project.
    pub fn region(&self) -> &str {
        match self {
            Self::Zone(zone) => region_of(zone),
            Self::Region(region) => region,
            Self::Global => "",
        }
    }

    /// The place as the scope of operations.
    pub fn scope(&self) -> Scope {
        match *self {
            Self::Zone(zone) => Scope::Zone(zone.into()),
            Self::Region(region) => Scope::Region(region.into()),
            Self::Global => Scope::Global,
        }
    }
}

/// A persistent disk that outlived its machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LooseDisk {
    pub name: String,
    pub zone: Arc<str>,
    pub gib: u64,
}

impl Project {
    /// A disk stays, and goes on counting.
    pub fn keep_disk(&mut self, loose: LooseDisk, disk: &Disk) {
        let region: Arc<str> = region_of(&loose.zone).into();
        self.ledger
            .hold(&region, quota::disk_metric(disk.disk_type.as_deref()), loose.gib);
        self.loose_disks.push(loose);
    }
}

#[derive(Debug)]
pub(super) struct Project {
    pub id: Arc<str>,
    pub number: u64,
    pub ledger: Ledger,
    pub rates: Rates,
    pub requests: BTreeMap<Arc<str>, (u64, Asked)>,
    pub bulk_running: u32,
    pub operations_running: BTreeMap<String, u32>,
    pub subnets: BTreeMap<Arc<str>, Pool>,
    pub external: Pool,
    pub loose_disks: Vec<LooseDisk>,
}

/// The fake Google Compute Engine.
#[derive(Debug)]
pub struct Model {
    pub(super) limits: limits::Gce,
    pub(super) speed: f64,
    pub(super) catalog: Arc<Catalog>,
    pub(super) rng: ChaCha8Rng,
    pub(super) projects: Vec<Project>,
    pub(super) instances: BTreeMap<u64, Instance>,
    /// Names in use or promised to an accepted request, by project and zone.
    pub(super) names: BTreeMap<(usize, Arc<str>, Arc<str>), u64>,
    /// Instances that exist, by name, in any project and zone.
    pub(super) by_name: BTreeMap<Arc<str>, BTreeSet<u64>>,
    pub(super) operations: Operations,
    pub(super) due: Queue,
    /// Instances that are gone, as long as lagging lists may show them.
    pub(super) graves: VecDeque<(Duration, Instance)>,
    pub(super) orders: Option<Vec<Order>>,
    /// What guests wrote to serial port 1.
    pub(super) consoles: BTreeMap<u64, String>,
}

impl Model {
    /// A cloud without machines. `projects` beside [`DEFAULT_PROJECT`] exist as well.
    pub fn new(seed: u64, limits: &Limits, projects: &[String]) -> Self {
        let ids: BTreeSet<&str> = projects.iter().map(String::as_str).collect();
        let ids = std::iter::once(DEFAULT_PROJECT).chain(ids.into_iter().filter(|id| *id != DEFAULT_PROJECT));
        let projects = ids.zip(0_u64..).map(|(id, index)| Project {
            id: id.into(),
            number: 100_000_000_001 + index,
            ledger: Ledger::default(),
            rates: Rates::default(),
            requests: BTreeMap::new(),
            bulk_running: 0,
            operations_running: BTreeMap::new(),
            subnets: BTreeMap::new(),
            external: Pool::default(),
            loose_disks: Vec::new(),
        });
        Self {
            limits: limits.gce.clone(),
            speed: limits.speed,
            catalog: Catalog::shared(),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x67_63_65),
            projects: projects.collect(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
            by_name: BTreeMap::new(),
            operations: Operations::default(),
            due: Queue::default(),
            graves: VecDeque::new(),
            orders: None,
            consoles: BTreeMap::new(),
        }
    }

    /// Obeys other limits from now on. What is under way keeps its times.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.gce.clone();
        self.speed = limits.speed;
    }

    /// The catalogue.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// From now on the model gives orders to what runs on the machines; take them with
    /// [`Model::take_orders`] after every call and tick.
    pub fn want_orders(&mut self) {
        self.orders.get_or_insert_default();
    }

    /// What is to be done on the machines, in order.
    pub fn take_orders(&mut self) -> Vec<Order> {
        self.orders.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn order(&mut self, order: Order) {
        if let Some(orders) = &mut self.orders {
            orders.push(order);
        }
    }

    /// The id of a project, by index.
    pub(super) fn project_id(&self, index: usize) -> Arc<str> {
        self.projects[index].id.clone()
    }

    pub(super) fn project_named(&self, id: &str) -> Result<usize, ApiError> {
        let by_number = |project: &Project| id.parse() == Ok(project.number);
        self.projects
            .iter()
            .position(|project| &*project.id == id || by_number(project))
            .ok_or_else(|| ApiError::not_found(&format!("projects/{id}")))
    }

    /// Whether the region exists for the projects.
    pub fn has_region(&self, region: &str) -> bool {
        self.limits.regions.iter().any(|known| known == region) && !self.catalog.zones(region).is_empty()
    }

    /// The zones of a region, none if there is no such region.
    pub fn zones_of(&self, region: &str) -> Vec<Arc<str>> {
        if self.has_region(region) {
            self.catalog.zones(region).to_vec()
        } else {
            Vec::new()
        }
    }

    pub(super) fn has_zone(&self, zone: &str) -> bool {
        self.zones_of(region_of(zone))
            .iter()
            .any(|known| &**known == zone)
    }

    fn check_place(&self, project: usize, place: Place<'_>) -> Result<(), ApiError> {
        let (kind, name) = match place {
            Place::Zone(zone) if !self.has_zone(zone) => ("zone", zone),
            Place::Region(region) if !self.has_region(region) => ("region", region),
            _ => return Ok(()),
        };
        let project = &self.projects[project].id;
        let not_found = ApiError::not_found(&format!("projects/{project}/{kind}s/{name}"));
        Err(match self.limits.switches.unknown_place_status {
            404 => not_found,
            status => ApiError {
                status,
                message: format!("Invalid value for field '{kind}': '{name}'. Unknown {kind}."),
                ..ApiError::invalid("")
            },
        })
    }

    /// One call of the API: finds the project and the place, counts the rates, acts, and writes `api.call`.
    pub(super) fn api<T>(
        &mut self,
        call: &mut Call<'_>,
        method: &'static Method,
        project: &str,
        place: Place<'_>,
        act: impl FnOnce(&mut Self, &mut Call<'_>, usize) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        call.count = 0;
        // Nothing need be due for the time of what is kept to run out.
        self.forget(call.now);
        // `api.call` stands ahead of what the call caused, although its outcome is known last.
        let earlier = call.out.take();
        let mut remaining = None;
        let result = self.project_named(project).and_then(|index| {
            remaining = self.charge(call, method, index, place)?;
            self.check_place(index, place)?;
            let result = act(self, call, index);
            let account = &mut self.projects[index];
            account
                .ledger
                .flush(&account.id, &self.limits, call.now, call.out);
            result
        });
        let known = method
            .groups
            .iter()
            .find(|group| self.limits.rates_per_minute.contains_key(**group));
        let group = known.unwrap_or(&method.groups[0]);
        let error = result.as_ref().err();
        let told = events::api_call(method.name, group, error, remaining, call.count, project, place);
        let caused = call.out.take();
        earlier
            .into_iter()
            .chain([told])
            .chain(caused)
            .for_each(|event| call.out.push(event));
        result
    }

    /// A call that the wire refuses before it means anything. It still counts.
    pub(super) fn refuse(
        &mut self,
        call: &mut Call<'_>,
        method: &'static Method,
        project: &str,
        place: Place<'_>,
        error: ApiError,
    ) -> ApiError {
        let refused: Result<(), ApiError> =
            self.api(call, method, project, place, |_, _, _| Err(error.clone()));
        refused.err().unwrap_or(error)
    }

    fn charge(
        &mut self,
        call: &mut Call<'_>,
        method: &'static Method,
        project: usize,
        place: Place<'_>,
    ) -> Result<Option<u32>, ApiError> {
        let region: Arc<str> = if method.is_global {
            "".into()
        } else {
            place.region().into()
        };
        let (id, number) = (self.projects[project].id.clone(), self.projects[project].number);
        let refused = |group: &str| {
            let metric = format!("compute.googleapis.com/{group}");
            ApiError::rate(&metric, &method::limit_name(group), number)
        };
        if call.faults.any("gce.rate") {
            let group = method.groups.iter().find(|group| {
                let subject = BTreeMap::from([
                    ("project", &*id),
                    ("region", &*region),
                    ("group", **group),
                    ("method", method.name),
                ]);
                call.faults
                    .check(call.now, "gce.rate", &subject, call.out)
                    .is_some()
            });
            if let Some(group) = group {
                return Err(refused(group));
            }
        }
        let rates = &mut self.projects[project].rates;
        rates
            .charge(&self.limits, call.now, &region, method.groups)
            .map_err(refused)
    }

    /// A duration drawn from a range, at the present speed.
    pub(super) fn draw(&mut self, range: Range) -> Duration {
        let drawn = if range.1 > range.0 {
            self.rng.random_range(range.0..=range.1)
        } else {
            range.0
        };
        self.scaled(drawn)
    }

    /// Seconds of machine time as real time.
    pub(super) fn scaled(&self, seconds: f64) -> Duration {
        let speed = if self.speed > 0.0 { self.speed } else { 1.0 };
        Duration::try_from_secs_f64(seconds / speed).unwrap_or(Duration::ZERO)
    }

    /// When something is due next, since start.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.next()
    }
}
