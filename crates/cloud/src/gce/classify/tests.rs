use google_cloud_compute_v1::model::{
    ErrorInfo, Operation, QuotaExceededInfo,
    operation::{
        Error,
        error::{Errors, errors::ErrorDetails},
    },
};
use proptest::prelude::{any, prop_assert, prop_assert_ne, prop_assume, proptest};

use super::*;

fn reply(status: u16, reason: &str, message: &str) -> Verdict {
    judge_reply(status, true, &[OperationFault::new(reason, message)])
}

fn quota_class(metric: &str, limit: Option<u64>) -> RefusalClass {
    RefusalClass::Quota {
        metric: metric.into(),
        limit,
    }
}

#[test]
fn each_row_of_the_http_table_has_its_class() {
    let quota_words = "Quota 'N2_CPUS' exceeded.  Limit: 24.0 in region us-central1.";
    for (status, reason, message, class) in [
        (
            400,
            "invalid",
            "Invalid value for field 'x'",
            RefusalClass::Broken,
        ),
        (400, "required", "", RefusalClass::Broken),
        (400, "invalidParameter", "", RefusalClass::Broken),
        (400, "badRequest", "", RefusalClass::Broken),
        (401, "authError", "", RefusalClass::Denied),
        (
            403,
            "quotaExceeded",
            quota_words,
            quota_class("N2_CPUS", Some(24)),
        ),
        (
            403,
            "rateLimitExceeded",
            "Rate Limit Exceeded",
            RefusalClass::Rate,
        ),
        (
            403,
            "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
            "Rate Limit Exceeded",
            RefusalClass::Rate,
        ),
        (403, "forbidden", "", RefusalClass::Denied),
        (403, "", "", RefusalClass::Denied),
        (405, "", "", RefusalClass::Broken),
        (409, "alreadyExists", "", RefusalClass::Exists),
        (412, "conditionNotMet", "", RefusalClass::Denied),
        (429, "rateLimitExceeded", "", RefusalClass::Rate),
        (
            503,
            "insufficientCapacity",
            "",
            RefusalClass::Stockout { zone: None },
        ),
        (
            503,
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "",
            RefusalClass::Stockout { zone: None },
        ),
        (501, "", "", RefusalClass::Broken),
    ] {
        assert_eq!(
            reply(status, reason, message),
            Verdict::Refused(class),
            "{status} {reason}"
        );
    }
}

#[test]
fn what_does_not_exist_is_absent() {
    assert_eq!(reply(404, "notFound", ""), Verdict::Absent);
}

#[test]
fn a_failing_server_leaves_the_outcome_open() {
    for (status, reason) in [
        (500, "internalError"),
        (500, "INTERNAL_ERROR"),
        (502, ""),
        (503, "backendError"),
        (504, ""),
        (408, ""),
    ] {
        assert_eq!(reply(status, reason, ""), Verdict::Unclear, "{status} {reason}");
    }
}

#[test]
fn a_page_of_a_proxy_proves_nothing() {
    for status in [200, 301, 400, 403, 404, 407, 409, 500, 502, 503] {
        assert_eq!(judge_reply(status, false, &[]), Verdict::Unclear, "{status}");
    }
    assert_eq!(judge_reply(429, false, &[]), Verdict::Refused(RefusalClass::Rate));
}

#[test]
fn each_row_of_the_operation_table_has_its_class() {
    let zone = Some(Zone::new("us-central1-a"));
    let words = "The zone 'projects/p/zones/us-central1-a' does not have enough resources available";
    for (code, message, status, class) in [
        (
            "QUOTA_EXCEEDED",
            "Quota 'CPUS' exceeded.  Limit: 8.0",
            403,
            quota_class("CPUS", Some(8)),
        ),
        (
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            words,
            503,
            RefusalClass::Stockout { zone: zone.clone() },
        ),
        (
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            words,
            503,
            RefusalClass::Stockout { zone },
        ),
        (
            "RESOURCE_POOL_EXHAUSTED",
            "",
            503,
            RefusalClass::Stockout { zone: None },
        ),
        (
            "REGION_RESOURCE_POOL_EXHAUSTED",
            "",
            503,
            RefusalClass::Stockout { zone: None },
        ),
        (
            "VM_MIN_COUNT_NOT_REACHED",
            "",
            503,
            RefusalClass::Stockout { zone: None },
        ),
        ("RESOURCE_ALREADY_EXISTS", "", 409, RefusalClass::Exists),
        ("RESOURCE_NOT_FOUND", "", 404, RefusalClass::Broken),
        ("RESOURCE_NOT_READY", "", 400, RefusalClass::Internal),
        (
            "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
            "",
            400,
            RefusalClass::Internal,
        ),
        ("CONDITION_NOT_MET", "", 412, RefusalClass::Denied),
        ("IP_SPACE_EXHAUSTED", "", 400, RefusalClass::Addresses),
        (
            "IP_SPACE_EXHAUSTED_WITH_DETAILS",
            "",
            503,
            RefusalClass::Addresses,
        ),
        ("INVALID_RESERVATION", "", 400, RefusalClass::Broken),
        ("RESERVATION_NOT_FOUND", "", 400, RefusalClass::Broken),
        (
            "VM_EXTERNAL_IP_ACCESS_POLICY_CONSTRAINT",
            "",
            412,
            RefusalClass::Denied,
        ),
        ("PERMISSIONS_ERROR", "", 403, RefusalClass::Denied),
        ("INVALID_USAGE", "", 400, RefusalClass::Broken),
        ("INVALID_FIELD_VALUE", "", 400, RefusalClass::Broken),
        ("INTERNAL_ERROR", "", 500, RefusalClass::Internal),
        ("UNSUPPORTED_OPERATION", "", 400, RefusalClass::Broken),
        ("SOMETHING_NEW", "", 403, RefusalClass::Denied),
        ("SOMETHING_NEW", "", 400, RefusalClass::Broken),
        ("SOMETHING_NEW", "", 500, RefusalClass::Internal),
    ] {
        let fault = [OperationFault::new(code, message)];
        assert_eq!(
            judge_faults(&fault, Some(status), false),
            class,
            "{code} {status}"
        );
    }
}

