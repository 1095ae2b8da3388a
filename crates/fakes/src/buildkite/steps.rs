//! Steps: how they come to be, and how they wait for each other.
//!
//! A step counts the steps it waits for that are not done (`pending`). When one is done, its dependents count
//! down; at zero they become ready; at a failure they do not allow, they do not run, and that is passed on.

use super::build::{Link, Step, StepKind, StepState};
use super::facts::BuildFacts;
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
        let made = planned.iter().filter(|step| !self.is_left_out(step.key)).count();
        self.builds[build.0].open_steps += made;
        for step in &planned {
            if !self.is_left_out(step.key) {
                self.link_step(build, step);
            }
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
            match self.steps[step.key.0].state {
                StepState::Waiting => self.settle_new(now, step.key, &mut done, out),
                StepState::Ignored => self.leave_out(now, step.key, out),
                _ => {}
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
                StepPlan::Block(head, plan) => {
                    let depends_on = head.depends_on.clone();
                    let wait = (!plan.input).then_some(false);
                    let key = self.push_block(build, head, plan);
                    planned.push(Planned {
                        key,
                        depends_on,
                        wait,
                        group,
                    });
                }
                StepPlan::Trigger(head, plan) => {
                    let depends_on = joined(head.depends_on.as_ref(), group_depends);
                    let key = self.push_trigger(build, head, *plan);
                    planned.push(Planned {
                        key,
                        depends_on,
                        wait: None,
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

    fn is_left_out(&self, step: StepKey) -> bool {
        self.steps[step.0].state == StepState::Ignored
    }

    pub(super) fn push_step(&mut self, build: BuildKey, head: Head, kind: StepKind) -> StepKey {
        let key = StepKey(self.steps.len());
        // Conditions are asked when steps are made, not when they would run.
        let facts = BuildFacts { model: self, build };
        let omitted = head.only.omits(&facts, &self.builds[build.0].branch);
        if let Some(name) = &head.key {
            self.builds[build.0].keys.insert(name.clone(), key);
        }
        self.steps.push(Step {
            uuid: ids::uuid(&mut self.rng),
            build,
            key: head.key,
            label: head.label,
            kind,
            state: match omitted {
                None => StepState::Waiting,
                Some(_) => StepState::Ignored,
            },
            omitted,
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
            .rposition(|other| self.steps[other.0].is_barrier());
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
            .find(|step| self.steps[step.0].is_barrier())
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
        let count = plan.parallelism.map_or(plan.each().len(), |count| count as usize);
        (0..count)
            .map(|index| {
                let parallel = plan.parallelism.map(|count| (index as u32, count));
                let combination = (!plan.combinations.is_empty()).then_some(index);
                let plan = if parallel.is_some() {
                    &plan
                } else {
                    plan.each()[index]
                };
                let place = (parallel, combination);
                let key = self.create_job(now, step, plan, place, scheduled_at, None, out);
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
        (parallel, combination): (Option<(u32, u32)>, Option<usize>),
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
            combination,
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
