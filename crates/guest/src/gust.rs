//! The calls to gust: beacon, claim, done.
//!
//! Any replica answers, so a call that fails goes to the next address, and only after all of them were tried
//! does the guest wait. The claim is repeated with the same key: gust then gives the same job, so a lost
//! reply costs nothing.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::{JobId, MachineName, StackName},
    time::human,
};
use gust_proto::{
    Malformed,
    machine::{Assignment, audience, claim_message, done_message, reclaimed_message},
    v1::{
        self, BeaconRequest, ClaimRequest, DoneRequest, ReclaimedRequest, claim_response::Answer,
        machine_service_client::MachineServiceClient,
    },
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    address::Address,
    agent::AgentEnd,
    backoff::Backoff,
    facts::Facts,
    key::{CryptoFailed, Key},
    metadata::{Metadata, MetadataError},
    settings::Patience,
};

/// Gust takes tokens that are at most some minutes old; a claim that is tried for longer needs a new one.
const TOKEN_AGE: Duration = Duration::from_mins(2);
const CONNECT: Duration = Duration::from_secs(3);
const BEACON: Duration = Duration::from_secs(2);
const DONE_CALL: Duration = Duration::from_secs(3);

/// A conversation that cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}")]
pub struct BadEndpoint {
    /// The address.
    pub address: String,
    /// The cause, often an authority that is no PEM certificate.
    #[source]
    pub source: tonic::transport::Error,
}

/// A claim without an answer, or with a final no.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Gust does not give this machine a job.
    #[error("gust refuses this machine: {}", .0.message())]
    Refused(Box<Status>),
    /// Nobody gave an answer in time.
    #[error("no answer to the claim within {}; last: {last}", human(*.patience))]
    GaveUp {
        /// How long it was tried.
        patience: Duration,
        /// What went wrong last.
        last: String,
    },
    /// Signing failed.
    #[error("the claim cannot be signed")]
    Crypto(#[from] CryptoFailed),
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The machine's one job.
    Job(Box<Assignment>),
    /// There is none.
    NoJob(String),
}

