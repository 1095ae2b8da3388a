//! A job with its agent: start, log chunks, state, finish.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::due::Due;
use super::end::End;
use super::ids::Refusal;
use super::job::State;
use super::model::Model;
use crate::event::Effects;
use crate::now::Now;

/// A piece of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins, in uncompressed bytes.
    pub offset: u64,
    /// The bytes, uncompressed.
    pub bytes: Bytes,
}

/// How a job ended, as its agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobEnd {
    /// As text: `0`, `3`, `-1`.
    pub exit_status: String,
    /// `SIGTERM` …
    pub signal: Option<String>,
    /// `cancel`, `agent_stop` …
    pub signal_reason: Option<String>,
    /// Chunks the agent could not upload.
    pub chunks_failed: u64,
}

impl Model {
    /// The job's process starts. A repeat (its reply was lost) changes nothing.
    pub fn start(&mut self, now: Now, token: &str, job: Uuid, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        let state = self.jobs[key.0].state;
        match state {
            State::Running => return Ok(()),
            State::Accepted => {}
            _ => {
                return Err(Refusal::unprocessable(format!(
                    "This job can't be started while it is in the `{}` state",
                    state.name()
                )));
            }
        }
        let build = self.jobs[key.0].build;
        if self.builds[build.0].started_at.is_none() {
            self.builds[build.0].started_at = Some(now.unix_ns);
            self.tell_build(now, build, "build.running", out);
        }
        let job = &mut self.jobs[key.0];
        job.started_at = Some(now.unix_ns);
        job.accepted_until = None;
        if let Some(minutes) = job.timeout_minutes {
            let at = now.since_start + Duration::from_secs(u64::from(minutes) * 60);
            job.timeout_at = Some(at);
            self.at(at, Due::Timeout(key));
        }
        self.set_state(now, key, State::Running, "started", out);
        Ok(())
    }

    /// Keeps a piece of the log. Pieces come in any order, and more than once.
    pub fn append_log(&mut self, token: &str, job: Uuid, chunk: Chunk) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        if chunk.bytes.len() > self.limits.chunk_max_bytes {
            let max = self.limits.chunk_max_bytes;
            return Err(Refusal::new(413, format!("A chunk can have at most {max} bytes")));
        }
        if self.jobs[key.0].state == State::Accepted {
            return Err(Refusal::unprocessable("The job has not started"));
        }
        let log = &mut self.jobs[key.0].log;
        if log.bytes + chunk.bytes.len() > self.limits.log_max_bytes {
            return Ok(()); // The server drops the excess without an error.
        }
        let known = log.chunks.get(&chunk.offset).map_or(0, Bytes::len);
        if chunk.bytes.len() > known {
            log.bytes += chunk.bytes.len() - known;
            log.chunks.insert(chunk.offset, chunk.bytes);
        }
        Ok(())
    }

    /// The state as the agent polls it.
    pub fn job_state(&self, token: &str, job: Uuid) -> Result<State, Refusal> {
        Ok(self.jobs[self.job_of_token(token, job)?.0].state)
    }

    /// The agent ends the job: once. A second finish is refused and changes nothing.
    pub fn finish_job(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        end: JobEnd,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token_ever(token, job)?;
        if end.exit_status.parse::<i64>().is_err() {
            return Err(Refusal::unprocessable("exit_status must be an integer as text"));
        }
        let from = self.jobs[key.0].state;
        let state = match from {
            State::Running => State::Finished,
            State::Canceling => State::Canceled,
            State::TimingOut => State::TimedOut,
            _ => {
                return Err(Refusal::unprocessable(format!(
                    "A {} job cannot be finished",
                    from.name()
                )));
            }
        };
        self.jobs[key.0].chunks_failed = end.chunks_failed;
        let cause = match state {
            State::Canceled => "the agent ended the canceled job",
            State::TimedOut => "the agent ended the job that was over its time",
            _ => "finished by the agent",
        };
        let end = End {
            state,
            exit_status: Some(end.exit_status),
            signal: end.signal.filter(|signal| !signal.is_empty()),
            signal_reason: end.signal_reason.filter(|reason| !reason.is_empty()),
            by: "agent",
            detail: None,
            cause: cause.into(),
        };
        self.end_job(now, key, end, out);
        Ok(())
    }

    /// A running job changes its own time limit, counted from its start.
    pub fn set_timeout(&mut self, now: Now, token: &str, job: Uuid, minutes: u32) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        let job = &mut self.jobs[key.0];
        let Some(started) = job.started_at else {
            return Err(Refusal::unprocessable("The job has not started"));
        };
        let ran = Duration::from_nanos((now.unix_ns - started).max(0) as u64);
        let at = (now.since_start + Duration::from_secs(u64::from(minutes) * 60)).saturating_sub(ran);
        job.timeout_minutes = Some(minutes);
        job.timeout_at = Some(at);
        self.at(at, Due::Timeout(key));
        Ok(())
    }
}
