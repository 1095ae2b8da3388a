//! Where the machines of a request go: one fate for each, decided when the request is accepted.
//!
//! Takes the quota of those that will come, so that what was accepted stays true. The rest of the life of a
//! machine is `flow`.

mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;

use super::catalog::region_of;
use super::error::{ApiError, OpError};
use super::instance::Shape;
use super::model::{Call, Model};
use super::quota::{Lowered, Need, Shortage};
use super::spec::TargetShape;
use super::switches::NameSpace;
use super::wish::{Room, Wish};

/// One machine of an accepted request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub name: Arc<str>,
    pub hostname: Option<String>,
    pub zone: Arc<str>,
    pub shape: Arc<Shape>,
    pub fate: Fate,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// It comes to be, under this id.
    Comes { instance: u64, address: u32, boot: Boot },
    /// It does not.
    Fails { error: OpError, is_late: bool },
}

/// How a machine boots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Boot {
    /// Seconds more from RUNNING until the guest program starts.
    pub more_s: f64,
    /// Times as long; 0 means as usual.
    pub factor: f64,
    /// The guest program never starts.
    pub is_broken: bool,
    /// The machine never comes out of STAGING.
    pub is_stuck: bool,
}

/// Placement at work.
struct Planner<'m, 'c, 'a> {
    model: &'m mut Model,
    call: &'m mut Call<'a>,
    wish: &'c mut Wish,
    lowered: Lowered,
    /// Shapes whose quota ran out during this request.
    short: BTreeMap<usize, Shortage>,
    faults: bool,
}

impl Model {
    /// The fate of each machine of the request. Names and quota of those that come are taken.
    pub(super) fn plan(&mut self, call: &mut Call<'_>, wish: &mut Wish) -> Result<Vec<Planned>, ApiError> {
        let lowered = self.lowered(call, wish.project, &wish.region, &wish.shapes);
        let faults = call.faults.any("gce.");
        if wish.spread == TargetShape::AnySingleZone {
            let count = wish.names.len() as u64;
            let all = wish.rooms.clone();
            wish.rooms
                .retain(|room| room.left.is_none_or(|left| left >= count));
            if wish.rooms.is_empty() {
                wish.rooms = all;
            }
        }
        let start = self.rng.random_range(0..wish.rooms.len().max(1));
        wish.rooms.rotate_left(start);
        let names = std::mem::take(&mut wish.names);
        let mut planner = Planner {
            model: self,
            call,
            wish,
            lowered,
            short: BTreeMap::new(),
            faults,
        };
        let mut plan = Vec::with_capacity(names.len());
        let mut failed = None;
        for (index, (name, hostname)) in names.into_iter().enumerate() {
            if index > 0
                && let Some(refused) = planner.left_out(&name, &hostname)
            {
                plan.push(refused);
                continue;
            }
            match planner.place(name, hostname) {
                Ok(planned) => plan.push(planned),
                Err(refused) => {
                    failed = Some(refused);
                    break;
                }
            }
        }
        match failed {
            None => Ok(plan),
            Some(refused) => {
                self.unplan(wish.project, &plan);
                Err(refused)
            }
        }
    }

    /// Gives back what a plan took, because the request is refused after all.
    pub(super) fn unplan(&mut self, project: usize, plan: &[Planned]) {
        for planned in plan {
            if let Fate::Comes { address, .. } = planned.fate {
                self.names
                    .remove(&(project, planned.zone.clone(), planned.name.clone()));
                self.give_back(project, &planned.zone, &planned.shape.needs, address);
            }
        }
    }

    /// Gives back all that a machine takes.
    pub(super) fn give_back(&mut self, project: usize, zone: &str, needs: &[Need], address: u32) {
        let region: Arc<str> = region_of(zone).into();
        let account = &mut self.projects[project];
        account
            .ledger
            .release(&region, needs, super::quota::Release::AtStop);
        account
            .ledger
            .release(&region, needs, super::quota::Release::AtDelete);
        if let Some(subnet) = account.subnets.get_mut(&region) {
            subnet.give(address);
        }
    }

    /// Limits lowered by `gce.quota` faults, asked once a metric and request.
    pub(super) fn lowered(
        &self,
        call: &mut Call<'_>,
        project: usize,
        region: &Arc<str>,
        shapes: &[Arc<Shape>],
    ) -> Lowered {
        let mut lowered = Lowered::new();
        if !call.faults.any("gce.quota") {
            return lowered;
        }
        let project = &self.projects[project].id;
        for shape in shapes {
            for need in &shape.needs {
                let place: Arc<str> = if need.is_project_wide {
                    "".into()
                } else {
                    region.clone()
                };
                let key = (place, need.metric.clone());
                if lowered.contains_key(&key) {
                    continue;
                }
                let metric = need.metric.split(':').next().unwrap_or_default();
                let subject = BTreeMap::from([
                    ("project", &**project),
                    ("region", &**region),
                    ("metric", metric),
                    ("family", &*shape.machine.family),
                ]);
                if let Some(fault) = call.faults.check(call.now, "gce.quota", &subject, call.out) {
                    lowered.insert(key, fault.number("limit").unwrap_or(0.0));
                }
            }
        }
        lowered
    }
}

