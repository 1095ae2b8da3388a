//! The tables of the model, and the one place where a job changes its state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use indexmap::IndexMap;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::agents::{AcquisitionToken, Agent};
use super::budget::Budget;
use super::build::{Build, Step};
use super::config::{Config, DEFAULT_QUEUE};
use super::create::Stored;
use super::due::Due;
use super::extras::{Artifact, Upload};
use super::ids::{self, AgentKey, BuildKey, JobKey, QueueKey, Refusal, StepKey};
use super::job::{Job, State};
use super::stacks::Stack;
use super::timeline::What;
use super::webhooks::Webhooks;
use crate::event::{Effects, Event, Host};
use crate::limits;
use crate::now::Now;

/// A self-hosted queue of a cluster.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) uuid: Uuid,
    pub(super) key: String,
    pub(super) cluster: usize,
    /// Jobs in the list, by `scheduled_at`, oldest first.
    pub(super) scheduled: BTreeSet<(i128, JobKey)>,
    /// Jobs that left the list lately: when, and when they had entered. Lagging lists still show them.
    pub(super) left: VecDeque<(Duration, Duration, JobKey)>,
    pub(super) last_polled: Option<i128>,
    /// Dispatch is paused by a person: since when, and why.
    pub(super) paused: Option<Pause>,
}

/// Dispatch of a queue, or an agent, is paused.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    /// Wall time, nanoseconds since the epoch.
    pub(super) at: i128,
    pub(super) note: Option<String>,
}

/// A cluster.
#[derive(Debug)]
pub(super) struct ClusterState {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    pub(super) default_queue: QueueKey,
    pub(super) tokens: Vec<(String, Uuid)>,
}

/// A concurrency group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) active: usize,
    pub(super) waiting: BTreeSet<JobKey>,
}

/// The fake Buildkite.
#[derive(Debug)]
pub struct Model {
    pub(super) config: Config,
    pub(super) limits: limits::Buildkite,
    pub(super) rng: ChaCha8Rng,
    pub(super) organization: Uuid,
    pub(super) clusters: Vec<ClusterState>,
    pub(super) queues: Vec<Queue>,
    pub(super) stacks: BTreeMap<String, Stack>,
    pub(super) pipelines: IndexMap<String, Uuid>,
    /// Steps of pipelines that have some.
    pub(super) stored: BTreeMap<String, Stored>,
    pub(super) builds: Vec<Build>,
    pub(super) builds_by_uuid: BTreeMap<Uuid, BuildKey>,
    pub(super) steps: Vec<Step>,
    /// Block and input steps by the UUID of their jobs.
    pub(super) blocks: BTreeMap<Uuid, StepKey>,
    /// Trigger steps, and which of their jobs, by the UUIDs of those.
    pub(super) triggers: BTreeMap<Uuid, (StepKey, usize)>,
    pub(super) jobs: Vec<Job>,
    pub(super) jobs_by_uuid: BTreeMap<Uuid, JobKey>,
    pub(super) agents: Vec<Agent>,
    pub(super) sessions: BTreeMap<String, AgentKey>,
    pub(super) job_tokens: BTreeMap<String, JobKey>,
    /// Reservations made so far.
    pub(super) reservations: u64,
    pub(super) acquisition_tokens: BTreeMap<String, AcquisitionToken>,
    pub(super) groups: BTreeMap<String, Group>,
    /// Groups in which a place came free during this call.
    pub(super) freed: Vec<String>,
    pub(super) artifacts: IndexMap<Uuid, Artifact>,
    pub(super) uploads: BTreeMap<(JobKey, Uuid), Upload>,
    pub(super) due: BTreeSet<(Duration, Due)>,
    /// Of the organization, and of each user (by the place of the API token).
    pub(super) graphql_budgets: BTreeMap<Option<usize>, Budget>,
    /// As those of GraphQL.
    pub(super) rest_budgets: BTreeMap<Option<usize>, Budget>,
    pub(super) webhooks: Webhooks,
}

