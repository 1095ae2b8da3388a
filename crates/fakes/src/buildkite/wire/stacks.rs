//! The Stacks API on the wire.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::route::StackCall;
use super::{Context, json, settle};
use crate::buildkite::ids::Refusal;
use crate::buildkite::mishaps;
use crate::buildkite::notify::Notification;
use crate::buildkite::rate::Standing;
use crate::buildkite::stack_jobs::StackFinish;
use crate::buildkite::stacks::{ListView, ListedJob, StackRegistration};
use crate::wire::Response;

impl StackCall<'_> {
    /// The scope of its rate limit. `register` is not listed with one, but every response has the headers.
    fn scope(self) -> &'static str {
        match self {
            Self::Register | Self::Deregister => "default",
            Self::List => "list-scheduled-jobs",
            Self::Reserve => "batch-reserve",
            Self::GetJob(_) => "show-job",
            Self::GetStates => "batch-load-job-states",
            Self::Finish(_) => "finish-job",
            Self::Notify => "stack-notification",
            Self::AcquisitionTokens => "job-acquisition-token",
        }
    }
}

/// One call. Order: token, stack, rate, then what it says.
pub(super) fn answer(context: &mut Context<'_>, key: Option<&str>, call: &StackCall<'_>) -> Response {
    let cluster = context
        .token()
        .and_then(|token| context.model.cluster_of_token(&token));
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(refusal) => return settle(Err(refusal)),
    };
    let Some(key) = key else {
        return registered(context, cluster, call.scope());
    };
    if let Err(refusal) = context.model.stack(cluster, key) {
        return settle(Err(refusal));
    }
    context.told.insert("stack".into(), key.into());
    let scope = call.scope();
    let standing = context.model.count_call(context.now, key, scope);
    context.told.insert("scope".into(), scope.into());
    if let Some(standing) = &standing {
        context.told.insert("remaining".into(), standing.remaining.into());
        if let Some(current) = standing.exceeded_by {
            return with_rate(context, refused(standing, current), Some(standing));
        }
    }
    let response = settle(granted(context, cluster, key, call));
    with_rate(context, response, standing.as_ref())
}

/// Registering has a rate only where the stack is known already: the windows are the stack's.
fn registered(context: &mut Context<'_>, cluster: usize, scope: &'static str) -> Response {
    let body: Value = serde_json::from_slice(&context.request.body).unwrap_or_default();
    let key = body["key"].as_str().unwrap_or_default();
    let known = context.model.stack(cluster, key).is_ok();
    let before = known
        .then(|| context.model.count_call(context.now, key, scope))
        .flatten();
    if let Some(standing) = &before
        && let Some(current) = standing.exceeded_by
    {
        return with_rate(context, refused(standing, current), Some(standing));
    }
    let response = settle(register(context, cluster));
    let standing = match response.status {
        201 => context.model.count_call(context.now, key, scope),
        _ => before,
    };
    with_rate(context, response, standing.as_ref())
}

fn granted(
    context: &mut Context<'_>,
    cluster: usize,
    key: &str,
    call: &StackCall<'_>,
) -> Result<Response, Refusal> {
    match call {
        StackCall::Register => register(context, cluster),
        StackCall::Deregister => {
            context.model.deregister_stack(cluster, key)?;
            Ok(Response::empty(204))
        }
        StackCall::List => list(context, cluster, key),
        StackCall::Reserve => reserve(context, cluster, key),
        StackCall::GetJob(job) => {
            context.told.insert("job".into(), (*job).into());
            let detail = context.model.get_job(cluster, key, job)?;
            Ok(Response::json(
                200,
                &json!({"id": job, "env": detail.env, "command": detail.command}),
            ))
        }
        StackCall::GetStates => {
            let body = json::object(&context.request.body)?;
            let jobs = json::texts(&body, "job_uuids")?;
            context.told.insert("count".into(), jobs.len().into());
            let states = context.model.get_states(cluster, key, &jobs)?;
            let words = mishaps::state_words(states, context.faults, context.now, context.out);
            let states: Map<String, Value> =
                words.into_iter().map(|(job, word)| (job, word.into())).collect();
            Ok(Response::json(200, &json!({ "states": states })))
        }
        StackCall::Finish(job) => finish(context, cluster, key, job),
        StackCall::Notify => notify(context, cluster, key),
        StackCall::AcquisitionTokens => acquisition_tokens(context, cluster, key),
    }
}