impl Planner<'_, '_, '_> {
    /// A machine that does not come although others of its request do.
    fn left_out(&mut self, name: &Arc<str>, hostname: &Option<String>) -> Option<Planned> {
        let (shape, zone) = (self.wish.shapes[0].clone(), self.wish.rooms[0].zone.clone());
        let project = self.model.projects[self.wish.project].id.clone();
        self.is_met("gce.partial-bulk", &project, &zone, name, &shape)?;
        let error = OpError::stockout(&project, &zone);
        Some(Planned {
            name: name.clone(),
            hostname: hostname.clone(),
            zone,
            shape,
            fate: Fate::Fails {
                error,
                is_late: false,
            },
        })
    }

    fn place(&mut self, name: Arc<str>, hostname: Option<String>) -> Result<Planned, ApiError> {
        let first = self.wish.shapes[0].clone();
        let planned = |zone: Arc<str>, shape: Arc<Shape>, fate: Fate| Planned {
            name: name.clone(),
            hostname: hostname.clone(),
            zone,
            shape,
            fate,
        };
        if let Some(zone) = self.taken_in(&name) {
            let project = &self.model.projects[self.wish.project].id;
            let error = OpError::already_exists(&format!("projects/{project}/zones/{zone}/instances/{name}"));
            return Ok(planned(
                zone,
                first,
                Fate::Fails {
                    error,
                    is_late: false,
                },
            ));
        }
        let mut last = None;
        for index in 0..self.wish.shapes.len() {
            for room in 0..self.wish.rooms.len() {
                match self.try_room(&name, index, room)? {
                    Attempt::Comes(fate) => {
                        let zone = self.settle_room(room);
                        return Ok(planned(zone, self.wish.shapes[index].clone(), fate));
                    }
                    Attempt::Fails(error, is_late) => {
                        last = Some((self.wish.rooms[room].zone.clone(), index, error, is_late));
                    }
                    Attempt::NoRoom => {}
                }
            }
        }
        // No zone left by the policy: as if the zones had nothing.
        let (zone, index, error, is_late) = last.unwrap_or_else(|| {
            let zone = self.wish.rooms[0].zone.clone();
            let project = &self.model.projects[self.wish.project].id;
            let error = OpError::stockout(project, &zone);
            (zone, 0, error, false)
        });
        Ok(planned(
            zone,
            self.wish.shapes[index].clone(),
            Fate::Fails { error, is_late },
        ))
    }

    /// Counts the machine in its zone and turns the zones for the next one. Its zone's name.
    fn settle_room(&mut self, room: usize) -> Arc<str> {
        let rooms = &mut self.wish.rooms;
        let zone = rooms[room].zone.clone();
        if let Some(left) = &mut rooms[room].left {
            *left -= 1;
        }
        match self.wish.spread {
            TargetShape::AnySingleZone => rooms.swap(0, room),
            TargetShape::Any => {
                let turn = self.model.rng.random_range(0..rooms.len());
                rooms.rotate_left(turn);
            }
            TargetShape::Balanced => rooms.rotate_left(room + 1),
        }
        if self.wish.spread == TargetShape::AnySingleZone {
            rooms.truncate(1);
        }
        zone
    }

    fn taken_in(&self, name: &Arc<str>) -> Option<Arc<str>> {
        let is_taken = |zone: &Arc<str>| {
            let key = (self.wish.project, zone.clone(), name.clone());
            self.model.names.contains_key(&key).then(|| zone.clone())
        };
        match self.model.limits.switches.names_unique_in {
            NameSpace::Region => self.wish.rooms.iter().map(|room| &room.zone).find_map(is_taken),
            NameSpace::Zone => self.wish.rooms.first().map(|room| &room.zone).and_then(is_taken),
        }
    }

    fn try_room(&mut self, name: &Arc<str>, index: usize, room: usize) -> Result<Attempt, ApiError> {
        let shape = self.wish.shapes[index].clone();
        let Room { zone, left } = self.wish.rooms[room].clone();
        let key = (self.wish.project, zone.clone(), name.clone());
        if left == Some(0)
            || !self.model.catalog.offers(&zone, &shape.machine.family)
            || self.model.names.contains_key(&key)
        {
            return Ok(Attempt::NoRoom);
        }
        let project = self.model.projects[self.wish.project].id.clone();
        if self.faults {
            if let Some(stockout) = self.stockout(&project, &zone, name, &shape)? {
                return Ok(Attempt::Fails(stockout, false));
            }
            if self
                .is_met("gce.ip-exhausted", &project, &zone, name, &shape)
                .is_some()
            {
                return Ok(Attempt::Fails(
                    OpError::ip_space(&project, &self.wish.region),
                    false,
                ));
            }
            if let Some(shortage) = self.late_shortage(&project, &zone, name, &shape) {
                return Ok(Attempt::Fails(OpError::quota(shortage), true));
            }
        }
        if let Some(shortage) = self.short.get(&index) {
            return Ok(Attempt::Fails(OpError::quota(shortage.clone()), false));
        }
        let region = self.wish.region.clone();
        let account = &mut self.model.projects[self.wish.project];
        if let Err(shortage) =
            account
                .ledger
                .reserve(&self.model.limits, &self.lowered, &region, &shape.needs)
        {
            self.short.insert(index, shortage.clone());
            return Ok(Attempt::Fails(OpError::quota(shortage), false));
        }
        let subnet = account.subnets.entry(region.clone()).or_default();
        let Some(address) = subnet.take(self.model.limits.subnet_addresses) else {
            for at in [super::quota::Release::AtStop, super::quota::Release::AtDelete] {
                account.ledger.release(&region, &shape.needs, at);
            }
            return Ok(Attempt::Fails(OpError::ip_space(&project, &region), false));
        };
        let boot = if self.faults {
            self.boot(&project, &zone, name, &shape)
        } else {
            Boot::default()
        };
        let instance = self.model.new_instance_id();
        self.model.names.insert(key, instance);
        Ok(Attempt::Comes(Fate::Comes {
            instance,
            address,
            boot,
        }))
    }
}

enum Attempt {
    Comes(Fate),
    Fails(OpError, bool),
    NoRoom,
}