impl Model {
    /// An organization in which nothing happened yet.
    pub fn new(seed: u64, limits: limits::Buildkite, config: Config) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6275_696c_6473);
        let organization = ids::uuid(&mut rng);
        let mut clusters = Vec::new();
        let mut queues: Vec<Queue> = Vec::new();
        for (index, cluster) in config.clusters.iter().enumerate() {
            let default_queue = QueueKey(queues.len());
            for key in &cluster.queues {
                queues.push(Queue {
                    uuid: ids::uuid(&mut rng),
                    key: key.clone(),
                    cluster: index,
                    scheduled: BTreeSet::new(),
                    left: VecDeque::new(),
                    last_polled: None,
                    paused: None,
                });
            }
            clusters.push(ClusterState {
                uuid: ids::uuid(&mut rng),
                name: cluster.name.clone(),
                default_queue,
                tokens: cluster
                    .tokens
                    .iter()
                    .map(|token| (token.clone(), ids::uuid(&mut rng)))
                    .collect(),
            });
        }
        let webhooks = Webhooks::configured(&config.webhooks);
        Self {
            config,
            limits,
            rng,
            organization,
            clusters,
            queues,
            stacks: BTreeMap::new(),
            pipelines: IndexMap::new(),
            stored: BTreeMap::new(),
            builds: Vec::new(),
            builds_by_uuid: BTreeMap::new(),
            steps: Vec::new(),
            blocks: BTreeMap::new(),
            triggers: BTreeMap::new(),
            jobs: Vec::new(),
            jobs_by_uuid: BTreeMap::new(),
            reservations: 0,
            agents: Vec::new(),
            sessions: BTreeMap::new(),
            job_tokens: BTreeMap::new(),
            acquisition_tokens: BTreeMap::new(),
            groups: BTreeMap::new(),
            freed: Vec::new(),
            artifacts: IndexMap::new(),
            uploads: BTreeMap::new(),
            due: BTreeSet::new(),
            graphql_budgets: BTreeMap::new(),
            rest_budgets: BTreeMap::new(),
            webhooks,
        }
    }

    /// Obeys other limits from now on.
    pub fn set_limits(&mut self, now: Now, limits: limits::Buildkite) {
        self.limits = limits;
        for index in 0..self.agents.len() {
            self.watch_agent(now, AgentKey(index));
        }
    }

    /// Tells where agents reach this Buildkite.
    pub fn set_base_url(&mut self, base_url: String) {
        self.config.base_url = base_url;
    }

    /// A job by its UUID.
    pub fn job(&self, uuid: Uuid) -> Option<&Job> {
        self.jobs_by_uuid.get(&uuid).map(|key| &self.jobs[key.0])
    }

    /// A build by its number.
    pub fn build(&self, number: u64) -> Option<&Build> {
        // Numbers are given in order, from 1, and builds are never removed.
        self.builds.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(super) fn job_key(&self, uuid: Uuid) -> Result<JobKey, Refusal> {
        self.jobs_by_uuid
            .get(&uuid)
            .copied()
            .ok_or_else(|| Refusal::not_found("job"))
    }

    pub(super) fn build_of(&self, key: JobKey) -> &Build {
        &self.builds[self.jobs[key.0].build.0]
    }

    pub(super) fn step_of(&self, key: JobKey) -> &Step {
        &self.steps[self.jobs[key.0].step.0]
    }

    /// A queue of the cluster by its key or one of the spellings of the default queue.
    pub(super) fn queue(&self, cluster: usize, key: &str) -> Option<QueueKey> {
        if DEFAULT_QUEUE.contains(&key) {
            return Some(self.clusters[cluster].default_queue);
        }
        self.queues
            .iter()
            .position(|queue| queue.cluster == cluster && queue.key == key)
            .map(QueueKey)
    }

    /// Moves a job to another state: keeps the lists and the concurrency groups right and tells the log.
    pub(super) fn set_state(&mut self, now: Now, key: JobKey, to: State, cause: &str, out: &mut Effects) {
        let job = &mut self.jobs[key.0];
        let (from, known) = (job.state, job.introduced);
        if from == to && known {
            return;
        }
        job.state = to;
        job.introduced = true;
        job.remember(
            now,
            What::State {
                from: known.then_some(from),
                to,
                cause: cause.into(),
            },
        );
        let queue = &mut self.queues[job.queue.0];
        if known && from == State::Scheduled {
            queue.scheduled.remove(&(job.scheduled_at, key));
            queue.left.push_back((now.since_start, job.entered, key));
            while queue
                .left
                .front()
                .is_some_and(|(left, ..)| *left + MAX_LAG < now.since_start)
            {
                queue.left.pop_front();
            }
        }
        let mut event = Event::new(Host::Buildkite, "job.state")
            .with("job", job.uuid.to_string())
            .with("from", known.then(|| from.name()))
            .with("to", to.name())
            .with("cause", cause);
        if to == State::Scheduled {
            queue.scheduled.insert((job.scheduled_at, key));
            job.entered = now.since_start;
            job.runnable_at.get_or_insert(now.unix_ns);
            event = event.with("runnable", true);
        }
        out.push(event);
        if from.is_active() && !to.is_active() {
            self.leave_group(key);
        }
        self.tell_job(now, key, known.then_some(from), out);
    }

    /// The concurrency group of a job: limit and name.
    pub(super) fn group_of(&self, step: StepKey) -> Option<(usize, String)> {
        match &self.steps[step.0].kind {
            super::build::StepKind::Command(plan) => plan.concurrency.clone(),
            _ => None,
        }
    }

    fn leave_group(&mut self, key: JobKey) {
        if let Some((_, name)) = self.group_of(self.jobs[key.0].step) {
            self.groups.entry(name.clone()).or_default().active -= 1;
            self.freed.push(name);
        }
    }

    /// Lets jobs into the list that waited for a place in their concurrency group.
    pub(super) fn fill_groups(&mut self, now: Now, out: &mut Effects) {
        while let Some(name) = self.freed.pop() {
            while let Some(group) = self.groups.get_mut(&name) {
                let Some(&key) = group.waiting.first() else { break };
                let limit = self.group_of(self.jobs[key.0].step).map_or(1, |(limit, _)| limit);
                let group = self.groups.entry(name.clone()).or_default();
                if group.active >= limit {
                    break;
                }
                group.waiting.remove(&key);
                group.active += 1;
                self.set_state(now, key, State::Scheduled, "concurrency", out);
            }
        }
    }
}

/// The longest list lag that a fault can ask for.
pub(super) const MAX_LAG: Duration = Duration::from_secs(600);
