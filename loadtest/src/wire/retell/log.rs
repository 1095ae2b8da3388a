//! A line of the fakes' event log, as the event that it was.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use gust_fakes::event::{Event, Fields, Host};
use serde_json::Value;

/// An event, and the end of the millisecond in which it happened: nanoseconds since the fakes started. None if it is no
/// line of that log.
pub(super) fn event(line: &Value) -> Option<(u64, Event)> {
    let host = match line["host"].as_str()? {
        "buildkite" => Host::Buildkite,
        "gce" => Host::Gce,
        "run" => Host::Run,
        "metadata" => Host::Metadata,
        _ => return None,
    };
    let at_ms = (line["at"].as_f64()? * 1e3).round() as u64;
    let fields: Fields = line
        .as_object()?
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "seq" | "at" | "host" | "kind"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let kind = kept(line["kind"].as_str()?);
    Some(((at_ms + 1) * 1_000_000, Event { host, kind, fields }))
}

/// The name of a kind of events. There are some twenty, so they are kept for good.
fn kept(name: &str) -> &'static str {
    static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kind) = kinds.get(name) {
        return kind;
    }
    let kind: &'static str = Box::leak(name.into());
    kinds.insert(kind);
    kind
}
