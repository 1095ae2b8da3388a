//! Regions, zones, machine types and projects: what there is, and the quotas that are shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{self, Pool};
use super::catalog::{MachineType, NoSuchType, region_of};
use super::error::ApiError;
use super::method;
use super::model::{Call, Model, Place};
use super::quota::limit_of;
use crate::limits;

/// One quota as `regions.get` and `projects.get` show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// The classic metric.
    pub metric: String,
    /// Its limit.
    pub limit: f64,
    /// Its usage, possibly stale.
    pub usage: u64,
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: Arc<str>,
    /// Its zones.
    pub zones: Vec<Arc<str>>,
    /// Its quotas.
    pub quotas: Vec<Quota>,
}

/// The subnet of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Where it is.
    pub region: Arc<str>,
    /// Its addresses, as a CIDR block.
    pub range: String,
    /// The address of its gateway.
    pub gateway: String,
    /// How many of them machines have.
    pub allocated: u32,
    /// How many are left.
    pub free: u32,
}

impl Model {
    /// `regions.get`.
    pub fn region(&mut self, call: &mut Call<'_>, project: &str, region: &str) -> Result<Region, ApiError> {
        // The place is checked by the rule for regions, the rate counts over the project.
        self.api(
            call,
            &method::REGION_GET,
            project,
            Place::Region(region),
            |model, call, project| Ok(model.region_view(call, project, region)),
        )
    }

    /// `regions.list`, all of them.
    pub fn regions(&mut self, call: &mut Call<'_>, project: &str) -> Result<Vec<Region>, ApiError> {
        self.api(
            call,
            &method::REGION_LIST,
            project,
            Place::Global,
            |model, call, project| {
                let mut names = model.limits.regions.clone();
                names.sort();
                names.retain(|name| model.has_region(name));
                call.count = names.len() as u64;
                Ok(names
                    .iter()
                    .map(|name| model.region_view(call, project, name))
                    .collect())
            },
        )
    }

    /// `zones.get`.
    pub fn zone(&mut self, call: &mut Call<'_>, project: &str, zone: &str) -> Result<Arc<str>, ApiError> {
        self.api(call, &method::ZONE_GET, project, Place::Zone(zone), |_, _, _| {
            Ok(zone.into())
        })
    }

    /// `zones.list`, all of them.
    pub fn zones(&mut self, call: &mut Call<'_>, project: &str) -> Result<Vec<Arc<str>>, ApiError> {
        self.api(
            call,
            &method::ZONE_LIST,
            project,
            Place::Global,
            |model, call, _| {
                let zones = model.all_zones();
                call.count = zones.len() as u64;
                Ok(zones)
            },
        )
    }

    /// `machineTypes.get`; custom types can be had too.
    pub fn machine_type(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        zone: &str,
        name: &str,
    ) -> Result<MachineType, ApiError> {
        self.api(
            call,
            &method::MACHINE_TYPE_GET,
            project,
            Place::Zone(zone),
            |model, _, index| {
                let missing = || {
                    let project = &model.projects[index].id;
                    ApiError::not_found(&format!("projects/{project}/zones/{zone}/machineTypes/{name}"))
                };
                match model.catalog.machine_type(name) {
                    Ok(machine) if model.catalog.offers(zone, &machine.family) => Ok(machine),
                    Ok(_) | Err(NoSuchType::Unknown) => Err(missing()),
                    Err(NoSuchType::BadCustom(why)) => Err(ApiError::field("machineType", name, &why)),
                }
            },
        )
    }

    /// `machineTypes.list`: all predefined types of a zone.
    pub fn machine_types(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        zone: &str,
    ) -> Result<Vec<MachineType>, ApiError> {
        self.api(
            call,
            &method::MACHINE_TYPE_LIST,
            project,
            Place::Zone(zone),
            |model, call, _| {
                let types: Vec<_> = model.catalog.types_in(zone).cloned().collect();
                call.count = types.len() as u64;
                Ok(types)
            },
        )
    }

