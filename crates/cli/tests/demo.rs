//! The demo, whole: real processes, the real wire. Judged by the event log of the stand-ins.

mod programs;

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use programs::{GUST, stand_in};

const PATIENCE: Duration = Duration::from_secs(240);

fn demo(dir: &Path, agent: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(GUST);
    command
        .arg("demo")
        .args(args)
        .current_dir(dir)
        .env("TMPDIR", dir)
        .env("GUST_BUILDKITE_AGENT", agent)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn finished(command: &mut Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("ends in time").expect("starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a log");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// How often each value of `field` stands in events of `kind`.
fn count(events: &[Value], kind: &str, field: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event["kind"] == kind) {
        *counts
            .entry(event[field].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn every_job_of_the_sample_gets_one_machine_and_ends_as_expected() {
    let Some(agent) = stand_in() else { return };
    let world = tempfile::tempdir().unwrap();
    let args = ["--once", "--events", "events.jsonl", "--journal", "journal.jsonl"];
    let (code, text) = finished(&mut demo(world.path(), &agent, &args)).await;
    assert_eq!(code, Some(0), "{text}");

    let events = lines(&world.path().join("events.jsonl"));
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "the log has gaps");

    let ran = count(&events, "job.acquired", "job");
    let machines = count(&events, "job.acquired", "agent_name");
    let inserted = count(&events, "instance.inserted", "name");
    assert!(
        ran.len() >= 10 && ran.values().all(|times| *times == 1),
        "{ran:?}"
    );
    assert_eq!(
        machines.keys().collect::<Vec<_>>(),
        inserted.keys().collect::<Vec<_>>()
    );
    assert_eq!(inserted, count(&events, "instance.deleted", "name"));

    every_machine_was_recorded_before_it_was_asked_for(&events, &lines(&world.path().join("journal.jsonl")));
}

/// gust and the fakes have a clock each, which they set by whole milliseconds: so far may the two be apart.
const APART_MS: u64 = 5;

/// A machine's request id is the id of its batch, and the name of its operation holds the millisecond in
/// which Google took the call. The journal's line of that batch must be older.
fn every_machine_was_recorded_before_it_was_asked_for(events: &[Value], journal: &[Value]) {
    for event in events.iter().filter(|event| event["kind"] == "instance.inserted") {
        let batch = format!("/batches/{}", event["request_id"].as_str().expect("a request id"));
        let names_it = |line: &&Value| {
            let keys = line["keys"].as_array().expect("keys");
            keys.iter()
                .any(|key| key.as_str().is_some_and(|key| key.ends_with(&batch)))
        };
        let recorded = journal.iter().find(names_it).expect("a commit of the batch");
        let recorded_ms = recorded["unix_ns"].as_u64().expect("a time") / 1_000_000;
        let operation = event["operation"].as_str().expect("an operation");
        let asked_ms: u64 = operation
            .split('-')
            .nth(1)
            .and_then(|ms| ms.parse().ok())
            .expect("a time");
        assert!(
            recorded_ms <= asked_ms + APART_MS,
            "{event} was asked for before {recorded}"
        );
    }
}

#[tokio::test]
async fn a_job_that_ends_otherwise_than_expected_ends_the_demo_with_10() {
    let Some(agent) = stand_in() else { return };
    let world = tempfile::tempdir().unwrap();
    let pipeline = "steps:\n- { key: odd, command: 'exit 1', agents: { queue: gust, cpu: 2, memory: 4 } }\n";
    fs::write(world.path().join("pipeline.yml"), pipeline).unwrap();
    let args = ["--once", "--pipeline", "pipeline.yml"];
    let (code, text) = finished(&mut demo(world.path(), &agent, &args)).await;
    assert_eq!(code, Some(10), "{text}");
    assert!(
        text.contains("error: ended otherwise than expected: odd"),
        "{text}"
    );
}

#[tokio::test]
async fn a_pipeline_that_buildkite_refuses_ends_the_demo_with_3() {
    let Some(agent) = stand_in() else { return };
    let world = tempfile::tempdir().unwrap();
    let pipeline = "steps:\n- { key: a, command: 'true', depends_on: nobody }\n";
    fs::write(world.path().join("pipeline.yml"), pipeline).unwrap();
    let args = ["--once", "--pipeline", "pipeline.yml"];
    let (code, text) = finished(&mut demo(world.path(), &agent, &args)).await;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("the pipeline was refused"), "{text}");
}

#[tokio::test]
async fn an_interrupted_demo_leaves_no_process_behind() {
    let Some(agent) = stand_in() else { return };
    let world = tempfile::tempdir().unwrap();
    let pipeline =
        "steps:\n- { key: long, command: 'sleep 600', agents: { queue: gust, cpu: 2, memory: 4 } }\n";
    fs::write(world.path().join("pipeline.yml"), pipeline).unwrap();
    let args = ["--once", "--pipeline", "pipeline.yml", "--events", "events.jsonl"];
    let child = demo(world.path(), &agent, &args).spawn().expect("starts");
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let events = world.path().join("events.jsonl");
    let running = async {
        let acquired = || fs::read_to_string(&events).is_ok_and(|log| log.contains("job.acquired"));
        while !acquired() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, running).await.expect("the job runs in time");
    kill_process(pid.expect("a process id"), Signal::INT).expect("it runs");
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("ends in time").expect("a result");
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    // Whatever the demo starts works in its directory, or names it.
    let name = world.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(processes_that_mention(&name), Vec::<String>::new());
}

/// Command lines and working directories of processes, as far as they mention a name.
fn processes_that_mention(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux");
    processes
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter(|entry| entry.file_name().to_string_lossy() != std::process::id().to_string())
        .filter_map(|entry| {
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let dir = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let all = format!("{command} in {}", dir.display());
            all.contains(name).then_some(all)
        })
        .collect()
}
