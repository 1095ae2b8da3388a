//! The jobs of a build: listed by cursor, and those that failed run again.

use serde_json::{Value, json};
use uuid::Uuid;

use super::filters::{flag, values};
use super::shown::{self, Wanted};
use super::{Context, builds, pages};
use crate::buildkite::ids::Refusal;
use crate::buildkite::job::State;
use crate::buildkite::wire::json as body;
use crate::wire::Response;

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

/// Jobs of a build. A cursor is the job that a page begins behind, or ends ahead of.
pub(super) fn list(context: &Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key = builds::find(context, pipeline, number)?;
    let request = context.request;
    let states = values(request, "state");
    if let Some(unknown) = states.iter().find(|state| !JOB_STATES.contains(state)) {
        return Err(Refusal::bad(format!("{unknown:?} is not a state of jobs")));
    }
    let size = match request.query("per_page").map(str::parse::<usize>) {
        None => 30,
        Some(Ok(size)) if (1..=100).contains(&size) => size,
        Some(_) => return Err(Refusal::bad("per_page must be an integer from 1 to 100")),
    };
    let is = |job: &Value, field: &str| request.query(field).is_none_or(|wanted| job[field] == wanted);
    let mut all = shown::jobs(context, key, flag(request, "include_retried_jobs") != Some(false));
    // A job that is shown as scheduled can still be asked for as what it is.
    let is_limited = |job: &Value| {
        let uuid = job["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        let key = uuid.and_then(|uuid| context.model.jobs_by_uuid.get(&uuid));
        key.is_some_and(|key| context.model.jobs[key.0].state == State::Limited)
    };
    let has = |job: &Value, state: &str| job["state"] == state || state == "limited" && is_limited(job);
    all.retain(|job| {
        (states.is_empty() || states.iter().any(|state| has(job, state)))
            && is(job, "step_key")
            && is(job, "group_key")
    });
    page(context, &all, size)
}

fn page(context: &Context<'_>, all: &[Value], size: usize) -> Result<Response, Refusal> {
    let place = |name: &str| match context.request.query(name) {
        None => Ok(None),
        Some(cursor) => {
            let at = all.iter().position(|job| job["id"] == cursor);
            let wrong = || Refusal::bad(format!("{name} is not a cursor of this list"));
            at.map(Some).ok_or_else(wrong)
        }
    };
    let (from, to) = match (place("after")?, place("before")?) {
        (Some(_), Some(_)) => return Err(Refusal::bad("after and before exclude each other")),
        (None, Some(before)) => (before.saturating_sub(size), before),
        (after, None) => {
            let from = after.map_or(0, |after| after + 1);
            (from, all.len().min(from + size))
        }
    };
    // Filters go on with the links.
    let link = |cursor: &str, job: &Value| {
        let mut with = vec![("per_page", size.to_string())];
        with.extend(job["id"].as_str().map(|id| (cursor, id.to_owned())));
        pages::url(context, &["after", "before", "per_page"], &with)
    };
    let mut links = json!({"self": link("", &Value::Null)});
    if from > 0 {
        links["first"] = links["self"].clone();
    }
    if let Some(first) = all.get(from).filter(|_| from > 0) {
        links["prev"] = link("before", first).into();
    }
    if let Some(last) = all.get(to.wrapping_sub(1)).filter(|_| to < all.len()) {
        links["next"] = link("after", last).into();
    }
    Ok(Response::json(
        200,
        &json!({"items": all[from..to], "links": links}),
    ))
}

/// Retries the jobs of a build that failed, or of those the ones in the states that are named.
pub(super) fn retry_failed(
    context: &mut Context<'_>,
    pipeline: &str,
    number: &str,
) -> Result<Response, Refusal> {
    const STATES: [&str; 5] = ["canceled", "expired", "failed", "soft_failed", "timed_out"];
    let key = builds::find(context, pipeline, number)?;
    let posted = body::optional_object(&context.request.body)?;
    let named = body::text(&posted, "states")?.unwrap_or_default();
    let named: Vec<&str> = named
        .split(',')
        .map(str::trim)
        .filter(|is| !is.is_empty())
        .collect();
    let unknown: Vec<&str> = named.iter().filter(|is| !STATES.contains(is)).copied().collect();
    if !unknown.is_empty() {
        let words = format!(
            "Invalid states: {}. Valid states are {}.",
            unknown.join(", "),
            STATES.join(", ")
        );
        return Err(Refusal::bad(words));
    }
    let mut count = 0;
    for job in shown::jobs(context, key, false) {
        let state = match job["state"].as_str() {
            Some("failed") if job["soft_failed"] == true => "soft_failed",
            state => state.unwrap_or_default(),
        };
        let meant = STATES.contains(&state) && (named.is_empty() || named.contains(&state));
        let uuid = job["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        if let Some(uuid) = uuid.filter(|_| meant) {
            // A step may say that its jobs are not to be retried.
            let retried = context.model.retry_job(context.now, uuid, context.out);
            count += usize::from(retried.is_ok());
        }
    }
    let mut shown = Wanted::read(context.request).show(context, key);
    shown["retried_jobs_count"] = count.into();
    Ok(Response::json(202, &shown))
}
