//! Conditions (`if`) and `branches`: what they say, and what becomes of steps that are left out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bench, State};
use crate::buildkite::NewBuild;
use crate::buildkite::condition::Condition;
use crate::buildkite::facts::BuildFacts;
use crate::buildkite::ids::BuildKey;

/// Whether a condition is true of a build on `release/1.2`, or what is wrong with it.
fn ask(condition: &str) -> Result<bool, String> {
    let mut bench = Bench::new();
    let new = NewBuild {
        pipeline: "p".into(),
        branch: "release/1.2".into(),
        yaml: "env: {DEPLOY: 'yes', EMPTY: ''}\nsteps: [{command: a}]".into(),
        ..NewBuild::default()
    };
    bench
        .act(|model, now, out| model.create_build(now, &new, out))
        .unwrap();
    let facts = BuildFacts {
        model: &bench.model,
        build: BuildKey(0),
    };
    match Condition::read(condition) {
        Ok(condition) => Ok(condition.holds(&facts)),
        Err(problem) => Err(problem.to_string()),
    }
}

#[test]
fn conditions_say_what_the_documentation_says() {
    let cases = [
        ("build.branch == 'main' || build.branch == \"release/1.2\"", true),
        ("build.branch != 'release/1.2'", false),
        ("build.branch =~ /^release\\//", true),
        ("build.branch =~ /^RELEASE/", false),
        ("build.branch =~ /^RELEASE/i", true),
        ("build.branch !~ /\\.2$/", false),
        ("build.tag != null", false),
        ("build.tag =~ /^v/", false),
        ("build.tag !~ /^v/", true),
        ("build.message !~ /skip tests/", true),
        ("build.source == 'api' && pipeline.slug == 'p'", true),
        ("build.number == 1", true),
        ("build.env('DEPLOY') == 'yes'", true),
        ("build.env('NOBODY') == null", true),
        ("build.env('EMPTY') == null", false),
        ("env('NOBODY') == ''", true),
        ("build.env('BUILDKITE_BRANCH') == build.branch", true),
        (
            "build.env(\"BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG\") == ''",
            true,
        ),
        ("build.creator.teams includes 'deploy'", false),
        ("['main', 'release/1.2'] includes build.branch", true),
        ("['x', 'release/1.2'] includes /^rel/", true),
        ("null includes 'x'", false),
        ("!build.pull_request.draft", true),
        ("build.pull_request.id == null ? build.number == 1 : false", true),
        // `&&` binds tighter than `||`, whichever comes first.
        ("true || false && false", true),
        ("(true || false) && false", false),
        ("false && false || true", true),
        ("!(build.number == 1) || !false", true),
        (
            "// a comment\nbuild.number == 1 &&\n  // and another\n  true",
            true,
        ),
        (
            "$DEPLOY == 'yes' && ${NOBODY:-x} == 'x' && ${EMPTY-x} == ''",
            true,
        ),
        ("\"is-${DEPLOY}\\x21\" == 'is-yes!'", true),
        ("'$DEPLOY' == 'yes'", false),
        (
            "organization.slug == 'gust-demo' && build.state == 'scheduled'",
            true,
        ),
    ];
    for (condition, wanted) in cases {
        assert_eq!(ask(condition), Ok(wanted), "{condition}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_the_place() {
    let all: Vec<String> = [
        "",
        "build.branch = 'x'",
        "build.branch == ",
        "(build.branch == 'x'",
        "build.branch == 'x' 'y'",
        "build.branch",
        "build.brunch == 'x'",
        "step.key == 'x'",
        "starts_with(build.branch, 'x')",
        "build.number == '1'",
        "build.state == 'exploded'",
        "build.branch =~ 'x'",
        "build.branch =~ /x",
        "build.branch =~ /(/",
        "build.branch =~ /x/g",
        "build.branch =~ /(?<=x)/",
        "build.branch =~ /x++/",
        "[1] includes 'x'",
        "!build.branch",
        "build.env('BUILDKITE_AGENT_NAME') == 'x'",
        "build.env('$X') == 'x'",
        "build..branch == 'x'",
        "'ü' == 'x' @ 1",
        "${X:1} == 'x'",
        "true ? false",
    ]
    .into_iter()
    .map(|condition| format!("{condition}\n  {}", ask(condition).unwrap_err()))
    .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn nothing_is_nested_too_deeply_for_the_stack() {
    assert!(ask(&format!("{}true{}", "(".repeat(5000), ")".repeat(5000))).is_err());
    assert!(ask(&format!("{}true", "!".repeat(5000))).is_err());
    assert!(ask(&format!("'a'{}", " == 'a'".repeat(5000))).is_err());
    assert_eq!(ask(&format!("true{}", " && true".repeat(5000))), Ok(true));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(words in proptest::collection::vec(
        prop_oneof![
            Just("build.branch"), Just("=="), Just("!="), Just("=~"), Just("!~"), Just("&&"), Just("||"), Just("!"),
            Just("("), Just(")"), Just("["), Just("]"), Just(","), Just("?"), Just(":"), Just("'x'"), Just("\"$X ${Y:-z}\""),
            Just("/a+/i"), Just("null"), Just("true"), Just("12"), Just("includes"), Just("env"), Just("$X"), Just("//\n"),
            Just("build.env('X')"), Just("'"), Just("\""), Just("/"), Just("\\"), Just("${"), Just("}"), Just("é"),
        ], 0..24,
    ), any in ".*") {
        let _ = ask(&words.join(" "));
        let _ = ask(&words.concat());
        let _ = Condition::read(&any);
    }
}

fn branch(bench: &mut Bench, branch: &str, yaml: &str) -> Vec<uuid::Uuid> {
    let new = NewBuild {
        pipeline: "p".into(),
        branch: branch.into(),
        yaml: yaml.into(),
        ..NewBuild::default()
    };
    let build = bench.act(|model, now, out| model.create_build(now, &new, out));
    build.unwrap().jobs.iter().map(|job| job.uuid).collect()
}

fn shown(bench: &Bench) -> Value {
    bench.model.rest_build(bench.now(), BuildKey(0), true)
}

#[test]
fn a_step_left_out_breaks_its_job_and_holds_nothing_up() {
    let mut bench = Bench::new();
    let yaml = "steps:
- {command: slow, key: slow}
- {command: a, key: a, depends_on: slow, if: build.branch == 'main'}
- {command: b, key: b, branches: main}
- {command: c, key: c, depends_on: [a, b]}";
    let jobs = branch(&mut bench, "topic", yaml);
    assert_eq!(
        [0, 1, 2, 3].map(|at| bench.state(jobs[at])),
        [State::Scheduled, State::Broken, State::Broken, State::Scheduled]
    );
    assert_eq!(bench.path(jobs[1]), "->broken");
    assert_eq!(bench.events("job.finished").len(), 2);
    let reasons = [1, 2].map(|at| shown(&bench)["jobs"][at]["broken_reason"].clone());
    assert_eq!(reasons, [json!("conditional_failed"), json!("branch_mismatch")]);
    assert_eq!(bench.retry(jobs[1]).unwrap_err().status, 422);
    bench.run_to(jobs[0], "0");
    bench.run_to(jobs[3], "0");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "passed");
}

#[test]
fn a_wait_or_block_that_is_left_out_is_not_there() {
    let mut bench = Bench::new();
    let yaml = "steps:
- {command: a}
- {wait: ~, if: build.branch == 'main'}
- {command: b}
- {block: Release, branches: main}
- {command: c}
- wait
- {command: d}";
    let jobs = branch(&mut bench, "topic", yaml);
    assert_eq!(
        [0, 1, 2, 3].map(|at| bench.state(jobs[at])),
        [
            State::Scheduled,
            State::Scheduled,
            State::Scheduled,
            State::Waiting
        ]
    );
    assert_eq!(shown(&bench)["jobs"][4]["state"], "broken");
    for job in jobs {
        bench.run_to(job, "0");
    }
    assert_eq!(shown(&bench)["state"], "passed");
}

#[test]
fn the_condition_of_a_group_is_that_of_its_steps() {
    let mut bench = Bench::new();
    let yaml = "steps:
- group: g
  key: g
  if: build.branch == 'main'
  steps:
  - {command: a, key: a}
  - {command: b, if: build.branch == 'topic'}
- {command: c, depends_on: [g, a]}";
    let jobs = branch(&mut bench, "topic", yaml);
    let states = |bench: &Bench, jobs: &[uuid::Uuid]| [0, 1, 2].map(|at| bench.state(jobs[at]));
    assert_eq!(
        states(&bench, &jobs),
        [State::Broken, State::Broken, State::Scheduled]
    );
    let jobs = branch(&mut bench, "main", yaml);
    assert_eq!(
        states(&bench, &jobs),
        [State::Scheduled, State::Broken, State::Waiting]
    );
}

#[test]
fn a_build_of_which_nothing_is_left_was_not_run() {
    let mut bench = Bench::new();
    branch(
        &mut bench,
        "topic",
        "steps:\n- {command: a, branches: main}\n- wait\n- {command: b, skip: true}",
    );
    assert_eq!(shown(&bench)["state"], "not_run");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "not_run");
}

#[test]
fn an_upload_is_asked_of_the_build_with_what_it_brings() {
    let mut bench = Bench::new();
    let job = branch(&mut bench, "topic", "steps: [{command: up}]")[0];
    let token = bench.run(job);
    let pipeline = json!({"env": {"X": "1"}, "steps": [
        {"command": "a", "key": "a", "if": "build.env('X') == '1'"},
        {"command": "b", "key": "b", "if": "build.env('X') == '2'"},
    ]});
    bench
        .act(|model, now, out| {
            let id = uuid::Uuid::from_u128(1);
            model.upload_pipeline_now(now, &token, job, id, (pipeline, false), out)
        })
        .unwrap();
    let states = ["a", "b"].map(|key| bench.state(bench.jobs_of(key)[0]));
    assert_eq!(states, [State::Scheduled, State::Broken]);
}

#[test]
fn conditions_and_branches_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    let all = [
        "steps:\n- {command: a, key: a, if: build.branch == 'x' &&}",
        "steps:\n- {command: a, label: Tests, if: build.branch == 'x', branches: x}",
        "steps:\n- {command: a, if: [x]}",
        "steps:\n- {command: a, branches: {x: y}}",
        "steps:\n- {group: g, branches: x, steps: [{command: a}]}",
        "steps:\n- {command: a, if_changed: '*.rs'}",
    ]
    .map(|yaml| bench.refused(yaml));
    insta::assert_snapshot!(all.join("\n"));
}
