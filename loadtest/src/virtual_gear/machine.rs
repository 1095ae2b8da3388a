//! Simulated machines: they boot, claim over the plain function under gRPC, run, and power off.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    claim::Proof,
    ids::{JobId, MachineName, ProjectId, Zone},
    records::KeyHash,
    time::Timestamp,
};
use gust_fakes::{
    buildkite::{JobEnd, Registration},
    gce::Order,
};
use gust_server::{
    leader::{Assignment, ClaimReply, Handle},
    task::{Dice, Tasks},
};
use tokio::sync::mpsc;

use super::world::Shared;

/// Plays all machines of a world.
pub(super) struct Machines {
    pub world: Shared,
    pub leader: Handle,
    pub dice: Dice,
    pub tasks: Tasks,
}

impl Machines {
    /// Obeys orders until the world is gone.
    pub async fn play(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut running: BTreeMap<u64, Tasks> = BTreeMap::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Start { instance, turn } => {
                    let group = self.tasks.child();
                    running.insert(instance, group.clone());
                    let guest = Guest {
                        world: self.world.clone(),
                        leader: self.leader.clone(),
                        dice: self.dice.clone(),
                        instance,
                        turn,
                    };
                    group.spawn("guest", guest.live());
                }
                Order::Stop { instance, .. } | Order::Kill { instance } | Order::Freeze { instance } => {
                    if let Some(group) = running.remove(&instance) {
                        group.cancelled().cancel();
                    }
                }
            }
        }
    }
}

struct Guest {
    world: Shared,
    leader: Handle,
    dice: Dice,
    instance: u64,
    turn: u32,
}

impl Guest {
    async fn live(self) {
        if let Some(proof) = self.prove()
            && let Some(assignment) = self.claim(&proof).await
        {
            self.work(&proof, &assignment).await;
            let _ = self
                .leader
                .done(proof.machine.clone(), assignment.job.id, proof.key.clone())
                .await;
        }
        self.world
            .call(|world, now, out| world.gce.guest_ended(now, self.instance, self.turn, true, out));
    }

    fn prove(&self) -> Option<Proof> {
        self.world.read(|world| {
            let instance = world.gce.instance(self.instance)?;
            let (project, _) = world.gce.project_of(instance);
            Some(Proof {
                machine: MachineName::new(&*instance.name),
                project: ProjectId::new(project),
                zone: Zone::new(&*instance.zone),
                instance_id: instance.id,
                created_at: Timestamp(i64::try_from(instance.created_ns / 1_000_000).ok()?),
                email: instance.shape.template.service_account.as_ref()?.0.clone(),
                key: KeyHash(format!("key-of-{}", instance.id)),
            })
        })
    }

    async fn claim(&self, proof: &Proof) -> Option<Assignment> {
        // As the real guest: it asks again for ten minutes, then powers off.
        for _ in 0..300 {
            match self.leader.claim(proof.clone()).await {
                Ok(ClaimReply::Assigned(assignment)) => return Some(assignment),
                Ok(ClaimReply::NoJob(_) | ClaimReply::Refused(_)) => return None,
                Ok(ClaimReply::NotYet(_)) | Err(_) => tokio::time::sleep(Duration::from_secs(2)).await,
            }
        }
        None
    }

    // What buildkite-agent does with --acquire-job, as the model's own calls.
    async fn work(&self, proof: &Proof, assignment: &Assignment) {
        tokio::time::sleep(Duration::from_millis(80)).await;
        let JobId(job) = assignment.job.id;
        let registration = Registration {
            name: proof.machine.to_string(),
            hostname: proof.machine.to_string(),
            tags: assignment.tags.clone(),
            version: "virtual".to_owned(),
        };
        let token = assignment.token.reveal().to_owned();
        let registered = self
            .world
            .call(|world, now, out| world.buildkite.register_agent(now, &token, registration, out));
        let Ok(agent) = registered else { return };
        let session = agent.access_token;
        let acquired = self.world.call(|world, now, out| {
            world.buildkite.connect(now, &session)?;
            world.buildkite.acquire(now, &session, job, out)
        });
        if let Ok(acquired) = acquired {
            self.run(&acquired.token, &acquired.env, job).await;
        }
        let _ = self
            .world
            .call(|world, now, out| world.buildkite.disconnect(now, &session, out));
    }

    async fn run(&self, token: &str, env: &indexmap::IndexMap<String, String>, job: uuid::Uuid) {
        let started = self
            .world
            .call(|world, now, out| world.buildkite.start(now, token, job, out));
        if started.is_err() {
            return;
        }
        let number = |name: &str| env.get(name).and_then(|text| text.parse::<f64>().ok());
        let median = number("GUST_SIM_RUN_S").unwrap_or(10.0);
        let whole = Duration::from_secs_f64(median * (0.5 + self.dice.fraction()));
        let deadline = tokio::time::Instant::now() + whole;
        let mut end = JobEnd {
            exit_status: env
                .get("GUST_SIM_EXIT")
                .cloned()
                .unwrap_or_else(|| "0".to_owned()),
            ..JobEnd::default()
        };
        while tokio::time::Instant::now() < deadline {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            let state = self.world.read(|world| world.buildkite.job_state(token, job));
            if state.is_ok_and(|state| matches!(state.name(), "canceling" | "timing_out")) {
                end = JobEnd {
                    exit_status: "-1".to_owned(),
                    signal: Some("SIGTERM".to_owned()),
                    signal_reason: Some("cancel".to_owned()),
                    chunks_failed: 0,
                };
                break;
            }
        }
        let _ = self
            .world
            .call(|world, now, out| world.buildkite.finish_job(now, token, job, end, out));
    }
}
