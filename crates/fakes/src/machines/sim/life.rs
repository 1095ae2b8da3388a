//! The life of one machine, from its boot to its power-off.

use std::sync::Arc;
use std::time::Duration;

use gust_core::ids::{MachineName, StackName};
use gust_proto::machine::Assignment;
use indexmap::IndexMap;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::agent::Agent;
use super::claim::{Claimant, Claimed, NoClaim, VERSION};
use super::key::{CryptoFailed, Key};
use super::tools::Tools;
use super::ways::{Door, NoWay};
use crate::http::{Shared, spawn};

/// One machine, from one boot to its end.
pub(super) struct Machine {
    pub tools: Arc<Tools>,
    pub shared: Shared,
    pub instance: u64,
    pub turn: u32,
    /// Somebody stops the machine.
    pub stop: CancellationToken,
}

/// Why it gets no job.
#[derive(Debug, Error)]
enum Useless {
    #[error("the machine is gone already")]
    Gone,
    #[error("attribute `gust-stack` is missing or no stack's name")]
    Stack,
    #[error(transparent)]
    Way(#[from] NoWay),
    #[error(transparent)]
    Key(#[from] CryptoFailed),
    #[error(transparent)]
    Claim(#[from] NoClaim),
}

impl Machine {
    /// Lives, and powers off whatever came of it, as the guest does.
    pub async fn live(self) {
        // Instances' ids are drawn from the seed of the fakes, so all that is drawn here is.
        let mut rng = SmallRng::seed_from_u64(self.instance ^ u64::from(self.turn));
        if let Err(error) = self.work(&mut rng).await {
            warn!(instance = self.instance, %error, "a simulated machine is of no use");
        }
        self.shared.with(None, |world, now, out| {
            world.gce.guest_ended(now, self.instance, self.turn, true, out);
        });
    }

    async fn work(&self, rng: &mut SmallRng) -> Result<(), Useless> {
        let mut claimant = self.prepare()?;
        spawn("beacon", claimant.beacon("booted", VERSION));
        let claimed = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            claimed = claimant.claim(rng) => claimed?,
        };
        let assignment = match claimed {
            Claimed::Job(assignment) => assignment,
            Claimed::NoJob(reason) => {
                info!(machine = %claimant.machine, reason, "there is no job for a simulated machine");
                return Ok(());
            }
        };
        let begun = Instant::now();
        let exit_code = self.run(&claimant, &assignment, rng).await;
        // Nobody needs to hear it: the machine goes off in any case.
        let _ = claimant
            .done(assignment.job.id, Some(exit_code), begun.elapsed(), rng)
            .await?;
        Ok(())
    }

    /// What the metadata server would tell, and a key.
    fn prepare(&self) -> Result<Claimant, Useless> {
        let told: Option<(String, Arc<IndexMap<String, String>>)> = self.shared.with(None, |world, _, _| {
            let instance = world.gce.instance(self.instance)?;
            Some((instance.name.to_string(), Arc::clone(&instance.metadata)))
        });
        let (name, attributes) = told.ok_or(Useless::Gone)?;
        let text = |name: &str| {
            attributes
                .get(name)
                .map(|text| text.trim())
                .filter(|text| !text.is_empty())
        };
        let stack = text("gust-stack").ok_or(Useless::Stack)?;
        let stack = StackName::new(stack).map_err(|_| Useless::Stack)?;
        let doors = Door::list(text("gust-addresses").unwrap_or_default(), text("gust-ca"))?;
        let clients = doors
            .iter()
            .map(|door| self.tools.ways.to(door, self.instance))
            .collect::<Result<_, _>>()?;
        let who = (MachineName::new(name), stack);
        let key = Key::generate()?;
        Ok(Claimant::new(
            self.shared.clone(),
            self.instance,
            who,
            key,
            clients,
        ))
    }

    /// The agent, which is told to stop when the machine is, or when the job has run for too long.
    async fn run(&self, claimant: &Claimant, assignment: &Assignment, rng: &mut SmallRng) -> i32 {
        let stop = self.stop.child_token();
        let agent = Agent {
            tools: &self.tools,
            name: claimant.machine.as_str(),
            assignment,
            stop: stop.clone(),
        };
        spawn("beacon", claimant.beacon("agent-started", ""));
        let whole = agent.run(rng);
        tokio::pin!(whole);
        tokio::select! {
            biased;
            code = &mut whole => return code,
            () = sleep(assignment.max_run) => stop.cancel(),
        }
        // As long as the guest waits before it kills the agent.
        tokio::time::timeout(Duration::from_secs(23), whole)
            .await
            .unwrap_or(-1)
    }
}
