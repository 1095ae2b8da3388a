use super::*;
use crate::gce::QuotaRefusal;

fn tight(metric: &str, limit: f64) -> Limits {
    let mut limits = Limits::demo();
    limits.gce.quotas.insert(metric.into(), limit);
    limits
}

#[test]
fn a_classic_quota_that_does_not_fit_the_minimum_is_refused_at_once() {
    let mut world = World::new(&tight("N2D_CPUS", 8.0));
    let refused = world.bulk(bulk("n2d-standard-16", &["a"])).unwrap_err();
    assert_eq!((refused.status, refused.reason), (403, "quotaExceeded"));
    assert_eq!(
        refused.message,
        "Quota 'N2D_CPUS' exceeded.  Limit: 8.0 in region us-central1."
    );
    let operation = world.bulk(bulk("n2d-standard-4", &["a", "b", "c"])).unwrap();
    world.pass(30.0);
    let operation = world.operation(&operation);
    assert!(operation.errors.is_empty());
    assert_eq!(world.used("N2D_CPUS"), 8);
    assert_eq!(
        world.events("instance.refused")[0].fields["code"],
        "QUOTA_EXCEEDED"
    );
    let mut limits = tight("N2D_CPUS", 8.0);
    limits.gce.switches.quota_refusal = QuotaRefusal::Operation;
    world.model.set_limits(&limits);
    let operation = world.bulk(bulk("n2d-standard-4", &["d"])).unwrap();
    world.pass(30.0);
    assert_eq!(
        codes(&world.operation(&operation)),
        ["VM_MIN_COUNT_NOT_REACHED", "QUOTA_EXCEEDED"]
    );
}

#[test]
fn a_family_without_a_metric_is_refused_inside_with_quota_info() {
    let mut limits = Limits::demo();
    limits.gce.family_quotas.insert("C4A".into(), 2.0);
    let mut world = World::new(&limits);
    let operation = world.bulk(bulk("c4a-standard-4", &["a"])).unwrap();
    world.pass(30.0);
    let operation = world.operation(&operation);
    assert_eq!(codes(&operation), ["VM_MIN_COUNT_NOT_REACHED", "QUOTA_EXCEEDED"]);
    let shown = world.model.show_operation(&operation);
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown["error"]["errors"][1]).unwrap());
    let region = world
        .call(|model, call| model.region(call, DEFAULT_PROJECT, REGION))
        .unwrap();
    assert!(region.quotas.iter().all(|quota| !quota.metric.contains("FAMILY")));
}

#[test]
fn spot_counts_in_the_preemptible_quota_only_where_it_was_granted() {
    let mut world = World::demo();
    world
        .bulk(Bulk {
            template: spot("n2d-standard-4"),
            ..bulk("", &["a"])
        })
        .unwrap();
    assert_eq!((world.used("PREEMPTIBLE_CPUS"), world.used("N2D_CPUS")), (4, 0));
    let mut world = World::new(&tight("PREEMPTIBLE_CPUS", 0.0));
    world
        .bulk(Bulk {
            template: spot("n2d-standard-4"),
            ..bulk("", &["a"])
        })
        .unwrap();
    assert_eq!((world.used("PREEMPTIBLE_CPUS"), world.used("N2D_CPUS")), (0, 4));
}

