//! Whether a template's scheduling holds together, and suits its machine type.

use super::super::catalog::MachineType;
use super::super::error::ApiError;
use super::super::spec::Template;
use super::{Checked, Judge};

impl Judge<'_> {
    pub(super) fn check_scheduling(&self, machine: &MachineType, template: &Template) -> Checked {
        let scheduling = &template.scheduling;
        let bad = |field: &str, value: &str, why: &str| self.bad(&format!("scheduling.{field}"), value, why);
        if let Some(model) = scheduling.provisioning_model.as_deref() {
            match model {
                "STANDARD" | "SPOT" => {}
                "FLEX_START" | "RESERVATION_BOUND" => {
                    return Err(ApiError::not_built(&format!("provisioningModel {model}")));
                }
                _ => return Err(bad("provisioningModel", model, "Unknown provisioning model.")),
            }
        }
        if scheduling.is_spot() {
            if scheduling.automatic_restart == Some(true) {
                let why =
                    "Scheduling automaticRestart must be false when preemptible is true or SPOT is used.";
                return Err(bad("automaticRestart", "true", why));
            }
            if scheduling.on_host_maintenance.as_deref() == Some("MIGRATE") {
                let why = "Scheduling onHostMaintenance must be TERMINATE for Spot VMs.";
                return Err(bad("onHostMaintenance", "MIGRATE", why));
            }
        }
        if let Some(seconds) = scheduling.max_run_s
            && (scheduling.preemptible || !(30..=120 * 86_400).contains(&seconds))
        {
            let why = "Must be between 30 seconds and 120 days, and not with preemptible.";
            return Err(bad("maxRunDuration", &seconds.to_string(), why));
        }
        match scheduling.termination_action.as_deref() {
            None => {}
            Some(action @ ("STOP" | "DELETE")) => {
                let is_spot = scheduling.provisioning_model.as_deref() == Some("SPOT");
                if !is_spot && scheduling.max_run_s.is_none() {
                    let why =
                        "Instance termination action needs provisioning model SPOT or a limited run time.";
                    return Err(bad("instanceTerminationAction", action, why));
                }
            }
            Some(other) => return Err(bad("instanceTerminationAction", other, "Must be STOP or DELETE.")),
        }
        check_maintenance(machine, template)?;
        // In a bulk insert this is found later, and surfaces as a minimum that is not reached.
        match self.zone.is_some() && template.is_confidential() && scheduling.maintenance() != "TERMINATE" {
            true => Err(ApiError::bad_request(
                "Confidential VM instances do not support live migration: onHostMaintenance must be TERMINATE.",
            )),
            false => Ok(()),
        }
    }
}

/// What can move to another host must not be ended for it, and what cannot move must be.
fn check_maintenance(machine: &MachineType, template: &Template) -> Checked {
    let scheduling = &template.scheduling;
    if scheduling.maintenance() == "TERMINATE" {
        return match &*machine.family == "e2" && !scheduling.is_spot() {
            true => Err(ApiError::bad_request(
                "e2 instances do not support onHostMaintenance=TERMINATE unless they are preemptible.",
            )),
            false => Ok(()),
        };
    }
    let accelerators = template.echoed.get("guestAccelerators");
    match accelerators
        .and_then(|all| all.as_array())
        .is_some_and(|all| !all.is_empty())
    {
        true => Err(ApiError::bad_request(
            "Instances with guest accelerators do not support live migration.",
        )),
        false => Ok(()),
    }
}
