//! Jobs: lists of them with all their filters, and one job.

use serde_json::{Value, json};

use super::connection::{self, List};
use super::thing::{Answer, Args, Out, Site, Thing, read_id};
use crate::buildkite::ids::{JobKey, QueueKey, Refusal, StepKey};
use crate::buildkite::job::{Job, State};
use crate::buildkite::model::Model;
use crate::stamp::{parse_rfc3339, rfc3339};

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

/// The arguments of `jobs`, which all must hold.
#[derive(Default)]
struct Filter<'a> {
    command: bool,
    states: Option<Vec<&'a str>>,
    rules: Vec<&'a str>,
    queues: Option<Vec<QueueKey>>,
    cluster: Option<Option<usize>>,
    priorities: Option<Vec<i64>>,
    groups: Option<Vec<&'a str>>,
    steps: Option<Vec<&'a str>>,
    passed: Option<bool>,
    created: (Option<i128>, Option<i128>),
    finished: Option<String>,
    clustered: bool,
}

impl<'a> Filter<'a> {
    fn read(model: &Model, args: Args<'a>) -> Result<Self, Refusal> {
        let time = |name: &str| -> Result<Option<i128>, Refusal> {
            let wrong = || Refusal::bad(format!("`{name}` is not an ISO8601 time"));
            args.text(name)
                .map(|text| parse_rfc3339(text).ok_or_else(wrong))
                .transpose()
        };
        let types = args.texts("type");
        let priority = args.object("priority");
        let alone = args.integer("priority").map(|number| vec![number]);
        Ok(Self {
            // Only command steps have jobs in this fake's lists.
            command: types.is_none_or(|types| types.contains(&"COMMAND")),
            states: args.texts("state"),
            rules: args.texts("agentQueryRules").unwrap_or_default(),
            queues: args
                .texts("clusterQueue")
                .map(|ids| ids.into_iter().filter_map(|id| queue(model, id)).collect()),
            cluster: args.text("cluster").map(|id| cluster(model, id)),
            priorities: priority.and_then(|search| search.integers("number")).or(alone),
            groups: args
                .object("concurrency")
                .and_then(|search| search.texts("group")),
            steps: args.object("step").and_then(|search| search.texts("key")),
            passed: args.flag("passed"),
            created: (time("createdAtFrom")?, time("createdAtTo")?),
            finished: args
                .text("finishedAt")
                .map(|text| text.chars().take(10).collect()),
            clustered: args.flag("clustered").unwrap_or(true),
        })
    }

    fn meets(&self, model: &Model, key: JobKey) -> bool {
        let (job, step) = (&model.jobs[key.0], model.step_of(key));
        let within = |list: &Option<Vec<&str>>, is: Option<&str>| {
            list.as_ref()
                .is_none_or(|list| is.is_some_and(|is| list.contains(&is)))
        };
        let group = model.group_of(job.step).map(|(_, group)| group);
        let day = |at: i128| rfc3339(at)[..10].to_owned();
        // Every job here belongs to a queue of a cluster.
        self.command
            && self.clustered
            && self.states.as_ref().is_none_or(|states| {
                let is = job.state.name();
                states.iter().any(|state| state.eq_ignore_ascii_case(is))
            })
            && self
                .rules
                .iter()
                .all(|rule| job.rules.iter().any(|known| known == rule))
            && self
                .queues
                .as_ref()
                .is_none_or(|queues| queues.contains(&job.queue))
            && self
                .cluster
                .is_none_or(|cluster| cluster == Some(model.build_of(key).cluster))
            && self
                .priorities
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&job.priority))
            && within(&self.groups, group.as_deref())
            && within(&self.steps, step.key.as_deref())
            && self
                .passed
                .is_none_or(|passed| job.state.is_terminal() && passed == is_passed(job))
            && self.created.0.is_none_or(|from| job.created_at >= from)
            && self.created.1.is_none_or(|to| job.created_at <= to)
            && self
                .finished
                .as_ref()
                .is_none_or(|wanted| job.finished_at.map(day).as_ref() == Some(wanted))
    }
}

/// A queue by its id.
pub(super) fn queue(model: &Model, id: &str) -> Option<QueueKey> {
    let (kind, uuid) = read_id(id)?;
    let at = model.queues.iter().position(|queue| queue.uuid == uuid)?;
    (kind == "ClusterQueue").then_some(QueueKey(at))
}

/// A cluster by its id.
pub(super) fn cluster(model: &Model, id: &str) -> Option<usize> {
    let (kind, uuid) = read_id(id)?;
    let at = model.clusters.iter().position(|cluster| cluster.uuid == uuid)?;
    (kind == "Cluster").then_some(at)
}

fn is_passed(job: &Job) -> bool {
    job.state == State::Finished && job.exit_status.as_deref() == Some("0")
}

/// A value of the schema's enum of signal reasons.
pub(super) fn signal_reason(reason: Option<&str>) -> Value {
    let upper = reason.map(str::to_uppercase);
    json!(upper.filter(|upper| SIGNAL_REASONS.contains(&upper.as_str())))
}

impl Site<'_> {
    /// The page of jobs that the arguments ask for, of those that `of` lets through.
    pub(super) fn jobs(&self, args: Args<'_>, of: impl Fn(&Model, &Job) -> bool) -> Answer {
        let model = self.model.borrow();
        let filter = Filter::read(&model, args)?;
        let scheduled = filter
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
            (at.max(0) as u128) << 32 | key.0 as u128
        };
        let found = candidates
            .into_iter()
            .filter(|key| of(&model, &model.jobs[key.0]) && filter.meets(&model, *key))
            .map(|key| (place(key), Thing::Job(key)));
        List::newest_first(connection::JOBS, found).page(args)
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
        Ok(links(&model, key, field).or_else(|| leaf(&model, key, field).map(Out::Leaf)))
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
        "retriedBy" => Out::maybe((job.retry_kind == Some("manual")).then_some(Thing::User)),
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
        "brokenReason" | "expiredAt" | "promisedExitStatusAt" => Value::Null,
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
        "label" => json!(step.label),
        "parallelGroupIndex" => json!(job.parallel.map(|(index, _)| index)),
        "parallelGroupTotal" => json!(job.parallel.map(|(_, count)| count)),
        "passed" => json!(is_passed(job)),
        "promisedExitStatus" => json!(
            job.promised_failure
                .as_ref()
                .map(|promise| &promise["exit_status"])
        ),
        "retried" => json!(job.retried_in.is_some()),
        "retriesCount" => json!(job.retries),
        "retryType" => json!(job.retry_kind.map(str::to_uppercase)),
        "runnableAt" => time(job.runnable_at),
        "scheduledAt" => time(Some(job.scheduled_at)),
        "signal" => json!(job.signal),
        "signalReason" => signal_reason(job.signal_reason.as_deref()),
        "softFailed" => json!(
            job.state.is_terminal() && job.state != State::Skipped && !is_passed(job) && model.is_green(key)
        ),
        "startedAt" => time(job.started_at),
        "state" => json!(job.state.name().to_uppercase()),
        "url" => json!(format!("{}#{}", model.build_url(model.build_of(key)), job.uuid)),
        "uuid" => json!(job.uuid),
        _ => return None,
    })
}
