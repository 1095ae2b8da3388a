//! Where waiting jobs go: order, quota, slots, holds, cordons.

use super::{
    events::STOCKOUT,
    world::{START, World, facts, job, shard},
};
use crate::{
    ids::MachineTypeName,
    memory::{Hold, HoldKey},
    ports::{ListedJob, RefusalClass},
    records::Place,
    shape::ProvisioningModel,
    snapshot::Backlog,
    time::Timestamp,
};

fn hold(world: &mut World, kind: &str, region: &str, seconds: u64, class: RefusalClass) {
    let kind = MachineTypeName::from(kind);
    let key = HoldKey::Type(shard(region), kind, ProvisioningModel::Standard);
    let until = world.now.after(std::time::Duration::from_secs(seconds));
    let hold = Hold {
        until,
        class,
        times: 1,
    };
    world.memory.holds.insert(key, hold);
}

#[test]
fn an_empty_world_asks_for_nothing() {
    assert!(World::small().pass().is_empty());
}

#[test]
fn priority_decides_and_then_the_longest_wait() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 3, 0);
    world.settings.singles = 0;
    world.job(1, "small");
    world.job_with(2, "small", |facts| facts.priority = 5);
    world.job_with(3, "small", |facts| facts.runnable_at = Timestamp(0));
    world.job_with(4, "small", |facts| facts.priority = -1);
    world.job(5, "small");
    assert_eq!(
        world.pass(),
        [
            "create bulk small in r1: m2.1 m3.1 m1.1",
            "2: creating small in r1",
            "3: creating small in r1",
            "1: creating small in r1",
            "5: quota CPUS in r1: 3 of 3, needs 1, line 1",
            "4: quota CPUS in r1: 3 of 3, needs 1, line 2",
        ]
    );
    // Nobody is told or given anything twice.
    assert_eq!(world.pass(), world.pass());
    assert_eq!(world.book.batches().len(), 1);
}

#[test]
fn what_is_paid_for_is_used_first_and_is_never_the_reason_to_wait() {
    let mut world = World::small();
    world.kind("paid", &[("PREPAID_CPUS:n2d", 1), ("CPUS", 1)]);
    world.plan("either", &[("paid", "r1"), ("small", "r1")]);
    world.quota("r1", "PREPAID_CPUS:n2d", 1, 0);
    world.quota("r1", "CPUS", 2, 0);
    for n in 1..=3 {
        world.job(n, "either");
    }
    assert_eq!(
        world.pass(),
        [
            "create paid in r1-a: m1.1",
            "create small in r1-b: m2.1",
            "1: creating paid in r1",
            "2: creating small in r1",
            "3: quota CPUS in r1: 2 of 2, needs 1, line 1",
        ]
    );
}

#[test]
fn a_quota_counts_what_others_use_and_what_is_promised_already() {
    let mut world = World::small();
    world.kind("large", &[("CPUS", 8)]);
    world.plan("large", &[("large", "r1")]);
    world.quota("r1", "CPUS", 20, 5);
    world.job(1, "large");
    world.pass();
    world.job(2, "large");
    world.job(3, "large");
    world.job(4, "small");
    assert_eq!(
        world.pass(),
        [
            "create small in r1-b: m4.1",
            "1: creating large in r1",
            "2: quota CPUS in r1: 13 of 20, needs 8, line 1",
            "3: quota CPUS in r1: 13 of 20, needs 8, line 2",
            "4: creating small in r1",
        ]
    );
}

#[test]
fn a_full_quota_sends_jobs_to_their_next_choice() {
    let mut world = World::small();
    world.kind("other", &[("N2_CPUS", 1)]);
    world.plan("both", &[("small", "r1"), ("small", "r2"), ("other", "r1")]);
    world.quota("r1", "CPUS", 1, 0);
    world.quota("r2", "CPUS", 1, 0);
    world.quota("r1", "N2_CPUS", 1, 0);
    for n in 1..=4 {
        world.job(n, "both");
    }
    assert_eq!(
        world.pass(),
        [
            "create small in r1-a: m1.1",
            "create small in r2-b: m2.1",
            "create other in r1-a: m3.1",
            "1: creating small in r1",
            "2: creating small in r2",
            "3: creating other in r1",
            // The best choice's quota is the one to name.
            "4: quota CPUS in r1: 1 of 1, needs 1, line 1",
        ]
    );
}