fn refused(standing: &Standing, current: u32) -> Response {
    Response::json(
        429,
        &json!({
            "message": format!(
                "You have exceeded your API rate limit. Please wait {} seconds before making more requests.",
                standing.reset
            ),
            "scope": standing.scope,
            "limit": standing.limit,
            "current": current,
            "reset": standing.reset,
        }),
    )
}

fn with_rate(context: &Context<'_>, response: Response, standing: Option<&Standing>) -> Response {
    let Some(standing) = standing else { return response };
    let response = response
        .with("ratelimit-scope", standing.scope)
        .with("ratelimit-limit", standing.limit.to_string())
        .with("ratelimit-remaining", standing.remaining.to_string())
        .with("ratelimit-reset", standing.reset.to_string());
    if standing.exceeded_by.is_some() && context.model.limits.retry_after {
        return response.with("retry-after", standing.reset.to_string());
    }
    response
}

fn register(context: &mut Context<'_>, cluster: usize) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let required = |name: &str| {
        json::text(&body, name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Refusal::unprocessable(format!("{name} is required")))
    };
    let metadata = match body.get("metadata") {
        None => return Err(Refusal::unprocessable("metadata is required")),
        // The Go client sends null for no metadata.
        Some(Value::Null) => IndexMap::new(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(key, value)| {
                let value = value
                    .as_str()
                    .ok_or_else(|| Refusal::unprocessable("metadata values must be strings"))?;
                Ok((key.clone(), value.to_owned()))
            })
            .collect::<Result<_, Refusal>>()?,
        Some(_) => return Err(Refusal::unprocessable("metadata must be an object")),
    };
    let new = StackRegistration {
        key: required("key")?,
        kind: required("type")?,
        queue_key: required("queue_key")?,
        metadata,
    };
    context.told.insert("stack".into(), new.key.clone().into());
    let stack = context.model.register_stack(cluster, new)?;
    Ok(Response::json(
        if stack.created { 201 } else { 200 },
        &json!({
            "id": stack.uuid.to_string(),
            "organization_uuid": stack.organization.to_string(),
            "key": stack.key,
            "type": stack.kind,
            "cluster_queue_key": stack.queue_key,
            "metadata": stack.metadata,
            "last_connected_on": stack.last_connected_on,
            "state": "connected",
        }),
    ))
}

fn list(context: &mut Context<'_>, cluster: usize, stack: &str) -> Result<Response, Refusal> {
    let request = context.request;
    let queue = request.query("queue_key").filter(|queue| !queue.is_empty());
    let queue = queue.ok_or_else(|| Refusal::bad("queue_key is required"))?;
    let limit = match request.query("limit") {
        None => 100,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| Refusal::bad("limit must be a positive integer"))?,
    };
    let view = view(context, cluster, queue);
    let after = request.query("after");
    let page = context
        .model
        .list_scheduled(context.now, cluster, stack, queue, (limit, after), view)?;
    context.told.insert("count".into(), page.jobs.len().into());
    let jobs: Vec<Value> = page.jobs.iter().map(listed).collect();
    Ok(Response::json(
        200,
        &json!({
            "jobs": jobs,
            "page_info": {"has_next_page": page.has_next_page, "end_cursor": page.end_cursor},
            // The documents name the flag one way, the Go client reads it the other way: both are sent.
            "cluster_queue": {"id": page.queue.to_string(), "dispatch_paused": page.paused, "paused": page.paused},
        }),
    ))
}

