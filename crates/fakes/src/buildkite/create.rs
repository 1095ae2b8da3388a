//! Builds come to be: from a pipeline that is sent, or from the steps that a pipeline has.

use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::build::{Build, BuildState};
use super::ids::{self, BuildKey, JobKey, Refusal, StepKey};
use super::model::Model;
use super::pipeline::{self, Pipeline};
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

/// The steps that a pipeline has itself.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) cluster: usize,
    yaml: String,
}

/// What is said of a build of a pipeline that has steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Empty means `main`.
    pub(super) branch: String,
    /// Empty means `HEAD`.
    pub(super) commit: String,
    pub(super) message: Option<String>,
    /// Who wrote the commit, as the caller says.
    pub(super) author: Value,
    pub(super) env: IndexMap<String, String>,
    pub(super) meta_data: IndexMap<String, String>,
    pub(super) priority: i64,
    /// The job of a trigger step that asks for it.
    pub(super) from: Option<(StepKey, usize)>,
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
        let cluster = self.cluster_named(new.cluster.as_deref())?;
        self.check_plan(cluster, None, &pipeline)?;
        let slug = match new.pipeline.as_str() {
            "" => "gust-demo",
            slug => slug,
        };
        let asked = Asked {
            branch: new.branch.clone(),
            priority: new.priority,
            ..Asked::default()
        };
        let (key, jobs) = self.begin_build(now, (slug, cluster), pipeline, asked, out);
        let build = &self.builds[key.0];
        let jobs = jobs
            .into_iter()
            .map(|job| CreatedJob {
                uuid: self.jobs[job.0].uuid,
                key: self.step_of(job).key.clone(),
                rules: self.jobs[job.0].rules.clone(),
            })
            .collect();
        Ok(CreatedBuild {
            number: build.number,
            uuid: build.uuid,
            jobs,
        })
    }

    /// Gives a pipeline steps of its own: `PUT /pipelines/{slug}` of the control surface. True if it had none.
    pub fn store_steps(&mut self, slug: &str, cluster: Option<&str>, yaml: &str) -> Result<bool, Refusal> {
        let cluster = self.cluster_named(cluster)?;
        self.check_plan(cluster, None, &pipeline::from_yaml(yaml)?)?;
        self.pipeline_uuid(slug);
        let stored = Stored {
            cluster,
            yaml: yaml.to_owned(),
        };
        Ok(self.stored.insert(slug.to_owned(), stored).is_none())
    }

    /// Creates a build of a pipeline that has steps.
    pub(super) fn build_stored(
        &mut self,
        now: Now,
        slug: &str,
        asked: Asked,
        out: &mut Effects,
    ) -> Result<BuildKey, Refusal> {
        let Some(stored) = self.stored.get(slug).cloned() else {
            return Err(match self.pipelines.contains_key(slug) {
                true => Refusal::unprocessable(format!("The pipeline {slug:?} has no steps")),
                false => Refusal::not_found("pipeline"),
            });
        };
        let pipeline = pipeline::from_yaml(&stored.yaml)?;
        // Limits may have changed since it was stored.
        self.check_plan(stored.cluster, None, &pipeline)?;
        let (key, _) = self.begin_build(now, (slug, stored.cluster), pipeline, asked, out);
        Ok(key)
    }

    fn cluster_named(&self, name: Option<&str>) -> Result<usize, Refusal> {
        let Some(name) = name else { return Ok(0) };
        let found = self.clusters.iter().position(|cluster| cluster.name == name);
        found.ok_or_else(|| Refusal::not_found("cluster"))
    }

    /// The UUID of a pipeline; it is made known if it was not.
    fn pipeline_uuid(&mut self, slug: &str) -> Uuid {
        match self.pipelines.get(slug) {
            Some(uuid) => *uuid,
            None => {
                let uuid = ids::uuid(&mut self.rng);
                self.pipelines.insert(slug.to_owned(), uuid);
                uuid
            }
        }
    }

    /// A build of a plan that was checked.
    fn begin_build(
        &mut self,
        now: Now,
        (slug, cluster): (&str, usize),
        pipeline: Pipeline,
        asked: Asked,
        out: &mut Effects,
    ) -> (BuildKey, Vec<JobKey>) {
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let pipeline_uuid = self.pipeline_uuid(slug);
        let key = BuildKey(self.builds.len());
        let mut env = pipeline.env;
        env.extend(asked.env);
        let build = Build {
            number: key.0 as u64 + 1,
            uuid: ids::uuid(&mut self.rng),
            pipeline: slug.to_owned(),
            branch: or(asked.branch, "main"),
            state: BuildState::Running,
            pipeline_uuid,
            cluster,
            created_at: now.unix_ns,
            started_at: None,
            finished_at: None,
            canceled_at: None,
            failing_at: None,
            message: asked.message,
            author: asked.author,
            told_blocked: false,
            commit: or(asked.commit, "HEAD"),
            from: asked.from,
            priority: asked.priority,
            env,
            order: Vec::new(),
            keys: std::collections::BTreeMap::new(),
            open_steps: 0,
            jobs: 0,
            meta_data: asked.meta_data.into_iter().collect(),
            annotations: Vec::new(),
        };
        out.push(
            Event::new(Host::Buildkite, "build.created")
                .with("build", build.number)
                .with("uuid", build.uuid.to_string())
                .with("pipeline", build.pipeline.clone())
                .with("branch", build.branch.clone()),
        );
        self.builds_by_uuid.insert(build.uuid, key);
        self.builds.push(build);
        self.tell_build(now, key, "build.scheduled", out);
        let jobs = self.add_steps(now, key, None, pipeline.steps, out);
        self.end_build_if_done(now, key, out);
        (key, jobs)
    }
}
