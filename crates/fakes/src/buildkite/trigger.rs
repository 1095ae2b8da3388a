//! Trigger steps: what waits for a build of another pipeline.
//!
//! Facts (docs: `pipelines/configure/step-types/trigger-step`): the message of the build is the step's label, its branch the
//! other pipeline's default one, unless the step says otherwise; the environment is not passed on; chains of triggered
//! builds have an end; pipelines of one cluster do not trigger those of another. A build is made a moment after the step
//! is ready, and followed a moment after it ended, so that no build changes while another one does.

mod shown;

use uuid::Uuid;

use super::build::{BuildState, StepKind, StepState, Trigger, TriggerJob};
use super::create::Asked;
use super::due::Due;
use super::ids::{BuildKey, Refusal, StepKey};
use super::job::State;
use super::model::Model;
use super::pipeline::{Head, TriggerPlan};
use crate::event::{Effects, Event, Host};
use crate::now::Now;

impl Model {
    pub(super) fn push_trigger(&mut self, build: BuildKey, head: Head, plan: TriggerPlan) -> StepKey {
        let behind = self.jobs.len();
        let count = plan.parallelism.unwrap_or(1);
        let trigger = Trigger {
            plan,
            behind,
            jobs: Vec::new(),
        };
        let key = self.push_step(build, head, StepKind::Trigger(Box::new(trigger)));
        let uuid = self.steps[key.0].uuid;
        self.steps[key.0].open_jobs = count as usize;
        for index in 0..count {
            let job = TriggerJob {
                uuid: Uuid::new_v5(&uuid, format!("job {index}").as_bytes()),
                build: None,
                end: None,
                passed: false,
                runnable_at: None,
                started_at: None,
                finished_at: None,
            };
            self.triggers.insert(job.uuid, (key, index as usize));
            if let StepKind::Trigger(trigger) = &mut self.steps[key.0].kind {
                trigger.jobs.push(job);
            }
        }
        key
    }

    pub(super) fn trigger(&self, key: StepKey) -> Option<&Trigger> {
        match &self.steps[key.0].kind {
            StepKind::Trigger(trigger) => Some(trigger),
            _ => None,
        }
    }

    fn trigger_job(&mut self, (key, index): (StepKey, usize)) -> Option<&mut TriggerJob> {
        match &mut self.steps[key.0].kind {
            StepKind::Trigger(trigger) => trigger.jobs.get_mut(index),
            _ => None,
        }
    }

    /// All it waited for is done. The builds are made when the present call is over.
    pub(super) fn open_trigger(&mut self, now: Now, key: StepKey, out: &mut Effects) {
        let Some(Trigger { plan, jobs, .. }) = self.trigger(key) else {
            return;
        };
        let (skip, count) = (plan.skip, jobs.len());
        for index in 0..count {
            if skip {
                self.close_trigger_job(now, (key, index), (State::Skipped, true), None, out);
            } else if let Some(job) = self.trigger_job((key, index)) {
                job.runnable_at = Some(now.unix_ns);
            }
        }
        if !skip {
            self.at(now.since_start, Due::Trigger(key));
        }
    }

    /// Makes the builds of a trigger step.
    pub(super) fn fire_trigger(&mut self, now: Now, key: StepKey, out: &mut Effects) {
        let count = self.trigger(key).map_or(0, |trigger| trigger.jobs.len());
        let parent = self.steps[key.0].build;
        for index in 0..count {
            let at = (key, index);
            if self.trigger_state(at) != State::Scheduled || self.steps[key.0].state != StepState::Ready {
                continue;
            }
            if let Some(job) = self.trigger_job(at) {
                job.started_at = Some(now.unix_ns);
            }
            if self.builds[parent.0].started_at.is_none() {
                self.builds[parent.0].started_at = Some(now.unix_ns);
                self.tell_build(now, parent, "build.running", out);
            }
            match self.make_triggered(now, at, out) {
                Err(refusal) => {
                    let end = (State::Finished, false);
                    self.end_trigger_job(now, at, end, Some(refusal.message), out);
                }
                Ok(build) => {
                    let number = self.builds[build.0].number;
                    if let Some(job) = self.trigger_job(at) {
                        job.build = Some(build);
                    }
                    out.push(self.step_event("step.triggered", at).with("triggered", number));
                    if self.trigger(key).is_some_and(|trigger| trigger.plan.asynchronous) {
                        self.end_trigger_job(now, at, (State::Finished, true), None, out);
                    }
                }
            }
        }
    }

