//! Methods that Google has and the fake has not. They answer 501, so that they are not taken for misspelled paths.

use super::route::Found;
use crate::gce::method::{Kin, Method, unbuilt};
use crate::gce::model::Place;

/// Verb and path below the project (`*` is any name), and the method.
type Entry = (&'static str, &'static [&'static str], Method);

const Z: &str = "zones";
const R: &str = "regions";

static UNBUILT: &[Entry] = &[
    (
        "POST",
        &[Z, "*", "instances", "*", "setTags"],
        unbuilt("compute.instances.setTags", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "setMachineType"],
        unbuilt("compute.instances.setMachineType", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "setScheduling"],
        unbuilt("compute.instances.setScheduling", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "setServiceAccount"],
        unbuilt("compute.instances.setServiceAccount", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "setDeletionProtection"],
        unbuilt("compute.instances.setDeletionProtection", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "attachDisk"],
        unbuilt("compute.instances.attachDisk", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "detachDisk"],
        unbuilt("compute.instances.detachDisk", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "addAccessConfig"],
        unbuilt("compute.instances.addAccessConfig", Kin::Write),
    ),
    (
        "POST",
        &[Z, "*", "instances", "*", "deleteAccessConfig"],
        unbuilt("compute.instances.deleteAccessConfig", Kin::Write),
    ),
    (
        "PUT",
        &[Z, "*", "instances", "*"],
        unbuilt("compute.instances.update", Kin::Write),
    ),
    (
        "GET",
        &[Z, "*", "disks"],
        unbuilt("compute.disks.list", Kin::List),
    ),
    (
        "GET",
        &[Z, "*", "disks", "*"],
        unbuilt("compute.disks.get", Kin::Read),
    ),
    (
        "POST",
        &[Z, "*", "disks"],
        unbuilt("compute.disks.insert", Kin::Write),
    ),
    (
        "DELETE",
        &[Z, "*", "disks", "*"],
        unbuilt("compute.disks.delete", Kin::Write),
    ),
    (
        "GET",
        &[Z, "*", "diskTypes"],
        unbuilt("compute.diskTypes.list", Kin::List),
    ),
    (
        "GET",
        &[Z, "*", "diskTypes", "*"],
        unbuilt("compute.diskTypes.get", Kin::Read),
    ),
    (
        "GET",
        &[Z, "*", "acceleratorTypes"],
        unbuilt("compute.acceleratorTypes.list", Kin::List),
    ),
    (
        "GET",
        &[Z, "*", "acceleratorTypes", "*"],
        unbuilt("compute.acceleratorTypes.get", Kin::Read),
    ),
    (
        "GET",
        &[Z, "*", "reservations"],
        unbuilt("compute.reservations.list", Kin::List),
    ),
    (
        "GET",
        &[Z, "*", "reservations", "*"],
        unbuilt("compute.reservations.get", Kin::Read),
    ),
    (
        "GET",
        &[R, "*", "commitments"],
        unbuilt("compute.regionCommitments.list", Kin::List),
    ),
    (
        "GET",
        &[R, "*", "commitments", "*"],
        unbuilt("compute.regionCommitments.get", Kin::Read),
    ),
    (
        "GET",
        &[R, "*", "diskTypes"],
        unbuilt("compute.regionDiskTypes.list", Kin::List),
    ),
    (
        "GET",
        &["global", "networks"],
        unbuilt("compute.networks.list", Kin::GlobalList),
    ),
    (
        "GET",
        &["global", "networks", "*"],
        unbuilt("compute.networks.get", Kin::GlobalRead),
    ),
    (
        "GET",
        &["global", "images"],
        unbuilt("compute.images.list", Kin::GlobalList),
    ),
    (
        "GET",
        &["aggregated", "disks"],
        unbuilt("compute.disks.aggregatedList", Kin::Aggregated),
    ),
    (
        "GET",
        &["aggregated", "diskTypes"],
        unbuilt("compute.diskTypes.aggregatedList", Kin::Aggregated),
    ),
    (
        "GET",
        &["aggregated", "subnetworks"],
        unbuilt("compute.subnetworks.aggregatedList", Kin::Aggregated),
    ),
    (
        "GET",
        &["aggregated", "acceleratorTypes"],
        unbuilt("compute.acceleratorTypes.aggregatedList", Kin::Aggregated),
    ),
    (
        "GET",
        &["aggregated", "reservations"],
        unbuilt("compute.reservations.aggregatedList", Kin::Aggregated),
    ),
    (
        "GET",
        &["aggregated", "commitments"],
        unbuilt("compute.regionCommitments.aggregatedList", Kin::Aggregated),
    ),
];

/// The unbuilt method of a verb and a path below the project.
pub(super) fn find<'a>(verb: &str, path: &[&'a str]) -> Found<'a> {
    let fits = |(of, pattern, _): &&Entry| {
        let mut parts = pattern.iter().zip(path);
        *of == verb
            && pattern.len() == path.len()
            && parts.all(|(known, part)| *known == "*" || known == part)
    };
    let (_, _, method) = UNBUILT.iter().find(fits)?;
    let place = match path {
        ["zones", zone, ..] => Place::Zone(zone),
        ["regions", region, ..] => Place::Region(region),
        _ => Place::Global,
    };
    Some((method, place, ""))
}
