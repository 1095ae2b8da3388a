//! What machines call: beacon, claim, done.

use std::time::Duration;

use gust_core::{
    ids::{JobId, MachineName, StackName},
    records::KeyHash,
};
use gust_proto::{machine, v1};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tracing::{debug, warn};

use super::{
    forward::{Forward, is_marked, marked},
    identity::{IdentityError, Verifier},
};
use crate::{
    clock::Clock,
    leader::{ClaimReply, Handle},
};

/// Serves machines over gRPC.
pub struct MachineRpc {
    stack: StackName,
    verifier: Verifier,
    clock: Clock,
    leader: Handle,
    forward: Option<Forward>,
}

/// A client of the machines' service of another replica.
type Other = v1::machine_service_client::MachineServiceClient<Channel>;

/// Longest wait for the leader's answer to what was passed on to it.
const PASSED_ON: Duration = Duration::from_secs(30);

impl MachineRpc {
    /// The service of a replica that leads through `leader`; what reaches it while another one leads is passed on
    /// over `forward`.
    pub fn new(
        stack: StackName,
        verifier: Verifier,
        clock: Clock,
        leader: Handle,
        forward: Option<Forward>,
    ) -> Self {
        Self {
            stack,
            verifier,
            clock,
            leader,
            forward,
        }
    }

    /// The leader, if that is another replica.
    async fn other(&self, passed_on: bool) -> Result<Option<Other>, Status> {
        let Some(forward) = self.forward.as_ref().filter(|_| !self.leader.is_open()) else {
            return Ok(None);
        };
        Ok(forward.leader(passed_on).await?.map(Other::new))
    }

    async fn proof(&self, request: &v1::ClaimRequest) -> Result<gust_core::claim::Proof, Status> {
        if request.stack != self.stack.as_str() {
            return Err(Status::permission_denied(format!(
                "this is stack {}, not {}",
                self.stack, request.stack
            )));
        }
        let name = MachineName::new(request.machine.as_str());
        verify(
            &request.public_key,
            &machine::claim_message(&name, &request.identity_token),
            &request.signature,
        )?;
        let audience = machine::audience(&self.stack, &request.public_key);
        let identity = self
            .verifier
            .verify(&request.identity_token, &audience, self.clock.now())
            .await
            .map_err(|error| identity_status(&name, &error))?;
        let proof = identity.proof(machine::key_hash(&request.public_key));
        if proof.machine != name {
            return Err(Status::permission_denied(
                "the identity token is another machine's",
            ));
        }
        Ok(proof)
    }
}

fn identity_status(machine: &MachineName, error: &IdentityError) -> Status {
    warn!(gust.machine = %machine, error = crate::error_chain(error), "identity not accepted");
    match error {
        IdentityError::Keys(_) => {
            Status::unavailable("the keys of identity tokens cannot be read at present")
        }
        // A token of another moment, or of keys that were rotated: the machine asks for a new one and comes again.
        IdentityError::Stale { .. } | IdentityError::UnknownKey => Status::unauthenticated(error.to_string()),
        other => Status::permission_denied(other.to_string()),
    }
}

fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
        .verify(message, signature)
        .map_err(|_| Status::permission_denied("the signature does not fit the public key"))
}

#[tonic::async_trait]
impl v1::machine_service_server::MachineService for MachineRpc {
    async fn beacon(
        &self,
        request: Request<v1::BeaconRequest>,
    ) -> Result<Response<v1::BeaconResponse>, Status> {
        let beacon = request.into_inner();
        // Nobody proves a beacon, so it is only ever logged.
        debug!(
            gust.machine = crop(&beacon.machine),
            stage = crop(&beacon.stage),
            detail = crop(&beacon.detail),
            "beacon"
        );
        Ok(Response::new(v1::BeaconResponse {}))
    }

