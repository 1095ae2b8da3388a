//! What stays after the end of a job: one compact summary.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{JobRef, MachineName, MachineTypeName},
    records::{JobFacts, Preemption},
    shape::{Price, ProvisioningModel},
    time::Timestamp,
};

/// How a job ended, as far as gust could see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// An agent ran it to an end (pass or fail: Buildkite knows which).
    Ran,
    /// Canceled, before or while it ran.
    Canceled,
    /// Finished by gust, with the reason.
    Refused {
        /// What the developer was told.
        detail: String,
    },
    /// Buildkite no longer has it waiting for us: expired, skipped, or taken by somebody else's agent.
    Gone {
        /// The state it was seen in, empty when Buildkite did not know it.
        state: String,
    },
}

impl Outcome {
    /// The word used in logs, metrics and the admin API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Canceled => "canceled",
            Self::Refused { .. } => "refused",
            Self::Gone { .. } => "gone",
        }
    }
}

/// The summary of one job. Key: `history/<source>/<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// The job.
    pub job: JobRef,
    /// What Buildkite said about it.
    pub facts: JobFacts,
    /// When gust booked it.
    pub booked_at: Timestamp,
    /// When a machine claimed it.
    pub claimed_at: Option<Timestamp>,
    /// When gust saw the end.
    pub ended_at: Timestamp,
    /// The machine that ran it.
    pub machine: Option<MachineName>,
    /// Its type.
    pub machine_type: Option<MachineTypeName>,
    /// On demand or Spot.
    pub model: Option<ProvisioningModel>,
    /// Price per hour of that machine.
    pub price: Option<Price>,
    /// When that machine was known to exist.
    pub machine_created_at: Option<Timestamp>,
    /// Machines made for it.
    pub attempts: u32,
    /// What preemptions had to do with it.
    #[serde(default, skip_serializing_if = "Preemption::is_nothing")]
    pub preemption: Preemption,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}
