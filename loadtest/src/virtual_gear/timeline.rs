//! What happened in one run, for people: a line a fact.

use std::time::Duration;

use gust_fakes::event::Event;

use super::check::Committed;

/// Events that say nothing to somebody who looks for a fault.
const DULL: [&str; 2] = ["api.call", "quota.used"];

/// Collects lines, if it is wanted.
pub(super) struct Timeline {
    lines: Option<Vec<String>>,
}

impl Timeline {
    pub fn new(wanted: bool) -> Self {
        Self {
            lines: wanted.then(Vec::new),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, at: Duration, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10.3} s  {}", at.as_secs_f64(), line()));
        }
    }

    /// Adds an event of the fakes.
    pub fn event(&mut self, at: Duration, event: &Event) {
        if DULL.contains(&event.kind) {
            return;
        }
        self.line(at, || {
            let fields: Vec<String> = event
                .fields
                .iter()
                .map(|(name, value)| match value.as_str() {
                    Some(text) => format!("{name}={text}"),
                    None => format!("{name}={value}"),
                })
                .collect();
            format!("{} {}", event.kind, fields.join(" "))
        });
    }

    /// A transaction, as a line.
    pub fn committed(committed: &Committed) -> String {
        let writes: Vec<String> = committed
            .writes
            .iter()
            .map(|(key, value)| {
                let Some(value) = value else {
                    return format!("-{key}");
                };
                let word = phase(value).map_or_else(String::new, |phase| format!("={phase}"));
                format!("+{key}{word}")
            })
            .collect();
        format!(
            "etcd @{} of term {}: {}",
            committed.revision,
            committed.term,
            writes.join(" ")
        )
    }

    /// Takes all lines.
    pub fn take(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

// The phase of a record, if it has one.
fn phase(value: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(value).ok()?;
    Some(value.get("phase")?.as_str()?.to_owned())
}
