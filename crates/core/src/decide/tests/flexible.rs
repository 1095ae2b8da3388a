//! Calls that name several machine types.

use super::{
    events::{STOCKOUT, created, refused},
    world::{World, shape, shard},
};
use crate::{
    ids::MachineTypeName,
    memory::{Gate, Pool},
    ports::MemberFate,
    records::BatchRecord,
};

/// Jobs that a small machine does for; a wide one costs the same and comes next.
fn world(jobs: u128) -> World {
    let mut world = World::default();
    world.kind("small", &[("SMALL_CPUS", 1), ("DISKS", 50)]);
    world.kind("wide", &[("WIDE_CPUS", 1), ("DISKS", 60)]);
    world.plan("any", &[("small", "r1"), ("wide", "r1"), ("small", "r2")]);
    world.quota("r1", "DISKS", 10_000, 0);
    for n in 1..=jobs {
        world.job(n, "any");
    }
    world
}

fn only(world: &World) -> &BatchRecord {
    let mut batches = world.book.batches().values();
    let batch = batches.next().expect("a batch");
    assert!(batches.next().is_none(), "there is one");
    batch
}

fn alternatives(world: &World) -> Vec<&str> {
    let alternatives = only(world).shape.alternatives.iter();
    alternatives.map(|it| it.machine_type.as_str()).collect()
}

fn made(zone: &str, machine_type: &str) -> MemberFate {
    match created(zone) {
        MemberFate::Created {
            zone, instance_id, ..
        } => MemberFate::Created {
            zone,
            instance_id,
            machine_type: Some(MachineTypeName::from(machine_type)),
        },
        refused @ MemberFate::Refused { .. } => refused,
    }
}

fn promised(world: &World, metric: &str) -> u64 {
    let region = shard("r1").region;
    let all = world.promised(Some(&region));
    all.iter()
        .find(|(m, _)| m.as_str() == metric)
        .map_or(0, |(_, n)| *n)
}

#[test]
fn what_comes_next_in_the_same_region_is_named_too_and_promised() {
    let mut world = world(2);
    world.quota("r1", "WIDE_CPUS", 4, 0);
    world.pass();
    assert_eq!(alternatives(&world), ["wide"]);
    // Whichever it will be, there is quota for it; what both need is not counted twice.
    assert_eq!(promised(&world, "SMALL_CPUS"), 2);
    assert_eq!(promised(&world, "WIDE_CPUS"), 2);
    assert_eq!(promised(&world, "DISKS"), 120);
}

#[test]
fn what_is_scarce_closed_or_switched_off_is_not_named() {
    let mut scarce = world(2);
    scarce.quota("r1", "WIDE_CPUS", 3, 0);
    scarce.pass();
    assert_eq!(alternatives(&scarce), [""; 0]);

    let mut awaited = world(2);
    awaited.plan("wide", &[("wide", "r1")]);
    awaited.quota("r1", "WIDE_CPUS", 9, 8);
    awaited.job(3, "wide");
    awaited.job(4, "wide");
    awaited.pass();
    let batches: Vec<_> = awaited.book.batches().values().collect();
    assert!(
        batches.iter().all(|batch| batch.shape.alternatives.is_empty()),
        "{batches:?}"
    );

    let mut off = world(2);
    off.settings.alternatives = 0;
    off.pass();
    assert_eq!(alternatives(&off), [""; 0]);

    let mut alone = world(1);
    alone.pass();
    assert_eq!(alternatives(&alone), [""; 0], "a single insert names one type");
}

#[test]
fn a_machine_counts_as_what_google_made_once_that_is_told() {
    let mut world = world(2);
    world.pass();
    // Its guest may be sooner than Google's answer: until then it may be either.
    world.claim("m1.1", "key");
    assert_eq!(promised(&world, "WIDE_CPUS"), 2);
    world.settle(only(&world).id, |name| match name {
        "m1.1" => made("r1-a", "wide"),
        _ => made("r1-b", "small"),
    });
    let of = |name| {
        let footprint = world.book.machines()[&world.name(name)].footprint.clone();
        let footprint = footprint.expect("it is known");
        (footprint.machine_type.to_string(), footprint.alternatives.len())
    };
    assert_eq!(of("m1.1"), ("wide".to_owned(), 0));
    assert_eq!(of("m2.1"), ("small".to_owned(), 0));
    assert_eq!(
        (promised(&world, "SMALL_CPUS"), promised(&world, "WIDE_CPUS")),
        (1, 1)
    );
}

#[test]
fn a_type_that_google_passed_over_is_left_alone_where_it_did() {
    let mut world = world(2);
    world.pass();
    world.settle(only(&world).id, |_| made("r1-a", "wide"));
    let gate = |kind: &str, zone: &str| {
        let pool = Pool::of(&shape(kind, "r1"), &zone.into());
        world.memory.stockouts.gate(&pool, 1, world.now)
    };
    assert!(matches!(gate("small", "r1-a"), Gate::Shut { .. }));
    assert_eq!(gate("small", "r1-b"), Gate::Open);
    assert_eq!(gate("wide", "r1-a"), Gate::Open);
}

#[test]
fn who_makes_none_of_several_types_has_none_of_them() {
    let mut world = world(2);
    world.pass();
    world.settle(only(&world).id, |_| refused(STOCKOUT));
    for kind in ["small", "wide"] {
        for zone in ["r1-a", "r1-b"] {
            let pool = Pool::of(&shape(kind, "r1"), &zone.into());
            let gate = world.memory.stockouts.gate(&pool, 1, world.now);
            assert!(matches!(gate, Gate::Shut { .. }), "{kind} in {zone}");
        }
    }
    // Both are passed over at once.
    world.pass();
    assert_eq!(only(&world).shape.region.as_str(), "r2");
}