    fn make_triggered(
        &mut self,
        now: Now,
        (key, index): (StepKey, usize),
        out: &mut Effects,
    ) -> Result<BuildKey, Refusal> {
        let step = &self.steps[key.0];
        let StepKind::Trigger(trigger) = &step.kind else {
            return Err(Refusal::not_found("trigger step"));
        };
        let (plan, parent) = (trigger.plan.clone(), &self.builds[step.build.0]);
        let limit = self.limits.trigger_depth;
        if self.ancestors(step.build).count() >= limit {
            return Err(Refusal::unprocessable(format!(
                "A chain of triggered builds can have at most {limit} builds"
            )));
        }
        let stored = self.stored.get(&plan.pipeline);
        if stored.is_some_and(|stored| stored.cluster != parent.cluster) {
            return Err(Refusal::unprocessable(
                "A pipeline cannot trigger one of another cluster",
            ));
        }
        let mut env = plan.env;
        if let Some(count) = plan.parallelism {
            env.insert("BUILDKITE_PARALLEL_JOB".into(), index.to_string());
            env.insert("BUILDKITE_PARALLEL_JOB_COUNT".into(), count.to_string());
        }
        let asked = Asked {
            branch: plan.branch.unwrap_or_default(),
            commit: plan.commit.unwrap_or_default(),
            message: plan.message.or_else(|| step.label.clone()),
            env,
            meta_data: plan.meta_data,
            priority: 0,
            author: serde_json::Value::Null,
            from: Some((key, index)),
        };
        self.build_stored(now, &plan.pipeline, asked, out)
    }

    /// A build, the one that triggered it, the one that triggered that, and so on.
    fn ancestors(&self, build: BuildKey) -> impl Iterator<Item = BuildKey> {
        std::iter::successors(Some(build), move |build| {
            let (step, _) = self.builds[build.0].from?;
            Some(self.steps[step.0].build)
        })
    }

    /// A build ended: so does the job that waits for it, if it was triggered.
    pub(super) fn follow(&mut self, now: Now, build: BuildKey, out: &mut Effects) {
        let Some(at) = self.builds[build.0].from else {
            return;
        };
        if self.trigger_state(at) != State::Running {
            return;
        }
        let end = match self.builds[build.0].state {
            // It was taken up again meanwhile.
            BuildState::Running | BuildState::Canceling => return,
            BuildState::Passed => (State::Finished, true),
            BuildState::Failed => (State::Finished, false),
            BuildState::Canceled => (State::Canceled, false),
            BuildState::NotRun => (State::Skipped, true),
        };
        self.end_trigger_job(now, at, end, None, out);
    }

    fn end_trigger_job(
        &mut self,
        now: Now,
        at: (StepKey, usize),
        end: (State, bool),
        detail: Option<String>,
        out: &mut Effects,
    ) {
        self.close_trigger_job(now, at, end, detail, out);
        let step = at.0;
        let build = self.steps[step.0].build;
        let red = self.trigger(step).is_some_and(|trigger| !trigger.is_green(at.1));
        if red && self.begins_to_fail(now, build) {
            self.tell_build(now, build, "build.failing", out);
        }
        if self.steps[step.0].open_jobs == 0 && !self.steps[step.0].state.is_done() {
            self.close_step(step);
            self.complete_steps(now, vec![step], out);
        }
        self.fill_groups(now, out);
        self.end_build_if_done(now, build, out);
    }