/// What faults do to the list of a queue.
fn view(context: &mut Context<'_>, cluster: usize, queue: &str) -> ListView {
    let Some(key) = context.model.queue(cluster, queue) else {
        return ListView::default();
    };
    let queue = context.model.queues[key.0].key.clone();
    ListView::under(context.faults, context.now, &queue, context.out)
}

fn listed(job: &ListedJob) -> Value {
    json!({
        "id": job.uuid.to_string(),
        "priority": job.priority,
        "agent_query_rules": job.rules,
        "scheduled_at": job.scheduled_at,
        "runnable_at": job.runnable_at,
        "pipeline": {"slug": job.pipeline.0, "uuid": job.pipeline.1.to_string()},
        "build": {"number": job.build.0, "branch": job.build.1, "uuid": job.build.2.to_string()},
        "step": {"key": job.step_key},
    })
}

fn reserve(context: &mut Context<'_>, cluster: usize, stack: &str) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let jobs = json::texts(&body, "job_uuids")?;
    context.told.insert("count".into(), jobs.len().into());
    let seconds = json::integer(&body, "reservation_expiry_seconds")?;
    let answer = context
        .model
        .reserve(context.now, cluster, stack, &jobs, seconds, context.out)?;
    let reserved: Vec<String> = answer.reserved.iter().map(ToString::to_string).collect();
    Ok(Response::json(
        200,
        &json!({"reserved": reserved, "not_reserved": answer.not_reserved}),
    ))
}

fn finish(context: &mut Context<'_>, cluster: usize, stack: &str, job: &str) -> Result<Response, Refusal> {
    context.told.insert("job".into(), job.into());
    let body = json::object(&context.request.body)?;
    let finish = StackFinish {
        // Absent means −1: a client that leaves out a zero fails the job.
        exit_status: json::integer(&body, "exit_status")?.unwrap_or(-1),
        detail: json::text(&body, "detail")?.unwrap_or_default(),
        signal_reason: json::text(&body, "signal_reason")?.filter(|reason| !reason.is_empty()),
    };
    context
        .model
        .finish(context.now, cluster, stack, job, &finish, context.out)?;
    Ok(Response::json(200, &json!({})))
}

fn notify(context: &mut Context<'_>, cluster: usize, stack: &str) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let Some(Value::Array(entries)) = body.get("notifications") else {
        return Err(Refusal::bad("notifications must be an array"));
    };
    context.told.insert("count".into(), entries.len().into());
    let notifications = entries
        .iter()
        .map(|entry| {
            let Value::Object(entry) = entry else {
                return Err(Refusal::bad("A notification must be an object"));
            };
            Ok(Notification {
                job: json::text(entry, "job_uuid")?.unwrap_or_default(),
                detail: json::text(entry, "detail")?.unwrap_or_default(),
                timestamp: json::text(entry, "timestamp")?,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let errors = context
        .model
        .notify(context.now, cluster, stack, &notifications, context.out)?;
    let errors: Vec<Value> = errors
        .iter()
        .map(|error| json!({"error": error.error, "indexes": error.indexes}))
        .collect();
    Ok(Response::json(200, &json!({ "errors": errors })))
}

fn acquisition_tokens(context: &mut Context<'_>, cluster: usize, stack: &str) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let jobs = json::texts(&body, "job_uuids")?;
    context.told.insert("count".into(), jobs.len().into());
    let seconds = json::integer(&body, "token_lifetime_seconds")?;
    let tokens =
        context
            .model
            .issue_acquisition_tokens(context.now, cluster, stack, &jobs, seconds, context.out)?;
    let issued: Vec<Value> = tokens
        .issued
        .iter()
        .map(|token| {
            json!({
                "job_uuid": token.job.to_string(),
                "job_acquisition_token": token.token,
                "expires_at": token.expires_at,
            })
        })
        .collect();
    Ok(Response::json(
        201,
        &json!({"job_acquisition_tokens": issued, "not_issued": tokens.not_issued}),
    ))
}