#[test]
fn vcpus_come_back_at_terminated_and_the_rest_when_gone() {
    let mut world = World::demo();
    world.bulk(bulk("n2d-standard-4", &["a"])).unwrap();
    world.pass(30.0);
    let zone = world.named("a").zone.to_string();
    world
        .call(|model, call| model.stop(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(30.0);
    assert_eq!(world.named("a").status, Status::Terminated);
    assert_eq!(
        (
            world.used("N2D_CPUS"),
            world.used("INSTANCES"),
            world.used("DISKS_TOTAL_GB")
        ),
        (0, 1, 20)
    );
    world
        .call(|model, call| model.delete(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(30.0);
    assert_eq!((world.used("INSTANCES"), world.used("DISKS_TOTAL_GB")), (0, 0));
}

#[test]
fn a_disk_without_auto_delete_stays_and_counts() {
    let mut world = World::demo();
    let mut request = bulk("n2d-standard-4", &["a"]);
    request.template.disks[0].auto_delete = false;
    world.bulk(request).unwrap();
    world.pass(30.0);
    let zone = world.named("a").zone.to_string();
    world
        .call(|model, call| model.delete(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(30.0);
    assert_eq!((world.used("INSTANCES"), world.used("DISKS_TOTAL_GB")), (0, 20));
}

#[test]
fn usage_is_shown_late_but_admitted_by_the_truth() {
    let mut limits = tight("N2D_CPUS", 8.0);
    limits.gce.usage_lag_s = 20.0;
    let mut world = World::new(&limits);
    world.pass(100.0);
    world.bulk(bulk("n2d-standard-8", &["a"])).unwrap();
    world.pass(5.0);
    let shown = |world: &mut World| {
        let region = world
            .call(|model, call| model.region(call, DEFAULT_PROJECT, REGION))
            .unwrap();
        region
            .quotas
            .iter()
            .find(|quota| quota.metric == "N2D_CPUS")
            .unwrap()
            .usage
    };
    assert_eq!(shown(&mut world), 0);
    assert_eq!(
        world.bulk(bulk("n2d-standard-2", &["b"])).unwrap_err().reason,
        "quotaExceeded"
    );
    world.pass(20.0);
    assert_eq!(shown(&mut world), 8);
}

#[test]
fn faults_lower_a_quota_or_let_it_fail_late() {
    let mut world = World::demo();
    world.fault(json!({ "kind": "gce.quota", "match": { "metric": "N2D_CPUS", "limit": 4 }, "for_s": 10 }));
    assert_eq!(
        world.bulk(bulk("n2d-standard-8", &["a"])).unwrap_err().reason,
        "quotaExceeded"
    );
    world.pass(11.0);
    world.fault(json!({ "kind": "gce.late-quota", "match": { "metric": "N2D_CPUS" }, "count": 1 }));
    let operation = world.bulk(bulk("n2d-standard-8", &["a"])).unwrap();
    world.pass(30.0);
    let operation = world.operation(&operation);
    // One zone's attempt met the fault, the next zone had room.
    assert!(done(&operation) && operation.errors.is_empty());
    world.fault(json!({ "kind": "gce.late-quota", "match": { "region": REGION } }));
    let operation = world.bulk(bulk("n2d-standard-8", &["b"])).unwrap();
    world.pass(30.0);
    assert_eq!(
        codes(&world.operation(&operation)),
        ["VM_MIN_COUNT_NOT_REACHED", "QUOTA_EXCEEDED"]
    );
    world.fault(json!({ "kind": "gce.ip-exhausted", "match": {} }));
    let operation = world.bulk(bulk("n2-standard-8", &["c"])).unwrap();
    world.pass(30.0);
    // The late quota is met first where both hold.
    assert_eq!(codes(&world.operation(&operation))[0], "VM_MIN_COUNT_NOT_REACHED");
}

#[test]
fn rates_are_refused_with_the_group_and_free_again_at_the_minute() {
    let mut limits = Limits::demo();
    limits
        .gce
        .rates_per_minute
        .insert("list_requests_per_region".into(), 2);
    let mut world = World::new(&limits);
    let list = |world: &mut World| {
        world.call(|model, call| {
            model.list_instances(call, DEFAULT_PROJECT, "us-central1-a", Query::default())
        })
    };
    assert!(list(&mut world).is_ok() && list(&mut world).is_ok());
    let refused = list(&mut world).unwrap_err();
    assert_eq!(
        (refused.status, refused.reason, refused.domain),
        (403, "rateLimitExceeded", "usageLimits")
    );
    let call = world.events("api.call").last().copied().unwrap().fields.clone();
    assert_eq!(
        (&call["group"], &call["status"]),
        (&json!("list_requests_per_region"), &json!(403))
    );
    world.pass(60.0);
    assert!(list(&mut world).is_ok());
    world.fault(json!({ "kind": "gce.rate", "match": { "group": "list_requests_per_region" }, "count": 1 }));
    assert_eq!(list(&mut world).unwrap_err().reason, "rateLimitExceeded");
    assert!(list(&mut world).is_ok());
}

#[test]
fn ten_bulk_operations_run_at_a_time_and_twenty_come_in_a_second() {
    let mut world = World::demo();
    for index in 0..10 {
        world
            .bulk(bulk("e2-standard-2", &[&format!("m-{index}")]))
            .unwrap();
    }
    let refused = world.bulk(bulk("e2-standard-2", &["m-10"])).unwrap_err();
    assert_eq!((refused.status, refused.reason), (403, "rateLimitExceeded"));
    // A single insert needs no slot.
    let one = single("m-11", "us-central1-a", template("e2-standard-2"));
    world
        .call(|model, call| model.insert(call, DEFAULT_PROJECT, "us-central1-a", None, one))
        .unwrap();
    world.pass(30.0);
    assert!(world.bulk(bulk("e2-standard-2", &["m-10"])).is_ok());
}

#[test]
fn operations_under_way_are_counted_in_their_region() {
    let mut limits = Limits::demo();
    limits.gce.concurrent_operations = 1;
    let mut world = World::new(&limits);
    world.bulk(bulk("e2-standard-2", &["a"])).unwrap();
    let refused = world.bulk(bulk("e2-standard-2", &["b"])).unwrap_err();
    let info = refused.info.unwrap();
    assert_eq!(
        (refused.status, info.reason),
        (403, "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED")
    );
    assert_eq!(info.metadatas["location"], REGION);
    world.pass(30.0);
    assert!(world.bulk(bulk("e2-standard-2", &["b"])).is_ok());
}

#[test]
fn a_full_subnet_refuses_with_a_code_of_its_own() {
    let mut limits = Limits::demo();
    limits.gce.subnet_addresses = 1;
    let mut world = World::new(&limits);
    let operation = world.bulk(bulk("e2-standard-2", &["a", "b"])).unwrap();
    world.pass(30.0);
    assert!(world.operation(&operation).errors.is_empty());
    assert_eq!(
        world.events("instance.refused")[0].fields["code"],
        "IP_SPACE_EXHAUSTED"
    );
    assert_eq!(world.used("CPUS"), 2);
}
