//! Trigger steps as they are seen: states, REST, and the environment of the builds they made.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::buildkite::build::{Build, StepState};
use crate::buildkite::ids::StepKey;
use crate::buildkite::job::State;
use crate::buildkite::model::Model;
use crate::buildkite::wire::graphql::node_id;
use crate::stamp::rfc3339;

impl Model {
    /// The state of a job of a trigger step.
    pub(in crate::buildkite) fn trigger_state(&self, (key, index): (StepKey, usize)) -> State {
        let job = self.trigger(key).and_then(|trigger| trigger.jobs.get(index));
        let ended = job.and_then(|job| job.end);
        match (ended, self.steps[key.0].state) {
            (Some(end), _) => end,
            (None, StepState::Ignored) => State::Broken,
            (None, StepState::NotRun) => State::WaitingFailed,
            (None, StepState::Waiting) => State::Waiting,
            (None, _) if job.is_some_and(|job| job.build.is_some()) => State::Running,
            (None, _) => State::Scheduled,
        }
    }

    /// The environment that tells which build triggered this one; empty where none did.
    pub(in crate::buildkite) fn origin_env(&self, build: &Build) -> [(&'static str, String); 4] {
        let from = build.from.and_then(|(step, index)| {
            let job = self.trigger(step)?.jobs.get(index)?.uuid;
            Some((&self.builds[self.steps[step.0].build.0], job))
        });
        let of = |value: &dyn Fn(&Build, Uuid) -> String| {
            from.map_or(String::new(), |(build, job)| value(build, job))
        };
        [
            (
                "BUILDKITE_TRIGGERED_FROM_BUILD_ID",
                of(&|build, _| build.uuid.to_string()),
            ),
            (
                "BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER",
                of(&|build, _| build.number.to_string()),
            ),
            (
                "BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG",
                of(&|build, _| build.pipeline.clone()),
            ),
            (
                "BUILDKITE_TRIGGERED_FROM_BUILD_JOB_ID",
                of(&|_, job| job.to_string()),
            ),
        ]
    }

    /// The state in the words of the REST API.
    pub(in crate::buildkite) fn trigger_word(&self, at: (StepKey, usize)) -> &'static str {
        let passed = self
            .trigger(at.0)
            .is_some_and(|trigger| trigger.jobs[at.1].passed);
        match self.trigger_state(at) {
            State::Finished if passed => "passed",
            State::Finished => "failed",
            state => state.name(),
        }
    }

    /// A job of a trigger step as the REST API shows it.
    pub(in crate::buildkite) fn rest_trigger(&self, at: (StepKey, usize)) -> Value {
        let step = &self.steps[at.0.0];
        let build = &self.builds[step.build.0];
        let Some(trigger) = self.trigger(at.0) else {
            return Value::Null;
        };
        let job = &trigger.jobs[at.1];
        let triggered = job.build.map(|build| {
            let build = &self.builds[build.0];
            let url = self.rest_url(&format!("/pipelines/{}/builds/{}", build.pipeline, build.number));
            json!({"id": build.uuid, "number": build.number, "url": url, "web_url": self.build_url(build)})
        });
        json!({
            "id": job.uuid,
            "graphql_id": node_id("Job", job.uuid),
            "type": "trigger",
            "name": step.label,
            "step_key": step.key,
            "state": self.trigger_word(at),
            "broken_reason": step.omitted,
            "async": trigger.plan.asynchronous,
            "soft_failed": job.end == Some(State::Finished) && !job.passed && trigger.plan.soft_fail,
            "web_url": format!("{}#{}", self.build_url(build), job.uuid),
            "created_at": rfc3339(build.created_at),
            "scheduled_at": rfc3339(build.created_at),
            "runnable_at": job.runnable_at.map(rfc3339),
            "started_at": job.started_at.map(rfc3339),
            "finished_at": job.finished_at.map(rfc3339),
            "triggered_build": triggered,
        })
    }
}
