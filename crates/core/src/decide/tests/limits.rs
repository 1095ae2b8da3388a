//! Turns of pipelines, caps, what Google refused, and machines that are asked for together.

use std::time::Duration;

use super::{
    events::{STOCKOUT, created, refused},
    world::{START, World},
};
use crate::{
    cap::Cap,
    plan::Plan,
    ports::RefusalClass,
    quota::{Metric, Usage},
    records::Call,
    shape::Price,
    time::Timestamp,
};

/// Jobs `from` to `to` of a pipeline, plan `small`.
fn jobs(world: &mut World, from: u128, to: u128, pipeline: &str) {
    for n in from..=to {
        world.job_with(n, "small", |facts| facts.pipeline = pipeline.to_owned());
    }
}

/// The jobs for which the next pass makes machines, in order.
fn served(world: &World) -> Vec<String> {
    let lines = super::say::decision(&world.decide());
    let creating = lines.iter().filter_map(|line| line.split_once(": creating"));
    creating.map(|(job, _)| job.to_owned()).collect()
}

fn cap(pipelines: &[&str], vcpus: Option<u64>, dollars: Option<u64>) -> Cap {
    Cap {
        name: "team".to_owned(),
        pipelines: pipelines.iter().map(|p| (*p).to_owned()).collect(),
        vcpus,
        micro_usd_per_day: dollars.map(|dollars| dollars * 1_000_000),
    }
}

#[test]
fn pipelines_take_turns() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 5, 0);
    jobs(&mut world, 1, 6, "large");
    jobs(&mut world, 7, 8, "little");
    assert_eq!(served(&world), ["1", "7", "2", "8", "3"]);
}

#[test]
fn what_runs_already_counts_and_priority_counts_more() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 4, 0);
    jobs(&mut world, 1, 2, "large");
    world.pass();
    world.all_created();
    for n in [1, 2] {
        world.claim(&format!("m{n}.1"), &format!("k{n}"));
    }
    jobs(&mut world, 3, 5, "large");
    jobs(&mut world, 6, 9, "little");
    assert_eq!(served(&world), ["6", "7"], "it has none at work yet");
    world.job_with(10, "small", |facts| {
        facts.pipeline = "large".to_owned();
        facts.priority = 1;
    });
    assert_eq!(served(&world), ["10", "6"]);
}

#[test]
fn who_waited_too_long_waits_for_nobodys_turn() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 3, 0);
    world.settings.aging = Duration::from_secs(600);
    jobs(&mut world, 1, 3, "large");
    world.job_with(4, "small", |facts| {
        facts.pipeline = "little".to_owned();
        facts.runnable_at = Timestamp(START.0 + 900_000);
    });
    world.wait(300);
    assert_eq!(served(&world), ["1", "4", "2"]);
    world.wait(400);
    assert_eq!(served(&world), ["1", "2", "3"]);
}

#[test]
fn machines_are_bound_in_the_order_of_the_line() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 2, 0);
    jobs(&mut world, 1, 3, "large");
    jobs(&mut world, 4, 4, "little");
    world.pass();
    world.all_created();
    assert_eq!(world.claim("m1.1", "k1"), "job 1");
    assert_eq!(
        world.claim("m4.1", "k4"),
        "job 4",
        "not job 2, which came earlier"
    );
}

#[test]
fn a_cap_on_vcpus_holds_its_pipelines_and_nobody_else() {
    let mut world = World::small();
    world.settings.caps = vec![cap(&["team-*"], Some(2), None)];
    jobs(&mut world, 1, 3, "team-a");
    jobs(&mut world, 4, 4, "team-b");
    jobs(&mut world, 5, 5, "other");
    let lines = world.pass();
    let waiting: Vec<_> = lines.iter().filter(|line| line.contains("capped")).collect();
    assert_eq!(
        waiting,
        [
            "2: capped team: 2 of 2 vCPUs used, line 1",
            "3: capped team: 2 of 2 vCPUs used, line 2"
        ]
    );
    // What is asked for, boots or runs counts; what is gone does not.
    world.all_created();
    world.claim("m1.1", "k1");
    assert!(served(&world).is_empty());
    world.done("m1.1", "k1");
    assert!(served(&world).is_empty(), "it is not gone yet");
    world.gone("m1.1");
    assert_eq!(served(&world), ["2"]);
}

