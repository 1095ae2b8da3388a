//! Objects as the REST API and webhooks show them.
//!
//! Field names and kinds are those of `apis/rest_api/{builds,jobs,agents,pipelines,annotations}` and
//! `apis/rest_api/clusters/queues` of Buildkite's documentation. States `passed` and `failed` exist here only: of a
//! job that is `finished` everywhere else.

mod places;

pub(super) use places::FOUNDED;

use serde_json::{Value, json};

use super::agents::AgentState;
use super::build::{Build, BuildState, StepKind};
use super::extras::Annotation;
use super::ids::{AgentKey, BuildKey, JobKey};
use super::job::State;
use super::model::Model;
use super::wire::graphql::node_id;
use super::wire::markdown;
use crate::now::Now;
use crate::stamp::rfc3339;

impl Model {
    /// Where the REST API has something of the organization.
    pub(super) fn rest_url(&self, rest: &str) -> String {
        format!(
            "{}/v2/organizations/{}{rest}",
            self.config.base_url, self.config.organization
        )
    }

    /// The state of a job as people see it.
    pub(super) fn job_word(&self, key: JobKey) -> &'static str {
        let job = &self.jobs[key.0];
        match (job.state, job.exit_status.as_deref()) {
            (State::Finished, Some("0")) => "passed",
            (State::Finished, _) => "failed",
            (state, _) => state.name(),
        }
    }

    /// The REST API's state of a job: one that waits for its concurrency group is `scheduled` there.
    fn rest_state(&self, key: JobKey) -> &'static str {
        match self.jobs[key.0].state {
            State::Limited => State::Scheduled.name(),
            _ => self.job_word(key),
        }
    }

    pub(super) fn rest_job(&self, now: Now, key: JobKey) -> Value {
        let (job, build, step) = (&self.jobs[key.0], self.build_of(key), self.step_of(key));
        let plan = self.plan_of(key);
        let status = job
            .exit_status
            .as_deref()
            .and_then(|text| text.parse::<i64>().ok());
        let url = self.rest_url(&format!("/pipelines/{}/builds/{}", build.pipeline, build.number));
        let own = format!("{url}/jobs/{}", job.uuid);
        let cluster = self.clusters[build.cluster].uuid;
        let queue = self.queues[job.queue.0].uuid;
        let cluster_url = self.rest_url(&format!("/clusters/{cluster}"));
        let name = self.label_of(key).or(plan.map(|plan| plan.command.as_str()));
        let soft =
            matches!(job.state, State::Finished | State::TimedOut) && status != Some(0) && self.is_green(key);
        let mut shown = json!({
            "id": job.uuid,
            "graphql_id": node_id("Job", job.uuid),
            "type": "script",
            "name": name,
            "step_key": step.key,
            "step": {"id": step.uuid, "signature": null},
            "priority": {"number": job.priority},
            "agent_query_rules": job.rules,
            "state": self.rest_state(key),
            "build_url": url,
            "web_url": format!("{}#{}", self.build_url(build), job.uuid),
            "log_url": format!("{own}/log"),
            "raw_log_url": format!("{own}/log.txt"),
            "artifacts_url": format!("{own}/artifacts"),
            "command": plan.map(|plan| &plan.command),
            "soft_failed": soft,
            "exit_status": status,
            "signal": job.signal,
            "signal_reason": job.signal_reason,
            "broken_reason": step.omitted,
            "artifact_paths": plan.map(|plan| &plan.artifact_paths),
            "created_at": rfc3339(job.created_at),
            "scheduled_at": rfc3339(job.scheduled_at),
            "runnable_at": job.runnable_at.map(rfc3339),
            "started_at": job.started_at.map(rfc3339),
            "finished_at": job.finished_at.map(rfc3339),
            "expired_at": null,
            "retried": job.retried_in.is_some(),
            "retried_in_job_id": job.retried_in.map(|new| self.jobs[new.0].uuid),
            "retries_count": job.retries,
            "retry_source": job.retry_of.map(|old| self.retry_source(old)),
            "retry_type": job.retry_kind,
            "retried_by": (job.retry_kind == Some("manual")).then(|| self.rest_user(0)),
            "parallel_group_index": job.parallel.map(|(index, _)| index),
            "parallel_group_total": job.parallel.map(|(_, count)| count),
            "matrix": self.matrix_json(key),
            "agent": job.agent.map(|agent| self.rest_agent(now, agent, false)),
            "cluster_id": cluster,
            "cluster_url": cluster_url,
            "cluster_queue_id": queue,
            "cluster_queue_url": format!("{cluster_url}/queues/{queue}"),
        });
        // The macro above takes no more fields.
        shown["group_key"] = self.group_key(key).into();
        shown["concurrency_wait_time_ms"] = self.waited_for_group(key).into();
        if let Some(promise) = &job.promised_failure {
            shown["promised_exit_status"] = promise["exit_status"].clone();
            shown["promised_exit_status_at"] = promise["promised_at"].clone();
        }
        shown
    }

    /// The key of the group that a job's step is in.
    pub(super) fn group_key(&self, key: JobKey) -> Option<&str> {
        // A group waits for its own steps and for no others.
        let waiting = self
            .step_of(key)
            .dependents
            .iter()
            .map(|step| &self.steps[step.0]);
        let mut groups = waiting.filter(|step| matches!(step.kind, StepKind::Group));
        groups.next()?.key.as_deref()
    }

    /// How long the job waited for a place in its concurrency group; null until it has one, and without a group.
    fn waited_for_group(&self, key: JobKey) -> Option<u64> {
        let job = &self.jobs[key.0];
        self.group_of(job.step)?;
        let had = job.runnable_at?;
        let from = self.entered_at(key, State::Limited).unwrap_or(had);
        u64::try_from((had - from) / 1_000_000).ok()
    }

    fn retry_source(&self, old: JobKey) -> Value {
        let old = &self.jobs[old.0];
        let by = (old.retry_kind == Some("manual")).then(|| {
            let user = self.rest_user(0);
            json!({"name": user["name"], "email": user["email"]})
        });
        json!({"job_id": old.uuid, "retry_type": old.retry_kind, "retried_by": by})
    }

    /// The REST API's state of a build. `blocked` is none of them: what has run so far is told, as the block says.
    fn rest_build_state(&self, build: &Build) -> &'static str {
        match (self.shown_state(build), self.is_blocked(build.key())) {
            ("blocked", Some(so_far)) => so_far,
            (state, _) => state,
        }
    }

    /// A build; with its jobs, retried ones too, where wanted.
    pub(super) fn rest_build(&self, now: Now, key: BuildKey, with_jobs: bool) -> Value {
        let build = &self.builds[key.0];
        let own = self.rest_url(&format!("/pipelines/{}/builds/{}", build.pipeline, build.number));
        let mut shown = json!({
            "id": build.uuid,
            "graphql_id": node_id("Build", build.uuid),
            "url": own,
            "web_url": self.build_url(build),
            "number": build.number,
            "state": self.rest_build_state(build),
            "blocked": self.is_blocked(key).is_some(),
            "cancel_reason": null,
            "message": build.message,
            "commit": build.commit,
            "branch": build.branch,
            "env": build.env,
            "source": build.source(),
            "creator": self.rest_user(0),
            "author": build.author,
            "created_at": rfc3339(build.created_at),
            "scheduled_at": rfc3339(build.created_at),
            "started_at": build.started_at.map(rfc3339),
            "failing_at": build.failing_at.map(rfc3339),
            "finished_at": build.finished_at.map(rfc3339),
            "meta_data": build.meta_data,
            "pull_request": null,
            "merge_queue": null,
            "rebuilt_from": null,
            "cluster_id": self.clusters[build.cluster].uuid,
            "pipeline": self.rest_pipeline(&build.pipeline),
        });
        if with_jobs {
            let blocks = build.order.iter().filter(|step| self.block(**step).is_some());
            let jobs = self
                .jobs_of_build(key)
                .into_iter()
                .map(|job| self.rest_job(now, job));
            let triggers = build.order.iter().flat_map(|step| {
                let count = self.trigger(*step).map_or(0, |trigger| trigger.jobs.len());
                (0..count).map(|index| self.rest_trigger((*step, index)))
            });
            shown["jobs"] = jobs
                .chain(blocks.map(|step| self.rest_block(*step)))
                .chain(triggers)
                .collect();
        }
        shown
    }

    /// All jobs of a build, retried ones beside their retries, in the order of the steps.
    pub(super) fn jobs_of_build(&self, key: BuildKey) -> Vec<JobKey> {
        let current = self.builds[key.0]
            .order
            .iter()
            .flat_map(|step| &self.steps[step.0].jobs);
        current
            .flat_map(|job| {
                let mut chain: Vec<JobKey> =
                    std::iter::successors(Some(*job), |job| self.jobs[job.0].retry_of).collect();
                chain.reverse();
                chain
            })
            .collect()
    }

    /// An agent; with the job it runs, where wanted.
    pub(super) fn rest_agent(&self, now: Now, key: AgentKey, with_job: bool) -> Value {
        let agent = &self.agents[key.0];
        let own = self.rest_url(&format!("/agents/{}", agent.uuid));
        let (cluster, queue) = (self.clusters[agent.cluster].uuid, &self.queues[agent.queue.0]);
        let ended = |state: AgentState| agent.ended_at.filter(|_| agent.state == state).map(rfc3339);
        let pause = self.agent_pause(now, key);
        let mut shown = json!({
            "id": agent.uuid,
            "graphql_id": node_id("Agent", agent.uuid),
            "url": own,
            "web_url": format!("{}/organizations/{}/clusters/{cluster}/queues/{}/agents/{}", self.config.base_url, self.config.organization, queue.uuid, agent.uuid),
            "name": agent.name,
            "connection_state": self.connection_state(key),
            "hostname": agent.hostname,
            "ip_address": agent.ip_address,
            "user_agent": agent.user_agent(),
            "version": agent.version,
            "os_id": Some(&agent.os).filter(|os| !os.is_empty()),
            "arch": Some(&agent.arch).filter(|arch| !arch.is_empty()),
            "queue": queue.key,
            "creator": null,
            "created_at": rfc3339(agent.registered_at),
            "connected_at": (agent.state != AgentState::Registered).then(|| rfc3339(agent.registered_at)),
            "disconnected_at": ended(AgentState::Disconnected),
            "lost_at": ended(AgentState::Lost),
            "stopped_at": ended(AgentState::Disconnected).filter(|_| agent.stopping),
            "paused": pause.is_some(),
            "paused_at": pause.map(|(pause, _)| rfc3339(pause.at)),
            "paused_by": pause.map(|_| self.rest_user(0)),
            "paused_note": pause.and_then(|(pause, _)| pause.note.clone()),
            "paused_timeout_in_minutes": pause.map(|(_, minutes)| minutes),
            "last_job_finished_at": null,
            "priority": null,
            "meta_data": agent.tags,
        });
        if with_job {
            shown["job"] = agent.job.map(|job| self.rest_job(now, job)).into();
        }
        shown
    }

    /// The API's state of an agent's connection.
    pub(super) fn connection_state(&self, key: AgentKey) -> &'static str {
        let agent = &self.agents[key.0];
        match agent.state {
            AgentState::Registered => "never_connected",
            AgentState::Connected if agent.stopping => "stopping",
            AgentState::Connected => "connected",
            AgentState::Disconnected if agent.stopping => "stopped",
            AgentState::Disconnected => "disconnected",
            AgentState::Lost => "lost",
        }
    }

    pub(super) fn rest_annotation(&self, note: &Annotation, with_body: bool) -> Value {
        let job = note.jobs.first().filter(|_| note.scope == "job");
        let mut shown = json!({
            "id": note.uuid,
            "context": note.context,
            "style": note.style,
            "scope": note.scope,
            "job_id": job.map(|job| self.jobs[job.0].uuid),
            "priority": note.priority,
            "created_at": rfc3339(note.created_at),
            "updated_at": rfc3339(note.updated_at),
        });
        if with_body {
            shown["body_html"] = markdown::html(&note.body).into();
        }
        shown
    }

    /// Remembers that a build began to fail, once. True the first time.
    pub(super) fn begins_to_fail(&mut self, now: Now, key: BuildKey) -> bool {
        let build = &mut self.builds[key.0];
        let first = build.failing_at.is_none() && build.state == BuildState::Running;
        if first {
            build.failing_at = Some(now.unix_ns);
        }
        first
    }
}
