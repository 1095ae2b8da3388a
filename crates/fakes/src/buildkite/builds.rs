//! Builds: creating them from a pipeline, adding uploaded steps, cancelling them, their end.

use indexmap::IndexMap;
use uuid::Uuid;

use super::build::{Build, BuildState};
use super::ids::{self, BuildKey, JobKey, QueueKey, Refusal};
use super::job::State;
use super::model::Model;
use super::pipeline::{self, Pipeline, StepPlan};
use crate::event::{Effects, Event, Host};
use crate::now::Now;

/// A build to create.
#[derive(Clone, Debug, Default)]
pub struct NewBuild {
    /// Slug of the pipeline; made known by its first build.
    pub pipeline: String,
    /// Branch; empty means `main`.
    pub branch: String,
    /// Priority of jobs whose step has none.
    pub priority: i64,
    /// Name of the cluster; `None` means the first.
    pub cluster: Option<String>,
    /// The pipeline file, YAML.
    pub yaml: String,
}

/// A build that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedBuild {
    /// Its number.
    pub number: u64,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its jobs, in the order of the steps.
    pub jobs: Vec<CreatedJob>,
}

/// A job that was created with its build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedJob {
    /// Its UUID.
    pub uuid: Uuid,
    /// Key of its step.
    pub key: Option<String>,
    /// What it asks for, `key=value`.
    pub rules: Vec<String>,
}

impl Model {
    /// Creates a build: `POST /builds` of the control surface.
    pub fn create_build(
        &mut self,
        now: Now,
        new: &NewBuild,
        out: &mut Effects,
    ) -> Result<CreatedBuild, Refusal> {
        let pipeline = pipeline::from_yaml(&new.yaml)?;
        let cluster = match &new.cluster {
            None => 0,
            Some(name) => self
                .clusters
                .iter()
                .position(|cluster| cluster.name == *name)
                .ok_or_else(|| Refusal::not_found("cluster"))?,
        };
        self.check_plan(cluster, None, &pipeline)?;
        let slug = if new.pipeline.is_empty() {
            "gust-demo"
        } else {
            &new.pipeline
        };
        let pipeline_uuid = match self.pipelines.get(slug) {
            Some(uuid) => *uuid,
            None => {
                let uuid = ids::uuid(&mut self.rng);
                self.pipelines.insert(slug.to_owned(), uuid);
                uuid
            }
        };
        let key = BuildKey(self.builds.len());
        let build = Build {
            number: key.0 as u64 + 1,
            uuid: ids::uuid(&mut self.rng),
            pipeline: slug.to_owned(),
            branch: if new.branch.is_empty() {
                "main".into()
            } else {
                new.branch.clone()
            },
            state: BuildState::Running,
            pipeline_uuid,
            cluster,
            created_at: now.unix_ns,
            started_at: None,
            finished_at: None,
            canceled_at: None,
            failing_at: None,
            priority: new.priority,
            env: pipeline.env,
            order: Vec::new(),
            keys: std::collections::BTreeMap::new(),
            open_steps: 0,
            jobs: 0,
            meta_data: std::collections::BTreeMap::new(),
            annotations: Vec::new(),
        };
        out.push(
            Event::new(Host::Buildkite, "build.created")
                .with("build", build.number)
                .with("uuid", build.uuid.to_string())
                .with("pipeline", build.pipeline.clone())
                .with("branch", build.branch.clone()),
        );
        let (number, uuid) = (build.number, build.uuid);
        self.builds_by_uuid.insert(uuid, key);
        self.builds.push(build);
        self.tell_build(now, key, "build.scheduled", out);
        let jobs = self.add_steps(now, key, None, pipeline.steps, out);
        self.end_build_if_done(now, key, out);
        let jobs = jobs
            .into_iter()
            .map(|job| CreatedJob {
                uuid: self.jobs[job.0].uuid,
                key: self.step_of(job).key.clone(),
                rules: self.jobs[job.0].rules.clone(),
            })
            .collect();
        Ok(CreatedBuild { number, uuid, jobs })
    }

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
    fn check_plan(
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
        self.end_build_if_done(now, key, out);
        Ok(())
    }

    /// Ends a build whose steps are all done.
    pub(super) fn end_build_if_done(&mut self, now: Now, key: BuildKey, out: &mut Effects) {
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
        let failed = build.order.iter().any(|step| {
            let state = self.steps[step.0].state;
            state == super::build::StepState::Failed || state == super::build::StepState::NotRun
        });
        let state = match build.state {
            BuildState::Canceling => BuildState::Canceled,
            _ if failed => BuildState::Failed,
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
        self.tell_build(now, key, "build.finished", out);
    }
}

fn heads(steps: &[StepPlan]) -> Vec<&pipeline::Head> {
    steps
        .iter()
        .flat_map(|step| match step {
            StepPlan::Command(head, _) | StepPlan::Wait(head, _) => vec![head],
            StepPlan::Group(head, children) => std::iter::once(head).chain(heads(children)).collect(),
        })
        .collect()
}

fn commands(steps: &[StepPlan]) -> Vec<&pipeline::CommandPlan> {
    steps
        .iter()
        .flat_map(|step| match step {
            StepPlan::Command(_, plan) => vec![plan.as_ref()],
            StepPlan::Wait(..) => Vec::new(),
            StepPlan::Group(_, children) => commands(children),
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
