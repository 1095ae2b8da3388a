//! The task that gets job acquisition tokens for claims: those that come together share one call, because
//! Buildkite limits calls and not tokens.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    ids::{JobId, JobRef},
    ports::{Remedy, SourceError},
    secret::Secret,
    time::Timestamp,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    SourcePart,
    effect::CALL_LIMIT,
    input::{Assignment, ClaimReply, Input},
    on_source::report,
};
use crate::{clock::Clock, task::Tasks};

/// Shortest time between two calls. The limit is not documented; most others are 10 calls a second
/// (`reference/buildkite-api.md`, 1.2). Longer than the client's own rate limit makes it: what comes faster than that would
/// stand in an ever longer line, while machines give up and claim again.
const GAP: Duration = Duration::from_millis(125);

/// A claim that is recorded and waits for its token.
pub(super) struct Wanted {
    pub job: JobRef,
    /// Tags the agent registers with.
    pub tags: Vec<String>,
    pub max_run_seconds: u64,
    pub reply: oneshot::Sender<ClaimReply>,
}

/// Gets tokens from one source.
#[derive(Clone)]
pub(super) struct Issuer {
    pub part: SourcePart,
    pub inputs: mpsc::Sender<Input>,
    pub clock: Clock,
    /// How long a token lives.
    pub lifetime: Duration,
    pub tasks: Tasks,
}

impl Issuer {
    /// Answers claims for ever. The first one goes out at once; a call that hangs holds up none of the next.
    pub async fn run(self, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
        while let Some(first) = wanted.recv().await {
            let next = Instant::now() + GAP;
            let mut batch = BTreeMap::from([(first.job.id, vec![first])]);
            while batch.len() < CALL_LIMIT
                && let Ok(more) = wanted.try_recv()
            {
                // A machine that asks again while its first claim waits gets the same token.
                batch.entry(more.job.id).or_default().push(more);
            }
            self.tasks.spawn("assign", self.clone().issue(batch));
            tokio::time::sleep_until(next).await;
        }
    }

    async fn issue(self, batch: BTreeMap<JobId, Vec<Wanted>>) {
        let jobs: Vec<JobId> = batch.keys().copied().collect();
        let mut issued = match self.tokens(&jobs).await {
            Ok(issued) => issued,
            Err(error) => {
                report(&self.part.name, &error);
                let why = match error.remedy {
                    Remedy::Gone | Remedy::Refused => {
                        "Buildkite issues no job acquisition tokens here, and agent_token_fallback is not set"
                    }
                    _ => "Buildkite did not answer the request for a token",
                };
                for wanted in batch.into_values().flatten() {
                    let _ = wanted.reply.send(ClaimReply::NotYet(why.to_owned()));
                }
                return;
            }
        };
        for (id, claims) in batch {
            let token = issued.remove(&id);
            if let (None, Some(first)) = (&token, claims.first()) {
                // What we believe of the job is wrong.
                let job = first.job.clone();
                let _ = self.inputs.send(Input::TokenRefused { job }).await;
            }
            for wanted in claims {
                let answer = match token.clone() {
                    Some(token) => self.assigned(token, &wanted),
                    None => ClaimReply::NotYet("Buildkite issues no token for the job at present".to_owned()),
                };
                // A machine that hung up asks again.
                let _ = wanted.reply.send(answer);
            }
        }
    }

    fn assigned(&self, (token, expires_at): Token, wanted: &Wanted) -> ClaimReply {
        ClaimReply::Assigned(Assignment {
            agent_endpoint: self.part.agent_endpoint.clone(),
            token,
            agent_token_fallback: expires_at.is_none(),
            expires_at: expires_at.unwrap_or_else(|| self.clock.now().after(self.lifetime)),
            tags: wanted.tags.clone(),
            max_run_seconds: wanted.max_run_seconds,
            job: wanted.job.clone(),
        })
    }

    // Acquisition tokens by job, or the agent token where the operator opted in. A job without one is not ours
    // at present.
    async fn tokens(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Token>, SourceError> {
        match self.part.source.acquisition_tokens(jobs, self.lifetime).await {
            Ok(tokens) => {
                let issued = tokens.issued.into_iter();
                Ok(issued
                    .map(|token| (token.job, (token.token, Some(token.expires_at))))
                    .collect())
            }
            Err(error) => match &self.part.agent_token {
                Some(token) if matches!(error.remedy, Remedy::Gone | Remedy::Refused) => {
                    Ok(jobs.iter().map(|job| (*job, (token.clone(), None))).collect())
                }
                _ => Err(error),
            },
        }
    }
}

/// A token and when it lapses; the agent token does not.
type Token = (Secret, Option<Timestamp>);
