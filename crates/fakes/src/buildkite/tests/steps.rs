//! Steps: dependencies, groups, retries, concurrency, and what is refused.

use super::{Bench, State};

#[test]
fn wait_holds_back_until_all_before_it_ended_well() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {command: a, key: a, parallelism: 2}\n- wait\n- {command: b, key: b}\n- {command: c, key: c, depends_on: []}";
    let build = bench.build(yaml);
    let jobs: Vec<_> = build.jobs.iter().map(|job| job.uuid).collect();
    assert_eq!(
        bench.listed(),
        [jobs[0], jobs[1], jobs[3]],
        "an empty depends_on ignores the wait"
    );
    bench.run_to(jobs[0], "0");
    assert_eq!(bench.state(jobs[2]), State::Waiting);
    bench.run_to(jobs[1], "0");
    assert_eq!(bench.state(jobs[2]), State::Scheduled);
    bench.run_to(jobs[2], "0");
    bench.run_to(jobs[3], "0");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "passed");
}

#[test]
fn a_failure_stops_what_waits_for_it_unless_allowed() {
    let mut bench = Bench::new();
    let yaml = "steps:
- {command: a, key: a}
- {command: b, key: b, depends_on: a}
- {command: c, key: c, depends_on: [{step: a, allow_failure: true}]}
- {command: d, key: d, depends_on: b}
- {command: e, key: e, depends_on: c}";
    let jobs: Vec<_> = bench.build(yaml).jobs.iter().map(|job| job.uuid).collect();
    bench.run_to(jobs[0], "3");
    let states: Vec<_> = jobs.iter().map(|job| bench.state(*job)).collect();
    assert_eq!(
        states,
        [
            State::Finished,
            State::WaitingFailed,
            State::Scheduled,
            State::WaitingFailed,
            State::Waiting
        ]
    );
    bench.run_to(jobs[2], "0");
    bench.run_to(jobs[4], "0");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "failed");
}

#[test]
fn soft_failures_and_continuing_waits_let_the_build_go_on() {
    let mut bench = Bench::new();
    let yaml = "steps:
- {command: a, key: a, soft_fail: [{exit_status: 3}]}
- {command: b, key: b, depends_on: a}
- {command: c, key: c}
- wait: ~
  continue_on_failure: true
- {command: d, key: d}";
    let jobs: Vec<_> = bench.build(yaml).jobs.iter().map(|job| job.uuid).collect();
    bench.run_to(jobs[0], "3");
    assert_eq!(bench.state(jobs[1]), State::Scheduled);
    bench.run_to(jobs[1], "0");
    bench.run_to(jobs[2], "1");
    assert_eq!(bench.state(jobs[3]), State::Scheduled);
    bench.run_to(jobs[3], "0");
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "failed");
}

#[test]
fn a_manual_retry_opens_what_failed_with_it() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: a, key: a}\n- wait\n- {command: b, key: b}");
    let (a, b) = (build.jobs[0].uuid, build.jobs[1].uuid);
    assert_eq!(bench.retry(a).unwrap_err().status, 422);
    bench.run_to(a, "1");
    assert_eq!(bench.state(b), State::WaitingFailed);
    let again = bench.retry(a).unwrap();
    assert_eq!(bench.retry(a).unwrap_err().status, 422, "it was retried already");
    assert_eq!(bench.state(b), State::Waiting);
    bench.run_to(again, "0");
    bench.run_to(b, "0");
    let ends: Vec<_> = bench
        .events("build.finished")
        .iter()
        .map(|entry| entry.fields()["state"].clone())
        .collect();
    assert_eq!(ends, ["failed", "passed"]);
    assert_eq!(
        bench.path(b),
        "->waiting waiting>waiting_failed waiting_failed>waiting waiting>scheduled scheduled>accepted accepted>running running>finished"
    );
}

#[test]
fn a_group_is_done_when_its_children_are() {
    let mut bench = Bench::new();
    let yaml = "steps:
- group: both
  key: both
  steps:
  - {command: a, key: a}
  - {command: b, key: b}
- {command: c, key: c, depends_on: both}";
    let jobs: Vec<_> = bench.build(yaml).jobs.iter().map(|job| job.uuid).collect();
    bench.run_to(jobs[0], "0");
    assert_eq!(bench.state(jobs[2]), State::Waiting);
    bench.run_to(jobs[1], "0");
    assert_eq!(bench.state(jobs[2]), State::Scheduled);
}

