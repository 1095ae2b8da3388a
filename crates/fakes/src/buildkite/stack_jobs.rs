//! What a stack does with jobs: reserve, look at, finish, tokens for their agents.

use std::time::Duration;

use indexmap::IndexMap;
use uuid::Uuid;

use super::agents::AcquisitionToken;
use super::due::Due;
use super::end::End;
use super::ids::{self, JobKey, Refusal};
use super::job::{Reservation, State};
use super::model::Model;
use crate::event::{Effects, Event, Host};
use crate::now::Now;
use crate::stamp::rfc3339;

/// What a reserve came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Reserved now, or longer than before.
    pub reserved: Vec<Uuid>,
    /// Not: another stack has it, it is with an agent, it ended, or it is not known.
    pub not_reserved: Vec<String>,
}

/// A job's environment and command.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDetail {
    /// Its environment, without what only an agent adds.
    pub env: IndexMap<String, String>,
    /// Its command.
    pub command: String,
}

/// A stack ends a job that never ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFinish {
    /// 0 is success; −1 where the request had none.
    pub exit_status: i64,
    /// What people read.
    pub detail: String,
    /// Else `stack_error`, if it failed.
    pub signal_reason: Option<String>,
}

/// Tokens for jobs of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Issued.
    pub issued: Vec<IssuedToken>,
    /// Not reserved by this stack, or not known.
    pub not_issued: Vec<String>,
}

/// A job acquisition token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// The one job it is good for.
    pub job: Uuid,
    /// The secret.
    pub token: String,
    /// RFC 3339.
    pub expires_at: String,
}

impl Model {
    /// Reserves jobs for a stack, or prolongs what it has reserved. `seconds`: default and maximum are limits.
    pub fn reserve(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        jobs: &[String],
        seconds: Option<i64>,
        out: &mut Effects,
    ) -> Result<Reserved, Refusal> {
        self.stack(cluster, stack)?;
        self.check_batch(jobs.len())?;
        let (usual, most) = (self.limits.reservation_default_s, self.limits.reservation_max_s);
        let (until, until_text) = end(now, "reservation_expiry_seconds", seconds, usual, most)?;
        let mut answer = Reserved::default();
        for text in jobs {
            let Some(key) = self.job_in_cluster(cluster, text) else {
                answer.not_reserved.push(text.clone());
                continue;
            };
            let job = &mut self.jobs[key.0];
            let held = job.reservation.as_ref().is_some_and(|held| held.stack == stack);
            if job.state != State::Scheduled && !(job.state == State::Reserved && held) {
                answer.not_reserved.push(text.clone());
                continue;
            }
            let before = job.reservation.as_ref().filter(|_| job.state == State::Reserved);
            let number = before.map(|held| held.number).unwrap_or_else(|| {
                self.reservations += 1;
                self.reservations
            });
            job.reservation = Some(Reservation {
                stack: stack.to_owned(),
                until,
                number,
            });
            let uuid = job.uuid;
            let renewed = job.state == State::Reserved;
            self.at(until, Due::Reservation(key));
            self.set_state(now, key, State::Reserved, "reserved", out);
            out.push(
                Event::new(Host::Buildkite, "job.reserved")
                    .with("job", uuid.to_string())
                    .with("stack", stack)
                    .with("until", until_text.clone())
                    .with("renewed", renewed),
            );
            answer.reserved.push(uuid);
        }
        Ok(answer)
    }

    fn check_batch(&self, count: usize) -> Result<(), Refusal> {
        if count > self.limits.batch_max {
            return Err(Refusal::unprocessable(format!(
                "job_uuids must have at most {} entries",
                self.limits.batch_max
            )));
        }
        Ok(())
    }

    /// A job of the cluster by what a client sent as its UUID.
    pub(super) fn job_in_cluster(&self, cluster: usize, text: &str) -> Option<JobKey> {
        let key = *self.jobs_by_uuid.get(&Uuid::parse_str(text).ok()?)?;
        (self.build_of(key).cluster == cluster).then_some(key)
    }

    /// Environment and command of a job.
    pub fn get_job(&self, cluster: usize, stack: &str, job: &str) -> Result<JobDetail, Refusal> {
        self.stack(cluster, stack)?;
        let key = self
            .job_in_cluster(cluster, job)
            .ok_or_else(|| Refusal::not_found("job"))?;
        let command = self
            .plan_of(key)
            .map(|plan| plan.command.clone())
            .unwrap_or_default();
        Ok(JobDetail {
            env: self.env_of(key),
            command,
        })
    }

