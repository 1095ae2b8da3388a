//! A source that only a leader may call: each call goes out only while the leader's lease may be believed in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        Finish, FinishOutcome, JobState, Listing, Notification, RejectedNote, Reserved, Source, SourceError,
        Tokens,
    },
};

use crate::replica::Held;

pub(super) struct Guarded {
    pub source: Arc<dyn Source>,
    pub held: Held,
}

#[async_trait]
impl Source for Guarded {
    async fn register(&self) -> Result<(), SourceError> {
        self.held.within(self.source.register()).await
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        self.held.within(self.source.list(queue, cursor)).await
    }

    fn pages(&self) -> usize {
        self.source.pages()
    }

    async fn reserve(&self, jobs: &[JobId], lasting: Duration) -> Result<Reserved, SourceError> {
        self.held.within(self.source.reserve(jobs, lasting)).await
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        self.held.within(self.source.states(jobs)).await
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        self.held.within(self.source.finish(job, finish)).await
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        self.held.within(self.source.notify(notes)).await
    }

    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        self.held.within(self.source.issues_tokens()).await
    }

    async fn acquisition_tokens(&self, jobs: &[JobId], lifetime: Duration) -> Result<Tokens, SourceError> {
        self.held
            .within(self.source.acquisition_tokens(jobs, lifetime))
            .await
    }
}