#[test]
fn dollars_of_a_day_are_kept_across_leaders_and_come_back_at_midnight() {
    let mut world = World::small();
    let (dollar_an_hour, hour) = (Price(1_000_000), 3600);
    let Ok(plan) = world.plan_of("small") else {
        panic!()
    };
    let mut choices = plan.choices.clone();
    choices[0].price = dollar_an_hour;
    world.put_plan(Plan {
        choices,
        ..(*plan).clone()
    });
    // An hour and what the next job is expected to cost is more than a dollar.
    world.settings.caps = vec![cap(&[], None, Some(1))];
    jobs(&mut world, 1, 1, "team");
    world.pass();
    world.all_created();
    world.claim("m1.1", "k1");
    world.wait(hour);
    world.done("m1.1", "k1");
    world.wait(30);
    world.gone("m1.1");
    jobs(&mut world, 2, 2, "team");
    world.reload();
    assert_eq!(
        world.pass(),
        ["2: capped team: $1.00 of $1.00 used for today (UTC), line 1"]
    );
    world.wait(24 * hour);
    assert_eq!(served(&world), ["2"]);
}

#[test]
fn a_leader_whose_clock_is_behind_forgets_nothing_that_was_spent() {
    let mut world = World::small();
    let day = crate::cap::Day::of(world.now).next();
    world.now = day.start().after(Duration::from_secs(90));
    jobs(&mut world, 1, 2, "team");
    world.pass();
    world.all_created();
    world.wait(200);
    world.gone("m1.1");
    let spent = |world: &World, day| world.book.spend().on(day).map(|(_, spent)| spent).sum::<u64>();
    let first = spent(&world, day);
    assert!(first > 0);
    world.now = day.start().before(Duration::from_secs(5));
    world.gone("m2.1");
    assert!(spent(&world, day) >= first);
    assert_eq!(
        spent(&world, crate::cap::Day::of(world.now)),
        spent(&world, day),
        "this clock sees it, too"
    );
}

#[test]
fn a_zone_without_machines_is_passed_over_at_once_and_tried_with_one() {
    let mut world = World::small();
    world.settings.singles = 0;
    for n in 1..=4 {
        world.job(n, "small");
    }
    world.pass();
    let batch = world.batch_of("m1.1");
    let zone = RefusalClass::Stockout {
        zone: Some("r1-a".into()),
    };
    world.settle(batch, |_| refused(zone.clone()));
    // The other zone serves them in the very next pass.
    world.pass();
    let batch = world.batch_of("m1.2");
    assert_eq!(world.book.batches()[&batch].shape.zones, ["r1-b".into()]);
    world.settle(batch, |_| refused(STOCKOUT));
    assert!(world.pass()[0].starts_with("1: held small in r1: stockout, 31 s"));
    world.wait(30);
    let lines = world.pass();
    assert!(lines[0].starts_with("create small in r1-"), "{lines:?}");
    assert_eq!(
        lines[2], "2: held small in r1: stockout, 0 s, line 1",
        "one machine is tried"
    );
    // While it is out nobody else is sent after it, but to the other zone; when it is there all others follow.
    assert_eq!(served(&world), ["1", "2"]);
    let batch = world.batch_of("m1.3");
    let Call::Insert { zone } = world.book.batches()[&batch].call.clone() else {
        panic!("one machine alone")
    };
    world.settle(batch, |_| created(zone.as_str()));
    assert_eq!(served(&world), ["2", "3", "4"]);
}

