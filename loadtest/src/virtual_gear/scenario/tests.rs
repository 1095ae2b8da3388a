use std::collections::BTreeSet;

use strum::VariantArray as _;

use super::*;

const GOOD: &str = r#"
seed = 7
profile = "burst"
replicas = 3
latency_ms = [1, 20]
quiet_after_ms = 60000
patience_ms = 600000
limits = { base = "demo", change = { gce = { quotas = { CPUS = 40 } } } }

[[builds]]
at_ms = 0
slug = "main"
pipeline = "steps: [ { key: build, command: make }, { key: test, command: test, depends_on: build } ]"

[[acts]]
when = { at_ms = 500 }
what = { kind = "cancel-job", step = "build" }

[[faults]]
when = { point = "cloud-create", nth = 3, side = "after" }
what = { kind = "replica-crash", replica = "sender", down_ms = 900 }

[[faults]]
when = { event = "job.acquired", nth = 2, delay_ms = 10 }
what = { kind = "reply-4xx", point = "source-finish", count = 2, says = { status = 404, html = true } }

[[faults]]
when = { at_ms = 100 }
what = { kind = "replica-freeze", replica = 2, lasting_ms = 100 }
"#;

fn refused(text: &str) -> String {
    Scenario::parse("bad.toml", text)
        .expect_err("it is not a scenario")
        .to_string()
}

fn spoiled(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    refused(&GOOD.replacen(from, to, 1))
}

#[test]
fn a_file_is_read_and_written_back_without_loss() {
    let scenario = Scenario::parse("good.toml", GOOD).unwrap();
    assert_eq!(scenario.faults.len(), 3);
    let again = Scenario::parse("again.toml", &scenario.to_toml()).unwrap();
    assert_eq!(again, scenario);
    assert_eq!(scenario.limits.limits().unwrap().gce.quotas["CPUS"], 40.0);
}

#[test]
fn what_cannot_be_is_refused_with_its_place_and_a_hint() {
    let all = [
        spoiled("replica-crash", "replica-crush"),
        spoiled("cancel-job", "cancel-jop"),
        spoiled("cloud-create", "cloud-craete"),
        spoiled("job.acquired", "job.aquired"),
        spoiled("\"burst\"", "\"birst\""),
        spoiled("down_ms = 900", "down_ms = -900"),
        spoiled("down_ms = 900", "downms = 900"),
        spoiled("at_ms = 500", "at_ms = -1"),
        spoiled("at_ms = 500", "at_ms = 600000"),
        spoiled("when = { at_ms = 100 }", "when = { at_ms = 60000 }"),
        spoiled("when = { at_ms = 100 }", "when = { at_ms = 100, nth = 2 }"),
        spoiled("nth = 2", "nth = 0"),
        spoiled("replica = 2", "replica = 3"),
        spoiled("point = \"source-finish\", ", ""),
        spoiled("status = 404", "status = 500"),
        spoiled("count = 2", "count = 0"),
        spoiled("replicas = 3", "replicas = 0"),
        spoiled("latency_ms = [1, 20]", "latency_ms = [20, 1]"),
        spoiled("patience_ms = 600000", "patience_ms = 60000"),
        spoiled("seed = 7", "sede = 7"),
        spoiled("CPUS = 40", "CPUS = \"many\""),
        spoiled("base = \"demo\"", "base = \"dome\""),
        spoiled("pipeline = \"steps: [", "pipeline = \"staps: ["),
        refused("seed = 7\nprofile ="),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_scenario_without_builds_is_refused() {
    let begin = GOOD.find("[[builds]]").unwrap();
    let end = GOOD.find("[[acts]]").unwrap();
    let text = format!("{}{}", &GOOD[..begin], &GOOD[end..]);
    insta::assert_snapshot!(refused(&text));
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let error = Scenario::load(std::path::Path::new("no/such/file.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("scenario no/such/file.toml is refused\n  cannot be read: ")
    );
}

#[test]
fn the_same_seed_draws_the_same_scenario_and_another_seed_another() {
    for profile in Profile::VARIANTS {
        let first = Scenario::draw(11, *profile, 3, INTENSITY);
        assert_eq!(first, Scenario::draw(11, *profile, 3, INTENSITY));
        assert_ne!(first, Scenario::draw(12, *profile, 3, INTENSITY));
    }
}

#[test]
fn what_is_drawn_is_in_order_and_survives_a_file() {
    for profile in Profile::VARIANTS {
        for seed in 0..20 {
            for replicas in [1, 3] {
                let drawn = Scenario::draw(seed, *profile, replicas, INTENSITY);
                drawn.check("drawn").unwrap();
                assert_eq!(Scenario::parse("drawn", &drawn.to_toml()).unwrap(), drawn);
            }
        }
    }
}

#[test]
fn every_kind_is_drawn_most_faults_hang_on_changes_and_there_are_enough() {
    let mut kinds = BTreeSet::new();
    let (mut faults, mut hung, runs) = (0, 0, 400);
    for seed in 0..runs {
        let drawn = Scenario::draw(seed, Profile::Burst, 3, INTENSITY);
        faults += drawn.faults.len();
        for fault in &drawn.faults {
            kinds.insert(fault.what.kind());
            hung += usize::from(!matches!(fault.when, When::At { .. }));
        }
    }
    let never: Vec<&FaultKind> = FaultKind::VARIANTS
        .iter()
        .filter(|kind| !kinds.contains(kind))
        .collect();
    assert!(never.is_empty(), "never drawn: {never:?}");
    assert!(hung * 2 > faults, "{hung} of {faults} hang on a change");
    assert!(faults as u64 >= 8 * runs, "{faults} in {runs} runs");
    assert!(Scenario::draw(1, Profile::Burst, 3, 0.0).faults.is_empty());
}

#[test]
fn every_workload_has_twenty_jobs_and_the_fakes_take_its_builds() {
    use gust_fakes::{buildkite::NewBuild, config::Settings, event::Effects, now::Now, world::World};
    for profile in Profile::VARIANTS {
        for seed in 0..40 {
            let drawn = Scenario::draw(seed, *profile, 1, 0.0);
            let mut world = World::new(&Settings {
                limits: drawn.limits.limits().unwrap(),
                ..Settings::default()
            });
            let mut jobs = 0;
            for build in &drawn.builds {
                let new = NewBuild {
                    yaml: build.pipeline.clone(),
                    ..NewBuild::default()
                };
                let now = Now::at(0, Duration::ZERO);
                let created = world.buildkite.create_build(now, &new, &mut Effects::default());
                jobs += created
                    .unwrap_or_else(|refusal| panic!("{profile:?} {seed}: {refusal}"))
                    .jobs
                    .len();
            }
            assert!(jobs >= 20, "{profile:?} {seed}: {jobs} jobs");
        }
    }
}

#[test]
fn a_build_without_a_step_is_one_that_the_rest_does_not_wait_for() {
    let scenario = Scenario::parse("good.toml", GOOD).unwrap();
    let build = &scenario.builds[0];
    assert_eq!(build.steps().unwrap(), ["build", "test"]);
    let fewer = build.without(&["build".to_owned()]).unwrap();
    assert_eq!(fewer.steps().unwrap(), ["test"]);
    assert!(!fewer.pipeline.contains("depends_on"));
    assert!(build.without(&["build".to_owned(), "test".to_owned()]).is_none());
}

#[test]
fn every_kind_has_a_name_that_is_read_back() {
    for kind in FaultKind::VARIANTS {
        assert_eq!(kind.name().parse::<FaultKind>().as_ref(), Ok(kind));
    }
}
