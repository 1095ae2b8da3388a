//! The fake Buildkite's model as a [`Source`], over the virtual network: as the Stacks API, and ([`Unreserved`]) as GraphQL.
//!
//! What comes back is classed as gust's own client for Buildkite classes it (crate `gust-buildkite`): a write
//! without a usable answer is unclear, a read is simply to be repeated.

mod unreserved;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey, ReplicaId},
    ports::{
        AcquisitionToken, Finish, FinishOutcome, JobState, ListedJob, Listing, Notification, RejectedNote,
        Remedy, Reserved, Retried, Retrier, Source, SourceError, Tokens,
    },
    records::JobFacts,
    secret::Secret,
    time::Timestamp,
};
use gust_fakes::{
    buildkite::{self, ListView, Refusal, StackFinish, StackRegistration},
    event::Effects,
    now::Now,
    world::World,
};
use uuid::Uuid;

pub(super) use self::unreserved::Unreserved;
use super::{
    net::{Net, Point, Trouble},
    witness::Witness,
    world::Shared,
};

/// The stack key of the virtual gear.
const STACK: &str = "gust";
/// Jobs on one page.
const PAGE: usize = 1000;
/// How long the client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// A wait for a service that is down and said nothing.
const DOWN: Duration = Duration::from_secs(1);

/// Buildkite without a wire, as one replica reaches it.
pub(super) struct VirtualSource {
    pub world: Shared,
    pub net: Net,
    /// The replica that calls.
    pub from: usize,
    /// Its name.
    pub name: ReplicaId,
    pub queue: QueueKey,
    pub witness: Witness,
}

/// One of its calls.
struct Call {
    words: &'static str,
    point: Point,
    /// Rate scope; empty where there is none.
    scope: &'static str,
    writes: bool,
}

const REGISTER: Call = call("register stack", Point::SourceRegister, "", true);
const LIST: Call = call(
    "list scheduled jobs",
    Point::SourceList,
    "list-scheduled-jobs",
    false,
);
const RESERVE: Call = call("reserve jobs", Point::SourceReserve, "batch-reserve", true);
const STATES: Call = call(
    "get job states",
    Point::SourceStates,
    "batch-load-job-states",
    false,
);
const FINISH: Call = call("finish job", Point::SourceFinish, "finish-job", true);
const NOTIFY: Call = call(
    "send notifications",
    Point::SourceNotify,
    "stack-notification",
    true,
);
const TOKENS: Call = call(
    "issue job acquisition tokens",
    Point::SourceTokens,
    "job-acquisition-token",
    true,
);

const RETRY: Call = call("retry job", Point::SourceFinish, "", true);

const fn call(words: &'static str, point: Point, scope: &'static str, writes: bool) -> Call {
    Call {
        words,
        point,
        scope,
        writes,
    }
}

impl VirtualSource {
    async fn call<T: Send + 'static>(
        &self,
        call: &Call,
        mut act: impl FnMut(&mut World, Now, &mut Effects) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, SourceError> {
        let at = self.world.elapsed();
        self.witness
            .tell(|checker| checker.calls_buildkite(at, self.name.as_str(), call.words));
        let (world, scope) = (self.world.clone(), call.scope);
        let effect = move || {
            world.call(|world, now, out| {
                if !scope.is_empty() && !world.buildkite.within_rate(now, STACK, scope) {
                    return Err(Refusal::new(429, "rate limit"));
                }
                act(world, now, out)
            })
        };
        match self.net.deliver(self.from, call.point, DEADLINE, effect).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Refusal { status, message })) => Err(call.refused(status, message)),
            Err(Trouble::CutOff) => Err(call.unanswered("200, but the reply is cut off".to_owned())),
            Err(Trouble::Lost) => Err(call.unanswered("no answer".to_owned())),
            // A good status with a page in place of the answer.
            Err(Trouble::Refused { status, .. }) if status < 400 => {
                Err(call.unanswered(format!("{status}, but the reply cannot be read")))
            }
            Err(Trouble::Refused { status, html }) => {
                let message = if html { "<html>" } else { "refused on the way" };
                Err(call.refused(status, message.to_owned()))
            }
        }
    }
}

impl Call {
    fn refused(&self, status: u16, message: String) -> SourceError {
        let remedy = match status {
            401 => Remedy::Unauthorized,
            404 | 410 => Remedy::Gone,
            408 | 425 | 429 => Remedy::RetryLater(DOWN),
            500.. if self.writes => Remedy::Unclear,
            500.. => Remedy::RetryLater(DOWN),
            _ => Remedy::Refused,
        };
        self.error(remedy, format!("{status}: {message}"))
    }

    fn unanswered(&self, message: String) -> SourceError {
        let remedy = match self.writes {
            true => Remedy::Unclear,
            false => Remedy::RetryLater(DOWN),
        };
        self.error(remedy, message)
    }

