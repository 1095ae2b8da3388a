//! Trigger steps: the builds they make, what becomes of the step when those end, and what a cancel does.

use serde_json::{Value, json};

use super::{Bench, State};
use crate::buildkite::BuildState;
use crate::buildkite::ids::BuildKey;

const CHILD: &str = "steps:\n- {command: c, key: c}";

impl Bench {
    fn store(&mut self, slug: &str, yaml: &str) -> bool {
        self.act(|model, _, _| model.store_steps(slug, None, yaml))
            .unwrap()
    }

    /// The last job of a build as the REST API shows it: that of its trigger step.
    fn last_job(&self, number: usize) -> Value {
        let build = self.model.rest_build(self.now(), BuildKey(number - 1), true);
        build["jobs"].as_array().unwrap().last().unwrap().clone()
    }

    fn build_state(&self, number: u64) -> BuildState {
        self.model.build(number).unwrap().state
    }

    /// What was told of trigger steps, `kind:state`.
    fn told_of_triggers(&self) -> String {
        let told = self
            .log
            .after(0)
            .iter()
            .filter(|entry| entry.kind.starts_with("step."));
        told.map(
            |entry| match entry.fields().get("state").and_then(Value::as_str) {
                Some(state) => format!("{}:{state}", entry.kind),
                None => entry.kind.to_owned(),
            },
        )
        .collect::<Vec<_>>()
        .join(" ")
    }
}

#[test]
fn a_trigger_waits_for_its_build_and_goes_on_when_that_passed() {
    let mut bench = Bench::new();
    assert!(bench.store(
        "deploy",
        "env: {A: pipeline, B: pipeline}\nsteps:\n- {command: c, key: c}"
    ));
    assert!(!bench.store(
        "deploy",
        "env: {A: pipeline, B: pipeline}\nsteps:\n- {command: c, key: c}"
    ));
    let yaml = "steps:
- {command: a, key: a}
- trigger: deploy
  key: t
  label: Deploy
  depends_on: a
  build: {commit: abc, branch: release, meta_data: {v: 1.1}, env: {A: step}}
- {command: z, key: z, depends_on: t}";
    let build = bench.build(yaml);
    let [a, z] = [0, 1].map(|at| build.jobs[at].uuid);
    assert_eq!(bench.last_job(1)["state"], "waiting");
    bench.run_to(a, "0");
    bench.pass(0.1);
    let job = bench.last_job(1);
    assert_eq!(
        (
            &job["type"],
            &job["state"],
            &job["async"],
            &job["triggered_build"]["number"]
        ),
        (&json!("trigger"), &json!("running"), &json!(false), &json!(2))
    );
    let child = bench.model.rest_build(bench.now(), BuildKey(1), false);
    assert_eq!(
        ["branch", "commit", "message", "source"].map(|name| child[name].clone()),
        ["release", "abc", "Deploy", "trigger_job"]
    );
    assert_eq!(child["meta_data"], json!({"v": "1.1"}));
    let c = bench.jobs_of("c")[0];
    let shown = bench.model.show_job(c).unwrap();
    let parent = build.uuid.to_string();
    assert_eq!(
        [
            "A",
            "B",
            "BUILDKITE_SOURCE",
            "BUILDKITE_TRIGGERED_FROM_BUILD_ID",
            "BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG"
        ]
        .map(|name| shown["env"][name].as_str().unwrap()),
        ["step", "pipeline", "trigger_job", parent.as_str(), "p"]
    );
    assert_eq!(bench.state(z), State::Waiting);
    bench.run_to(c, "0");
    bench.pass(0.1);
    assert_eq!(bench.last_job(1)["state"], "passed");
    bench.run_to(z, "0");
    assert_eq!(bench.build_state(1), BuildState::Passed);
    assert_eq!(bench.told_of_triggers(), "step.triggered step.ended:passed");
    assert_eq!(bench.events("job.created").len(), 3, "no stack ever sees its job");
}

#[test]
fn a_failure_is_that_of_the_step_unless_it_is_soft_or_asynchronous() {
    for (more, wanted, state) in [
        ("", BuildState::Failed, "failed"),
        (", soft_fail: true", BuildState::Passed, "failed"),
        (", async: true", BuildState::Passed, "passed"),
    ] {
        let mut bench = Bench::new();
        bench.store("deploy", CHILD);
        bench.build(&format!("steps:\n- {{trigger: deploy{more}}}"));
        bench.pass(0.1);
        let asynchronous = more.contains("async");
        assert_eq!(bench.build_state(1) == BuildState::Passed, asynchronous);
        let c = bench.jobs_of("c")[0];
        bench.run_to(c, "1");
        bench.pass(0.1);
        assert_eq!(bench.build_state(2), BuildState::Failed);
        assert_eq!(bench.build_state(1), wanted, "{more}");
        assert_eq!(bench.last_job(1)["state"], state, "{more}");
        assert_eq!(bench.events("build.finished").len(), 2);
    }
}

