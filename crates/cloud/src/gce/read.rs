//! Google's resources as core sees them.

use google_cloud_compute_v1::model::{
    Instance as Resource, Operation, Quota as ResourceQuota, instance::Status, operation,
};
use gust_core::{
    ids::{MachineName, Zone},
    ports::{Instance, InstanceStatus, OperationState, Quota, RefusalClass},
    time::Timestamp,
};

use super::classify::{faults_of, judge_faults};

/// An instance as core sees it; `None` if the reply lacks its name or id, which Google always sends.
pub(super) fn instance(resource: &Resource, zone: &Zone) -> Option<Instance> {
    Some(Instance {
        name: MachineName::new(resource.name.as_deref()?),
        id: resource.id?,
        zone: zone.clone(),
        status: resource.status.as_ref().map_or(InstanceStatus::Other, status),
        machine_type: last_part(resource.machine_type.as_deref().unwrap_or_default()).to_owned(),
        created_at: resource
            .creation_timestamp
            .as_deref()
            .and_then(Timestamp::parse_rfc3339),
    })
}

fn status(status: &Status) -> InstanceStatus {
    match status {
        Status::Pending | Status::Provisioning | Status::Staging => InstanceStatus::Starting,
        Status::Running => InstanceStatus::Running,
        Status::PendingStop | Status::Stopping | Status::Deprovisioning | Status::Suspending => {
            InstanceStatus::Stopping
        }
        // The v1 API shows a stopped VM as TERMINATED.
        Status::Terminated | Status::Stopped | Status::Suspended => InstanceStatus::Stopped,
        _ => InstanceStatus::Other,
    }
}

/// The state of an operation.
pub(super) fn operation_state(operation: &Operation) -> OperationState {
    if !is_done(operation) {
        return OperationState::Running;
    }
    let failed = failed_machines(operation);
    if !is_failed(operation) && failed == 0 {
        return OperationState::Succeeded;
    }
    let faults = faults_of(operation);
    let said = words(operation);
    OperationState::Failed {
        class: judge_faults(&faults, http_status(operation), false),
        message: if said.is_empty() {
            format!("{failed} machines were not created, and the operation does not say why")
        } else {
            said
        },
    }
}

/// True once nothing more will come of it.
pub(super) fn is_done(operation: &Operation) -> bool {
    operation.status == Some(operation::Status::Done)
}

/// True if it carries an error of its own.
pub(super) fn is_failed(operation: &Operation) -> bool {
    operation.error.as_ref().is_some_and(|e| !e.errors.is_empty())
        || operation
            .http_error_status_code
            .is_some_and(|status| status >= 400)
}

/// The HTTP status of its error, where it has one.
pub(super) fn http_status(operation: &Operation) -> Option<u16> {
    operation
        .http_error_status_code
        .and_then(|status| u16::try_from(status).ok())
}

/// How many machines of a bulk insert do not exist though they were asked for.
fn failed_machines(operation: &Operation) -> i64 {
    let per_location = operation.instances_bulk_insert_operation_metadata.iter();
    per_location
        .flat_map(|metadata| metadata.per_location_status.values())
        .map(|s| s.failed_to_create_vm_count.unwrap_or(0).max(0) + s.deleted_vm_count.unwrap_or(0).max(0))
        .map(i64::from)
        .sum()
}

/// How many machines of a bulk insert exist in each zone by the operation's own account; `None` where it
/// gives none.
pub(super) fn created_in(operation: &Operation) -> Option<Vec<(Zone, usize)>> {
    let metadata = operation.instances_bulk_insert_operation_metadata.as_ref()?;
    let mut zones: Vec<_> = metadata
        .per_location_status
        .iter()
        .map(|(location, status)| {
            let created = status.created_vm_count.unwrap_or(0) - status.deleted_vm_count.unwrap_or(0);
            (
                Zone::new(last_part(location)),
                usize::try_from(created).unwrap_or(0),
            )
        })
        .collect();
    zones.sort();
    Some(zones)
}

