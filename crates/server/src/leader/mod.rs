//! The leader: observes, decides, records, acts. One task owns all its state.
//!
//! Inputs (lists, states, worker events, claims) wake the loop; it folds them into memory, decides, commits
//! everything that came of it in **one** commit, and only then lets the effects go out. A crash at any point
//! therefore leaves either no record and no effect, or a record whose effect is repeated by the successor.

mod cycle;
mod effect;
mod input;
mod notes;
mod on_claim;
mod on_source;
mod on_worker;
mod pass;
mod poll;
mod state;
mod talk;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use cycle::{End, lead};
pub use input::{Assignment, ClaimReply, Handle, Inputs, LeaderGone};

use gust_core::{
    ids::{QueueKey, ReplicaId, Shard, SourceName, StackName, Zone},
    ports::{Link, Source, Store},
    secret::Secret,
    settings::Settings,
    snapshot::Planned,
};

use crate::{clock::Clock, task::Dice};

/// Turns a job's tags into its plan. Pure: same tags, same plan.
pub trait Planner: Send + Sync {
    /// The plan of a job of `source` with these tags, or the detail with which it is refused.
    fn plan(&self, source: &SourceName, rules: &[String]) -> Planned;

    /// What a machine of this footprint uses of each quota.
    fn usage(&self, footprint: &gust_core::quota::Footprint) -> gust_core::quota::Usage;
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
}

/// Shards, each with its zones.
pub type ShardZones = Vec<(Shard, Vec<Zone>)>;

/// A worker with the shards it looks after.
#[derive(Clone)]
pub struct WorkerPart {
    /// The way to it.
    pub link: Arc<dyn Link>,
    /// Its shards, each with its zones.
    pub shards: ShardZones,
}

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
    /// Workers.
    pub workers: Vec<WorkerPart>,
    /// Plans.
    pub planner: Arc<dyn Planner>,
}
