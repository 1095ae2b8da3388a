//! The keys of records, below the stack's prefix.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::ids::{BatchId, JobId, JobRef, MachineName, SourceName};

/// The key of one record. Its text is what the store and the commit journal see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `jobs/<source>/<uuid>`
    Job(JobRef),
    /// `batches/<id>`
    Batch(BatchId),
    /// `machines/<name>`
    Machine(MachineName),
    /// `history/<source>/<uuid>`
    History(JobRef),
    /// `spent/<source>/<uuid>`
    Spent(JobRef),
    /// `spend/<pipeline>`; the pipeline is empty where it is not known.
    Spend(String),
    /// `operator/<name>`
    Operator(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => write!(f, "jobs/{job}"),
            Self::Batch(id) => write!(f, "batches/{id}"),
            Self::Machine(name) => write!(f, "machines/{name}"),
            Self::History(job) => write!(f, "history/{job}"),
            Self::Spent(job) => write!(f, "spent/{job}"),
            Self::Spend(pipeline) => write!(f, "spend/{pipeline}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
        }
    }
}

/// Why a text is no key of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no key of a gust record")]
pub struct BadKey(pub String);

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadKey(text.to_owned());
        let job = |rest: &str| -> Result<JobRef, BadKey> {
            let (source, id) = rest.rsplit_once('/').ok_or_else(bad)?;
            let id = Uuid::parse_str(id).map_err(|_| bad())?;
            Ok(JobRef {
                source: SourceName::new(source),
                id: JobId(id),
            })
        };
        let (kind, rest) = text.split_once('/').ok_or_else(bad)?;
        match kind {
            "jobs" => job(rest).map(Self::Job),
            "history" => job(rest).map(Self::History),
            "spent" => job(rest).map(Self::Spent),
            "batches" => Uuid::parse_str(rest)
                .map(|id| Self::Batch(BatchId(id)))
                .map_err(|_| bad()),
            "machines" if !rest.is_empty() => Ok(Self::Machine(MachineName::new(rest))),
            "spend" => Ok(Self::Spend(rest.to_owned())),
            "operator" if !rest.is_empty() => Ok(Self::Operator(rest.to_owned())),
            _ => Err(bad()),
        }
    }
}
