//! What buildkite-agent does with `--acquire-job`, as the model's own calls.

use std::time::Duration;

use gust_core::{claim::Proof, ids::JobId};
use gust_fakes::buildkite::{JobEnd, Registration};
use gust_server::leader::Assignment;
use indexmap::IndexMap;
use tokio::time::Instant;
use uuid::Uuid;

use super::{super::world::Topic, guest::Guest};

/// The agent's own start.
const START: Duration = Duration::from_millis(80);
/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// A job that does not say how long it runs.
const RUN_S: f64 = 10.0;

impl Guest {
    pub(super) async fn work(&self, proof: &Proof, assignment: &Assignment) {
        tokio::time::sleep(START).await;
        let JobId(job) = assignment.job.id;
        let registration = Registration {
            name: proof.machine.to_string(),
            hostname: proof.machine.to_string(),
            tags: assignment.tags.clone(),
            version: "virtual".to_owned(),
            ..Registration::default()
        };
        let token = assignment.token.reveal();
        let registered = self
            .world
            .call(|world, now, out| world.buildkite.register_agent(now, token, registration, out));
        let Ok(agent) = registered else { return };
        let session = agent.access_token;
        let acquired = self.world.call(|world, now, out| {
            world.buildkite.connect(now, &session, out)?;
            world.buildkite.acquire(now, &session, job, out)
        });
        if let Ok(acquired) = acquired {
            self.run(proof, &session, &acquired.token, &acquired.env, job)
                .await;
        }
        // An agent that was given up cannot say goodbye.
        let _ = self
            .world
            .call(|world, now, out| world.buildkite.disconnect(now, &session, out));
    }

    async fn run(
        &self,
        proof: &Proof,
        session: &str,
        token: &str,
        env: &IndexMap<String, String>,
        job: Uuid,
    ) {
        let started = self
            .world
            .call(|world, now, out| world.buildkite.start(now, token, job, out));
        if started.is_err() {
            return;
        }
        let stopped = self.world.bell(Topic::Stopped(job));
        let seconds = env.get("GUST_SIM_RUN_S").and_then(|text| text.parse().ok());
        let whole = Duration::from_secs_f64(seconds.unwrap_or(RUN_S) * (0.5 + self.dice.fraction()));
        let deadline = Instant::now() + whole;
        let mut telling = None;
        let end = loop {
            tokio::select! {
                biased;
                () = stopped.rung() => break cut_short("cancel"),
                () = self.stop.notified() => {
                    telling = self.reclaimed(proof);
                    break cut_short("agent_stop");
                }
                () = tokio::time::sleep_until(deadline) => break JobEnd {
                    exit_status: env.get("GUST_SIM_EXIT").map_or("0", String::as_str).to_owned(),
                    ..JobEnd::default()
                },
                () = tokio::time::sleep(HEARTBEAT) => {
                    // A refusal means that the agent was given up; the bell tells of the job.
                    let _ = self.world.call(|world, now, _| world.buildkite.heartbeat(now, session));
                }
            }
        };
        // Refused where the job is over already.
        let _ = self
            .world
            .call(|world, now, out| world.buildkite.finish_job(now, token, job, end, out));
        // As the guest does: that it is done comes last.
        if let Some(telling) = telling {
            let _ = telling.await;
        }
    }
}

fn cut_short(reason: &str) -> JobEnd {
    JobEnd {
        exit_status: "-1".to_owned(),
        signal: Some("SIGTERM".to_owned()),
        signal_reason: Some(reason.to_owned()),
        chunks_failed: 0,
    }
}
