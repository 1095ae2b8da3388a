//! The [`Source`] of the design over the Stacks API.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        Finish, FinishOutcome, JobState, Listing, Notification, RejectedNote, Remedy as CoreRemedy, Reserved,
        Source, SourceError, Tokens,
    },
};
use tokio::time::Instant;

use crate::{
    client::Client,
    error::{Error, Remedy},
    stacks::MAX_BATCH,
};

/// How long a call may take, its repeats included. The pass comes round again anyway, so patience beyond
/// this only delays what else there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For lists and states, which the next pass asks again.
    pub reads: Duration,
    /// For everything that changes something.
    pub writes: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            reads: Duration::from_secs(10),
            writes: Duration::from_secs(30),
        }
    }
}

/// One cluster's scheduled jobs, under one stack key.
#[derive(Debug)]
pub struct StacksSource {
    client: Client,
    queue: QueueKey,
    metadata: BTreeMap<String, String>,
    patience: Patience,
}

impl StacksSource {
    /// A source over `client`. `queue` is the one the stack is registered for (for display only: all
    /// queues of the cluster can be listed); `metadata` is shown beside it.
    pub fn new(client: Client, queue: QueueKey, metadata: BTreeMap<String, String>) -> Self {
        Self {
            client,
            queue,
            metadata,
            patience: Patience::default(),
        }
    }

    /// The same with other time limits.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The client below, for calls that are not part of [`Source`].
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn read_deadline(&self) -> Instant {
        Instant::now() + self.patience.reads
    }

    fn write_deadline(&self) -> Instant {
        Instant::now() + self.patience.writes
    }
}

/// A wait for a service that is down and said nothing.
const DOWN: Duration = Duration::from_secs(1);

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        let remedy = match error.remedy() {
            _ if error.outcome_unknown() => CoreRemedy::Unclear,
            Remedy::RetryLater { after } => CoreRemedy::RetryLater(after.unwrap_or(DOWN)),
            Remedy::Wait => CoreRemedy::RetryLater(DOWN),
            Remedy::Refused => CoreRemedy::Refused,
            Remedy::Unauthorized => CoreRemedy::Unauthorized,
            Remedy::Gone => CoreRemedy::Gone,
        };
        let call = error.scope().words();
        // The message is this layer's; what lies below the client's error goes on as the cause, so that a
        // chain does not say the same thing twice.
        let message = match error.status() {
            Some((status, words)) => format!("{status}: {words}"),
            None => error.to_string(),
        };
        let source: Option<Box<dyn std::error::Error + Send + Sync>> = match error {
            Error::Body { source, .. } => Some(Box::new(source)),
            Error::Connect { source, .. } | Error::Broken { source, .. } => Some(Box::new(source)),
            _ => None,
        };
        Self {
            call,
            remedy,
            message,
            source,
        }
    }
}

#[async_trait]
impl Source for StacksSource {
    async fn register(&self) -> Result<(), SourceError> {
        let stack = self
            .client
            .register(self.queue.as_str(), &self.metadata, self.write_deadline())
            .await?;
        tracing::info!(
            stack = stack.key,
            queue = stack.cluster_queue_key,
            "registered with buildkite"
        );
        Ok(())
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        Ok(self
            .client
            .list(queue, MAX_BATCH, cursor, self.read_deadline())
            .await?)
    }

    async fn reserve(&self, jobs: &[JobId], lasting: Duration) -> Result<Reserved, SourceError> {
        Ok(self.client.reserve(jobs, lasting, self.write_deadline()).await?)
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        Ok(self.client.states(jobs, self.read_deadline()).await?)
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        Ok(self.client.finish(job, finish, self.write_deadline()).await?)
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        Ok(self.client.notify(notes, self.write_deadline()).await?)
    }

    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        // For a job that is not there: where there are such tokens, none is issued or the job is refused.
        let asked = [JobId(uuid::Uuid::nil())];
        let lifetime = Duration::from_secs(60);
        let answer = self
            .client
            .acquisition_tokens(&asked, lifetime, self.write_deadline());
        match answer.await {
            Ok(_) => Ok(true),
            Err(error) => match error.status() {
                Some((400 | 409 | 422, _)) => Ok(true),
                Some((403 | 404 | 405 | 410 | 501, _)) => Ok(false),
                _ => Err(error.into()),
            },
        }
    }

    async fn acquisition_tokens(&self, jobs: &[JobId], lifetime: Duration) -> Result<Tokens, SourceError> {
        Ok(self
            .client
            .acquisition_tokens(jobs, lifetime, self.write_deadline())
            .await?)
    }
}
