//! The leader: observes, decides, records, acts. One task owns all its state.
//!
//! Inputs (lists, states, worker events, claims) wake the loop; it folds them into memory, decides, commits
//! everything that came of it in **one** commit, and only then lets the effects go out. A crash at any point
//! therefore leaves either no record and no effect, or a record whose effect is repeated by the successor.

mod admin;
mod begin;
mod cycle;
mod derived;
mod effect;
mod guard;
mod input;
mod notes;
mod on_claim;
mod on_shard;
mod on_source;
mod on_worker;
mod pass;
mod picture;
mod poll;
mod preemption;
mod state;
mod talk;
mod tokens;
mod workers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(crate) use admin::of_history;
pub use admin::{
    CancelRefused, Delta, JobChange, JobInfo, JobStory, MachineChange, MachineInfo, Ordered, QuotaLine,
    Remark, ReplicaLine, ShardLine, SourceLine, Status, Watching,
};
pub(crate) use begin::load;
pub use cycle::{End, lead};
pub use input::{Assignment, ClaimReply, Handle, LeaderGone};
pub use picture::Picture;

use gust_core::{
    ids::{QueueKey, ReplicaId, Shard, SourceName, StackName, Zone},
    ports::{Retrier, Source, Store},
    records::{Format, JobRecord},
    secret::Secret,
    settings::Settings,
    snapshot::Planned,
    tenure::Timing,
};

use crate::{
    clock::Clock,
    replica::{Held, Links},
    task::Dice,
};

/// Turns what is known of a job into its plan. Pure: equal facts, equal plans.
pub trait Planner: Send + Sync {
    /// The plan of a job, by its source, queue, pipeline and tags, and whether it runs a preempted one again; or the detail
    /// with which it is refused.
    fn plan(&self, job: &JobRecord) -> Planned;

    /// Whether a job gets no Spot machine though it asks for one, since it runs a preempted one again.
    fn runs_on_demand(&self, job: &JobRecord) -> bool;

    /// What a machine of this footprint uses of each quota.
    fn usage(&self, footprint: &gust_core::quota::Footprint) -> gust_core::quota::Usage;

    /// What is paid for already in a shard, as rows of its ledger.
    fn prepaid(&self, _shard: &Shard) -> Vec<gust_core::ports::Quota> {
        Vec::new()
    }

    /// Takes in the quotas of a shard. True if that changes what machines use of them: plans must be made anew.
    fn measured(&self, _shard: &Shard, _quotas: &[gust_core::ports::Quota]) -> bool {
        false
    }

    /// Takes in which machine types zones list. True if that changes anything: plans must be made anew.
    fn learn(&self, _zones: &[(Zone, Vec<String>)]) -> bool {
        false
    }
}

/// A source with what the leader needs to know about it.
#[derive(Clone)]
pub struct SourcePart {
    /// Its name.
    pub name: SourceName,
    /// The way to it.
    pub source: Arc<dyn Source>,
    /// The queues to serve.
    pub queues: Vec<QueueKey>,
    /// Base URL of the Agent API that machines are sent to.
    pub agent_endpoint: String,
    /// The agent token, where the operator opted in to hand it out if no acquisition token can be had.
    pub agent_token: Option<Secret>,
    /// Shortest and longest time between two lists of a queue.
    pub poll: (Duration, Duration),
    /// The way to have preempted jobs run again, where the operator opened it.
    pub retrier: Option<Arc<dyn Retrier>>,
}

/// Shards, each with its zones.
pub type ShardZones = Vec<(Shard, Vec<Zone>)>;

/// Everything a leader is made of.
#[derive(Clone)]
pub struct Parts {
    /// The stack.
    pub stack: StackName,
    /// This replica.
    pub replica: ReplicaId,
    /// The operator's numbers.
    pub settings: Settings,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub dice: Dice,
    /// Records.
    pub store: Arc<dyn Store>,
    /// Sources.
    pub sources: BTreeMap<SourceName, SourcePart>,
    /// All shards.
    pub shards: ShardZones,
    /// Plans.
    pub planner: Arc<dyn Planner>,
    /// The form in which this build writes records.
    pub format: Format,
}

/// What a replica that was elected leads with.
#[derive(Clone)]
pub struct Leading {
    /// What it is made of.
    pub parts: Parts,
    /// Ways to the workers.
    pub links: Arc<dyn Links>,
    /// The lease on which its leadership hangs.
    pub held: Held,
    /// How leases are kept.
    pub timing: Timing,
    /// Hash of the decided part of its configuration: workers with another one are not used.
    pub config: String,
}
