//! Webhooks: who is told of what, with which body and headers.
//!
//! The model makes deliveries and puts them beside its events into [`Effects`]; what becomes of them (faults, the
//! way over the network) is up to [`crate::outbox`]. Facts (docs: `apis/webhooks/pipelines` and its pages): the event's
//! name is in `X-Buildkite-Event`; the token goes along as `X-Buildkite-Token`, or signs the time of dispatch and the
//! body with HMAC-SHA256; a body holds the objects of the REST API, builds without their jobs, and who made the webhook.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ids::{AgentKey, BuildKey, JobKey, Refusal, StepKey};
use super::job::State;
use super::model::Model;
use super::pipeline::covers;
use crate::event::Effects;
use crate::now::Now;

/// What can be subscribed to. `build.skipped` is known and never happens here.
pub const EVENTS: &[&str] = &[
    "ping",
    "build.scheduled",
    "build.running",
    "build.failing",
    "build.finished",
    "build.skipped",
    "job.scheduled",
    "job.started",
    "job.finished",
    "job.activated",
    "job.promised_exit_status",
    "agent.connected",
    "agent.disconnected",
    "agent.lost",
    "agent.stopping",
    "agent.stopped",
    "agent.blocked",
    "cluster_token.registration_blocked",
];

/// How the receiver knows that a request comes from Buildkite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// The token goes along as it is.
    #[default]
    Token,
    /// The token signs each request.
    Signature,
}

/// A webhook as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where requests go, `http://…` or `https://…`.
    pub url: String,
    /// The secret.
    pub token: String,
    /// How it is used.
    #[serde(default)]
    pub scheme: Scheme,
    /// What is told; all where this is empty.
    #[serde(default)]
    pub events: Vec<String>,
    /// Slugs of the pipelines it is told about; all where this is empty.
    #[serde(default)]
    pub pipelines: Vec<String>,
    /// Patterns of the branches it is told about; all where this is empty.
    #[serde(default)]
    pub branches: String,
}

impl Webhook {
    /// What is wrong with it, if anything is.
    pub fn problem(&self) -> Option<String> {
        if !["http://", "https://"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
        {
            return Some(format!("the url {:?} is neither http:// nor https://", self.url));
        }
        let unknown = self
            .events
            .iter()
            .find(|event| !EVENTS.contains(&event.as_str()))?;
        Some(format!(
            "the event {unknown:?} does not exist; there are {}",
            EVENTS.join(", ")
        ))
    }
}

/// One request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number, from 1: the order in which the events happened.
    pub id: u64,
    /// Id of the webhook.
    pub webhook: String,
    /// Where it goes.
    pub url: String,
    /// `job.scheduled` …
    pub event: String,
    /// UUID of the job it is about, if it is about one.
    pub job: Option<Uuid>,
    /// The body, JSON.
    pub body: String,
    token: String,
    scheme: Scheme,
}

impl Delivery {
    /// The headers of the request when it is sent at a time (seconds since the epoch).
    pub fn headers(&self, unix_s: i64) -> Vec<(&'static str, String)> {
        let proof = match self.scheme {
            Scheme::Token => ("X-Buildkite-Token", self.token.clone()),
            Scheme::Signature => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.token.as_bytes());
                let tag = hmac::sign(&key, format!("{unix_s}.{}", self.body).as_bytes());
                let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                (
                    "X-Buildkite-Signature",
                    format!("timestamp={unix_s},signature={hex}"),
                )
            }
        };
        vec![
            ("Content-Type", "application/json".into()),
            ("User-Agent", "Buildkite-Request".into()),
            ("X-Buildkite-Event", self.event.clone()),
            (
                "X-Buildkite-Request",
                Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.id.to_be_bytes()).to_string(),
            ),
            proof,
        ]
    }
}

/// The webhooks of an organization.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    set: Vec<(String, Webhook)>,
    made: u64,
    deliveries: u64,
}

impl Webhooks {
    /// Those of the configuration file, which are there before anybody could be told.
    pub(super) fn configured(webhooks: &[Webhook]) -> Self {
        let numbered = webhooks.iter().enumerate();
        Self {
            set: numbered
                .map(|(at, webhook)| (format!("w{}", at + 1), webhook.clone()))
                .collect(),
            made: webhooks.len() as u64,
            deliveries: 0,
        }
    }
}

impl Model {
    /// Adds a webhook and returns its id. It is told by a `ping`, as it is of every change of it.
    pub fn add_webhook(&mut self, webhook: Webhook, out: &mut Effects) -> Result<String, Refusal> {
        if let Some(problem) = webhook.problem() {
            return Err(Refusal::unprocessable(problem));
        }
        self.webhooks.made += 1;
        let id = format!("w{}", self.webhooks.made);
        let service = json!({"id": id, "provider": "webhook", "settings": {"url": webhook.url}});
        self.webhooks.set.push((id.clone(), webhook));
        let last = self.webhooks.set.len() - 1;
        let organization = json!({"id": self.organization, "slug": self.config.organization});
        let body = json!({"event": "ping", "service": service, "organization": organization});
        self.deliver(last, "ping", None, body, out);
        Ok(id)
    }

    /// Removes a webhook. False if there is none of that id.
    pub fn remove_webhook(&mut self, id: &str) -> bool {
        let before = self.webhooks.set.len();
        self.webhooks.set.retain(|(known, _)| known != id);
        self.webhooks.set.len() < before
    }

