//! The record of a job, from its booking to its end.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{JobRef, MachineName, QueueKey},
    records::Preemption,
    time::Timestamp,
};

/// What Buildkite said about the job when it was booked. It does not change afterwards, save the priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// The queue whose list it was in.
    pub queue: QueueKey,
    /// `agents:` tags, `key=value` each, in Buildkite's order.
    pub rules: Vec<String>,
    /// Buildkite priority; higher runs first.
    pub priority: i64,
    /// Pipeline slug, empty if unknown.
    pub pipeline: String,
    /// Build number, 0 if unknown.
    pub build: u64,
    /// Branch, empty if unknown.
    pub branch: String,
    /// Step key, where the step has one.
    pub step: Option<String>,
    /// When the job became eligible to run; orders jobs of equal priority.
    pub runnable_at: Timestamp,
}

/// How often machines made for a job failed it, by cause. Each cause has its own patience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// Machines that came up (or should have) and never claimed.
    pub boot: u32,
    /// Machines that claimed but whose agent never acquired the job.
    pub acquire: u32,
    /// Machines that vanished before their agent acquired the job.
    pub lost: u32,
    /// Creations that Google refused for a reason that will not pass (denied, malformed).
    pub refused: u32,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobPhase {
    /// Ours, without a machine that may run it yet.
    Booked,
    /// It can never run; Buildkite is being told so.
    Refusing {
        /// The detail shown to the developer (at most 4,096 bytes).
        detail: String,
    },
    /// A machine proved who it is and was given this job.
    Claimed {
        /// That machine.
        machine: MachineName,
        /// When.
        at: Timestamp,
    },
}

/// One job. Key: `jobs/<source>/<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Source and UUID.
    pub job: JobRef,
    /// What Buildkite said.
    pub facts: JobFacts,
    /// When it was booked.
    pub booked_at: Timestamp,
    /// Highest attempt number whose machine has come and gone. Names are never used again, so this never falls.
    pub attempts: u32,
    /// What went wrong so far.
    pub failures: Failures,
    /// What preemptions have to do with it.
    #[serde(default, skip_serializing_if = "Preemption::is_nothing")]
    pub preemption: Preemption,
    /// Where it stands.
    #[serde(flatten)]
    pub phase: JobPhase,
}

impl JobRecord {
    /// When a machine claimed it.
    pub fn claimed_at(&self) -> Option<Timestamp> {
        match self.phase {
            JobPhase::Claimed { at, .. } => Some(at),
            JobPhase::Booked | JobPhase::Refusing { .. } => None,
        }
    }

    /// The last moment that it tells of.
    pub(super) fn latest(&self) -> Timestamp {
        match self.phase {
            JobPhase::Claimed { at, .. } => at.max(self.booked_at),
            JobPhase::Booked | JobPhase::Refusing { .. } => self.booked_at,
        }
    }
}
