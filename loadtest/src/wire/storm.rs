//! A build under faults: every kind of bad reply from Google and Buildkite, and the judge afterwards.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    control::Control,
    processes::{Fakes, Programs, Replica},
    verdict::{Evidence, Verdict, judge},
};

/// The outcome.
#[derive(Debug)]
pub struct Weathered {
    /// How often each kind of fault met something, by kind and method.
    pub faults: BTreeMap<String, usize>,
    /// What the judge says.
    pub verdict: Verdict,
    /// Jobs that gust itself finished, with the detail the developer reads.
    pub refused: Vec<String>,
}

const PIPELINE: &str = r#"
agents: { queue: gust }
steps:
  - { key: pair, command: "sleep 0.2", parallelism: 3, agents: { cpu: 4, memory: 16 } }
  - { key: single, command: "sleep 0.2", agents: { cpu: 2, memory: 8 } }
  - { key: after, command: "sleep 0.2", depends_on: pair, agents: { cpu: 2, memory: 4 } }
  - { key: never, command: "true", agents: { cpu: 1, memory: 700 } }
"#;

/// The faults: what Google or Buildkite does wrong, how often.
fn faults() -> Vec<Value> {
    let fault = |kind: &str, host: &str, method: &str, count: u32, more: Value| {
        let mut aim = json!({"host": host, "method": method});
        if let (Value::Object(aim), Value::Object(more)) = (&mut aim, more) {
            aim.extend(more);
        }
        json!({"kind": kind, "match": aim, "count": count})
    };
    let gce = |kind, method: &str, count, more| fault(kind, "gce", &format!("compute.{method}"), count, more);
    let stacks =
        |kind, method: &str, count, more| fault(kind, "buildkite", &format!("stacks.{method}"), count, more);
    vec![
        // Lost after they took effect.
        gce("reply.lost", "regionInstances.bulkInsert", 1, json!({})),
        gce("reply.lost", "instances.insert", 1, json!({})),
        gce("reply.lost", "instances.delete", 2, json!({})),
        stacks("reply.lost", "reserve", 1, json!({})),
        stacks("reply.lost", "finish", 1, json!({})),
        stacks("reply.lost", "acquisition-tokens", 1, json!({})),
        // A machine whose first proof is of another moment: it fetches a new one and comes again.
        json!({"kind": "identity.stale", "match": {}, "count": 1}),
        // 500, 429, HTML, half a body.
        stacks("reply.status", "list", 2, json!({"status": 500})),
        stacks("reply.status", "get-states", 2, json!({"status": 429})),
        stacks("reply.html", "list", 1, json!({})),
        stacks("reply.truncated", "get-states", 1, json!({})),
        gce("reply.status", "regions.get", 1, json!({"status": 503})),
        gce("reply.html", "instances.list", 1, json!({})),
        gce("reply.truncated", "instances.list", 1, json!({})),
        gce("reply.status", "instances.delete", 1, json!({"status": 500})),
    ]
}

/// Sets the faults, runs one build to its end and judges.
///
/// # Errors
/// A process fails, or the build does not end within `patience`.
pub async fn storm(dir: &Path, seed: u64, patience: Duration) -> Result<Weathered> {
    let programs = Programs::find()?;
    let fakes = Fakes::start(&programs, dir, seed).await?;
    let control = Control::new(&fakes.control)?;
    for fault in faults() {
        control
            .fault(&fault)
            .await
            .with_context(|| format!("fault {fault}"))?;
    }
    let replica = Replica::start(&programs, dir, &fakes)?;
    let jobs = control.build(PIPELINE).await?;
    let deadline = Instant::now() + patience;
    loop {
        let events = control.events(0).await?;
        let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
        if count("job.finished") == jobs.len() && count("instance.inserted") == count("instance.deleted") {
            break;
        }
        if Instant::now() >= deadline {
            bail!(
                "after {patience:?} {} of {} jobs are over and {} of {} machines gone; see gust.log",
                count("job.finished"),
                jobs.len(),
                count("instance.deleted"),
                count("instance.inserted")
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let journal = replica.read_journal()?;
    replica.stop().await?;
    let evidence = Evidence {
        events: control.events(0).await?,
        journal,
        started_unix_ns: fakes.started_unix_ns,
    };
    fakes.stop().await?;
    Ok(weathered(&evidence))
}

fn weathered(evidence: &Evidence) -> Weathered {
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    for event in &evidence.events {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["kind"].as_str() {
            Some("fault.applied") => {
                let key = format!(
                    "{} {}",
                    text(&event["fault_kind"]),
                    text(&event["subject"]["method"])
                );
                *faults.entry(key).or_default() += 1;
            }
            Some("job.finished") if event["by"] == "stack" => refused.push(text(&event["detail"])),
            _ => {}
        }
    }
    Weathered {
        faults,
        verdict: judge(evidence),
        refused,
    }
}
