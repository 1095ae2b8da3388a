//! Build matrices: the jobs they make, what the values are put into, and what is refused.

use serde_json::json;
use uuid::Uuid;

use super::{Bench, State};
use crate::buildkite::CreatedBuild;
use crate::buildkite::ids::BuildKey;

fn uuids(build: &CreatedBuild) -> Vec<Uuid> {
    build.jobs.iter().map(|job| job.uuid).collect()
}

#[test]
fn a_plain_list_makes_a_job_for_each_element() {
    let mut bench = Bench::new();
    let yaml = "steps:
- label: '{{matrix}} build'
  key: build
  command: ['GOOS={{ matrix }} go build', 'echo {{other}}']
  env: {os: '{{matrix}}', n: 1}
  agents: {os: '{{matrix}}', cpu: 8}
  plugins: [{'docker#{{matrix}}': {image: 'x:{{matrix}}', mounts: ['{{matrix}}']}}]
  matrix: [darwin, 3, true]
- {command: after, depends_on: build}";
    let build = bench.build(yaml);
    let jobs = uuids(&build);
    assert_eq!(jobs.len(), 4);
    let shown = bench.model.show_job(jobs[1]).unwrap();
    assert_eq!(
        (&shown["label"], &shown["command"], &shown["rules"]),
        (
            &json!("3 build"),
            &json!("GOOS=3 go build\necho {{other}}"),
            &json!(["os=3", "cpu=8"])
        )
    );
    assert_eq!(
        [
            "os",
            "n",
            "BUILDKITE_LABEL",
            "BUILDKITE_COMMAND",
            "BUILDKITE_PLUGINS"
        ]
        .map(|name| &shown["env"][name]),
        [
            "3",
            "1",
            "3 build",
            "GOOS=3 go build\necho {{other}}",
            r#"[{"docker#3":{"image":"x:3","mounts":["3"]}}]"#
        ]
    );
    let rest = bench.model.rest_build(bench.now(), BuildKey(0), true);
    assert_eq!(
        (&rest["jobs"][2]["matrix"], &rest["jobs"][2]["step_key"]),
        (&json!({"": "true"}), &json!("build"))
    );
    assert_eq!(rest["jobs"][3]["matrix"], json!(null));
    let acquired = bench.acquire(jobs[0]);
    assert_eq!(acquired.matrix[""], "darwin");
    assert_eq!(acquired.step["label"], "{{matrix}} build");
    assert_eq!(acquired.step["matrix"], json!(["darwin", 3, true]));
    bench
        .act(|model, now, out| model.start(now, &acquired.token, jobs[0], out))
        .unwrap();
    bench.finish(jobs[0], &acquired.token, "0").unwrap();
    bench.run_to(jobs[1], "0");
    assert_eq!(bench.state(jobs[3]), State::Waiting, "it waits for all of them");
    bench.run_to(jobs[2], "0");
    assert_eq!(bench.state(jobs[3]), State::Scheduled);
}

const ADJUSTED: &str = "steps:
- command: 'echo {{matrix.os}} {{matrix.arch}}'
  key: m
  matrix:
    setup:
      arch: [amd64, arm64]
      os: [windows, linux]
    adjustments:
    - {with: {os: windows, arch: arm64}, soft_fail: true}
    - {with: {os: linux, arch: arm64}, skip: broken}
    - {with: {os: 'Plan 9', arch: arm64}}
- {command: after, depends_on: m}";

#[test]
fn adjustments_skip_soften_and_add_combinations() {
    let mut bench = Bench::new();
    let build = bench.build(ADJUSTED);
    let jobs = uuids(&build);
    let commands: Vec<String> = jobs[..5]
        .iter()
        .map(|job| bench.model.show_job(*job).unwrap()["command"].to_string())
        .collect();
    assert_eq!(
        commands.join(" "),
        "\"echo windows amd64\" \"echo linux amd64\" \"echo windows arm64\" \"echo linux arm64\" \"echo Plan 9 arm64\""
    );
    assert_eq!(bench.state(jobs[3]), State::Skipped);
    bench.run_to(jobs[2], "1");
    for job in [0, 1, 4] {
        bench.run_to(jobs[job], "0");
    }
    assert_eq!(bench.state(jobs[5]), State::Scheduled);
    bench.run_to(jobs[5], "0");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "passed");
}

#[test]
fn a_retry_keeps_its_combination() {
    let mut bench = Bench::new();
    let build = bench.build(ADJUSTED);
    let jobs = uuids(&build);
    bench.run_to(jobs[0], "1");
    let again = bench.retry(jobs[0]).unwrap();
    let shown = bench.model.show_job(again).unwrap();
    assert_eq!(shown["command"], "echo windows amd64");
}

#[test]
fn matrices_that_cannot_be_are_refused() {
    let list = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let dimensions = |count: usize| {
        (0..count)
            .map(|n| format!("d{n}: [a]"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let adjustments = vec!["{with: a}"; 13].join(", ");
    let step = |matrix: &str| format!("steps:\n- {{command: 'echo {{{{matrix}}}}', matrix: {matrix}}}");
    let mut all: Vec<String> = Vec::new();
    let mut bench = Bench::new();
    for yaml in [
        step("x"),
        step("[]"),
        step("[1.5]"),
        step("[[a]]"),
        step("[~]"),
        step(&format!("[{}]", list(26))),
        step(&format!("[{}]", "x".repeat(129))),
        step("{setup: {os: [a]}}"),
        step("{adjustments: []}"),
        step("{setup: {'a b': [a]}}"),
        step("{setup: [a], extra: 1}"),
        step(&format!("{{setup: {{{}}}}}", dimensions(7))),
        step(&format!("{{setup: [a], adjustments: [{adjustments}]}}")),
        step("{setup: [a], adjustments: [{with: {os: a}}]}"),
        step("{setup: [a], adjustments: [{skip: true}]}"),
        step("{setup: [a], adjustments: [{with: b, env: {X: 1}}]}"),
        step(&format!("{{setup: {{a: [{}], b: [1, 2, 3]}}}}", list(20))),
        "steps:\n- {command: a, parallelism: 2, matrix: [x]}".into(),
        "steps:\n- {command: a, key: 'k-{{matrix}}', matrix: [x]}".into(),
        "steps:\n- {command: a, agents: {queue: '{{matrix}}'}, matrix: [gust, nowhere]}".into(),
    ] {
        all.push(bench.refused(&yaml));
    }
    insta::assert_snapshot!(all.join("\n"));
}