    async fn claim(&self, request: Request<v1::ClaimRequest>) -> Result<Response<v1::ClaimResponse>, Status> {
        let passed_on = is_marked(&request);
        let request = request.into_inner();
        // The leader checks it again: here it is checked so that nobody can make replicas busy with each other.
        let proof = self.proof(&request).await?;
        if let Some(mut leader) = self.other(passed_on).await? {
            return answered(leader.claim(marked(request))).await;
        }
        let reply = self
            .leader
            .claim(proof)
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?;
        let answer = match reply {
            ClaimReply::Assigned(assignment) => v1::claim_response::Answer::Assignment(v1::Assignment {
                source: assignment.job.source.to_string(),
                job_id: assignment.job.id.to_string(),
                agent_endpoint: assignment.agent_endpoint,
                token: assignment.token.reveal().to_owned(),
                agent_token_fallback: assignment.agent_token_fallback,
                token_expires_unix_ms: assignment.expires_at.0,
                tags: assignment.tags,
                max_run_seconds: assignment.max_run_seconds,
            }),
            ClaimReply::NoJob(reason) => v1::claim_response::Answer::NoJob(v1::NoJob { reason }),
            ClaimReply::NotYet(reason) => return Err(Status::unavailable(reason)),
            ClaimReply::Refused(refusal) => return Err(Status::permission_denied(refusal.to_string())),
        };
        Ok(Response::new(v1::ClaimResponse { answer: Some(answer) }))
    }

    async fn reclaimed(
        &self,
        request: Request<v1::ReclaimedRequest>,
    ) -> Result<Response<v1::ReclaimedResponse>, Status> {
        let passed_on = is_marked(&request);
        let told = request.into_inner();
        let name = MachineName::new(told.machine.as_str());
        let job = uuid::Uuid::parse_str(&told.job_id)
            .map(JobId)
            .map_err(|_| Status::invalid_argument("job_id is no UUID"))?;
        verify(
            &told.public_key,
            &machine::reclaimed_message(&name, job),
            &told.signature,
        )?;
        if let Some(mut leader) = self.other(passed_on).await? {
            return answered(leader.reclaimed(marked(told))).await;
        }
        let key: KeyHash = machine::key_hash(&told.public_key);
        self.leader
            .reclaimed(name, key)
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?;
        Ok(Response::new(v1::ReclaimedResponse {}))
    }

    async fn done(&self, request: Request<v1::DoneRequest>) -> Result<Response<v1::DoneResponse>, Status> {
        let passed_on = is_marked(&request);
        let done = request.into_inner();
        let name = MachineName::new(done.machine.as_str());
        let job = uuid::Uuid::parse_str(&done.job_id)
            .map(JobId)
            .map_err(|_| Status::invalid_argument("job_id is no UUID"))?;
        verify(
            &done.public_key,
            &machine::done_message(&name, job),
            &done.signature,
        )?;
        let is_reclaimed = !done.reclaimed_signature.is_empty();
        if is_reclaimed {
            verify(
                &done.public_key,
                &machine::reclaimed_message(&name, job),
                &done.reclaimed_signature,
            )?;
        }
        if let Some(mut leader) = self.other(passed_on).await? {
            return answered(leader.done(marked(done))).await;
        }
        let key: KeyHash = machine::key_hash(&done.public_key);
        if is_reclaimed {
            // First: what comes after the end is of no job.
            let told = self.leader.reclaimed(name.clone(), key.clone()).await;
            told.map_err(|gone| Status::unavailable(gone.to_string()))?;
        }
        debug!(gust.machine = %name, agent_exit_code = done.agent_exit_code, ran_millis = done.ran_millis, "done");
        self.leader
            .done(name, job, key)
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?;
        Ok(Response::new(v1::DoneResponse {}))
    }
}

/// The leader's answer, as it is; a leader that cannot be reached is one that is not there.
async fn answered<T>(
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, Status> {
    match tokio::time::timeout(PASSED_ON, answer).await {
        Ok(Ok(response)) => Ok(Response::new(response.into_inner())),
        Ok(Err(status)) => match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => Err(status),
            _ => Err(Status::unavailable(status.message())),
        },
        Err(_) => Err(Status::unavailable("the leader did not answer")),
    }
}

fn crop(text: &str) -> String {
    text.chars().take(200).collect()
}
