//! What happened in one run, for people: a line a fact, short enough to read.

mod names;

use std::time::Duration;

use gust_core::ids::StackName;
use gust_fakes::event::Event;
use serde_json::Value;
use uuid::Uuid;

use self::names::Names;
use super::{
    check::{Committed, Met, Subject},
    world::text,
};

/// Events that say nothing to somebody who looks for a fault, or nothing that another line does not say.
const DULL: [&str; 4] = ["api.call", "fault.applied", "identity.minted", "quota.used"];
/// Fields that are the same on every line, or only for machines to read.
const DULL_FIELDS: [&str; 12] = [
    "agent",
    "branch",
    "id",
    "labels",
    "local_ssd",
    "pipeline",
    "project",
    "request_id",
    "stack",
    "timestamp",
    "token_kind",
    "uuid",
];
/// Keys that every transaction or every end of a job writes.
const DULL_KEYS: [&str; 2] = ["commits", "history-by-end/"];
/// Longest line.
const WIDTH: usize = 160;

/// Collects lines, if it is wanted.
pub(super) struct Timeline {
    lines: Option<Vec<String>>,
    stack: StackName,
    names: Names,
}

impl Timeline {
    pub fn new(wanted: bool) -> Self {
        Self {
            lines: wanted.then(Vec::new),
            stack: StackName::new("gust").expect("the stack's name is a good one"),
            names: Names::default(),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, at: Duration, line: impl FnOnce() -> String) {
        if self.lines.is_some() {
            let line = self.names.shorten(&line());
            self.push(at, &line);
        }
    }

    fn push(&mut self, at: Duration, line: &str) {
        if let Some(lines) = &mut self.lines {
            lines.push(cut(format!("{:>10.3} s  {line}", at.as_secs_f64())));
        }
    }

    /// Adds an event of the fakes.
    pub fn event(&mut self, at: Duration, event: &Event) {
        if self.lines.is_none() || DULL.contains(&event.kind) {
            return;
        }
        let job = text(event, "job").and_then(|job| Uuid::parse_str(job).ok());
        if event.kind == "job.created"
            && let Some(job) = job
        {
            let step = text(event, "key").unwrap_or("job");
            self.names.learn(&self.stack, job, step);
            // The one line that has the UUID.
            let line = self.names.shorten(&format!("job.created {job}"));
            self.push(at, &format!("{line} is {job}{}", fields(event, &["job", "key"])));
            return;
        }
        if let Some(line) = told(event) {
            self.line(at, || line);
        }
    }

    /// Adds a fault that met something.
    pub fn fault(&mut self, at: Duration, met: &Met) {
        self.line(at, || {
            let subject = match &met.subject {
                Subject::World => String::new(),
                Subject::Replica(replica) => format!(" replica {replica}"),
                Subject::Job(job) => format!(" job {job}"),
                Subject::Machine(name) => format!(" machine {name}"),
                Subject::Point(point) => format!(" {}", <&str>::from(point)),
            };
            let note = match met.note.as_str() {
                "" => String::new(),
                note => format!(" ({note})"),
            };
            format!("FAULT {}{subject}{note}", met.kind)
        });
    }

    /// Adds a transaction.
    pub fn committed(&mut self, at: Duration, committed: &Committed) {
        self.line(at, || {
            let writes: Vec<String> = committed
                .writes
                .iter()
                .filter(|(key, _)| !DULL_KEYS.iter().any(|dull| key.starts_with(dull)))
                .map(|(key, value)| match value {
                    None => format!("-{key}"),
                    Some(value) => {
                        let word = phase(value).map_or_else(String::new, |phase| format!("={phase}"));
                        format!("+{key}{word}")
                    }
                })
                .collect();
            let who = match (&committed.replica, committed.term) {
                (None, _) => "by itself".to_owned(),
                (Some(replica), 0) => format!("by {replica}"),
                (Some(replica), term) => format!("by {replica}, term {term}"),
            };
            format!("etcd @{} {who}: {}", committed.revision, writes.join(" "))
        });
    }

    /// Takes all lines.
    pub fn take(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

// An event in words; none if it is a step that nobody misses.
fn told(event: &Event) -> Option<String> {
    let of = |field| text(event, field).unwrap_or("-");
    let cause = || text(event, "cause").map_or_else(String::new, |cause| format!(" ({cause})"));
    let moved = |what: &str, name: &str| format!("{what} {name}: {} → {}{}", of("from"), of("to"), cause());
    match event.kind {
        // A birth has a line, and so has a reservation.
        "job.state" if of("cause") == "created" => None,
        "job.reserved" if event.fields.get("renewed") == Some(&Value::Bool(false)) => None,
        "job.state" => Some(moved("job", of("job"))),
        "instance.state" => Some(moved("machine", of("name"))),
        "guest.state" => Some(moved("guest", of("name"))),
        "operation.state" => (of("to") == "DONE").then(|| {
            let ends = match event.fields.get("errors") {
                Some(Value::Array(errors)) if !errors.is_empty() => {
                    let errors: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
                    format!("failed: {}", errors.join(", "))
                }
                _ => "done".to_owned(),
            };
            format!("operation {} {ends}", of("operation"))
        }),
        kind => Some(format!("{kind}{}", fields(event, &[]))),
    }
}

fn fields(event: &Event, known: &[&str]) -> String {
    let mut text = String::new();
    for (name, value) in &event.fields {
        if value.is_null() || DULL_FIELDS.contains(&name) || known.contains(&name) {
            continue;
        }
        text.push_str(&match value {
            Value::String(value) => format!(" {name}={}", value.replace('\n', " / ")),
            value => format!(" {name}={value}"),
        });
    }
    text
}

fn cut(line: String) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

// The phase of a record, if it has one.
fn phase(value: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(value).ok()?;
    Some(value.get("phase")?.as_str()?.to_owned())
}
