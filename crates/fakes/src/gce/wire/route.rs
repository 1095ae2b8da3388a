//! From verb and path to a method of the API.

use super::unbuilt;
use crate::gce::method::{self, Method};
use crate::gce::model::Place;

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub method: &'static Method,
    pub project: &'a str,
    pub place: Place<'a>,
    /// Instance, operation or machine type; empty where there is none.
    pub name: &'a str,
}

/// The route of a request, `None` for a path or verb that is no method.
pub(super) fn route<'a>(verb: &str, segments: &'a [String]) -> Option<Route<'a>> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ["compute", "v1", "projects", project, rest @ ..] = segments.as_slice() else {
        return None;
    };
    let (method, place, name) = match rest {
        [] => match verb {
            "GET" => (&method::PROJECT_GET, Place::Global, ""),
            _ => return None,
        },
        path => built(verb, path).or_else(|| unbuilt::find(verb, path))?,
    };
    Some(Route {
        method,
        project,
        place,
        name,
    })
}

fn built<'a>(verb: &str, path: &[&'a str]) -> Found<'a> {
    match path {
        ["zones", zone, rest @ ..] => in_zone(verb, zone, rest),
        ["regions", region, rest @ ..] => in_region(verb, region, rest),
        rest => in_project(verb, rest),
    }
}

/// A method, where it goes, and the name in its path.
pub(super) type Found<'a> = Option<(&'static Method, Place<'a>, &'a str)>;

fn in_zone<'a>(verb: &str, zone: &'a str, rest: &[&'a str]) -> Found<'a> {
    let (method, name) = match (verb, rest) {
        ("GET", []) => (&method::ZONE_GET, ""),
        ("POST", ["instances"]) => (&method::INSERT, ""),
        ("POST", ["instances", "bulkInsert"]) => (&method::BULK_INSERT, ""),
        ("GET", ["instances"]) => (&method::LIST_INSTANCES, ""),
        ("GET", ["instances", name]) => (&method::GET, *name),
        ("DELETE", ["instances", name]) => (&method::DELETE, *name),
        ("POST", ["instances", name, act]) => {
            let method = match *act {
                "stop" => &method::STOP,
                "start" => &method::START,
                "reset" => &method::RESET,
                "suspend" => &method::SUSPEND,
                "resume" => &method::RESUME,
                "setLabels" => &method::SET_LABELS,
                "setMetadata" => &method::SET_METADATA,
                "simulateMaintenanceEvent" => &method::SIMULATE_MAINTENANCE,
                _ => return None,
            };
            (method, *name)
        }
        ("GET", ["instances", name, "serialPort"]) => (&method::SERIAL_PORT, *name),
        ("GET", ["instances", name, "getGuestAttributes"]) => (&method::GUEST_ATTRIBUTES, *name),
        ("GET", ["machineTypes"]) => (&method::MACHINE_TYPE_LIST, ""),
        ("GET", ["machineTypes", name]) => (&method::MACHINE_TYPE_GET, *name),
        ("GET", ["operations"]) => (&method::ZONE_OPERATION_LIST, ""),
        ("GET", ["operations", name]) => (&method::ZONE_OPERATION_GET, *name),
        ("DELETE", ["operations", name]) => (&method::ZONE_OPERATION_DELETE, *name),
        ("POST", ["operations", name, "wait"]) => (&method::ZONE_OPERATION_WAIT, *name),
        _ => return None,
    };
    Some((method, Place::Zone(zone), name))
}

fn in_region<'a>(verb: &str, region: &'a str, rest: &[&'a str]) -> Found<'a> {
    let (method, name) = match (verb, rest) {
        ("GET", []) => (&method::REGION_GET, ""),
        ("POST", ["instances", "bulkInsert"]) => (&method::REGION_BULK_INSERT, ""),
        ("GET", ["subnetworks"]) => (&method::SUBNETWORK_LIST, ""),
        ("GET", ["subnetworks", name]) => (&method::SUBNETWORK_GET, *name),
        ("GET", ["operations"]) => (&method::REGION_OPERATION_LIST, ""),
        ("GET", ["operations", name]) => (&method::REGION_OPERATION_GET, *name),
        ("DELETE", ["operations", name]) => (&method::REGION_OPERATION_DELETE, *name),
        ("POST", ["operations", name, "wait"]) => (&method::REGION_OPERATION_WAIT, *name),
        _ => return None,
    };
    Some((method, Place::Region(region), name))
}

fn in_project<'a>(verb: &str, rest: &[&'a str]) -> Found<'a> {
    let (method, name) = match (verb, rest) {
        ("GET", ["zones"]) => (&method::ZONE_LIST, ""),
        ("GET", ["regions"]) => (&method::REGION_LIST, ""),
        ("GET", ["aggregated", "instances"]) => (&method::AGGREGATED_LIST, ""),
        ("GET", ["aggregated", "operations"]) => (&method::OPERATION_AGGREGATED_LIST, ""),
        ("GET", ["aggregated", "machineTypes"]) => (&method::MACHINE_TYPE_AGGREGATED_LIST, ""),
        ("GET", ["global", "images", "family", name]) => (&method::IMAGE_OF_FAMILY, *name),
        ("GET", ["global", "images", name]) => (&method::IMAGE_GET, *name),
        ("GET", ["global", "operations"]) => (&method::GLOBAL_OPERATION_LIST, ""),
        ("GET", ["global", "operations", name]) => (&method::GLOBAL_OPERATION_GET, *name),
        ("DELETE", ["global", "operations", name]) => (&method::GLOBAL_OPERATION_DELETE, *name),
        ("POST", ["global", "operations", name, "wait"]) => (&method::GLOBAL_OPERATION_WAIT, *name),
        _ => return None,
    };
    Some((method, Place::Global, name))
}
