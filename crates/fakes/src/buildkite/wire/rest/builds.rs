//! Builds and annotations.

use serde_json::Value;
use uuid::Uuid;

use super::filters::{flag, time, values};
use super::shown::Wanted;
use super::{Context, pages};
use crate::buildkite::build::Build;
use crate::buildkite::create::Asked;
use crate::buildkite::extras::{Annotation, NewAnnotation};
use crate::buildkite::ids::{BuildKey, JobKey, Refusal};
use crate::buildkite::pipeline;
use crate::buildkite::stars::like;
use crate::buildkite::wire::json as body;
use crate::wire::Response;

/// What `finished` stands for in lists of builds.
const FINISHED: [&str; 4] = ["passed", "failed", "blocked", "canceled"];

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
    let (from, to) = (time(request, "created_from")?, time(request, "created_to")?);
    let ended = time(request, "finished_from")?;
    // All builds are made by the first user.
    let first = model.user_uuid(0).to_string();
    let by_other = request.query("creator").is_some_and(|creator| creator != first);
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
                    .any(|wanted| *wanted == state || (*wanted == "finished" && FINISHED.contains(&state))))
            && !by_other
            && (branches.is_empty() || branches.iter().any(|branch| like(branch, &build.branch)))
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
    let wanted = Wanted::read(request);
    pages::page(context, &found, |key| wanted.show(context, *key))
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
    let shown = Wanted::read(context.request).show_with_counts(context, key);
    Ok(Response::json(200, &shown))
}

/// A build of a pipeline that has steps. What else the documents let a caller say of it is not built.
/// A value that leaves all as it is.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(_) | Value::Bool(true) => false,
    }
}

pub(super) fn create(context: &mut Context<'_>, pipeline: &str) -> Result<Response, Refusal> {
    const KNOWN: [&str; 6] = ["commit", "branch", "message", "author", "env", "meta_data"];
    // Clients write them into each request, whether they are meant or not.
    const NEUTRAL: [&str; 5] = [
        "clean_checkout",
        "ignore_pipeline_branch_filters",
        "pull_request_base_branch",
        "pull_request_id",
        "pull_request_repository",
    ];
    let posted = body::object(&context.request.body)?;
    let is_taken =
        |name: &str, value: &Value| KNOWN.contains(&name) || NEUTRAL.contains(&name) && says_nothing(value);
    if let Some((other, _)) = posted.iter().find(|(name, value)| !is_taken(name, value)) {
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
        author: match posted.get("author") {
            Some(author @ Value::Object(fields)) if !fields.is_empty() => author.clone(),
            None | Some(Value::Null | Value::Object(_)) => Value::Null,
            Some(_) => return Err(Refusal::unprocessable("`author` must be an object")),
        },
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
        &Wanted::read(context.request).show(context, key),
    ))
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
    let with_body = flag(context.request, "omit_body") != Some(true);
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
