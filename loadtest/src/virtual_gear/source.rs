//! The fake Buildkite's model as a [`Source`].

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        AcquisitionToken, Finish, FinishOutcome, JobState, ListedJob, Listing, Notification, RejectedNote,
        Remedy, Reserved, Source, SourceError, Tokens,
    },
    records::JobFacts,
    secret::Secret,
    time::Timestamp,
};
use gust_fakes::buildkite::{self, ListView, Refusal, StackFinish, StackRegistration};
use uuid::Uuid;

use super::world::Shared;

/// The stack key of the virtual gear.
const STACK: &str = "gust";
/// Jobs on one page.
const PAGE: usize = 1000;

/// Buildkite without a wire.
pub(super) struct VirtualSource {
    pub world: Shared,
    pub queue: QueueKey,
}

impl VirtualSource {
    fn call<T>(
        &self,
        call: &'static str,
        scope: &'static str,
        act: impl FnOnce(
            &mut buildkite::Model,
            gust_fakes::now::Now,
            &mut gust_fakes::event::Effects,
        ) -> Result<T, Refusal>,
    ) -> Result<T, SourceError> {
        self.world.call(|world, now, out| {
            if !scope.is_empty() && !world.buildkite.within_rate(now, STACK, scope) {
                let remedy = Remedy::RetryLater(Duration::from_secs(1));
                return Err(SourceError {
                    call,
                    remedy,
                    message: "429: rate limit".to_owned(),
                    source: None,
                });
            }
            act(&mut world.buildkite, now, out).map_err(|refusal| refused(call, &refusal))
        })
    }
}

fn refused(call: &'static str, refusal: &Refusal) -> SourceError {
    let remedy = match refusal.status {
        401 => Remedy::Unauthorized,
        404 => Remedy::Gone,
        429 | 500..=599 => Remedy::RetryLater(Duration::from_secs(1)),
        _ => Remedy::Refused,
    };
    SourceError {
        call,
        remedy,
        message: format!("{}: {}", refusal.status, refusal.message),
        source: None,
    }
}

fn texts(jobs: &[JobId]) -> Vec<String> {
    jobs.iter().map(JobId::to_string).collect()
}

fn ids(texts: impl IntoIterator<Item = String>) -> Vec<JobId> {
    texts
        .into_iter()
        .filter_map(|text| Uuid::parse_str(&text).ok())
        .map(JobId)
        .collect()
}

#[async_trait]
impl Source for VirtualSource {
    async fn register(&self) -> Result<(), SourceError> {
        self.call("register", "", |model, _, _| {
            model.register_stack(
                0,
                StackRegistration {
                    key: STACK.to_owned(),
                    kind: "custom".to_owned(),
                    queue_key: self.queue.to_string(),
                    metadata: Default::default(),
                },
            )
        })
        .map(|_| ())
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        let page = self.call("list scheduled jobs", "list-scheduled-jobs", |model, now, _| {
            model.list_scheduled(now, 0, STACK, queue.as_str(), (PAGE, cursor), ListView::default())
        })?;
        let jobs = page.jobs.into_iter().map(|job| ListedJob {
            id: JobId(job.uuid),
            facts: JobFacts {
                queue: queue.clone(),
                rules: job.rules,
                priority: job.priority,
                pipeline: job.pipeline.0,
                build: job.build.0,
                branch: job.build.1,
                step: job.step_key,
                runnable_at: job
                    .runnable_at
                    .as_deref()
                    .or(Some(&job.scheduled_at))
                    .and_then(Timestamp::parse_rfc3339)
                    .unwrap_or_default(),
            },
        });
        let next = page.end_cursor.filter(|_| page.has_next_page);
        Ok(Listing {
            jobs: jobs.collect(),
            next,
            paused: page.paused,
        })
    }

    async fn reserve(&self, jobs: &[JobId], lasting: Duration) -> Result<Reserved, SourceError> {
        let seconds = i64::try_from(lasting.as_secs()).ok();
        let answer = self.call("reserve", "batch-reserve", |model, now, out| {
            model.reserve(now, 0, STACK, &texts(jobs), seconds, out)
        })?;
        let reserved = answer.reserved.into_iter().map(JobId).collect();
        Ok(Reserved {
            reserved,
            not_reserved: ids(answer.not_reserved),
        })
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        let states = self.call("read states", "batch-load-job-states", |model, _, _| {
            model.get_states(0, STACK, &texts(jobs))
        })?;
        let states = states.into_iter().filter_map(|(id, state)| {
            Some((JobId(Uuid::parse_str(&id).ok()?), JobState::parse(state.name())))
        });
        Ok(states.collect())
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        let finish = StackFinish {
            exit_status: finish.exit_status.into(),
            detail: finish.detail.clone(),
            signal_reason: None,
        };
        let answer = self.call("finish", "finish-job", |model, now, out| {
            model.finish(now, 0, STACK, &job.to_string(), &finish, out)
        });
        match answer {
            Ok(()) => Ok(FinishOutcome::Finished),
            Err(error) if error.remedy == Remedy::Refused && error.message.starts_with("422") => {
                Ok(FinishOutcome::AlreadyOver)
            }
            Err(error) => Err(error),
        }
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        let notes: Vec<buildkite::Notification> = notes
            .iter()
            .map(|note| buildkite::Notification {
                job: note.job.to_string(),
                detail: note.detail.clone(),
                timestamp: Some(note.at.rfc3339()),
            })
            .collect();
        let errors = self.call("notify", "stack-notification", |model, now, out| {
            model.notify(now, 0, STACK, &notes, out)
        })?;
        let rejected = errors.into_iter().flat_map(|error| {
            error.indexes.into_iter().map(move |index| RejectedNote {
                index,
                reason: error.error.clone(),
            })
        });
        Ok(rejected.collect())
    }

    async fn acquisition_tokens(&self, jobs: &[JobId], lifetime: Duration) -> Result<Tokens, SourceError> {
        let seconds = i64::try_from(lifetime.as_secs()).ok();
        let tokens = self.call("issue acquisition tokens", "", |model, now, out| {
            model.issue_acquisition_tokens(now, 0, STACK, &texts(jobs), seconds, out)
        })?;
        let issued = tokens.issued.into_iter().map(|token| AcquisitionToken {
            job: JobId(token.job),
            token: Secret::new(token.token),
            expires_at: Timestamp::parse_rfc3339(&token.expires_at).unwrap_or_default(),
        });
        Ok(Tokens {
            issued: issued.collect(),
            not_issued: ids(tokens.not_issued),
        })
    }
}