/// The errors of an operation in one line, codes first.
pub(super) fn words(operation: &Operation) -> String {
    let mut said: Vec<String> = Vec::new();
    for fault in faults_of(operation) {
        let line = match (fault.code.as_str(), fault.message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        if !said.contains(&line) {
            said.push(line);
        }
    }
    if said.is_empty() && is_failed(operation) {
        let status = operation.http_error_status_code.unwrap_or_default();
        said.push(format!(
            "HTTP {status} {}",
            operation.http_error_message.as_deref().unwrap_or_default()
        ));
    }
    said.join("; ")
}

/// A quota as core sees it; `None` if the reply lacks its name or limit.
pub(super) fn quota(quota: &ResourceQuota, project_wide: bool) -> Option<Quota> {
    Some(Quota {
        metric: quota.metric.as_ref()?.name()?.to_owned(),
        limit: quota.limit?,
        usage: quota.usage.unwrap_or(0.0),
        project_wide,
    })
}

/// The last part of a URL or path: the bare name.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

/// What a machine that vanished right after its creation most likely met.
pub(super) fn vanished(spot: bool) -> (RefusalClass, String) {
    let class = if spot {
        RefusalClass::Preempted
    } else {
        RefusalClass::Internal
    };
    (class, "the machine was created and is gone already".to_owned())
}

#[cfg(test)]
mod tests {
    use google_cloud_compute_v1::model::{
        BulkInsertOperationStatus, InstancesBulkInsertOperationMetadata,
        operation::{Error, error::Errors},
    };

    use super::*;

    fn bulk(created: i32, failed: i32, deleted: i32) -> Operation {
        let status = BulkInsertOperationStatus::new()
            .set_created_vm_count(created)
            .set_failed_to_create_vm_count(failed)
            .set_deleted_vm_count(deleted);
        Operation::new()
            .set_status(operation::Status::Done)
            .set_instances_bulk_insert_operation_metadata(
                InstancesBulkInsertOperationMetadata::new()
                    .set_per_location_status([("zones/us-central1-a", status)]),
            )
    }

    #[test]
    fn an_operation_is_running_until_it_says_done() {
        assert_eq!(operation_state(&Operation::new()), OperationState::Running);
        let odd = Operation::new().set_status("RESTING");
        assert_eq!(operation_state(&odd), OperationState::Running);
    }

    #[test]
    fn done_alone_is_no_success() {
        assert_eq!(operation_state(&bulk(3, 0, 0)), OperationState::Succeeded);
        assert!(matches!(
            operation_state(&bulk(2, 1, 0)),
            OperationState::Failed { .. }
        ));
        assert!(matches!(
            operation_state(&bulk(2, 0, 2)),
            OperationState::Failed { .. }
        ));
        let refused = bulk(3, 0, 0).set_http_error_status_code(403);
        assert!(matches!(
            operation_state(&refused),
            OperationState::Failed {
                class: RefusalClass::Denied,
                ..
            }
        ));
    }

    #[test]
    fn all_errors_are_told_codes_first() {
        let errors = [
            Errors::new()
                .set_code("VM_MIN_COUNT_NOT_REACHED")
                .set_message("Requested minimum count of 1."),
            Errors::new().set_code("ZONE_RESOURCE_POOL_EXHAUSTED"),
            Errors::new().set_code("ZONE_RESOURCE_POOL_EXHAUSTED"),
        ];
        let operation = bulk(0, 3, 0).set_error(Error::new().set_errors(errors));
        let OperationState::Failed { class, message } = operation_state(&operation) else {
            panic!("it failed");
        };
        assert_eq!(class, RefusalClass::Stockout { zone: None });
        assert_eq!(
            message,
            "VM_MIN_COUNT_NOT_REACHED: Requested minimum count of 1.; ZONE_RESOURCE_POOL_EXHAUSTED"
        );
    }

    #[test]
    fn rolled_back_machines_are_not_counted_as_created() {
        let zones = created_in(&bulk(3, 0, 3)).expect("the operation has an account");
        assert_eq!(zones, [(Zone::new("us-central1-a"), 0)]);
    }

    #[test]
    fn states_this_version_does_not_know_are_kept_apart() {
        assert_eq!(status(&Status::from("HIBERNATING")), InstanceStatus::Other);
        assert_eq!(status(&Status::from("TERMINATED")), InstanceStatus::Stopped);
    }

    #[test]
    fn a_metric_this_version_does_not_know_keeps_its_name() {
        let new = ResourceQuota::new().set_metric("C9_CPUS").set_limit(5.0);
        assert_eq!(quota(&new, false).map(|q| q.metric).as_deref(), Some("C9_CPUS"));
        let known = ResourceQuota::new().set_metric("N2D_CPUS").set_limit(5.0);
        assert_eq!(
            quota(&known, false).map(|q| q.metric).as_deref(),
            Some("N2D_CPUS")
        );
    }
}
