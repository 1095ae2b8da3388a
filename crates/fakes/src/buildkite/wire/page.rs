//! The web pages: one plain page for each build, where the links of jobs lead.

use std::fmt::Write;

use crate::buildkite::model::Model;
use crate::wire::{Request, Response};

/// `GET /{organization}/{pipeline}/builds/{number}`.
pub(super) fn page(model: &Model, request: &Request, segments: &[&str]) -> Option<Response> {
    let [organization, pipeline, "builds", number] = segments else {
        return None;
    };
    if request.method != "GET" || *organization != model.config.organization {
        return None;
    }
    let build = model
        .build(number.parse().ok()?)
        .filter(|build| build.pipeline == *pipeline);
    let Some(build) = build else {
        return Some(Response::message(404, "No build found"));
    };
    let mut html = format!(
        "<!DOCTYPE html><title>{0} #{1}</title><h1>{0} #{1}: {2}</h1><table><tr><th>step<th>job<th>state<th>exit\n",
        escape(&build.pipeline),
        build.number,
        build.state.name()
    );
    for step in &build.order {
        let step = &model.steps[step.0];
        for job in &step.jobs {
            let job = &model.jobs[job.0];
            let name = step.label.as_deref().or(step.key.as_deref()).unwrap_or("");
            let exit = job.exit_status.as_deref().unwrap_or("");
            // Writing to a string cannot fail.
            let _ = writeln!(
                html,
                "<tr><td>{}<td>{}<td>{}<td>{}",
                escape(name),
                job.uuid,
                job.state.name(),
                escape(exit)
            );
        }
    }
    html.push_str("</table>\n");
    Some(
        Response {
            body: html.into(),
            ..Response::empty(200)
        }
        .with("content-type", "text/html; charset=utf-8"),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
