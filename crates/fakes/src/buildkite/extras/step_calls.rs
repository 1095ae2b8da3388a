//! What a job can do to steps and its build: read and write attributes, cancel.

use serde_json::Value;
use uuid::Uuid;

use crate::buildkite::build::{StepKind, StepState};
use crate::buildkite::ids::{BuildKey, JobKey, Refusal, StepKey};
use crate::buildkite::model::Model;
use crate::event::Effects;
use crate::now::Now;

impl Model {
    /// A step of the job's build, by key or UUID.
    fn step_named(&self, build: BuildKey, name: &str) -> Result<StepKey, Refusal> {
        let build = &self.builds[build.0];
        build
            .keys
            .get(name)
            .or_else(|| {
                build
                    .order
                    .iter()
                    .find(|step| self.steps[step.0].uuid.to_string() == name)
            })
            .copied()
            .ok_or_else(|| Refusal::not_found("step"))
    }

    fn build_for_step_call(&self, token: &str, build: Option<Uuid>) -> Result<BuildKey, Refusal> {
        match build {
            Some(build) => Ok(self.build_of_token(token, build)?.0),
            None => Ok(self.jobs[self.any_job_of_token(token)?.0].build),
        }
    }

    /// One attribute of a step as text, or all of them as JSON.
    pub fn step_attribute(
        &self,
        token: &str,
        build: Option<Uuid>,
        step: &str,
        attribute: Option<&str>,
    ) -> Result<String, Refusal> {
        let build = self.build_for_step_call(token, build)?;
        let key = self.step_named(build, step)?;
        let step = &self.steps[key.0];
        let all = self.attributes_of(key);
        match attribute.filter(|attribute| !attribute.is_empty()) {
            None => Ok(Value::Object(all).to_string()),
            Some(name) => match all.get(name) {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(Value::Null) => Ok(String::new()),
                Some(value) => Ok(value.to_string()),
                None => Err(Refusal::unprocessable(format!(
                    "The attribute {name:?} does not exist on the step {}",
                    step.key.as_deref().unwrap_or("without a key")
                ))),
            },
        }
    }

    fn attributes_of(&self, key: StepKey) -> serde_json::Map<String, Value> {
        let step = &self.steps[key.0];
        let (state, outcome) = match step.state {
            StepState::Waiting => ("waiting_for_dependencies", "neutral"),
            StepState::Ready => ("ready", "neutral"),
            StepState::Passed => ("finished", "passed"),
            StepState::Failed => ("finished", "hard_failed"),
            StepState::NotRun => ("finished", "errored"),
            StepState::Ignored => ("ignored", "neutral"),
        };
        let mut all = serde_json::Map::new();
        all.insert("id".into(), step.uuid.to_string().into());
        all.insert("key".into(), step.key.clone().into());
        all.insert("label".into(), step.label.clone().into());
        all.insert("state".into(), state.into());
        all.insert("outcome".into(), outcome.into());
        let kind = match &step.kind {
            StepKind::Command(plan) => {
                all.insert("command".into(), plan.command.clone().into());
                all.insert("agents".into(), plan.rules.clone().into());
                all.insert("priority".into(), plan.priority.into());
                "command"
            }
            StepKind::Wait => "wait",
            StepKind::Group => "group",
            StepKind::Block(block) if block.plan.input => "input",
            StepKind::Block(_) => "block",
            StepKind::Trigger(_) => "trigger",
        };
        all.insert("type".into(), kind.into());
        all.extend(
            step.attributes
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into())),
        );
        all
    }

    /// Changes an attribute of a step.
    pub fn update_step(
        &mut self,
        token: &str,
        build: Option<Uuid>,
        step: &str,
        (attribute, value): (&str, &str),
        append: bool,
    ) -> Result<(), Refusal> {
        let build = self.build_for_step_call(token, build)?;
        let key = self.step_named(build, step)?;
        let step = &mut self.steps[key.0];
        let before = match attribute {
            "label" => step.label.clone(),
            "priority" | "notify" => step.attributes.get(attribute).cloned(),
            _ => {
                return Err(Refusal::unprocessable(format!(
                    "The attribute {attribute:?} cannot be changed"
                )));
            }
        };
        let value = if append {
            format!("{}{value}", before.unwrap_or_default())
        } else {
            value.to_owned()
        };
        match attribute {
            "label" => step.label = Some(value),
            "priority" => {
                let priority: i64 = value
                    .parse()
                    .map_err(|_| Refusal::unprocessable("priority must be an integer"))?;
                let jobs = step.jobs.clone();
                step.attributes.insert(attribute.into(), value);
                for job in jobs {
                    self.jobs[job.0].priority = priority;
                }
            }
            _ => {
                step.attributes.insert(attribute.into(), value);
            }
        }
        Ok(())
    }

    /// Cancels the jobs of a step; the UUID of the step.
    pub fn cancel_step(
        &mut self,
        now: Now,
        token: &str,
        build: Option<Uuid>,
        step: &str,
        out: &mut Effects,
    ) -> Result<Uuid, Refusal> {
        let build = self.build_for_step_call(token, build)?;
        let key = self.step_named(build, step)?;
        let jobs: Vec<JobKey> = self.steps[key.0].jobs.clone();
        for job in jobs {
            self.stop_job(now, job, "step canceled by a job", out);
        }
        Ok(self.steps[key.0].uuid)
    }

    /// A job cancels its own build; the UUID of the build.
    pub fn cancel_build_from_job(
        &mut self,
        now: Now,
        token: &str,
        build: Uuid,
        out: &mut Effects,
    ) -> Result<Uuid, Refusal> {
        let (key, _) = self.build_of_token(token, build)?;
        let number = self.builds[key.0].number;
        self.cancel_build(now, number, out)?;
        Ok(build)
    }
}
