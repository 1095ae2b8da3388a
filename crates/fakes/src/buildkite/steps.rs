//! Steps: how they wait for each other, and what happens when one is done.
//!
//! A step counts the steps it waits for that are not done (`pending`). When one is done, its dependents count
//! down; at zero they become ready; at a failure they do not allow, they do not run, and that is passed on.

use super::build::{Link, Step, StepKind, StepState};
use super::ids::{self, BuildKey, JobKey, StepKey};
use super::job::{Job, Log, State};
use super::model::Model;
use super::pipeline::{CommandPlan, Head, StepPlan};
use crate::event::{Effects, Event, Host};
use crate::now::Now;

/// A step between being planned and being linked.
struct Planned {
    key: StepKey,
    depends_on: Option<Vec<(String, bool)>>,
    wait: Option<bool>,
    group: Option<StepKey>,
}

impl Model {
    /// Adds steps to a build: at its end, or behind the step of the job that uploaded them. Returns the jobs.
    pub(super) fn add_steps(
        &mut self,
        now: Now,
        build: BuildKey,
        uploader: Option<JobKey>,
        plans: Vec<StepPlan>,
        out: &mut Effects,
    ) -> Vec<JobKey> {
        let mut planned = Vec::new();
        self.plan_steps(build, None, None, plans, &mut planned);
        let upload_step = uploader.map(|job| self.jobs[job.0].step);
        let order = &mut self.builds[build.0].order;
        let at = upload_step
            .and_then(|step| order.iter().position(|other| *other == step))
            .map_or(order.len(), |at| at + 1);
        order.splice(at..at, planned.iter().map(|step| step.key));
        self.builds[build.0].open_steps += planned.len();
        for step in &planned {
            self.link_step(build, step);
        }
        if let Some(step) = upload_step {
            self.link_uploaded(build, step, at + planned.len(), &planned);
        }
        let scheduled_at = uploader.map_or(now.unix_ns, |job| self.jobs[job.0].scheduled_at);
        let mut jobs = Vec::new();
        for step in &planned {
            jobs.extend(self.create_jobs(now, step.key, scheduled_at, out));
        }
        let mut done = Vec::new();
        for step in &planned {
            // An earlier one of these may have completed this one already.
            if self.steps[step.key.0].state == StepState::Waiting {
                self.settle_new(now, step.key, &mut done, out);
            }
        }
        self.complete_steps(now, done, out);
        jobs
    }

    fn plan_steps(
        &mut self,
        build: BuildKey,
        group: Option<StepKey>,
        group_depends: Option<&Vec<(String, bool)>>,
        plans: Vec<StepPlan>,
        planned: &mut Vec<Planned>,
    ) {
        for plan in plans {
            match plan {
                StepPlan::Command(head, plan) => {
                    let depends_on = joined(head.depends_on.as_ref(), group_depends);
                    let key = self.push_step(build, head, StepKind::Command(plan));
                    planned.push(Planned {
                        key,
                        depends_on,
                        wait: None,
                        group,
                    });
                }
                StepPlan::Wait(head, goes_on) => {
                    let depends_on = head.depends_on.clone();
                    let key = self.push_step(build, head, StepKind::Wait);
                    planned.push(Planned {
                        key,
                        depends_on,
                        wait: Some(goes_on),
                        group,
                    });
                }
                StepPlan::Group(head, children) => {
                    let depends_on = head.depends_on.clone();
                    let key = self.push_step(build, head, StepKind::Group);
                    self.plan_steps(build, Some(key), depends_on.as_ref(), children, planned);
                    // The group comes behind its children: it is done when they are.
                    planned.push(Planned {
                        key,
                        depends_on: Some(Vec::new()),
                        wait: None,
                        group: None,
                    });
                }
            }
        }
    }

