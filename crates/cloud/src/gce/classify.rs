//! What Google said, by what can be done about it. Pure.
//!
//! Two places tell of failure: the HTTP reply of a call (refused, nothing happened), and the errors of an
//! operation that ended (some or all machines were not created). Both are judged by codes and reasons, never
//! by the words of a message; words are only read for the figures they carry. The whole list of errors is
//! read, for the first is often a summary: `VM_MIN_COUNT_NOT_REACHED` comes before its causes.
//!
//! Sources: docs.cloud.google.com, "Troubleshooting bulk VM creation", "API rate limits" and "Operations
//! quota"; the codes that other schedulers on GCE meet.

use gust_core::{ids::Zone, ports::RefusalClass};

mod details;

pub(super) use details::faults_of;

/// What an HTTP reply means for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refused, and nothing happened.
    Refused(RefusalClass),
    /// Refused since what the call names does not exist.
    Absent,
    /// It may or may not have had its effect.
    Unclear,
}

/// One error of an operation, or one reason of an HTTP reply, as far as classes depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperationFault {
    /// Code such as `ZONE_RESOURCE_POOL_EXHAUSTED`.
    pub code: String,
    /// The words.
    pub message: String,
    /// Metric of the quota that is used up, by our name for it.
    pub metric: Option<String>,
    /// Its limit.
    pub limit: Option<u64>,
    /// The zone meant.
    pub zone: Option<Zone>,
}

/// Judges the HTTP reply of a call.
///
/// `is_google` says whether the body was an error in Google's form. A proxy's page proves nothing, so
/// without that form only "too many requests" is believed.
pub fn judge_reply(status: u16, is_google: bool, faults: &[OperationFault]) -> Verdict {
    if status == 429 {
        return Verdict::Refused(RefusalClass::Rate);
    }
    if !is_google {
        return Verdict::Unclear;
    }
    if status == 404 {
        return Verdict::Absent;
    }
    // Allocation codes are also met as reasons of an HTTP refusal, with whatever status.
    if let Some(class) = most_specific(faults.iter().filter_map(known)) {
        return Verdict::Refused(class);
    }
    match status {
        408 => Verdict::Unclear,
        401 | 403 | 412 => Verdict::Refused(RefusalClass::Denied),
        // No such method: the endpoint is no GCE, or lacks what we need. Repeating will not add it.
        501 => Verdict::Refused(RefusalClass::Broken),
        400..=499 => Verdict::Refused(RefusalClass::Broken),
        _ => Verdict::Unclear,
    }
}

/// Judges the errors of an operation that ended. `status` is its `httpErrorStatusCode`; `spot` says that
/// its machines were Spot ones, where that is known.
pub fn judge_faults(faults: &[OperationFault], status: Option<u16>, spot: bool) -> RefusalClass {
    let class_of = |fault: &OperationFault| match fault.code.as_str() {
        // Seen when a Spot machine is reclaimed while it is created; else a combination that cannot be.
        "UNSUPPORTED_OPERATION" if spot => (RefusalClass::Preempted, Weight::Cause),
        _ => known(fault).unwrap_or_else(|| (by_status(status), Weight::Vague)),
    };
    most_specific(faults.iter().map(class_of)).unwrap_or_else(|| by_status(status))
}

/// The class of an operation error code, or of a reason in a reply; `None` if this version does not know it.
pub fn class_of_code(code: &str) -> Option<RefusalClass> {
    known(&OperationFault {
        code: code.to_owned(),
        ..OperationFault::default()
    })
    .map(|(class, _)| class)
}

/// How much a class says: the weightiest of several is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Summary,
    Vague,
    Cause,
}

fn most_specific(classes: impl Iterator<Item = (RefusalClass, Weight)>) -> Option<RefusalClass> {
    // The first of the weightiest: `max_by_key` would take the last.
    classes
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(class, _)| class)
}

fn known(fault: &OperationFault) -> Option<(RefusalClass, Weight)> {
    let stockout = || RefusalClass::Stockout {
        zone: fault.zone.clone(),
    };
    let code = fault.code.as_str();
    let class = match code {
        "VM_MIN_COUNT_NOT_REACHED" => return Some((stockout(), Weight::Summary)),
        "INTERNAL_ERROR" | "INTERNAL" | "internalError" | "backendError" => {
            // As a reason of an HTTP 5xx these leave the outcome open, so they are no class there; the
            // status decides, and for operations `by_status` has the same answer.
            return None;
        }
        "rateLimitExceeded"
        | "userRateLimitExceeded"
        | "dailyLimitExceeded"
        | "RATE_LIMIT_EXCEEDED"
        | "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED"
        | "RESOURCE_OPERATION_RATE_EXCEEDED"
        | "OPERATION_RATE_EXCEEDED" => RefusalClass::Rate,
        "quotaExceeded" => quota(fault),
        "insufficientCapacity" => stockout(),
        "alreadyExists" | "ALREADY_EXISTS" | "RESOURCE_ALREADY_EXISTS" => RefusalClass::Exists,
        "RESOURCE_NOT_READY"
        | "resourceNotReady"
        | "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
        | "resourceInUseByAnotherResource" => RefusalClass::Internal,
        "conditionNotMet"
        | "CONDITION_NOT_MET"
        | "PERMISSIONS_ERROR"
        | "forbidden"
        | "accessNotConfigured"
        | "SERVICE_DISABLED" => RefusalClass::Denied,
        "RESOURCE_NOT_FOUND" | "INVALID_USAGE" | "INVALID_FIELD_VALUE" | "UNSUPPORTED_OPERATION" => {
            RefusalClass::Broken
        }
        _ if code.contains("POOL_EXHAUSTED") => stockout(),
        _ if code.starts_with("IP_SPACE_EXHAUSTED") => RefusalClass::Addresses,
        _ if code.contains("QUOTA") => quota(fault),
        _ if code.ends_with("_POLICY_CONSTRAINT") => RefusalClass::Denied,
        _ if code.starts_with("RESERVATION_") || code == "INVALID_RESERVATION" => RefusalClass::Broken,
        _ => return None,
    };
    Some((class, Weight::Cause))
}

fn quota(fault: &OperationFault) -> RefusalClass {
    let unknown = || "unknown".to_owned();
    RefusalClass::Quota {
        metric: fault.metric.clone().unwrap_or_else(unknown),
        limit: fault.limit,
    }
}

fn by_status(status: Option<u16>) -> RefusalClass {
    match status {
        Some(401 | 403 | 412) => RefusalClass::Denied,
        Some(409) => RefusalClass::Exists,
        Some(429) => RefusalClass::Rate,
        Some(400..=499) => RefusalClass::Broken,
        _ => RefusalClass::Internal,
    }
}

#[cfg(test)]
mod tests;
