//! The log of a job in its forms, and its environment as text (docs: `apis/rest_api/jobs`).
//!
//! `HEAD` tells the size of the log as it is stored; of the text, and of it alone, the end can be had by a range.

use serde_json::json;

use super::Context;
use crate::buildkite::ids::{JobKey, Refusal};
use crate::buildkite::wire::page;
use crate::wire::Response;

/// The log in the form that the request accepts.
pub(super) fn answer(context: &Context<'_>, key: JobKey) -> Result<Response, Refusal> {
    if context.request.method == "HEAD" || accepts(context, "text/plain") {
        return raw(context, key);
    }
    if context.request.header("range").is_some() {
        return Err(Refusal::bad("Range requests need Accept: text/plain"));
    }
    if accepts(context, "text/html") {
        return Ok(html(context, key));
    }
    let content = context.model.jobs[key.0].log.text();
    let url = context.model.rest_job(context.now, key)["log_url"].clone();
    let body = json!({"url": url, "content": content, "size": content.len(), "header_times": []});
    Ok(Response::json(200, &body))
}

/// The bytes as they are stored; with `Range: bytes=-N` the last N of them.
pub(super) fn raw(context: &Context<'_>, key: JobKey) -> Result<Response, Refusal> {
    let bytes = context.model.jobs[key.0].log.raw();
    let all = bytes.len();
    let range = context.request.header("range");
    let (status, body) = match range.filter(|_| context.request.method == "GET") {
        None => (200, bytes),
        Some(range) => {
            let last = range
                .strip_prefix("bytes=-")
                .and_then(|last| last.parse::<usize>().ok());
            let last = last
                .filter(|last| *last > 0)
                .ok_or_else(|| Refusal::bad("Only suffix ranges (bytes=-N) are supported"))?;
            if all == 0 {
                return Err(Refusal::new(416, "The job log is empty"));
            }
            (206, bytes[all - last.min(all)..].to_vec())
        }
    };
    let from = all - body.len();
    let response = Response {
        body: body.into(),
        ..Response::empty(status)
    };
    let response = response
        .with("content-type", "text/plain; charset=utf-8")
        .with("Accept-Ranges", "bytes");
    Ok(match status {
        206 => response.with("Content-Range", format!("bytes {from}-{}/{all}", all - 1)),
        _ => response,
    })
}

pub(super) fn html(context: &Context<'_>, key: JobKey) -> Response {
    let text = page::log(&context.model.jobs[key.0].log.text());
    Response {
        body: text.into(),
        ..Response::empty(200)
    }
    .with("content-type", "text/html; charset=utf-8")
}

/// The environment, a variable a line.
pub(super) fn env(context: &Context<'_>, key: JobKey) -> Response {
    let env = context.model.env_of(key);
    let lines: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value:?}\n"))
        .collect();
    Response {
        body: lines.concat().into(),
        ..Response::empty(200)
    }
    .with("content-type", "text/plain; charset=utf-8")
}

/// Whether the request asks for this type first.
pub(super) fn accepts(context: &Context<'_>, kind: &str) -> bool {
    let accept = context.request.header("accept");
    accept.is_some_and(|accept| accept.starts_with(kind))
}