#[test]
fn a_concurrency_group_lets_in_as_many_as_it_says() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {command: a, key: a, parallelism: 3, concurrency: 1, concurrency_group: g}";
    let jobs: Vec<_> = bench.build(yaml).jobs.iter().map(|job| job.uuid).collect();
    assert_eq!(bench.listed(), jobs[..1]);
    bench.cancel(jobs[1]).unwrap();
    bench.run_to(jobs[0], "0");
    assert_eq!(bench.listed(), jobs[2..]);
    assert_eq!(bench.path(jobs[2]), "->limited limited>scheduled");
}

#[test]
fn skipped_steps_end_at_once_and_pass() {
    let mut bench = Bench::new();
    let build =
        bench.build("steps:\n- {command: a, key: a, skip: not today}\n- wait\n- {command: b, key: b}");
    assert_eq!(bench.state(build.jobs[0].uuid), State::Skipped);
    assert_eq!(bench.state(build.jobs[1].uuid), State::Scheduled);
    assert_eq!(bench.events("job.finished").len(), 1);
}

#[test]
fn a_build_cancel_ends_everything_and_keeps_what_runs_until_its_agent_answers() {
    let mut bench = Bench::new();
    let build =
        bench.build("steps:\n- {command: a, key: a}\n- {command: x, key: x}\n- wait\n- {command: b, key: b}");
    let [a, x, b] = [build.jobs[0].uuid, build.jobs[1].uuid, build.jobs[2].uuid];
    let token = bench.run(a);
    bench
        .act(|model, now, out| model.cancel_build(now, build.number, out))
        .unwrap();
    assert_eq!(
        [bench.state(a), bench.state(x), bench.state(b)],
        [State::Canceling, State::Canceled, State::Canceled]
    );
    assert!(bench.events("build.finished").is_empty());
    bench.finish(a, &token, "-1").unwrap();
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "canceled");
    let again = bench.act(|model, now, out| model.cancel_build(now, build.number, out));
    assert_eq!(again.unwrap_err().status, 422);
    assert_eq!(
        bench
            .act(|model, now, out| model.cancel_build(now, 99, out))
            .unwrap_err()
            .status,
        404
    );
}

#[test]
fn rules_keep_their_order_and_a_step_replaces_the_pipelines_agents_whole() {
    let mut bench = Bench::new();
    let yaml = "agents: {queue: gust, cpu: 2}
steps:
- {command: a, agents: {z: 1, cpu: 8, big: true, half: 0.5, empty: }}
- {command: b}
- {command: c, agents: [\"queue=other\", \"x=y=z\"]}
- commands: [d, e]
  agents: {memory: 64Gi}";
    let build = bench.build(yaml);
    let rules: Vec<_> = build.jobs.iter().map(|job| job.rules.join(" ")).collect();
    assert_eq!(
        rules,
        [
            "z=1 cpu=8 big=true half=0.5 empty=",
            "queue=gust cpu=2",
            "queue=other x=y=z",
            "memory=64Gi"
        ]
    );
    let detail = bench
        .model
        .get_job(0, "g", &build.jobs[3].uuid.to_string())
        .unwrap();
    assert_eq!(detail.command, "d\ne");
}

#[test]
fn what_the_fake_does_not_build_is_refused_by_name() {
    let mut bench = Bench::new();
    let mut all: Vec<String> = Vec::new();
    for yaml in [
        "steps:\n- {block: stop, blocked_state: open}",
        "steps:\n- {trigger: other, build: {skip: true}}",
        "steps:\n- {wait: ~, matrix: [x]}",
        "steps:\n- {command: a, comand: b}",
        "steps:\n- {command: a, key: k}\n- {command: b, key: k}",
        "steps:\n- {command: a, depends_on: nobody}",
        "steps:\n- {command: a, key: a, depends_on: b}\n- {command: b, key: b, depends_on: a}",
        "steps:\n- {command: a, agents: {queue: nowhere}}",
        "steps:\n- {label: nothing}",
        "steps: [",
        "nothing: 1",
        "steps:\n- {command: a, concurrency: 1}",
        "steps:\n- {command: a, parallelism: 5000}",
    ] {
        all.push(bench.refused(yaml));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn brackets_without_end_are_refused_at_once() {
    for text in ["{a: ", "[", "- ["] {
        let yaml = format!("steps: {}", text.repeat(50_000));
        let said = Bench::new().refused(&yaml);
        assert!(said.contains("brackets are open"), "{said}");
    }
}
