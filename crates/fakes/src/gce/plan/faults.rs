//! Faults that meet a machine at its placement: stockouts, late quota, boots that go wrong.

use std::collections::BTreeMap;

use super::super::catalog::region_of;
use super::super::error::{ApiError, OpError};
use super::super::instance::Shape;
use super::super::quota::{Shortage, limit_of};
use super::{Boot, Planner};
use crate::fault::Fault;

impl Planner<'_, '_, '_> {
    pub(super) fn is_met(
        &mut self,
        kind: &str,
        project: &str,
        zone: &str,
        name: &str,
        shape: &Shape,
    ) -> Option<&Fault> {
        if !self.call.faults.any(kind) {
            return None;
        }
        let size = shape.machine.cpus.to_string();
        let subject = BTreeMap::from([
            ("project", project),
            ("region", region_of(zone)),
            ("zone", zone),
            ("family", &*shape.machine.family),
            ("size", size.as_str()),
            ("model", shape.template.scheduling.model()),
            ("machine_type", &*shape.machine.name),
            ("name", name),
            ("arch", shape.machine.arch.name()),
        ]);
        self.call
            .faults
            .check(self.call.now, kind, &subject, self.call.out)
    }

    pub(super) fn stockout(
        &mut self,
        project: &str,
        zone: &str,
        name: &str,
        shape: &Shape,
    ) -> Result<Option<OpError>, ApiError> {
        let Some(fault) = self.is_met("gce.stockout", project, zone, name, shape) else {
            return Ok(None);
        };
        if fault.number("status") == Some(503.0) {
            return Err(ApiError::insufficient_capacity(&format!(
                "zone 'projects/{project}/zones/{zone}'"
            )));
        }
        let with_details = fault
            .param("details")
            .is_some_and(|value| *value != serde_json::Value::Bool(false));
        let code = fault.text("code");
        let zones = self.model.zones_of(region_of(zone));
        let others: Vec<&str> = zones
            .iter()
            .map(|other| &**other)
            .filter(|other| *other != zone && self.model.catalog.offers(other, &shape.machine.family))
            .collect();
        let detailed = OpError::stockout_with_details(project, zone, &shape.machine.name, &others);
        let mut error = match with_details {
            true => detailed.clone(),
            false => OpError::stockout(project, zone),
        };
        match code.as_deref() {
            Some("RESOURCE_POOL_EXHAUSTED") => error.code = "RESOURCE_POOL_EXHAUSTED",
            Some("REGION_RESOURCE_POOL_EXHAUSTED") => error.code = "REGION_RESOURCE_POOL_EXHAUSTED",
            Some("UNSUPPORTED_OPERATION") => error = OpError::preempted_while_creating(),
            Some("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS") => {
                error = detailed;
            }
            _ => {}
        }
        Ok(Some(error))
    }

    pub(super) fn late_shortage(
        &mut self,
        project: &str,
        zone: &str,
        name: &str,
        shape: &Shape,
    ) -> Option<Shortage> {
        if !self.call.faults.any("gce.late-quota") {
            return None;
        }
        let region = self.wish.region.clone();
        shape.needs.iter().find_map(|need| {
            let metric = need.metric.split(':').next().unwrap_or_default();
            let subject = BTreeMap::from([
                ("project", project),
                ("region", &*region),
                ("zone", zone),
                ("metric", metric),
                ("family", &*shape.machine.family),
                ("name", name),
                ("machine_type", &*shape.machine.name),
            ]);
            let fault = self
                .call
                .faults
                .check(self.call.now, "gce.late-quota", &subject, self.call.out)?;
            let place = if need.is_project_wide { "" } else { &*region };
            let granted = limit_of(&self.model.limits, place, &need.metric);
            let limit = fault.number("limit").unwrap_or(granted);
            let region = (!need.is_project_wide).then(|| region.clone());
            Some(Shortage {
                metric: need.metric.clone(),
                limit,
                region,
            })
        })
    }

    pub(super) fn boot(&mut self, project: &str, zone: &str, name: &str, shape: &Shape) -> Boot {
        let mut boot = Boot::default();
        if let Some(slow) = self.is_met("gce.slow-boot", project, zone, name, shape) {
            let factor = slow.number("factor");
            boot.factor = factor.unwrap_or_default();
            boot.more_s = slow
                .number("boot_s")
                .unwrap_or(if factor.is_some() { 0.0 } else { 120.0 });
        }
        boot.is_stuck = self
            .is_met("gce.stuck-boot", project, zone, name, shape)
            .is_some();
        boot.is_broken = self
            .is_met("gce.broken-boot", project, zone, name, shape)
            .is_some();
        boot
    }
}
