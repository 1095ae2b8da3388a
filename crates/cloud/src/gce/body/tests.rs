use gust_core::{
    ids::{BatchId, MachineTypeName, ProjectId, Region},
    records::Call,
    shape::{Accelerators, Alternative, BootDisk, Network, Price},
};
use serde_json::Value;

use super::*;

fn creation(names: &[&str]) -> Creation {
    let names: Vec<_> = names.iter().map(|n| MachineName::new(*n)).collect();
    Creation {
        request_id: BatchId::of(&names[0]),
        call: Call::Bulk,
        shape: Shape {
            project: ProjectId::new("gust-demo"),
            region: Region::new("us-central1"),
            zones: vec![Zone::new("us-central1-a"), Zone::new("us-central1-f")],
            machine_type: MachineTypeName::new("n2d-standard-16"),
            family: "n2d".into(),
            alternatives: Vec::new(),
            cpus: 16,
            memory_mib: 65_536,
            arch: Arch::Amd64,
            model: ProvisioningModel::Spot,
            boot_disk: BootDisk {
                disk_type: "pd-balanced".into(),
                gib: 50,
                image: "projects/debian-cloud/global/images/family/debian-12".into(),
            },
            local_ssds: 2,
            gpus: None,
            network: Network {
                network: "global/networks/default".into(),
                subnetwork: None,
                external_address: false,
            },
            service_account: "ci@gust-demo.iam.gserviceaccount.com".into(),
            labels: [("gust-stack", "gust"), ("team", "build")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            metadata: [
                ("gust-stack", "gust"),
                ("gust-addresses", "https://10.0.0.2:7443"),
            ]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
            max_run_seconds: 7200,
        },
        names,
    }
}

fn json(body: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(body).expect("models become JSON");
    value.sort_all_objects();
    value
}

#[test]
fn a_bulk_body_holds_exactly_the_record() {
    insta::assert_json_snapshot!(
        "bulk_spot_local_ssd",
        json(&bulk_body(&creation(&["g-a-1", "g-b-1"])))
    );
}

#[test]
fn types_that_would_do_as_well_are_named_by_rank_in_bulk_calls_only() {
    let mut creation = creation(&["g-a-1", "g-b-1"]);
    creation.shape.local_ssds = 0;
    creation.shape.alternatives = [("c3d-standard-16", "c3d"), ("n2-standard-16", "n2")]
        .map(|(machine_type, family)| Alternative {
            machine_type: MachineTypeName::new(machine_type),
            family: family.into(),
            memory_mib: 65_536,
            price: Price(1),
        })
        .into();
    let body = json(&bulk_body(&creation));
    insta::assert_json_snapshot!("ranked_types", body["instanceFlexibilityPolicy"]);
    assert_eq!(body["instanceProperties"]["machineType"], "n2d-standard-16");
    let nic = body.pointer("/instanceProperties/networkInterfaces/0/nicType");
    assert_eq!(nic, Some(&Value::from("GVNIC")), "one of them has no other");
    let insert = json(&insert_body(
        &creation,
        &creation.names[0],
        &creation.shape.zones[0],
    ));
    assert!(insert.get("instanceFlexibilityPolicy").is_none());
}

#[test]
fn an_insert_body_names_types_by_url() {
    let mut creation = creation(&["g-a-1"]);
    creation.shape.network.external_address = true;
    creation.shape.network.subnetwork = Some("regions/us-central1/subnetworks/ci".into());
    creation.shape.model = ProvisioningModel::Standard;
    let zone = Zone::new("us-central1-f");
    let body = insert_body(&creation, &creation.names[0], &zone);
    insta::assert_json_snapshot!("insert_standard_external", json(&body));
}

#[test]
fn new_families_and_arm_get_the_network_card_they_need() {
    for (family, arch, needs) in [
        ("n2d", Arch::Amd64, false),
        ("e2", Arch::Amd64, false),
        ("t2d", Arch::Amd64, false),
        ("t2a", Arch::Arm64, true),
        ("c3d", Arch::Amd64, true),
        ("n4", Arch::Amd64, true),
        ("c4a", Arch::Arm64, true),
    ] {
        let mut creation = creation(&["g-a-1"]);
        creation.shape.family = family.into();
        creation.shape.arch = arch;
        let body = json(&bulk_body(&creation));
        let nic = body
            .pointer("/instanceProperties/networkInterfaces/0/nicType")
            .and_then(Value::as_str);
        assert_eq!(nic, needs.then_some("GVNIC"), "{family}");
    }
}

#[test]
fn a_replay_of_the_record_is_the_same_body() {
    let creation = creation(&["g-a-1", "g-b-1", "g-c-1"]);
    assert_eq!(json(&bulk_body(&creation)), json(&bulk_body(&creation.clone())));
    assert_eq!(json(&bulk_body(&creation))["count"], "3");
    assert_eq!(json(&bulk_body(&creation))["minCount"], "1");
}

#[test]
fn accelerators_are_attached_where_the_type_does_not_bring_them_and_never_moved() {
    let with = |attach| {
        let mut creation = creation(&["g-a-1"]);
        creation.shape.model = ProvisioningModel::Standard;
        creation.shape.gpus = Some(Accelerators {
            kind: "nvidia-tesla-t4".into(),
            count: 2,
            attach,
        });
        let zone = Zone::new("us-central1-f");
        let insert = json(&insert_body(&creation, &creation.names[0], &zone));
        let bulk = json(&bulk_body(&creation))["instanceProperties"].clone();
        (bulk, insert)
    };
    let (bulk, insert) = with(true);
    for body in [&bulk, &insert] {
        assert_eq!(body["guestAccelerators"][0]["acceleratorCount"], 2);
        assert_eq!(body["scheduling"]["onHostMaintenance"], "TERMINATE");
        assert_eq!(body["scheduling"]["provisioningModel"], "STANDARD");
    }
    let kind = |body: &Value| body["guestAccelerators"][0]["acceleratorType"].clone();
    assert_eq!(kind(&bulk), "nvidia-tesla-t4");
    assert_eq!(
        kind(&insert),
        "projects/gust-demo/zones/us-central1-f/acceleratorTypes/nvidia-tesla-t4"
    );
    let (bulk, insert) = with(false);
    for body in [bulk, insert] {
        assert!(body.get("guestAccelerators").is_none(), "the type brings them");
        assert_eq!(body["scheduling"]["onHostMaintenance"], "TERMINATE");
    }
}

/// Google's default is to use up a reservation that fits; anything else would leave paid machines idle.
#[test]
fn reservations_are_used_as_google_does_by_default() {
    let creation = creation(&["g-a-1"]);
    let zone = Zone::new("us-central1-f");
    let bulk = json(&bulk_body(&creation))["instanceProperties"].clone();
    for body in [bulk, json(&insert_body(&creation, &creation.names[0], &zone))] {
        assert!(body.get("reservationAffinity").is_none());
    }
}
