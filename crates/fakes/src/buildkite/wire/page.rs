//! The web pages, as a developer sees them: all builds at `/`, and one at
//! `/{organization}/{pipeline}/builds/{number}`, where the links of jobs lead. No authorization.

mod build;
mod frame;
mod list;

use crate::buildkite::ids::BuildKey;
use crate::buildkite::model::Model;
use crate::now::Now;
use crate::wire::{Request, Response};

/// A log as HTML: without its colours and marks.
pub(super) fn log(text: &str) -> String {
    frame::escape(&frame::plain(text))
}

/// The page of a request, if it asks for one.
pub(super) fn page(model: &Model, now: Now, request: &Request, segments: &[&str]) -> Option<Response> {
    if request.method != "GET" {
        return None;
    }
    match segments {
        [""] => Some(list::show(model, now)),
        [organization, pipeline, "builds", number] if *organization == model.config.organization => {
            let build = model
                .build(number.parse().ok()?)
                .filter(|build| build.pipeline == *pipeline);
            let Some(build) = build else {
                return Some(Response::message(404, "No build found"));
            };
            Some(build::show(model, now, BuildKey(build.number as usize - 1)))
        }
        _ => None,
    }
}
