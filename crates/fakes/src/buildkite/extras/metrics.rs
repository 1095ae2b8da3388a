//! Counts of jobs and agents for those who scale: `GET /v3/metrics` and `GET /v3/metrics/queue`.
//!
//! Facts: the first is in Buildkite's documents (`apis/agent_api/metrics`), the second is what buildkite-agent-scaler
//! and buildkite-agent-metrics ask for one queue by its name; it has the same counts without `queues`. Unverified: 404
//! for a queue that is not there.

use serde_json::{Map, Value, json};

use crate::buildkite::agents::AgentState;
use crate::buildkite::ids::{QueueKey, Refusal};
use crate::buildkite::job::State;
use crate::buildkite::model::Model;

/// What there is of jobs and agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::buildkite) struct Counts {
    pub(in crate::buildkite) scheduled: u64,
    pub(in crate::buildkite) running: u64,
    pub(in crate::buildkite) waiting: u64,
    pub(in crate::buildkite) idle: u64,
    pub(in crate::buildkite) busy: u64,
}

impl Counts {
    /// Counts a job in this state.
    pub(in crate::buildkite) fn job(&mut self, state: State) {
        match state {
            State::Scheduled | State::Reserved => self.scheduled += 1,
            state if state.is_with_agent() => self.running += 1,
            State::Waiting | State::Limited => self.waiting += 1,
            _ => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.running += other.running;
        self.waiting += other.waiting;
        self.idle += other.idle;
        self.busy += other.busy;
    }

    fn jobs(&self) -> Value {
        let total = self.scheduled + self.running + self.waiting;
        json!({"scheduled": self.scheduled, "running": self.running, "waiting": self.waiting, "total": total})
    }

    fn agents(&self) -> Value {
        json!({"idle": self.idle, "busy": self.busy, "total": self.idle + self.busy})
    }
}

impl Model {
    /// The counts of every queue, by its place.
    pub(in crate::buildkite) fn counts_of_queues(&self) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.queues.len()];
        for job in &self.jobs {
            counts[job.queue.0].job(job.state);
        }
        for agent in &self.agents {
            let of = &mut counts[agent.queue.0];
            match (agent.state, agent.job) {
                (AgentState::Connected, Some(_)) => of.busy += 1,
                (AgentState::Connected, None) => of.idle += 1,
                _ => {}
            }
        }
        counts
    }

    /// `GET /v3/metrics`: for each queue of the token's cluster.
    pub fn metrics(&self, token: &str) -> Result<Value, Refusal> {
        let cluster = self.cluster_of_token(token)?;
        let (mut jobs, mut agents) = (Map::new(), Map::new());
        let mut all = Counts::default();
        let counts = self.counts_of_queues();
        for (queue, counts) in self.queues.iter().zip(&counts) {
            if queue.cluster == cluster {
                jobs.insert(queue.key.clone(), counts.jobs());
                agents.insert(queue.key.clone(), counts.agents());
                all.add(counts);
            }
        }
        let mut shown = self.metrics_json(cluster, &all);
        shown["jobs"]["queues"] = jobs.into();
        shown["agents"]["queues"] = agents.into();
        Ok(shown)
    }

    /// `GET /v3/metrics/queue?name=`: for one queue of the token's cluster.
    pub fn queue_metrics(&self, token: &str, name: &str) -> Result<Value, Refusal> {
        let cluster = self.cluster_of_token(token)?;
        let QueueKey(at) = self
            .queue(cluster, name)
            .ok_or_else(|| Refusal::not_found("queue"))?;
        Ok(self.metrics_json(cluster, &self.counts_of_queues()[at]))
    }

    fn metrics_json(&self, cluster: usize, counts: &Counts) -> Value {
        json!({
            "agents": counts.agents(),
            "jobs": counts.jobs(),
            "organization": {"slug": self.config.organization},
            "cluster": {"name": self.clusters[cluster].name},
        })
    }
}