    /// All webhooks, without their tokens.
    pub fn webhooks_json(&self) -> Value {
        let shown = self.webhooks.set.iter().map(|(id, webhook)| {
            let mut shown =
                json!({"id": id, "url": webhook.url, "scheme": webhook.scheme, "events": webhook.events});
            if !webhook.pipelines.is_empty() {
                shown["pipelines"] = json!(webhook.pipelines);
            }
            if !webhook.branches.is_empty() {
                shown["branches"] = json!(webhook.branches);
            }
            shown
        });
        shown.collect()
    }

    /// A job came into a state: `job.scheduled`, `job.started`, `job.finished`.
    pub(super) fn tell_job(&mut self, now: Now, key: JobKey, from: Option<State>, out: &mut Effects) {
        let job = &self.jobs[key.0];
        let event = match job.state {
            // A reservation that runs out, or an agent that does not start, schedules nothing anew.
            State::Scheduled if matches!(from, Some(State::Reserved | State::Accepted)) => return,
            State::Scheduled => "job.scheduled",
            State::Running => "job.started",
            State::Finished | State::Canceled | State::TimedOut | State::Broken => "job.finished",
            _ => return,
        };
        self.tell_about_job(now, key, event, out);
    }

    pub(super) fn tell_about_job(&mut self, now: Now, key: JobKey, event: &'static str, out: &mut Effects) {
        let (build, uuid) = (self.jobs[key.0].build, self.jobs[key.0].uuid);
        self.tell(event, (Some(build), Some(uuid)), out, |model| {
            json!({
                "event": event,
                "job": model.rest_job(now, key),
                "build": model.rest_build(now, build, false),
                "pipeline": model.rest_pipeline(&model.builds[build.0].pipeline),
            })
        });
    }

    /// A block step was unblocked.
    pub(super) fn tell_activated(&mut self, now: Now, key: StepKey, out: &mut Effects) {
        let build = self.steps[key.0].build;
        let job = self.block(key).map(|block| block.job);
        self.tell("job.activated", (Some(build), job), out, |model| {
            json!({
                "event": "job.activated",
                "job": model.rest_block(key),
                "build": model.rest_build(now, build, false),
                "pipeline": model.rest_pipeline(&model.builds[build.0].pipeline),
            })
        });
    }

    pub(super) fn tell_build(&mut self, now: Now, key: BuildKey, event: &'static str, out: &mut Effects) {
        self.tell(event, (Some(key), None), out, |model| {
            json!({
                "event": event,
                "build": model.rest_build(now, key, false),
                "pipeline": model.rest_pipeline(&model.builds[key.0].pipeline),
            })
        });
    }

    pub(super) fn tell_agent(&mut self, now: Now, key: AgentKey, event: &'static str, out: &mut Effects) {
        self.tell(
            event,
            (None, None),
            out,
            |model| json!({"event": event, "agent": model.rest_agent(now, key, true)}),
        );
    }

    /// Makes the deliveries of an event. The body is made only where somebody wants it.
    fn tell(
        &mut self,
        event: &str,
        (build, job): (Option<BuildKey>, Option<Uuid>),
        out: &mut Effects,
        body: impl Fn(&Self) -> Value,
    ) {
        let build = build.map(|key| &self.builds[key.0]);
        let wants = |webhook: &Webhook| {
            (webhook.events.is_empty() || webhook.events.iter().any(|known| known == event))
                && build.is_none_or(|build| {
                    (webhook.pipelines.is_empty() || webhook.pipelines.contains(&build.pipeline))
                        && covers(&webhook.branches, &build.branch)
                })
        };
        let wanting: Vec<usize> = (0..self.webhooks.set.len())
            .filter(|at| wants(&self.webhooks.set[*at].1))
            .collect();
        if wanting.is_empty() {
            return;
        }
        let body = body(self);
        for at in wanting {
            self.deliver(at, event, job, body.clone(), out);
        }
    }

    fn deliver(&mut self, at: usize, event: &str, job: Option<Uuid>, mut body: Value, out: &mut Effects) {
        let sender = self.rest_user(0);
        body["sender"] = json!({"id": sender["id"], "name": sender["name"]});
        self.webhooks.deliveries += 1;
        let (id, webhook) = &self.webhooks.set[at];
        if event == "ping"
            && !webhook.events.is_empty()
            && !webhook.events.iter().any(|known| known == "ping")
        {
            return;
        }
        out.deliver(Delivery {
            id: self.webhooks.deliveries,
            webhook: id.clone(),
            url: webhook.url.clone(),
            event: event.to_owned(),
            job,
            body: body.to_string(),
            token: webhook.token.clone(),
            scheme: webhook.scheme,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        let delivery = Delivery {
            id: 1,
            webhook: "w1".into(),
            url: "http://x".into(),
            event: "ping".into(),
            job: None,
            body: r#"{"event":"ping"}"#.into(),
            token: "secret".into(),
            scheme: Scheme::Signature,
        };
        let headers = delivery.headers(1_700_000_000);
        let (_, signature) = headers.last().unwrap();
        // printf '1700000000.{"event":"ping"}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature,
            "timestamp=1700000000,signature=4d39bd2442f073b6bc62e95d0297ce25475582a17389ab860abdc778fe1d9f77"
        );
    }
}
