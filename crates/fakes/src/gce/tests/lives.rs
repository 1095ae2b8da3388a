use super::*;
use crate::gce::{Guest, Impossible, Mishap, Order};

fn up(world: &mut World, template: Template) -> String {
    world
        .bulk(Bulk {
            template,
            ..bulk("", &["a"])
        })
        .unwrap();
    world.pass(30.0);
    let instance = world.named("a");
    assert!(is_up(&instance));
    instance.zone.to_string()
}

fn happen(world: &mut World, mishap: Mishap) -> Result<(), Impossible> {
    let now = world.now();
    let result = world.model.happen(now, "a", mishap, &mut world.out);
    world.log.extend(world.out.take());
    result
}

fn states(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    world
        .events("instance.state")
        .iter()
        .map(|event| (text(&event.fields["to"]), text(&event.fields["cause"])))
        .collect()
}

fn pair(to: &str, cause: &str) -> (String, String) {
    (to.into(), cause.into())
}

#[test]
fn a_machine_boots_runs_and_is_deleted_once() {
    let mut world = World::demo();
    world.model.want_orders();
    let zone = up(&mut world, template("e2-standard-2"));
    let id = world.named("a").id;
    assert_eq!(
        world.model.take_orders(),
        [Order::Start {
            instance: id,
            turn: 0
        }]
    );
    let delete = |world: &mut World| world.call(|model, call| model.delete(call, at(&zone, "a"), None));
    let operation = delete(&mut world).unwrap();
    assert_eq!(delete(&mut world).unwrap_err().reason, "resourceNotReady");
    world.pass(30.0);
    assert!(done(&world.operation(&operation)));
    assert_eq!(
        states(&world),
        [
            pair("STAGING", "boot"),
            pair("RUNNING", "boot"),
            pair("STOPPING", "delete")
        ]
    );
    assert_eq!(world.events("instance.deleted").len(), 1);
    assert_eq!(delete(&mut world).unwrap_err().status, 404);
    let orders = world.model.take_orders();
    assert!(
        matches!(orders[..], [Order::Stop { .. }, Order::Kill { .. }]),
        "{orders:?}"
    );
}

