//! Questions with answers in pages.

use std::{ops::Bound, time::Duration};

use gust_core::{
    decide::{Outlook, outlook},
    ids::{JobId, JobRef, MachineName},
    records::{Failures, HistoryRecord, JobFacts, JobPhase, JobRecord, Preemption},
};
use tokio::time::timeout;

use super::{
    super::{
        ShardZones,
        input::{Handle, LeaderGone},
        state::Leader,
    },
    Delta, JobInfo, JobStory, MachineInfo, Status, Watching,
};

impl Handle {
    /// What the leader knows of itself and of the whole; nothing if it does not answer within `patience`, because it
    /// waits for its store.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn status(&self, patience: Duration) -> Result<Option<Status>, LeaderGone> {
        let status = self.visit(true, |leader| leader.status());
        timeout(patience, status).await.ok().transpose()
    }

    /// Up to `limit` jobs that have not ended, in the order of their keys, above `after`.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn jobs(
        &self,
        after: Option<JobRef>,
        limit: usize,
        wanted: impl Fn(&JobInfo) -> bool + Send + 'static,
    ) -> Result<Vec<JobInfo>, LeaderGone> {
        self.visit(true, move |leader| {
            leader.jobs_after(after.as_ref(), limit, &wanted)
        })
        .await
    }

    /// Up to `limit` machines in the order of their names, above `after`.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn machines(
        &self,
        after: Option<MachineName>,
        limit: usize,
        wanted: impl Fn(&MachineInfo) -> bool + Send + 'static,
    ) -> Result<Vec<MachineInfo>, LeaderGone> {
        self.visit(true, move |leader| {
            leader.machines_after(after.as_ref(), limit, &wanted)
        })
        .await
    }

    /// The story of a job that has not ended; of one that has, what is remembered of it.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn job(&self, id: JobId) -> Result<JobStory, LeaderGone> {
        self.visit(true, move |leader| leader.story(id)).await
    }

    /// The summary of a job that has ended, from the store.
    ///
    /// # Errors
    /// The store cannot be read, or the summary cannot.
    pub async fn history(&self, id: JobId) -> Result<Result<Option<HistoryRecord>, String>, LeaderGone> {
        let (store, sources) = self
            .visit(true, |leader| {
                let sources: Vec<_> = leader.parts.sources.keys().cloned().collect();
                (leader.parts.store.clone(), sources)
            })
            .await?;
        for source in sources {
            let key = format!("history/{}", JobRef { source, id });
            // The last key below this one: the search begins behind it.
            let before = &key[..key.len() - 1];
            let found = match store.history(Some(before), 32).await {
                Ok(found) => found,
                Err(error) => return Ok(Err(crate::error_chain(&error))),
            };
            if let Some((_, value)) = found.into_iter().find(|(found, _)| *found == key) {
                return Ok(serde_json::from_slice(&value)
                    .map(Some)
                    .map_err(|error| format!("{key}: {error}")));
            }
        }
        Ok(Ok(None))
    }

    /// How a request stands at present, or why no machine satisfies it: the words that its job would be refused with.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn outlook(&self, facts: JobFacts) -> Result<Result<Vec<Outlook>, String>, LeaderGone> {
        self.visit(true, move |leader| leader.outlook(facts)).await
    }

    /// The shards that are configured, each with its zones.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn places(&self) -> Result<ShardZones, LeaderGone> {
        self.visit(true, |leader| leader.parts.shards.clone()).await
    }

    /// All jobs and machines, and every change from now on.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn watch(&self) -> Result<Watching, LeaderGone> {
        self.visit(true, |leader| Watching {
            changes: leader.feed.subscribe(),
            first: leader.everything(),
        })
        .await
    }
}

impl Leader {
    fn outlook(&mut self, mut facts: JobFacts) -> Result<Vec<Outlook>, String> {
        let sources = self.parts.sources.values();
        let mut queues = sources.flat_map(|part| part.queues.iter().map(|queue| (&part.name, queue)));
        let wanted = facts.queue.clone();
        let any = wanted.as_str().is_empty();
        let Some((source, queue)) = queues.find(|(_, queue)| any || **queue == wanted) else {
            return Err(format!("gust serves no queue {wanted}"));
        };
        facts.queue = queue.clone();
        let record = JobRecord {
            job: JobRef {
                source: source.clone(),
                id: JobId(uuid::Uuid::nil()),
            },
            facts,
            booked_at: self.now(),
            attempts: 0,
            failures: Failures::default(),
            preemption: Preemption::default(),
            phase: JobPhase::Booked,
        };
        let plan = self.parts.planner.plan(&record).map_err(|why| why.to_string())?;
        let mut derived = self.derive();
        let found = outlook(&self.snapshot(&derived), &plan);
        // A list is acted upon by the next pass: nobody has acted upon it here.
        for (name, view) in &mut derived.shards {
            if let Some(state) = self.shards.get_mut(name) {
                state.inventory = view.inventory.take();
            }
        }
        Ok(found)
    }

    fn jobs_after(
        &self,
        after: Option<&JobRef>,
        limit: usize,
        wanted: &dyn Fn(&JobInfo) -> bool,
    ) -> Vec<JobInfo> {
        let reasons = self.reasons();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.book
            .jobs()
            .range((from, Bound::Unbounded))
            .map(|(_, record)| self.job_info(record, &reasons))
            .filter(wanted)
            .take(limit)
            .collect()
    }

    fn machines_after(
        &self,
        after: Option<&MachineName>,
        limit: usize,
        wanted: &dyn Fn(&MachineInfo) -> bool,
    ) -> Vec<MachineInfo> {
        self.book
            .names()
            .into_iter()
            .filter(|name| after.is_none_or(|after| *name > after))
            .filter_map(|name| self.machine_info(name))
            .filter(wanted)
            .take(limit)
            .collect()
    }

    fn everything(&self) -> Delta {
        let jobs = self.jobs_after(None, usize::MAX, &|_| true);
        let machines = self.machines_after(None, usize::MAX, &|_| true);
        Delta::of(jobs, machines)
    }
}
