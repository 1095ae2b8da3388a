//! The record of one machine, from the moment it is known to exist until it is known to be gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{BatchId, JobRef, MachineName, Shard, Zone},
    quota::Footprint,
    shape::Price,
    time::Timestamp,
};

/// SHA-256 of the public key a guest made at boot, lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(pub String);

/// A successful claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The job the machine was given.
    pub job: JobRef,
    /// The key that claimed; a repeat with it gets the same job, any other key is refused.
    pub key: KeyHash,
    /// When.
    pub at: Timestamp,
}

/// Why a machine is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteCause {
    /// Its guest said that the job is over.
    Done,
    /// Its job ended in Buildkite.
    JobEnded,
    /// No job is left for it.
    NoJob,
    /// Nobody learned in time whether it exists.
    CreateTimeout,
    /// It never claimed in time.
    BootTimeout,
    /// Its agent never acquired the job in time.
    AcquireTimeout,
    /// It powered off, or Google stopped it.
    Stopped,
    /// It ran longer than its limit.
    Overdue,
    /// The operator drains its place.
    Drained,
    /// Google lists it, no record knows it.
    Unknown,
}

impl DeleteCause {
    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::JobEnded => "job-ended",
            Self::NoJob => "no-job",
            Self::CreateTimeout => "create-timeout",
            Self::BootTimeout => "boot-timeout",
            Self::AcquireTimeout => "acquire-timeout",
            Self::Stopped => "stopped",
            Self::Overdue => "overdue",
            Self::Drained => "drained",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for DeleteCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a machine stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MachinePhase {
    /// It exists and has not claimed.
    Booting,
    /// It runs, or is about to run, its one job.
    Claimed(Claim),
    /// It must go; repeated until Google says that it is gone.
    Deleting {
        /// Why.
        cause: DeleteCause,
        /// Since when.
        since: Timestamp,
        /// The claim it had, whose right to a token ended with this phase.
        claim: Option<Claim>,
    },
}

/// One machine. Key: `machines/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Its name.
    pub name: MachineName,
    /// The batch that made it, absent for a machine found without a record.
    pub batch: Option<BatchId>,
    /// Who owns it.
    pub shard: Shard,
    /// Where it is, once known.
    pub zone: Option<Zone>,
    /// Google's id, pinned by the operation, a list or the first claim.
    pub instance_id: Option<u64>,
    /// What it counts for, absent for a machine found without a record.
    pub footprint: Option<Footprint>,
    /// E-mail of its service account, absent for a machine found without a record.
    pub service_account: Option<String>,
    /// Seconds after which it is to be gone.
    pub max_run_seconds: u64,
    /// Price per hour.
    pub price: Price,
    /// The job it was made for; what it runs is in the claim.
    pub made_for: Option<JobRef>,
    /// The pipeline it works for: that of the job it has, or was made for. Absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Which attempt of that job.
    pub attempt: u32,
    /// The canonical request it satisfies.
    pub request_key: String,
    /// When its creation was recorded.
    pub intended_at: Timestamp,
    /// When it was first known to exist.
    pub created_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub phase: MachinePhase,
}

impl MachineRecord {
    /// The claim, also of a machine that is being deleted.
    pub fn claim(&self) -> Option<&Claim> {
        match &self.phase {
            MachinePhase::Booting => None,
            MachinePhase::Claimed(claim) => Some(claim),
            MachinePhase::Deleting { claim, .. } => claim.as_ref(),
        }
    }

    /// The last moment that it tells of.
    pub(super) fn latest(&self) -> Timestamp {
        let phase = match &self.phase {
            MachinePhase::Booting => self.created_at,
            MachinePhase::Claimed(claim) => claim.at,
            MachinePhase::Deleting { since, .. } => *since,
        };
        phase.max(self.created_at)
    }

    /// True while it is being deleted.
    pub fn is_deleting(&self) -> bool {
        matches!(self.phase, MachinePhase::Deleting { .. })
    }
}