#[test]
fn a_quota_over_all_regions_is_one_account() {
    let mut world = World::default();
    world.kind("small", &[("CPUS", 1), ("CPUS_ALL_REGIONS", 1)]);
    world.plan("here", &[("small", "r1")]);
    world.plan("there", &[("small", "r2")]);
    world.project_quota("CPUS_ALL_REGIONS", 2);
    world.job(1, "here");
    world.job(2, "there");
    world.job(3, "here");
    assert_eq!(
        world.pass(),
        [
            "create small in r1-a: m1.1",
            "create small in r2-b: m2.1",
            "1: creating small in r1",
            "2: creating small in r2",
            "3: quota CPUS_ALL_REGIONS: 2 of 2, needs 1, line 1",
        ]
    );
}

#[test]
fn a_small_job_passes_a_large_one_that_would_not_fit_anyway() {
    let mut world = World::small();
    world.kind("huge", &[("CPUS", 50)]);
    world.plan("huge", &[("huge", "r1")]);
    world.quota("r1", "CPUS", 10, 0);
    world.job(1, "huge");
    world.job(2, "small");
    assert_eq!(
        world.pass(),
        [
            "create small in r1-b: m2.1",
            "1: quota CPUS in r1: 0 of 10, needs 50, line 1",
            "2: creating small in r1",
        ]
    );
}

#[test]
fn the_largest_group_gets_the_slot_and_small_ones_go_one_by_one() {
    let mut world = World::small();
    world.settings.bulk_slots = 1;
    world.kind("b", &[]);
    world.kind("c", &[]);
    world.plan("b", &[("b", "r1")]);
    world.plan("c", &[("c", "r1")]);
    for n in 1..=3 {
        world.job(n, "small");
    }
    for n in 4..=7 {
        world.job(n, "b");
    }
    for n in 8..=12 {
        world.job(n, "c");
    }
    assert_eq!(
        world.pass(),
        [
            "create bulk c in r1: m8.1 m9.1 m10.1 m11.1 m12.1",
            "create small in r1-a: m1.1",
            "create small in r1-b: m2.1",
            "create small in r1-a: m3.1",
            "1: creating small in r1",
            "2: creating small in r1",
            "3: creating small in r1",
            "4: slot of 1",
            "5: slot of 1",
            "6: slot of 1",
            "7: slot of 1",
            "8: creating c in r1",
            "9: creating c in r1",
            "10: creating c in r1",
            "11: creating c in r1",
            "12: creating c in r1",
        ]
    );
    world.wait(1);
    assert!(
        world.pass().contains(&"4: slot of 1".to_owned()),
        "the operation still runs"
    );
    world.settle(world.batch_of("m8.1"), |_| super::events::created("r1-a"));
    assert_eq!(world.pass()[0], "create bulk b in r1: m4.1 m5.1 m6.1 m7.1");
}

#[test]
fn urgency_goes_before_size_when_slots_are_given() {
    let mut world = World::small();
    world.settings.bulk_slots = 1;
    world.kind("b", &[]);
    world.plan("b", &[("b", "r1")]);
    for n in 1..=9 {
        world.job(n, "small");
    }
    for n in 11..=14 {
        world.job(n, "b");
    }
    world.job_with(15, "b", |facts| facts.priority = 1);
    let decision = world.pass();
    assert_eq!(decision[0], "create bulk b in r1: m15.1 m11.1 m12.1 m13.1 m14.1");
    assert_eq!(
        decision.iter().filter(|line| line.starts_with("create")).count(),
        1
    );
    assert_eq!(
        decision.iter().filter(|line| line.ends_with("slot of 1")).count(),
        9
    );
}

