//! What a decision asks for.

use crate::{
    ids::{JobId, JobRef, MachineName, Shard, SourceName, Zone},
    ports::ListedJob,
    reason::Reason,
    records::{BatchRecord, DeleteCause, Outcome},
};

/// One thing to do. Recorded first where the design asks for it, then done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Reserve these listed jobs, then book those that Buildkite gave us.
    Reserve {
        /// Where.
        source: SourceName,
        /// Which.
        jobs: Vec<ListedJob>,
    },
    /// Extend reservations that are half over.
    Renew {
        /// Where.
        source: SourceName,
        /// Which.
        jobs: Vec<JobId>,
    },
    /// Record that a job can never run; it is finished in Buildkite afterwards.
    Refuse {
        /// Which.
        job: JobRef,
        /// What the developer is told.
        detail: String,
    },
    /// Finish a job that is recorded as refusing.
    Finish {
        /// Which.
        job: JobRef,
        /// What the developer is told.
        detail: String,
    },
    /// Remove a job that is over, and add its summary to the history.
    Close {
        /// Which.
        job: JobRef,
        /// How it ended.
        outcome: Outcome,
    },
    /// A job whose machine vanished before anything ran waits again.
    Rebook {
        /// Which.
        job: JobRef,
    },
    /// The Spot machine of a job is gone while the job runs: Google took it back.
    Preempted {
        /// Which.
        job: JobRef,
    },
    /// Record a batch, then have it created.
    Create(Box<BatchRecord>),
    /// Record that a machine must go, then have it deleted.
    Delete {
        /// Which.
        machine: MachineName,
        /// Why.
        cause: DeleteCause,
        /// Where it was found, for a machine without a record.
        found: Option<(Shard, Zone)>,
    },
    /// Look for a machine that a list should have shown.
    Check {
        /// Which.
        machine: MachineName,
        /// Its shard.
        shard: Shard,
        /// Its zone.
        zone: Zone,
    },
}

/// Everything one pass decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// Why each waiting job waits, most urgent first.
    pub reasons: Vec<(JobRef, Reason)>,
}
