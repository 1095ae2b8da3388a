//! The calls to gust in the name of one machine, in the order and with the patience of the guest: any address may
//! answer, only after all of them were tried does it wait, and a claim is repeated with the same key.

use std::time::Duration;

use gust_core::ids::{JobId, MachineName, StackName};
use gust_proto::Malformed;
use gust_proto::machine::{Assignment, audience, claim_message, done_message};
use gust_proto::v1::machine_service_client::MachineServiceClient;
use gust_proto::v1::{self, BeaconRequest, ClaimRequest, DoneRequest, claim_response::Answer};
use rand::Rng;
use rand::rngs::SmallRng;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::debug;

use super::key::{CryptoFailed, Key};
use crate::gce;
use crate::http::Shared;

/// Patience of the guest.
const CLAIM: Duration = Duration::from_secs(600);
const CLAIM_CALL: Duration = Duration::from_secs(15);
const BEACON: Duration = Duration::from_secs(2);
const DONE: Duration = Duration::from_secs(8);
const DONE_CALL: Duration = Duration::from_secs(3);
/// A claim that is tried for longer needs another token.
const TOKEN_AGE: Duration = Duration::from_secs(120);

/// Version that claims name.
pub(super) const VERSION: &str = concat!("gust-sim ", env!("CARGO_PKG_VERSION"));

