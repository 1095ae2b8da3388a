//! Buildkite as gust finds it over GraphQL: nothing is reserved, no tokens are issued for single jobs, progress is an
//! annotation, and a job that cannot run is canceled (see `gust_buildkite::graphql`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        Finish, FinishOutcome, JobState, Listing, Notification, RejectedNote, Remedy, Reserved, Source,
        SourceError, Tokens,
    },
};

use super::{Call, Point, STATES, TOKENS, VirtualSource, call};

const ANNOTATE: Call = call("annotate job", Point::SourceNotify, "", true);
const CANCEL: Call = call("cancel job", Point::SourceFinish, "", true);

/// The same Buildkite without reservations.
pub(in super::super) struct Unreserved(Arc<VirtualSource>);

impl Unreserved {
    pub fn new(buildkite: Arc<VirtualSource>) -> Self {
        Self(buildkite)
    }

    async fn state(&self, job: JobId) -> Result<JobState, SourceError> {
        let gone = || STATES.error(Remedy::Gone, "Buildkite knows no such job".to_owned());
        self.0.states(&[job]).await?.remove(&job).ok_or_else(gone)
    }

    async fn annotate(&self, job: JobId, text: &str) -> Result<(), SourceError> {
        let (witness, text) = (self.0.witness.clone(), text.to_owned());
        let annotated = self.0.call(&ANNOTATE, move |world, _, _| {
            world.buildkite.show_job(job.0)?;
            witness.tell(|checker| checker.annotated(job.0, &text));
            Ok(())
        });
        annotated.await
    }

    async fn cancel(&self, job: JobId, detail: String) -> Result<(), SourceError> {
        let (world, witness) = (self.0.world.clone(), self.0.witness.clone());
        let canceled = self.0.call(&CANCEL, move |buildkite, now, out| {
            buildkite.buildkite.cancel_job(now, job.0, out)?;
            let at = world.elapsed();
            witness.tell(|checker| checker.canceled_with_a_reason(at, job.0, &detail));
            Ok(())
        });
        canceled.await
    }
}

#[async_trait]
impl Source for Unreserved {
    async fn register(&self) -> Result<(), SourceError> {
        self.0.register().await
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        self.0.list(queue, cursor).await
    }

    fn pages(&self) -> usize {
        usize::MAX
    }

    async fn reserve(&self, jobs: &[JobId], _lasting: Duration) -> Result<Reserved, SourceError> {
        Ok(Reserved::by_states(jobs, &self.states(jobs).await?))
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        self.0.states(jobs).await
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        let state = self.state(job).await?;
        if state.is_over() {
            return Ok(FinishOutcome::AlreadyOver);
        }
        if state.is_taken() {
            let why = format!("an agent has the job: it is {state}");
            return Err(CANCEL.error(Remedy::Refused, why));
        }
        match self.annotate(job, &finish.detail).await {
            Err(error) if matches!(error.remedy, Remedy::RetryLater(_)) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        match self.cancel(job, finish.detail.clone()).await {
            Ok(()) => Ok(FinishOutcome::Finished),
            Err(error) => match self.state(job).await?.is_over() {
                true => Ok(FinishOutcome::AlreadyOver),
                false => Err(error),
            },
        }
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        // Each replaces the one before.
        let last: BTreeMap<JobId, usize> = notes
            .iter()
            .enumerate()
            .map(|(index, note)| (note.job, index))
            .collect();
        let mut rejected = Vec::new();
        for index in last.into_values() {
            let note = &notes[index];
            match self.annotate(note.job, &note.detail).await {
                Err(error) if matches!(error.remedy, Remedy::Refused | Remedy::Gone) => {
                    rejected.push(RejectedNote {
                        index,
                        reason: error.to_string(),
                    });
                }
                other => other?,
            }
        }
        Ok(rejected)
    }

    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        Ok(false)
    }

    async fn acquisition_tokens(&self, _jobs: &[JobId], _lifetime: Duration) -> Result<Tokens, SourceError> {
        let why = "the GraphQL API has no job acquisition tokens".to_owned();
        Err(TOKENS.error(Remedy::Refused, why))
    }
}
