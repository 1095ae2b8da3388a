//! How jobs end, are cancelled and are retried.

use std::time::Duration;

use uuid::Uuid;

use super::build::{BuildState, StepKind};
use super::ids::{JobKey, Refusal};
use super::job::State;
use super::model::Model;
use super::pipeline::{Combination, CommandPlan, Ended};
use super::timeline::What;
use crate::event::{Effects, Event, Host};
use crate::now::Now;

/// The end of a job.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) state: State,
    /// As text, as it came.
    pub(super) exit_status: Option<String>,
    pub(super) signal: Option<String>,
    pub(super) signal_reason: Option<String>,
    /// `agent`, `stack` or `server`.
    pub(super) by: &'static str,
    pub(super) detail: Option<String>,
    pub(super) cause: String,
}

impl End {
    pub(super) fn by_server(state: State, cause: &str) -> Self {
        Self {
            state,
            exit_status: None,
            signal: None,
            signal_reason: None,
            by: "server",
            detail: None,
            cause: cause.to_owned(),
        }
    }
}

impl Model {
    /// Ends a job: once, whoever says so. Applies retry rules, then tells the step.
    pub(super) fn end_job(&mut self, now: Now, key: JobKey, end: End, out: &mut Effects) {
        if let Some((_, name)) = self.group_of(self.jobs[key.0].step)
            && let Some(group) = self.groups.get_mut(&name)
        {
            group.waiting.remove(&key);
        }
        let job = &mut self.jobs[key.0];
        job.exit_status = end.exit_status;
        job.signal = end.signal;
        job.signal_reason = end.signal_reason;
        job.ended = Some(now.since_start);
        job.finished_at = Some(now.unix_ns);
        job.reservation = None;
        let agent = job.agent;
        if let Some(agent) = agent {
            self.agents[agent.0].job = None;
        }
        if let (Some(detail), "stack") = (&end.detail, end.by) {
            self.jobs[key.0].remember(now, What::StackEnded(detail.as_str().into()));
        }
        self.set_state(now, key, end.state, &end.cause, out);
        self.tell_end(key, end.by, end.detail, out);
        let (step, build) = (self.jobs[key.0].step, self.jobs[key.0].build);
        if !self.retry_by_rule(now, key, out) {
            let failed =
                matches!(self.jobs[key.0].state, State::Finished | State::TimedOut) && !self.is_green(key);
            if failed && self.begins_to_fail(now, build) {
                self.tell_build(now, build, "build.failing", out);
            }
            self.steps[step.0].open_jobs -= 1;
            if self.steps[step.0].open_jobs == 0 && !self.steps[step.0].state.is_done() {
                self.close_step(step);
                self.complete_steps(now, vec![step], out);
            }
        }
        self.fill_groups(now, out);
        self.end_build_if_done(now, build, out);
    }

    /// The end in the log: once for every job.
    pub(super) fn tell_end(&self, key: JobKey, by: &'static str, detail: Option<String>, out: &mut Effects) {
        let job = &self.jobs[key.0];
        out.push(
            Event::new(Host::Buildkite, "job.finished")
                .with("job", job.uuid.to_string())
                .with("exit_status", job.exit_status.clone())
                .with("signal_reason", job.signal_reason.clone())
                .with("by", by)
                .with("detail", detail)
                .with("state", job.state.name()),
        );
    }

    fn retry_by_rule(&mut self, now: Now, key: JobKey, out: &mut Effects) -> bool {
        let job = &self.jobs[key.0];
        let ended = Ended {
            exit_status: job.exit_status.as_deref().unwrap_or("-1"),
            signal: job.signal.as_deref(),
            signal_reason: job.signal_reason.as_deref(),
        };
        let failed = matches!(job.state, State::Finished | State::TimedOut) && ended.exit_status != "0";
        if !failed || self.build_of(key).state != BuildState::Running {
            return false;
        }
        let Some((rule, limit)) = self.plan_of(key).and_then(|plan| plan.retry.rule_for(ended)) else {
            return false;
        };
        if job.rule_uses.get(&rule).copied().unwrap_or(0) >= limit {
            return false;
        }
        let new = self.replace_job(now, key, "automatic", out);
        *self.jobs[new.0].rule_uses.entry(rule).or_default() += 1;
        true
    }

    pub(super) fn plan_of(&self, key: JobKey) -> Option<&CommandPlan> {
        match (&self.step_of(key).kind, self.combination_of(key)) {
            (_, Some(combination)) => Some(&combination.plan),
            (StepKind::Command(plan), None) => Some(plan),
            (StepKind::Wait | StepKind::Group | StepKind::Block(_) | StepKind::Trigger(_), None) => None,
        }
    }

    /// The values of a matrix that the job is for.
    pub(super) fn combination_of(&self, key: JobKey) -> Option<&Combination> {
        match &self.step_of(key).kind {
            StepKind::Command(plan) => plan.combinations.get(self.jobs[key.0].combination?),
            StepKind::Wait | StepKind::Group | StepKind::Block(_) | StepKind::Trigger(_) => None,
        }
    }

    /// The label of the job's step, with the values of a matrix in it.
    pub(super) fn label_of(&self, key: JobKey) -> Option<&str> {
        match self.combination_of(key) {
            Some(combination) => combination.label.as_deref(),
            None => self.step_of(key).label.as_deref(),
        }
    }

