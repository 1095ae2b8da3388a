//! One job, below the organization or its build.
//!
//! A job that is not over is refused with 400, one of a canceled build with 422, and each can be retried once.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::artifacts::{self, ArtifactCall};
use super::{Context, builds, logs};
use crate::buildkite::ids::{JobKey, Refusal, StepKey};
use crate::buildkite::wire::{json as body, uuid};
use crate::wire::Response;

/// A call about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::buildkite::wire) enum JobCall<'a> {
    Get,
    Retry,
    Reprioritize,
    Unblock,
    Env,
    EnvText,
    Log,
    RawLog,
    HtmlLog,
    Artifacts(ArtifactCall<'a>),
    Annotations,
    Annotate,
    DeleteAnnotation(&'a str),
}

impl<'a> JobCall<'a> {
    /// The call behind the job's id.
    pub(super) fn read(method: &str, rest: &[&'a str]) -> Option<Self> {
        Some(match (method, rest) {
            ("GET", []) => Self::Get,
            ("PUT", ["retry"]) => Self::Retry,
            ("PUT", ["reprioritize"]) => Self::Reprioritize,
            ("PUT", ["unblock"]) => Self::Unblock,
            ("GET", ["env"]) => Self::Env,
            ("GET", ["log"]) => Self::Log,
            ("GET", ["env.txt"]) => Self::EnvText,
            ("GET", ["log.txt"]) => Self::RawLog,
            ("GET", ["log.html"]) => Self::HtmlLog,
            (method, ["artifacts", rest @ ..]) => Self::Artifacts(ArtifactCall::read(method, rest)?),
            ("GET", ["annotations"]) => Self::Annotations,
            ("POST", ["annotations"]) => Self::Annotate,
            ("DELETE", ["annotations", note]) => Self::DeleteAnnotation(note),
            _ => return None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Get => "rest.get-job",
            Self::Retry => "rest.retry-job",
            Self::Reprioritize => "rest.reprioritize-job",
            Self::Unblock => "rest.unblock-job",
            Self::Env | Self::EnvText => "rest.get-job-env",
            Self::Log | Self::RawLog | Self::HtmlLog => "rest.get-job-log",
            Self::Artifacts(call) => call.name(),
            Self::Annotations => "rest.list-job-annotations",
            Self::Annotate => "rest.annotate-job",
            Self::DeleteAnnotation(_) => "rest.delete-job-annotation",
        }
    }

    pub(super) fn scope(&self) -> &'static str {
        match self {
            Self::Get | Self::Annotations => "read_builds",
            Self::Env | Self::EnvText => "read_job_env",
            Self::Log | Self::RawLog | Self::HtmlLog => "read_build_logs",
            Self::Artifacts(call) => call.scope(),
            _ => "write_builds",
        }
    }
}

pub(super) fn answer(
    context: &mut Context<'_>,
    build: Option<(&str, &str)>,
    job: &str,
    call: JobCall<'_>,
) -> Result<Response, Refusal> {
    context.told.insert("job".into(), job.into());
    let uuid = uuid(job, "job")?;
    if let Some(step) = context.model.blocks.get(&uuid).copied() {
        return answer_block(context, build, (uuid, step), call);
    }
    if let Some(at) = context.model.triggers.get(&uuid).copied() {
        within(context, build, at.0)?;
        return match call {
            JobCall::Get => Ok(Response::json(200, &context.model.rest_trigger(at))),
            _ => Err(Refusal::bad("This job type has no such thing")),
        };
    }
    let key = find(context, build, job)?;
    let of = context.model.jobs[key.0].build;
    match call {
        JobCall::Get => Ok(show(context, key)),
        JobCall::Retry => {
            let job = &context.model.jobs[key.0];
            if !job.state.is_terminal() {
                let words = "Only failed, timed out or canceled jobs can be retried";
                return Err(Refusal::new(400, words));
            }
            let new = context.model.retry_job(context.now, job.uuid, context.out)?;
            let key = context.model.job_key(new)?;
            Ok(show(context, key))
        }
        JobCall::Reprioritize => {
            let posted = body::object(&context.request.body)?;
            let priority = posted.get("priority").and_then(Value::as_i64);
            let priority = priority.ok_or_else(|| Refusal::bad("Priority must be an integer"))?;
            let uuid = context.model.jobs[key.0].uuid;
            context
                .model
                .reprioritize(context.now, uuid, priority, context.out)?;
            Ok(show(context, key))
        }
        JobCall::Unblock => Err(Refusal::bad("This job type cannot be unblocked")),
        JobCall::Env if logs::accepts(context, "text/plain") => Ok(logs::env(context, key)),
        JobCall::Env => Ok(Response::json(200, &json!({"env": context.model.env_of(key)}))),
        JobCall::EnvText => Ok(logs::env(context, key)),
        JobCall::Log => logs::answer(context, key),
        JobCall::RawLog => logs::raw(context, key),
        JobCall::HtmlLog => Ok(logs::html(context, key)),
        JobCall::Artifacts(call) => artifacts::of_job(context, key, call),
        JobCall::Annotations => builds::show_annotations(context, of, |note| {
            note.scope == "job" && note.jobs.contains(&key)
        }),
        JobCall::Annotate => builds::write_annotation(context, of, Some(key)),
        JobCall::DeleteAnnotation(note) => {
            let note = Uuid::parse_str(note).map_err(|_| Refusal::not_found("annotation"))?;
            context
                .model
                .delete_annotation(of, note, Some(key), context.out)?;
            Ok(Response::empty(204))
        }
    }
}

/// The job of a block step: it can be looked at and unblocked.
fn answer_block(
    context: &mut Context<'_>,
    build: Option<(&str, &str)>,
    (job, step): (Uuid, StepKey),
    call: JobCall<'_>,
) -> Result<Response, Refusal> {
    within(context, build, step)?;
    match call {
        JobCall::Get => {}
        JobCall::Unblock => {
            let posted = body::optional_object(&context.request.body)?;
            let fields = match posted.get("fields") {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(fields)) => fields.clone(),
                Some(_) => return Err(Refusal::bad("fields must be an object")),
            };
            if let Some(by) = body::text(&posted, "unblocker")? {
                let users = 0..context.model.config.api_tokens.len().max(1);
                if !users
                    .into_iter()
                    .any(|user| context.model.user_uuid(user).to_string() == by)
                {
                    let words = "Unblocker is not a valid user id for this organization";
                    return Err(Refusal::unprocessable(words));
                }
            }
            context.model.unblock(context.now, job, &fields, context.out)?;
        }
        _ => return Err(Refusal::bad("This job type has no such thing")),
    }
    Ok(Response::json(200, &context.model.rest_block(step)))
}

/// Refuses a step of another build than that of the path, if the path has one.
fn within(context: &Context<'_>, build: Option<(&str, &str)>, step: StepKey) -> Result<(), Refusal> {
    match build {
        Some((pipeline, number))
            if builds::find(context, pipeline, number)? != context.model.steps[step.0].build =>
        {
            Err(Refusal::not_found("job"))
        }
        _ => Ok(()),
    }
}

fn find(context: &Context<'_>, build: Option<(&str, &str)>, job: &str) -> Result<JobKey, Refusal> {
    let key = context.model.job_key(uuid(job, "job")?)?;
    match build {
        Some((pipeline, number))
            if builds::find(context, pipeline, number)? != context.model.jobs[key.0].build =>
        {
            Err(Refusal::not_found("job"))
        }
        _ => Ok(key),
    }
}

fn show(context: &Context<'_>, key: JobKey) -> Response {
    Response::json(200, &context.model.rest_job(context.now, key))
}
