//! The calls of the Stacks API, typed.
//!
//! Each takes a deadline: no exchange and no repeat goes beyond it. What the API would refuse and gust can
//! see beforehand is refused here, before anything is sent.

mod listing;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        AcquisitionToken, Finish, FinishOutcome, JobState, Listing, Notification, RejectedNote, Reserved,
        Tokens,
    },
    secret::Secret,
    time::Timestamp,
};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use uuid::Uuid;

use listing::read_listing;

use crate::{
    client::{Answer, Call, Client},
    error::Error,
    reply::Reply,
    scope::Scope,
    wire,
};

/// Most jobs, notifications or tokens in one call.
pub const MAX_BATCH: usize = 1000;
/// Longest reservation Buildkite gives.
pub const MAX_RESERVATION: Duration = Duration::from_secs(3600);
/// Longest life of a job acquisition token.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// Longest detail of a finish, in bytes.
pub const MAX_FINISH_DETAIL: usize = 4096;
/// Longest notification, in characters.
pub const MAX_NOTIFICATION: usize = 256;

impl Client {
    /// Makes the stack known (or renews it), bound to `queue` for display; it may list and serve every
    /// queue of its cluster.
    ///
    /// # Errors
    /// See [`Error`]; 403 (refused) is the organization's limit of stacks.
    pub async fn register(
        &self,
        queue: &str,
        metadata: &BTreeMap<String, String>,
        deadline: Instant,
    ) -> Result<wire::Stack, Error> {
        let request = wire::RegisterRequest {
            key: &self.stack_key,
            kind: "custom",
            queue_key: queue,
            metadata,
        };
        let path = ["stacks", "register"];
        self.write(Scope::Register, Method::POST, &path, &request, deadline)
            .await
    }

