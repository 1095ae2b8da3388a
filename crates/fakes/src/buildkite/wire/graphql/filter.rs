//! Which jobs a list is asked for.

use super::jobs::is_passed;
use super::thing::{Args, Thing, read_id};
use crate::buildkite::ids::{BuildKey, JobKey, QueueKey, Refusal, StepKey};
use crate::buildkite::model::Model;
use crate::stamp::{parse_rfc3339, rfc3339};

/// The arguments of `jobs`, which all must hold.
#[derive(Default)]
pub(super) struct Filter<'a> {
    command: bool,
    block: bool,
    trigger: bool,
    pub(super) states: Option<Vec<&'a str>>,
    rules: Vec<&'a str>,
    pub(super) queues: Option<Vec<QueueKey>>,
    cluster: Option<Option<usize>>,
    priorities: Option<Vec<i64>>,
    groups: Option<Vec<&'a str>>,
    steps: Option<Vec<&'a str>>,
    passed: Option<bool>,
    created: (Option<i128>, Option<i128>),
    finished: Option<String>,
    clustered: bool,
    /// By a fault, the list is that of this wall time.
    pub(super) as_of: Option<i128>,
}

impl<'a> Filter<'a> {
    pub(super) fn read(model: &Model, args: Args<'a>) -> Result<Self, Refusal> {
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
            command: types.as_ref().is_none_or(|types| types.contains(&"COMMAND")),
            block: types.as_ref().is_none_or(|types| types.contains(&"BLOCK")),
            trigger: types.as_ref().is_none_or(|types| types.contains(&"TRIGGER")),
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
            as_of: None,
        })
    }

    /// Whether it asks for nothing that only command jobs have.
    fn takes_others(&self) -> bool {
        self.rules.is_empty()
            && self.queues.is_none()
            && self.cluster.is_none()
            && self.priorities.is_none()
            && self.groups.is_none()
            && self.steps.is_none()
            && self.passed.is_none()
            && self.created == (None, None)
            && self.finished.is_none()
    }

    pub(super) fn meets(&self, model: &Model, key: JobKey) -> bool {
        let (job, step) = (&model.jobs[key.0], model.step_of(key));
        let within = |list: &Option<Vec<&str>>, is: Option<&str>| {
            list.as_ref()
                .is_none_or(|list| is.is_some_and(|is| list.contains(&is)))
        };
        let group = model.group_of(job.step).map(|(_, group)| group);
        let day = |at: i128| rfc3339(at)[..10].to_owned();
        let state = match self.as_of {
            None => job.state,
            Some(at) => match model.state_at(key, at) {
                None => return false,
                Some(state) => state,
            },
        };
        // Every job here belongs to a queue of a cluster.
        self.command
            && self.clustered
            && self.states.as_ref().is_none_or(|states| {
                let is = state.name();
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

/// The block steps that meet a filter. They have no rules, queue, priority or end.
pub(super) fn blocks(
    model: &Model,
    filter: &Filter<'_>,
    within: &impl Fn(&Model, BuildKey) -> bool,
) -> Vec<(u128, Thing)> {
    if !filter.block || !filter.takes_others() {
        return Vec::new();
    }
    let meets = |step: &StepKey| {
        let (build, state) = (model.steps[step.0].build, model.block_state(*step));
        let states = filter.states.as_ref();
        within(model, build)
            && states.is_none_or(|states| states.iter().any(|is| is.eq_ignore_ascii_case(state)))
    };
    let place = |step: StepKey| {
        let behind = model.block(step).map_or(0, |block| block.behind);
        (behind as u128) << 32 | (step.0 as u128 + 1) << 10
    };
    let found = model.blocks.values().filter(|step| meets(step));
    found.map(|step| (place(*step), Thing::Block(*step))).collect()
}

/// The jobs of trigger steps that meet a filter. As those of block steps.
pub(super) fn triggers(
    model: &Model,
    filter: &Filter<'_>,
    within: &impl Fn(&Model, BuildKey) -> bool,
) -> Vec<(u128, Thing)> {
    if !filter.trigger || !filter.takes_others() {
        return Vec::new();
    }
    let meets = |at: &&(StepKey, usize)| {
        let (build, state) = (model.steps[at.0.0].build, model.trigger_state(**at).name());
        let states = filter.states.as_ref();
        within(model, build)
            && states.is_none_or(|states| states.iter().any(|is| is.eq_ignore_ascii_case(state)))
    };
    // Behind the jobs made before them, each in a place of its own.
    let place = |(step, index): (StepKey, usize)| {
        let behind = model.trigger(step).map_or(0, |trigger| trigger.behind);
        (behind as u128) << 32 | (step.0 as u128 + 1) << 10 | index as u128
    };
    let found = model.triggers.values().filter(meets);
    found.map(|at| (place(*at), Thing::Trigger(at.0, at.1))).collect()
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
