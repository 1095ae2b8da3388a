//! `[[project.commitment]]` and `[[project.reservation]]`: what the operator has paid for already.

use gust_core::ids::{MachineTypeName, Region, Zone};
use serde::Serialize;

use super::{
    project,
    section::{Complaint, Field, Section},
    value,
};

/// Committed use of a family in a region, as far as gust's machines may use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commitment {
    /// The region.
    pub region: Region,
    /// The family, such as `n2d`.
    pub family: String,
    /// vCPUs.
    pub vcpus: u64,
    /// Memory in GiB.
    pub memory: u64,
}

/// Machines reserved in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reservation {
    /// The zone.
    pub zone: Zone,
    /// Their type.
    pub machine_type: MachineTypeName,
    /// How many.
    pub count: u32,
}

pub(super) fn commitments(section: &Section<'_>) -> Vec<Commitment> {
    let all = sections(section, "commitment");
    let read = all.into_iter().filter_map(|section| {
        let region = section
            .required("region", "\"us-central1\"")
            .and_then(|f| f.parsed("a region", project::region_name));
        let family = section
            .required("family", "\"n2d\"")
            .and_then(|f| f.parsed("a family", |t| value::name(t, 10, "")));
        let vcpus = section
            .required("vcpus", "64")
            .and_then(|f| f.integer(1..=10_000_000));
        let memory = section
            .required("memory", "256")
            .and_then(|f| f.integer(1..=100_000_000));
        section.close();
        Some(Commitment {
            region: region?,
            family: family?,
            vcpus: vcpus?,
            memory: memory?,
        })
    });
    read.collect()
}

pub(super) fn reservations(section: &Section<'_>) -> Vec<Reservation> {
    let all = sections(section, "reservation");
    let read = all.into_iter().filter_map(|section| {
        let zone = section
            .required("zone", "\"us-central1-a\"")
            .and_then(|f| f.parsed("a zone", zone_name));
        let machine_type = section
            .required("machine_type", "\"n2d-standard-16\"")
            .and_then(|f| f.parsed("a machine type", |t| value::name(t, 63, "-")));
        let count = section
            .required("count", "4")
            .and_then(|f| f.integer(1..=1_000_000));
        section.close();
        Some(Reservation {
            zone: zone?,
            machine_type: MachineTypeName::new(machine_type?),
            count: u32::try_from(count?).ok()?,
        })
    });
    read.collect()
}

fn sections<'a>(section: &Section<'a>, key: &'static str) -> Vec<Section<'a>> {
    let Some(field) = section.field(key) else {
        return Vec::new();
    };
    let items: Vec<Field<'a>> = field.items("a list of tables").unwrap_or_default();
    items.iter().filter_map(|item| item.section("a table")).collect()
}

fn zone_name(text: &str) -> Result<Zone, Complaint> {
    let zone = Zone::new(text);
    project::region_name(zone.region().as_str())
        .map(|_| zone)
        .map_err(|_| Complaint::new(format!("`{text}` is no zone")).hint("for example \"us-central1-a\""))
}