    /// Frees the stack's place in the organization's limit. Not for hand-overs: the next leader uses the same key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn deregister(&self, deadline: Instant) -> Result<(), Error> {
        let path = ["stacks", self.stack_key.as_str(), "deregister"];
        let call = Call {
            scope: Scope::Deregister,
            method: Method::POST,
            path: &path,
            query: &[],
            body: None,
        };
        self.send(call, deadline, |_| Ok(())).await.result
    }

    /// Whose token this is: the cheapest question whether it is good.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn token_identity(&self, deadline: Instant) -> Result<wire::TokenIdentity, Error> {
        self.read(Scope::Token, &["token"], &[], deadline, Reply::json)
            .await
    }

    /// One page of a queue's scheduled jobs, from the head or after a cursor, `limit` (1 to 1,000) at most.
    /// Jobs in a form that cannot be read are left out and logged.
    ///
    /// # Errors
    /// See [`Error`]; gone means that stack or queue do not exist.
    pub async fn list(
        &self,
        queue: &QueueKey,
        limit: usize,
        cursor: Option<&str>,
        deadline: Instant,
    ) -> Result<Listing, Error> {
        let limit = limit.clamp(1, MAX_BATCH).to_string();
        let mut query = vec![("queue_key", queue.as_str()), ("limit", limit.as_str())];
        query.extend(cursor.map(|cursor| ("after", cursor)));
        let path = ["stacks", self.stack_key.as_str(), "scheduled-jobs"];
        self.read(Scope::List, &path, &query, deadline, |reply| {
            read_listing(queue, reply)
        })
        .await
    }

    /// Reserves jobs for this stack, or extends reservations it holds.
    ///
    /// # Errors
    /// See [`Error`]; invalid for more than 1,000 jobs or a time of zero or beyond an hour.
    pub async fn reserve(
        &self,
        jobs: &[JobId],
        lasting: Duration,
        deadline: Instant,
    ) -> Result<Reserved, Error> {
        let scope = Scope::Reserve;
        let ids = batch(scope, jobs)?;
        let seconds = whole_seconds(scope, lasting, MAX_RESERVATION)?;
        if ids.is_empty() {
            return Ok(Reserved::default());
        }
        let request = wire::ReserveRequest {
            job_uuids: &ids,
            reservation_expiry_seconds: seconds,
        };
        let path = [
            "stacks",
            self.stack_key.as_str(),
            "scheduled-jobs",
            "batch-reserve",
        ];
        let reply: wire::ReserveReply = self.write(scope, Method::PUT, &path, &request, deadline).await?;
        // Only what was asked for and named counts as ours; a job in neither list is not.
        let ours: BTreeSet<Uuid> = reply.reserved.into_iter().collect();
        let (reserved, not_reserved) = jobs.iter().partition(|job| ours.contains(&job.0));
        Ok(Reserved {
            reserved,
            not_reserved,
        })
    }

    /// Environment and command of one job; both can be large.
    ///
    /// # Errors
    /// See [`Error`]; gone if the job is unknown.
    pub async fn job(&self, job: JobId, deadline: Instant) -> Result<wire::JobDetail, Error> {
        let id = job.to_string();
        let path = ["stacks", self.stack_key.as_str(), "jobs", id.as_str()];
        self.read(Scope::ShowJob, &path, &[], deadline, Reply::json).await
    }

    /// States of jobs; those Buildkite does not know are missing.
    ///
    /// # Errors
    /// See [`Error`]; invalid for more than 1,000 jobs.
    pub async fn states(
        &self,
        jobs: &[JobId],
        deadline: Instant,
    ) -> Result<BTreeMap<JobId, JobState>, Error> {
        let ids = batch(Scope::States, jobs)?;
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let request = wire::StatesRequest { job_uuids: &ids };
        let path = ["stacks", self.stack_key.as_str(), "jobs", "get-states"];
        let reply: wire::StatesReply = self
            .write(Scope::States, Method::POST, &path, &request, deadline)
            .await?;
        let states = reply.states.into_iter();
        Ok(states
            .filter_map(|(id, state)| Some((JobId(id), JobState::parse(&state?))))
            .collect())
    }

    /// Ends a job that no agent ran. Sent again after a lost reply, the service's "already finished" counts
    /// as done; so does it on a first try, for the reply may have been lost in an earlier life of ours.
    ///
    /// # Errors
    /// See [`Error`]; gone if the job is unknown.
    pub async fn finish(
        &self,
        job: JobId,
        finish: &Finish,
        deadline: Instant,
    ) -> Result<FinishOutcome, Error> {
        let scope = Scope::Finish;
        if finish.detail.trim().is_empty() {
            return Err(Error::Invalid {
                scope,
                why: "the detail is empty".to_owned(),
            });
        }
        let detail = cut_bytes(&finish.detail, MAX_FINISH_DETAIL);
        let request = wire::FinishRequest {
            exit_status: finish.exit_status,
            detail,
        };
        let id = job.to_string();
        let path = ["stacks", self.stack_key.as_str(), "jobs", id.as_str(), "finish"];
        let body = Some(encode(&request));
        let call = Call {
            scope,
            method: Method::POST,
            path: &path,
            query: &[],
            body,
        };
        let Answer {
            result,
            earlier_unknown,
        } = self.send(call, deadline, |_| Ok(())).await;
        match result {
            Ok(_) => Ok(FinishOutcome::Finished),
            Err(Error::Status {
                status: 422, message, ..
            }) if earlier_unknown || says_over(&message) => Ok(FinishOutcome::AlreadyOver),
            Err(error) => Err(error),
        }
    }

    /// Puts lines on jobs' timelines and returns those that were not taken. A call whose outcome is unknown
    /// is not sent again here, since a line could then show twice.
    ///
    /// # Errors
    /// See [`Error`]; invalid for more than 1,000 lines.
    pub async fn notify(
        &self,
        notes: &[Notification],
        deadline: Instant,
    ) -> Result<Vec<RejectedNote>, Error> {
        check_batch(Scope::Notify, notes.len())?;
        // Empty lines would be refused anyway; they are reported without spending a place on them.
        let (sent, empty): (Vec<_>, Vec<_>) = notes
            .iter()
            .enumerate()
            .partition(|(_, note)| !note.detail.trim().is_empty());
        let mut rejected: Vec<_> = empty
            .into_iter()
            .map(|(index, _)| RejectedNote {
                index,
                reason: "detail is required".to_owned(),
            })
            .collect();
        if sent.is_empty() {
            return Ok(rejected);
        }
        let request = wire::NotifyRequest {
            notifications: sent.iter().map(|(_, note)| entry(note)).collect(),
        };
        let path = ["stacks", self.stack_key.as_str(), "notifications"];
        let reply: wire::NotifyReply = self
            .write(Scope::Notify, Method::POST, &path, &request, deadline)
            .await?;
        for error in reply.errors {
            let places = error.indexes.iter().filter_map(|place| sent.get(*place));
            rejected.extend(places.map(|(index, _)| RejectedNote {
                index: *index,
                reason: error.error.clone(),
            }));
        }
        rejected.sort_by_key(|note| note.index);
        Ok(rejected)
    }

    /// Tokens with which a machine can acquire one job each. A call whose outcome is unknown is not sent
    /// again here, since each repeat makes further tokens.
    ///
    /// # Errors
    /// See [`Error`]; invalid for more than 1,000 jobs or a lifetime of zero or beyond an hour.
    pub async fn acquisition_tokens(
        &self,
        jobs: &[JobId],
        lifetime: Duration,
        deadline: Instant,
    ) -> Result<Tokens, Error> {
        let scope = Scope::AcquisitionTokens;
        let ids = batch(scope, jobs)?;
        let seconds = whole_seconds(scope, lifetime, MAX_TOKEN_LIFETIME)?;
        if ids.is_empty() {
            return Ok(Tokens::default());
        }
        let request = wire::TokensRequest {
            job_uuids: &ids,
            token_lifetime_seconds: seconds,
        };
        let path = ["stacks", self.stack_key.as_str(), "job-acquisition-tokens"];
        let reply: wire::TokensReply = self.write(scope, Method::POST, &path, &request, deadline).await?;
        let asked: BTreeSet<Uuid> = ids.iter().copied().collect();
        let issued: Vec<AcquisitionToken> = reply
            .job_acquisition_tokens
            .into_iter()
            .filter(|token| asked.contains(&token.job_uuid))
            .map(|token| AcquisitionToken {
                job: JobId(token.job_uuid),
                token: Secret::new(token.job_acquisition_token),
                expires_at: token.expires_at,
            })
            .collect();
        // The form of `not_issued` is not documented, so it is worked out from what was issued.
        let have: BTreeSet<JobId> = issued.iter().map(|token| token.job).collect();
        let not_issued = jobs.iter().copied().filter(|job| !have.contains(job)).collect();
        Ok(Tokens { issued, not_issued })
    }

    async fn read<T>(
        &self,
        scope: Scope,
        path: &[&str],
        query: &[(&str, &str)],
        deadline: Instant,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let call = Call {
            scope,
            method: Method::GET,
            path,
            query,
            body: None,
        };
        self.send(call, deadline, read).await.result
    }

    async fn write<T: DeserializeOwned>(
        &self,
        scope: Scope,
        method: Method,
        path: &[&str],
        request: &impl Serialize,
        deadline: Instant,
    ) -> Result<T, Error> {
        let call = Call {
            scope,
            method,
            path,
            query: &[],
            body: Some(encode(request)),
        };
        self.send(call, deadline, Reply::json).await.result
    }
}

