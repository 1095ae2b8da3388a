//! Histories: a real one (one replica, no faults; `data/history.jsonl`), and means to spoil it.

use std::time::Duration;

use gust_core::{
    catalog::Catalog,
    ids::Term,
    offer::{SpotQuota, resources},
    reason::{Placement, Reason},
    records::{JobPhase, MachinePhase},
    shape::ProvisioningModel,
    time::Timestamp,
};
use gust_fakes::event::{Event, Host};
use serde_json::{Map, Value, json};

use super::super::{Checker, Committed, Expectations, Limit, Picture, Verdict, seen::text};

/// One thing that the checker is told.
#[derive(Clone, Debug)]
pub enum Told {
    Event(Event),
    Commit(Committed),
    Fault(super::super::Met),
}

#[derive(Clone, Debug)]
pub struct History {
    pub told: Vec<(Duration, Told)>,
    /// Whether pictures are made up after each thing that is told, as a product without faults would show them.
    pub pictures: bool,
}

pub fn expect() -> Expectations {
    let catalog = Catalog::builtin();
    let usage = move |footprint: &_| resources(footprint, &catalog, &SpotQuota::default());
    Expectations {
        impossible: ["never".to_owned()].into(),
        ..Expectations::new("gust", usage)
    }
}

pub fn event(kind: &'static str, fields: Value) -> Told {
    let Value::Object(fields) = fields else {
        panic!("fields are an object")
    };
    Told::Event(Event {
        host: Host::Buildkite,
        kind,
        fields: fields.into_iter().collect(),
    })
}

pub fn commit(term: u64, revision: u64, writes: &[(&str, Value)]) -> Told {
    let write = |(key, value): &(&str, Value)| {
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(text.as_bytes().into()),
            value => Some(serde_json::to_vec(value).expect("writable").into()),
        };
        ((*key).to_owned(), value)
    };
    Told::Commit(Committed {
        replica: Some("a".to_owned()),
        term,
        revision,
        writes: writes.iter().map(write).collect(),
    })
}

impl Told {
    fn read(line: &str) -> (Duration, Self) {
        let mut fields: Map<String, Value> = serde_json::from_str(line).expect("a line of JSON");
        let at = Duration::from_millis((fields["at"].as_f64().expect("a time") * 1000.0).round() as u64);
        let kind = fields["kind"].as_str().expect("a kind").to_owned();
        fields.remove("at");
        fields.remove("kind");
        if kind != "commit" {
            return (at, event(kind.leak(), Value::Object(fields)));
        }
        let writes: Vec<(&str, Value)> = fields["writes"]
            .as_array()
            .expect("writes")
            .iter()
            .map(|pair| (pair[0].as_str().expect("a key"), pair[1].clone()))
            .collect();
        let number = |name: &str| fields[name].as_u64().expect("a number");
        (at, commit(number("term"), number("revision"), &writes))
    }

    /// An event of this kind in which a field has this value.
    pub fn is(&self, kind: &str, field: &str, value: &str) -> bool {
        matches!(self, Self::Event(event) if event.kind == kind && text(event, field) == Some(value))
    }

    /// A transaction that writes this key; `phase` is part of the value, or empty for a removal.
    pub fn writes(&self, key: &str, phase: &str) -> bool {
        let Self::Commit(commit) = self else { return false };
        let has = |value: &Option<std::sync::Arc<[u8]>>| match value {
            None => phase.is_empty(),
            Some(value) => !phase.is_empty() && String::from_utf8_lossy(value).contains(phase),
        };
        commit
            .writes
            .iter()
            .any(|(written, value)| written.starts_with(key) && has(value))
    }
}

impl History {
    /// The real one: a build with a refusal, an automatic retry, a dependency and a cancel.
    pub fn real() -> Self {
        let mut told: Vec<_> = include_str!("../data/history.jsonl")
            .lines()
            .map(Told::read)
            .collect();
        // The run was cut when the world was empty; the last record goes a moment later.
        let last = ("machines/gust-4dtzna6k2jgodp6g45tzdu5k6u-1", Value::Null);
        let (at, _) = told.last().expect("a long history").clone();
        told.push((at, commit(1, 99, &[last])));
        Self { told, pictures: true }
    }

    /// Leaves out what `bad` says.
    pub fn without(mut self, bad: impl Fn(&Told) -> bool) -> Self {
        let before = self.told.len();
        self.told.retain(|(_, told)| !bad(told));
        assert!(self.told.len() < before, "nothing was left out");
        self
    }

    /// Puts something in right after the first that `place` says.
    pub fn with_after(mut self, place: impl Fn(&Told) -> bool, told: Told) -> Self {
        let found = self.told.iter().position(|(_, told)| place(told));
        let found = found.expect("there is such a place");
        let at = self.told[found].0;
        self.told.insert(found + 1, (at, told));
        self
    }

    /// Changes all that `place` says.
    pub fn altered(mut self, place: impl Fn(&Told) -> bool, alter: impl Fn(&mut Told)) -> Self {
        let mut count = 0;
        for (_, told) in self.told.iter_mut().filter(|(_, told)| place(told)) {
            alter(told);
            count += 1;
        }
        assert!(count > 0, "nothing was altered");
        self
    }

    pub fn play(&self) -> Verdict {
        self.play_with(expect())
    }

    pub fn play_with(&self, expect: Expectations) -> Verdict {
        let mut checker = Checker::new(expect);
        let mut last = Duration::ZERO;
        for (at, told) in &self.told {
            last = *at;
            match told {
                Told::Event(event) => checker.event(*at, event),
                Told::Commit(commit) => {
                    checker.commit(*at, commit);
                    if self.pictures {
                        let picture = picture(&checker);
                        checker.picture(*at, 0, &picture);
                    }
                }
                Told::Fault(met) => checker.fault(*at, met),
            }
        }
        checker.finish(last + Duration::from_secs(120), 0)
    }
}

/// What a product would show that knows just what the store holds.
pub fn picture(checker: &Checker) -> Picture {
    let book = &checker.store.book;
    let placement = std::sync::Arc::new(Placement {
        machine_type: "e2-standard-2".into(),
        model: ProvisioningModel::Standard,
        region: "us-central1".into(),
        price: gust_core::shape::Price(1),
    });
    let booked = book
        .jobs()
        .values()
        .filter(|record| matches!(record.phase, JobPhase::Booked));
    let waiting = booked.map(|record| {
        let booting = book.made_for(&record.job).find(|name| {
            book.machines()
                .get(*name)
                .is_some_and(|machine| matches!(machine.phase, MachinePhase::Booting))
        });
        let placement = placement.clone();
        let reason = match booting {
            Some(machine) => Reason::Booting {
                machine: machine.clone(),
                placement,
            },
            None => Reason::Creating(placement),
        };
        (record.job.clone(), reason)
    });
    Picture {
        term: Term(checker.store.term),
        at: Timestamp(0),
        decides: true,
        waiting: waiting.collect(),
        ..Picture::default()
    }
}

/// A quota.
pub fn limit(metric: &str, value: u64) -> Limit {
    let wide = metric.ends_with("_ALL_REGIONS");
    Limit {
        project: "gust-demo".to_owned(),
        region: (!wide).then(|| "us-central1".to_owned()),
        metric: metric.to_owned(),
        value,
    }
}

/// A request id that no record names.
pub fn other_request() -> Value {
    json!("00000000-0000-0000-0000-000000000099")
}
