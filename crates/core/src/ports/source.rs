//! Where jobs come from.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    ids::{JobId, QueueKey},
    records::JobFacts,
    secret::Secret,
    time::Timestamp,
};

/// A job in the list of scheduled jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedJob {
    /// Its UUID.
    pub id: JobId,
    /// What Buildkite says about it.
    pub facts: JobFacts,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Jobs in Buildkite's order (oldest `scheduled_at` first).
    pub jobs: Vec<ListedJob>,
    /// Cursor of the next page. Pages are no snapshot: its absence does not prove that all jobs were seen.
    pub next: Option<String>,
    /// The queue is paused: nothing new may be started from it.
    pub paused: bool,
}

/// The answer to a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Ours until the expiry.
    pub reserved: Vec<JobId>,
    /// Not ours; Buildkite gives no reason.
    pub not_reserved: Vec<JobId>,
}

impl Reserved {
    /// The answer where there are no reservations: a job counts as ours while it is said to wait. One that is not in `states` is
    /// not there.
    pub fn by_states(jobs: &[JobId], states: &BTreeMap<JobId, JobState>) -> Self {
        let waits = |job: &JobId| states.get(job) == Some(&JobState::Scheduled);
        let (reserved, not_reserved) = jobs.iter().copied().partition(waits);
        Self {
            reserved,
            not_reserved,
        }
    }
}

/// The state of a job, as Buildkite names it internally.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Waits for an agent, reserved by nobody.
    Scheduled,
    /// Reserved by a stack.
    Reserved,
    /// Held back by a concurrency limit, a dependency or a block: not eligible, but not over.
    Held(String),
    /// An agent has it and has not started it.
    Accepted,
    /// It runs.
    Running,
    /// Somebody asked it to stop (or its time is up) and an agent is stopping it.
    Stopping(String),
    /// It ran to an end.
    Finished,
    /// Canceled.
    Canceled,
    /// Over for another reason: timed out, expired, skipped, broken.
    Over(String),
    /// A state this version does not know. The job is held until its state is another: it is neither over nor sure to run.
    Unknown(String),
}

impl JobState {
    /// Reads Buildkite's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "scheduled" => Self::Scheduled,
            "reserved" => Self::Reserved,
            "assigned" | "accepted" => Self::Accepted,
            "running" => Self::Running,
            "canceling" | "timing_out" => Self::Stopping(word.to_owned()),
            "finished" => Self::Finished,
            "canceled" => Self::Canceled,
            "timed_out" | "skipped" | "broken" | "expired" | "waiting_failed" | "blocked_failed"
            | "unblocked_failed" => Self::Over(word.to_owned()),
            "pending" | "waiting" | "blocked" | "unblocked" | "limiting" | "limited"
            | "platform_limiting" | "platform_limited" => Self::Held(word.to_owned()),
            _ => Self::Unknown(word.to_owned()),
        }
    }

    /// True if nothing will happen to the job any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished | Self::Canceled | Self::Over(_))
    }

    /// True if an agent has (or had) the job.
    pub fn is_taken(&self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Running | Self::Stopping(_) | Self::Finished
        )
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduled => "scheduled",
            Self::Reserved => "reserved",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Canceled => "canceled",
            Self::Held(word) | Self::Stopping(word) | Self::Over(word) | Self::Unknown(word) => word,
        })
    }
}

/// How gust finishes a job that no agent ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Exit status; -1 unless the job is to pass.
    pub exit_status: i32,
    /// What the developer reads, at most 4,096 bytes.
    pub detail: String,
}

/// What became of a finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishOutcome {
    /// It is finished now.
    Finished,
    /// It had already ended, by us or by somebody else.
    AlreadyOver,
}

/// One line on a job's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The job.
    pub job: JobId,
    /// The line, 1 to 256 characters.
    pub detail: String,
    /// When it was true; orders the timeline, since Buildkite does not. Without it, Buildkite takes the moment at
    /// which it hears of it.
    pub at: Option<Timestamp>,
}

/// A notification that Buildkite did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedNote {
    /// Its place in the request.
    pub index: usize,
    /// Buildkite's words.
    pub reason: String,
}

/// A token with which a machine may acquire one job, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquisitionToken {
    /// The job.
    pub job: JobId,
    /// The token.
    pub token: Secret,
    /// When it lapses.
    pub expires_at: Timestamp,
}

/// The answer to a request for tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Issued.
    pub issued: Vec<AcquisitionToken>,
    /// Refused, because the job is no longer reserved by us.
    pub not_issued: Vec<JobId>,
}

/// Something that happened at Buildkite, as somebody tells who may be late, wrong or say it twice: a reason to look, and
/// nothing to act upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A job waits in this queue; in any, where it is not named.
    Scheduled(Option<QueueKey>),
    /// This job is over; any, where it is not named.
    Ended(Option<JobId>),
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again, not before this long. The call had no effect.
    RetryLater(Duration),
    /// Try again; whether the call had its effect is unknown.
    Unclear,
    /// The credentials are not accepted: a person must act.
    Unauthorized,
    /// The thing asked for does not exist (any more).
    Gone,
    /// Buildkite refuses the request as it is; a repeat is refused again.
    Refused,
}

/// A call to Buildkite that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{call} failed: {message}")]
pub struct SourceError {
    /// Which call, in words such as `list scheduled jobs`.
    pub call: &'static str,
    /// What to do.
    pub remedy: Remedy,
    /// The service's words, or what was wrong with its answer. Never a token.
    pub message: String,
    /// The cause below, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Buildkite, as the leader sees it.
#[async_trait]
pub trait Source: Send + Sync {
    /// Makes this stack known; must come before all other calls, and may be repeated.
    async fn register(&self) -> Result<(), SourceError>;

    /// One page of scheduled jobs of a queue, from the head or from a cursor.
    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError>;

    /// Most pages of one list that are worth reading. Few where reserved jobs leave the list, since then the rest comes to its head.
    fn pages(&self) -> usize {
        10
    }

    /// Reserves jobs, or extends reservations we hold. At most 1,000 a call.
    async fn reserve(&self, jobs: &[JobId], lasting: Duration) -> Result<Reserved, SourceError>;

    /// States of jobs, at most 1,000 a call. Unknown jobs are missing from the answer.
    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError>;

    /// Ends a job that no agent ran. A repeat after a lost answer reports [`FinishOutcome::AlreadyOver`].
    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError>;

    /// Puts lines on jobs' timelines, at most 1,000 a call. Those not taken are returned.
    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError>;

    /// Whether tokens for single jobs can be had here at all.
    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        Ok(true)
    }

    /// Tokens for jobs reserved by us, at most 1,000 a call.
    async fn acquisition_tokens(&self, jobs: &[JobId], lifetime: Duration) -> Result<Tokens, SourceError>;
}
