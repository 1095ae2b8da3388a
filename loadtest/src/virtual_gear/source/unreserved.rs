//! Buildkite as gust finds it over GraphQL: nothing is reserved, no tokens are issued for single jobs, progress is an
//! annotation, and a job that cannot run is canceled (see `gust_buildkite::graphql`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        Finish, FinishOutcome, JobState, Listing, Notification, RejectedNote, Remedy, Reserved, Source,
        SourceError, Tokens,
    },
};
use tokio::time::Instant;

use super::{Call, Point, STATES, TOKENS, VirtualSource, call};

/// So long after a job was listed it counts as scheduled without asking again.
const FRESH: Duration = Duration::from_secs(10);

const ANNOTATE: Call = call("annotate job", Point::SourceNotify, "", true);
const CANCEL: Call = call("cancel job", Point::SourceFinish, "", true);

/// The same Buildkite without reservations.
pub(in super::super) struct Unreserved {
    buildkite: Arc<VirtualSource>,
    /// When jobs were last listed.
    listed: Mutex<BTreeMap<JobId, Instant>>,
}

impl Unreserved {
    pub fn new(buildkite: Arc<VirtualSource>) -> Self {
        Self {
            buildkite,
            listed: Mutex::default(),
        }
    }

    fn listed(&self) -> MutexGuard<'_, BTreeMap<JobId, Instant>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn state(&self, job: JobId) -> Result<JobState, SourceError> {
        let gone = || STATES.error(Remedy::Gone, "Buildkite knows no such job".to_owned());
        self.buildkite.states(&[job]).await?.remove(&job).ok_or_else(gone)
    }

    async fn annotate(&self, job: JobId, text: &str) -> Result<(), SourceError> {
        let (witness, text) = (self.buildkite.witness.clone(), text.to_owned());
        let annotated = self.buildkite.call(&ANNOTATE, move |world, _, _| {
            world.buildkite.show_job(job.0)?;
            witness.tell(|checker| checker.annotated(job.0, &text));
            Ok(())
        });
        annotated.await
    }

    async fn cancel(&self, job: JobId, detail: String) -> Result<(), SourceError> {
        let (world, witness) = (self.buildkite.world.clone(), self.buildkite.witness.clone());
        let canceled = self.buildkite.call(&CANCEL, move |buildkite, now, out| {
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
        self.buildkite.register().await
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        let page = self.buildkite.list(queue, cursor).await?;
        let now = Instant::now();
        let mut listed = self.listed();
        listed.retain(|_, at| now.saturating_duration_since(*at) < FRESH);
        listed.extend(page.jobs.iter().map(|job| (job.id, now)));
        Ok(page)
    }

    fn pages(&self) -> usize {
        usize::MAX
    }

    async fn reserve(&self, jobs: &[JobId], _lasting: Duration) -> Result<Reserved, SourceError> {
        let now = Instant::now();
        let (mut reserved, stale): (Vec<JobId>, Vec<JobId>) = {
            let listed = self.listed();
            let fresh = |at: &Instant| now.saturating_duration_since(*at) < FRESH;
            jobs.iter().partition(|job| listed.get(job).is_some_and(fresh))
        };
        let states = match stale.is_empty() {
            true => BTreeMap::new(),
            false => self.buildkite.states(&stale).await?,
        };
        let (ours, not_reserved): (BTreeSet<JobId>, BTreeSet<JobId>) = stale
            .into_iter()
            .partition(|job| states.get(job) == Some(&JobState::Scheduled));
        reserved.extend(ours);
        Ok(Reserved {
            reserved,
            not_reserved: not_reserved.into_iter().collect(),
        })
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        self.buildkite.states(jobs).await
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
