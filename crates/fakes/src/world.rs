//! Everything the fakes of one process hold: the models, the faults, the limits and the one log.
//!
//! Pure. The skin keeps it under one lock; the load test owns one directly and drives it in virtual time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::buildkite::{self, Refusal};
use crate::config::{Machines, Settings};
use crate::event::{Effects, Event, EventLog, Host};
use crate::fault::Faults;
use crate::gce;
use crate::limits::{self, Limits};
use crate::metadata;
use crate::now::Now;
use crate::outbox::Outbox;

/// The state of all fakes.
#[derive(Debug)]
pub struct World {
    /// What happened, in order.
    pub log: EventLog,
    /// The faults that are set.
    pub faults: Faults,
    /// Webhook deliveries on their way.
    pub outbox: Outbox,
    limits: Limits,
    machines: Machines,
    /// Buildkite.
    pub buildkite: buildkite::Model,
    /// Google Compute Engine.
    pub gce: gce::Model,
    /// The metadata server.
    pub metadata: metadata::Model,
}

impl World {
    /// A world in which nothing happened yet. All its randomness comes from the seed.
    pub fn new(settings: &Settings) -> Self {
        let limits = settings.limits.clone();
        Self {
            log: EventLog::default(),
            faults: Faults::new(settings.seed),
            buildkite: buildkite::Model::new(
                settings.seed,
                limits.buildkite.clone(),
                settings.buildkite.clone(),
            ),
            gce: gce::Model::new(settings.seed, &limits, &settings.projects),
            metadata: metadata::Model::new(),
            outbox: Outbox::default(),
            machines: settings.machines,
            limits,
        }
    }

    /// What happens to machines: `POST /instances/{name}/{act}` of the control surface.
    pub fn instance_act(
        &mut self,
        now: Now,
        name: &str,
        act: &str,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let mishap =
            gce::Mishap::parse(act).ok_or_else(|| Refusal::new(404, format!("{act} is not an act")))?;
        self.gce.happen(now, name, mishap, out).map_err(|impossible| {
            let status = match impossible {
                gce::Impossible::NoSuchInstance(_) => 404,
                gce::Impossible::State { .. } => 422,
            };
            Refusal::new(status, impossible.to_string())
        })
    }

    /// Tells which machine took which job, from what Buildkite just saw: a guest names its agent after its
    /// instance. Where machines run nothing, there is nothing to tie.
    pub fn tie_machines(&self, out: &mut Effects) {
        if self.machines == Machines::None {
            return;
        }
        let text =
            |event: &Event, name: &str| event.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let claims: Vec<Event> = out
            .events()
            .iter()
            .filter_map(|event| {
                let (instance, job) = (text(event, "agent_name")?, text(event, "job")?);
                let token_id = match event.kind {
                    // With a job acquisition token the job is known as soon as the agent registers.
                    "agent.registered" => text(event, "token_id")?,
                    "job.acquired" => self
                        .buildkite
                        .cluster_token_of(&text(event, "agent")?)?
                        .to_string(),
                    _ => return None,
                };
                self.gce.instance_named(&instance)?;
                let claim = Event::new(Host::Gce, "machine.claimed");
                Some(
                    claim
                        .with("instance", instance)
                        .with("job", job)
                        .with("token_id", token_id),
                )
            })
            .collect();
        claims.into_iter().for_each(|claim| out.push(claim));
    }

    /// Puts the webhook deliveries of an act on their way, under the faults that are set.
    pub fn post(&mut self, now: Now, out: &mut Effects) {
        let deliveries = out.take_deliveries();
        if !deliveries.is_empty() {
            self.outbox.take_in(now, deliveries, &mut self.faults, out);
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Merges a partial change into the limits; both models obey from now on.
    pub fn change_limits(&mut self, now: Now, change: &Value) -> Result<(), limits::Error> {
        self.limits = self.limits.merged(change)?;
        self.buildkite.set_limits(now, self.limits.buildkite.clone());
        self.gce.set_limits(&self.limits);
        Ok(())
    }

    /// Does all that is due by now.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        self.buildkite.tick(now, out);
        self.gce.tick(now, out);
    }

    /// When something is due next, since start.
    pub fn next_due(&self) -> Option<Duration> {
        [self.buildkite.next_due(), self.gce.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// All models, whole: `GET /state`.
    pub fn to_json(&self, now: Now) -> Value {
        json!({
            "buildkite": self.buildkite.to_json(now),
            "gce": self.gce.to_json(),
            "metadata": self.metadata.to_json(),
            "faults": self.faults.to_json(now),
        })
    }
}
