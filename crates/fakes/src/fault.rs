//! The fault engine: which faults are set, and whether one meets the present act.
//!
//! Pure. Knows kinds, windows, counts and probabilities; what a fault *does* belongs to the host that asks:
//! `reply.*` to the skin, `gce.*` to the GCE model, `identity.*` to the metadata model, `buildkite.*` to the
//! Buildkite model. Every time a fault meets something, `fault.applied` is pushed, so that a run in which a
//! fault met nothing can be told.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::event::{Effects, Event, Host};
use crate::now::Now;

/// One kind of fault: its name, what it can be aimed at, and what it takes beside its aim.
struct Kind {
    name: &'static str,
    aims: &'static [&'static str],
    params: &'static [&'static str],
}

const fn kind(name: &'static str, aims: &'static [&'static str], params: &'static [&'static str]) -> Kind {
    Kind { name, aims, params }
}

const REPLY: &[&str] = &["host", "method", "path", "caller"];
const WEBHOOK: &[&str] = &["webhook", "event", "url", "job"];
const PLACE: &[&str] = &[
    "project",
    "region",
    "zone",
    "family",
    "size",
    "model",
    "machine_type",
    "name",
    "arch",
];

/// The kinds that are built. Any other kind is refused with 501.
const KINDS: &[Kind] = &[
    kind("gce.stockout", PLACE, &["code", "status", "details"]),
    kind(
        "gce.quota",
        &["project", "region", "metric", "family"],
        &["limit"],
    ),
    kind("gce.rate", &["project", "region", "group", "method"], &[]),
    kind(
        "gce.late-quota",
        &[
            "project",
            "region",
            "zone",
            "metric",
            "family",
            "name",
            "machine_type",
        ],
        &["limit"],
    ),
    kind("gce.ip-exhausted", PLACE, &[]),
    kind("gce.slow-boot", PLACE, &["boot_s", "factor"]),
    kind("gce.broken-boot", PLACE, &[]),
    kind("gce.stuck-boot", PLACE, &[]),
    kind("gce.partial-bulk", PLACE, &[]),
    kind("reply.status", REPLY, &["status", "body", "headers"]),
    kind("reply.lost", REPLY, &[]),
    kind("reply.duplicate", REPLY, &[]),
    kind("reply.delay", REPLY, &["delay_s", "delay_ms"]),
    kind("reply.html", REPLY, &["status", "body"]),
    kind("reply.truncated", REPLY, &[]),
    kind(
        "list.lag",
        &["host", "method", "queue", "project", "region", "zone"],
        &["lag_s"],
    ),
    kind(
        "list.shift",
        &["host", "method", "queue", "project", "region", "zone"],
        &["size", "skip"],
    ),
    kind("webhook.lost", WEBHOOK, &[]),
    kind("webhook.doubled", WEBHOOK, &["copies"]),
    kind("webhook.reordered", WEBHOOK, &[]),
    kind("webhook.late", WEBHOOK, &["delay_s", "stale_s"]),
    kind("buildkite.pause", &["queue"], &[]),
    kind("buildkite.unknown-state", &["job"], &["word"]),
    kind(
        "buildkite.agent-lost",
        &["agent", "agent_name", "job", "queue"],
        &[],
    ),
    kind(
        "identity.stale",
        &["instance", "name", "zone", "project"],
        &["age_s"],
    ),
    kind(
        "identity.wrong-key",
        &["instance", "name", "zone", "project"],
        &[],
    ),
    kind(
        "identity.slow",
        &["instance", "name", "zone", "project"],
        &["delay_s"],
    ),
];

/// Why a fault cannot be set.
#[derive(Debug, Error)]
pub enum Error {
    /// The kind or the host is not built (yet): 501.
    #[error("fault {what} is not built")]
    NotBuilt {
        /// Kind, or kind and host.
        what: String,
    },
    /// The kind is known, its fields are not: 422.
    #[error("fault {kind}: {problem}")]
    Invalid {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A fault as a person sets it (`POST /faults`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// One of the kinds in `docs/fakes.md`.
    pub kind: String,
    /// What it is aimed at, and its parameters. A value may be a list (any of) or end with `*`.
    #[serde(default, rename = "match")]
    pub aim: Map<String, Value>,
    /// Seconds from now until it begins; default at once.
    #[serde(default)]
    pub from_s: Option<f64>,
    /// Seconds it lasts; default until deleted.
    #[serde(default)]
    pub for_s: Option<f64>,
    /// How many times it applies; default without end.
    #[serde(default)]
    pub count: Option<u64>,
    /// Chance that it applies when met, 0 to 1; default 1.
    #[serde(default)]
    pub probability: Option<f64>,
}

/// A fault that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Its id, `f1`, `f2` …
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    aim: BTreeMap<String, Vec<String>>,
    params: BTreeMap<String, Value>,
    from: Duration,
    until: Option<Duration>,
    left: Option<u64>,
    probability: f64,
    applied: u64,
}

impl Fault {
    /// A numeric parameter.
    pub fn number(&self, name: &str) -> Option<f64> {
        let value = self.params.get(name)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    /// A parameter as text; objects and arrays as JSON.
    pub fn text(&self, name: &str) -> Option<String> {
        self.params.get(name).map(text_of)
    }

    /// A parameter as it was given.
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.params.get(name)
    }

    fn is_open(&self, now: Duration) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until) && self.left != Some(0)
    }

    fn meets(&self, subject: &BTreeMap<&str, &str>) -> bool {
        self.aim.iter().all(|(key, wanted)| {
            subject
                .get(key.as_str())
                .is_some_and(|is| wanted.iter().any(|wanted| fits(wanted, is)))
        })
    }

    fn to_json(&self, now: Duration) -> Value {
        let aim: Map<String, Value> = self
            .aim
            .iter()
            .map(|(key, values)| match values.as_slice() {
                [one] => (key.clone(), json!(one)),
                many => (key.clone(), json!(many)),
            })
            .chain(self.params.clone())
            .collect();
        json!({
            "id": self.id, "kind": self.kind, "match": aim, "probability": self.probability,
            "from": self.from.as_secs_f64(), "until": self.until.map(|until| until.as_secs_f64()),
            "left": self.left, "applied": self.applied, "open": self.is_open(now),
        })
    }
}

fn fits(wanted: &str, is: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => is.starts_with(prefix),
        None => wanted == is,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All faults that are set, and the randomness of their probabilities.
#[derive(Debug)]
pub struct Faults {
    set: Vec<Fault>,
    next_id: u64,
    rng: ChaCha8Rng,
}

impl Faults {
    /// No faults; `seed` decides the draws of faults with a probability.
    pub fn new(seed: u64) -> Self {
        Self {
            set: Vec::new(),
            next_id: 1,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x6661_756c_7473),
        }
    }

    /// Sets a fault and returns its id.
    pub fn add(&mut self, now: Now, order: Order) -> Result<String, Error> {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == order.kind) else {
            return Err(Error::NotBuilt { what: order.kind });
        };
        let invalid = |problem: String| Error::Invalid {
            kind: order.kind.clone(),
            problem,
        };
        let mut aim = BTreeMap::new();
        let mut params = BTreeMap::new();
        for (key, value) in &order.aim {
            if kind.aims.contains(&key.as_str()) {
                let wanted = match value {
                    Value::Array(values) => values.iter().map(text_of).collect(),
                    one => vec![text_of(one)],
                };
                aim.insert(key.clone(), wanted);
            } else if kind.params.contains(&key.as_str()) {
                params.insert(key.clone(), value.clone());
            } else {
                let known = [kind.aims, kind.params].concat().join(", ");
                return Err(invalid(format!("unknown match key {key:?}; it takes {known}")));
            }
        }
        if aim
            .get("host")
            .is_some_and(|hosts| hosts.iter().any(|host| host == "run"))
        {
            return Err(Error::NotBuilt {
                what: format!("{} on host run", order.kind),
            });
        }
        if let Some(hosts) = aim.get("host")
            && let Some(unknown) = hosts
                .iter()
                .find(|host| !["buildkite", "gce", "metadata"].contains(&host.as_str()))
        {
            return Err(invalid(format!("unknown host {unknown:?}")));
        }
        let probability = order.probability.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&probability) {
            return Err(invalid(format!(
                "probability {probability} is not between 0 and 1"
            )));
        }
        let seconds = |name: &str, value: Option<f64>| match value {
            None => Ok(None),
            Some(value) => Duration::try_from_secs_f64(value)
                .map(Some)
                .map_err(|_| invalid(format!("{name} {value} is not a number of seconds"))),
        };
        let from = now.since_start + seconds("from_s", order.from_s)?.unwrap_or_default();
        let until = seconds("for_s", order.for_s)?.map(|length| from + length);
        let id = format!("f{}", self.next_id);
        self.next_id += 1;
        self.set.push(Fault {
            id: id.clone(),
            kind: kind.name,
            aim,
            params,
            from,
            until,
            left: order.count,
            probability,
            applied: 0,
        });
        Ok(id)
    }

    /// Ends a fault at once. False if there is none of that id.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.set.len();
        self.set.retain(|fault| fault.id != id);
        self.set.len() < before
    }

    /// All faults, as `GET /faults` shows them.
    pub fn to_json(&self, now: Now) -> Value {
        self.set
            .iter()
            .map(|fault| fault.to_json(now.since_start))
            .collect()
    }

    /// Whether a fault of this kind meets this act: counts it down, draws its probability, pushes
    /// `fault.applied`. `subject` holds everything a fault of the kind can be aimed at.
    pub fn check(
        &mut self,
        now: Now,
        kind: &str,
        subject: &BTreeMap<&str, &str>,
        out: &mut Effects,
    ) -> Option<&Fault> {
        let rng = &mut self.rng;
        let fault = self.set.iter_mut().find(|fault| {
            fault.kind == kind
                && fault.is_open(now.since_start)
                && fault.meets(subject)
                && (fault.probability >= 1.0 || rng.random_bool(fault.probability))
        })?;
        fault.left = fault.left.map(|left| left.saturating_sub(1));
        fault.applied += 1;
        out.push(applied(fault, subject));
        Some(fault)
    }

    /// Whether a fault that is a *state* (a paused queue, a lagging list) holds for the subject: never
    /// counted down, and told in the log the first time only.
    pub fn standing(
        &mut self,
        now: Now,
        kind: &str,
        subject: &BTreeMap<&str, &str>,
        out: &mut Effects,
    ) -> Option<&Fault> {
        let fault = self
            .set
            .iter_mut()
            .find(|fault| fault.kind == kind && fault.is_open(now.since_start) && fault.meets(subject))?;
        fault.applied += 1;
        if fault.applied == 1 {
            out.push(applied(fault, subject));
        }
        Some(fault)
    }

    /// Whether any fault of these kinds is set at all: lets a hot path skip building a subject.
    pub fn any(&self, prefix: &str) -> bool {
        self.set.iter().any(|fault| fault.kind.starts_with(prefix))
    }
}

fn applied(fault: &Fault, subject: &BTreeMap<&str, &str>) -> Event {
    let host = match fault.kind.split('.').next() {
        Some("gce") => Host::Gce,
        Some("identity") => Host::Metadata,
        Some("buildkite") => Host::Buildkite,
        _ => match subject.get("host") {
            Some(&"gce") => Host::Gce,
            Some(&"metadata") => Host::Metadata,
            _ => Host::Buildkite,
        },
    };
    let subject: Map<String, Value> = subject
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    Event::new(host, "fault.applied")
        .with("fault", fault.id.clone())
        .with("fault_kind", fault.kind)
        .with("subject", subject)
}

#[cfg(test)]
mod tests;