    /// A retry: a new job with a new UUID takes the place of an ended one.
    fn replace_job(&mut self, now: Now, key: JobKey, kind: &'static str, out: &mut Effects) -> JobKey {
        let plan = self.plan_of(key).expect("only command steps have jobs").clone();
        let old = &self.jobs[key.0];
        let (step, place, priority) = (old.step, (old.parallel, old.combination), old.priority);
        let new = self.create_job(now, step, &plan, place, now.unix_ns, Some(key), out);
        let (retries, rule_uses) = (self.jobs[key.0].retries + 1, self.jobs[key.0].rule_uses.clone());
        let job = &mut self.jobs[new.0];
        job.priority = priority;
        job.retries = retries;
        job.rule_uses = rule_uses;
        let old = &mut self.jobs[key.0];
        old.retried_in = Some(new);
        old.retry_kind = Some(kind);
        old.remember(now, What::Retried(new));
        if let Some(place) = self.steps[step.0].jobs.iter_mut().find(|job| **job == key) {
            *place = new;
        }
        self.enlist(now, new, &format!("{kind} retry"), out);
        new
    }

    /// What a person does in the web UI. Returns the new job.
    pub fn retry_job(&mut self, now: Now, job: Uuid, out: &mut Effects) -> Result<Uuid, Refusal> {
        let key = self.job_key(job)?;
        let job = &self.jobs[key.0];
        if !job.state.is_terminal() || job.state.is_left_out() {
            return Err(Refusal::unprocessable(format!(
                "A {} job cannot be retried",
                job.state.name()
            )));
        }
        if job.retried_in.is_some() {
            return Err(Refusal::unprocessable("The job was already retried"));
        }
        let build = job.build;
        if self.has_canceled_parent(build) {
            return Err(Refusal::unprocessable(
                "This job can't be retried because this build was triggered by a synchronous trigger step in a canceled build",
            ));
        }
        if self.builds[build.0].canceled_at.is_some() {
            return Err(Refusal::unprocessable(
                "Jobs from canceled builds cannot be retried",
            ));
        }
        let retry = &self.plan_of(key).expect("only command steps have jobs").retry;
        let passed = job.exit_status.as_deref() == Some("0");
        if passed && !retry.manual_on_passed {
            return Err(Refusal::bad(
                "Only failed, timed out or canceled jobs can be retried",
            ));
        }
        if !retry.manual_allowed {
            let reason = retry
                .manual_reason
                .clone()
                .unwrap_or_else(|| "The step does not permit it".into());
            return Err(Refusal::unprocessable(format!(
                "The job cannot be retried: {reason}"
            )));
        }
        let step = self.jobs[key.0].step;
        self.builds[build.0].state = BuildState::Running;
        self.builds[build.0].finished_at = None;
        if self.steps[step.0].state.is_done() {
            self.reopen_step(now, step, out);
        }
        self.steps[step.0].open_jobs += 1;
        self.reopen_parents(now, build, out);
        let new = self.replace_job(now, key, "manual", out);
        Ok(self.jobs[new.0].uuid)
    }

    /// What a person does in the web UI: `canceled` at once, or `canceling` until the agent has ended it.
    pub fn cancel_job(&mut self, now: Now, job: Uuid, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.job_key(job)?;
        let state = self.jobs[key.0].state;
        if state.is_terminal() || state == State::Canceling {
            return Err(Refusal::unprocessable(format!(
                "A {} job cannot be canceled",
                state.name()
            )));
        }
        self.jobs[key.0].remember(now, What::CancelAsked);
        self.stop_job(now, key, "canceled", out);
        Ok(())
    }

    pub(super) fn stop_job(&mut self, now: Now, key: JobKey, cause: &str, out: &mut Effects) {
        match self.jobs[key.0].state {
            State::Accepted | State::Running | State::TimingOut => {
                self.set_state(now, key, State::Canceling, cause, out);
                self.await_cancel(now, key);
            }
            state if state.is_terminal() || state == State::Canceling => {}
            _ => self.end_job(now, key, End::by_server(State::Canceled, cause), out),
        }
    }

    /// Steps behind the uploading one that have not begun go away (`pipeline upload --replace`).
    pub(super) fn drop_later_steps(&mut self, now: Now, job: JobKey, out: &mut Effects) {
        let (step, build) = (self.jobs[job.0].step, self.jobs[job.0].build);
        let order = &self.builds[build.0].order;
        let from = order
            .iter()
            .position(|other| *other == step)
            .map_or(order.len(), |at| at + 1);
        let jobs: Vec<JobKey> = order[from..]
            .iter()
            .flat_map(|step| self.steps[step.0].jobs.clone())
            .collect();
        for job in jobs {
            let state = self.jobs[job.0].state;
            if !state.is_terminal() && !state.is_with_agent() {
                self.end_job(
                    now,
                    job,
                    End::by_server(State::Canceled, "replaced by an upload"),
                    out,
                );
            }
        }
    }

    /// Changes a job's priority: `PUT /jobs/{uuid}/priority` of the control surface.
    pub fn reprioritize(
        &mut self,
        now: Now,
        job: Uuid,
        priority: i64,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_key(job)?;
        let job = &mut self.jobs[key.0];
        if job.state.is_terminal() || job.state.is_with_agent() {
            return Err(Refusal::unprocessable(format!(
                "A {} job cannot be reprioritized",
                job.state.name()
            )));
        }
        let from = std::mem::replace(&mut job.priority, priority);
        job.remember(now, What::Reprioritized(from, priority));
        out.push(
            Event::new(Host::Buildkite, "job.reprioritized")
                .with("job", job.uuid.to_string())
                .with("from", from)
                .with("to", priority),
        );
        Ok(())
    }

    /// The job leaves its agent without an end: its token dies, its agent is free.
    pub(super) fn release_from_agent(&mut self, key: JobKey) {
        let job = &mut self.jobs[key.0];
        if let Some(token) = job.token.take() {
            self.job_tokens.remove(&token);
        }
        job.accepted_until = None;
        if let Some(agent) = job.agent.take() {
            self.agents[agent.0].job = None;
        }
    }

    pub(super) fn seconds(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.into())
    }
}
