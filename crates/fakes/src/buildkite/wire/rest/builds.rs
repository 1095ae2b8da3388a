//! Builds, the jobs of one, and annotations.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Context, pages};
use crate::buildkite::build::Build;
use crate::buildkite::create::Asked;
use crate::buildkite::extras::{Annotation, NewAnnotation};
use crate::buildkite::ids::{BuildKey, JobKey, Refusal};
use crate::buildkite::pipeline;
use crate::buildkite::wire::json as body;
use crate::stamp::parse_rfc3339;
use crate::wire::{Request, Response};

/// States by which jobs can be listed.
const JOB_STATES: [&str; 21] = [
    "pending",
    "waiting",
    "waiting_failed",
    "blocked",
    "blocked_failed",
    "unblocked",
    "unblocked_failed",
    "scheduled",
    "assigned",
    "accepted",
    "running",
    "passed",
    "failed",
    "timed_out",
    "timing_out",
    "canceled",
    "canceling",
    "skipped",
    "broken",
    "expired",
    "limited",
];

/// `state`, and `state[]` as often as one likes.
pub(super) fn values<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    let named = request
        .query
        .iter()
        .filter(|(key, _)| key == name || key.strip_suffix("[]") == Some(name));
    named.map(|(_, value)| value.as_str()).collect()
}

pub(super) fn list(context: &Context<'_>, pipeline: Option<&str>) -> Result<Response, Refusal> {
    let (model, request) = (&context.model, context.request);
    if pipeline.is_some_and(|pipeline| !model.pipelines.contains_key(pipeline)) {
        return Err(Refusal::not_found("pipeline"));
    }
    let (states, branches, commits) = (
        values(request, "state"),
        values(request, "branch"),
        values(request, "commit"),
    );
    let time = |name: &str| -> Result<Option<i128>, Refusal> {
        let wrong = || Refusal::bad(format!("{name} is not an ISO 8601 time"));
        request
            .query(name)
            .map(|text| parse_rfc3339(text).ok_or_else(wrong))
            .transpose()
    };
    let (from, to, ended) = (time("created_from")?, time("created_to")?, time("finished_from")?);
    let data: Vec<(&str, &str)> = request
        .query
        .iter()
        .filter_map(|(name, value)| {
            Some((
                name.strip_prefix("meta_data[")?.strip_suffix(']')?,
                value.as_str(),
            ))
        })
        .collect();
    let meets = |build: &Build| {
        let state = model.shown_state(build);
        pipeline.is_none_or(|pipeline| build.pipeline == pipeline)
            && (states.is_empty()
                || states
                    .iter()
                    .any(|wanted| *wanted == state || (*wanted == "finished" && build.finished_at.is_some())))
            && (branches.is_empty() || branches.contains(&build.branch.as_str()))
            && (commits.is_empty() || commits.contains(&build.commit.as_str()))
            && from.is_none_or(|from| build.created_at >= from)
            && to.is_none_or(|to| build.created_at < to)
            && ended.is_none_or(|from| build.finished_at.is_some_and(|at| at >= from))
            && data
                .iter()
                .all(|(key, value)| build.meta_data.get(*key).is_some_and(|is| is == value))
    };
    let found: Vec<BuildKey> = (0..model.builds.len())
        .rev()
        .filter(|at| meets(&model.builds[*at]))
        .map(BuildKey)
        .collect();
    let with_jobs = request.query("exclude_jobs") != Some("true");
    pages::page(context, &found, |key| {
        model.rest_build(context.now, *key, with_jobs)
    })
}

/// A build by pipeline and number.
pub(super) fn find(context: &Context<'_>, pipeline: &str, number: &str) -> Result<BuildKey, Refusal> {
    let number: u64 = number.parse().map_err(|_| Refusal::not_found("build"))?;
    let build = context
        .model
        .build(number)
        .filter(|build| build.pipeline == pipeline);
    build
        .map(|build| BuildKey(build.number as usize - 1))
        .ok_or_else(|| Refusal::not_found("build"))
}

pub(super) fn get(context: &Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    let mut shown = context.model.rest_build(context.now, key, true);
    let mut counts = std::collections::BTreeMap::new();
    for job in context.model.jobs_of_build(key) {
        *counts.entry(context.model.rest_state(job)).or_insert(0) += 1;
    }
    shown["job_state_counts"] = json!(counts);
    Ok(Response::json(200, &shown))
}

/// A build of a pipeline that has steps. What else the documents let a caller say of it is not built.
pub(super) fn create(context: &mut Context<'_>, pipeline: &str) -> Result<Response, Refusal> {
    const KNOWN: [&str; 5] = ["commit", "branch", "message", "env", "meta_data"];
    let posted = body::object(&context.request.body)?;
    if let Some(other) = posted.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Refusal::new(
            501,
            format!("{other:?} of a new build is not built"),
        ));
    }
    let needed = |name: &str, shown: &str| {
        let text = body::text(&posted, name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| Refusal::unprocessable(format!("Validation failed: {shown} can't be blank")))
    };
    let map = |name: &str| {
        let read = posted.get(name).map(pipeline::env).transpose();
        let read = read.map_err(|_| Refusal::unprocessable(format!("`{name}` must be a map of scalars")));
        read.map(Option::unwrap_or_default)
    };
    let asked = Asked {
        commit: needed("commit", "Commit")?,
        branch: needed("branch", "Branch")?,
        message: body::text(&posted, "message")?,
        env: map("env")?,
        meta_data: map("meta_data")?,
        ..Asked::default()
    };
    let key = context
        .model
        .build_stored(context.now, pipeline, asked, context.out)?;
    Ok(Response::json(
        201,
        &context.model.rest_build(context.now, key, true),
    ))
}

