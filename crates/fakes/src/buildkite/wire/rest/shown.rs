//! A build as a request wants to see it: with which jobs, and with its pipeline or without.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Context, filters};
use crate::buildkite::ids::{BuildKey, StepKey};
use crate::buildkite::model::Model;
use crate::wire::Request;

/// What the query says: `exclude_jobs`, `exclude_pipeline`, `include_retried_jobs` and `job_states[]`.
pub(super) struct Wanted<'a> {
    jobs: bool,
    pipeline: bool,
    retried: bool,
    states: Vec<&'a str>,
    /// Pipelines shown already: their counts cost a look at all builds.
    pipelines: RefCell<BTreeMap<String, Value>>,
}

impl<'a> Wanted<'a> {
    pub(super) fn read(request: &'a Request) -> Self {
        let flag = |name: &str| filters::flag(request, name) == Some(true);
        Self {
            jobs: !flag("exclude_jobs"),
            pipeline: !flag("exclude_pipeline"),
            retried: flag("include_retried_jobs"),
            states: filters::values(request, "job_states"),
            pipelines: RefCell::default(),
        }
    }

    pub(super) fn show(&self, context: &Context<'_>, key: BuildKey) -> Value {
        let mut shown = context.model.rest_build(context.now, key, false);
        if self.jobs {
            let mut jobs = jobs(context, key, self.retried);
            if !self.states.is_empty() {
                jobs.retain(|job| self.states.iter().any(|state| job["state"] == *state));
            }
            shown["jobs"] = jobs.into();
        }
        if self.pipeline {
            let slug = &context.model.builds[key.0].pipeline;
            let mut known = self.pipelines.borrow_mut();
            let whole = known
                .entry(slug.clone())
                .or_insert_with(|| context.model.rest_pipeline_whole(slug));
            shown["pipeline"] = whole.clone();
        } else if let Some(fields) = shown.as_object_mut() {
            fields.remove("pipeline");
        }
        shown
    }

    /// The same, with how many jobs are in which state: of all jobs, whichever the query wants to see.
    pub(super) fn show_with_counts(&self, context: &Context<'_>, key: BuildKey) -> Value {
        let mut shown = self.show(context, key);
        let jobs = jobs(context, key, self.retried);
        let mut states: Map<String, Value> = Map::new();
        for job in &jobs {
            let state = job["state"].as_str().unwrap_or_default();
            let count = states.get(state).and_then(Value::as_u64).unwrap_or(0);
            states.insert(state.to_owned(), (count + 1).into());
        }
        shown["job_state_counts"] = json!({"total": jobs.len(), "states": states});
        shown
    }
}

/// All jobs of a build in the order of its steps, retried ones ahead of their retries, if at all.
pub(super) fn jobs(context: &Context<'_>, key: BuildKey, retried: bool) -> Vec<Value> {
    let model = &context.model;
    let mut whole = model.rest_build(context.now, key, true);
    let Value::Array(mut jobs) = whole["jobs"].take() else {
        return Vec::new();
    };
    if !retried {
        jobs.retain(|job| job["retried"] != true);
    }
    let order = model.builds[key.0].order.iter().enumerate();
    let places: BTreeMap<StepKey, usize> = order.map(|(at, step)| (*step, at)).collect();
    jobs.sort_by_cached_key(|job| {
        let place = step(model, job).and_then(|step| places.get(&step).copied());
        place.unwrap_or(usize::MAX)
    });
    jobs
}

/// The step of a job that is shown.
fn step(model: &Model, job: &Value) -> Option<StepKey> {
    let uuid = Uuid::parse_str(job["id"].as_str()?).ok()?;
    match model.jobs_by_uuid.get(&uuid) {
        Some(job) => Some(model.jobs[job.0].step),
        None => {
            let block = model.blocks.get(&uuid).copied();
            block.or_else(|| model.triggers.get(&uuid).map(|(step, _)| *step))
        }
    }
}