    fn push_step(&mut self, build: BuildKey, head: Head, kind: StepKind) -> StepKey {
        let key = StepKey(self.steps.len());
        if let Some(name) = &head.key {
            self.builds[build.0].keys.insert(name.clone(), key);
        }
        self.steps.push(Step {
            uuid: ids::uuid(&mut self.rng),
            build,
            key: head.key,
            label: head.label,
            kind,
            state: StepState::Waiting,
            links: Vec::new(),
            dependents: Vec::new(),
            pending: 0,
            jobs: Vec::new(),
            open_jobs: 0,
            attributes: std::collections::BTreeMap::new(),
        });
        key
    }

    fn link_step(&mut self, build: BuildKey, step: &Planned) {
        if let Some(group) = step.group {
            self.link(group, step.key, false);
        }
        let order = &self.builds[build.0].order;
        let before = order.iter().position(|other| *other == step.key).unwrap_or(0);
        let previous_wait = order[..before]
            .iter()
            .rposition(|other| matches!(self.steps[other.0].kind, StepKind::Wait));
        let on: Vec<(StepKey, bool)> = match (&step.depends_on, step.wait) {
            (Some(names), None) => self.resolve(build, names),
            (None, None) => previous_wait.map(|at| (order[at], false)).into_iter().collect(),
            (names, Some(goes_on)) => {
                let all = order[previous_wait.unwrap_or(0)..before]
                    .iter()
                    .map(|other| (*other, goes_on));
                let named = names.iter().flat_map(|names| self.resolve(build, names));
                all.chain(named).collect()
            }
        };
        for (on, allow_failure) in on {
            self.link(step.key, on, allow_failure);
        }
    }

    fn resolve(&self, build: BuildKey, names: &[(String, bool)]) -> Vec<(StepKey, bool)> {
        let keys = &self.builds[build.0].keys;
        names
            .iter()
            .filter_map(|(name, allow)| Some((*keys.get(name)?, *allow)))
            .collect()
    }

    /// Whatever waits for the step that uploads waits for what it uploaded too; so does the next wait step.
    fn link_uploaded(&mut self, build: BuildKey, uploader: StepKey, behind: usize, planned: &[Planned]) {
        let next_wait = self.builds[build.0].order[behind..]
            .iter()
            .find(|step| matches!(self.steps[step.0].kind, StepKind::Wait))
            .copied();
        let mut waiting = self.steps[uploader.0].dependents.clone();
        waiting.extend(next_wait);
        waiting.retain(|step| {
            self.steps[step.0].state == StepState::Waiting && !planned.iter().any(|new| new.key == *step)
        });
        for step in waiting {
            let allow = self.steps[step.0]
                .links
                .iter()
                .find(|link| link.on == uploader)
                .is_some_and(|link| link.allow_failure);
            for new in planned {
                self.link(step, new.key, allow);
            }
        }
    }

    fn link(&mut self, step: StepKey, on: StepKey, allow_failure: bool) {
        if step == on || self.steps[on.0].dependents.contains(&step) {
            return;
        }
        self.steps[step.0].links.push(Link { on, allow_failure });
        self.steps[on.0].dependents.push(step);
        if !self.steps[on.0].state.is_done() {
            self.steps[step.0].pending += 1;
        }
    }

    fn create_jobs(&mut self, now: Now, step: StepKey, scheduled_at: i128, out: &mut Effects) -> Vec<JobKey> {
        let StepKind::Command(plan) = &self.steps[step.0].kind else {
            return Vec::new();
        };
        let plan: CommandPlan = plan.as_ref().clone();
        let count = plan.parallelism.unwrap_or(1);
        (0..count)
            .map(|index| {
                let parallel = plan.parallelism.map(|count| (index, count));
                let key = self.create_job(now, step, &plan, parallel, scheduled_at, None, out);
                self.steps[step.0].jobs.push(key);
                self.steps[step.0].open_jobs += 1;
                key
            })
            .collect()
    }

