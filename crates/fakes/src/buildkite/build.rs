//! Builds and their steps.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use uuid::Uuid;

use super::extras::Annotation;
use super::ids::{BuildKey, JobKey, StepKey};
use super::pipeline::CommandPlan;

/// How a build stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// Some step is not done.
    Running,
    /// A person cancelled it and jobs still end.
    Canceling,
    /// All steps passed.
    Passed,
    /// A step failed.
    Failed,
    /// It was cancelled.
    Canceled,
}

impl BuildState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Canceling => "canceling",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// One build.
#[derive(Debug)]
pub struct Build {
    /// Its number, unique in the organization (pipelines share the count here).
    pub number: u64,
    /// Its UUID.
    pub uuid: Uuid,
    /// Slug of its pipeline.
    pub pipeline: String,
    /// Branch it builds.
    pub branch: String,
    /// How it stands.
    pub state: BuildState,
    pub(super) pipeline_uuid: Uuid,
    pub(super) cluster: usize,
    pub(super) created_at: i128,
    pub(super) started_at: Option<i128>,
    pub(super) finished_at: Option<i128>,
    pub(super) canceled_at: Option<i128>,
    pub(super) failing_at: Option<i128>,
    /// Priority of jobs whose step has none.
    pub(super) priority: i64,
    pub(super) env: IndexMap<String, String>,
    /// All steps in the order of the pipeline, uploaded ones behind the step that uploaded them.
    pub(super) order: Vec<StepKey>,
    pub(super) keys: BTreeMap<String, StepKey>,
    pub(super) open_steps: usize,
    pub(super) jobs: usize,
    pub(super) meta_data: BTreeMap<String, String>,
    pub(super) annotations: Vec<Annotation>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepState {
    /// Waits for other steps.
    Waiting,
    /// Its jobs are on their way.
    Ready,
    /// All its jobs ended well.
    Passed,
    /// One did not.
    Failed,
    /// A step it waits for failed: its jobs do not run.
    NotRun,
}

impl StepState {
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::NotRun)
    }
}

/// What a step is.
#[derive(Debug)]
pub(super) enum StepKind {
    /// Has jobs.
    Command(Box<CommandPlan>),
    /// Passes when all before it are done.
    Wait,
    /// Passes when its children did.
    Group,
}

/// A step waits for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) on: StepKey,
    pub(super) allow_failure: bool,
}

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) uuid: Uuid,
    pub(super) build: BuildKey,
    pub(super) key: Option<String>,
    pub(super) label: Option<String>,
    pub(super) kind: StepKind,
    pub(super) state: StepState,
    pub(super) links: Vec<Link>,
    pub(super) dependents: Vec<StepKey>,
    /// Links whose step is not done.
    pub(super) pending: usize,
    /// Its jobs, retried ones replaced by their retries.
    pub(super) jobs: Vec<JobKey>,
    /// Jobs that have not ended.
    pub(super) open_jobs: usize,
    /// What `buildkite-agent step update` set.
    pub(super) attributes: BTreeMap<String, String>,
}
