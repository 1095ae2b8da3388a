//! Trigger steps.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{command, env, first, text};
use crate::buildkite::ids::Refusal;

/// A trigger step, read.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct TriggerPlan {
    /// Slug of the pipeline it makes a build of.
    pub(in crate::buildkite) pipeline: String,
    /// Whether it goes on without waiting for the end of that build.
    pub(in crate::buildkite) asynchronous: bool,
    pub(in crate::buildkite) soft_fail: bool,
    pub(in crate::buildkite) skip: bool,
    /// So many builds.
    pub(in crate::buildkite) parallelism: Option<u32>,
    pub(in crate::buildkite) message: Option<String>,
    pub(in crate::buildkite) commit: Option<String>,
    pub(in crate::buildkite) branch: Option<String>,
    pub(in crate::buildkite) meta_data: IndexMap<String, String>,
    pub(in crate::buildkite) env: IndexMap<String, String>,
}

/// Attributes such a step can have beside the common ones.
pub(super) const ATTRIBUTES: &[&str] = &["trigger", "build", "async", "soft_fail", "skip", "parallelism"];

const BUILD_ATTRIBUTES: &[&str] = &["branch", "commit", "env", "message", "meta_data"];

pub(super) fn is_one(step: &Map<String, Value>) -> bool {
    step.contains_key("trigger") || step.get("type").and_then(Value::as_str) == Some("trigger")
}

pub(super) fn read(step: &Map<String, Value>) -> Result<TriggerPlan, Refusal> {
    let pipeline = first(step, &["trigger"])
        .and_then(text)
        .filter(|slug| !slug.is_empty());
    let pipeline = pipeline.ok_or_else(|| {
        Refusal::unprocessable("`trigger` must be the slug of the pipeline to create a build of")
    })?;
    let none = Map::new();
    let build = match first(step, &["build"]) {
        None => &none,
        Some(Value::Object(build)) => build,
        Some(_) => return Err(Refusal::unprocessable("`build` of a trigger step must be a map")),
    };
    if let Some(key) = build.keys().find(|key| !BUILD_ATTRIBUTES.contains(&key.as_str())) {
        return Err(Refusal::unprocessable(format!(
            "`{key}` is not a valid property on the `build` configuration on a `trigger` step. Please check the documentation to get a full list of supported properties."
        )));
    }
    let word = |name: &str| match first(build, &[name]).map(text) {
        None => Ok(None),
        Some(Some(word)) => Ok(Some(word).filter(|word| !word.is_empty())),
        Some(None) => Err(Refusal::unprocessable(format!("`{name}` must be text"))),
    };
    let data = first(build, &["meta_data"]).map(env).transpose();
    let data = data.map_err(|_| Refusal::unprocessable("`meta_data` must be a map of scalars"))?;
    let parallelism = command::positive(step, "parallelism")?;
    if parallelism.is_some_and(|count| count > command::PARALLELISM) {
        return Err(command::too_parallel());
    }
    Ok(TriggerPlan {
        pipeline,
        asynchronous: flag(step, "async")?,
        soft_fail: flag(step, "soft_fail")?,
        skip: command::skip(step.get("skip")),
        parallelism,
        message: word("message")?,
        commit: word("commit")?,
        branch: word("branch")?,
        meta_data: data.unwrap_or_default(),
        env: first(build, &["env"]).map(env).transpose()?.unwrap_or_default(),
    })
}

fn flag(step: &Map<String, Value>, name: &str) -> Result<bool, Refusal> {
    match first(step, &[name]) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(Refusal::unprocessable(format!(
            "`{name}` of a trigger step must be true or false"
        ))),
    }
}
