//! Builds: what is checked before there is one, adding uploaded steps, cancelling them, their end.

use indexmap::IndexMap;

use super::build::{Build, BuildState, StepKind, StepState};
use super::due::Due;
use super::ids::{BuildKey, JobKey, QueueKey, Refusal};
use super::job::State;
use super::model::Model;
use super::pipeline::{self, CommandPlan, Pipeline, StepPlan, TriggerPlan};
use crate::event::{Effects, Event, Host};
use crate::now::Now;

impl Model {
    /// Adds the steps of an upload to its build, behind the step of the job that uploaded them.
    pub(super) fn add_uploaded(
        &mut self,
        now: Now,
        job: JobKey,
        pipeline: Pipeline,
        replace: bool,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.jobs[job.0].build;
        self.check_plan(self.builds[key.0].cluster, Some(key), &pipeline)?;
        if replace {
            self.drop_later_steps(now, job, out);
        }
        let build = &mut self.builds[key.0];
        let env: IndexMap<String, String> = pipeline.env;
        build.env.extend(env);
        self.add_steps(now, key, Some(job), pipeline.steps, out);
        Ok(())
    }

    /// Everything about a plan that can be refused, before anything is changed.
    pub(super) fn check_plan(
        &self,
        cluster: usize,
        build: Option<BuildKey>,
        pipeline: &Pipeline,
    ) -> Result<(), Refusal> {
        let mut keys: Vec<&str> = build.map_or_else(Vec::new, |build| {
            self.builds[build.0].keys.keys().map(String::as_str).collect()
        });
        let heads = heads(&pipeline.steps);
        for head in &heads {
            if let Some(key) = &head.key {
                if keys.contains(&key.as_str()) {
                    return Err(Refusal::unprocessable(format!(
                        "The key {key:?} is used by more than one step"
                    )));
                }
                keys.push(key);
            }
        }
        for head in &heads {
            for (on, _) in head.depends_on.iter().flatten() {
                if !keys.contains(&on.as_str()) {
                    return Err(Refusal::unprocessable(format!(
                        "Step dependency not found: {on:?}"
                    )));
                }
            }
        }
        check_cycles(&heads)?;
        let mut jobs = 0;
        for plan in triggers(&pipeline.steps) {
            jobs += plan.parallelism.unwrap_or(1) as usize;
        }
        for plan in commands(&pipeline.steps) {
            jobs += plan.parallelism.unwrap_or(1) as usize;
            self.queue_of_rules(cluster, &plan.rules)?;
        }
        let before = build.map_or(0, |build| self.builds[build.0].jobs);
        if build.is_some() && jobs > self.limits.jobs_per_upload {
            let limit = self.limits.jobs_per_upload;
            return Err(Refusal::unprocessable(format!(
                "An upload can add at most {limit} jobs"
            )));
        }
        if before + jobs > self.limits.jobs_per_build {
            let limit = self.limits.jobs_per_build;
            return Err(Refusal::unprocessable(format!(
                "A build can have at most {limit} jobs"
            )));
        }
        Ok(())
    }

    /// The queue that the rules name; without a `queue` rule the cluster's default one.
    pub(super) fn queue_of_rules(&self, cluster: usize, rules: &[String]) -> Result<QueueKey, Refusal> {
        match rules.iter().find_map(|rule| rule.strip_prefix("queue=")) {
            None => Ok(self.clusters[cluster].default_queue),
            Some(name) => self.queue(cluster, name).ok_or_else(|| {
                let cluster = &self.clusters[cluster].name;
                Refusal::unprocessable(format!(
                    "The queue {name:?} does not exist in the cluster {cluster:?}"
                ))
            }),
        }
    }

    /// What a person does in the web UI: all jobs of the build end.
    pub fn cancel_build(&mut self, now: Now, number: u64, out: &mut Effects) -> Result<(), Refusal> {
        let Some(build) = self.build(number) else {
            return Err(Refusal::not_found("build"));
        };
        if build.state != BuildState::Running {
            return Err(Refusal::unprocessable(format!(
                "A {} build cannot be canceled",
                build.state.name()
            )));
        }
        let key = BuildKey(number as usize - 1);
        self.builds[key.0].state = BuildState::Canceling;
        self.builds[key.0].canceled_at = Some(now.unix_ns);
        let mut jobs: Vec<JobKey> = self.builds[key.0]
            .order
            .iter()
            .flat_map(|step| self.steps[step.0].jobs.iter().copied())
            .collect();
        // Waiting jobs first, so that none of them is told that a step it waits for failed.
        jobs.sort_by_key(|job| !matches!(self.jobs[job.0].state, State::Waiting | State::Limited));
        for job in jobs {
            if !self.jobs[job.0].state.is_terminal() {
                self.stop_job(now, job, "build canceled", out);
            }
        }
        self.close_blocks(now, key, out);
        self.close_triggers(now, key, out);
        self.end_build_if_done(now, key, out);
        Ok(())
    }

