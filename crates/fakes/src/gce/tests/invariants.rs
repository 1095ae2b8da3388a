//! Random worlds: whatever is asked, and whatever befalls the machines, the log stays true.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::gce::{Mishap, limit_of};

#[derive(Clone, Debug)]
enum Step {
    Bulk {
        machine: usize,
        count: usize,
        all: bool,
        spot: bool,
    },
    Insert {
        machine: usize,
    },
    Delete(usize),
    Stop(usize),
    Start(usize),
    Befall(usize, usize),
    Fault(usize),
    Pass(u32),
}

const MACHINES: [&str; 5] = [
    "n2d-standard-8",
    "e2-standard-4",
    "c4a-standard-16",
    "c3d-standard-8-lssd",
    "n2-standard-32",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..MACHINES.len(), 1..9_usize, any::<bool>(), any::<bool>())
            .prop_map(|(machine, count, all, spot)| Step::Bulk { machine, count, all, spot }),
        1 => (0..MACHINES.len()).prop_map(|machine| Step::Insert { machine }),
        2 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::Stop),
        1 => any::<usize>().prop_map(Step::Start),
        2 => (any::<usize>(), 0..5_usize).prop_map(|(which, what)| Step::Befall(which, what)),
        1 => (0..6_usize).prop_map(Step::Fault),
        4 => (0..400_u32).prop_map(Step::Pass),
    ]
}

fn take(world: &mut World, step: &Step, serial: &mut u32) {
    let some = |world: &World, which: usize| {
        let all: Vec<_> = world
            .model
            .instances
            .values()
            .map(|one| (one.zone.clone(), one.name.clone()))
            .collect();
        (!all.is_empty()).then(|| all[which % all.len()].clone())
    };
    match step {
        Step::Bulk {
            machine,
            count,
            all,
            spot: is_spot,
        } => {
            let names: Vec<String> = (0..*count)
                .map(|_| {
                    *serial += 1;
                    format!("m-{serial}")
                })
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut asked = bulk(MACHINES[*machine], &names);
            if *is_spot {
                asked.template = Template {
                    disks: asked.template.disks,
                    ..spot(MACHINES[*machine])
                };
            }
            asked.min_count = (!all).then_some(1);
            let _ = world.bulk(asked);
        }
        Step::Insert { machine } => {
            *serial += 1;
            let one = single(
                &format!("m-{serial}"),
                "us-central1-a",
                template(MACHINES[*machine]),
            );
            let _ = world.call(|model, call| model.insert(call, DEFAULT_PROJECT, "us-central1-a", None, one));
        }
        Step::Delete(which) => {
            if let Some((zone, name)) = some(world, *which) {
                let _ = world.call(|model, call| model.delete(call, at(&zone, &name), None));
            }
        }
        Step::Stop(which) => {
            if let Some((zone, name)) = some(world, *which) {
                let _ = world.call(|model, call| model.stop(call, at(&zone, &name), None));
            }
        }
        Step::Start(which) => {
            if let Some((zone, name)) = some(world, *which) {
                let _ = world.call(|model, call| model.start(call, at(&zone, &name), None));
            }
        }
        Step::Befall(which, what) => {
            let mishaps = [
                Mishap::Preempt,
                Mishap::HostError,
                Mishap::Freeze,
                Mishap::Crash,
                Mishap::PowerOff,
            ];
            if let Some((_, name)) = some(world, *which) {
                let now = world.now();
                let _ = world.model.happen(now, &name, mishaps[*what], &mut world.out);
                world.log.extend(world.out.take());
            }
        }
        Step::Fault(which) => {
            let kind = [
                "gce.stockout",
                "gce.quota",
                "gce.late-quota",
                "gce.ip-exhausted",
                "gce.slow-boot",
                "gce.broken-boot",
            ];
            world.fault(json!({ "kind": kind[*which], "for_s": 20, "probability": 0.5 }));
        }
        Step::Pass(tenths) => world.pass(f64::from(*tenths) / 10.0),
    }
}

fn check(world: &World) {
    let mut alive: BTreeMap<String, String> = BTreeMap::new();
    let mut ever = BTreeSet::new();
    let mut operations: BTreeMap<String, String> = BTreeMap::new();
    let text = |event: &Event, key: &str| event.fields[key].as_str().unwrap_or_default().to_owned();
    for event in &world.log {
        match event.kind {
            "instance.inserted" => {
                assert!(ever.insert(text(event, "name")), "inserted twice: {event:?}");
                alive.insert(text(event, "name"), "PROVISIONING".into());
            }
            "instance.state" => {
                let state = alive
                    .get_mut(&text(event, "name"))
                    .expect("only what was inserted changes");
                assert_eq!(*state, text(event, "from"));
                *state = text(event, "to");
            }
            "instance.refused" => assert!(!ever.contains(&text(event, "name")), "refused and inserted"),
            "instance.deleted" => assert!(alive.remove(&text(event, "name")).is_some(), "deleted twice"),
            "operation.state" => {
                let before = operations
                    .insert(text(event, "operation"), text(event, "to"))
                    .unwrap_or_default();
                assert_eq!(before, text(event, "from"), "{event:?}");
            }
            "quota.used" => {
                let (usage, limit) = (
                    event.fields["usage"].as_f64().unwrap(),
                    event.fields["limit"].as_f64().unwrap(),
                );
                assert!(usage <= limit, "over the limit: {event:?}");
            }
            _ => {}
        }
    }
    assert_eq!(alive.len(), world.model.instances.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_log_stays_true_and_everything_is_given_back(steps in proptest::collection::vec(step(), 1..60)) {
        let mut limits = Limits::demo();
        for limit in limits.gce.quotas.values_mut().chain(limits.gce.family_quotas.values_mut()) {
            *limit = 100.0;
        }
        limits.gce.quotas.insert("DISKS_TOTAL_GB".into(), 1_000.0);
        limits.gce.quotas.insert("HDB_TOTAL_GB".into(), 1_000.0);
        let mut world = World::new(&limits);
        let mut serial = 0;
        for step in &steps {
            take(&mut world, step, &mut serial);
            for (region, metric, used) in world.model.projects[0].ledger.all() {
                prop_assert!(used as f64 <= limit_of(&world.model.limits, region, metric), "{metric}");
            }
        }
        check(&world);
        // Everything ends: operations are done, and with the machines gone nothing is in use.
        for _ in 0..3 {
            world.pass(200.0);
            let all: Vec<_> = world.model.instances.values().map(|one| (one.zone.clone(), one.name.clone())).collect();
            for (zone, name) in all {
                let _ = world.call(|model, call| model.delete(call, at(&zone, &name), None));
            }
        }
        world.pass(200.0);
        check(&world);
        prop_assert!(world.model.instances.is_empty() && world.model.names.is_empty());
        prop_assert!(world.model.operations.iter().all(done));
        prop_assert!(world.model.projects[0].ledger.all().all(|(.., used)| used == 0));
        prop_assert_eq!(world.model.projects[0].bulk_running, 0);
        prop_assert!(world.model.projects[0].operations_running.values().all(|running| *running == 0));
        prop_assert!(world.model.projects[0].subnets.values().all(|subnet| subnet.used() == 0));
    }

    #[test]
    fn the_same_seed_gives_the_same_log(steps in proptest::collection::vec(step(), 1..30)) {
        let run = || {
            let mut world = World::demo();
            let mut serial = 0;
            for step in &steps {
                take(&mut world, step, &mut serial);
            }
            world.pass(100.0);
            world.log
        };
        prop_assert_eq!(run(), run());
    }
}
