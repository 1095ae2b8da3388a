//! The judge: reads the fakes' event log and the commit journal, never gust's own word.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::virtual_gear::check as checker;

/// What is judged.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The event log.
    pub events: Vec<Value>,
    /// The commit journal, one object a commit.
    pub journal: Vec<Value>,
    /// When the fakes started, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Broken invariants, each in one line with its subject.
    pub violations: Vec<String>,
    /// Jobs that were created.
    pub jobs: usize,
    /// Machines that came to be.
    pub machines: usize,
    /// Tokens issued anew for the very machine that had claimed (its answer was lost): allowed, and counted.
    pub reissued: usize,
}

impl From<checker::Verdict> for Verdict {
    /// The simulation's checker tells the first violation, with what led to it, and counts the others.
    fn from(found: checker::Verdict) -> Self {
        let counts = found.counts;
        let mut violations: Vec<_> = found.violation.iter().map(ToString::to_string).collect();
        violations.extend((1..counts.violations).map(|_| "another one, after it".to_owned()));
        Self {
            violations,
            jobs: counts.jobs as usize,
            machines: counts.machines as usize,
            reissued: counts.reissued as usize,
        }
    }
}

/// Wall clocks of two processes on one machine are read at millisecond grain.
const GRAIN_NS: u64 = 5_000_000;

/// Judges a finished run: all jobs over, no machine left.
pub fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    jobs(evidence, &mut verdict);
    machines(evidence, &mut verdict);
    verdict
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn jobs(evidence: &Evidence, verdict: &mut Verdict) {
    let mut created = BTreeSet::new();
    let mut finished: BTreeMap<&str, usize> = BTreeMap::new();
    let mut acquired: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut registered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut issued: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &evidence.events {
        let job = text(event, "job");
        match text(event, "kind") {
            "job.created" => {
                created.insert(job);
            }
            "job.finished" => *finished.entry(job).or_default() += 1,
            "job.acquired" => {
                acquired.entry(job).or_default().insert(text(event, "agent_name"));
            }
            "agent.registered" if !job.is_empty() => {
                registered
                    .entry(job)
                    .or_default()
                    .insert(text(event, "agent_name"));
            }
            "token.issued" => *issued.entry(job).or_default() += 1,
            _ => {}
        }
    }
    verdict.jobs = created.len();
    for job in created {
        match finished.get(job).copied().unwrap_or(0) {
            1 => {}
            n => verdict
                .violations
                .push(format!("job {job} was finished {n} times")),
        }
    }
    for (job, machines) in acquired {
        if machines.len() > 1 {
            verdict
                .violations
                .push(format!("job {job} was acquired by {machines:?}"));
        }
    }
    for (job, machines) in &registered {
        if machines.len() > 1 {
            verdict
                .violations
                .push(format!("tokens of job {job} were used by {machines:?}"));
        }
    }
    verdict.reissued = issued.values().map(|n| n - 1).sum();
}

fn machines(evidence: &Evidence, verdict: &mut Verdict) {
    // The key of a batch is the request id of its call.
    let mut recorded: BTreeMap<&str, u64> = BTreeMap::new();
    for commit in &evidence.journal {
        let at = commit["unix_ns"].as_u64().unwrap_or(u64::MAX);
        for key in commit["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if let Some((_, batch)) = key.split_once("/batches/") {
                let first = recorded.entry(batch).or_insert(at);
                *first = at.min(*first);
            }
        }
    }
    let mut live = BTreeSet::new();
    let mut names = BTreeSet::new();
    for event in &evidence.events {
        let name = text(event, "name");
        match text(event, "kind") {
            "instance.inserted" => {
                verdict.machines += 1;
                if !names.insert(name) {
                    verdict.violations.push(format!("machine {name} was made twice"));
                }
                live.insert(name);
                let at = evidence.started_unix_ns + (event["at"].as_f64().unwrap_or(0.0) * 1e9) as u64;
                match recorded.get(text(event, "request_id")) {
                    None => verdict.violations.push(format!("machine {name} has no record")),
                    Some(recorded) if *recorded > at + GRAIN_NS => {
                        verdict
                            .violations
                            .push(format!("machine {name} is older than its record"));
                    }
                    Some(_) => {}
                }
            }
            "instance.deleted" => {
                live.remove(name);
            }
            _ => {}
        }
    }
    for name in live {
        verdict.violations.push(format!("machine {name} is left behind"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Evidence {
        Evidence {
            events: vec![
                json!({"kind": "job.created", "job": "j"}),
                json!({"kind": "instance.inserted", "name": "m", "request_id": "b", "at": 2.0}),
                json!({"kind": "token.issued", "job": "j"}),
                json!({"kind": "agent.registered", "job": "j", "agent_name": "m"}),
                json!({"kind": "job.acquired", "job": "j", "agent_name": "m"}),
                json!({"kind": "job.finished", "job": "j"}),
                json!({"kind": "instance.deleted", "name": "m"}),
            ],
            journal: vec![json!({"unix_ns": 1_000_000_000_u64, "keys": ["/gust/v1/s/batches/b"]})],
            started_unix_ns: 0,
        }
    }

    #[test]
    fn a_clean_run_has_no_violation() {
        assert_eq!(
            judge(&good()),
            Verdict {
                violations: vec![],
                jobs: 1,
                machines: 1,
                reissued: 0
            }
        );
    }

    #[test]
    fn each_broken_invariant_is_named() {
        type Case = (&'static str, fn(&mut Evidence));
        let spoil: [Case; 6] = [
            ("finished 0 times", |e| {
                e.events.retain(|event| event["kind"] != "job.finished")
            }),
            ("left behind", |e| {
                e.events.retain(|event| event["kind"] != "instance.deleted")
            }),
            ("no record", |e| e.journal.clear()),
            ("older than its record", |e| {
                e.journal[0]["unix_ns"] = json!(9_000_000_000_u64)
            }),
            ("were used by", |e| {
                e.events
                    .push(json!({"kind": "agent.registered", "job": "j", "agent_name": "other"}));
            }),
            ("was acquired by", |e| {
                e.events
                    .push(json!({"kind": "job.acquired", "job": "j", "agent_name": "other"}));
            }),
        ];
        for (words, spoil) in spoil {
            let mut evidence = good();
            spoil(&mut evidence);
            let found = judge(&evidence).violations;
            assert!(
                found.iter().any(|line| line.contains(words)),
                "{words}: {found:?}"
            );
        }
    }
}
