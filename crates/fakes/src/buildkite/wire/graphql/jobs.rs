//! Jobs: lists of them, and one job.

use serde_json::{Value, json};

use super::connection::{self, List};
use super::filter::{Filter, blocks, triggers};
use super::places;
use super::thing::{Answer, Args, Out, Site, Thing};
use crate::buildkite::ids::{BuildKey, JobKey, Refusal, StepKey};
use crate::buildkite::job::{Job, State};
use crate::buildkite::model::Model;
use crate::buildkite::stacks::ListView;
use crate::stamp::rfc3339;

/// `JobEventSignalReason` of the schema.
const SIGNAL_REASONS: [&str; 7] = [
    "AGENT_INCOMPATIBLE",
    "AGENT_REFUSED",
    "AGENT_STOP",
    "CANCEL",
    "PROCESS_RUN_ERROR",
    "SIGNATURE_REJECTED",
    "STACK_ERROR",
];

pub(super) fn is_passed(job: &Job) -> bool {
    job.state == State::Finished && job.exit_status.as_deref() == Some("0")
}

/// A value of the schema's enum of signal reasons.
pub(super) fn signal_reason(reason: Option<&str>) -> Value {
    let upper = reason.map(str::to_uppercase);
    json!(upper.filter(|upper| SIGNAL_REASONS.contains(&upper.as_str())))
}

impl Site<'_> {
    /// The page of jobs that the arguments ask for, of those that `of` lets through, and of the block and trigger
    /// steps of builds that `within` lets through.
    pub(super) fn jobs(
        &self,
        args: Args<'_>,
        of: impl Fn(&Model, &Job) -> bool,
        within: impl Fn(&Model, BuildKey) -> bool,
    ) -> Answer {
        let model = self.model.borrow();
        let mut filter = Filter::read(&model, args)?;
        let view = self.view_of(&model, &filter);
        filter.as_of = (!view.lag.is_zero()).then(|| self.now.unix_ns - view.lag.as_nanos() as i128);
        let scheduled = filter.as_of.is_none()
            && filter
                .states
                .as_ref()
                .is_some_and(|states| states.iter().all(|is| *is == "SCHEDULED"));
        let candidates: Vec<JobKey> = if scheduled {
            model
                .queues
                .iter()
                .flat_map(|queue| queue.scheduled.iter().map(|(_, job)| *job))
                .collect()
        } else {
            (0..model.jobs.len()).map(JobKey).collect()
        };
        let assigned = args.text("order") == Some("RECENTLY_ASSIGNED");
        let place = |key: JobKey| {
            let at = if assigned {
                model.entered_at(key, State::Accepted).unwrap_or(0)
            } else {
                0
            };
            // Block steps stand between the jobs made before and behind them.
            (at.max(0) as u128) << 64 | (key.0 as u128 + 1) << 32
        };
        let commands = candidates
            .into_iter()
            .filter(|key| of(&model, &model.jobs[key.0]) && filter.meets(&model, *key))
            .map(|key| (place(key), Thing::Job(key)));
        let blocks = blocks(&model, &filter, &within);
        let triggers = triggers(&model, &filter, &within);
        List::newest_first(connection::JOBS, commands.chain(blocks).chain(triggers))
            .shifted(view.shift)
            .page(args)
    }

    /// What faults do to a list of jobs.
    fn view_of(&self, model: &Model, filter: &Filter<'_>) -> ListView {
        let queue = match filter.queues.as_deref() {
            Some([queue]) => model.queues[queue.0].key.as_str(),
            _ => "",
        };
        let (mut faults, mut out) = (self.faults.borrow_mut(), self.out.borrow_mut());
        ListView::of_list(&mut faults, self.now, &self.method, queue, &mut out)
    }

    pub(super) fn job(&self, key: JobKey, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        if field == "events" {
            let count = self.model.borrow().jobs[key.0].timeline.len();
            let events = (0..count).map(|index| Thing::Event(key, index));
            return List::in_order(connection::EVENTS, events).page(args).map(Some);
        }
        let build = self.model.borrow().jobs[key.0].build;
        if field == "annotations" {
            return self.annotations(build, Some(key), args).map(Some);
        }
        let model = self.model.borrow();
        if field == "artifacts" {
            return places::artifacts(&model, key, args).map(Some);
        }
        Ok(links(&model, key, field).or_else(|| leaf(&model, key, field).map(Out::Leaf)))
    }

    pub(super) fn block(&self, key: StepKey, field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let (step, block) = (&model.steps[key.0], model.block(key)?);
        Some(match field {
            "id" => Out::id("Job", block.job),
            "uuid" => Out::leaf(block.job.to_string()),
            "build" => Out::One(Thing::Build(step.build)),
            "step" => Out::One(Thing::Step(key)),
            "label" => Out::leaf(step.label.clone()),
            "state" => Out::leaf(model.block_state(key).to_uppercase()),
            "isUnblockable" => Out::leaf(model.block_state(key) == "blocked"),
            "unblockedAt" => Out::time(block.unblocked_at),
            "unblockedBy" => Out::maybe(block.unblocked_at.map(|_| Thing::User(0))),
            "retried" => Out::leaf(false),
            "retriedBy" | "retrySource" | "retryType" | "retriesCount" => Out::null(),
            _ => return None,
        })
    }

    pub(super) fn trigger(&self, at: (StepKey, usize), field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let (step, trigger) = (&model.steps[at.0.0], model.trigger(at.0)?);
        let job = trigger.jobs.get(at.1)?;
        Some(match field {
            "id" => Out::id("Job", job.uuid),
            "uuid" => Out::leaf(job.uuid.to_string()),
            "async" => Out::leaf(trigger.plan.asynchronous),
            "build" => Out::One(Thing::Build(step.build)),
            "triggered" => Out::maybe(job.build.map(Thing::Build)),
            "step" => Out::One(Thing::Step(at.0)),
            "label" => Out::leaf(step.label.clone()),
            "state" => Out::leaf(model.trigger_state(at).name().to_uppercase()),
            "retried" => Out::leaf(false),
            "retriedBy" | "retrySource" | "retryType" | "retriesCount" => Out::null(),
            _ => return None,
        })
    }

    pub(super) fn step(&self, key: StepKey, field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let step = &model.steps[key.0];
        Some(match field {
            "key" => Out::leaf(step.key.clone()),
            "uuid" => Out::leaf(step.uuid.to_string()),
            _ => return None,
        })
    }
}

