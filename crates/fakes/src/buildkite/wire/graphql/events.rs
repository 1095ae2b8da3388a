//! What happened to a job, as `JobTypeCommand.events`.
//!
//! The schema has a type for each kind of event that carries something; the rest are `JobEventGeneric`. The
//! names of kinds follow the states; where the schema has no kind for a change (back to `waiting`), it is
//! `CHANGED`.

use serde_json::{Value, json};

use super::jobs::signal_reason;
use super::thing::{Out, Site, Thing};
use crate::buildkite::ids::JobKey;
use crate::buildkite::job::State;
use crate::buildkite::model::Model;
use crate::buildkite::timeline::What;
use crate::stamp::rfc3339;

/// Object type, `type` and the actor's type of an entry.
fn kind(model: &Model, key: JobKey, index: usize) -> (&'static str, &'static str, &'static str) {
    let job = &model.jobs[key.0];
    match &job.timeline[index].what {
        What::CancelAsked => ("JobEventGeneric", "CANCELATION", "USER"),
        What::Notified(_) => ("JobEventStackNotification", "STACK_NOTIFICATION", "STACK"),
        What::StackEnded(_) if job.signal_reason.as_deref() == Some("stack_error") => {
            ("JobEventStackError", "STACK_ERRORED", "STACK")
        }
        What::StackEnded(_) => ("JobEventStackFinished", "STACK_FINISHED", "STACK"),
        What::Retried(_) if job.retry_kind == Some("manual") => ("JobEventRetried", "RETRIED", "USER"),
        What::Retried(_) => ("JobEventRetried", "RETRIED", "SYSTEM"),
        What::Reprioritized(..) => ("JobEventReprioritized", "REPRIORITIZED", "USER"),
        What::State { from, to, cause } => match (from, to) {
            (Some(State::Reserved), State::Scheduled) => ("JobEventGeneric", "RESERVED_EXPIRED", "SYSTEM"),
            (Some(State::Accepted), State::Scheduled) => ("JobEventGeneric", "ACCEPTED_EXPIRED", "SYSTEM"),
            (_, State::Scheduled) => ("JobEventGeneric", "SCHEDULED", "SYSTEM"),
            (_, State::Reserved) => ("JobEventGeneric", "RESERVED", "STACK"),
            (_, State::Accepted) => ("JobEventGeneric", "ACCEPTED", "AGENT"),
            (_, State::Running) => ("JobEventGeneric", "STARTED", "AGENT"),
            (_, State::Limited) => ("JobEventGeneric", "LIMITED", "SYSTEM"),
            (_, State::Finished) if &**cause == "agent lost" => ("JobEventGeneric", "AGENT_LOST", "SYSTEM"),
            (_, State::Finished) if &**cause == "the agent disconnected" => {
                ("JobEventGeneric", "AGENT_DISCONNECTED", "SYSTEM")
            }
            (_, State::Finished) if job.agent.is_none() => ("JobEventFinished", "FINISHED", "STACK"),
            (_, State::Finished) => ("JobEventFinished", "FINISHED", "AGENT"),
            (_, State::Canceled) => ("JobEventCanceled", "CANCELED", "SYSTEM"),
            (_, State::TimedOut) => ("JobEventTimedOut", "TIMED_OUT", "SYSTEM"),
            _ => ("JobEventGeneric", "CHANGED", "SYSTEM"),
        },
    }
}

pub(super) fn type_name(model: &Model, key: JobKey, index: usize) -> &'static str {
    kind(model, key, index).0
}

impl Site<'_> {
    pub(super) fn event(&self, key: JobKey, index: usize, field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let job = &model.jobs[key.0];
        let (_, ty, actor) = kind(&model, key, index);
        let moment = &job.timeline[index];
        let uuid = job.moment_uuid(index);
        // The schema wants a number also for what never ran.
        let status = || -> i64 {
            job.exit_status
                .as_deref()
                .and_then(|text| text.parse().ok())
                .unwrap_or(-1)
        };
        Some(match (field, &moment.what) {
            ("id", _) => Out::id("JobEvent", uuid),
            ("uuid", _) => Out::leaf(uuid.to_string()),
            ("job", _) => Out::One(Thing::Job(key)),
            ("timestamp", _) => Out::leaf(rfc3339(moment.at)),
            ("type", _) => Out::leaf(ty),
            ("actor", _) => Out::One(self.actor(&model, key, actor)),
            ("message", What::Notified(at)) => Out::leaf(job.notifications[*at].detail.clone()),
            ("detail" | "errorDetail", What::StackEnded(detail)) => Out::leaf(&**detail),
            ("retriedInJob", What::Retried(new)) => Out::One(Thing::Job(*new)),
            ("changedPriorityBeforeValue", What::Reprioritized(before, _)) => Out::leaf(*before),
            ("changedPriorityAfterValue", What::Reprioritized(_, after)) => Out::leaf(*after),
            ("exitStatus", _) => Out::leaf(status()),
            ("signal", _) => Out::Leaf(json!(job.signal)),
            ("signalReason", _) => Out::Leaf(signal_reason(job.signal_reason.as_deref())),
            _ => return None,
        })
    }

    fn actor(&self, model: &Model, key: JobKey, ty: &'static str) -> Thing {
        let (node, uuid) = match ty {
            "USER" => (Some(Thing::User(0)), Value::Null),
            "AGENT" => {
                let agent = model.jobs[key.0].agent;
                let uuid = agent.map(|agent| model.agents[agent.0].uuid);
                (agent.map(Thing::Agent), json!(uuid))
            }
            _ => (None, Value::Null),
        };
        Thing::Record(
            "JobEventActor",
            vec![
                ("node", Out::maybe(node)),
                ("type", Out::leaf(ty)),
                ("uuid", Out::Leaf(uuid)),
            ],
        )
    }
}