#[test]
fn bulk_calls_are_limited_by_the_second() {
    let mut world = World::small();
    world.settings.bulk_per_second = 2;
    world.settings.singles = 1;
    for (kind, first) in [("a", 1), ("b", 3), ("c", 5)] {
        world.kind(kind, &[]);
        world.plan(kind, &[(kind, "r1")]);
        world.job(first, kind);
        world.job(first + 1, kind);
    }
    let decision = world.pass();
    assert_eq!(
        decision[..2],
        ["create bulk a in r1: m1.1 m2.1", "create bulk b in r1: m3.1 m4.1"]
    );
    assert_eq!(decision[6..], ["5: slot of 10", "6: slot of 10"]);
    assert!(
        !world.pass().iter().any(|line| line.starts_with("create")),
        "the second is not over"
    );
    world.wait(1);
    assert_eq!(world.pass()[0], "create bulk c in r1: m5.1 m6.1");
}

#[test]
fn a_thousand_machines_fill_one_call() {
    let mut world = World::small();
    for n in 1..=2001 {
        world.job(n, "small");
    }
    world.pass();
    let mut sizes: Vec<_> = world
        .book
        .batches()
        .values()
        .map(|batch| batch.members.len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1000, 1000]);
}

#[test]
fn a_quota_promised_to_jobs_without_a_slot_goes_to_nobody_behind_them() {
    let mut world = World::small();
    world.settings.bulk_slots = 0;
    world.settings.singles = 1;
    world.kind("b", &[("CPUS", 1)]);
    world.plan("b", &[("b", "r1")]);
    world.quota("r1", "CPUS", 2, 0);
    world.job(1, "small");
    world.job(2, "small");
    world.job(3, "b");
    assert_eq!(
        world.pass(),
        [
            "1: slot of 0",
            "2: slot of 0",
            "3: quota CPUS in r1: 2 of 2, needs 1, line 1"
        ]
    );
}

#[test]
fn a_refused_choice_is_left_alone_for_a_while_and_the_next_one_taken() {
    let mut world = World::small();
    world.plan("both", &[("small", "r1"), ("small", "r2")]);
    world.job(1, "both");
    world.job(2, "small");
    hold(&mut world, "small", "r1", 9, STOCKOUT);
    assert_eq!(
        world.pass(),
        [
            "create small in r2-a: m1.1",
            "1: creating small in r2",
            "2: held small in r1: stockout, 10 s, line 1",
        ]
    );
    world.wait(9);
    assert_eq!(
        world.pass()[0],
        "create small in r1-b: m2.1",
        "what is over is over at its last second"
    );
}

#[test]
fn the_best_choices_obstacle_is_the_one_to_name() {
    let mut world = World::small();
    world.plan("both", &[("small", "r1"), ("small", "r2")]);
    world.quota("r1", "CPUS", 1, 1);
    world.job(1, "both");
    hold(&mut world, "small", "r2", 9, STOCKOUT);
    assert_eq!(world.pass(), ["1: quota CPUS in r1: 1 of 1, needs 1, line 1"]);
    // That nothing but a higher limit helps is not true as long as another choice may come back.
    world.quota("r1", "CPUS", 0, 0);
    assert_eq!(world.pass(), ["1: held small in r2: stockout, 10 s, line 1"]);
}

#[test]
fn the_line_for_a_held_choice_is_counted() {
    let mut world = World::small();
    world.job(1, "small");
    world.job(2, "small");
    hold(&mut world, "small", "r1", 9, RefusalClass::Rate);
    assert_eq!(
        world.pass(),
        [
            "1: held small in r1: rate, 10 s, line 1",
            "2: held small in r1: rate, 10 s, line 2"
        ]
    );
}

