//! What reaches the leader's loop, and the handle through which others reach it.

use gust_core::{
    claim::{Proof, Refusal},
    ids::{JobId, JobRef, MachineName, QueueKey, ReplicaId, SourceName},
    ports::{Event, FinishOutcome, JobState, ListedJob, Reserved, SourceError},
    records::KeyHash,
    secret::Secret,
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot};

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimReply {
    /// Run this job.
    Assigned(Assignment),
    /// Power off.
    NoJob(String),
    /// Ask again in a while.
    NotYet(String),
    /// Not you.
    Refused(Refusal),
}

/// A job with all a guest needs to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobRef,
    /// Base URL of the Agent API.
    pub agent_endpoint: String,
    /// The token the agent registers with.
    pub token: Secret,
    /// True if it is the agent token and not one for this job alone.
    pub agent_token_fallback: bool,
    /// When the token lapses.
    pub expires_at: Timestamp,
    /// Tags the agent registers with.
    pub tags: Vec<String>,
    /// Longest run in seconds.
    pub max_run_seconds: u64,
}

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A source took our registration.
    Registered(SourceName),
    /// A queue was listed.
    Listed {
        source: SourceName,
        queue: QueueKey,
        jobs: Vec<ListedJob>,
        paused: bool,
    },
    /// A reservation was answered.
    Reserved {
        source: SourceName,
        asked: Vec<ListedJob>,
        at: Timestamp,
        answer: Result<Reserved, SourceError>,
    },
    /// A renewal was answered.
    Renewed {
        source: SourceName,
        asked: Vec<JobId>,
        at: Timestamp,
        answer: Result<Reserved, SourceError>,
    },
    /// States were read.
    States {
        source: SourceName,
        asked: Vec<JobId>,
        states: Vec<(JobId, JobState)>,
        at: Timestamp,
    },
    /// A finish was answered.
    Finished {
        job: JobRef,
        answer: Result<FinishOutcome, SourceError>,
    },
    /// A worker's session is open, and it said what it has in hand.
    Worker { worker: usize, event: Event },
    /// A worker's session broke.
    WorkerDown { worker: usize },
    /// A worker follows somebody else.
    Deposed { worker: ReplicaId },
    /// A machine claims.
    Claim {
        proof: Proof,
        reply: oneshot::Sender<ClaimReply>,
    },
    /// A machine is done.
    Done {
        machine: MachineName,
        job: JobId,
        key: KeyHash,
        reply: oneshot::Sender<()>,
    },
    /// A token could not be had: the job's state must be looked at again.
    TokenRefused { job: JobRef },
}

/// The leader has gone, or is busy beyond measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead at present")]
pub struct LeaderGone;

/// The way to a leader's loop. Cheap to clone; outlives the leader.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inputs: mpsc::Sender<Input>,
}

impl Handle {
    /// How many inputs may wait; more make their senders wait.
    const DEPTH: usize = 4096;

    /// A handle and the inputs that [`super::lead`] reads.
    pub fn new() -> (Self, Inputs) {
        let (sender, receiver) = mpsc::channel(Self::DEPTH);
        (Self { inputs: sender }, Inputs(receiver))
    }

    /// Presents a claim whose signatures were checked.
    ///
    /// # Errors
    /// [`LeaderGone`]; the machine asks again, with the same key.
    pub async fn claim(&self, proof: Proof) -> Result<ClaimReply, LeaderGone> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Claim { proof, reply })
            .await
            .map_err(|_| LeaderGone)?;
        answer.await.map_err(|_| LeaderGone)
    }

    /// Tells that a machine is done with its job; returns when that is durable.
    ///
    /// # Errors
    /// [`LeaderGone`]; the machine powers off all the same, and a list will show it.
    pub async fn done(&self, machine: MachineName, job: JobId, key: KeyHash) -> Result<(), LeaderGone> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Done {
                machine,
                job,
                key,
                reply,
            })
            .await
            .map_err(|_| LeaderGone)?;
        answer.await.map_err(|_| LeaderGone)
    }
}

/// The receiving end of a [`Handle`].
pub struct Inputs(pub(super) mpsc::Receiver<Input>);
