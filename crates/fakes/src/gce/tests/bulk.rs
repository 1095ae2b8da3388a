use super::*;
use crate::gce::spec::{Location, Selection};

#[test]
fn a_bulk_insert_makes_the_named_machines_and_an_insert_operation_for_each() {
    let mut world = World::demo();
    let operation = world
        .bulk(bulk("n2d-standard-4", &["m-1", "m-2", "m-3"]))
        .unwrap();
    assert_eq!(operation.progress, Progress::Pending);
    world.pass(30.0);
    let operation = world.operation(&operation);
    assert!(done(&operation) && operation.errors.is_empty());
    let state = operation.bulk.as_ref().unwrap();
    assert_eq!(state.zones.values().map(|zone| zone.created).sum::<u32>(), 3);
    let mut found: Vec<_> = world
        .list()
        .iter()
        .map(|one| (one.name.to_string(), one.status))
        .collect();
    found.sort();
    let running = |name: &str| (name.to_owned(), Status::Running);
    assert_eq!(found, [running("m-1"), running("m-2"), running("m-3")]);
    let inserts: Vec<_> = world
        .model
        .operations
        .iter()
        .filter(|one| one.parent == Some(operation.id))
        .collect();
    assert_eq!(inserts.len(), 3);
    assert!(
        inserts
            .iter()
            .all(|one| one.group == operation.group && done(one))
    );
    assert_eq!(world.used("N2D_CPUS"), 12);
    let inserted = world.events("instance.inserted");
    assert_eq!(inserted.len(), 3);
    assert_eq!(inserted[0].fields["operation"], *operation.name);
    assert_eq!(inserted[0].fields["cpus"], 4);
    assert_eq!(inserted[0].fields["arch"], "amd64");
}

#[test]
fn a_repeated_request_id_gives_the_same_operation_and_nothing_new() {
    let mut world = World::demo();
    let id = "b6e7c1de-51a4-4a62-a1c5-0a3d8b2a3c4d";
    let insert = |world: &mut World, id: &str, names: &[&str]| {
        let bulk = bulk("e2-standard-2", names);
        world.call(|model, call| {
            model.bulk_insert(call, DEFAULT_PROJECT, Place::Region(REGION), Some(id), bulk)
        })
    };
    let first = insert(&mut world, id, &["a", "b"]).unwrap();
    world.pass(60.0);
    let again = insert(&mut world, id, &["a", "b"]).unwrap();
    assert_eq!((first.id, first.name), (again.id, again.name));
    assert_eq!(world.list().len(), 2);
    let other = insert(&mut world, id, &["c"]).unwrap_err();
    assert_eq!((other.status, other.reason), (409, "conflict"));
    for bad in ["00000000-0000-0000-0000-000000000000", "no-uuid"] {
        assert_eq!(insert(&mut world, bad, &["d"]).unwrap_err().status, 400);
    }
}

#[test]
fn a_taken_name_fails_alone_when_the_minimum_is_met() {
    let mut world = World::demo();
    world.bulk(bulk("e2-standard-2", &["a"])).unwrap();
    world.pass(30.0);
    let operation = world.bulk(bulk("e2-standard-2", &["a", "b"])).unwrap();
    world.pass(30.0);
    let operation = world.operation(&operation);
    assert!(
        done(&operation) && operation.errors.is_empty(),
        "a partial success has no top-level error"
    );
    let failed: u32 = operation
        .bulk
        .as_ref()
        .unwrap()
        .zones
        .values()
        .map(|zone| zone.failed)
        .sum();
    assert_eq!(failed, 1);
    assert_eq!(world.list().len(), 2);
    let refused = world.events("instance.refused");
    assert_eq!(
        (&refused[0].fields["name"], &refused[0].fields["code"]),
        (&json!("a"), &json!("RESOURCE_ALREADY_EXISTS"))
    );
}

#[test]
fn below_the_minimum_everything_is_rolled_back_and_the_summary_comes_first() {
    let mut world = World::demo();
    world.fault(json!({ "kind": "gce.stockout", "match": { "name": "c" } }));
    let all_or_nothing = Bulk {
        min_count: None,
        ..bulk("e2-standard-2", &["a", "b", "c"])
    };
    let operation = world.bulk(all_or_nothing).unwrap();
    world.pass(20.0);
    let operation = world.operation(&operation);
    assert!(done(&operation));
    assert_eq!(
        codes(&operation),
        ["VM_MIN_COUNT_NOT_REACHED", "ZONE_RESOURCE_POOL_EXHAUSTED",]
    );
    let state = operation.bulk.as_ref().unwrap();
    let sum = |count: fn(&crate::gce::ZoneCount) -> u32| state.zones.values().map(count).sum::<u32>();
    assert_eq!(
        (
            sum(|zone| zone.target),
            sum(|zone| zone.deleted),
            sum(|zone| zone.failed)
        ),
        (3, 2, 1)
    );
    assert!(world.list().is_empty());
    assert_eq!(
        (
            world.used("CPUS"),
            world.used("INSTANCES"),
            world.used("CPUS_ALL_REGIONS")
        ),
        (0, 0, 0)
    );
    assert_eq!(world.events("instance.deleted").len(), 2);
}

