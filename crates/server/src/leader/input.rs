//! What reaches the leader's loop, and the handle through which others reach it.

use std::sync::Arc;

use gust_core::{
    claim::{Proof, Refusal},
    ids::{JobId, JobRef, MachineName, QueueKey, ReplicaId, SourceName},
    ports::{
        Event, FinishOutcome, Hint, JobState, ListedJob, Notification, Reserved, Retried, Roster, SourceError,
    },
    records::KeyHash,
    secret::Secret,
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{admin::Visit, picture::Picture};

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
    /// A source could not be asked: to register (no queue), or to list one.
    Troubled {
        source: SourceName,
        queue: Option<QueueKey>,
        why: String,
    },
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
    /// Who is there.
    Roster(Roster),
    /// A worker says something in its n-th session.
    Worker {
        worker: ReplicaId,
        session: u64,
        event: Event,
    },
    /// A worker's session broke.
    WorkerDown { worker: ReplicaId, session: u64 },
    /// A worker follows somebody else.
    Deposed { worker: ReplicaId },
    /// A machine claims.
    Claim {
        proof: Proof,
        reply: oneshot::Sender<ClaimReply>,
    },
    /// This replica is about to end: tell when others have all that it looked after.
    Retire { reply: oneshot::Sender<()> },
    /// An operator asks or orders something.
    Visit(Visit),
    /// A machine is done.
    Done {
        machine: MachineName,
        job: JobId,
        key: KeyHash,
        reply: oneshot::Sender<()>,
    },
    /// Buildkite was asked to run a preempted job again.
    Retried {
        job: JobRef,
        answer: Result<Retried, SourceError>,
    },
    /// Google takes a machine back while its job runs.
    Reclaimed {
        machine: MachineName,
        key: KeyHash,
        reply: oneshot::Sender<()>,
    },
    /// Somebody says that there is something to look at.
    Hint(Hint),
    /// A source was asked whether it issues tokens for single jobs.
    Probed { source: SourceName, tokens: bool },
    /// Notes were sent and lost; where that is `unclear`, Buildkite may have taken them.
    NotTold {
        source: SourceName,
        notes: Vec<Notification>,
        unclear: bool,
    },
    /// A token could not be had: the job's state must be looked at again.
    TokenRefused { job: JobRef },
}

/// The leader has gone, or is busy beyond measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead at present")]
pub struct LeaderGone;

/// How many inputs may wait; more make their senders wait.
const DEPTH: usize = 4096;

/// The way to the leader's loop of one replica. Cheap to clone; outlives any leadership.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: watch::Sender<Option<mpsc::Sender<Input>>>,
    picture: watch::Sender<Arc<Picture>>,
}

impl Default for Handle {
    fn default() -> Self {
        Self {
            inputs: watch::Sender::new(None),
            picture: watch::Sender::new(Arc::default()),
        }
    }
}

impl Handle {
    /// Opens the way for a leader that begins.
    pub(super) fn open(&self) -> (mpsc::Sender<Input>, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        self.inputs.send_replace(Some(sender.clone()));
        (sender, receiver)
    }

    /// Closes it when dropped: who asks then is told that this replica does not lead.
    pub(super) fn closed_at_last(&self) -> impl Drop {
        struct Close(Handle);
        impl Drop for Close {
            fn drop(&mut self) {
                self.0.inputs.send_replace(None);
            }
        }
        Close(self.clone())
    }

    pub(super) fn show(&self, picture: Arc<Picture>) {
        self.picture.send_replace(picture);
    }

    /// What the leader showed after its last pass, and what comes. It stays when the leader goes: look at its
    /// term and time.
    pub fn pictures(&self) -> watch::Receiver<Arc<Picture>> {
        self.picture.subscribe()
    }

    /// True while this replica leads.
    pub fn is_open(&self) -> bool {
        self.inputs.borrow().is_some()
    }

    pub(super) fn inputs(&self) -> Result<mpsc::Sender<Input>, LeaderGone> {
        self.inputs.borrow().clone().ok_or(LeaderGone)
    }

    /// Returns once this replica is no member any more and others look after all its shards; at once if it does not lead.
    pub(crate) async fn retire(&self) {
        let (reply, answer) = oneshot::channel();
        if let Ok(inputs) = self.inputs()
            && inputs.send(Input::Retire { reply }).await.is_ok()
        {
            let _ = answer.await;
        }
    }

    /// Passes on a hint, and waits for nothing: one that finds no room is lost, as any hint may be. False if this replica
    /// does not lead.
    pub fn hint(&self, hint: Hint) -> bool {
        let Ok(inputs) = self.inputs() else {
            return false;
        };
        let _ = inputs.try_send(Input::Hint(hint));
        true
    }

    /// Presents a claim whose signatures were checked.
    ///
    /// # Errors
    /// [`LeaderGone`]; the machine asks again, with the same key.
    pub async fn claim(&self, proof: Proof) -> Result<ClaimReply, LeaderGone> {
        let (reply, answer) = oneshot::channel();
        self.inputs()?
            .send(Input::Claim { proof, reply })
            .await
            .map_err(|_| LeaderGone)?;
        answer.await.map_err(|_| LeaderGone)
    }

    /// Tells that Google takes a machine back while its job runs; returns when that is durable.
    ///
    /// # Errors
    /// [`LeaderGone`]; the machine says it again, or is seen to go.
    pub async fn reclaimed(&self, machine: MachineName, key: KeyHash) -> Result<(), LeaderGone> {
        let (reply, answer) = oneshot::channel();
        self.inputs()?
            .send(Input::Reclaimed { machine, key, reply })
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
        self.inputs()?
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

#[cfg(test)]
impl Handle {
    /// The way to a leader that does nothing, and what hints have come to it since one looked last.
    pub(crate) fn hinted() -> (Self, impl FnMut() -> Vec<Hint>) {
        let handle = Self::default();
        let (_, mut inputs) = handle.open();
        let hints = move || {
            let inputs = std::iter::from_fn(|| inputs.try_recv().ok());
            let hint = |input| match input {
                Input::Hint(hint) => Some(hint),
                _ => None,
            };
            inputs.filter_map(hint).collect()
        };
        (handle, hints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_never_wait_and_those_without_room_are_lost() {
        let (handle, mut hints) = Handle::hinted();
        for _ in 0..2 * DEPTH {
            assert!(handle.hint(Hint::Scheduled(None)));
        }
        assert_eq!(hints().len(), DEPTH);
        assert!(!Handle::default().hint(Hint::Ended(None)), "nobody leads");
    }

    #[test]
    fn the_door_of_a_leader_that_is_dropped_half_way_is_closed() {
        let handle = Handle::default();
        let (_sender, _receiver) = handle.open();
        let open = handle.closed_at_last();
        assert!(handle.is_open());
        drop(open);
        assert!(!handle.is_open());
    }
}