    /// States of jobs; those not known are left out.
    pub fn get_states(
        &self,
        cluster: usize,
        stack: &str,
        jobs: &[String],
    ) -> Result<IndexMap<String, State>, Refusal> {
        self.stack(cluster, stack)?;
        self.check_batch(jobs.len())?;
        Ok(jobs
            .iter()
            .filter_map(|text| {
                Some((
                    text.clone(),
                    self.jobs[self.job_in_cluster(cluster, text)?.0].state,
                ))
            })
            .collect())
    }

    /// A stack ends a job that no agent has. Once: the second time is refused and changes nothing.
    pub fn finish(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        job: &str,
        finish: &StackFinish,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        self.stack(cluster, stack)?;
        let key = self
            .job_in_cluster(cluster, job)
            .ok_or_else(|| Refusal::not_found("job"))?;
        if finish.detail.is_empty() {
            return Err(Refusal::unprocessable("detail is required"));
        }
        if finish.detail.len() > self.limits.finish_detail_bytes {
            let max = self.limits.finish_detail_bytes;
            return Err(Refusal::unprocessable(format!(
                "detail must be at most {max} bytes"
            )));
        }
        let state = self.jobs[key.0].state;
        let elsewhere = self.jobs[key.0]
            .reservation
            .as_ref()
            .is_some_and(|held| held.stack != stack);
        if !matches!(state, State::Scheduled | State::Reserved) {
            return Err(Refusal::unprocessable(format!(
                "A {} job cannot be finished by a stack",
                state.name()
            )));
        }
        if elsewhere {
            return Err(Refusal::unprocessable("The job is reserved by another stack"));
        }
        let failed = finish.exit_status != 0;
        let end = End {
            state: State::Finished,
            exit_status: Some(finish.exit_status.to_string()),
            signal: None,
            signal_reason: finish
                .signal_reason
                .clone()
                .or_else(|| failed.then(|| "stack_error".to_owned())),
            by: "stack",
            detail: Some(finish.detail.clone()),
            cause: "finished by the stack".into(),
        };
        self.end_job(now, key, end, out);
        Ok(())
    }

    /// Issues tokens with which an agent can acquire exactly one job, reserved by this stack.
    pub fn issue_acquisition_tokens(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        jobs: &[String],
        seconds: Option<i64>,
        out: &mut Effects,
    ) -> Result<Tokens, Refusal> {
        self.stack(cluster, stack)?;
        self.check_batch(jobs.len())?;
        if jobs.is_empty() {
            return Err(Refusal::unprocessable("job_uuids must have at least one entry"));
        }
        let limits = &self.limits;
        let (usual, most) = (limits.acquisition_token_default_s, limits.acquisition_token_max_s);
        let (expires, expires_at) = end(now, "token_lifetime_seconds", seconds, usual, most)?;
        let mut answer = Tokens::default();
        for text in jobs {
            let key = self.job_in_cluster(cluster, text).filter(|key| {
                let job = &self.jobs[key.0];
                job.state == State::Reserved
                    && job.reservation.as_ref().is_some_and(|held| held.stack == stack)
            });
            let Some(key) = key else {
                answer.not_issued.push(text.clone());
                continue;
            };
            let reserved = self.jobs[key.0].reservation.as_ref();
            let reservation = reserved.map_or(0, |held| held.number);
            let job = self.jobs[key.0].uuid;
            let token = ids::token(&mut self.rng, "bkjat_");
            let uuid = ids::uuid(&mut self.rng);
            out.push(
                Event::new(Host::Buildkite, "token.issued")
                    .with("job", job.to_string())
                    .with("stack", stack)
                    .with("token_id", uuid.to_string())
                    .with("expires", expires_at.clone()),
            );
            self.acquisition_tokens.insert(
                token.clone(),
                AcquisitionToken {
                    uuid,
                    job: key,
                    cluster,
                    expires,
                    reservation,
                },
            );
            answer.issued.push(IssuedToken {
                job,
                token,
                expires_at: expires_at.clone(),
            });
        }
        Ok(answer)
    }
}

/// When so many seconds are over, since the fake began and as it is written: `usual` where the request names none.
fn end(
    now: Now,
    name: &str,
    seconds: Option<i64>,
    usual: u32,
    most: u32,
) -> Result<(Duration, String), Refusal> {
    let seconds = seconds.unwrap_or_else(|| usual.into());
    if seconds < 1 || seconds > most.into() {
        return Err(Refusal::unprocessable(format!("{name} must be 1 to {most}")));
    }
    let at = now.since_start + Duration::from_secs(seconds as u64);
    Ok((at, rfc3339(now.unix_ns + i128::from(seconds) * 1_000_000_000)))
}
