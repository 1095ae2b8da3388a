use std::time::Duration;

use proptest::{
    prelude::{any, prop, proptest},
    prop_assert, prop_assert_eq,
};

use super::{Exhausted, Gate, HoldKey, LONGEST, Memory, Outcomes, Pool, Reclaims, Stockouts, Why};
use crate::{
    decide::tests::world::{START, World, shape, shard},
    ports::RefusalClass,
    quota::{Metric, Usage},
    records::BatchRecord,
    shape::ProvisioningModel,
    time::Timestamp,
};

const BASE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn pool(zone: &str) -> Pool {
    Pool::of(&shape("small", "r1"), &zone.into())
}

fn until(gate: Gate) -> Option<u64> {
    match gate {
        Gate::Shut { until, .. } => Some(until.since(START).as_secs()),
        Gate::Open | Gate::HalfOpen { .. } => None,
    }
}

/// A batch of two machines, as the worlds of `decide` make them.
fn batch() -> BatchRecord {
    let mut world = World::small();
    world.job(1, "small");
    world.job(2, "small");
    world.pass();
    let batch = world.book.batches().values().next().cloned();
    batch.expect("a batch")
}

fn learn(memory: &mut Memory, refusals: &[RefusalClass], made_in: &[&str], seconds: u64) {
    let own = batch().shape.machine_type;
    let outcomes = Outcomes {
        refusals: refusals.iter().cloned().collect(),
        made_in: made_in.iter().map(|zone| ((*zone).into(), own.clone())).collect(),
    };
    let usage = Usage(vec![(Metric::new("CPUS"), 1)]);
    memory.learn(&batch(), &outcomes, &usage, |_| 7, (at(seconds), BASE));
}

#[test]
fn who_cannot_give_a_small_machine_is_not_asked_for_a_larger_one() {
    let mut stockouts = Stockouts::default();
    stockouts.refused(pool("r1-a"), 16, Why::Stockout, at(0), BASE);
    let gate = |stockouts: &Stockouts, zone: &str, cpus| until(stockouts.gate(&pool(zone), cpus, at(1)));
    assert_eq!(gate(&stockouts, "r1-a", 16), Some(30));
    assert_eq!(gate(&stockouts, "r1-a", 64), Some(30));
    assert_eq!(gate(&stockouts, "r1-a", 8), None);
    assert_eq!(gate(&stockouts, "r1-b", 16), None);
    let spot = Pool {
        model: ProvisioningModel::Spot,
        ..pool("r1-a")
    };
    assert_eq!(stockouts.gate(&spot, 16, at(1)), Gate::Open);
    // Who gives a large machine has smaller ones, too; the other way round it says nothing.
    stockouts.made(&pool("r1-a"), 8);
    assert_eq!(gate(&stockouts, "r1-a", 16), Some(30));
    stockouts.made(&pool("r1-a"), 32);
    assert_eq!(gate(&stockouts, "r1-a", 64), None);
    assert!(stockouts.is_empty());
}

