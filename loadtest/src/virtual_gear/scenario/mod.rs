//! What a run is, as data: everything random is in here as an explicit list, so that a run can be cut down by
//! leaving items out, kept as a file, and repeated.
//!
//! `draw` makes scenarios from a seed, `file` reads and writes them, `check` refuses what cannot be.

mod adversity;
mod big;
mod check;
mod day;
mod draw;
mod fault;
mod file;
mod mix;
mod plot;
mod profile;
mod step;
mod steps;
mod who;

use std::time::Duration;

use gust_core::cap::Cap;
use gust_fakes::limits::Limits;
use serde::{Deserialize, Serialize};

pub use check::{Bad, MOST_REPLICAS};
pub use draw::INTENSITY;
pub use fault::{FaultKind, Lister, Says, What};
pub use profile::{IMPOSSIBLE, Profile};
pub use who::Who;

use super::net::Point;

/// A run to be made. Times are virtual milliseconds since its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Seed of what is not listed here: latencies, ids, boot times, and all that the models draw.
    pub seed: u64,
    /// The workload it was drawn from.
    pub profile: Profile,
    /// How many replicas there are.
    pub replicas: usize,
    /// Shortest and longest time a message is on its way.
    pub latency_ms: (u64, u64),
    /// From here on no fault begins, and those that last are over.
    pub quiet_after_ms: u64,
    /// After so long the run has failed.
    pub patience_ms: u64,
    /// How gust finds its jobs.
    #[serde(default, skip_serializing_if = "SourceOf::is_usual")]
    pub source: SourceOf,
    /// What the services enforce.
    pub limits: LimitsOf,
    /// The builds.
    pub builds: Vec<BuildAt>,
    /// What people do meanwhile.
    #[serde(default)]
    pub acts: Vec<Planned<Act>>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Planned<What>>,
    /// What the operator lets pipelines use at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Cap>,
}

/// How gust finds its jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceOf {
    /// Over the Stacks API.
    #[default]
    Stacks,
    /// Over GraphQL: there are no reservations, no tokens for single jobs, and refused jobs are canceled.
    Graphql,
}

impl SourceOf {
    fn is_usual(&self) -> bool {
        *self == Self::Stacks
    }
}

/// Limits: a built-in set, and what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsOf {
    /// `default` or `demo`.
    pub base: String,
    /// What is merged into it, in the form of the limits file.
    #[serde(default)]
    pub change: toml::Table,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildAt {
    /// When it is created.
    pub at_ms: u64,
    /// Slug of its pipeline.
    pub slug: String,
    /// The pipeline file.
    pub pipeline: String,
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned<T> {
    /// When.
    pub when: When,
    /// What.
    pub what: T,
}

/// What somebody does while the builds run. Steps are named by key, in the build that has it first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, strum::VariantNames, strum::IntoStaticStr)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "fields are what their names say")]
pub enum Act {
    /// Cancels a job of a step: the `index`-th of a parallel step.
    CancelJob {
        step: String,
        #[serde(default)]
        index: usize,
    },
    /// Retries it.
    RetryJob {
        step: String,
        #[serde(default)]
        index: usize,
    },
    /// Changes its priority.
    PrioritizeJob {
        step: String,
        #[serde(default)]
        index: usize,
        priority: i64,
    },
    /// Cancels a whole build, by its place in the list.
    CancelBuild { build: usize },
    /// Pauses the queue for a while.
    PauseQueue { lasting_ms: u64 },
    /// An operator of gust pauses it for a while.
    OperatorPause { lasting_ms: u64 },
    /// Takes the n-th region, or a zone of it, out of service for a while.
    OperatorCordon {
        region: usize,
        #[serde(default)]
        zone: Option<usize>,
        #[serde(default)]
        drain: bool,
        lasting_ms: u64,
    },
    /// Takes a family out of service for a while, in one zone or everywhere.
    OperatorCordonFamily {
        family: String,
        #[serde(default)]
        zone: Option<String>,
        lasting_ms: u64,
    },
    /// Cancels a job of a step in gust, if it waits.
    OperatorCancel {
        step: String,
        #[serde(default)]
        index: usize,
    },
}

/// Before or after the effect of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// As it leaves.
    #[default]
    Before,
    /// As soon as it had its effect.
    After,
}

/// When something happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WhenInFile", into = "WhenInFile")]
#[expect(missing_docs, reason = "fields are what their names say")]
pub enum When {
    /// At a time.
    At { at_ms: u64 },
    /// At the n-th message at a point, counted from 1.
    Point { point: Point, nth: u64, side: Side },
    /// So long after the n-th event of a kind in the log, counted from 1.
    Event { event: String, nth: u64, delay_ms: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenInFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

impl TryFrom<WhenInFile> for When {
    type Error = String;

    fn try_from(file: WhenInFile) -> Result<Self, String> {
        let nth = file.nth.unwrap_or(1);
        match file {
            WhenInFile {
                at_ms: Some(at_ms),
                point: None,
                event: None,
                nth: None,
                side: None,
                delay_ms: None,
            } => Ok(Self::At { at_ms }),
            WhenInFile {
                at_ms: None,
                point: Some(point),
                event: None,
                side,
                delay_ms: None,
                ..
            } => Ok(Self::Point {
                point,
                nth,
                side: side.unwrap_or_default(),
            }),
            WhenInFile {
                at_ms: None,
                point: None,
                event: Some(event),
                side: None,
                delay_ms,
                ..
            } => Ok(Self::Event {
                event,
                nth,
                delay_ms: delay_ms.unwrap_or(0),
            }),
            _ => Err("is one of { at_ms }, { point, nth, side } and { event, nth, delay_ms }".to_owned()),
        }
    }
}

impl From<When> for WhenInFile {
    fn from(when: When) -> Self {
        match when {
            When::At { at_ms } => Self {
                at_ms: Some(at_ms),
                ..Self::default()
            },
            When::Point { point, nth, side } => Self {
                point: Some(point),
                nth: Some(nth),
                side: Some(side),
                ..Self::default()
            },
            When::Event { event, nth, delay_ms } => Self {
                event: Some(event),
                nth: Some(nth),
                delay_ms: Some(delay_ms),
                ..Self::default()
            },
        }
    }
}

impl Serialize for Point {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.into())
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|_| {
            let known: Vec<&str> = <Self as strum::VariantArray>::VARIANTS
                .iter()
                .map(Into::into)
                .collect();
            serde::de::Error::custom(check::unknown("point", &name, &known))
        })
    }
}

impl Scenario {
    /// From here on it is quiet.
    pub fn quiet_after(&self) -> Duration {
        Duration::from_millis(self.quiet_after_ms)
    }

    /// Whatever its faults hold back has come out after so long: a world that is empty all that time stays empty.
    pub fn lull(&self) -> Duration {
        let lasting = self.faults.iter().filter_map(|fault| fault.what.lasting_ms());
        Duration::from_millis(60_000 + lasting.max().unwrap_or(0))
    }

    /// After so long it has failed.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}

impl LimitsOf {
    /// The limits meant.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn limits(&self) -> Result<Limits, String> {
        let base = match self.base.as_str() {
            "default" => Limits::standard(),
            "demo" => Limits::demo(),
            other => return Err(check::unknown("set of limits", other, &["default", "demo"])),
        };
        if self.change.is_empty() {
            return Ok(base);
        }
        let change = serde_json::to_value(&self.change).map_err(|error| error.to_string())?;
        base.merged(&change).map_err(|error| {
            let mut words = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                words = format!("{words}: {cause}");
            }
            words
        })
    }
}

#[cfg(test)]
mod tests;
