//! What there is to ask about: variables, and the names of the environment.

use super::check::Kind;
use super::{Expr, Problem};

const STATES: &[&str] = &[
    "creating",
    "started",
    "scheduled",
    "running",
    "blocked",
    "passed",
    "failing",
    "failed",
    "canceling",
    "canceled",
    "skipped",
    "not_run",
];

const SOURCES: &[&str] = &[
    "ui",
    "api",
    "webhook",
    "trigger_job",
    "schedule",
    "pipeline_trigger",
];

const VARIABLES: &[(&str, Kind)] = &[
    ("build.author.email", Kind::Text),
    ("build.author.id", Kind::Text),
    ("build.author.name", Kind::Text),
    ("build.author.teams", Kind::Texts),
    ("build.branch", Kind::Text),
    ("build.commit", Kind::Text),
    ("build.creator.email", Kind::Text),
    ("build.creator.id", Kind::Text),
    ("build.creator.name", Kind::Text),
    ("build.creator.teams", Kind::Texts),
    ("build.creator.verified", Kind::Flag),
    ("build.id", Kind::Text),
    ("build.merge_queue.base_branch", Kind::Text),
    ("build.merge_queue.base_commit", Kind::Text),
    ("build.message", Kind::Text),
    ("build.number", Kind::Number),
    ("build.pull_request.base_branch", Kind::Text),
    ("build.pull_request.draft", Kind::Flag),
    ("build.pull_request.id", Kind::Text),
    ("build.pull_request.label", Kind::Text),
    ("build.pull_request.labels", Kind::Texts),
    ("build.pull_request.repository", Kind::Text),
    ("build.pull_request.repository.fork", Kind::Flag),
    ("build.source", Kind::Choice(SOURCES)),
    ("build.source_action", Kind::Text),
    ("build.source_event", Kind::Text),
    ("build.state", Kind::Choice(STATES)),
    ("build.tag", Kind::Text),
    ("organization.id", Kind::Text),
    ("organization.slug", Kind::Text),
    ("pipeline.default_branch", Kind::Text),
    ("pipeline.id", Kind::Text),
    ("pipeline.repository", Kind::Text),
    ("pipeline.slug", Kind::Text),
    ("pipeline.started_failing", Kind::Flag),
    ("pipeline.started_passing", Kind::Flag),
];

pub(super) fn find(at: usize, name: &str) -> Result<Expr, Problem> {
    if let Some((name, kind)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(Expr::Variable(name, *kind));
    }
    let what = if name.starts_with("step.") {
        format!("`{name}` is there for notifications only")
    } else {
        format!("`{name}` is not a variable")
    };
    Err(Problem::new(at, what))
}

/// Variables of Buildkite's own that conditions can see.
const BUILDKITE: &[&str] = &[
    "BRANCH",
    "TAG",
    "MESSAGE",
    "COMMIT",
    "PIPELINE_SLUG",
    "PIPELINE_NAME",
    "PIPELINE_ID",
    "ORGANIZATION_SLUG",
    "TRIGGERED_FROM_BUILD_ID",
    "TRIGGERED_FROM_BUILD_NUMBER",
    "TRIGGERED_FROM_BUILD_PIPELINE_SLUG",
    "TRIGGERED_FROM_BUILD_JOB_ID",
    "REBUILT_FROM_BUILD_ID",
    "REBUILT_FROM_BUILD_NUMBER",
    "REPO",
    "PULL_REQUEST",
    "PULL_REQUEST_BASE_BRANCH",
    "PULL_REQUEST_REPO",
    "PULL_REQUEST_USING_MERGE_REFSPEC",
    "MERGE_QUEUE_BASE_BRANCH",
    "MERGE_QUEUE_BASE_COMMIT",
    "GIT_DIFF_BASE",
    "GITHUB_ACTION",
    "GITHUB_CHECK_RUN_CONCLUSION",
    "GITHUB_CHECK_RUN_NAME",
    "GITHUB_COMMENT_ID",
    "GITHUB_DEPLOYMENT_ENVIRONMENT",
    "GITHUB_DEPLOYMENT_ID",
    "GITHUB_DEPLOYMENT_PAYLOAD",
    "GITHUB_DEPLOYMENT_STATUS_ENVIRONMENT",
    "GITHUB_DEPLOYMENT_STATUS_STATE",
    "GITHUB_DEPLOYMENT_TASK",
    "GITHUB_EVENT",
    "GITHUB_RELEASE_DRAFT",
    "GITHUB_RELEASE_PRERELEASE",
    "GITHUB_RELEASE_TAG",
    "GITHUB_REVIEW_ID",
    "GITHUB_REVIEW_STATE",
];

/// Whether conditions can see the variable: all but those of Buildkite's own that are not made for it.
pub(in crate::buildkite) fn is_visible(name: &str) -> bool {
    name.strip_prefix("BUILDKITE_")
        .is_none_or(|rest| BUILDKITE.contains(&rest))
}

/// Refuses a name, written out, that can never be there.
pub(super) fn check_env(at: usize, name: &str) -> Result<(), Problem> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let what = if name.starts_with('$') {
        "the name of an environment variable must not begin with `$`".to_owned()
    } else if name.is_empty() || !name.chars().all(is_part) {
        format!("{name:?} is not the name of an environment variable")
    } else if !is_visible(name) {
        format!("{name:?} is not an environment variable that conditions can see")
    } else {
        return Ok(());
    };
    Err(Problem::new(at, what))
}
