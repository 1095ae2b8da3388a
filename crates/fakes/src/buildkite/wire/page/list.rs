//! The first page: all builds, newest first.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::frame::{badge, escape, length, moment, page};
use crate::buildkite::ids::BuildKey;
use crate::buildkite::model::Model;
use crate::now::Now;
use crate::wire::Response;

/// So many builds are shown.
const BUILDS: usize = 100;

pub(super) fn show(model: &Model, now: Now) -> Response {
    let mut main = String::from("<h1>Builds</h1>\n");
    if model.builds.is_empty() {
        main.push_str("<p class=\"soft\">There are none yet: <code>POST /builds</code> of the control surface makes one.</p>\n");
    } else {
        main.push_str("<table>\n<tr><th>Build<th>State<th>Branch<th>Jobs<th>Created<th>Length\n");
    }
    for (at, build) in model.builds.iter().enumerate().rev().take(BUILDS) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for job in model.jobs_of_build(BuildKey(at)) {
            *counts.entry(model.job_word(job)).or_default() += 1;
        }
        let jobs: Vec<String> = counts
            .iter()
            .map(|(state, count)| format!("{count} {}", state.replace('_', " ")))
            .collect();
        let end = build.finished_at.unwrap_or(now.unix_ns);
        // Writing to a string cannot fail.
        let _ = writeln!(
            main,
            "<tr><td><a href=\"/{}/{}/builds/{}\">{} #{}</a><td>{}<td>{}<td>{}<td>{}<td>{}",
            model.config.organization,
            build.pipeline,
            build.number,
            escape(&build.pipeline),
            build.number,
            badge(model.shown_state(build)),
            escape(&build.branch),
            jobs.join(", "),
            moment(build.created_at),
            length(end - build.created_at),
        );
    }
    if !model.builds.is_empty() {
        main.push_str("</table>\n");
    }
    let runs = model
        .builds
        .iter()
        .rev()
        .take(BUILDS)
        .any(|build| build.finished_at.is_none());
    page(&model.config.organization, "Builds", &main, runs)
}
