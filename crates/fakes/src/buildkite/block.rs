//! Block and input steps: what waits for a person.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::build::{Block, StepKind, StepState};
use super::ids::{BuildKey, Refusal, StepKey};
use super::model::Model;
use super::pipeline::{BlockPlan, Head, text};
use super::wire::graphql::node_id;
use crate::event::{Effects, Event, Host};
use crate::now::Now;
use crate::stamp::rfc3339;

impl Model {
    pub(super) fn push_block(&mut self, build: BuildKey, head: Head, plan: BlockPlan) -> StepKey {
        let behind = self.jobs.len();
        let block = Block {
            plan,
            job: Uuid::nil(),
            behind,
            unblocked_at: None,
        };
        let key = self.push_step(build, head, StepKind::Block(Box::new(block)));
        let job = Uuid::new_v5(&self.steps[key.0].uuid, b"job");
        if let StepKind::Block(block) = &mut self.steps[key.0].kind {
            block.job = job;
        }
        self.blocks.insert(job, key);
        key
    }

    pub(super) fn block(&self, key: StepKey) -> Option<&Block> {
        match &self.steps[key.0].kind {
            StepKind::Block(block) => Some(block),
            _ => None,
        }
    }

    pub(super) fn tell_block(&self, key: StepKey, kind: &'static str, out: &mut Effects) {
        let step = &self.steps[key.0];
        let job = self.block(key).map(|block| block.job.to_string());
        out.push(
            Event::new(Host::Buildkite, kind)
                .with("build", self.builds[step.build.0].number)
                .with("key", step.key.clone())
                .with("job", job),
        );
    }

    /// The state of the job of a block step.
    pub(super) fn block_state(&self, key: StepKey) -> &'static str {
        match self.steps[key.0].state {
            StepState::Waiting => "waiting",
            StepState::Ready => "blocked",
            StepState::Passed | StepState::Failed => "unblocked",
            StepState::NotRun => "blocked_failed",
            StepState::Ignored => "broken",
        }
    }

    /// A person lets a block or input step pass; the values of its fields become meta-data of the build.
    pub fn unblock(
        &mut self,
        now: Now,
        job: Uuid,
        values: &Map<String, Value>,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(&key) = self.blocks.get(&job) else {
            return Err(match self.jobs_by_uuid.contains_key(&job) {
                true => Refusal::bad("This job type cannot be unblocked"),
                false => Refusal::not_found("job"),
            });
        };
        let build = self.steps[key.0].build;
        match self.steps[key.0].state {
            StepState::Ready => {}
            StepState::NotRun if self.builds[build.0].canceled_at.is_some() => {
                return Err(Refusal::unprocessable(
                    "Jobs from canceled builds cannot be unblocked",
                ));
            }
            _ => {
                let state = self.block_state(key).replace('_', " ");
                return Err(Refusal::unprocessable(format!(
                    "A {state} job cannot be unblocked"
                )));
            }
        }
        let fields = self
            .block(key)
            .map(|block| block.plan.fields.clone())
            .unwrap_or_default();
        if let Some(unknown) = values
            .keys()
            .find(|name| !fields.iter().any(|(key, _)| key == *name))
        {
            return Err(Refusal::unprocessable(format!(
                "The step has no field {unknown:?}"
            )));
        }
        if let Some((missing, _)) = fields
            .iter()
            .find(|(key, required)| *required && !values.contains_key(key))
        {
            return Err(Refusal::unprocessable(format!(
                "The field {missing:?} is required"
            )));
        }
        for (name, value) in values {
            let value = text(value).unwrap_or_else(|| value.to_string());
            self.builds[build.0].meta_data.insert(name.clone(), value);
        }
        if let StepKind::Block(block) = &mut self.steps[key.0].kind {
            block.unblocked_at = Some(now.unix_ns);
        }
        self.tell_block(key, "step.unblocked", out);
        self.tell_activated(now, key, out);
        self.close_step(key);
        self.complete_steps(now, vec![key], out);
        self.fill_groups(now, out);
        self.end_build_if_done(now, build, out);
        Ok(())
    }

    /// The blocks of a build that is being canceled wait no longer.
    pub(super) fn close_blocks(&mut self, now: Now, build: BuildKey, out: &mut Effects) {
        for step in self.builds[build.0].order.clone() {
            let open = !self.steps[step.0].state.is_done();
            if open && self.block(step).is_some() {
                self.do_not_run(now, step, out);
                self.complete_steps(now, vec![step], out);
            }
        }
    }

    /// Whether the build waits for a person, and for nothing else.
    pub(super) fn is_blocked(&self, build: BuildKey) -> Option<&'static str> {
        let steps = self.builds[build.0].order.iter().map(|step| &self.steps[step.0]);
        if steps
            .clone()
            .any(|step| step.state == StepState::Ready && step.open_jobs > 0)
        {
            return None;
        }
        let mut blocked = steps.filter(|step| step.state == StepState::Ready);
        blocked.find_map(|step| match &step.kind {
            StepKind::Block(block) => Some(block.plan.blocked_state),
            _ => None,
        })
    }

    /// The job of a block step as the REST API shows it.
    pub(super) fn rest_block(&self, key: StepKey) -> Value {
        let step = &self.steps[key.0];
        let (job, at) = self
            .block(key)
            .map(|block| (block.job, block.unblocked_at))
            .unwrap_or_default();
        let build = &self.builds[step.build.0];
        json!({
            "id": job,
            "graphql_id": node_id("Job", job),
            "type": "manual",
            "label": step.label,
            "step_key": step.key,
            "state": self.block_state(key),
            "web_url": format!("{}#{job}", self.build_url(build)),
            "unblocked_by": at.map(|_| self.rest_user(0)),
            "unblocked_at": at.map(rfc3339),
            "unblockable": step.state == StepState::Ready,
            "unblock_url": self.rest_url(&format!("/pipelines/{}/builds/{}/jobs/{job}/unblock", build.pipeline, build.number)),
        })
    }
}