#[test]
fn a_delete_while_the_machine_is_being_made_wins() {
    let mut world = World::demo();
    let operation = world.bulk(bulk("e2-standard-2", &["a"])).unwrap();
    world.pass(0.6);
    let zone = world.named("a").zone.to_string();
    world
        .call(|model, call| model.delete(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(30.0);
    assert!(done(&world.operation(&operation)));
    assert!(world.list().is_empty());
    assert_eq!(world.used("CPUS"), 0);
}

#[test]
fn a_guest_that_ends_well_powers_the_machine_off_and_disks_stay() {
    let mut world = World::demo();
    up(&mut world, template("e2-standard-2"));
    let instance = world.named("a");
    let now = world.now();
    world
        .model
        .guest_ended(now, instance.id, instance.turn, true, &mut world.out);
    world.pass(10.0);
    let instance = world.named("a");
    assert_eq!(instance.status, Status::Terminated);
    assert_eq!(
        states(&world)[2..],
        [pair("STOPPING", "guest"), pair("TERMINATED", "stopped")]
    );
    assert_eq!(world.used("DISKS_TOTAL_GB"), 20);
}

#[test]
fn a_guest_that_ends_badly_leaves_the_machine_running() {
    let mut world = World::demo();
    up(&mut world, template("e2-standard-2"));
    let instance = world.named("a");
    let now = world.now();
    world
        .model
        .guest_ended(now, instance.id, instance.turn, false, &mut world.out);
    world.pass(100.0);
    let instance = world.named("a");
    assert_eq!(
        (instance.status, instance.guest),
        (Status::Running, Guest::Crashed)
    );
}

#[test]
fn a_preemption_gives_notice_and_then_deletes_or_stops() {
    let mut world = World::demo();
    up(&mut world, spot("e2-standard-2"));
    happen(&mut world, Mishap::Preempt).unwrap();
    let instance = world.named("a");
    assert!(instance.is_preempted && instance.status == Status::Stopping);
    world.pass(29.0);
    assert_eq!(world.list().len(), 1);
    world.pass(2.0);
    assert!(world.list().is_empty());
    let trace = world
        .model
        .operations
        .iter()
        .find(|one| one.kind.name() == "compute.instances.preempted")
        .unwrap();
    assert!(trace.name.starts_with("systemevent-") && done(trace));
    assert_eq!(trace.target.as_ref().unwrap().id, instance.id);

    let mut world = World::demo();
    up(&mut world, template("e2-standard-2"));
    assert!(matches!(
        happen(&mut world, Mishap::Preempt),
        Err(Impossible::State { .. })
    ));
}

#[test]
fn a_preemption_while_being_made_fails_the_insert() {
    let mut world = World::demo();
    let operation = world
        .bulk(Bulk {
            template: spot("e2-standard-2"),
            ..bulk("", &["a"])
        })
        .unwrap();
    world.pass(0.6);
    happen(&mut world, Mishap::Preempt).unwrap();
    world.pass(60.0);
    assert_eq!(
        codes(&world.operation(&operation)),
        ["VM_MIN_COUNT_NOT_REACHED", "UNSUPPORTED_OPERATION"]
    );
    assert!(world.list().is_empty());
}

#[test]
fn a_host_error_restarts_what_restarts_and_ends_what_does_not() {
    let mut world = World::demo();
    up(&mut world, template("e2-standard-2"));
    happen(&mut world, Mishap::HostError).unwrap();
    assert_eq!(world.named("a").status, Status::Repairing);
    world.pass(30.0);
    assert!(is_up(&world.named("a")));
    let mut world = World::demo();
    up(&mut world, spot("e2-standard-2"));
    happen(&mut world, Mishap::HostError).unwrap();
    assert_eq!(world.named("a").status, Status::Terminated);
    assert_eq!(world.used("CPUS"), 0);
    assert!(matches!(
        happen(&mut world, Mishap::Crash),
        Err(Impossible::State { .. })
    ));
}

#[test]
fn the_run_time_ends_a_machine_and_a_stop_clears_it() {
    let limited = |action: &str| {
        let mut template = template("e2-standard-2");
        template.scheduling.max_run_s = Some(60);
        template.scheduling.termination_action = Some(action.into());
        template
    };
    let mut world = World::demo();
    up(&mut world, limited("DELETE"));
    world.pass(70.0);
    assert!(world.list().is_empty());

    let mut world = World::demo();
    up(&mut world, limited("DELETE"));
    happen(&mut world, Mishap::PowerOff).unwrap();
    world.pass(600.0);
    let instance = world.named("a");
    assert_eq!(
        (instance.status, instance.termination),
        (Status::Terminated, None)
    );
}

#[test]
fn a_stopped_machine_starts_again_and_takes_its_vcpus() {
    let mut world = World::demo();
    let zone = up(&mut world, template("e2-standard-2"));
    world
        .call(|model, call| model.stop(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(10.0);
    assert_eq!(world.used("CPUS"), 0);
    world
        .call(|model, call| model.start(call, at(&zone, "a"), None))
        .unwrap();
    world.pass(30.0);
    assert!(is_up(&world.named("a")));
    assert_eq!(world.used("CPUS"), 2);
}

#[test]
fn slow_and_broken_boots_are_slow_and_broken() {
    let mut world = World::demo();
    world.fault(json!({ "kind": "gce.slow-boot", "match": { "name": "a", "boot_s": 100 } }));
    world.fault(json!({ "kind": "gce.broken-boot", "match": { "name": "b" } }));
    world.bulk(bulk("e2-standard-2", &["a", "b"])).unwrap();
    world.pass(50.0);
    for name in ["a", "b"] {
        let instance = world.named(name);
        assert_eq!((instance.status, instance.guest), (Status::Running, Guest::Off));
    }
    world.pass(60.0);
    assert_eq!(
        (world.named("a").guest, world.named("b").guest),
        (Guest::On, Guest::Off)
    );
}

#[test]
fn labels_and_metadata_need_the_present_fingerprint() {
    let mut world = World::demo();
    let zone = up(&mut world, template("e2-standard-2"));
    let shown = |world: &mut World| {
        let instance = world.named("a");
        world.model.show_instance(&instance)
    };
    let first = shown(&mut world);
    let fingerprint = first["labelFingerprint"].as_str().unwrap().to_owned();
    assert!(
        fingerprint.len() == 12 && fingerprint.ends_with('='),
        "URL-safe base64 with padding"
    );
    let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let set = |world: &mut World, fingerprint: &str| {
        let labels = labels.clone();
        world.call(|model, call| model.set_labels(call, at(&zone, "a"), None, fingerprint, labels))
    };
    set(&mut world, &fingerprint).unwrap();
    assert_eq!(shown(&mut world)["labels"], json!({ "k": "v" }));
    let stale = set(&mut world, &fingerprint).unwrap_err();
    assert_eq!((stale.status, stale.reason), (412, "conditionNotMet"));
}

#[test]
fn lists_lag_behind_what_get_shows() {
    let mut limits = Limits::demo();
    limits.gce.list_lag_s = 5.0;
    let mut world = World::new(&limits);
    world.pass(60.0);
    let one = single("a", "us-central1-a", template("e2-standard-2"));
    world
        .call(|model, call| model.insert(call, DEFAULT_PROJECT, "us-central1-a", None, one))
        .unwrap();
    world.pass(2.0);
    assert!(
        world
            .call(|model, call| model.get_instance(call, at("us-central1-a", "a")))
            .is_ok()
    );
    assert!(world.list().is_empty());
    world.pass(20.0);
    assert!(is_up(&world.named("a")));
    world
        .call(|model, call| model.delete(call, at("us-central1-a", "a"), None))
        .unwrap();
    world.pass(4.0);
    assert!(
        world
            .call(|model, call| model.get_instance(call, at("us-central1-a", "a")))
            .is_err()
    );
    assert_eq!(world.list().len(), 1, "gone, and still listed");
    world.pass(5.0);
    assert!(world.list().is_empty());
}

#[test]
fn finished_operations_are_forgotten_after_their_retention() {
    let mut world = World::demo();
    let operation = world.bulk(bulk("e2-standard-2", &["a"])).unwrap();
    world.pass(30.0);
    let get = |world: &mut World| {
        let name = operation.name.to_string();
        world.call(|model, call| model.get_operation(call, DEFAULT_PROJECT, Place::Region(REGION), &name))
    };
    assert!(done(&get(&mut world).unwrap()));
    world.pass(3600.0);
    assert_eq!(get(&mut world).unwrap_err().status, 404);
}

#[test]
fn pages_hold_at_most_500_and_go_on_when_their_last_name_is_gone() {
    let mut world = World::demo();
    let names: Vec<String> = (0..7).map(|index| format!("m-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.bulk(bulk("e2-standard-2", &names)).unwrap();
    world.pass(30.0);
    let page = |world: &mut World, token: Option<&str>| {
        let query = Query {
            max_results: Some("3"),
            page_token: token,
            filter: Some("status = RUNNING"),
            ..Query::default()
        };
        world
            .call(|model, call| model.aggregated_list(call, DEFAULT_PROJECT, query))
            .unwrap()
    };
    let first = page(&mut world, None);
    let last = first.items.last().unwrap().clone();
    world
        .call(|model, call| model.delete(call, at(&last.zone, &last.name), None))
        .unwrap();
    world.pass(30.0);
    let second = page(&mut world, first.next.as_deref());
    let third = page(&mut world, second.next.as_deref());
    assert_eq!(
        (first.items.len(), second.items.len(), third.items.len()),
        (3, 3, 1)
    );
    assert_eq!(third.next, None);
    for bad in ["501", "-1", "x"] {
        let query = Query {
            max_results: Some(bad),
            ..Query::default()
        };
        assert!(
            world
                .call(|model, call| model.aggregated_list(call, DEFAULT_PROJECT, query))
                .is_err()
        );
    }
}

#[test]
fn a_machine_that_is_stuck_comes_out_of_staging_only_to_be_deleted() {
    let mut world = World::demo();
    world.fault(json!({ "kind": "gce.stuck-boot", "match": { "name": "b" }, "count": 1 }));
    let operation = world.bulk(bulk("e2-standard-2", &["a", "b"])).unwrap();
    world.pass(600.0);
    assert_eq!(world.named("a").status, Status::Running);
    let stuck = world.named("b");
    assert_eq!(stuck.status, Status::Staging);
    assert_eq!(world.operation(&operation).progress, Progress::Running);
    let zone = stuck.zone.to_string();
    let at = At {
        project: DEFAULT_PROJECT,
        zone: &zone,
        name: "b",
    };
    world.call(|model, call| model.delete(call, at, None)).unwrap();
    world.pass(60.0);
    assert!(world.list().iter().all(|instance| &*instance.name != "b"));
    assert_eq!(world.operation(&operation).progress, Progress::Done);
}

#[test]
fn a_machine_that_loses_its_disk_starts_its_guest_anew() {
    let mut world = World::demo();
    world.model.want_orders();
    world.bulk(bulk("e2-standard-2", &["a"])).unwrap();
    world.pass(60.0);
    let first = world.model.take_orders();
    world
        .call(|model, call| model.happen(call.now, "a", Mishap::LoseDisk, call.out))
        .unwrap();
    world.pass(60.0);
    let then = world.model.take_orders();
    let [Order::Start { instance, turn }] = first[..] else {
        panic!("{first:?}")
    };
    let [
        Order::Kill { instance: killed },
        Order::Start {
            instance: again,
            turn: later,
        },
    ] = then[..]
    else {
        panic!("{then:?}")
    };
    assert_eq!((killed, again), (instance, instance));
    assert!(later > turn, "another turn of its life");
    assert_eq!(world.named("a").status, Status::Running);
}

#[test]
fn of_a_bulk_insert_that_is_cut_short_the_first_machine_comes() {
    let mut world = World::demo();
    world.fault(json!({ "kind": "gce.partial-bulk", "count": 2 }));
    world.bulk(bulk("e2-standard-2", &["a", "b", "c", "d"])).unwrap();
    world.bulk(bulk("e2-standard-2", &["e"])).unwrap();
    world.pass(60.0);
    let names: Vec<String> = world
        .list()
        .iter()
        .map(|instance| instance.name.to_string())
        .collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "d", "e"]);
    assert_eq!(world.events("instance.refused").len(), 2);
}

#[test]
fn shifting_pages_are_short_and_lose_what_slips_over_their_borders() {
    let mut world = World::demo();
    world
        .bulk(bulk("e2-standard-2", &["a", "b", "c", "d", "e"]))
        .unwrap();
    world.pass(60.0);
    world.fault(json!({ "kind": "list.shift", "match": { "host": "gce", "size": 2, "skip": 1 } }));
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let query = Query {
            page_token: token.as_deref(),
            ..Query::default()
        };
        let page = world
            .call(|model, call| model.aggregated_list(call, DEFAULT_PROJECT, query))
            .unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|instance| instance.name.to_string()));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    // Each page that was touched is told: with a probability, not all are.
    assert!(world.events("fault.applied").len() >= 2);
}
