//! Builds and their steps.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::extras::Annotation;
use super::ids::{BuildKey, JobKey, StepKey};
use super::job::State;
use super::pipeline::{BlockPlan, CommandPlan, TriggerPlan};

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
    /// No step of it was to run.
    NotRun,
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
            Self::NotRun => "not_run",
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
    /// What it is for, if anybody said so.
    pub(super) message: Option<String>,
    /// Who wrote the commit, if the caller said so.
    pub(super) author: Value,
    /// Whether it was told that only a person can carry it on.
    pub(super) told_blocked: bool,
    pub(super) commit: String,
    /// The job of a trigger step that made it.
    pub(super) from: Option<(StepKey, usize)>,
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

impl Build {
    /// Its place among the builds.
    pub(super) fn key(&self) -> BuildKey {
        BuildKey(self.number as usize - 1)
    }

    /// The message that its jobs see.
    pub(super) fn message_text(&self) -> String {
        let own = self.message.clone();
        own.unwrap_or_else(|| format!("Build {}", self.number))
    }

    /// Who asked for it.
    pub(super) fn source(&self) -> &'static str {
        if self.from.is_some() { "trigger_job" } else { "api" }
    }
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
    /// Not made for this build: what waits for it does not wait.
    Ignored,
}

impl StepState {
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::NotRun | Self::Ignored)
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
    /// Passes when a person lets it.
    Block(Box<Block>),
    /// Passes when builds of another pipeline did.
    Trigger(Box<Trigger>),
}

impl Step {
    /// Whether the steps behind it wait for all before it.
    pub(super) fn is_barrier(&self) -> bool {
        self.omitted.is_none() && self.kind.is_barrier()
    }
}

impl StepKind {
    fn is_barrier(&self) -> bool {
        match self {
            Self::Wait => true,
            Self::Block(block) => !block.plan.input,
            Self::Command(_) | Self::Group | Self::Trigger(_) => false,
        }
    }
}

/// A block or input step. Buildkite shows it as a job of its own, of type `manual`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) plan: BlockPlan,
    /// UUID of that job.
    pub(super) job: Uuid,
    /// How many jobs there were before it: its place in lists of jobs.
    pub(super) behind: usize,
    /// When a person let it pass, wall time.
    pub(super) unblocked_at: Option<i128>,
}

/// A trigger step. Buildkite shows it as jobs of its own, of type `trigger`.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) plan: TriggerPlan,
    /// How many jobs there were before it: its place in lists of jobs.
    pub(super) behind: usize,
    pub(super) jobs: Vec<TriggerJob>,
}

/// A job that makes a build, and follows it.
#[derive(Debug)]
pub(super) struct TriggerJob {
    pub(super) uuid: Uuid,
    pub(super) build: Option<BuildKey>,
    pub(super) end: Option<State>,
    pub(super) passed: bool,
    pub(super) runnable_at: Option<i128>,
    pub(super) started_at: Option<i128>,
    pub(super) finished_at: Option<i128>,
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
    /// Why it is not made for this build, if it is not.
    pub(super) omitted: Option<&'static str>,
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
