//! The event log: what the fakes saw and did, in one order, the only witness that checks trust.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::buildkite::Delivery;
use crate::now::Now;

/// Which fake an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// Buildkite: Stacks and Agent API, builds.
    Buildkite,
    /// Google Compute Engine.
    Gce,
    /// Google Cloud Run.
    Run,
    /// The metadata server and its signing keys.
    Metadata,
}

/// One fact, before it has its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The fake that saw it.
    pub host: Host,
    /// One of the kinds listed in `docs/fakes.md`.
    pub kind: &'static str,
    /// The fields of that kind, in the order they are written.
    pub fields: Fields,
}

/// Fields by name, in the order they are written. There are few and most of their names are known when this is
/// compiled, so they are a list: a long run makes millions of events, and a map of each would cost more than
/// all else about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// Sets a field; one that is there already keeps its place.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.into_iter()
    }
}

type Field = (Cow<'static, str>, Value);

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a str, &'a Value);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Field>, fn(&'a Field) -> (&'a str, &'a Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(named: T) -> Self {
        let mut fields = Self::default();
        fields.extend(named);
        fields
    }
}

impl Extend<(String, Value)> for Fields {
    fn extend<T: IntoIterator<Item = (String, Value)>>(&mut self, more: T) {
        for (name, value) in more {
            self.insert(name, value);
        }
    }
}

impl std::ops::Index<&str> for Fields {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        self.get(name)
            .unwrap_or_else(|| panic!("an event without the field {name}"))
    }
}

impl Event {
    /// An event without fields yet.
    pub fn new(host: Host, kind: &'static str) -> Self {
        Self {
            host,
            kind,
            fields: Fields(Vec::with_capacity(6)),
        }
    }

    /// Adds one field.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.fields.insert(key, value.into());
        self
    }
}

/// Events that one model call caused, in order. A model only ever pushes.
#[derive(Debug, Default)]
pub struct Effects {
    events: Vec<Event>,
    deliveries: Vec<Delivery>,
}

impl Effects {
    /// Adds one event.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Adds `caller` to every event that has none yet. The skin does so after each call, so that a model need
    /// not know who called.
    pub fn stamp_caller(&mut self, caller: &str) {
        for event in &mut self.events {
            if event.fields.get("caller").is_none() {
                event.fields.insert("caller", caller.into());
            }
        }
    }

    /// What was pushed so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds a webhook delivery. It is no event: `World::post` takes it on its way.
    pub fn deliver(&mut self, delivery: Delivery) {
        self.deliveries.push(delivery);
    }

    /// Takes the webhook deliveries.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Adds all that another call caused, behind what is here.
    pub fn adopt(&mut self, mut other: Self) {
        self.events.append(&mut other.events);
        self.deliveries.append(&mut other.deliveries);
    }

    /// Takes all events, for appending to the log.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// An event with its place: a gapless sequence number from 1 and the time since start. The whole of it is kept
/// as the line that goes out: a long run holds millions, and maps of values would be many times as large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1, 2, 3 … without gaps.
    pub seq: u64,
    /// Milliseconds since the fakes started.
    pub at_ms: u64,
    /// The fake that saw it.
    pub host: Host,
    /// One of the kinds listed in `docs/fakes.md`.
    pub kind: &'static str,
    line: Box<str>,
}

impl Entry {
    fn new(seq: u64, at_ms: u64, event: Event) -> Self {
        let Event { host, kind, fields } = event;
        let mut out = Map::new();
        out.insert("seq".into(), seq.into());
        out.insert("at".into(), (at_ms as f64 / 1000.0).into());
        out.insert("host".into(), serde_json::to_value(host).unwrap_or_default());
        out.insert("kind".into(), kind.into());
        let named = fields.0.into_iter();
        out.extend(named.map(|(name, value)| (name.into_owned(), value)));
        Self {
            seq,
            at_ms,
            host,
            kind,
            line: Value::Object(out).to_string().into(),
        }
    }

    /// The entry as one JSON object, without a line end: `seq`, `at` (seconds), `host`, `kind`, then the fields.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// All of the line, read: for looking into single entries.
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.line).expect("the line was written from a map")
    }
}

/// The log of one process of fakes.
#[derive(Debug, Default)]
pub struct EventLog {
    entries: Vec<Entry>,
    /// How many there were before lines were no longer kept, and since.
    dropped: u64,
    drops: bool,
}

impl EventLog {
    /// Keeps no lines: events are counted only. For runs that are about speed and have another witness.
    pub fn keep_no_lines(&mut self) {
        self.drops = true;
        self.dropped += self.entries.len() as u64;
        self.entries = Vec::new();
    }

    /// Appends what one model call caused. Call it in the critical section that changed the state.
    pub fn append(&mut self, now: Now, effects: &mut Effects) {
        if self.drops {
            self.dropped += effects.take().len() as u64;
            return;
        }
        let at_ms = now.since_start.as_millis() as u64;
        for event in effects.take() {
            let seq = self.entries.len() as u64 + 1;
            self.entries.push(Entry::new(seq, at_ms, event));
        }
    }

    /// How many entries there are; the sequence number of the last one.
    pub fn len(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    /// Whether nothing was logged yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `limit` entries above `after`, one JSON line each.
    pub fn text_after(&self, after: u64, limit: usize) -> (String, u64) {
        let entries = self.after(after);
        let entries = &entries[..limit.min(entries.len())];
        let mut text = String::with_capacity(entries.iter().map(|entry| entry.line.len() + 1).sum());
        for entry in entries {
            text.push_str(&entry.line);
            text.push('\n');
        }
        (text, after + entries.len() as u64)
    }

    /// All entries with a sequence number above `after`.
    pub fn after(&self, after: u64) -> &[Entry] {
        let from = usize::try_from(after)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        &self.entries[from..]
    }
}
