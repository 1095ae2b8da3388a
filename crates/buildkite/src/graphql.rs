//! The [`Source`] of the design over Buildkite's GraphQL and REST APIs, for organizations without clusters or without access
//! to the Stacks API.
//!
//! What is different there, and what becomes of it:
//! - There are no reservations. A job that is still scheduled when it is asked for counts as reserved by us: gust's own records say which jobs
//!   it takes care of, and whoever else runs agents for the same queue may take one before our machine does.
//! - The jobs of a queue are those of the cluster queue with that key, if there is one; else those whose tags name it.
//! - There is no order but newest first, so all pages are read each time.
//! - Progress is one annotation a job, replaced each time, since there are no notifications.
//! - A job that cannot run is canceled, with an annotation that says why: it cannot be finished.
//! - There are no job acquisition tokens, so machines get the agent token.

mod annotate;
mod answer;
mod query;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{
        Finish, FinishOutcome, JobState, ListedJob, Listing, Notification, RejectedNote,
        Remedy as CoreRemedy, Reserved, Source, SourceError, Tokens,
    },
    records::JobFacts,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::annotate::{Style, escape};
use crate::{
    client::{Call, Client},
    error::{Error, Remedy},
    scope::Scope,
    source::Patience,
};

/// Where Buildkite serves its GraphQL API.
pub const DEFAULT_GRAPHQL_ENDPOINT: &str = "https://graphql.buildkite.com/v1";
/// So long after a job was last listed what was learned of it is kept.
const KEPT: Duration = Duration::from_secs(300);
/// Calls wait longer than those of the Stacks API, since the pace is kept over minutes.
const PATIENCE: Patience = Patience {
    reads: Duration::from_secs(120),
    writes: Duration::from_secs(120),
};

/// The scheduled jobs of one organization.
#[derive(Debug)]
pub struct GraphqlSource {
    graphql: Client,
    rest: Client,
    organization: String,
    cluster: Option<String>,
    patience: Patience,
    seen: Mutex<Seen>,
}

/// What lists have shown.
#[derive(Debug, Default)]
struct Seen {
    /// Of jobs that are listed: it does not change, so it is asked once.
    facts: BTreeMap<JobId, JobFacts>,
    /// When jobs were last listed.
    listed: BTreeMap<JobId, Instant>,
    /// GraphQL ids of the cluster queues with these keys, once that is known.
    queues: Option<BTreeMap<QueueKey, Vec<String>>>,
}

impl GraphqlSource {
    /// A source over a client of the GraphQL API and one of the REST API, both with [`crate::client::Scheme::Bearer`]. `cluster` is
    /// the GraphQL id of the cluster whose jobs are meant, where two have a queue of the same name.
    pub fn new(graphql: Client, rest: Client, organization: String, cluster: Option<String>) -> Self {
        Self {
            graphql,
            rest,
            organization,
            cluster,
            patience: PATIENCE,
            seen: Mutex::default(),
        }
    }

