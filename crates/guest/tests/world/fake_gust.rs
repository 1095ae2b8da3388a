//! A gust that checks what a guest signs, and answers as told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use gust_core::ids::{JobId, MachineName, StackName};
use gust_proto::{
    machine::{audience, claim_message, done_message, reclaimed_message},
    v1::{
        Assignment, BeaconRequest, BeaconResponse, ClaimRequest, ClaimResponse, DoneRequest, DoneResponse,
        NoJob, ReclaimedRequest, ReclaimedResponse,
        claim_response::Answer,
        machine_service_server::{MachineService, MachineServiceServer},
    },
};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};
use uuid::Uuid;

use super::TOKEN;

pub const JOB: Uuid = Uuid::from_u128(0x0192_f0c1_0000_7000_8000_0000_0000_0001);

/// The authority that signed the certificate of [`FakeGust::start_with_tls`].
pub const AUTHORITY: &str = include_str!("../data/test-ca.pem");

/// What gust answers to the next claim, or to the next done.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The job.
    Job,
    /// The job, which ends after this many seconds.
    ShortJob(u64),
    /// No job.
    NoJob,
    /// It takes effect, and the reply is lost.
    Lost,
    Unauthenticated,
    Denied,
}

#[derive(Clone)]
pub struct FakeGust {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    claims: Mutex<Vec<ClaimRequest>>,
    dones: Mutex<Vec<DoneRequest>>,
    reclaims: AtomicU32,
    beacons: Mutex<Vec<BeaconRequest>>,
    connections: AtomicU32,
    claim_replies: Mutex<VecDeque<Reply>>,
    done_replies: Mutex<VecDeque<Reply>>,
}

impl FakeGust {
    pub async fn start() -> Self {
        Self::start_on(Server::builder()).await
    }

    /// With a certificate of the test's own authority.
    pub async fn start_with_tls() -> Self {
        // The key of this certificate guards nothing: it exists for this test.
        let certificate = include_str!("../data/test-server.pem");
        let key = include_str!("../data/test-server.key");
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        // Only fails if one is installed, and then there is one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self::start_on(Server::builder().tls_config(tls).unwrap()).await
    }

    async fn start_on(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let service = MachineServiceServer::new(Service(Arc::clone(&fake.state)));
        let state = Arc::clone(&fake.state);
        let incoming = TcpListenerStream::new(listener).map(move |stream| {
            state.connections.fetch_add(1, Ordering::SeqCst);
            stream
        });
        super::serve(async move {
            server
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        fake
    }

    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Without instructions left, claims get the job.
    pub fn answer_claims(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.claim_replies.lock().unwrap().extend(replies);
    }

    pub fn answer_dones(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.done_replies.lock().unwrap().extend(replies);
    }

    pub fn claims(&self) -> Vec<ClaimRequest> {
        self.state.claims.lock().unwrap().clone()
    }

    pub fn dones(&self) -> Vec<DoneRequest> {
        self.state.dones.lock().unwrap().clone()
    }

    /// How often a guest has said that Google takes its machine back.
    pub fn reclaims(&self) -> u32 {
        self.state.reclaims.load(Ordering::SeqCst)
    }

    pub fn beacons(&self) -> Vec<(String, String)> {
        let beacons = self.state.beacons.lock().unwrap();
        beacons
            .iter()
            .map(|b| (b.stage.clone(), b.detail.clone()))
            .collect()
    }
}

struct Service(Arc<State>);

fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Status> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(message, signature)
        .map_err(|_| Status::permission_denied("the signature is wrong"))
}

fn assignment(max_run_seconds: u64) -> Answer {
    Answer::Assignment(Assignment {
        source: "main".to_owned(),
        job_id: JOB.to_string(),
        agent_endpoint: "http://127.0.0.1:1/v3".to_owned(),
        token: TOKEN.to_owned(),
        agent_token_fallback: false,
        token_expires_unix_ms: 0,
        tags: vec!["queue=gust".to_owned(), "cpu=2".to_owned()],
        max_run_seconds,
    })
}

#[tonic::async_trait]
impl MachineService for Service {
    async fn beacon(&self, request: Request<BeaconRequest>) -> Result<Response<BeaconResponse>, Status> {
        self.0.beacons.lock().unwrap().push(request.into_inner());
        Ok(Response::new(BeaconResponse {}))
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Result<Response<ClaimResponse>, Status> {
        let claim = request.into_inner();
        let machine = MachineName::new(claim.machine.as_str());
        let stack = StackName::new(&claim.stack).map_err(|e| Status::invalid_argument(e.to_string()))?;
        verify(
            &claim.public_key,
            &claim_message(&machine, &claim.identity_token),
            &claim.signature,
        )?;
        if claim.identity_token != format!("token-for-{}", audience(&stack, &claim.public_key)) {
            return Err(Status::permission_denied("the token is for somebody else"));
        }
        self.0.claims.lock().unwrap().push(claim);
        let reply = self.0.claim_replies.lock().unwrap().pop_front();
        let answer = match reply.unwrap_or(Reply::Job) {
            Reply::Job => assignment(3600),
            Reply::ShortJob(seconds) => assignment(seconds),
            Reply::NoJob => Answer::NoJob(NoJob {
                reason: "the job was cancelled".to_owned(),
            }),
            Reply::Lost => return Err(Status::unavailable("the connection broke")),
            Reply::Unauthenticated => return Err(Status::unauthenticated("the token is too old")),
            Reply::Denied => return Err(Status::permission_denied("another key has claimed")),
        };
        Ok(Response::new(ClaimResponse { answer: Some(answer) }))
    }

    async fn reclaimed(
        &self,
        request: Request<ReclaimedRequest>,
    ) -> Result<Response<ReclaimedResponse>, Status> {
        let told = request.into_inner();
        let machine = MachineName::new(told.machine.as_str());
        verify(
            &told.public_key,
            &reclaimed_message(&machine, JobId(JOB)),
            &told.signature,
        )?;
        self.0.reclaims.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(ReclaimedResponse {}))
    }

    async fn done(&self, request: Request<DoneRequest>) -> Result<Response<DoneResponse>, Status> {
        let done = request.into_inner();
        let machine = MachineName::new(done.machine.as_str());
        verify(
            &done.public_key,
            &done_message(&machine, JobId(JOB)),
            &done.signature,
        )?;
        if !done.reclaimed_signature.is_empty() {
            let message = reclaimed_message(&machine, JobId(JOB));
            verify(&done.public_key, &message, &done.reclaimed_signature)?;
        }
        self.0.dones.lock().unwrap().push(done);
        match self.0.done_replies.lock().unwrap().pop_front() {
            Some(Reply::Lost) => Err(Status::unavailable("the connection broke")),
            Some(Reply::Denied) => Err(Status::permission_denied("no such machine")),
            _ => Ok(Response::new(DoneResponse {})),
        }
    }
}