#[test]
fn a_pipeline_without_steps_and_one_without_end_fail_the_step() {
    let mut bench = Bench::new();
    bench.build("steps:\n- {trigger: nobody}");
    bench.pass(0.1);
    let ended = bench.events("step.ended")[0].fields();
    assert_eq!(
        (&ended["state"], &ended["detail"]),
        (&json!("failed"), &json!("No pipeline found"))
    );
    assert_eq!(bench.build_state(1), BuildState::Failed);
    assert_eq!(bench.last_job(1)["triggered_build"], json!(null));

    let mut bench = Bench::new();
    bench.store("again", "steps:\n- {trigger: again}");
    bench.build("steps:\n- {trigger: again}");
    bench.pass(1.0);
    assert_eq!(bench.events("build.created").len(), 10);
    assert_eq!(bench.events("build.finished").len(), 10);
    assert_eq!(bench.build_state(1), BuildState::Failed);
}

#[test]
fn a_cancel_goes_down_to_the_build_and_its_end_comes_up() {
    let mut bench = Bench::new();
    bench.store("deploy", CHILD);
    bench.build("steps:\n- {trigger: deploy}\n- wait\n- {trigger: deploy}");
    bench.pass(0.1);
    bench
        .act(|model, now, out| model.cancel_build(now, 1, out))
        .unwrap();
    bench.pass(0.1);
    assert_eq!(
        [1, 2].map(|number| bench.build_state(number)),
        [BuildState::Canceled, BuildState::Canceled]
    );
    assert_eq!(
        bench.told_of_triggers(),
        "step.triggered step.ended:canceled step.ended:canceled"
    );
    let c = bench.jobs_of("c")[0];
    assert_eq!(bench.state(c), State::Canceled);
    assert_eq!(
        bench.retry(c).unwrap_err().message,
        "This job can't be retried because this build was triggered by a synchronous trigger step in a canceled build"
    );

    let mut bench = Bench::new();
    bench.store("deploy", CHILD);
    bench.build("steps:\n- {trigger: deploy}");
    bench.pass(0.1);
    bench
        .act(|model, now, out| model.cancel_build(now, 2, out))
        .unwrap();
    bench.pass(0.1);
    assert_eq!(bench.last_job(1)["state"], "canceled");
    assert_eq!(bench.build_state(1), BuildState::Failed);
}

#[test]
fn a_retry_below_opens_what_waited_above() {
    let mut bench = Bench::new();
    bench.store("deploy", CHILD);
    let build = bench.build("steps:\n- {trigger: deploy}\n- wait\n- {command: z}");
    let z = build.jobs[0].uuid;
    bench.pass(0.1);
    let c = bench.jobs_of("c")[0];
    bench.run_to(c, "1");
    bench.pass(0.1);
    assert_eq!(
        (bench.build_state(1), bench.state(z)),
        (BuildState::Failed, State::WaitingFailed)
    );
    let again = bench.retry(c).unwrap();
    assert_eq!(
        (bench.build_state(1), bench.state(z), &bench.last_job(1)["state"]),
        (BuildState::Running, State::Waiting, &json!("running"))
    );
    bench.run_to(again, "0");
    bench.pass(0.1);
    bench.run_to(z, "0");
    assert_eq!(bench.build_state(1), BuildState::Passed);
}

#[test]
fn a_parallel_trigger_makes_so_many_builds_and_a_skipped_one_none() {
    let mut bench = Bench::new();
    bench.store("deploy", CHILD);
    let yaml = "steps:
- {trigger: deploy, parallelism: 2}
- {trigger: deploy, skip: true}
- {trigger: deploy, if: build.source == 'trigger_job'}
- wait
- {command: z, key: z}";
    let z = bench.build(yaml).jobs[0].uuid;
    bench.pass(0.1);
    assert_eq!(bench.events("build.created").len(), 3);
    let jobs = bench.jobs_of("c");
    let parts: Vec<Value> = jobs
        .iter()
        .map(|job| bench.model.show_job(*job).unwrap()["env"]["BUILDKITE_PARALLEL_JOB"].clone())
        .collect();
    assert_eq!(parts, ["0", "1"]);
    bench.run_to(jobs[0], "0");
    bench.pass(0.1);
    assert_eq!(bench.state(z), State::Waiting);
    bench.run_to(jobs[1], "0");
    bench.pass(0.1);
    assert_eq!(bench.state(z), State::Scheduled);
    let shown = bench.model.rest_build(bench.now(), BuildKey(0), true);
    let states: Vec<&Value> = shown["jobs"].as_array().unwrap()[1..]
        .iter()
        .map(|job| &job["state"])
        .collect();
    assert_eq!(states, ["passed", "passed", "skipped", "broken"]);
}

#[test]
fn trigger_steps_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    let all = [
        "steps:\n- {trigger: ''}",
        "steps:\n- {trigger: a, build: x}",
        "steps:\n- {trigger: a, build: {author: x}}",
        "steps:\n- {trigger: a, build: {branch: [x]}}",
        "steps:\n- {trigger: a, build: {meta_data: [x]}}",
        "steps:\n- {trigger: a, async: maybe}",
        "steps:\n- {trigger: a, soft_fail: [{exit_status: 1}]}",
        "steps:\n- {trigger: a, command: b}",
        "steps:\n- {trigger: a, parallelism: 0}",
    ]
    .map(|yaml| bench.refused(yaml));
    insta::assert_snapshot!(all.join("\n"));
    let refused = bench.act(|model, _, _| model.store_steps("x", None, "steps:\n- {comand: a}"));
    assert_eq!(refused.unwrap_err().status, 422);
}
