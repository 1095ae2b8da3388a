//! One run: a world, its replicas, what people do to it and what goes wrong, and the checker beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_core::{
    ids::{ProjectId, ReplicaId, SourceName},
    ports::{Cloud, Member, Store},
    tenure::Timing,
    time::Timestamp,
};
use gust_fakes::{config::Settings, event::Event};
use gust_server::{
    clock::Clock,
    config::{Config, Surroundings},
    leader::{Handle, Parts, SourcePart},
    planner::{self, Planner},
    replica::Replica,
    task::{Dice, Executor, Tasks},
    worker::{Pace, Worker},
};
use gust_store::HistoryBounds;

use super::{
    alarm::{Alarm, Watching},
    check::{Checker, Expectations, HostEvent, Verdict},
    cloud::VirtualCloud,
    cover::Cover,
    hosts::Hosts,
    link::{VirtualLinks, Workers},
    net::Net,
    scenario::Scenario,
    source::VirtualSource,
    world::{EPOCH_MS, Shared},
};

/// What is kept of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The verdict only.
    Nothing,
    /// The event log.
    Log,
    /// A timeline for people.
    Timeline,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub verdict: Verdict,
    /// Why the run was stopped, if it was.
    pub alarm: Option<String>,
    /// Pairs of state and fault.
    pub cover: Cover,
    /// Virtual time it took.
    pub took: Duration,
    /// The event log, if it was kept.
    pub log: String,
    /// The timeline, if it was kept.
    pub timeline: Vec<String>,
    /// What everything waits for, if the run came to no end.
    pub waits: Vec<String>,
}
