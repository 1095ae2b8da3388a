//! Scenarios as files: TOML in and out.
//!
//! A file is read item by item, so that whatever is wrong is told with its place in the file.

use std::path::Path;

use gust_core::cap::Cap;
use serde::de::DeserializeOwned;
use strum::{VariantArray as _, VariantNames as _};
use toml::{Table, Value};

use super::{
    Act, BuildAt, FaultKind, Planned, Scenario, SourceOf,
    check::{Bad, Problem, hint_in, unknown},
};

const FIELDS: [&str; 12] = [
    "seed",
    "profile",
    "replicas",
    "latency_ms",
    "quiet_after_ms",
    "patience_ms",
    "source",
    "limits",
    "builds",
    "acts",
    "faults",
    "caps",
];

/// Fields that may be negative.
const SIGNED: [&str; 2] = ["by_ms", "priority"];

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its path inside the file.
    pub fn load(path: &Path) -> Result<Self, Bad> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Bad::new(&name, vec![Problem::at("", format!("cannot be read: {error}"))]))?;
        Self::parse(&name, &text)
    }

    /// Reads the text of a file of that name.
    ///
    /// # Errors
    /// All that is wrong with it, each with its path inside the file.
    pub fn parse(name: &str, text: &str) -> Result<Self, Bad> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start].lines().count().max(1));
            let at = line.map(|line| format!("line {line}")).unwrap_or_default();
            Bad::new(name, vec![Problem::at(at, error.message())])
        })?;
        let mut reader = Reader::default();
        let scenario = reader.scenario(table);
        match scenario {
            Some(scenario) if reader.problems.is_empty() => {
                let problems = scenario.problems();
                if problems.is_empty() {
                    Ok(scenario)
                } else {
                    Err(Bad::new(name, problems))
                }
            }
            _ => Err(Bad::new(name, reader.problems)),
        }
    }

    /// The scenario as a file. Reading it gives the same scenario.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario is made of what TOML can hold")
    }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn scenario(&mut self, mut table: Table) -> Option<Scenario> {
        self.keys("", &table, &FIELDS);
        // All is read before anything is given up, so that all problems are told at once.
        let seed = self.field(&mut table, "", "seed");
        let profile = self.field(&mut table, "", "profile");
        let replicas = self.field(&mut table, "", "replicas");
        let latency_ms = self.field(&mut table, "", "latency_ms");
        let quiet_after_ms = self.field(&mut table, "", "quiet_after_ms");
        let patience_ms = self.field(&mut table, "", "patience_ms");
        let source = match table.contains_key("source") {
            true => self.field(&mut table, "", "source"),
            false => Some(SourceOf::default()),
        };
        let limits = self.field(&mut table, "", "limits");
        let builds = self.list(&mut table, "builds", |reader, path, value| {
            reader.value::<BuildAt>(path, value)
        });
        let acts = self.list(&mut table, "acts", |reader, path, value| {
            reader.planned(path, value, "act", Act::VARIANTS)
        });
        let names: Vec<&str> = FaultKind::VARIANTS.iter().map(|kind| kind.name()).collect();
        let faults = self.list(&mut table, "faults", |reader, path, value| {
            reader.planned(path, value, "fault", &names)
        });
        let caps = self.list(&mut table, "caps", |reader, path, value| {
            reader.value::<Cap>(path, value)
        });
        Some(Scenario {
            seed: seed?,
            profile: profile?,
            replicas: replicas?,
            latency_ms: latency_ms?,
            quiet_after_ms: quiet_after_ms?,
            patience_ms: patience_ms?,
            source: source?,
            limits: limits?,
            builds: builds?,
            acts: acts?,
            faults: faults?,
            caps: caps?,
        })
    }

    fn keys(&mut self, path: &str, table: &Table, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problems
                .push(Problem::at(under(path, key), unknown("key", key, known)));
        }
    }

    fn field<T: DeserializeOwned>(&mut self, table: &mut Table, path: &str, key: &str) -> Option<T> {
        let path = under(path, key);
        match table.remove(key) {
            Some(value) => self.value(&path, value),
            None => {
                self.problems.push(Problem::at(path, "is missing"));
                None
            }
        }
    }

    fn list<T>(
        &mut self,
        table: &mut Table,
        key: &str,
        mut read: impl FnMut(&mut Self, &str, Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        match table.remove(key) {
            None => Some(Vec::new()),
            Some(Value::Array(items)) => {
                let items = items.into_iter().enumerate();
                let read: Vec<Option<T>> = items
                    .map(|(index, item)| read(self, &format!("{key}[{index}]"), item))
                    .collect();
                read.into_iter().collect()
            }
            Some(other) => {
                let what = format!("is a list, not {}", other.type_str());
                self.problems.push(Problem::at(key, what));
                None
            }
        }
    }

    fn planned<T: DeserializeOwned>(
        &mut self,
        path: &str,
        value: Value,
        noun: &str,
        kinds: &[&str],
    ) -> Option<Planned<T>> {
        let Value::Table(mut table) = value else {
            self.problems.push(Problem::at(path, "is a table { when, what }"));
            return None;
        };
        self.keys(path, &table, &["when", "what"]);
        let when = self.field(&mut table, path, "when");
        let kind = table
            .get("what")
            .and_then(|what| what.get("kind"))
            .and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| !kinds.contains(kind)) {
            let problem = unknown(noun, kind, kinds);
            self.problems.push(Problem::at(format!("{path}.what"), problem));
            return None;
        }
        let what = self.field(&mut table, path, "what");
        Some(Planned {
            when: when?,
            what: what?,
        })
    }

    fn value<T: DeserializeOwned>(&mut self, path: &str, value: Value) -> Option<T> {
        let negative = negative(&value).map(|key| match key.as_str() {
            "" => path.to_owned(),
            key => under(path, key),
        });
        match value.clone().try_into() {
            Ok(value) => Some(value),
            Err(error) if error.message().contains("integer `-") && negative.is_some() => {
                let what = "is negative; times, counts and rates are whole numbers from 0";
                self.problems
                    .push(Problem::at(negative.unwrap_or_default(), what));
                None
            }
            Err(error) => {
                let words = error.message().trim().to_owned();
                let hint = hint_in(&words);
                let path = culprit::<T>(&value).map_or_else(|| path.to_owned(), |key| under(path, &key));
                self.problems.push(Problem::at(path, words + &hint));
                None
            }
        }
    }
}

/// The field for whose value a table is refused: without it something else is said, or nothing. The reader does
/// not tell it by itself where a table is read by its kind.
fn culprit<T: DeserializeOwned>(value: &Value) -> Option<String> {
    let table = value.as_table()?;
    let said = |table: Table| {
        table
            .try_into::<T>()
            .err()
            .map(|error| error.message().to_owned())
    };
    let first =
        said(table.clone()).filter(|said| !said.contains(" field ") && !said.starts_with("is one of"))?;
    let keys = table.keys().filter(|key| *key != "kind");
    let mut wrong = keys.filter(|key| {
        let mut without = table.clone();
        without.remove(*key);
        said(without).as_ref() != Some(&first)
    });
    wrong.next().cloned()
}

/// Where in a value the first negative number is, of the fields that take none.
fn negative(value: &Value) -> Option<String> {
    match value {
        Value::Integer(number) if *number < 0 => Some(String::new()),
        Value::Table(table) => table
            .iter()
            .filter(|(key, _)| !SIGNED.contains(&key.as_str()))
            .find(|(_, value)| value.as_integer().is_some_and(|number| number < 0))
            .map(|(key, _)| key.clone()),
        _ => None,
    }
}

fn under(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