fn encode<T: Serialize>(request: &T) -> Vec<u8> {
    serde_json::to_vec(request).expect("request types have string keys and no failing parts")
}

fn entry(note: &Notification) -> wire::NotificationEntry<'_> {
    wire::NotificationEntry {
        job_uuid: note.job.0,
        detail: cut_chars(&note.detail, MAX_NOTIFICATION),
        timestamp: note.at.map(Timestamp::rfc3339),
    }
}

fn check_batch(scope: Scope, count: usize) -> Result<(), Error> {
    if count > MAX_BATCH {
        return Err(Error::Invalid {
            scope,
            why: format!("{count} entries, at most {MAX_BATCH} fit in one call"),
        });
    }
    Ok(())
}

fn batch(scope: Scope, jobs: &[JobId]) -> Result<Vec<Uuid>, Error> {
    check_batch(scope, jobs.len())?;
    Ok(jobs.iter().map(|job| job.0).collect())
}

fn whole_seconds(scope: Scope, time: Duration, most: Duration) -> Result<u64, Error> {
    let seconds = time.as_secs();
    if seconds == 0 || time > most {
        return Err(Error::Invalid {
            scope,
            why: format!("a time of {time:?}, allowed are 1 s to {most:?}"),
        });
    }
    Ok(seconds)
}

/// The text's beginning, at most `most` bytes, cut between characters.
fn cut_bytes(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The text's beginning, at most `most` characters.
fn cut_chars(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}

/// True if a refusal's words mean that the job has ended. The true wording is not documented.
fn says_over(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["already", "finished", "canceled", "no longer"]
        .iter()
        .any(|word| message.contains(word))
}
