//! Between the model and the executor: what a field comes to, and the objects that have fields.

use std::cell::{Cell, RefCell};

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, JsonValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use super::super::super::ids::{AgentKey, BuildKey, JobKey, QueueKey, Refusal, StepKey};
use super::super::super::model::Model;
use super::super::super::stacks::ListView;
use crate::event::Effects;
use crate::fault::Faults;
use crate::now::Now;
use crate::stamp::rfc3339;

/// An object of the API: where the model keeps it.
#[derive(Clone, Debug)]
pub(super) enum Thing {
    Query,
    Mutation,
    Organization,
    Viewer,
    /// The user of an API token, by its place.
    User(usize),
    Cluster(usize),
    Queue(QueueKey),
    /// Its place among the pipelines.
    Pipeline(usize),
    Build(BuildKey),
    Job(JobKey),
    Step(StepKey),
    /// The job of a block or input step.
    Block(StepKey),
    /// A job of a trigger step, by its place.
    Trigger(StepKey, usize),
    Agent(AgentKey),
    Annotation(BuildKey, Uuid),
    /// An entry of a job's timeline.
    Event(JobKey, usize),
    /// One that is nothing but its fields: its type, and these.
    Record(&'static str, Vec<(&'static str, Out)>),
}

/// What a field comes to.
#[derive(Clone, Debug)]
pub(super) enum Out {
    Leaf(Value),
    One(Thing),
    Many(Vec<Thing>),
}

impl Out {
    /// A value, or null.
    pub(super) fn leaf(value: impl Into<Value>) -> Self {
        Self::Leaf(value.into())
    }

    pub(super) fn null() -> Self {
        Self::Leaf(Value::Null)
    }

    /// An object, or null.
    pub(super) fn maybe(thing: Option<Thing>) -> Self {
        thing.map_or_else(Self::null, Self::One)
    }

    /// An object that is nothing but its values.
    pub(super) fn record<const N: usize>(name: &'static str, fields: [(&'static str, Value); N]) -> Self {
        let fields = fields.map(|(field, value)| (field, Self::Leaf(value)));
        Self::One(Thing::Record(name, fields.to_vec()))
    }

    /// A wall time, or null.
    pub(super) fn time(unix_ns: Option<i128>) -> Self {
        Self::leaf(unix_ns.map(rfc3339))
    }

    /// The id of a node: the kind and the UUID, which clients must not look into.
    pub(super) fn id(kind: &str, uuid: Uuid) -> Self {
        Self::leaf(node_id(kind, uuid))
    }
}

/// Ids are Base64 of the kind, three dashes and the UUID: `QWdlbnQtLS0wMThk…` in Buildkite's documentation is
/// `Agent---018d…`, and all kinds of jobs are `Job`.
pub(in crate::buildkite) fn node_id(kind: &str, uuid: Uuid) -> String {
    STANDARD.encode(format!("{kind}---{uuid}"))
}

/// Kind and UUID of an id.
pub(super) fn read_id(id: &str) -> Option<(String, Uuid)> {
    let text = String::from_utf8(STANDARD.decode(id.trim()).ok()?).ok()?;
    let (kind, uuid) = text.split_once("---")?;
    Some((kind.to_owned(), Uuid::parse_str(uuid).ok()?))
}

/// A refusal within a query: an entry of `errors`, and null for the field.
pub(super) type Answer = Result<Out, Refusal>;

/// What the resolvers of one request share.
pub(super) struct Site<'a> {
    pub(super) model: RefCell<&'a mut Model>,
    pub(super) faults: RefCell<&'a mut Faults>,
    pub(super) out: RefCell<&'a mut Effects>,
    pub(super) now: Now,
    /// Objects returned so far: the actual complexity.
    pub(super) points: Cell<u64>,
    /// The name of the operation, as faults know it.
    pub(super) method: String,
    /// The place of the caller's token among the API tokens.
    pub(super) user: usize,
}

impl Site<'_> {
    /// Whether dispatch of a queue is paused, by a person or by a fault.
    pub(super) fn is_paused(&self, queue: QueueKey) -> bool {
        let model = self.model.borrow();
        let key = &model.queues[queue.0].key;
        let paused = model.queues[queue.0].paused.is_some();
        paused
            || ListView::is_paused(
                &mut self.faults.borrow_mut(),
                self.now,
                key,
                &mut self.out.borrow_mut(),
            )
    }
}

/// The coerced arguments of a field.
#[derive(Clone, Copy)]
pub(super) struct Args<'a>(pub(super) &'a JsonMap);