#[test]
fn a_cordoned_shard_gets_nothing_and_is_named_only_if_it_is_all_there_is() {
    let mut world = World::small();
    world.plan("both", &[("small", "r1"), ("small", "r2")]);
    world.quota("r2", "CPUS", 1, 0);
    world.cordon(Place::Shard(shard("r1")), true, false);
    world.job(1, "small");
    world.job(2, "both");
    world.job(3, "both");
    assert_eq!(
        world.pass(),
        [
            "create small in r2-b: m2.1",
            "1: cordoned",
            "2: creating small in r2",
            "3: quota CPUS in r2: 1 of 1, needs 1, line 1",
        ]
    );
}

#[test]
fn machines_are_asked_for_in_the_zones_that_are_open() {
    let mut world = World::small();
    world.cordon(Place::Zone("r1-b".into()), true, false);
    world.job(1, "small");
    assert_eq!(
        world.pass(),
        ["create small in r1-a: m1.1", "1: creating small in r1"]
    );
    world.cordon(Place::Zone("r1-a".into()), true, false);
    world.job(2, "small");
    assert_eq!(world.pass(), ["1: creating small in r1", "2: cordoned"]);
    world.cordon(Place::Zone("r1-a".into()), false, false);
    assert_eq!(
        world.pass(),
        [
            "create small in r1-a: m2.1",
            "1: creating small in r1",
            "2: creating small in r1"
        ]
    );
}

#[test]
fn a_drained_place_keeps_running_jobs_and_gives_others_up() {
    let mut world = World::small();
    world.plan("both", &[("small", "r1"), ("small", "r2")]);
    world.job(1, "both");
    world.job(2, "both");
    world.pass();
    world.all_created();
    world.claim("m1.1", "key");
    world.cordon(Place::Shard(shard("r1")), true, true);
    assert_eq!(
        world.pass(),
        [
            "delete m2.1: drained",
            "create small in r2-a: m2.2",
            "2: creating small in r2",
        ]
    );
    world.gone("m2.1");
    assert_eq!(world.failures(2), [0; 4], "no fault of the machine");
}

#[test]
fn while_the_operator_pauses_gust_jobs_are_taken_in_and_no_machine_is_made() {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.order(|orders, order| orders.paused = Some(order));
    world.job(2, "small");
    assert_eq!(world.pass(), ["1: creating small in r1", "2: stopped (a note)"]);
    world.order(|orders, _| orders.paused = None);
    assert_eq!(
        world.pass(),
        [
            "create small in r1-b: m2.1",
            "1: creating small in r1",
            "2: creating small in r1"
        ]
    );
}

#[test]
fn a_paused_queue_gets_no_machines_and_takes_no_jobs_in() {
    let mut world = World::small();
    world.job(1, "small");
    world.job_with(2, "small", |facts| facts.queue = "other".into());
    let listed = |n, queue: &str| {
        let mut facts = facts("small", Timestamp(START.0 + n as i64 * 1000));
        facts.queue = queue.into();
        ListedJob { id: job(n).id, facts }
    };
    let jobs = vec![listed(3, "main"), listed(4, "other")];
    world.backlog.insert("bk".into(), Backlog { jobs });
    world.paused.insert(("bk".into(), "main".into()));
    assert_eq!(
        world.pass(),
        [
            "reserve 4",
            "create small in r1-b: m2.1",
            "1: paused main",
            "2: creating small in r1"
        ]
    );
    world.paused.clear();
    assert_eq!(
        world.pass(),
        [
            "create bulk small in r1: m1.1 m4.1",
            "1: creating small in r1",
            "2: creating small in r1",
            "4: creating small in r1",
        ]
    );
}

#[test]
fn a_single_machine_is_tried_in_another_zone_each_time() {
    let mut world = World::small();
    world.job(1, "small");
    let mut zones = Vec::new();
    for _ in 0..4 {
        zones.push(world.pass().remove(0));
        world.all_refused(&STOCKOUT);
        world.wait(30);
    }
    assert_eq!(
        zones,
        [
            "create small in r1-a: m1.1",
            "create small in r1-b: m1.2",
            "create small in r1-a: m1.3",
            "create small in r1-b: m1.4",
        ]
    );
}