#[test]
fn a_stockout_falls_over_to_the_next_best_choice() {
    let mut world = World::small();
    world.kind("other", &[("CPUS", 1)]);
    world.plan("both", &[("small", "r1"), ("other", "r1"), ("small", "r2")]);
    (world.settings.singles, world.settings.alternatives) = (0, 0);
    world.job(1, "both");
    world.job(2, "both");
    world.pass();
    world.all_refused(&STOCKOUT);
    assert_eq!(world.pass()[0], "create bulk other in r1: m1.2 m2.2");
    world.all_refused(&STOCKOUT);
    assert_eq!(world.pass()[0], "create bulk small in r2: m1.3 m2.3");
}

#[test]
fn a_quota_that_no_list_shows_is_learned_from_its_refusal() {
    let mut world = World::small();
    world.kind("small", &[("CPUS", 1), ("FAMILY", 1)]);
    world.plan("small", &[("small", "r1")]);
    for n in 1..=5 {
        world.job(n, "small");
    }
    world.pass();
    let batch = world.batch_of("m1.1");
    let full = RefusalClass::Quota {
        metric: "FAMILY".to_owned(),
        limit: Some(2),
    };
    world.settle(batch, |name| match name {
        "m1.1" | "m2.1" => created("r1-a"),
        _ => refused(full.clone()),
    });
    let lines = world.pass();
    assert_eq!(lines[2], "3: quota FAMILY in r1: 2 of 2, needs 1, line 1");
    assert!(lines.iter().all(|line| !line.starts_with("create")), "{lines:?}");
    // What ends makes room at once, before the refusal is over.
    world.claim("m1.1", "k1");
    world.done("m1.1", "k1");
    world.gone("m1.1");
    assert_eq!(served(&world), ["3"]);
    // After a minute one machine more finds out whether the limit still holds.
    world.wait(60);
    assert_eq!(served(&world), ["3", "4"]);
    let lines = world.pass();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("5: quota FAMILY in r1: ")),
        "{lines:?}"
    );
    let lines = world.pass();
    let more = lines.iter().filter(|line| line.starts_with("create"));
    assert_eq!(more.count(), 0, "no other while that is under way");
    let batch = world.batch_of("m3.2");
    world.settle(batch, |_| created("r1-a"));
    assert!(served(&world).contains(&"5".to_owned()), "it has been raised");
}

#[test]
fn a_limit_that_a_refusal_told_counts_where_google_shows_a_larger_one() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 200, 10);
    for n in 1..=3 {
        world.job(n, "small");
    }
    world.pass();
    let batch = world.batch_of("m1.1");
    let full = RefusalClass::Quota {
        metric: "CPUS".to_owned(),
        limit: Some(11),
    };
    world.settle(batch, |name| match name {
        "m1.1" => created("r1-a"),
        _ => refused(full.clone()),
    });
    let reasons = world.decide().reasons;
    assert_eq!(
        reasons[1].1.to_string(),
        "waiting for CPUS in r1: 11 of 11 used, 1st in line"
    );
}

#[test]
fn what_a_job_has_waited_long_for_is_kept_for_it() {
    let mut world = World::small();
    world.kind("large", &[("CPUS", 4)]);
    world.plan("large", &[("large", "r1")]);
    world.quota("r1", "CPUS", 5, 2);
    world.job(1, "large");
    world.wait(60);
    world.job(2, "small");
    assert_eq!(served(&world), ["2"], "a smaller one takes what is free");
    world.wait(241);
    let reasons = world.decide().reasons;
    let texts: Vec<String> = reasons.iter().map(|(_, reason)| reason.to_string()).collect();
    assert_eq!(
        texts,
        [
            "waiting for CPUS in r1: 2 of 5 used, 1st in line",
            "waiting for CPUS in r1: 2 of 5 used, 3 kept for a job ahead that has waited long, 2nd in line",
        ]
    );
    world.quota("r1", "CPUS", 5, 1);
    assert_eq!(served(&world), ["1"]);
}