    /// `machineTypes.aggregatedList`: zone by zone.
    pub fn aggregated_machine_types(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
    ) -> Result<Vec<(Arc<str>, MachineType)>, ApiError> {
        self.api(
            call,
            &method::MACHINE_TYPE_AGGREGATED_LIST,
            project,
            Place::Global,
            |model, call, _| {
                let zones = model.all_zones();
                let of = |zone: Arc<str>| {
                    let types: Vec<_> = model.catalog.types_in(&zone).cloned().collect();
                    types.into_iter().map(move |machine| (zone.clone(), machine))
                };
                let all: Vec<_> = zones.into_iter().flat_map(of).collect();
                call.count = all.len() as u64;
                Ok(all)
            },
        )
    }

    /// `projects.get`: its number and the quotas that count over all regions.
    pub fn project(&mut self, call: &mut Call<'_>, project: &str) -> Result<(u64, Vec<Quota>), ApiError> {
        self.api(
            call,
            &method::PROJECT_GET,
            project,
            Place::Global,
            |model, call, project| {
                let metrics = model.limits.project_quotas.keys().cloned().collect();
                Ok((
                    model.projects[project].number,
                    model.quotas(call, project, "", metrics),
                ))
            },
        )
    }

    /// `subnetworks.get`. There is one subnet a region, `default`, as in a network of auto mode.
    pub fn subnetwork(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        region: &str,
        name: &str,
    ) -> Result<Subnet, ApiError> {
        self.api(
            call,
            &method::SUBNETWORK_GET,
            project,
            Place::Region(region),
            |model, _, index| match name {
                "default" => Ok(model.subnet(index, region)),
                _ => {
                    let project = &model.projects[index].id;
                    let path = format!("projects/{project}/regions/{region}/subnetworks/{name}");
                    Err(ApiError::not_found(&path))
                }
            },
        )
    }

    /// `subnetworks.list`: the one of the region.
    pub fn subnetworks(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        region: &str,
    ) -> Result<Subnet, ApiError> {
        self.api(
            call,
            &method::SUBNETWORK_LIST,
            project,
            Place::Region(region),
            |model, call, index| {
                call.count = 1;
                Ok(model.subnet(index, region))
            },
        )
    }

    fn subnet(&self, project: usize, region: &str) -> Subnet {
        let used = self.projects[project].subnets.get(region).map_or(0, Pool::used);
        Subnet {
            region: region.into(),
            range: addresses::range(self.region_index(region), self.limits.subnet_addresses),
            gateway: addresses::gateway(self.region_index(region)),
            allocated: used,
            free: self.limits.subnet_addresses.saturating_sub(used),
        }
    }

    fn region_view(&self, call: &mut Call<'_>, project: usize, region: &str) -> Region {
        let mut metrics: Vec<String> = self.limits.quotas.keys().cloned().collect();
        if let Some(regional) = self.limits.regional.get(region) {
            metrics.extend(regional.quotas.keys().cloned());
        }
        metrics.sort();
        metrics.dedup();
        Region {
            name: region.into(),
            zones: self.zones_of(region),
            quotas: self.quotas(call, project, region, metrics),
        }
    }

    fn quotas(&self, call: &mut Call<'_>, project: usize, region: &str, metrics: Vec<String>) -> Vec<Quota> {
        let lag = Duration::try_from_secs_f64(self.limits.usage_lag_s).unwrap_or_default();
        let account = &self.projects[project];
        let mut quotas = Vec::with_capacity(metrics.len());
        for metric in metrics {
            let mut limit = limit_of(&self.limits, region, &metric);
            if call.faults.any("gce.quota") {
                let subject = BTreeMap::from([
                    ("project", &*account.id),
                    ("region", region),
                    ("metric", metric.as_str()),
                    ("family", ""),
                ]);
                // A lowered limit is shown; a quota that only refuses is not.
                let fault = call.faults.standing(call.now, "gce.quota", &subject, call.out);
                limit = fault
                    .and_then(|fault| fault.number("limit"))
                    .map_or(limit, |lowered| lowered.min(limit));
            }
            let usage = account.ledger.shown(call.now, lag, region, &metric);
            quotas.push(Quota { metric, limit, usage });
        }
        quotas
    }

    /// Where a region stands among all, for its block of addresses.
    pub(super) fn region_index(&self, zone: &str) -> usize {
        let region = region_of(zone);
        self.limits
            .regions
            .iter()
            .position(|known| known == region)
            .unwrap_or_default()
    }

    /// The limits in force.
    pub fn limits(&self) -> &limits::Gce {
        &self.limits
    }
}