#[test]
fn a_spot_machine_reclaimed_during_its_creation_is_told_from_a_bad_request() {
    let fault = [OperationFault::new("UNSUPPORTED_OPERATION", "")];
    assert_eq!(judge_faults(&fault, Some(400), true), RefusalClass::Preempted);
}

#[test]
fn the_cause_is_found_behind_the_summary() {
    let faults = [
        OperationFault::new(
            "VM_MIN_COUNT_NOT_REACHED",
            "Requested minimum count of 3 VMs could not be created.",
        ),
        OperationFault::new("SOMETHING_NEW", ""),
        OperationFault::new(
            "QUOTA_EXCEEDED",
            "Quota 'C2_CPUS' exceeded.  Limit: 0.0 in region x.",
        ),
        OperationFault::new("ZONE_RESOURCE_POOL_EXHAUSTED", ""),
    ];
    assert_eq!(
        judge_faults(&faults, Some(503), false),
        quota_class("C2_CPUS", Some(0))
    );
    assert_eq!(
        judge_faults(&faults[..2], Some(503), false),
        RefusalClass::Internal
    );
}

#[test]
fn data_goes_before_words_and_families_are_named() {
    let details = |detail: ErrorDetails, code: &str| {
        let error = Errors::new()
            .set_code(code)
            .set_message("Quota 'CPUS_PER_VM_FAMILY' exceeded.  Limit: 1.0");
        Operation::new().set_error(Error::new().set_errors([error.set_error_details([detail])]))
    };
    let quota = QuotaExceededInfo::new()
        .set_metric_name("compute.googleapis.com/cpus_per_vm_family")
        .set_dimensions([("region", "us-central1"), ("vm_family", "C4")])
        .set_limit(24.0);
    let operation = details(ErrorDetails::new().set_quota_info(quota), "QUOTA_EXCEEDED");
    let class = judge_faults(&faults_of(&operation), Some(403), false);
    assert_eq!(class, quota_class("CPUS_PER_VM_FAMILY:C4", Some(24)));

    let info = ErrorInfo::new()
        .set_reason("resource_availability")
        .set_metadatas([("zone", "us-east4-b")]);
    let code = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS";
    let operation = details(ErrorDetails::new().set_error_info(info), code);
    let class = judge_faults(&faults_of(&operation), Some(503), false);
    assert_eq!(
        class,
        RefusalClass::Stockout {
            zone: Some(Zone::new("us-east4-b"))
        }
    );
}

#[test]
fn an_operation_that_only_has_a_status_is_judged_by_it() {
    assert_eq!(judge_faults(&[], Some(403), false), RefusalClass::Denied);
    assert_eq!(judge_faults(&[], None, false), RefusalClass::Internal);
}

proptest! {
    #[test]
    fn a_5xx_is_never_taken_for_a_permanent_refusal(status in 502_u16..600, google in any::<bool>()) {
        prop_assert!(judge_reply(status, google, &[]) == Verdict::Unclear);
    }

    #[test]
    fn any_words_are_read_without_harm(code in "\\PC{0,30}", message in "\\PC{0,60}", status in 100_u16..600) {
        let fault = OperationFault::new(code, message);
        prop_assert_ne!(judge_reply(status, false, std::slice::from_ref(&fault)), Verdict::Absent);
        let _ = judge_faults(&[fault], Some(status), true);
    }

    #[test]
    fn a_refusal_for_rate_is_always_worth_another_try(status in 400_u16..500) {
        // What does not exist is absent, whatever else is said.
        prop_assume!(status != 404);
        let rate = [OperationFault::new("rateLimitExceeded", "")];
        prop_assert!(matches!(judge_reply(status, true, &rate), Verdict::Refused(c) if c.is_transient()));
    }
}
