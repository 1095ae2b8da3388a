//! The REST API: `/v2`.
//!
//! Facts (docs: `apis/rest_api` and its pages): tokens have scopes; each answer tells two budgets, of the organization
//! and of the user, and over either it is 429; lists have pages with a `Link` header, the jobs of a build a cursor.
//! What is not built answers 501. Unverified: 403 and its words for a lacking scope, and the words for a job that was
//! retried already.

mod account;
mod agents;
mod artifacts;
mod build_jobs;
mod builds;
mod clusters;
mod filters;
mod jobs;
mod logs;
mod pages;
mod shown;

use std::time::Duration;

use serde_json::json;

use self::account::AccountCall;
use self::jobs::JobCall;
use super::{Context, settle};
use crate::buildkite::budget::Standing;
use crate::buildkite::ids::Refusal;
use crate::buildkite::model::Model;
use crate::wire::{Request, Response};

/// A call of the REST API. Pipelines by slug, builds by number, all else by UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestCall<'a> {
    Account(AccountCall<'a>),
    Pipelines,
    Pipeline(&'a str),
    CreateBuild(&'a str),
    /// Builds; of a pipeline where there is one.
    Builds(Option<&'a str>),
    Build(&'a str, &'a str),
    CancelBuild(&'a str, &'a str),
    RetryFailed(&'a str, &'a str),
    /// Artifacts of a build.
    Artifacts(&'a str, &'a str),
    Jobs(&'a str, &'a str),
    /// Annotations of a build.
    Annotations(&'a str, &'a str),
    Annotate(&'a str, &'a str),
    DeleteAnnotation(&'a str, &'a str, &'a str),
    /// A job; with pipeline and number where the path has them.
    Job(Option<(&'a str, &'a str)>, &'a str, JobCall<'a>),
    Agents,
    Agent(&'a str),
    StopAgent(&'a str),
    PauseAgent(&'a str),
    ResumeAgent(&'a str),
    Clusters,
    Cluster(&'a str),
    Queues(&'a str),
    Queue(&'a str, &'a str),
    PauseQueue(&'a str, &'a str),
    ResumeQueue(&'a str, &'a str),
    /// Agent tokens of a cluster.
    Tokens(&'a str),
    Token(&'a str, &'a str),
}

impl RestCall<'_> {
    /// The name in `api.call` and for the `method` of faults.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Account(call) => call.name(),
            Self::Pipelines => "rest.list-pipelines",
            Self::Pipeline(_) => "rest.get-pipeline",
            Self::CreateBuild(_) => "rest.create-build",
            Self::Builds(_) => "rest.list-builds",
            Self::Build(..) => "rest.get-build",
            Self::CancelBuild(..) => "rest.cancel-build",
            Self::RetryFailed(..) => "rest.retry-failed-jobs",
            Self::Artifacts(..) => "rest.list-artifacts",
            Self::Jobs(..) => "rest.list-jobs",
            Self::Annotations(..) => "rest.list-annotations",
            Self::Annotate(..) => "rest.annotate",
            Self::DeleteAnnotation(..) => "rest.delete-annotation",
            Self::Job(.., call) => call.name(),
            Self::Agents => "rest.list-agents",
            Self::Agent(_) => "rest.get-agent",
            Self::StopAgent(_) => "rest.stop-agent",
            Self::PauseAgent(_) => "rest.pause-agent",
            Self::ResumeAgent(_) => "rest.resume-agent",
            Self::Clusters => "rest.list-clusters",
            Self::Cluster(_) => "rest.get-cluster",
            Self::Queues(_) => "rest.list-queues",
            Self::Queue(..) => "rest.get-queue",
            Self::PauseQueue(..) => "rest.pause-dispatch",
            Self::ResumeQueue(..) => "rest.resume-dispatch",
            Self::Tokens(_) => "rest.list-cluster-tokens",
            Self::Token(..) => "rest.get-cluster-token",
        }
    }

    /// The scope it takes; `None` where any token will do.
    fn scope(&self) -> Option<&'static str> {
        Some(match self {
            Self::Account(call) => return call.scope(),
            Self::Pipelines | Self::Pipeline(_) => "read_pipelines",
            Self::Builds(_) | Self::Build(..) | Self::Jobs(..) | Self::Annotations(..) => "read_builds",
            Self::CreateBuild(_)
            | Self::CancelBuild(..)
            | Self::RetryFailed(..)
            | Self::Annotate(..)
            | Self::DeleteAnnotation(..) => "write_builds",
            Self::Artifacts(..) => "read_artifacts",
            Self::Job(.., call) => call.scope(),
            Self::Agents | Self::Agent(_) => "read_agents",
            Self::StopAgent(_) | Self::PauseAgent(_) | Self::ResumeAgent(_) => "write_agents",
            Self::Clusters
            | Self::Cluster(_)
            | Self::Queues(_)
            | Self::Queue(..)
            | Self::Tokens(_)
            | Self::Token(..) => "read_clusters",
            Self::PauseQueue(..) | Self::ResumeQueue(..) => "write_clusters",
        })
    }
}

/// The call of `/v2/…`, and the organization in the path, if one is.
pub(super) fn route<'a>(method: &str, segments: &[&'a str]) -> Option<(Option<&'a str>, RestCall<'a>)> {
    // Rails takes `HEAD` for a `GET` whose body nobody wants, and a slash at the end for none.
    let method = if method == "HEAD" { "GET" } else { method };
    let segments = segments.strip_suffix(&[""]).unwrap_or(segments);
    let (organization, rest) = match segments {
        ["builds"] if method == "GET" => return Some((None, RestCall::Builds(None))),
        ["organizations", organization, rest @ ..] => (*organization, rest),
        _ => return Some((None, RestCall::Account(AccountCall::read(method, segments)?))),
    };
    if let Some(call) = AccountCall::below(method, rest) {
        return Some((Some(organization), RestCall::Account(call)));
    }
    let call = match (method, rest) {
        ("GET", ["pipelines"]) => RestCall::Pipelines,
        ("GET", ["builds"]) => RestCall::Builds(None),
        ("GET", ["agents"]) => RestCall::Agents,
        ("GET", ["agents", agent]) => RestCall::Agent(agent),
        ("PUT", ["agents", agent, "stop"]) => RestCall::StopAgent(agent),
        ("PUT", ["agents", agent, "pause"]) => RestCall::PauseAgent(agent),
        ("PUT", ["agents", agent, "resume"]) => RestCall::ResumeAgent(agent),
        ("GET", ["clusters"]) => RestCall::Clusters,
        ("GET", ["clusters", cluster]) => RestCall::Cluster(cluster),
        ("GET", ["clusters", cluster, "queues"]) => RestCall::Queues(cluster),
        ("GET", ["clusters", cluster, "queues", queue]) => RestCall::Queue(cluster, queue),
        ("POST", ["clusters", cluster, "queues", queue, "pause_dispatch"]) => {
            RestCall::PauseQueue(cluster, queue)
        }
        ("POST", ["clusters", cluster, "queues", queue, "resume_dispatch"]) => {
            RestCall::ResumeQueue(cluster, queue)
        }
        ("GET", ["clusters", cluster, "tokens"]) => RestCall::Tokens(cluster),
        ("GET", ["clusters", cluster, "tokens", token]) => RestCall::Token(cluster, token),
        (method, ["jobs", job, rest @ ..]) => RestCall::Job(None, job, JobCall::read(method, rest)?),
        (method, ["pipelines", pipeline, rest @ ..]) => below_pipeline(method, pipeline, rest)?,
        _ => return None,
    };
    Some((Some(organization), call))
}

fn below_pipeline<'a>(method: &str, pipeline: &'a str, rest: &[&'a str]) -> Option<RestCall<'a>> {
    Some(match (method, rest) {
        ("GET", []) => RestCall::Pipeline(pipeline),
        ("GET", ["builds"]) => RestCall::Builds(Some(pipeline)),
        ("POST", ["builds"]) => RestCall::CreateBuild(pipeline),
        ("GET", ["builds", number]) => RestCall::Build(pipeline, number),
        ("PUT", ["builds", number, "cancel"]) => RestCall::CancelBuild(pipeline, number),
        ("PUT", ["builds", number, "retry_failed_jobs"]) => RestCall::RetryFailed(pipeline, number),
        ("GET", ["builds", number, "artifacts"]) => RestCall::Artifacts(pipeline, number),
        ("GET", ["builds", number, "jobs"]) => RestCall::Jobs(pipeline, number),
        ("GET", ["builds", number, "annotations"]) => RestCall::Annotations(pipeline, number),
        ("POST", ["builds", number, "annotations"]) => RestCall::Annotate(pipeline, number),
        ("DELETE", ["builds", number, "annotations", note]) => {
            RestCall::DeleteAnnotation(pipeline, number, note)
        }
        (method, ["builds", number, "jobs", job, rest @ ..]) => {
            RestCall::Job(Some((pipeline, *number)), job, JobCall::read(method, rest)?)
        }
        _ => return None,
    })
}

pub(super) fn answer(context: &mut Context<'_>, organization: Option<&str>, call: &RestCall<'_>) -> Response {
    if matches!(call, RestCall::Account(AccountCall::Meta)) {
        return account::meta();
    }
    let user = match permitted(context, call.scope().unwrap_or_default()) {
        Ok(user) => user,
        Err(refusal) => return settle(Err(refusal)),
    };
    let (mut whole, mut own) = standings(context, user);
    let over = [("rest", &whole), ("rest_user", &own)]
        .into_iter()
        .find(|(_, standing)| standing.remaining == 0);
    let response = match over {
        Some((scope, standing)) => exceeded(scope, standing),
        None => {
            for key in [None, Some(user)] {
                context.model.rest_budgets.entry(key).or_default().take(1);
            }
            (whole, own) = standings(context, user);
            settle(perform(context, organization, call, user))
        }
    };
    let warn = |response: Response, name: &str, standing: &Standing| match standing.remaining {
        0 => response.with(name, "You have exceeded your API rate limit."),
        _ => response,
    };
    let response = warn(
        warn(response, "RateLimit-Warning", &whole),
        "RateLimit-User-Warning",
        &own,
    );
    response
        .with("RateLimit-Scope", "rest")
        .with("RateLimit-Limit", whole.limit.to_string())
        .with("RateLimit-Remaining", whole.remaining.to_string())
        .with("RateLimit-Reset", whole.reset.to_string())
        .with("RateLimit-User-Scope", "rest_user")
        .with("RateLimit-User-Limit", own.limit.to_string())
        .with("RateLimit-User-Remaining", own.remaining.to_string())
        .with("RateLimit-User-Reset", own.reset.to_string())
}

fn exceeded(scope: &str, standing: &Standing) -> Response {
    let (limit, reset) = (standing.limit, standing.reset);
    let words = format!(
        "You have exceeded your API rate limit. Please wait {reset} seconds before making more requests."
    );
    let body =
        json!({"message": words, "scope": scope, "limit": limit, "current": limit + 1, "reset": reset});
    Response::json(429, &body)
}

/// How the budgets stand: that of the organization, and that of the caller.
fn standings(context: &mut Context<'_>, user: usize) -> (Standing, Standing) {
    let (now, model) = (context.now.since_start, &mut *context.model);
    let limits = model.limits.rest;
    let window = Duration::from_secs(limits.window_s.into());
    let budgets = &mut model.rest_budgets;
    let mut standing =
        |key: Option<usize>, limit| budgets.entry(key).or_default().standing(now, window, limit);
    (
        standing(None, limits.organization_requests),
        standing(Some(user), limits.user_requests),
    )
}

fn perform(
    context: &mut Context<'_>,
    organization: Option<&str>,
    call: &RestCall<'_>,
    user: usize,
) -> Result<Response, Refusal> {
    if organization.is_some_and(|organization| organization != context.model.config.organization) {
        return Err(Refusal::new(404, "No organization found"));
    }
    match *call {
        RestCall::Account(call) => account::answer(context, call, user),
        RestCall::Pipelines => pipelines(context),
        RestCall::Pipeline(slug) => match context.model.pipelines.contains_key(slug) {
            true => Ok(Response::json(200, &context.model.rest_pipeline_whole(slug))),
            false => Err(Refusal::not_found("pipeline")),
        },
        RestCall::CreateBuild(pipeline) => builds::create(context, pipeline),
        RestCall::Builds(pipeline) => builds::list(context, pipeline),
        RestCall::Build(pipeline, number) => builds::get(context, pipeline, number),
        RestCall::CancelBuild(pipeline, number) => builds::cancel(context, pipeline, number),
        RestCall::RetryFailed(pipeline, number) => build_jobs::retry_failed(context, pipeline, number),
        RestCall::Artifacts(pipeline, number) => artifacts::of_build(context, pipeline, number),
        RestCall::Jobs(pipeline, number) => build_jobs::list(context, pipeline, number),
        RestCall::Annotations(pipeline, number) => builds::annotations(context, pipeline, number),
        RestCall::Annotate(pipeline, number) => builds::annotate(context, pipeline, number),
        RestCall::DeleteAnnotation(pipeline, number, note) => {
            builds::delete_annotation(context, pipeline, number, note)
        }
        RestCall::Job(build, job, call) => jobs::answer(context, build, job, call),
        RestCall::Agents => agents::list(context),
        RestCall::Agent(agent) => agents::get(context, agent),
        RestCall::StopAgent(agent) => agents::stop(context, agent),
        RestCall::PauseAgent(agent) => agents::pause(context, agent),
        RestCall::ResumeAgent(agent) => agents::resume(context, agent),
        RestCall::Clusters => clusters::list(context),
        RestCall::Cluster(cluster) => clusters::get(context, cluster),
        RestCall::Queues(cluster) => clusters::queues(context, cluster),
        RestCall::Queue(cluster, queue) => clusters::queue(context, cluster, queue),
        RestCall::PauseQueue(cluster, queue) => clusters::pause(context, cluster, queue),
        RestCall::ResumeQueue(cluster, queue) => clusters::resume(context, cluster, queue),
        RestCall::Tokens(cluster) => clusters::tokens(context, cluster),
        RestCall::Token(cluster, token) => clusters::token(context, cluster, token),
    }
}

/// Pipelines, the newest first; `name` and `repository` take a part of it, in whatever case.
fn pipelines(context: &Context<'_>) -> Result<Response, Refusal> {
    let has = |name: &str, value: &str| {
        let wanted = context.request.query(name).unwrap_or_default().to_lowercase();
        value.to_lowercase().contains(&wanted)
    };
    let model = &context.model;
    let slugs: Vec<&String> = model
        .pipelines
        .keys()
        .rev()
        .filter(|slug| has("name", slug) && has("repository", &model.config.repository))
        .collect();
    pages::page(context, &slugs, |slug| context.model.rest_pipeline_whole(slug))
}

/// The user of a request and the secret, if that is an API access token.
fn caller<'a>(model: &Model, request: &'a Request) -> Option<(usize, &'a str)> {
    let header = request.header("authorization").unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    let known = |token: &str| model.config.api_tokens.iter().position(|known| known == token);
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    let token = token.trim();
    known(token).filter(|_| is_bearer).map(|user| (user, token))
}

fn unauthorized() -> Refusal {
    Refusal::new(
        401,
        "Authentication required. Please supply a valid API Access Token",
    )
}

/// The answer to a path that is not there: who asks is looked at first.
pub(super) fn unknown_path(model: &Model, request: &Request) -> Response {
    match caller(model, request) {
        None => settle(Err(unauthorized())),
        Some(_) => Response::message(501, "This call of the REST API is not built in this fake yet"),
    }
}

/// The place of the token in `Authorization: Bearer …` among the known ones, if it has the scope; no scope is empty.
pub(super) fn permitted(context: &Context<'_>, scope: &str) -> Result<usize, Refusal> {
    let Some((user, token)) = caller(context.model, context.request) else {
        return Err(unauthorized());
    };
    let config = &context.model.config;
    let scopes = config.api_scopes.get(token).filter(|_| !scope.is_empty());
    if scopes.is_some_and(|scopes| !scopes.iter().any(|known| known == scope)) {
        let words = format!("Your API Access Token lacks the scope `{scope}`");
        return Err(Refusal::new(403, words));
    }
    Ok(user)
}