    /// The end of a job, of which its step is not yet told.
    fn close_trigger_job(
        &mut self,
        now: Now,
        at: (StepKey, usize),
        (end, passed): (State, bool),
        detail: Option<String>,
        out: &mut Effects,
    ) {
        // One that was canceled is over, also when its step is taken up again.
        let Some(job) = self.trigger_job(at).filter(|job| job.end.is_none()) else {
            return;
        };
        job.end = Some(end);
        job.passed = passed;
        job.finished_at = Some(now.unix_ns);
        self.steps[at.0.0].open_jobs -= 1;
        let event = self.step_event("step.ended", at);
        out.push(event.with("state", self.trigger_word(at)).with("detail", detail));
    }

    fn step_event(&self, kind: &'static str, (key, index): (StepKey, usize)) -> Event {
        let step = &self.steps[key.0];
        let job = self.trigger(key).and_then(|trigger| trigger.jobs.get(index));
        Event::new(Host::Buildkite, kind)
            .with("build", self.builds[step.build.0].number)
            .with("key", step.key.clone())
            .with("job", job.map(|job| job.uuid.to_string()))
    }

    /// The trigger steps of a build that is being canceled end, and so do the builds they wait for.
    pub(super) fn close_triggers(&mut self, now: Now, build: BuildKey, out: &mut Effects) {
        let steps = self.builds[build.0].order.iter().copied();
        let open: Vec<StepKey> = steps
            .filter(|step| self.trigger(*step).is_some() && !self.steps[step.0].state.is_done())
            .collect();
        // All of them first, so that none is told that a step it waits for failed.
        for &step in &open {
            for index in 0..self.trigger(step).map_or(0, |trigger| trigger.jobs.len()) {
                self.cancel_trigger_job(now, (step, index), out);
            }
        }
        for step in open {
            if !self.steps[step.0].state.is_done() {
                self.do_not_run(now, step, out);
                self.complete_steps(now, vec![step], out);
            }
        }
    }

    fn cancel_trigger_job(&mut self, now: Now, at: (StepKey, usize), out: &mut Effects) {
        let Some(job) = self.trigger_job(at).filter(|job| job.end.is_none()) else {
            return;
        };
        let triggered = job.build;
        self.close_trigger_job(now, at, (State::Canceled, false), None, out);
        if let Some(build) = triggered {
            // One that ended already is no longer to be canceled.
            let _ = self.cancel_build(now, self.builds[build.0].number, out);
        }
    }

    /// Whether a build that waits for this one was canceled.
    pub(super) fn has_canceled_parent(&self, build: BuildKey) -> bool {
        self.builds[build.0].from.is_some_and(|(step, _)| {
            let waits = self
                .trigger(step)
                .is_some_and(|trigger| !trigger.plan.asynchronous);
            waits && self.builds[self.steps[step.0].build.0].canceled_at.is_some()
        })
    }

    /// A build is taken up again: so is what waited for it, and what waits for that.
    pub(super) fn reopen_parents(&mut self, now: Now, build: BuildKey, out: &mut Effects) {
        let mut child = build;
        while let Some(at) = self.builds[child.0].from {
            let asynchronous = self
                .trigger(at.0)
                .is_some_and(|trigger| trigger.plan.asynchronous);
            let Some(job) = self
                .trigger_job(at)
                .filter(|job| !asynchronous && job.end.is_some())
            else {
                return;
            };
            job.end = None;
            job.passed = false;
            job.finished_at = None;
            self.steps[at.0.0].open_jobs += 1;
            let parent = self.steps[at.0.0].build;
            self.builds[parent.0].state = BuildState::Running;
            self.builds[parent.0].finished_at = None;
            if self.steps[at.0.0].state.is_done() {
                self.reopen_step(now, at.0, out);
            }
            child = parent;
        }
    }
}

impl Trigger {
    /// Whether the job's end leaves its step green.
    pub(super) fn is_green(&self, index: usize) -> bool {
        let job = &self.jobs[index];
        job.end.is_some() && (job.passed || self.plan.soft_fail)
    }
}