#[test]
fn each_refusal_in_a_row_is_heeded_twice_as_long_and_a_success_forgets_them() {
    let mut stockouts = Stockouts::default();
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..7 {
        stockouts.refused(pool("r1-a"), 4, Why::Stockout, at(now), BASE);
        let end = until(stockouts.gate(&pool("r1-a"), 4, at(now))).expect("shut");
        waits.push(end - now);
        assert_eq!(
            stockouts.gate(&pool("r1-a"), 4, at(end)),
            Gate::HalfOpen {
                since: at(end),
                why: Why::Stockout,
            }
        );
        now = end;
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
    stockouts.made(&pool("r1-a"), 4);
    stockouts.refused(pool("r1-a"), 4, Why::Stockout, at(now), BASE);
    assert_eq!(until(stockouts.gate(&pool("r1-a"), 4, at(now))), Some(now + 30));
}

#[test]
fn batches_that_were_under_way_together_count_once() {
    let mut stockouts = Stockouts::default();
    for second in 0..5 {
        stockouts.refused(pool("r1-a"), 4, Why::Stockout, at(second), BASE);
    }
    assert_eq!(until(stockouts.gate(&pool("r1-a"), 4, at(5))), Some(30));
}

#[test]
fn what_nobody_met_for_long_is_forgotten() {
    let mut stockouts = Stockouts::default();
    stockouts.refused(pool("r1-a"), 4, Why::Stockout, at(0), BASE);
    stockouts.forget(at(30 + LONGEST.as_secs() - 1));
    assert!(!stockouts.is_empty());
    stockouts.forget(at(30 + LONGEST.as_secs()));
    assert!(stockouts.is_empty());
}

#[test]
fn a_stockout_without_a_zone_is_one_of_all_zones_asked() {
    let mut memory = Memory::default();
    learn(
        &mut memory,
        &[RefusalClass::Stockout { zone: None }],
        &["r1-a"],
        0,
    );
    let gates: Vec<_> = ["r1-a", "r1-b"]
        .map(|zone| until(memory.stockouts.gate(&pool(zone), 1, at(1))))
        .into();
    assert_eq!(
        gates,
        [Some(30), Some(30)],
        "even where some were made: it was too much"
    );
    assert!(memory.holds.is_empty());
}

#[test]
fn networks_without_addresses_close_all_types_in_them() {
    let mut memory = Memory::default();
    learn(&mut memory, &[RefusalClass::Addresses], &[], 0);
    let other = shape("large", "r1");
    assert_eq!(
        memory.hold_of(&other, at(1)).map(|hold| hold.class.clone()),
        Some(RefusalClass::Addresses)
    );
    assert_eq!(memory.hold_of(&shape("large", "r2"), at(1)), None);
    let mut elsewhere = other;
    elsewhere.network.subnetwork = Some("regions/r1/subnetworks/two".into());
    assert_eq!(memory.hold_of(&elsewhere, at(1)), None);
}

#[test]
fn what_is_left_alone_by_type_waits_longer_each_time_but_for_rates() {
    let mut memory = Memory::default();
    let [key, _] = HoldKey::of(&shape("small", "r1"));
    let wait = |memory: &Memory, from: u64| memory.holds[&key].until.since(at(from)).as_secs();
    learn(&mut memory, &[RefusalClass::Internal], &[], 0);
    learn(&mut memory, &[RefusalClass::Internal], &[], 30);
    assert_eq!(wait(&memory, 30), 60);
    learn(&mut memory, &[RefusalClass::Rate], &[], 90);
    assert_eq!(wait(&memory, 90), 30);
    learn(&mut memory, &[], &["r1-a"], 120);
    assert!(memory.holds.is_empty(), "a success forgets them");
}

#[test]
fn a_refused_quota_bounds_what_is_promised_until_it_is_tried_again() {
    let mut memory = Memory::default();
    let quota = |metric: &str| RefusalClass::Quota {
        metric: metric.to_owned(),
        limit: Some(9),
    };
    learn(&mut memory, &[quota("CPUS")], &[], 0);
    let (_, lesson) = memory.exhausted.of(&shard("r1"), false).next().expect("a lesson");
    assert_eq!((lesson.most(at(29)), lesson.most(at(30))), (Some(7), None));
    assert_eq!(lesson.limit, Some(9), "believed for longer");
    // A metric that these machines do not use cannot be waited for: the type is left alone.
    learn(&mut memory, &[quota("unknown")], &[], 0);
    assert_eq!(memory.exhausted.of(&shard("r1"), false).count(), 1);
    assert_eq!(memory.holds.len(), 1);
}

#[test]
fn quotas_over_all_regions_are_refused_for_all_regions() {
    let mut exhausted = Exhausted::default();
    let metric = Metric::new("CPUS_ALL_REGIONS");
    exhausted.refused(&shard("r1"), metric.clone(), None, 5, (at(0), BASE));
    exhausted.refused(&shard("r2"), metric, None, 3, (at(1), BASE));
    let (_, lesson) = exhausted.of(&shard("r2"), true).next().expect("a lesson");
    assert_eq!((lesson.ceiling, lesson.times), (3, 1), "one shortage");
    assert_eq!(exhausted.of(&shard("r1"), false).count(), 0);
}

#[test]
fn a_pool_that_takes_back_one_of_five_is_left_alone_and_one_that_takes_few_is_not() {
    let mut reclaims = Reclaims::default();
    let mut taken = |alive, second| reclaims.too_many(&pool("r1-a"), alive, at(second));
    assert!(!taken(0, 0) && !taken(0, 1), "too few to tell");
    assert!(!taken(100, 2), "3 of 103");
    assert!(taken(16, 3), "4 of 20");
    assert!(!taken(0, 700), "what is long ago does not count");
    let mut memory = Memory::default();
    for second in 0..3 {
        memory.reclaimed(pool("r1-a"), 1, at(second), BASE);
    }
    let gate = memory.stockouts.gate(&pool("r1-a"), 1, at(3));
    assert!(
        matches!(
            gate,
            Gate::Shut {
                why: Why::Reclaims,
                ..
            }
        ),
        "{gate:?}"
    );
    memory.stockouts.made(&pool("r1-a"), 64);
    assert_eq!(
        memory.stockouts.gate(&pool("r1-a"), 1, at(3)),
        gate,
        "giving is not keeping"
    );
}

proptest! {
    #[test]
    fn larger_machines_are_never_more_welcome_than_smaller_ones(
        told in prop::collection::vec((0..64_u32, any::<bool>(), 0..900_u64), 0..20),
        now in 0..2000_u64,
    ) {
        let mut stockouts = Stockouts::default();
        let mut seconds = 0;
        for (cpus, made, wait) in told {
            seconds += wait;
            if made {
                stockouts.made(&pool("r1-a"), cpus);
            } else {
                stockouts.refused(pool("r1-a"), cpus, Why::Stockout, at(seconds), BASE);
            }
            stockouts.forget(at(seconds));
        }
        let now = at(seconds + now);
        let shut: Vec<bool> = (0..64)
            .map(|cpus| matches!(stockouts.gate(&pool("r1-a"), cpus, now), Gate::Shut { .. }))
            .collect();
        prop_assert!(shut.is_sorted());
        // Nothing is shut for longer than the longest wait.
        let latest = now.after(LONGEST);
        let late = stockouts.iter().filter(|(_, _, found)| found.until > latest).count();
        prop_assert_eq!(late, 0);
    }
}