#[test]
fn of_a_range_of_sizes_the_one_that_a_cap_has_room_for_is_taken() {
    let mut world = World::small();
    world.kind("large", &[("CPUS", 4)]);
    world.plan("range", &[("large", "r1"), ("small", "r1")]);
    let mut range = Plan::clone(&world.plan_of("range").unwrap());
    std::sync::Arc::make_mut(&mut range.choices[0].shape).cpus = 4;
    world.put_plan(range);
    world.settings.caps = vec![cap(&[], Some(2), None)];
    world.job(1, "range");
    world.job(2, "small");
    world.job(3, "range");
    let lines = world.pass();
    assert_eq!(lines[0], "create bulk small in r1: m1.1 m2.1");
    assert_eq!(lines[3], "3: capped team: 2 of 2 vCPUs used, line 1");
}

#[test]
fn the_line_for_a_quota_says_about_how_long_it_takes() {
    let mut world = World::small();
    world.quota("r1", "CPUS", 0, 0);
    for n in 1..=3 {
        world.job(n, "small");
    }
    let usage = Usage(vec![(Metric::new("CPUS"), 1)]);
    let shard = super::world::shard("r1");
    world.flow.freed(&shard, &usage, world.now);
    world.wait(120);
    let reasons = world.decide().reasons;
    let abouts: Vec<String> = reasons.iter().map(|(_, reason)| reason.to_string()).collect();
    assert_eq!(
        abouts[2],
        "waiting for CPUS in r1: 0 of 0 used, the job needs 1 and can only run when the limit is raised"
    );
    world.quota("r1", "CPUS", 1, 1);
    let reasons = world.decide().reasons;
    assert_eq!(
        reasons[2].1.to_string(),
        "waiting for CPUS in r1: 1 of 1 used, 3rd in line, about 6 min"
    );
}

#[test]
fn requests_that_fit_the_same_shape_are_asked_for_in_one_call() {
    let mut world = World::small();
    world.settings.bulk_slots = 1;
    world.settings.singles = 0;
    world.plan("alike", &[("small", "r1")]);
    world.job(1, "small");
    world.job(2, "alike");
    world.job(3, "alike");
    let lines = world.pass();
    assert_eq!(lines[0], "create bulk small in r1: m1.1 m2.1 m3.1");
    // Each is bound to a job of its own request.
    world.all_created();
    assert_eq!(world.claim("m3.1", "k3"), "job 2");
    assert_eq!(world.claim("m1.1", "k1"), "job 1");
    assert_eq!(world.claim("m2.1", "k2"), "job 3");
}

#[test]
fn a_dearer_shape_is_joined_within_the_premium_when_slots_are_out() {
    let mut world = World::small();
    world.kind("other", &[("SSD", 1)]);
    world.plan("mine", &[("other", "r1"), ("small", "r1")]);
    world.settings.bulk_slots = 1;
    world.settings.singles = 1;
    for n in 1..=3 {
        world.job(n, "small");
    }
    for n in 4..=5 {
        world.job(n, "mine");
    }
    assert_eq!(
        super::say::decision(&world.decide())[0],
        "create bulk small in r1: m1.1 m2.1 m3.1"
    );
    assert_eq!(super::say::decision(&world.decide())[4], "4: slot of 1");
    world.settings.merge_premium_percent = 5;
    assert_eq!(
        super::say::decision(&world.decide())[0],
        "create bulk small in r1: m1.1 m2.1 m3.1 m4.1 m5.1"
    );
    assert_eq!(
        super::say::decision(&world.decide())[4],
        "4: creating small in r1"
    );
    // Not beyond the quota of what is joined, and then all of them stay where they are.
    world.quota("r1", "CPUS", 4, 0);
    assert_eq!(super::say::decision(&world.decide())[4], "4: slot of 1");
}
