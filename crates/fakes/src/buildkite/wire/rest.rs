//! The REST API: one job, and running it again.
//!
//! Facts (docs: `apis/rest_api/jobs`): both calls exist below the organization and below the build; reading needs
//! `read_builds`, retrying `write_builds`; a job that is not over is refused with 400, one of a canceled build with 422, and
//! each job can be retried once. Unverified: the words for a job that was retried already, and 403 for a lacking scope.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Context, uuid};
use crate::{
    buildkite::{
        ids::{JobKey, Refusal},
        job::State,
        model::Model,
    },
    stamp::rfc3339,
    wire::Response,
};

/// A call of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestCall {
    GetJob,
    RetryJob,
}

/// Whose job is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RestJob<'a> {
    pub(super) organization: &'a str,
    /// Pipeline and number, where the path has them.
    pub(super) build: Option<(&'a str, &'a str)>,
    pub(super) job: &'a str,
}

/// The call of `/v2/…`.
pub(super) fn route<'a>(method: &str, segments: &[&'a str]) -> Option<(RestJob<'a>, RestCall)> {
    let ["organizations", organization, rest @ ..] = segments else {
        return None;
    };
    let (build, job) = match rest {
        ["jobs", job @ ..] => (None, job),
        ["pipelines", pipeline, "builds", number, "jobs", job @ ..] => (Some((*pipeline, *number)), job),
        _ => return None,
    };
    let (job, call) = match (method, job) {
        ("GET", [job]) => (job, RestCall::GetJob),
        ("PUT", [job, "retry"]) => (job, RestCall::RetryJob),
        _ => return None,
    };
    let job = RestJob {
        organization,
        build,
        job,
    };
    Some((job, call))
}

pub(super) fn answer(
    context: &mut Context<'_>,
    wanted: RestJob<'_>,
    call: RestCall,
) -> Result<Response, Refusal> {
    let scope = match call {
        RestCall::GetJob => "read_builds",
        RestCall::RetryJob => "write_builds",
    };
    permitted(context, scope)?;
    let model = &mut *context.model;
    if wanted.organization != model.config.organization {
        return Err(Refusal::new(404, "No organization found"));
    }
    let job = uuid(wanted.job, "job")?;
    let key = model.job_key(job)?;
    if let Some((pipeline, number)) = wanted.build {
        let build = model.build_of(key);
        if build.pipeline != pipeline || build.number.to_string() != number {
            return Err(Refusal::not_found("job"));
        }
    }
    match call {
        RestCall::GetJob => Ok(Response::json(200, &model.rest_job(key))),
        RestCall::RetryJob => {
            if !model.job(job).is_some_and(|job| job.state.is_terminal()) {
                let words = "Only failed, timed out or canceled jobs can be retried";
                return Err(Refusal::new(400, words));
            }
            let new = model.retry_job(context.now, job, context.out)?;
            let key = model.job_key(new)?;
            Ok(Response::json(200, &model.rest_job(key)))
        }
    }
}

/// The place of the token in `Authorization: Bearer …` among the known ones, if it has the scope.
pub(super) fn permitted(context: &Context<'_>, scope: &str) -> Result<usize, Refusal> {
    let header = context.request.header("authorization").unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    let config = &context.model.config;
    let known = config.api_tokens.iter().position(|known| known == token.trim());
    let Some(user) = known.filter(|_| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(Refusal::new(
            401,
            "Authentication required. Please supply a valid API Access Token",
        ));
    };
    let scopes = config.api_scopes.get(token.trim());
    if scopes.is_some_and(|scopes| !scopes.iter().any(|known| known == scope)) {
        let words = format!("Your API Access Token lacks the scope `{scope}`");
        return Err(Refusal::new(403, words));
    }
    Ok(user)
}

impl Model {
    /// A job as the REST API shows it.
    fn rest_job(&self, key: JobKey) -> Value {
        let (job, build, step) = (&self.jobs[key.0], self.build_of(key), self.step_of(key));
        let status = job
            .exit_status
            .as_deref()
            .and_then(|text| text.parse::<i64>().ok());
        let state = match (job.state, status) {
            (State::Finished, Some(0)) => "passed",
            (State::Finished, _) => "failed",
            (state, _) => state.name(),
        };
        let uuid_of = |key: Option<JobKey>| key.map(|key: JobKey| -> Uuid { self.jobs[key.0].uuid });
        let source = job.retry_of.map(|old| json!({ "job_id": self.jobs[old.0].uuid }));
        json!({
            "id": job.uuid,
            "type": "script",
            "step_key": step.key,
            "state": state,
            "agent_query_rules": job.rules,
            "priority": { "number": job.priority },
            "exit_status": status,
            "signal": job.signal,
            "signal_reason": job.signal_reason,
            "build_url": format!("{}/v2/organizations/{}/pipelines/{}/builds/{}", self.config.base_url, self.config.organization, build.pipeline, build.number),
            "created_at": rfc3339(job.created_at),
            "scheduled_at": rfc3339(job.scheduled_at),
            "runnable_at": job.runnable_at.map(rfc3339),
            "started_at": job.started_at.map(rfc3339),
            "finished_at": job.finished_at.map(rfc3339),
            "retried": job.retried_in.is_some(),
            "retried_in_job_id": uuid_of(job.retried_in),
            "retries_count": job.retries,
            "retry_source": source,
        })
    }
}