impl<'a> Args<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn integer(self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    pub(super) fn flag(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    /// A list of texts; `None` where there is none, or null.
    pub(super) fn texts(self, name: &str) -> Option<Vec<&'a str>> {
        let items = self.0.get(name)?.as_array()?;
        Some(items.iter().filter_map(JsonValue::as_str).collect())
    }

    /// The fields of an input object.
    pub(super) fn object(self, name: &str) -> Option<Self> {
        self.0.get(name)?.as_object().map(Self)
    }

    pub(super) fn integers(self, name: &str) -> Option<Vec<i64>> {
        let items = self.0.get(name)?.as_array()?;
        Some(items.iter().filter_map(JsonValue::as_i64).collect())
    }
}

/// An object as the executor sees it.
pub(super) struct Resolver<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) thing: Thing,
}

impl ObjectValue for Resolver<'_> {
    fn type_name(&self) -> &str {
        match &self.thing {
            Thing::Query => "Query",
            Thing::Mutation => "Mutation",
            Thing::Organization => "Organization",
            Thing::Viewer => "Viewer",
            Thing::User(_) => "User",
            Thing::Cluster(_) => "Cluster",
            Thing::Queue(_) => "ClusterQueue",
            Thing::Pipeline(_) => "Pipeline",
            Thing::Build(_) => "Build",
            Thing::Job(_) => "JobTypeCommand",
            Thing::Step(step) if self.site.model.borrow().block(*step).is_some() => "StepInput",
            Thing::Step(step) if self.site.model.borrow().trigger(*step).is_some() => "StepTrigger",
            Thing::Step(_) => "StepCommand",
            Thing::Block(_) => "JobTypeBlock",
            Thing::Trigger(..) => "JobTypeTrigger",
            Thing::Agent(_) => "Agent",
            Thing::Annotation(..) => "Annotation",
            Thing::Event(job, index) => super::events::type_name(&self.site.model.borrow(), *job, *index),
            Thing::Record(name, _) => name,
        }
    }

    fn resolve_field<'b>(&'b self, info: &'b ResolveInfo<'b>) -> Result<ResolvedValue<'b>, FieldError> {
        let field = info.field_name();
        let answer = self.site.field(&self.thing, field, Args(info.arguments()));
        let known = answer.map_err(|refusal| FieldError {
            message: refusal.message,
        })?;
        let object = |thing: Thing| Resolver {
            site: self.site,
            thing,
        };
        let count = |points: u64| self.site.points.set(self.site.points.get() + points);
        match known {
            None => Err(self.unknown_field_error(info)),
            Some(Out::Leaf(Value::Array(items))) if info.field_definition().ty.is_list() => {
                Ok(ResolvedValue::list(items.into_iter().map(ResolvedValue::leaf)))
            }
            Some(Out::Leaf(value)) => Ok(ResolvedValue::leaf(value)),
            Some(Out::One(thing)) => {
                count(1);
                Ok(ResolvedValue::object(object(thing)))
            }
            // The edges of a connection are one point, their nodes are counted one by one.
            Some(Out::Many(things)) => {
                count(if field == "edges" { 1 } else { things.len() as u64 });
                Ok(ResolvedValue::list(
                    things
                        .into_iter()
                        .map(move |thing| ResolvedValue::object(object(thing))),
                ))
            }
        }
    }
}

impl Site<'_> {
    /// A field of an object; `None` if this fake has no answer for it, which a test finds.
    pub(super) fn field(&self, thing: &Thing, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        match thing {
            Thing::Query => self.query(field, args),
            Thing::Mutation => self.mutation(field, args),
            Thing::Organization => self.organization(field, args),
            Thing::Viewer => Ok(self.viewer(field)),
            Thing::User(user) => Ok(self.user(*user, field)),
            Thing::Cluster(cluster) => self.cluster(*cluster, field, args),
            Thing::Queue(queue) => Ok(self.queue(*queue, field)),
            Thing::Pipeline(pipeline) => self.pipeline(*pipeline, field, args),
            Thing::Build(build) => self.build(*build, field, args),
            Thing::Job(job) => self.job(*job, field, args),
            Thing::Step(step) => Ok(self.step(*step, field)),
            Thing::Block(step) => Ok(self.block(*step, field)),
            Thing::Trigger(step, index) => Ok(self.trigger((*step, *index), field)),
            Thing::Agent(agent) => self.agent(*agent, field, args),
            Thing::Annotation(build, uuid) => Ok(self.annotation(*build, *uuid, field)),
            Thing::Event(job, index) => Ok(self.event(*job, *index, field)),
            Thing::Record(_, fields) => {
                let known = fields.iter().find(|(name, _)| *name == field);
                Ok(known.map(|(_, out)| out.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_documentation() {
        let uuid = Uuid::parse_str("018dae2f-664c-41b8-9a87-f0f988deda3d").unwrap();
        let id = "QWdlbnQtLS0wMThkYWUyZi02NjRjLTQxYjgtOWE4Ny1mMGY5ODhkZWRhM2Q=";
        assert_eq!(node_id("Agent", uuid), id);
        assert_eq!(read_id(id), Some(("Agent".into(), uuid)));
        assert_eq!(read_id("Agent---018dae2f"), None);
    }
}
