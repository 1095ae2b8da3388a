//! Details that a client may lean on: maintenance of hosts, zones that a stockout names, numbers of names.

use super::*;
use crate::gce::Detail;

const ZONE: &str = "us-central1-a";

fn simulate(world: &mut World) -> Operation {
    world
        .call(|model, call| model.simulate_maintenance(call, at(ZONE, "a"), None))
        .unwrap()
}

fn world_with(scheduling: Scheduling) -> World {
    let mut world = World::demo();
    let template = Template {
        scheduling,
        ..template("n2d-standard-2")
    };
    let one = single("a", ZONE, template);
    world
        .call(|model, call| model.insert(call, DEFAULT_PROJECT, ZONE, None, one))
        .unwrap();
    world.pass(60.0);
    world
}

#[test]
fn a_machine_that_can_move_has_notice_and_runs_on() {
    let mut world = world_with(Scheduling::default());
    assert_eq!(world.named("a").maintenance_event(), "NONE");
    let operation = simulate(&mut world);
    world.pass(10.0);
    assert_eq!(
        world.named("a").maintenance_event(),
        "MIGRATE_ON_HOST_MAINTENANCE"
    );
    assert!(!done(&world.operation(&operation)));
    world.pass(60.0);
    let after = world.named("a");
    assert!(is_up(&after) && after.maintenance_event() == "NONE");
    assert!(done(&world.operation(&operation)));
}

#[test]
fn a_machine_that_cannot_move_ends_and_starts_again_if_it_may() {
    for (restarts, status) in [(true, Status::Running), (false, Status::Terminated)] {
        let mut world = world_with(Scheduling {
            on_host_maintenance: Some("TERMINATE".into()),
            automatic_restart: Some(restarts),
            ..Scheduling::default()
        });
        simulate(&mut world);
        world.pass(10.0);
        let event = world.named("a").maintenance_event();
        assert_eq!(event, "TERMINATE_ON_HOST_MAINTENANCE");
        world.pass(120.0);
        assert_eq!(world.named("a").status, status, "restarts: {restarts}");
    }
}

#[test]
fn a_stockout_with_details_names_the_other_zones_that_have_the_family() {
    let mut world = World::demo();
    world.fault(stockout(json!({ "details": true })));
    let operation = world.bulk(bulk("n2d-standard-2", &["a"])).unwrap();
    world.pass(200.0);
    let errors = world.operation(&operation).errors;
    let Some(Detail::Stockout {
        zone,
        zones_available,
        ..
    }) = errors.last().map(|error| &error.detail)
    else {
        panic!("no details in {errors:?}");
    };
    let others: Vec<&str> = zones_available.split(',').collect();
    assert_eq!(others.len(), 3, "{zones_available}");
    assert!(!others.contains(&&**zone) && others.iter().all(|other| other.starts_with(REGION)));
}

#[test]
fn a_name_pattern_has_no_numbers_after_the_largest_there_is() {
    let mut world = World::demo();
    let last = format!("z-{}", u64::MAX);
    world.bulk(bulk("n2d-standard-2", &[&last])).unwrap();
    let refused = world.bulk(Bulk {
        names: Names::Pattern("z-#".into()),
        ..bulk("n2d-standard-2", &["one"])
    });
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.status, refused.reason),
        (400, "invalid"),
        "{}",
        refused.message
    );
}
