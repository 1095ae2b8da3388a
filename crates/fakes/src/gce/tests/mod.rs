//! The model by itself, on a clock that the test turns.

mod bulk;
mod details;
mod invariants;
mod lives;
mod quotas;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::spec::{Bulk, Disk, LocationPolicy, Names, Network, Scheduling, Single, TargetShape, Template};
use super::{
    ApiError, At, Call, DEFAULT_PROJECT, Instance, Model, Operation, Place, Progress, Query, Status,
};
use crate::event::{Effects, Event};
use crate::fault::Faults;
use crate::limits::Limits;
use crate::now::Now;

pub(super) const REGION: &str = "us-central1";

/// A cloud, its faults, its log and its clock.
pub(super) struct World {
    pub model: Model,
    pub faults: Faults,
    pub out: Effects,
    pub log: Vec<Event>,
    pub at: Duration,
}

impl World {
    pub fn new(limits: &Limits) -> Self {
        Self {
            model: Model::new(7, limits, &[]),
            faults: Faults::new(7),
            out: Effects::default(),
            log: Vec::new(),
            at: Duration::from_secs(1),
        }
    }

    pub fn demo() -> Self {
        Self::new(&Limits::demo())
    }

    pub fn now(&self) -> Now {
        Now::at(1_790_000_000_000_000_000, self.at)
    }

    /// One call of the model.
    pub fn call<T>(&mut self, act: impl FnOnce(&mut Model, &mut Call<'_>) -> T) -> T {
        let now = self.now();
        let value = act(
            &mut self.model,
            &mut Call::new(now, &mut self.faults, &mut self.out),
        );
        self.log.extend(self.out.take());
        value
    }

    /// Lets time pass, with a tick at each moment something is due.
    pub fn pass(&mut self, seconds: f64) {
        let until = self.at + Duration::from_secs_f64(seconds);
        while let Some(due) = self.model.next_due().filter(|due| *due <= until) {
            self.at = due.max(self.at);
            self.tick();
        }
        self.at = until;
        self.tick();
    }

    fn tick(&mut self) {
        let now = self.now();
        self.model.tick(now, &mut self.out);
        self.log.extend(self.out.take());
    }

    pub fn bulk(&mut self, bulk: Bulk) -> Result<Operation, ApiError> {
        self.call(|model, call| model.bulk_insert(call, DEFAULT_PROJECT, Place::Region(REGION), None, bulk))
    }

    pub fn operation(&mut self, operation: &Operation) -> Operation {
        self.model
            .operation_by_id(operation.id)
            .expect("the operation is kept")
    }

    pub fn list(&mut self) -> Vec<Instance> {
        self.call(|model, call| model.aggregated_list(call, DEFAULT_PROJECT, Query::default()))
            .unwrap()
            .items
    }

    pub fn named(&mut self, name: &str) -> Instance {
        self.list()
            .into_iter()
            .find(|instance| &*instance.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn fault(&mut self, order: Value) {
        let now = self.now();
        self.faults
            .add(now, serde_json::from_value(order).unwrap())
            .unwrap();
    }

    pub fn events(&self, kind: &str) -> Vec<&Event> {
        self.log.iter().filter(|event| event.kind == kind).collect()
    }

    pub fn used(&self, metric: &str) -> u64 {
        let region = if metric == "CPUS_ALL_REGIONS" { "" } else { REGION };
        self.model.projects[0].ledger.used(region, metric)
    }
}

pub(super) fn at<'a>(zone: &'a str, name: &'a str) -> At<'a> {
    At {
        project: DEFAULT_PROJECT,
        zone,
        name,
    }
}

/// A template that Google takes: one machine type, a boot disk, the default network.
pub(super) fn template(machine_type: &str) -> Template {
    let image = match machine_type.split('-').next() {
        Some("c4a" | "n4a" | "t2a") => "projects/debian-cloud/global/images/family/debian-12-arm64",
        _ => "projects/debian-cloud/global/images/family/debian-12",
    };
    Template {
        machine_type: machine_type.into(),
        labels: BTreeMap::from([("gust-stack".into(), "test".into())]),
        disks: vec![Disk {
            boot: true,
            auto_delete: true,
            source_image: Some(image.into()),
            size_gib: Some(20),
            ..Disk::default()
        }],
        networks: vec![Network {
            network: Some("global/networks/default".into()),
            ..Network::default()
        }],
        ..Template::default()
    }
}

pub(super) fn spot(machine_type: &str) -> Template {
    Template {
        scheduling: Scheduling {
            provisioning_model: Some("SPOT".into()),
            termination_action: Some("DELETE".into()),
            ..Scheduling::default()
        },
        ..template(machine_type)
    }
}

pub(super) fn names(names: &[&str]) -> Names {
    Names::Each(names.iter().map(|name| ((*name).to_owned(), None)).collect())
}

/// A bulk request as gust makes them: own names, `minCount: 1`, `ANY`.
pub(super) fn bulk(machine_type: &str, each: &[&str]) -> Bulk {
    Bulk {
        count: each.len() as u64,
        min_count: Some(1),
        names: names(each),
        template: template(machine_type),
        policy: LocationPolicy {
            shape: TargetShape::Any,
            ..LocationPolicy::default()
        },
        flexibility: Vec::new(),
    }
}

pub(super) fn single(name: &str, zone: &str, template: Template) -> Single {
    let machine_type = format!("zones/{zone}/machineTypes/{}", template.machine_type);
    Single {
        name: name.into(),
        hostname: None,
        template: Template {
            machine_type,
            ..template
        },
    }
}

pub(super) fn codes(operation: &Operation) -> Vec<&'static str> {
    operation.errors.iter().map(|error| error.code).collect()
}

pub(super) fn done(operation: &Operation) -> bool {
    operation.progress == Progress::Done
}

pub(super) fn stockout(aim: Value) -> Value {
    json!({ "kind": "gce.stockout", "match": aim })
}

pub(super) fn is_up(instance: &Instance) -> bool {
    instance.status == Status::Running
}