    /// The same with other time limits.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        scope: Scope,
        query: &str,
        variables: Value,
    ) -> Result<T, Error> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let call = Call {
            scope,
            method: Method::POST,
            path: &[],
            query: &[],
            body: Some(body.into_bytes()),
        };
        let deadline = Instant::now() + self.patience.reads;
        self.graphql.send(call, deadline, answer::read).await.result
    }

    /// What is asked of several jobs, in as many queries as it takes.
    async fn of_jobs<T: DeserializeOwned>(
        &self,
        scope: Scope,
        jobs: &[JobId],
        question: &query::Question,
    ) -> Result<BTreeMap<JobId, T>, Error> {
        let mut all = BTreeMap::new();
        for jobs in jobs.chunks(question.most) {
            let data = self
                .ask(scope, &query::of_jobs(jobs, question), json!({}))
                .await?;
            all.extend(query::by_job(jobs, data));
        }
        Ok(all)
    }

    /// Learns which queues clusters have.
    async fn learn_queues(&self) -> Result<(), SourceError> {
        let variables = json!({ "org": self.organization });
        let asked = self.ask::<query::WithOrganization<query::Clusters>>(
            Scope::GraphqlJobs,
            query::QUEUES,
            variables,
        );
        let Some(clusters) = asked.await?.organization else {
            return Err(SourceError {
                remedy: CoreRemedy::Gone,
                ..refused(
                    "find organization",
                    format!("the API token sees no organization `{}`", self.organization),
                )
            });
        };
        self.seen().queues = Some(clusters.queues(self.cluster.as_deref()));
        Ok(())
    }

    /// The cluster queues that are meant by a key, or none if its jobs name it by a tag.
    async fn queues(&self, queue: &QueueKey) -> Result<Vec<String>, SourceError> {
        if self.seen().queues.is_none() {
            self.learn_queues().await?;
        }
        let seen = self.seen();
        let known = seen.queues.as_ref().and_then(|queues| queues.get(queue));
        Ok(known.cloned().unwrap_or_default())
    }

    /// Learns what gust plans by of those among the jobs of which that is not known.
    async fn learn(&self, queue: &QueueKey, jobs: &[JobId]) -> Result<(), Error> {
        let unknown: Vec<JobId> = {
            let seen = self.seen();
            let known = |job: &JobId| seen.facts.get(job).is_some_and(|facts| facts.queue == *queue);
            jobs.iter().copied().filter(|job| !known(job)).collect()
        };
        let found = self.of_jobs::<query::Facts>(Scope::GraphqlJobs, &unknown, &query::FACTS);
        let found = found
            .await?
            .into_iter()
            .map(|(job, facts)| (job, facts.of_queue(queue)));
        self.seen().facts.extend(found);
        Ok(())
    }

    async fn state(&self, job: JobId) -> Result<Option<query::State>, Error> {
        let jobs = [job];
        let states = self.of_jobs(Scope::GraphqlStates, &jobs, &query::STATES);
        Ok(states.await?.remove(&job))
    }

    /// What becomes of a job that was to be canceled and cannot be, or of which that is not known.
    async fn after_cancel(&self, job: JobId, error: Error) -> Result<FinishOutcome, SourceError> {
        let state = self.state(job).await?;
        match state.and_then(|state| state.state).map(|word| parse(&word)) {
            Some(state) if state.is_over() => Ok(FinishOutcome::AlreadyOver),
            _ => Err(error.into()),
        }
    }
}

/// GraphQL writes Buildkite's own words for states in capitals.
fn parse(word: &str) -> JobState {
    JobState::parse(&word.to_ascii_lowercase())
}

fn refused(call: &'static str, message: String) -> SourceError {
    SourceError {
        call,
        remedy: CoreRemedy::Refused,
        message,
        source: None,
    }
}

#[async_trait]
impl Source for GraphqlSource {
    async fn register(&self) -> Result<(), SourceError> {
        // Whether the organization is there, and anew what there is in it.
        self.learn_queues().await
    }

    async fn list(&self, queue: &QueueKey, cursor: Option<&str>) -> Result<Listing, SourceError> {
        let queues = self.queues(queue).await?;
        let (rules, queues) = match queues.is_empty() {
            true => (json!([format!("queue={queue}")]), Value::Null),
            false => (Value::Null, json!(queues)),
        };
        let variables = json!({
            "org": self.organization,
            "rules": rules,
            "queues": queues,
            "first": query::PAGE,
            "after": cursor,
        });
        let page: query::WithOrganization<query::Jobs> =
            self.ask(Scope::GraphqlJobs, query::SCHEDULED, variables).await?;
        let Some(page) = page.organization else {
            // Whoever registers again finds out what is wrong.
            let message = format!(
                "the API token sees no organization `{}` any more",
                self.organization
            );
            return Err(SourceError {
                remedy: CoreRemedy::Gone,
                ..refused("list scheduled jobs", message)
            });
        };
        let (ids, paused) = (page.ids(), page.is_paused());
        let now = Instant::now();
        self.learn(queue, &ids).await?;
        let mut seen = self.seen();
        for id in &ids {
            seen.listed.insert(*id, now);
        }
        let Seen { facts, listed, .. } = &mut *seen;
        listed.retain(|_, at| now.saturating_duration_since(*at) < KEPT);
        facts.retain(|id, _| listed.contains_key(id));
        // Oldest first, as elsewhere. One that went away before its details could be read has none.
        let jobs = ids.iter().rev().filter_map(|id| {
            let facts = facts.get(id)?.clone();
            Some(ListedJob { id: *id, facts })
        });
        Ok(Listing {
            jobs: jobs.collect(),
            next: page.next(),
            paused,
        })
    }

