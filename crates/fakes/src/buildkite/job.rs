//! One command job and its states.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::ids::{AgentKey, BuildKey, JobKey, QueueKey, StepKey};
use super::notify::Notification;
use super::timeline::Moment;

/// States a job can be in, by the names that the Stacks API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waits for other steps.
    Waiting,
    /// A step it waited for failed.
    WaitingFailed,
    /// Waits for its concurrency group.
    Limited,
    /// In the list.
    Scheduled,
    /// Reserved by a stack.
    Reserved,
    /// An agent took it.
    Accepted,
    /// It runs.
    Running,
    /// It ended, well or badly.
    Finished,
    /// Cancelled; its agent has not yet ended it.
    Canceling,
    /// Cancelled.
    Canceled,
    /// Over its time; its agent has not yet ended it.
    TimingOut,
    /// Over its time.
    TimedOut,
    /// Skipped by its step.
    Skipped,
    /// Its step is not made for the build.
    Broken,
}

impl State {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::WaitingFailed => "waiting_failed",
            Self::Limited => "limited",
            Self::Scheduled => "scheduled",
            Self::Reserved => "reserved",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::TimingOut => "timing_out",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Broken => "broken",
        }
    }

    /// Whether nothing can happen to the job any more, but for a retry (which is a new job).
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Canceled | Self::TimedOut | Self::Skipped | Self::Broken
        )
    }

    /// Whether it is over and never was to run.
    pub(super) fn is_left_out(self) -> bool {
        matches!(self, Self::Skipped | Self::Broken)
    }

    /// Whether an agent has it.
    pub fn is_with_agent(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Running | Self::Canceling | Self::TimingOut
        )
    }

    /// Whether it counts in its concurrency group.
    pub(super) fn is_active(self) -> bool {
        self.is_with_agent() || matches!(self, Self::Scheduled | Self::Reserved)
    }
}

/// Who holds a reservation, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) stack: String,
    pub(super) until: Duration,
    /// Another one each time that the job is reserved, but not when that is prolonged.
    pub(super) number: u64,
}

/// Chunks of a log as they arrived, by offset.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) chunks: BTreeMap<u64, Bytes>,
    pub(super) bytes: usize,
}

impl Log {
    /// The log so far, decoded at the end (a chunk border can cut a character).
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw()).into_owned()
    }

    /// The log so far: put together by offset, repeats dropped.
    pub(super) fn raw(&self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::with_capacity(self.bytes);
        let mut end: u64 = 0;
        for (&offset, chunk) in &self.chunks {
            let known = end.saturating_sub(offset).min(chunk.len() as u64);
            out.extend_from_slice(&chunk[known as usize..]);
            end = end.max(offset + chunk.len() as u64);
        }
        out
    }
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// Its UUID; a retry is a new job with a new one.
    pub uuid: Uuid,
    pub(super) build: BuildKey,
    pub(super) step: StepKey,
    pub(super) queue: QueueKey,
    /// Its state.
    pub state: State,
    /// Whether the log knows a state of it.
    pub(super) introduced: bool,
    /// What it asks for, `key=value`.
    pub rules: Vec<String>,
    /// Buildkite priority.
    pub priority: i64,
    /// Index and count within a parallel step.
    pub(super) parallel: Option<(u32, u32)>,
    /// Its place among the combinations of a matrix.
    pub(super) combination: Option<usize>,
    /// Wall time of its creation, nanoseconds since the epoch.
    pub(super) created_at: i128,
    pub(super) scheduled_at: i128,
    pub(super) runnable_at: Option<i128>,
    pub(super) started_at: Option<i128>,
    pub(super) finished_at: Option<i128>,
    /// Since start; when it last entered the list.
    pub(super) entered: Duration,
    /// Since start.
    pub(super) ended: Option<Duration>,
    pub(super) reservation: Option<Reservation>,
    pub(super) agent: Option<AgentKey>,
    /// The secret that its calls carry, from acquire to the end.
    pub(super) token: Option<String>,
    /// Serves to tell an old deadline from a present one.
    pub(super) accepted_until: Option<Duration>,
    pub(super) timeout_at: Option<Duration>,
    pub(super) timeout_minutes: Option<u32>,
    pub(super) cancel_until: Option<Duration>,
    pub(super) exit_status: Option<String>,
    pub(super) signal: Option<String>,
    pub(super) signal_reason: Option<String>,
    pub(super) chunks_failed: u64,
    pub(super) promised_failure: Option<Value>,
    pub(super) retried_in: Option<JobKey>,
    pub(super) retry_of: Option<JobKey>,
    pub(super) retries: u32,
    /// How often each automatic retry rule was used along the chain of retries.
    pub(super) rule_uses: BTreeMap<usize, u32>,
    /// How it was run again, `automatic` or `manual`.
    pub(super) retry_kind: Option<&'static str>,
    pub(super) notifications: Vec<Notification>,
    pub(super) timeline: Vec<Moment>,
    pub(super) log: Log,
}

/// What an agent gets for an accepted acquire.
#[derive(Clone, Debug, PartialEq)]
pub struct Acquired {
    /// The job.
    pub job: Uuid,
    /// The job token, the secret of all further calls for the job.
    pub token: String,
    /// The job's whole environment.
    pub env: IndexMap<String, String>,
    /// The command step, as the agent reads it.
    pub step: Value,
    /// The values of its matrix that the job is for, by dimension.
    pub matrix: IndexMap<String, String>,
    /// Largest log chunk, bytes.
    pub chunk_max_bytes: usize,
    /// Largest log, bytes.
    pub log_max_bytes: usize,
    /// RFC 3339.
    pub runnable_at: Option<String>,
    /// Buildkite priority.
    pub priority: i64,
}