/// Why one try to claim failed.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("{0}")]
    Token(#[from] MetadataError),
    #[error("{}: {}", .0.code(), .0.message())]
    Call(Box<Status>),
    #[error("no reply in time")]
    Late,
    #[error("the reply cannot be read: {0}")]
    Reply(#[from] Malformed),
    #[error("the reply is empty")]
    Empty,
    #[error("{0}")]
    Crypto(#[from] CryptoFailed),
}

struct Peer {
    address: Address,
    client: MachineServiceClient<Channel>,
}

/// Who we are, and the way to gust.
pub struct Gust {
    machine: MachineName,
    stack: StackName,
    key: Arc<Key>,
    peers: Vec<Peer>,
    /// The peer that is asked first.
    first: usize,
    token: Option<(String, Instant)>,
}

impl Gust {
    /// Prepares connections; none is opened yet.
    ///
    /// # Errors
    /// [`BadEndpoint`] if the authority's certificate cannot be read.
    pub fn new(facts: &Facts, key: Arc<Key>) -> Result<Self, BadEndpoint> {
        let peers = facts.addresses.iter().map(|address| {
            let client = connect(address, facts.ca.as_deref()).map_err(|source| BadEndpoint {
                address: address.to_string(),
                source,
            })?;
            Ok(Peer {
                address: address.clone(),
                client,
            })
        });
        let peers: Vec<_> = peers.collect::<Result<_, BadEndpoint>>()?;
        Ok(Self {
            machine: facts.machine.clone(),
            stack: facts.stack.clone(),
            // Machines that boot together begin with different replicas.
            first: usize::from(key.public().last().copied().unwrap_or(0)) % peers.len().max(1),
            key,
            peers,
            token: None,
        })
    }

    /// Says where the machine stands. The work to be done beside everything else: it tries each address once
    /// and tells nobody how that went.
    pub fn beacon(&self, stage: &str, detail: &str) -> impl Future<Output = ()> + Send + 'static {
        let request = BeaconRequest {
            machine: self.machine.to_string(),
            stage: stage.to_owned(),
            detail: detail.to_owned(),
        };
        let clients: Vec<_> = self.in_turn().map(|n| self.peers[n].client.clone()).collect();
        async move {
            for mut client in clients {
                if let Ok(Ok(_)) = timeout(BEACON, client.beacon(request.clone())).await {
                    return;
                }
            }
        }
    }

    /// Claims until there is an answer, a final refusal, or no patience left.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn claim(&mut self, metadata: &Metadata, patience: Patience) -> Result<Claimed, ClaimError> {
        let deadline = Instant::now() + patience.claim;
        let salt = self.key.public().to_vec();
        let mut waits = Backoff::new(&salt, Duration::from_millis(200), Duration::from_secs(5));
        let mut last = String::from("nothing was tried");
        loop {
            for n in self.in_turn().collect::<Vec<_>>() {
                let attempt = timeout(patience.call, self.claim_from(n, metadata));
                let error = match timeout_at(deadline, attempt).await {
                    Ok(Ok(Ok(claimed))) => {
                        self.first = n;
                        return Ok(claimed);
                    }
                    Ok(Ok(Err(error))) => error,
                    Ok(Err(_)) => TryError::Late,
                    Err(_) => {
                        return Err(ClaimError::GaveUp {
                            patience: patience.claim,
                            last,
                        });
                    }
                };
                let said = format!("{}: {error}", self.peers[n].address);
                if said != last {
                    tracing::warn!(error = %said, "the claim failed");
                }
                last = said;
                self.weigh(error)?;
            }
            let wait = waits.next().unwrap_or_default();
            if Instant::now() + wait >= deadline {
                return Err(ClaimError::GaveUp {
                    patience: patience.claim,
                    last,
                });
            }
            sleep(wait).await;
        }
    }

    /// Which failures are final, and which need a new token.
    fn weigh(&mut self, error: TryError) -> Result<(), ClaimError> {
        match error {
            TryError::Call(status) => match status.code() {
                // Another key, another machine, a record that says no: trying again cannot help.
                Code::PermissionDenied | Code::InvalidArgument => return Err(ClaimError::Refused(status)),
                // The token may be too old, or its signing key not yet known to gust.
                Code::Unauthenticated => self.token = None,
                _ => {}
            },
            TryError::Crypto(error) => return Err(error.into()),
            TryError::Token(_) | TryError::Late | TryError::Reply(_) | TryError::Empty => {}
        }
        Ok(())
    }

    async fn claim_from(&mut self, n: usize, metadata: &Metadata) -> Result<Claimed, TryError> {
        let identity_token = self.token(metadata).await?;
        let signature = self.key.sign(&claim_message(&self.machine, &identity_token))?;
        let request = ClaimRequest {
            stack: self.stack.to_string(),
            machine: self.machine.to_string(),
            identity_token,
            public_key: self.key.public().to_vec(),
            signature,
            guest_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let reply = self.peers[n].client.claim(request).await;
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

    async fn token(&mut self, metadata: &Metadata) -> Result<String, MetadataError> {
        if let Some((token, at)) = &self.token
            && at.elapsed() < TOKEN_AGE
        {
            return Ok(token.clone());
        }
        let token = metadata
            .identity(&audience(&self.stack, self.key.public()))
            .await?;
        self.token = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Tells that Google takes the machine back. To be done beside the agent's end: half a minute is left, and nobody
    /// needs to hear it. It tries each address until one takes it, for as long as the machine lives.
    ///
    /// # Errors
    /// [`CryptoFailed`] if it cannot be signed.
    pub fn reclaimed(
        &self,
        job: JobId,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<>, CryptoFailed> {
        let request = ReclaimedRequest {
            machine: self.machine.to_string(),
            job_id: job.to_string(),
            public_key: self.key.public().to_vec(),
            signature: self.key.sign(&reclaimed_message(&self.machine, job))?,
        };
        let clients: Vec<_> = self.in_turn().map(|n| self.peers[n].client.clone()).collect();
        let waits = Backoff::new(
            self.key.public(),
            Duration::from_millis(100),
            Duration::from_secs(1),
        );
        Ok(async move {
            for wait in waits {
                for client in &clients {
                    let mut client = client.clone();
                    match timeout(DONE_CALL, client.reclaimed(request.clone())).await {
                        Ok(Ok(_)) => return,
                        // A gust that knows no such call sees the machine go.
                        Ok(Err(status))
                            if is_final(status.code()) || status.code() == Code::Unimplemented =>
                        {
                            tracing::debug!(error = status.message(), "gust does not take it");
                            return;
                        }
                        Ok(Err(_)) | Err(_) => {}
                    }
                }
                sleep(wait).await;
            }
        })
    }

    /// Tells that the job is over, as often as patience allows, and whether Google takes the machine back. Nobody needs
    /// to hear it: the machine goes off in any case, and gust sees that.
    ///
    /// # Errors
    /// [`CryptoFailed`] if it cannot be signed.
    pub async fn done(
        &self,
        job: JobId,
        end: AgentEnd,
        is_preempted: bool,
        ran: Duration,
        patience: Duration,
    ) -> Result<bool, CryptoFailed> {
        let reclaimed_signature = match is_preempted {
            true => self.key.sign(&reclaimed_message(&self.machine, job))?,
            false => Vec::new(),
        };
        let request = DoneRequest {
            machine: self.machine.to_string(),
            job_id: job.to_string(),
            agent_exit_code: end.exit_code(),
            public_key: self.key.public().to_vec(),
            signature: self.key.sign(&done_message(&self.machine, job))?,
            ran_millis: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
            reclaimed_signature,
        };
        Ok(timeout(patience, self.say_done(&request)).await.unwrap_or(false))
    }

    async fn say_done(&self, request: &DoneRequest) -> bool {
        let salt = self.key.public();
        let waits = Backoff::new(salt, Duration::from_millis(100), Duration::from_secs(1));
        for wait in waits {
            for n in self.in_turn() {
                let mut client = self.peers[n].client.clone();
                match timeout(DONE_CALL, client.done(request.clone())).await {
                    Ok(Ok(_)) => return true,
                    Ok(Err(status)) if is_final(status.code()) => {
                        tracing::warn!(error = status.message(), "gust does not take the end of the job");
                        return false;
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            sleep(wait).await;
        }
        false
    }

    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.first, self.peers.len());
        (0..count).map(move |n| (first + n) % count)
    }
}

fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied | Code::InvalidArgument | Code::NotFound | Code::Unauthenticated
    )
}

fn connect(
    address: &Address,
    ca: Option<&str>,
) -> Result<MachineServiceClient<Channel>, tonic::transport::Error> {
    let mut endpoint = Endpoint::from(address.uri().clone()).connect_timeout(CONNECT);
    if address.tls() {
        let tls = match ca {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(MachineServiceClient::new(endpoint.connect_lazy()))
}
