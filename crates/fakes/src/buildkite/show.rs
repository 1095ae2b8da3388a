//! What people and checks look at: one job, and the whole model.

use serde_json::{Value, json};
use uuid::Uuid;

use super::build::{Build, BuildState, StepState};
use super::ids::{JobKey, Refusal};
use super::model::Model;
use crate::now::Now;
use crate::stamp::rfc3339;

impl Model {
    /// The state of a build as the APIs show it: `scheduled` until its first job runs, `failing` when one has
    /// failed while others go on.
    pub(super) fn shown_state(&self, build: &Build) -> &'static str {
        if build.state != BuildState::Running {
            return build.state.name();
        }
        // A build that only a person can carry on is `blocked`, unless its steps say that it goes on `running`.
        match self.is_blocked(build.key()) {
            None => {}
            Some("running") => return "running",
            Some("failed") => return "failed",
            Some(_) => return "blocked",
        }
        let mut steps = build.order.iter().map(|step| self.steps[step.0].state);
        if steps.any(|state| matches!(state, StepState::Failed | StepState::NotRun)) {
            return "failing";
        }
        if build.started_at.is_none() {
            "scheduled"
        } else {
            "running"
        }
    }

    /// The page of a build.
    pub(super) fn build_url(&self, build: &Build) -> String {
        let (base, organization) = (&self.config.base_url, &self.config.organization);
        format!("{base}/{organization}/{}/builds/{}", build.pipeline, build.number)
    }

    /// `GET /jobs/{uuid}` of the control surface.
    pub fn show_job(&self, job: Uuid) -> Result<Value, Refusal> {
        let key = self.job_key(job)?;
        let mut shown = self.job_json(key);
        let job = &self.jobs[key.0];
        let notifications: Vec<Value> = job
            .notifications
            .iter()
            .map(|notification| json!({"detail": notification.detail, "timestamp": notification.timestamp}))
            .collect();
        let annotations: Vec<Value> = self
            .build_of(key)
            .annotations
            .iter()
            .filter(|annotation| annotation.jobs.contains(&key))
            .map(|annotation| {
                json!({
                    "context": annotation.context, "style": annotation.style, "body": annotation.body,
                    "scope": annotation.scope,
                })
            })
            .collect();
        shown["notifications"] = notifications.into();
        shown["annotations"] = annotations.into();
        shown["log"] = job.log.text().into();
        shown["env"] = json!(self.env_of(key));
        shown["command"] = self.plan_of(key).map(|plan| plan.command.clone()).into();
        Ok(shown)
    }

    fn job_json(&self, key: JobKey) -> Value {
        let (job, build, step) = (&self.jobs[key.0], self.build_of(key), self.step_of(key));
        let uuid_of = |key: Option<JobKey>| key.map(|key| self.jobs[key.0].uuid.to_string());
        json!({
            "uuid": job.uuid.to_string(),
            "state": job.state.name(),
            "rules": job.rules,
            "priority": job.priority,
            "key": step.key,
            "label": self.label_of(key),
            "build": build.number,
            "pipeline": build.pipeline,
            "queue": self.queues[job.queue.0].key,
            "exit_status": job.exit_status,
            "signal": job.signal,
            "signal_reason": job.signal_reason,
            "agent": job.agent.map(|agent| {
                let agent = &self.agents[agent.0];
                json!({"id": agent.uuid.to_string(), "name": agent.name})
            }),
            "reservation": job.reservation.as_ref().map(|held| {
                json!({"stack": held.stack, "until": held.until.as_secs_f64()})
            }),
            "created_at": rfc3339(job.created_at),
            "scheduled_at": rfc3339(job.scheduled_at),
            "runnable_at": job.runnable_at.map(rfc3339),
            "started_at": job.started_at.map(rfc3339),
            "finished_at": job.finished_at.map(rfc3339),
            "retries": job.retries,
            "retry_of": uuid_of(job.retry_of),
            "retried_in": uuid_of(job.retried_in),
            "chunks_failed": job.chunks_failed,
            "promised_failure": job.promised_failure,
        })
    }

    /// The whole model: the `buildkite` part of `GET /state`. Secrets are left out.
    pub fn to_json(&self, _now: Now) -> Value {
        let jobs: Vec<Value> = (0..self.jobs.len())
            .map(|index| self.job_json(JobKey(index)))
            .collect();
        let builds: Vec<Value> = self
            .builds
            .iter()
            .map(|build| {
                json!({
                    "number": build.number, "uuid": build.uuid.to_string(), "pipeline": build.pipeline,
                    "branch": build.branch, "state": build.state.name(), "created_at": rfc3339(build.created_at),
                    "jobs": build.order.iter().flat_map(|step| &self.steps[step.0].jobs)
                        .map(|job| self.jobs[job.0].uuid.to_string()).collect::<Vec<_>>(),
                    "meta_data": build.meta_data,
                    "annotations": build.annotations.len(),
                })
            })
            .collect();
        let agents: Vec<Value> = self
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "id": agent.uuid.to_string(), "name": agent.name, "state": agent.state.name(),
                    "tags": agent.tags, "queue": self.queues[agent.queue.0].key, "version": agent.version,
                    "token_id": agent.token_id.to_string(),
                    "job": agent.job.map(|job| self.jobs[job.0].uuid.to_string()),
                    "last_heartbeat": agent.last_heartbeat.as_secs_f64(),
                })
            })
            .collect();
        let stacks: Vec<Value> = self
            .stacks
            .iter()
            .map(|(key, stack)| {
                json!({
                    "id": stack.uuid.to_string(), "key": key, "type": stack.kind,
                    "queue": self.queues[stack.queue.0].key, "metadata": stack.metadata,
                    "last_connected_on": stack.last_connected.map(rfc3339),
                })
            })
            .collect();
        let queues: Vec<Value> = self
            .queues
            .iter()
            .map(|queue| {
                json!({
                    "id": queue.uuid.to_string(), "key": queue.key, "cluster": self.clusters[queue.cluster].name,
                    "scheduled": queue.scheduled.len(), "last_polled": queue.last_polled.map(rfc3339),
                })
            })
            .collect();
        json!({
            "organization": self.config.organization, "queues": queues, "stacks": stacks, "builds": builds,
            "jobs": jobs, "agents": agents,
            "artifacts": self.artifacts.values().map(|artifact| json!({
                "id": artifact.uuid.to_string(), "path": artifact.path, "state": artifact.state,
                "job": self.jobs[artifact.job.0].uuid.to_string(), "bytes": artifact.file_size,
            })).collect::<Vec<_>>(),
        })
    }
}
