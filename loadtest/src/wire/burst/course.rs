//! What the fakes saw of a burst: when, and how many calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Calls of one kind, as the fake cloud counted them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Google's group.
    pub group: String,
    /// The method.
    pub method: String,
}

/// Kinds of events that are read; all others are only counted.
const READ: [&str; 10] = [
    "api.call",
    "job.created",
    "job.finished",
    "job.acquired",
    "job.notified",
    "token.issued",
    "agent.registered",
    "instance.inserted",
    "instance.deleted",
    "quota.used",
];

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The number of the last event.
    pub last: u64,
    /// What the judge reads.
    pub events: Vec<Value>,
    /// Calls to Google since the burst began.
    pub calls: BTreeMap<Kind, u64>,
    /// Calls that Google or Buildkite did not take, with the reason. To hear that something is not there is an answer.
    pub rejected: BTreeMap<String, u64>,
    /// Calls to Buildkite by gust, by method.
    pub buildkite: BTreeMap<String, u64>,
    /// Jobs that were listed since the burst began, repeats included, and when there were as many as jobs.
    listed: u64,
    pub listed_at: Option<f64>,
    /// When the last create was accepted.
    pub last_create: Option<f64>,
    /// When the last job ended and the last machine was gone.
    pub last_end: Option<f64>,
    pub last_gone: Option<f64>,
    /// Creates accepted: when, how many machines, by which method.
    pub creates: Vec<(f64, u64, String)>,
    /// Jobs.
    pub jobs: BTreeSet<String>,
    /// Of them, those that are over, and how.
    pub over: BTreeMap<String, String>,
    /// Machines that exist.
    pub live: BTreeSet<String>,
    pub machines: usize,
    /// Whether replicas have listed and measured: the burst may begin.
    ready: (bool, BTreeSet<String>, BTreeSet<String>),
}

impl Course {
    /// Whether a line of the log is read.
    pub fn wants(line: &str) -> bool {
        READ.iter().any(|kind| {
            line.split_once("\"kind\":\"")
                .is_some_and(|(_, rest)| rest.starts_with(kind) && rest[kind.len()..].starts_with('"'))
        })
    }

    /// True once jobs were listed, and quotas and machines of each region were read.
    pub fn is_ready(&self, regions: &[&str]) -> bool {
        let (listed, quotas, machines) = &self.ready;
        let all = |seen: &BTreeSet<String>| regions.iter().all(|region| seen.contains(*region));
        *listed && all(quotas) && all(machines)
    }

    /// Forgets the calls so far: the burst begins.
    pub fn begin(&mut self) {
        self.calls.clear();
        self.rejected.clear();
        self.buildkite.clear();
        self.listed = 0;
    }

    pub fn take(&mut self, event: Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let at = event["at"].as_f64().unwrap_or_default();
        match event["kind"].as_str().unwrap_or_default() {
            "api.call" => return self.call(&event, at),
            "job.created" => drop(self.jobs.insert(text("job"))),
            "job.finished" => {
                self.last_end = Some(at);
                let how = format!("{} by {}", text("exit_status"), text("by"));
                self.over.insert(text("job"), how);
            }
            "instance.inserted" => {
                self.machines += 1;
                self.live.insert(text("name"));
            }
            "instance.deleted" => {
                self.last_gone = Some(at);
                self.live.remove(&text("name"));
            }
            _ => {}
        }
        self.events.push(event);
    }