    // Nothing leaves the list before an agent has it, and the oldest jobs are on the last page.
    fn pages(&self) -> usize {
        usize::MAX
    }

    // A list may be behind: a job that is over would be taken on again as often as an old list shows it. So each is asked for.
    async fn reserve(&self, jobs: &[JobId], _lasting: Duration) -> Result<Reserved, SourceError> {
        Ok(Reserved::by_states(jobs, &self.states(jobs).await?))
    }

    async fn states(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, JobState>, SourceError> {
        let states = self.of_jobs::<query::State>(Scope::GraphqlStates, jobs, &query::STATES);
        let states = states.await?.into_iter();
        Ok(states
            .filter_map(|(job, state)| Some((job, parse(&state.state?))))
            .collect())
    }

    async fn finish(&self, job: JobId, finish: &Finish) -> Result<FinishOutcome, SourceError> {
        const CALL: &str = "finish job";
        let gone = || SourceError {
            remedy: CoreRemedy::Gone,
            ..refused(CALL, "Buildkite knows no such job".to_owned())
        };
        let query::State { id, state } = self.state(job).await?.ok_or_else(gone)?;
        let (id, state) = (id.ok_or_else(gone)?, parse(&state.ok_or_else(gone)?));
        if state.is_over() {
            return Ok(FinishOutcome::AlreadyOver);
        }
        if state.is_taken() {
            return Err(refused(CALL, format!("an agent has the job: it is {state}")));
        }
        // First the reason: once it is canceled nobody would come back to tell it.
        let told = self.annotate(job, Style::Error, &escape(&finish.detail)).await;
        match told {
            Err(error) if matches!(error.remedy(), Remedy::RetryLater { .. } | Remedy::Wait) => {
                return Err(error.into());
            }
            Err(error) => tracing::warn!(%job, error = %error, "a job is canceled without the reason on it"),
            Ok(()) => {}
        }
        let canceled = self.ask::<Value>(Scope::GraphqlCancel, query::CANCEL, json!({ "id": id }));
        match canceled.await {
            Ok(_) => Ok(FinishOutcome::Finished),
            Err(error) => self.after_cancel(job, error).await,
        }
    }

    async fn notify(&self, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
        // Each replaces the one before, so only the last of each job is worth a call.
        let last: BTreeMap<JobId, usize> = notes
            .iter()
            .enumerate()
            .map(|(index, note)| (note.job, index))
            .collect();
        let mut order: Vec<usize> = last.into_values().collect();
        order.sort_unstable();
        let mut rejected = Vec::new();
        for index in order {
            let note = &notes[index];
            let at = note
                .at
                .map(|at| format!(" <small>{}</small>", at.rfc3339()))
                .unwrap_or_default();
            let text = format!("{}{at}", escape(&note.detail));
            if let Err(error) = self.annotate(note.job, Style::Info, &text).await {
                match error.remedy() {
                    Remedy::Refused | Remedy::Gone => rejected.push(RejectedNote {
                        index,
                        reason: error.to_string(),
                    }),
                    _ => return Err(error.into()),
                }
            }
        }
        Ok(rejected)
    }

    async fn issues_tokens(&self) -> Result<bool, SourceError> {
        Ok(false)
    }

    async fn acquisition_tokens(&self, _jobs: &[JobId], _lifetime: Duration) -> Result<Tokens, SourceError> {
        let why = "the GraphQL API has no job acquisition tokens".to_owned();
        Err(refused("issue job acquisition tokens", why))
    }
}