pub(super) fn cancel(context: &mut Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    let number = context.model.builds[key.0].number;
    context.model.cancel_build(context.now, number, context.out)?;
    Ok(Response::json(
        200,
        &context.model.rest_build(context.now, key, true),
    ))
}

/// Jobs of a build, by cursor: the place of a job among them.
pub(super) fn jobs(context: &Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    let (model, request) = (&context.model, context.request);
    let states = values(request, "state");
    if let Some(unknown) = states.iter().find(|state| !JOB_STATES.contains(state)) {
        return Err(Refusal::bad(format!("{unknown:?} is not a state of jobs")));
    }
    let size = match request.query("per_page").map(str::parse::<usize>) {
        None => 30,
        Some(Ok(size)) if (1..=100).contains(&size) => size,
        Some(_) => return Err(Refusal::bad("per_page must be an integer from 1 to 100")),
    };
    let after = match request.query("after") {
        None => None,
        Some(text) => {
            Some(Uuid::parse_str(text).map_err(|_| Refusal::bad("after is not a cursor of this list"))?)
        }
    };
    let retried = request.query("include_retried_jobs") != Some("false");
    let step = request.query("step_key");
    let meets = |job: &JobKey| {
        (states.is_empty() || states.contains(&model.rest_state(*job)))
            && (retried || model.jobs[job.0].retried_in.is_none())
            && step.is_none_or(|step| model.step_of(*job).key.as_deref() == Some(step))
    };
    let all: Vec<JobKey> = model.jobs_of_build(key).into_iter().filter(meets).collect();
    let from = match after {
        None => 0,
        Some(after) => {
            let at = all.iter().position(|job| model.jobs[job.0].uuid == after);
            at.ok_or_else(|| Refusal::bad("after is not a cursor of this list"))? + 1
        }
    };
    let items: Vec<Value> = all[from..]
        .iter()
        .take(size)
        .map(|job| model.rest_job(context.now, *job))
        .collect();
    let own = format!("{}{}", model.config.base_url, request.path);
    let mut links = json!({"self": format!("{own}?per_page={size}")});
    if from + items.len() < all.len()
        && let Some(last) = items.last()
    {
        let cursor = last["id"].as_str().unwrap_or_default();
        links["next"] = format!("{own}?after={cursor}&per_page={size}").into();
    }
    Ok(Response::json(200, &json!({"items": items, "links": links})))
}

pub(super) fn annotations(context: &Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    let scope = match context.request.query("scope") {
        None | Some("build") => Some("build"),
        Some("job") => Some("job"),
        Some("all") => None,
        Some(_) => return Err(Refusal::bad("scope must be build, job or all")),
    };
    show_annotations(context, key, |note| scope.is_none_or(|scope| note.scope == scope))
}

/// Annotations of a build that are wanted, newest first.
pub(super) fn show_annotations(
    context: &Context<'_>,
    key: BuildKey,
    wanted: impl Fn(&Annotation) -> bool,
) -> Result<Response, Refusal> {
    let notes: Vec<&Annotation> = context.model.builds[key.0]
        .annotations
        .iter()
        .rev()
        .filter(|note| wanted(note))
        .collect();
    let with_body = context.request.query("omit_body") != Some("true");
    pages::page(context, &notes, |note| {
        context.model.rest_annotation(note, with_body)
    })
}

pub(super) fn annotate(context: &mut Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    write_annotation(context, key, None)
}

/// Writes an annotation of a build, or of a job in it, from the request's body.
pub(super) fn write_annotation(
    context: &mut Context<'_>,
    key: BuildKey,
    job: Option<JobKey>,
) -> Result<Response, Refusal> {
    let posted = body::object(&context.request.body)?;
    let text = body::text(&posted, "body")?.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Refusal::unprocessable("Validation failed: Body can't be blank"))?;
    let new = NewAnnotation {
        body: Some(text),
        context: body::text(&posted, "context")?,
        style: body::text(&posted, "style")?,
        append: body::flag(&posted, "append"),
        priority: body::integer(&posted, "priority")?,
        scope: Some(if job.is_some() { "job" } else { "build" }.into()),
    };
    let at = context
        .model
        .annotate_build(context.now, key, job, new, context.out)?;
    let note = &context.model.builds[key.0].annotations[at];
    Ok(Response::json(201, &context.model.rest_annotation(note, true)))
}

pub(super) fn delete_annotation(
    context: &mut Context<'_>,
    pipeline: &str,
    number: &str,
    note: &str,
) -> Result<Response, Refusal> {
    let key = find(context, pipeline, number)?;
    let note = Uuid::parse_str(note).map_err(|_| Refusal::not_found("annotation"))?;
    context.model.delete_annotation(key, note, None, context.out)?;
    Ok(Response::empty(204))
}
