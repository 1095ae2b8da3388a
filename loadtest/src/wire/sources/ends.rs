//! What became of every job, from the fakes' event log.

use std::collections::BTreeMap;

use serde_json::Value;

/// Jobs as the log tells of them.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The number of the last event that was read.
    pub last: u64,
    /// The events that a judge needs.
    pub events: Vec<Value>,
    /// Jobs by step, in the order in which they came.
    pub jobs: BTreeMap<String, Vec<String>>,
    /// The present state of each job.
    pub states: BTreeMap<String, String>,
    /// The exit status of jobs that an agent ended.
    exits: BTreeMap<String, String>,
    /// Machines that exist.
    pub live: usize,
    /// When each job could be listed, and when gust first did something about it.
    runnable: BTreeMap<String, f64>,
    seen: BTreeMap<String, f64>,
    /// Calls to Buildkite by gust.
    pub calls: BTreeMap<String, u64>,
    /// Calls that were refused, with the reason.
    pub rejected: BTreeMap<String, u64>,
}

const READ: [&str; 12] = [
    "api.call",
    "job.created",
    "job.state",
    "job.finished",
    "job.acquired",
    "job.reserved",
    "job.notified",
    "job.annotated",
    "token.issued",
    "agent.registered",
    "instance.inserted",
    "instance.deleted",
];

impl Ends {
    /// Whether a line of the log is read.
    pub fn wants(line: &str) -> bool {
        let kind = line.split_once("\"kind\":\"").map_or("", |(_, rest)| rest);
        READ.iter()
            .any(|known| kind.strip_prefix(known).is_some_and(|rest| rest.starts_with('"')))
    }

    pub fn take(&mut self, event: Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let at = event["at"].as_f64().unwrap_or_default();
        match event["kind"].as_str().unwrap_or_default() {
            "api.call" => return self.call(&event),
            "job.created" => self.jobs.entry(text("key")).or_default().push(text("job")),
            "job.state" => {
                if text("to") == "scheduled" {
                    self.runnable.entry(text("job")).or_insert(at);
                }
                self.states.insert(text("job"), text("to"));
            }
            "job.finished" if text("by") == "agent" => {
                self.exits.insert(text("job"), text("exit_status"));
            }
            "job.reserved" | "job.notified" | "job.annotated" => {
                self.seen.entry(text("job")).or_insert(at);
            }
            "instance.inserted" => self.live += 1,
            "instance.deleted" => self.live = self.live.saturating_sub(1),
            _ => {}
        }
        self.events.push(event);
    }

    fn call(&mut self, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let ours = event["caller"].to_string().contains("gust/");
        let (method, status) = (text("method"), event["status"].as_u64().unwrap_or_default());
        if ours && text("host") == "buildkite" {
            *self.calls.entry(method.to_owned()).or_default() += 1;
            if status >= 400 {
                let why = format!("{method}: {status} {}", text("reason"));
                *self.rejected.entry(why).or_default() += 1;
            }
        }
    }

    /// What the jobs of a step ended as, in order.
    pub fn of(&self, key: &str) -> Vec<String> {
        let jobs = self.jobs.get(key).into_iter().flatten();
        jobs.map(|job| {
            let state = self.states.get(job).map_or("unknown", String::as_str);
            match self.exits.get(job) {
                Some(exit) if state == "finished" => format!("{state} {exit}"),
                _ => state.to_owned(),
            }
        })
        .collect()
    }

    /// Seconds from when a job could be listed to when gust first did something about it: the median, and 99 of a hundred.
    pub fn latency(&self) -> Option<(f64, f64)> {
        let waits = self
            .seen
            .iter()
            .filter_map(|(job, seen)| Some(seen - self.runnable.get(job)?));
        let mut waits: Vec<f64> = waits.collect();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| {
            waits
                .get(((waits.len() as f64 * share) as usize).min(waits.len().checked_sub(1)?))
                .copied()
        };
        Some((at(0.5)?, at(0.99)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_ends_as_its_jobs_did_in_order() {
        let mut ends = Ends::default();
        for event in [
            json!({"kind": "job.created", "job": "a", "key": "s1"}),
            json!({"kind": "job.state", "job": "a", "to": "scheduled", "at": 1.0}),
            json!({"kind": "job.reserved", "job": "a", "at": 1.5}),
            json!({"kind": "job.state", "job": "a", "to": "finished", "at": 3.0}),
            json!({"kind": "job.finished", "job": "a", "by": "agent", "exit_status": "1"}),
            json!({"kind": "job.created", "job": "b", "key": "s1"}),
            json!({"kind": "job.state", "job": "b", "to": "canceled", "at": 4.0}),
            json!({"kind": "job.finished", "job": "b", "by": "server", "exit_status": "-1"}),
        ] {
            ends.take(event);
        }
        assert_eq!(ends.of("s1"), ["finished 1", "canceled"]);
        assert_eq!(ends.of("s2"), [""; 0]);
        assert_eq!(ends.latency(), Some((0.5, 0.5)));
        assert!(Ends::wants(r#"{"seq":1,"kind":"job.state","job":"x"}"#));
        assert!(!Ends::wants(r#"{"seq":1,"kind":"job.states"}"#));
    }
}
