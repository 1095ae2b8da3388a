//! The events of this host: one function a kind, so that each kind has its fields in one place.

use serde_json::{Value, json};

use super::error::{ApiError, OpError};
use super::instance::{Guest, Instance, Status};
use super::model::Place;
use super::operation::{Operation, Progress};
use crate::event::{Event, Host};

pub(super) fn api_call(
    method: &str,
    group: &str,
    error: Option<&ApiError>,
    remaining: Option<u32>,
    count: u64,
    project: &str,
    place: Place<'_>,
) -> Event {
    let region = Some(place.region()).filter(|region| !region.is_empty());
    let zone = if let Place::Zone(zone) = place {
        Some(zone)
    } else {
        None
    };
    Event::new(Host::Gce, "api.call")
        .with("method", method)
        .with("group", group)
        .with("status", error.map_or(200, |error| error.status))
        .with("reason", error.map(|error| error.reason))
        .with("remaining", remaining)
        .with("count", count)
        .with("project", project)
        .with("region", region)
        .with("zone", zone)
}

pub(super) fn operation_state(operation: &Operation, from: Option<Progress>) -> Event {
    let errors: Vec<&str> = operation.errors.iter().map(|error| error.code).collect();
    Event::new(Host::Gce, "operation.state")
        .with("operation", &*operation.name)
        .with("method", operation.method)
        .with("from", from.map(Progress::name))
        .with("to", operation.progress.name())
        .with("errors", errors)
}

pub(super) fn instance_inserted(project: &str, instance: &Instance) -> Event {
    let shape = &instance.shape;
    let labels: Value = json!(*instance.labels);
    Event::new(Host::Gce, "instance.inserted")
        .with("project", project)
        .with("zone", &*instance.zone)
        .with("name", &*instance.name)
        .with("id", instance.id.to_string())
        .with("machine_type", &*shape.machine.name)
        .with("cpus", shape.machine.cpus)
        .with("memory_mib", shape.machine.memory_mib)
        .with("arch", shape.machine.arch.name())
        .with("local_ssd", shape.local_ssds)
        .with("disk_gib", shape.disk_gib)
        .with("model", shape.template.scheduling.model())
        .with("labels", labels)
        .with("request_id", instance.request_id.as_deref())
        .with("operation", &*instance.made_by)
        .with("price_usd_h", (shape.price_usd_h * 1e6).round() / 1e6)
}

pub(super) fn instance_state(instance: &Instance, from: Status, cause: &str) -> Event {
    Event::new(Host::Gce, "instance.state")
        .with("name", &*instance.name)
        .with("from", from.name())
        .with("to", instance.status.name())
        .with("cause", cause)
}

/// Beyond the contract's kinds: what runs on the machine, which also wakes whoever runs it.
pub(super) fn guest_state(instance: &Instance, from: Guest) -> Event {
    Event::new(Host::Gce, "guest.state")
        .with("name", &*instance.name)
        .with("from", from.name())
        .with("to", instance.guest.name())
}

pub(super) fn instance_refused(name: &str, error: &OpError) -> Event {
    Event::new(Host::Gce, "instance.refused")
        .with("name", name)
        .with("code", error.code)
}

pub(super) fn instance_deleted(name: &str) -> Event {
    Event::new(Host::Gce, "instance.deleted").with("name", name)
}