/// What a job leads to.
fn links(model: &Model, key: JobKey, field: &str) -> Option<Out> {
    let (job, build) = (&model.jobs[key.0], model.build_of(key));
    Some(match field {
        "agent" => Out::maybe(job.agent.map(Thing::Agent)),
        "build" => Out::One(Thing::Build(job.build)),
        "cluster" => Out::One(Thing::Cluster(build.cluster)),
        "clusterQueue" => Out::One(Thing::Queue(job.queue)),
        "pipeline" => Out::maybe(model.pipelines.get_index_of(&build.pipeline).map(Thing::Pipeline)),
        "step" => Out::One(Thing::Step(job.step)),
        "retrySource" => Out::maybe(job.retry_of.map(Thing::Job)),
        "retriedBy" => Out::maybe((job.retry_kind == Some("manual")).then_some(Thing::User(0))),
        "concurrency" => {
            let group = model.group_of(job.step).map(|(limit, group)| {
                Thing::Record(
                    "JobConcurrency",
                    vec![("group", Out::leaf(group)), ("limit", Out::leaf(limit))],
                )
            });
            Out::maybe(group)
        }
        "priority" => Out::One(Thing::Record(
            "JobPriority",
            vec![("number", Out::leaf(job.priority))],
        )),
        "id" => Out::id("Job", job.uuid),
        _ => return None,
    })
}

fn leaf(model: &Model, key: JobKey, field: &str) -> Option<Value> {
    let (job, step) = (&model.jobs[key.0], model.step_of(key));
    let plan = model.plan_of(key);
    let time = |at: Option<i128>| json!(at.map(rfc3339));
    Some(match field {
        "agentQueryRules" => json!(job.rules),
        "automaticArtifactUploadPaths" => json!(plan.map(|plan| &plan.artifact_paths)),
        "brokenReason" => json!(step.omitted),
        "expiredAt" => Value::Null,
        "canceledAt" => time(model.entered_at(key, State::Canceled)),
        "command" => json!(plan.map(|plan| &plan.command)),
        "createdAt" => time(Some(job.created_at)),
        "env" => {
            let env = model.env_of(key);
            json!(
                env.iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
            )
        }
        "exitStatus" => json!(job.exit_status),
        "finishedAt" => time(job.finished_at),
        "label" => json!(model.label_of(key)),
        "matrix" => model.matrix_json(key),
        "parallelGroupIndex" => json!(job.parallel.map(|(index, _)| index)),
        "parallelGroupTotal" => json!(job.parallel.map(|(_, count)| count)),
        "passed" => json!(is_passed(job)),
        "promisedExitStatus" => json!(
            job.promised_failure
                .as_ref()
                .map(|promise| &promise["exit_status"])
        ),
        "promisedExitStatusAt" => json!(
            job.promised_failure
                .as_ref()
                .map(|promise| &promise["promised_at"])
        ),
        "retried" => json!(job.retried_in.is_some()),
        "retriesCount" => json!(job.retries),
        "retryType" => json!(job.retry_kind.map(str::to_uppercase)),
        "runnableAt" => time(job.runnable_at),
        "scheduledAt" => time(Some(job.scheduled_at)),
        "signal" => json!(job.signal),
        "signalReason" => signal_reason(job.signal_reason.as_deref()),
        "softFailed" => json!(
            job.state.is_terminal() && !job.state.is_left_out() && !is_passed(job) && model.is_green(key)
        ),
        "startedAt" => time(job.started_at),
        "state" => json!(job.state.name().to_uppercase()),
        "url" => json!(format!("{}#{}", model.build_url(model.build_of(key)), job.uuid)),
        "uuid" => json!(job.uuid),
        _ => return None,
    })
}