    fn error(&self, remedy: Remedy, message: String) -> SourceError {
        SourceError {
            call: self.words,
            remedy,
            message,
            source: None,
        }
    }
}

/// Whether the words of a 422 say that the job is over, as the client reads them.
fn says_over(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["already", "finished", "canceled", "no longer"]
        .iter()
        .any(|word| message.contains(word))
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

fn listed(job: buildkite::ListedJob, queue: &QueueKey) -> ListedJob {
    ListedJob {
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
    }
}

#[async_trait]
impl Retrier for VirtualSource {
    async fn retry(&self, job: JobId) -> Result<Retried, SourceError> {
        let JobId(job) = job;
        self.call(&RETRY, move |world, now, out| {
            let shown = world.buildkite.show_job(job)?;
            if let Some(new) = world.buildkite.retry_of(job) {
                return Ok(Retried::In(JobId(new)));
            }
            if shown["state"] == "canceled" || shown["exit_status"] == "0" {
                return Ok(Retried::Needless);
            }
            world
                .buildkite
                .retry_job(now, job, out)
                .map(|new| Retried::In(JobId(new)))
        })
        .await
    }
}

#[async_trait]
impl Source for VirtualSource {
    async fn register(&self) -> Result<(), SourceError> {
        let queue_key = self.queue.to_string();
        self.call(&REGISTER, move |world, _, _| {
            let stack = StackRegistration {
                key: STACK.to_owned(),
                kind: "custom".to_owned(),
                queue_key: queue_key.clone(),
                metadata: Default::default(),
            };
            world.buildkite.register_stack(0, stack).map(|_| ())
        })
        .await
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        self.world.note_list();
        let (key, cursor) = (queue.clone(), cursor.map(str::to_owned));
        let page = self
            .call(&LIST, move |world, now, out| {
                let view = ListView::under(&mut world.faults, now, key.as_str(), out);
                let page = (PAGE, cursor.as_deref());
                world
                    .buildkite
                    .list_scheduled(now, 0, STACK, key.as_str(), page, view)
            })
            .await?;
        Ok(Listing {
            jobs: page.jobs.into_iter().map(|job| listed(job, queue)).collect(),
            next: page.end_cursor.filter(|_| page.has_next_page),
            paused: page.paused,
        })
    }

    async fn reserve(&self, jobs: &[JobId], lasting: Duration) -> Result<Reserved, SourceError> {
        let (jobs, seconds) = (texts(jobs), i64::try_from(lasting.as_secs()).ok());
        let answer = self
            .call(&RESERVE, move |world, now, out| {
                world.buildkite.reserve(now, 0, STACK, &jobs, seconds, out)
            })
            .await?;
        Ok(Reserved {
            reserved: answer.reserved.into_iter().map(JobId).collect(),
            not_reserved: ids(answer.not_reserved),
        })
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        let jobs = texts(jobs);
        let states = self
            .call(&STATES, move |world, now, out| {
                let states = world.buildkite.get_states(0, STACK, &jobs)?;
                Ok(buildkite::state_words(states, &mut world.faults, now, out))
            })
            .await?;
        let states = states
            .into_iter()
            .filter_map(|(id, word)| Some((JobId(Uuid::parse_str(&id).ok()?), JobState::parse(&word))));
        Ok(states.collect())
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        let finish = StackFinish {
            exit_status: finish.exit_status.into(),
            detail: finish.detail.clone(),
            signal_reason: None,
        };
        let answer = self.call(&FINISH, move |world, now, out| {
            let job = job.to_string();
            world.buildkite.finish(now, 0, STACK, &job, &finish, out)
        });
        match answer.await {
            Ok(()) => Ok(FinishOutcome::Finished),
            Err(error)
                if error.remedy == Remedy::Refused
                    && error.message.strip_prefix("422: ").is_some_and(says_over) =>
            {
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
                timestamp: note.at.map(Timestamp::rfc3339),
            })
            .collect();
        let errors = self
            .call(&NOTIFY, move |world, now, out| {
                world.buildkite.notify(now, 0, STACK, &notes, out)
            })
            .await?;
        let rejected = errors.into_iter().flat_map(|error| {
            error.indexes.into_iter().map(move |index| RejectedNote {
                index,
                reason: error.error.clone(),
            })
        });
        Ok(rejected.collect())
    }

    async fn acquisition_tokens(&self, jobs: &[JobId], lifetime: Duration) -> Result<Tokens, SourceError> {
        let (jobs, seconds) = (texts(jobs), i64::try_from(lifetime.as_secs()).ok());
        let tokens = self
            .call(&TOKENS, move |world, now, out| {
                let model = &mut world.buildkite;
                model.issue_acquisition_tokens(now, 0, STACK, &jobs, seconds, out)
            })
            .await?;
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