    /// Whether all steps of a build that could do something were left out or skipped.
    fn ran_nothing(&self, build: &Build) -> bool {
        let mut doers = build
            .order
            .iter()
            .map(|step| &self.steps[step.0])
            .filter(|step| !matches!(step.kind, StepKind::Wait | StepKind::Group))
            .peekable();
        doers.peek().is_some()
            && doers.all(|step| {
                let skipped = |job: &JobKey| self.jobs[job.0].state.is_left_out();
                let by_itself = match &step.kind {
                    StepKind::Trigger(trigger) => trigger.plan.skip,
                    _ => !step.jobs.is_empty() && step.jobs.iter().all(skipped),
                };
                step.omitted.is_some() || by_itself
            })
    }

    /// A build that only a person can carry on is told of as finished, and blocked; and once more when it is over.
    fn tell_blocked(&mut self, now: Now, key: BuildKey, out: &mut Effects) {
        let is_blocked = self.builds[key.0].started_at.is_some() && self.is_blocked(key).is_some();
        let told = std::mem::replace(&mut self.builds[key.0].told_blocked, is_blocked);
        if is_blocked && !told {
            self.tell_build(now, key, "build.finished", out);
        }
    }

    /// Ends a build whose steps are all done.
    pub(super) fn end_build_if_done(&mut self, now: Now, key: BuildKey, out: &mut Effects) {
        self.tell_blocked(now, key, out);
        let build = &self.builds[key.0];
        if build.open_steps > 0 || !matches!(build.state, BuildState::Running | BuildState::Canceling) {
            return;
        }
        let with_agent = || {
            build
                .order
                .iter()
                .flat_map(|step| &self.steps[step.0].jobs)
                .any(|job| self.jobs[job.0].state.is_with_agent())
        };
        if build.state == BuildState::Canceling && with_agent() {
            return;
        }
        let failed = build
            .order
            .iter()
            .any(|step| matches!(self.steps[step.0].state, StepState::Failed | StepState::NotRun));
        let state = match build.state {
            BuildState::Canceling => BuildState::Canceled,
            _ if failed => BuildState::Failed,
            _ if self.ran_nothing(build) => BuildState::NotRun,
            _ => BuildState::Passed,
        };
        let build = &mut self.builds[key.0];
        build.state = state;
        build.finished_at = Some(now.unix_ns);
        out.push(
            Event::new(Host::Buildkite, "build.finished")
                .with("build", build.number)
                .with("pipeline", build.pipeline.clone())
                .with("state", state.name())
                .with("took_s", (now.unix_ns - build.created_at) as f64 / 1e9),
        );
        let triggered = build.from.is_some();
        self.tell_build(now, key, "build.finished", out);
        if triggered {
            self.at(now.since_start, Due::Followed(key));
        }
    }
}

fn heads(steps: &[StepPlan]) -> Vec<&pipeline::Head> {
    steps
        .iter()
        .flat_map(|step| match step {
            StepPlan::Group(head, children) => std::iter::once(head).chain(heads(children)).collect(),
            other => vec![other.head()],
        })
        .collect()
}

fn commands(steps: &[StepPlan]) -> Vec<&CommandPlan> {
    steps
        .iter()
        .flat_map(|step| match step {
            StepPlan::Command(_, plan) => plan.each(),
            StepPlan::Wait(..) | StepPlan::Block(..) | StepPlan::Trigger(..) => Vec::new(),
            StepPlan::Group(_, children) => commands(children),
        })
        .collect()
}

fn triggers(steps: &[StepPlan]) -> Vec<&TriggerPlan> {
    steps
        .iter()
        .flat_map(|step| match step {
            StepPlan::Trigger(_, plan) => vec![plan.as_ref()],
            StepPlan::Group(_, children) => triggers(children),
            _ => Vec::new(),
        })
        .collect()
}

/// Refuses steps that wait for each other: nothing of the sort would ever run.
fn check_cycles(heads: &[&pipeline::Head]) -> Result<(), Refusal> {
    let mut open: Vec<(&str, Vec<&str>)> = heads
        .iter()
        .filter_map(|head| {
            let on = head
                .depends_on
                .iter()
                .flatten()
                .map(|(on, _)| on.as_str())
                .collect();
            Some((head.key.as_deref()?, on))
        })
        .collect();
    loop {
        let waiting: Vec<&str> = open.iter().map(|(key, _)| *key).collect();
        let before = open.len();
        open.retain(|(_, on)| on.iter().any(|on| waiting.contains(on)));
        if open.is_empty() {
            return Ok(());
        }
        if open.len() == before {
            return Err(Refusal::unprocessable(format!(
                "The step {:?} waits for itself",
                open[0].0
            )));
        }
    }
}