/// The machine gets no job.
#[derive(Debug, Error)]
pub(super) enum NoClaim {
    #[error("gust refuses this machine: {0}")]
    Refused(String),
    #[error("no answer to the claim in time; last: {0}")]
    GaveUp(String),
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// The answer to a claim.
pub(super) enum Claimed {
    Job(Box<Assignment>),
    NoJob(String),
}

#[derive(Debug, Error)]
enum TryError {
    #[error("the metadata server gives no token")]
    NoToken,
    #[error("{}: {}", .0.code(), .0.message())]
    Call(Box<Status>),
    #[error("no reply in time")]
    Late,
    #[error("the reply cannot be read: {0}")]
    Reply(#[from] Malformed),
    #[error("the reply is empty")]
    Empty,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Who claims, and the ways to gust.
pub(super) struct Claimant {
    pub shared: Shared,
    pub instance: u64,
    pub machine: MachineName,
    pub stack: StackName,
    pub key: Key,
    pub clients: Vec<MachineServiceClient<Channel>>,
    /// The address that is asked first.
    first: usize,
    token: Option<(String, Instant)>,
}

impl Claimant {
    pub fn new(
        shared: Shared,
        instance: u64,
        (machine, stack): (MachineName, StackName),
        key: Key,
        clients: Vec<MachineServiceClient<Channel>>,
    ) -> Self {
        Self {
            shared,
            instance,
            machine,
            stack,
            // Machines that boot together begin with different replicas.
            first: usize::from(key.public().last().copied().unwrap_or(0)) % clients.len().max(1),
            key,
            clients,
            token: None,
        }
    }

    /// Says where the machine stands, to whoever answers first.
    pub fn beacon(&self, stage: &str, detail: &str) -> impl Future<Output = ()> + Send + use<> {
        let request = BeaconRequest {
            machine: self.machine.to_string(),
            stage: stage.to_owned(),
            detail: detail.to_owned(),
        };
        let clients: Vec<_> = self.in_turn().map(|n| self.clients[n].clone()).collect();
        async move {
            for mut client in clients {
                if let Ok(Ok(_)) = timeout(BEACON, client.beacon(request.clone())).await {
                    return;
                }
            }
        }
    }

    /// Claims until there is an answer, a final refusal, or no patience left.
    pub async fn claim(&mut self, rng: &mut SmallRng) -> Result<Claimed, NoClaim> {
        let deadline = Instant::now() + CLAIM;
        let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut last = String::from("nothing was tried");
        loop {
            for n in self.in_turn().collect::<Vec<_>>() {
                let attempt = timeout(CLAIM_CALL, self.claim_from(n));
                let error = match timeout_at(deadline, attempt).await {
                    Ok(Ok(Ok(claimed))) => {
                        self.first = n;
                        return Ok(claimed);
                    }
                    Ok(Ok(Err(error))) => error,
                    Ok(Err(_)) => TryError::Late,
                    Err(_) => return Err(NoClaim::GaveUp(last)),
                };
                last = error.to_string();
                debug!(machine = %self.machine, error = last, "the claim failed");
                self.weigh(error)?;
            }
            let wait = waits.next(rng);
            if Instant::now() + wait >= deadline {
                return Err(NoClaim::GaveUp(last));
            }
            sleep(wait).await;
        }
    }

    /// Which failures are final, and which need another token.
    fn weigh(&mut self, error: TryError) -> Result<(), NoClaim> {
        match error {
            TryError::Call(status) => match status.code() {
                Code::PermissionDenied | Code::InvalidArgument => {
                    return Err(NoClaim::Refused(status.message().to_owned()));
                }
                Code::Unauthenticated => self.token = None,
                _ => {}
            },
            TryError::Crypto(error) => return Err(error.into()),
            TryError::NoToken | TryError::Late | TryError::Reply(_) | TryError::Empty => {}
        }
        Ok(())
    }

    async fn claim_from(&mut self, n: usize) -> Result<Claimed, TryError> {
        let identity_token = self.token().await?;
        let signature = self.key.sign(&claim_message(&self.machine, &identity_token))?;
        let request = ClaimRequest {
            stack: self.stack.to_string(),
            machine: self.machine.to_string(),
            identity_token,
            public_key: self.key.public().to_vec(),
            signature,
            guest_version: VERSION.to_owned(),
        };
        let reply = self.clients[n].claim(request).await;
        match reply
            .map_err(|status| TryError::Call(Box::new(status)))?
            .into_inner()
            .answer
        {
            Some(Answer::Assignment(assignment)) => Ok(Claimed::Job(Box::new(assignment.try_into()?))),
            Some(Answer::NoJob(v1::NoJob { reason })) => Ok(Claimed::NoJob(reason)),
            None => Err(TryError::Empty),
        }
    }

    async fn token(&mut self) -> Result<String, TryError> {
        if let Some((token, at)) = &self.token
            && at.elapsed() < TOKEN_AGE
        {
            return Ok(token.clone());
        }
        let audience = audience(&self.stack, self.key.public());
        let instance = self.instance;
        let granted = self.shared.with(None, |world, now, out| {
            let mut call = gce::Call::new(now, &mut world.faults, out);
            world
                .metadata
                .identity(&mut call, &world.gce, instance, &audience)
        });
        let granted = granted.ok_or(TryError::NoToken)?;
        if !granted.delay.is_zero() {
            sleep(granted.delay).await;
        }
        let token = granted.sign();
        self.token = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Tells that the job is over, as often as patience allows. False if nobody heard.
    pub async fn done(
        &self,
        job: JobId,
        exit_code: Option<i32>,
        ran: Duration,
        rng: &mut SmallRng,
    ) -> Result<bool, CryptoFailed> {
        let request = DoneRequest {
            machine: self.machine.to_string(),
            job_id: job.to_string(),
            agent_exit_code: exit_code,
            public_key: self.key.public().to_vec(),
            signature: self.key.sign(&done_message(&self.machine, job))?,
            ran_millis: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
            reclaimed_signature: Vec::new(),
        };
        Ok(timeout(DONE, self.say_done(&request, rng)).await.unwrap_or(false))
    }

    async fn say_done(&self, request: &DoneRequest, rng: &mut SmallRng) -> bool {
        let mut waits = Waits::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            for n in self.in_turn() {
                let mut client = self.clients[n].clone();
                match timeout(DONE_CALL, client.done(request.clone())).await {
                    Ok(Ok(_)) => return true,
                    Ok(Err(status)) if is_final(status.code()) => return false,
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            sleep(waits.next(rng)).await;
        }
    }

    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.first, self.clients.len());
        (0..count).map(move |n| (first + n) % count)
    }
}

fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied | Code::InvalidArgument | Code::NotFound | Code::Unauthenticated
    )
}

/// Waits that double, each drawn between half of itself and itself.
struct Waits {
    full: Duration,
    longest: Duration,
}

impl Waits {
    fn new(full: Duration, longest: Duration) -> Self {
        Self { full, longest }
    }

    fn next(&mut self, rng: &mut SmallRng) -> Duration {
        let wait = self.full.mul_f64(rng.random_range(0.5..=1.0));
        self.full = (self.full * 2).min(self.longest);
        wait
    }
}
