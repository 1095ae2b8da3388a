//! From the client's types to the few facts that classes depend on.

use google_cloud_compute_v1::model::{Operation, QuotaExceededInfo, operation::error::Errors};
use gust_core::ids::Zone;

use super::OperationFault;

/// The errors of an operation; empty if it has none (or only an HTTP status).
pub(in crate::gce) fn faults_of(operation: &Operation) -> Vec<OperationFault> {
    operation
        .error
        .iter()
        .flat_map(|e| &e.errors)
        .map(fault_of)
        .collect()
}

fn fault_of(error: &Errors) -> OperationFault {
    let message = error.message.clone().unwrap_or_default();
    let mut fault = OperationFault::new(error.code.clone().unwrap_or_default(), message);
    for detail in &error.error_details {
        if let Some(quota) = &detail.quota_info {
            // What is told as data goes before what was read from words.
            fault.metric = metric_of(quota).or(fault.metric);
            fault.limit = quota.limit.and_then(whole).or(fault.limit);
        }
        if let Some(zone) = detail
            .error_info
            .as_ref()
            .and_then(|info| info.metadatas.get("zone"))
        {
            fault.zone = Some(Zone::new(last_part(zone)));
        }
    }
    fault
}

impl OperationFault {
    /// A fault with what can be read from its message: the metric in `Quota 'N2_CPUS' exceeded.  Limit: 24.0`,
    /// the zone in `The zone 'projects/P/zones/Z' does not …`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let quoted_after = |mark: &str| {
            let rest = message.split_once(mark)?.1;
            rest.split_once('\'').map(|(text, _)| text.to_owned())
        };
        let metric = quoted_after("Quota '").filter(|m| !m.is_empty());
        let limit = message.split_once("Limit: ").and_then(|(_, rest)| {
            let number: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            number.trim_end_matches('.').parse().ok().and_then(whole)
        });
        let zone = quoted_after("zone '").map(|path| Zone::new(last_part(&path)));
        Self {
            code: code.into(),
            metric,
            limit,
            zone,
            message,
        }
    }
}

/// Our name of a metric: that of `regions.get`, or with the family behind a colon where Google counts by
/// family (`CPUS_PER_VM_FAMILY:C4`).
fn metric_of(quota: &QuotaExceededInfo) -> Option<String> {
    let name = last_part(quota.metric_name.as_deref()?).to_uppercase();
    let family = quota.dimensions.get("vm_family").map(|f| f.to_uppercase());
    Some(match (name.as_str(), family) {
        ("LOCAL_SSD_TOTAL_STORAGE_PER_VM_FAMILY", Some(family)) => {
            format!("LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY:{family}")
        }
        (_, Some(family)) => format!("{name}:{family}"),
        (_, None) => name,
    })
}

fn last_part(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

fn whole(limit: f64) -> Option<u64> {
    // The cast saturates, and no quota comes near the limits of f64's whole numbers.
    (limit.is_finite() && limit >= 0.0).then_some(limit as u64)
}
