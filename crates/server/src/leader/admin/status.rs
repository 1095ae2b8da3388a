//! The whole at a glance.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    ids::{QueueKey, ReplicaId, Shard, SourceName, Term},
    ports::Member,
    reason::Kind,
    records::{Cordon, JobPhase, MachinePhase, Order},
    shape::Price,
    time::Timestamp,
};

use super::{
    super::{derived::Promised, state::Leader},
    accounts::{Accounts, QuotaLine},
};

/// What the leader knows of itself and of the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Its term.
    pub term: Term,
    /// Since when it leads.
    pub since: Timestamp,
    /// When the last pass was held.
    pub last_pass: Timestamp,
    /// How long it took.
    pub pass_took: Duration,
    /// How long the last commit took.
    pub commit_took: Duration,
    /// False while something has not been loaded since the term began.
    pub decides: bool,
    /// What that is.
    pub missing: Vec<String>,
    /// Live replicas, by name.
    pub replicas: Vec<ReplicaLine>,
    /// Shards, by name.
    pub shards: Vec<ShardLine>,
    /// Sources, by name.
    pub sources: Vec<SourceLine>,
    /// Jobs by phase.
    pub jobs: BTreeMap<&'static str, u64>,
    /// Waiting jobs by the kind of their reason.
    pub reasons: BTreeMap<Kind, u64>,
    /// Machines by phase.
    pub machines: BTreeMap<&'static str, u64>,
    /// Price of all machines that exist.
    pub price: Price,
    /// Set while gust is paused.
    pub paused: Option<Order>,
    /// Places out of service, each with the machines that are still there, or may yet come.
    pub cordons: Vec<(Cordon, u64)>,
}

/// A replica.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaLine {
    /// How it shows itself.
    pub member: Member,
    /// Its configuration is the leader's.
    pub same_config: bool,
    /// Its session with the leader is open.
    pub connected: bool,
}

/// A shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardLine {
    /// Which.
    pub shard: Shard,
    /// Who looks after it.
    pub owner: Option<ReplicaId>,
    /// Its owner told what is in it.
    pub served: bool,
    /// The operator took it out of service.
    pub cordoned: bool,
    /// Machines in it, those that are asked for included.
    pub machines: u64,
    /// Its quotas that machines of ours use; those over all regions are told once a project.
    pub quotas: Vec<QuotaLine>,
}

/// A source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceLine {
    /// Its name.
    pub name: SourceName,
    /// It took our registration.
    pub registered: bool,
    /// Queues that are served.
    pub queues: Vec<QueueKey>,
    /// Those of them that are paused.
    pub paused: Vec<QueueKey>,
    /// Jobs listed and not yet taken in.
    pub backlog: u64,
    /// Since when Buildkite cannot be asked there, and why.
    pub trouble: Option<(Timestamp, String)>,
    /// It issues tokens for single jobs; absent while that is not known.
    pub tokens: Option<bool>,
}

impl Leader {
    pub(super) fn status(&mut self) -> Status {
        let promised = self.promised();
        Status {
            term: self.term,
            since: self.began,
            last_pass: self.shown.at,
            pass_took: self.took.pass,
            commit_took: self.took.commit,
            decides: self.shown.decides,
            missing: self.shown.missing.clone(),
            replicas: self.replica_lines(),
            shards: self.shard_lines(&promised),
            sources: self.source_lines(),
            jobs: self.job_counts(),
            reasons: self.reason_counts(),
            machines: self.machine_counts(),
            price: Price(self.book.machines().values().map(|machine| machine.price.0).sum()),
            paused: self.book.orders().paused.clone(),
            cordons: {
                let cordons = self.book.orders().cordons.iter();
                cordons
                    .map(|cordon| (cordon.clone(), self.machines_in(&cordon.place)))
                    .collect()
            },
        }
    }

    fn replica_lines(&self) -> Vec<ReplicaLine> {
        let members = self.roster.members.values();
        members
            .map(|member| ReplicaLine {
                same_config: member.config == self.config,
                connected: self
                    .workers
                    .get(&member.replica)
                    .is_some_and(|worker| worker.ready),
                member: member.clone(),
            })
            .collect()
    }

    fn shard_lines(&self, promised: &Promised) -> Vec<ShardLine> {
        let mut machines: BTreeMap<Shard, u64> = BTreeMap::new();
        let there = self.book.machines().values().map(|machine| machine.shard.clone());
        for shard in there.chain(self.creating().map(|(batch, _)| batch.shard())) {
            *machines.entry(shard).or_default() += 1;
        }
        let wide = self
            .shards
            .iter()
            .filter_map(|(name, state)| Some((name, state.wide_quotas.as_ref()?)));
        let accounts = Accounts::new(promised, wide);
        let line = |(name, state): (&Shard, &super::super::state::ShardState)| ShardLine {
            shard: name.clone(),
            owner: state.worker.clone(),
            served: self.is_served(state),
            cordoned: self.book.orders().closes(name),
            machines: machines.get(name).copied().unwrap_or(0),
            quotas: accounts.lines(name, &state.quotas),
        };
        self.shards.iter().map(line).collect()
    }

    fn source_lines(&self) -> Vec<SourceLine> {
        let sources = self.parts.sources.values();
        sources
            .map(|part| SourceLine {
                name: part.name.clone(),
                registered: self.registered.contains(&part.name),
                queues: part.queues.clone(),
                paused: part
                    .queues
                    .iter()
                    .filter(|queue| self.paused.contains(&(part.name.clone(), (*queue).clone())))
                    .cloned()
                    .collect(),
                backlog: self
                    .backlog
                    .get(&part.name)
                    .map_or(0, |backlog| backlog.jobs.len() as u64),
                trouble: {
                    let of_it = self
                        .trouble
                        .iter()
                        .filter(|((source, _), _)| *source == part.name);
                    of_it.map(|(_, trouble)| trouble).min().cloned()
                },
                tokens: self.issues_tokens.get(&part.name).copied(),
            })
            .collect()
    }

    fn job_counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::from([("waiting", 0), ("refusing", 0), ("claimed", 0)]);
        for record in self.book.jobs().values() {
            let word = match record.phase {
                JobPhase::Booked => "waiting",
                JobPhase::Refusing { .. } => "refusing",
                JobPhase::Claimed { .. } => "claimed",
            };
            *counts.entry(word).or_default() += 1;
        }
        counts
    }

    fn reason_counts(&self) -> BTreeMap<Kind, u64> {
        let mut counts = BTreeMap::new();
        for (_, reason) in &self.shown.waiting {
            *counts.entry(reason.kind()).or_default() += 1;
        }
        counts
    }

    fn machine_counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::from([("creating", 0), ("booting", 0), ("claimed", 0), ("deleting", 0)]);
        for machine in self.book.machines().values() {
            let word = match machine.phase {
                MachinePhase::Booting => "booting",
                MachinePhase::Claimed(_) => "claimed",
                MachinePhase::Deleting { .. } => "deleting",
            };
            *counts.entry(word).or_default() += 1;
        }
        counts.insert("creating", self.creating().count() as u64);
        counts
    }
}
