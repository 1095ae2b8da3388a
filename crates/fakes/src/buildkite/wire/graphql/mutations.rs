//! Mutations: what people do to jobs, builds, queues and agents.

use super::connection::edge;
use super::root::node;
use super::thing::{Args, Out, Site, Thing, node_id};
use crate::buildkite::extras::NewAnnotation;
use crate::buildkite::ids::{AgentKey, BuildKey, JobKey, QueueKey, Refusal};
use crate::buildkite::model::Pause;

impl Site<'_> {
    pub(super) fn mutation(&self, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        let input = args
            .object("input")
            .ok_or_else(|| Refusal::bad("input is required"))?;
        let (payload, mut fields) = match field {
            "jobTypeCommandCancel" => {
                let job = self.job_of(input, "id")?;
                let uuid = self.model.borrow().jobs[job.0].uuid;
                self.model
                    .borrow_mut()
                    .cancel_job(self.now, uuid, &mut self.out.borrow_mut())?;
                (
                    "JobTypeCommandCancelPayload",
                    vec![("jobTypeCommand", Out::One(Thing::Job(job)))],
                )
            }
            "jobTypeCommandRetry" => {
                let job = self.job_of(input, "id")?;
                let uuid = self.model.borrow().jobs[job.0].uuid;
                let mut model = self.model.borrow_mut();
                let new = model.retry_job(self.now, uuid, &mut self.out.borrow_mut())?;
                let new = model.job_key(new)?;
                let fields = vec![
                    ("jobTypeCommand", Out::One(Thing::Job(job))),
                    ("retriedInJobTypeCommand", Out::One(Thing::Job(new))),
                ];
                ("JobTypeCommandRetryPayload", fields)
            }
            "buildCancel" => {
                let build = self.build_of(input, "id")?;
                let number = self.model.borrow().builds[build.0].number;
                self.model
                    .borrow_mut()
                    .cancel_build(self.now, number, &mut self.out.borrow_mut())?;
                (
                    "BuildCancelPayload",
                    vec![("build", Out::One(Thing::Build(build)))],
                )
            }
            "buildAnnotate" => {
                let build = self.build_of(input, "buildID")?;
                let mut fields = self.annotate(build, None, input)?;
                fields.push(("build", Out::One(Thing::Build(build))));
                ("BuildAnnotatePayload", fields)
            }
            "jobAnnotate" => {
                let job = self.job_of(input, "jobId")?;
                let build = self.model.borrow().jobs[job.0].build;
                let mut fields = self.annotate(build, Some(job), input)?;
                fields.push(("job", Out::One(Thing::Job(job))));
                ("JobAnnotatePayload", fields)
            }
            "annotationDelete" => {
                let Some(Thing::Annotation(build, uuid)) = self.node(input, "id") else {
                    return Err(Refusal::not_found("annotation"));
                };
                let mut model = self.model.borrow_mut();
                model.delete_annotation(build, uuid, None, &mut self.out.borrow_mut())?;
                let id = Out::leaf(node_id("Annotation", uuid));
                let fields = vec![
                    ("build", Out::One(Thing::Build(build))),
                    ("deletedAnnotationId", id),
                ];
                ("AnnotationDeletePayload", fields)
            }
            "clusterQueuePauseDispatch" => {
                let queue = self.queue_of(input)?;
                let note = input.text("note").map(str::to_owned);
                let at = self.now.unix_ns;
                self.model.borrow_mut().queues[queue.0].paused = Some(Pause { at, note });
                (
                    "ClusterQueuePauseDispatchPayload",
                    vec![("queue", Out::One(Thing::Queue(queue)))],
                )
            }
            "clusterQueueResumeDispatch" => {
                let queue = self.queue_of(input)?;
                self.model.borrow_mut().queues[queue.0].paused = None;
                (
                    "ClusterQueueResumeDispatchPayload",
                    vec![("queue", Out::One(Thing::Queue(queue)))],
                )
            }
            "agentStop" | "agentPause" | "agentResume" => self.act_on_agent(field, input)?,
            _ => return Ok(None),
        };
        fields.push(("clientMutationId", Out::leaf(input.text("clientMutationId"))));
        Ok(Some(Out::One(Thing::Record(payload, fields))))
    }

    fn act_on_agent(
        &self,
        act: &str,
        input: Args<'_>,
    ) -> Result<(&'static str, Vec<(&'static str, Out)>), Refusal> {
        let Some(Thing::Agent(agent)) = self.node(input, "id") else {
            return Err(Refusal::not_found("agent"));
        };
        let mut model = self.model.borrow_mut();
        let agent: AgentKey = agent;
        let payload = match act {
            "agentStop" => {
                let force = input.flag("graceful") == Some(false);
                model.stop_agent_by_key(self.now, agent, force, &mut self.out.borrow_mut());
                "AgentStopPayload"
            }
            "agentPause" => {
                let minutes = input
                    .integer("timeoutInMinutes")
                    .and_then(|minutes| u32::try_from(minutes).ok());
                model.pause_agent_by_key(self.now, agent, minutes, input.text("note").map(str::to_owned));
                "AgentPausePayload"
            }
            _ => {
                model.resume_agent_by_key(agent);
                "AgentResumePayload"
            }
        };
        Ok((payload, vec![("agent", Out::One(Thing::Agent(agent)))]))
    }

    fn annotate(
        &self,
        build: BuildKey,
        job: Option<JobKey>,
        input: Args<'_>,
    ) -> Result<Vec<(&'static str, Out)>, Refusal> {
        let style = input.text("style").map(str::to_lowercase);
        let new = NewAnnotation {
            body: input.text("body").map(str::to_owned),
            context: input.text("context").map(str::to_owned),
            style: style.filter(|style| style != "default"),
            append: input.flag("append").unwrap_or(false),
            priority: input.integer("priority"),
            scope: Some(if job.is_some() { "job" } else { "build" }.into()),
        };
        let mut model = self.model.borrow_mut();
        let at = model.annotate_build(self.now, build, job, new, &mut self.out.borrow_mut())?;
        let note = Thing::Annotation(build, model.builds[build.0].annotations[at].uuid);
        Ok(vec![
            (
                "annotationEdge",
                Out::One(edge("AnnotationEdge", at as u128, note.clone())),
            ),
            ("annotation", Out::One(note)),
        ])
    }

    fn node(&self, input: Args<'_>, name: &str) -> Option<Thing> {
        node(&self.model.borrow(), input.text(name)?)
    }

    fn job_of(&self, input: Args<'_>, name: &str) -> Result<JobKey, Refusal> {
        match self.node(input, name) {
            Some(Thing::Job(job)) => Ok(job),
            _ => Err(Refusal::not_found("job")),
        }
    }

    fn build_of(&self, input: Args<'_>, name: &str) -> Result<BuildKey, Refusal> {
        match self.node(input, name) {
            Some(Thing::Build(build)) => Ok(build),
            _ => Err(Refusal::not_found("build")),
        }
    }

    fn queue_of(&self, input: Args<'_>) -> Result<QueueKey, Refusal> {
        match self.node(input, "id") {
            Some(Thing::Queue(queue)) => Ok(queue),
            _ => Err(Refusal::not_found("cluster queue")),
        }
    }
}