#[test]
fn any_goes_around_a_stockout_and_a_single_zone_request_stays_together() {
    let mut world = World::demo();
    world.fault(stockout(
        json!({ "zone": ["us-central1-a", "us-central1-b"], "family": "n2d" }),
    ));
    let names: Vec<String> = (0..40).map(|index| format!("m-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.bulk(bulk("n2d-standard-2", &names)).unwrap();
    world.pass(30.0);
    let zones: std::collections::BTreeSet<String> =
        world.list().iter().map(|one| one.zone.to_string()).collect();
    assert_eq!(Vec::from_iter(zones), ["us-central1-c", "us-central1-f"]);

    let together = Bulk {
        policy: LocationPolicy::default(),
        ..bulk("e2-standard-2", &["x-1", "x-2", "x-3", "x-4"])
    };
    world.bulk(together).unwrap();
    world.pass(30.0);
    let zones: std::collections::BTreeSet<String> = world
        .list()
        .iter()
        .filter(|one| one.name.starts_with("x-"))
        .map(|one| one.zone.to_string())
        .collect();
    assert_eq!(zones.len(), 1);
}

#[test]
fn balanced_spreads_evenly_and_max_count_is_kept() {
    let mut world = World::demo();
    let names: Vec<String> = (0..10).map(|index| format!("m-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let few = Location {
        is_allowed: true,
        max_count: Some(1),
    };
    let none = Location {
        is_allowed: false,
        max_count: None,
    };
    let policy = LocationPolicy {
        shape: TargetShape::Balanced,
        locations: BTreeMap::from([("us-central1-a".into(), few), ("us-central1-f".into(), none)]),
        zones: Vec::new(),
    };
    world
        .bulk(Bulk {
            policy,
            ..bulk("e2-standard-2", &names)
        })
        .unwrap();
    world.pass(30.0);
    let mut by_zone: BTreeMap<String, u32> = BTreeMap::new();
    for instance in world.list() {
        *by_zone.entry(instance.zone.to_string()).or_default() += 1;
    }
    assert_eq!(by_zone["us-central1-a"], 1);
    assert!(!by_zone.contains_key("us-central1-f"));
    assert_eq!(by_zone["us-central1-b"] + by_zone["us-central1-c"], 9);
    assert!(by_zone["us-central1-b"].abs_diff(by_zone["us-central1-c"]) <= 1);
}

#[test]
fn a_flexible_request_takes_the_first_rank_that_has_room() {
    let mut world = World::demo();
    world.fault(stockout(json!({ "family": "n2d" })));
    let selection = |rank, name: &str| Selection {
        rank,
        machine_types: vec![name.into()],
        disks: None,
    };
    let flexibility = vec![selection(1, "n2-standard-4"), selection(0, "n2d-standard-4")];
    world
        .bulk(Bulk {
            flexibility,
            ..bulk("", &["a"])
        })
        .unwrap();
    world.pass(30.0);
    assert_eq!(&*world.named("a").shape.machine.name, "n2-standard-4");
    let mut zonal = bulk("", &["b"]);
    zonal.policy = LocationPolicy::default();
    zonal.flexibility = vec![selection(0, "n2-standard-4")];
    let place = Place::Zone("us-central1-a");
    let refused = world.call(|model, call| model.bulk_insert(call, DEFAULT_PROJECT, place, None, zonal));
    assert_eq!(refused.unwrap_err().status, 400);
}

#[test]
fn a_name_pattern_goes_on_after_the_largest_number() {
    let mut world = World::demo();
    let patterned = |count| Bulk {
        count,
        names: Names::Pattern("vm-##".into()),
        ..bulk("e2-standard-2", &[])
    };
    world.bulk(patterned(2)).unwrap();
    world.bulk(patterned(1)).unwrap();
    world.pass(30.0);
    let mut names: Vec<String> = world.list().iter().map(|one| one.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["vm-01", "vm-02", "vm-03"]);
    for (names, count) in [
        (Names::Missing, 1),
        (Names::Both, 1),
        (Names::Pattern("vm".into()), 1),
        (names_of_two(), 3),
    ] {
        let refused = world
            .bulk(Bulk {
                count,
                names,
                ..bulk("e2-standard-2", &[])
            })
            .unwrap_err();
        assert_eq!((refused.status, refused.reason), (400, "invalid"));
    }
}

fn names_of_two() -> Names {
    names(&["a", "b"])
}

#[test]
fn a_machine_type_url_in_bulk_is_an_internal_error_and_a_bare_name_in_insert_is_refused() {
    let mut world = World::demo();
    let operation = world
        .bulk(bulk("zones/us-central1-a/machineTypes/e2-standard-2", &["a"]))
        .unwrap();
    world.pass(30.0);
    let operation = world.operation(&operation);
    assert_eq!(codes(&operation), ["VM_MIN_COUNT_NOT_REACHED", "INTERNAL_ERROR"]);
    let bare = Single {
        name: "a".into(),
        hostname: None,
        template: template("e2-standard-2"),
    };
    let refused = world.call(|model, call| model.insert(call, DEFAULT_PROJECT, "us-central1-a", None, bare));
    assert_eq!(refused.unwrap_err().status, 400);
}

#[test]
fn templates_that_google_refuses_are_refused() {
    let mut world = World::demo();
    let mut refuse = |why: &str, change: &dyn Fn(&mut Bulk)| {
        let mut asked = bulk("n2d-standard-4", &["a"]);
        change(&mut asked);
        let refused = world.bulk(asked).expect_err(why);
        assert!(refused.status == 400, "{why}: {refused:?}");
        refused.message
    };
    let mut messages = vec![
        refuse("unknown type", &|bulk| {
            bulk.template.machine_type = "n2d-standard-5".into()
        }),
        refuse("custom rules", &|bulk| {
            bulk.template.machine_type = "n2d-custom-6-16384".into()
        }),
        refuse("hyperdisk only", &|bulk| {
            bulk.template.machine_type = "n4-standard-4".into();
            bulk.template.disks[0].disk_type = Some("pd-balanced".into());
        }),
        refuse("architecture", &|bulk| {
            bulk.template.machine_type = "c4a-standard-4".into()
        }),
        refuse("unknown image", &|bulk| {
            bulk.template.disks[0].source_image =
                Some("projects/debian-cloud/global/images/family/debian-1".into());
        }),
        refuse("no boot disk", &|bulk| bulk.template.disks.clear()),
        refuse("no network", &|bulk| bulk.template.networks.clear()),
        refuse("label", &|bulk| {
            bulk.template.labels.insert("Owner".into(), "x".into());
        }),
        refuse("spot restart", &|bulk| {
            bulk.template = spot("n2d-standard-4");
            bulk.template.scheduling.automatic_restart = Some(true);
        }),
        refuse("run time", &|bulk| bulk.template.scheduling.max_run_s = Some(29)),
        refuse("action without need", &|bulk| {
            bulk.template.scheduling.termination_action = Some("STOP".into())
        }),
        refuse("local ssd count", &|bulk| {
            for _ in 0..3 {
                let kind = Some("local-ssd".to_owned());
                let disk = Disk {
                    is_scratch: true,
                    auto_delete: true,
                    disk_type: kind,
                    ..Disk::default()
                };
                bulk.template.disks.push(disk);
            }
        }),
        refuse("bad name", &|bulk| bulk.names = names(&["A"])),
        refuse("min above count", &|bulk| bulk.min_count = Some(2)),
    ];
    messages.insert(
        0,
        refuse("ssd on e2", &|bulk| {
            bulk.template.machine_type = "e2-standard-4".into();
            let kind = Some("local-ssd".to_owned());
            bulk.template.disks.push(Disk {
                is_scratch: true,
                disk_type: kind,
                ..Disk::default()
            });
        }),
    );
    insta::assert_snapshot!(messages.join("\n"));
    assert!(world.list().is_empty() && world.used("N2D_CPUS") == 0);
}

#[test]
fn a_stockout_can_also_be_told_at_once() {
    let mut world = World::demo();
    world.fault(stockout(json!({ "zone": "us-central1-*", "status": 503 })));
    let refused = world.bulk(bulk("n2d-standard-4", &["a", "b"])).unwrap_err();
    assert_eq!((refused.status, refused.reason), (503, "insufficientCapacity"));
    assert_eq!((world.used("N2D_CPUS"), world.model.names.len()), (0, 0));
}