    fn call(&mut self, event: &Value, at: f64) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let (method, status) = (text("method"), event["status"].as_u64().unwrap_or_default());
        let count = event["count"].as_u64().unwrap_or_default();
        if status >= 400 && status != 404 {
            let why = format!("{method}: {status} {}", text("reason"));
            *self.rejected.entry(why).or_default() += 1;
        }
        if event["host"] == "buildkite" {
            if method.starts_with("stacks.") {
                *self.buildkite.entry(method.clone()).or_default() += 1;
            }
            if method == "stacks.list" && status < 400 {
                self.ready.0 = true;
                self.listed += count;
                if self.listed_at.is_none() && !self.jobs.is_empty() && self.listed >= self.jobs.len() as u64
                {
                    self.listed_at = Some(at);
                }
            }
            return;
        }
        let group = text("group");
        *self
            .calls
            .entry(Kind {
                group,
                method: method.clone(),
            })
            .or_default() += 1;
        if status >= 400 {
            return;
        }
        match method.as_str() {
            "compute.regionInstances.bulkInsert"
            | "compute.instances.bulkInsert"
            | "compute.instances.insert" => {
                self.last_create = Some(at);
                self.creates.push((at, count, method));
            }
            "compute.regions.get" => drop(self.ready.1.insert(text("region"))),
            "compute.instances.list" => drop(self.ready.2.insert(text("region"))),
            _ => {}
        }
    }

    /// Whether all jobs are over and no machine is left.
    pub fn is_over(&self, jobs: usize) -> bool {
        self.jobs.len() >= jobs && self.over.len() >= jobs && self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(at: f64, count: u64) -> Value {
        json!({"kind": "api.call", "host": "buildkite", "method": "stacks.list", "status": 200, "count": count, "at": at})
    }

    fn gce(method: &str, status: u64, at: f64) -> Value {
        json!({"kind": "api.call", "host": "gce", "method": method, "group": "g", "status": status, "reason": "r",
            "count": 2, "region": "us-east1", "at": at})
    }

    #[test]
    fn time_runs_from_the_page_that_holds_the_last_job_to_the_last_create() {
        let mut course = Course::default();
        course.take(list(1.0, 0));
        course.begin();
        for job in ["a", "b", "c"] {
            course.take(json!({"kind": "job.created", "job": job, "at": 2.0}));
        }
        course.take(list(3.0, 2));
        assert_eq!(course.listed_at, None);
        course.take(list(4.0, 1));
        course.take(list(5.0, 3));
        course.take(gce("compute.instances.insert", 200, 6.0));
        course.take(gce("compute.regionInstances.bulkInsert", 200, 7.0));
        course.take(gce("compute.instances.insert", 403, 8.0));
        course.take(gce("compute.instances.delete", 200, 9.0));
        assert_eq!((course.listed_at, course.last_create), (Some(4.0), Some(7.0)));
        assert_eq!(course.calls.values().sum::<u64>(), 4);
        assert_eq!(
            course.rejected,
            BTreeMap::from([("compute.instances.insert: 403 r".to_owned(), 1)])
        );
    }

    #[test]
    fn a_burst_begins_when_all_was_read_and_ends_when_nothing_is_left() {
        let mut course = Course::default();
        course.take(list(1.0, 0));
        course.take(gce("compute.regions.get", 200, 1.0));
        assert!(!course.is_ready(&["us-east1"]));
        course.take(gce("compute.instances.list", 200, 1.0));
        assert!(course.is_ready(&["us-east1"]));
        assert!(!course.is_ready(&["us-east1", "us-west1"]));
        course.begin();
        assert!(course.calls.is_empty());
        course.take(json!({"kind": "job.created", "job": "a"}));
        course.take(json!({"kind": "instance.inserted", "name": "m"}));
        course.take(json!({"kind": "job.finished", "job": "a", "exit_status": "0", "by": "agent"}));
        assert!(!course.is_over(1));
        course.take(json!({"kind": "instance.deleted", "name": "m"}));
        assert!(course.is_over(1));
        assert!(!course.is_over(2));
    }

    #[test]
    fn only_what_is_read_is_wanted() {
        assert!(Course::wants(
            r#"{"seq":1,"at":0.1,"host":"gce","kind":"api.call","method":"m"}"#
        ));
        assert!(!Course::wants(
            r#"{"seq":1,"at":0.1,"host":"gce","kind":"instance.state","name":"m"}"#
        ));
    }
}
