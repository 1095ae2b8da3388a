//! Google takes a Spot machine back while its job runs: the job says so, and what runs in its place is on demand.

use gust_loadtest::virtual_gear::{Keep, Scenario, run};
use serde_json::Value;

/// One job on a Spot machine, which goes five seconds after the job was acquired, in this way.
fn scenario(fault: &str, retry: &str) -> Scenario {
    wave(1, fault, retry)
}

/// So many jobs of one step on Spot machines, which go one shortly after the other.
fn wave(jobs: u64, fault: &str, retry: &str) -> Scenario {
    let faults: Vec<String> = (1..=jobs)
        .map(|nth| {
            let delay_ms = 5000 + 250 * (nth - 1);
            format!(
                r#"
[[faults]]
[faults.when]
event = "job.acquired"
nth = {nth}
delay_ms = {delay_ms}
[faults.what]
kind = "{fault}"
"#
            )
        })
        .collect();
    let parallel = match jobs {
        1 => String::new(),
        jobs => format!(", parallelism: {jobs}"),
    };
    let text = format!(
        r#"
seed = 7
profile = "trickle"
replicas = 1
latency_ms = [5, 20]
quiet_after_ms = 600000
patience_ms = 7200000
acts = []
[limits]
base = "demo"
[limits.change]
[[builds]]
at_ms = 100
slug = "monorepo"
pipeline = """
steps:
  - {{ key: tests, command: run{parallel}, agents: {{ queue: gust, cpu: 2, memory: 8, spot: prefer }}, env: {{ GUST_SIM_RUN_S: "60" }}{retry} }}
"""
{}"#,
        faults.concat()
    );
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("scenario.toml");
    std::fs::write(&file, text).expect("it is written");
    Scenario::load(&file).unwrap_or_else(|bad| panic!("{bad}"))
}

/// The step says that its job runs again.
const BY_ITSELF: &str = ", retry: { automatic: [ { exit_status: -1, limit: 2 } ] }";

struct Story {
    /// Jobs in the order in which they came, each with the one it retries.
    jobs: Vec<(String, Option<String>)>,
    events: Vec<Value>,
}

impl Story {
    fn of(fault: &str, retry: &str) -> Self {
        Self::told(&scenario(fault, retry))
    }

    fn told(scenario: &Scenario) -> Self {
        let outcome = run(scenario, Keep::Log);
        assert_eq!(outcome.failure(), None);
        let events: Vec<Value> = outcome
            .log
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        let created = events.iter().filter(|event| event["kind"] == "job.created");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let jobs = created.map(|job| (text(&job["job"]).expect("an id"), text(&job["retry_of"])));
        Self {
            jobs: jobs.collect(),
            events,
        }
    }

    /// How the machine that a job ran on was sold.
    fn model(&self, job: &str) -> &str {
        let of = |kind: &'static str| self.events.iter().filter(move |event| event["kind"] == kind);
        let agent = of("job.acquired")
            .find(|event| event["job"] == job)
            .expect("it was acquired");
        let instance = of("instance.inserted").find(|event| event["name"] == agent["agent_name"]);
        instance.expect("it was made")["model"].as_str().expect("a word")
    }

    fn notes(&self, job: &str) -> Vec<&str> {
        let notes = self
            .events
            .iter()
            .filter(|event| event["kind"] == "job.notified" && event["job"] == job);
        notes.filter_map(|event| event["detail"].as_str()).collect()
    }
}

#[test]
fn with_notice_the_guest_says_so_and_the_job_runs_again_on_demand() {
    let story = Story::of("preempted", BY_ITSELF);
    let [(first, None), (second, Some(of))] = &story.jobs[..] else {
        panic!("{:?}", story.jobs)
    };
    assert_eq!(of, first);
    assert_eq!((story.model(first), story.model(second)), ("SPOT", "STANDARD"));
    let notes = story.notes(first);
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("Google takes the Spot machine back after")),
        "{notes:?}"
    );
    let notes = story.notes(second);
    assert!(
        notes.iter().any(|note| note.ends_with("on demand this time")),
        "{notes:?}"
    );
}

#[test]
fn without_notice_the_job_is_known_to_be_preempted_before_buildkite_misses_its_agent() {
    let story = Story::of("host-error", BY_ITSELF);
    let [(first, None), (second, Some(of))] = &story.jobs[..] else {
        panic!("{:?}", story.jobs)
    };
    assert_eq!(of, first);
    assert_eq!((story.model(first), story.model(second)), ("SPOT", "STANDARD"));
    let notes = story.notes(first);
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("the Spot machine went away")),
        "{notes:?}"
    );
}

#[test]
fn where_the_step_says_nothing_gust_has_the_job_run_again_once() {
    for fault in ["preempted", "host-error"] {
        let story = Story::of(fault, "");
        let [(first, None), (second, Some(of))] = &story.jobs[..] else {
            panic!("{fault}: {:?}", story.jobs)
        };
        assert_eq!(of, first);
        assert_eq!(
            (story.model(first), story.model(second)),
            ("SPOT", "STANDARD"),
            "{fault}"
        );
        let notes = story.notes(first);
        assert!(
            notes
                .iter()
                .any(|note| *note == format!("runs again as job {second}")),
            "{notes:?}"
        );
    }
}

/// Jobs of a step are alike: what runs the first one again looks like what might run the second.
#[test]
fn each_job_of_a_parallel_step_that_is_taken_back_runs_again_once() {
    const JOBS: usize = 12;
    for retry in ["", BY_ITSELF] {
        let story = Story::told(&wave(JOBS as u64, "preempted", retry));
        let (first, again): (Vec<_>, Vec<_>) = story.jobs.iter().partition(|(_, of)| of.is_none());
        assert_eq!((first.len(), again.len()), (JOBS, JOBS), "{:?}", story.jobs);
        for (new, old) in &again {
            let old = old.as_ref().expect("it runs another one again");
            assert_eq!((story.model(old), story.model(new)), ("SPOT", "STANDARD"));
            let notes = story.notes(old);
            let told = format!("runs again as job {new}");
            let is_told = notes.contains(&told.as_str());
            assert!(is_told || !retry.is_empty(), "{old}: {notes:?}");
        }
    }
}