    /// A new job, not yet in any state that the log knows of.
    #[expect(
        clippy::too_many_arguments,
        reason = "one private constructor; its callers are beside it"
    )]
    pub(super) fn create_job(
        &mut self,
        now: Now,
        step: StepKey,
        plan: &CommandPlan,
        parallel: Option<(u32, u32)>,
        scheduled_at: i128,
        retry_of: Option<JobKey>,
        out: &mut Effects,
    ) -> JobKey {
        let build_key = self.steps[step.0].build;
        let cluster = self.builds[build_key.0].cluster;
        let queue = self
            .queue_of_rules(cluster, &plan.rules)
            .expect("the queues of a plan were checked before its steps were added");
        let key = JobKey(self.jobs.len());
        let uuid = ids::uuid(&mut self.rng);
        let build = &mut self.builds[build_key.0];
        build.jobs += 1;
        let job = Job {
            uuid,
            build: build_key,
            step,
            queue,
            state: State::Waiting,
            introduced: false,
            rules: plan.rules.clone(),
            priority: plan.priority.unwrap_or(build.priority),
            parallel,
            created_at: now.unix_ns,
            scheduled_at,
            runnable_at: None,
            started_at: None,
            finished_at: None,
            entered: now.since_start,
            ended: None,
            reservation: None,
            agent: None,
            token: None,
            accepted_until: None,
            timeout_at: None,
            timeout_minutes: plan.timeout_minutes,
            cancel_until: None,
            exit_status: None,
            signal: None,
            signal_reason: None,
            chunks_failed: 0,
            promised_failure: None,
            retried_in: None,
            retry_of,
            retries: 0,
            rule_uses: std::collections::BTreeMap::new(),
            retry_kind: None,
            notifications: Vec::new(),
            timeline: Vec::new(),
            log: Log::default(),
        };
        let mut event = Event::new(Host::Buildkite, "job.created")
            .with("build", build.number)
            .with("pipeline", build.pipeline.clone())
            .with("job", uuid.to_string())
            .with("key", self.steps[step.0].key.clone())
            .with("priority", job.priority)
            .with("rules", job.rules.clone());
        if let Some(old) = retry_of {
            event = event.with("retry_of", self.jobs[old.0].uuid.to_string());
        }
        out.push(event);
        self.jobs_by_uuid.insert(uuid, key);
        self.jobs.push(job);
        key
    }

    /// First state of a step that was just linked.
    fn settle_new(&mut self, now: Now, step: StepKey, done: &mut Vec<StepKey>, out: &mut Effects) {
        if self.is_doomed(step) {
            self.do_not_run(now, step, out);
            done.push(step);
        } else if self.steps[step.0].pending == 0 {
            if self.make_ready(now, step, out) {
                done.push(step);
            }
        } else {
            for job in self.steps[step.0].jobs.clone() {
                self.set_state(now, job, State::Waiting, "created", out);
            }
        }
    }

    /// Whether a step it waits for failed, and that is not allowed.
    fn is_doomed(&self, step: StepKey) -> bool {
        self.steps[step.0].links.iter().any(|link| {
            !link.allow_failure
                && matches!(self.steps[link.on.0].state, StepState::Failed | StepState::NotRun)
        })
    }

    fn do_not_run(&mut self, now: Now, step: StepKey, out: &mut Effects) {
        self.steps[step.0].state = StepState::NotRun;
        self.builds[self.steps[step.0].build.0].open_steps -= 1;
        for job in self.steps[step.0].jobs.clone() {
            if self.jobs[job.0].state == State::Waiting {
                self.set_state(now, job, State::WaitingFailed, "a step it waits for failed", out);
            }
        }
    }

    /// All it waited for is done. True if that makes it done itself.
    fn make_ready(&mut self, now: Now, step: StepKey, out: &mut Effects) -> bool {
        self.steps[step.0].state = StepState::Ready;
        let skip = matches!(&self.steps[step.0].kind, StepKind::Command(plan) if plan.skip);
        for job in self.steps[step.0].jobs.clone() {
            if self.jobs[job.0].state != State::Waiting {
                continue;
            }
            if skip {
                self.jobs[job.0].ended = Some(now.since_start);
                self.set_state(now, job, State::Skipped, "skip", out);
                self.tell_end(job, "server", None, out);
                self.steps[step.0].open_jobs -= 1;
            } else {
                self.enlist(now, job, "ready", out);
            }
        }
        if self.steps[step.0].open_jobs > 0 {
            return false;
        }
        self.close_step(step);
        true
    }

    /// Puts a job into the list, or behind its concurrency group.
    pub(super) fn enlist(&mut self, now: Now, job: JobKey, cause: &str, out: &mut Effects) {
        if let Some((limit, name)) = self.group_of(self.jobs[job.0].step) {
            let group = self.groups.entry(name).or_default();
            if group.active >= limit {
                group.waiting.insert(job);
                self.set_state(now, job, State::Limited, "concurrency", out);
                return;
            }
            group.active += 1;
        }
        self.set_state(now, job, State::Scheduled, cause, out);
    }

    /// Gives a step without open jobs its end.
    pub(super) fn close_step(&mut self, step: StepKey) {
        let passed = self.steps[step.0].jobs.iter().all(|job| self.is_green(*job));
        self.steps[step.0].state = if passed {
            StepState::Passed
        } else {
            StepState::Failed
        };
        self.builds[self.steps[step.0].build.0].open_steps -= 1;
    }

    /// Whether the job's end leaves its step green.
    pub(super) fn is_green(&self, job: JobKey) -> bool {
        let (step, job) = (self.step_of(job), &self.jobs[job.0]);
        let status = job.exit_status.as_deref();
        match job.state {
            State::Skipped => true,
            State::Finished if status == Some("0") => true,
            State::Finished | State::TimedOut => match &step.kind {
                StepKind::Command(plan) => plan.soft_fail.covers(status.unwrap_or("-1")),
                StepKind::Wait | StepKind::Group => false,
            },
            _ => false,
        }
    }

    /// Tells the dependents of steps that are done; may make more steps done.
    pub(super) fn complete_steps(&mut self, now: Now, mut done: Vec<StepKey>, out: &mut Effects) {
        while let Some(step) = done.pop() {
            for dependent in self.steps[step.0].dependents.clone() {
                let state = self.steps[dependent.0].state;
                if !matches!(state, StepState::Waiting | StepState::NotRun) {
                    continue;
                }
                self.steps[dependent.0].pending -= 1;
                if state == StepState::NotRun {
                    continue;
                }
                if self.is_doomed(dependent) {
                    self.do_not_run(now, dependent, out);
                    done.push(dependent);
                } else if self.steps[dependent.0].pending == 0 && self.make_ready(now, dependent, out) {
                    done.push(dependent);
                }
            }
        }
    }

    /// A job of a done step is retried by hand: the step is open again, and so is what waited for it.
    pub(super) fn reopen_step(&mut self, now: Now, step: StepKey, out: &mut Effects) {
        let mut reopened = vec![step];
        self.steps[step.0].state = StepState::Ready;
        while let Some(step) = reopened.pop() {
            self.builds[self.steps[step.0].build.0].open_steps += 1;
            for dependent in self.steps[step.0].dependents.clone() {
                let state = self.steps[dependent.0].state;
                if !matches!(state, StepState::Waiting | StepState::NotRun) {
                    continue;
                }
                self.steps[dependent.0].pending += 1;
                if state == StepState::NotRun && !self.is_doomed(dependent) {
                    self.steps[dependent.0].state = StepState::Waiting;
                    for job in self.steps[dependent.0].jobs.clone() {
                        if self.jobs[job.0].state == State::WaitingFailed {
                            self.set_state(now, job, State::Waiting, "a step it waits for is retried", out);
                        }
                    }
                    reopened.push(dependent);
                }
            }
        }
    }
}

fn joined(
    own: Option<&Vec<(String, bool)>>,
    group: Option<&Vec<(String, bool)>>,
) -> Option<Vec<(String, bool)>> {
    match (own, group) {
        (None, None) => None,
        (own, group) => Some(own.into_iter().chain(group).flatten().cloned().collect()),
    }
}
