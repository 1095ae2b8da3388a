//! What Buildkite's answers change.

use std::collections::{BTreeMap, BTreeSet};

use gust_core::{
    decide::Action,
    evolve,
    ids::{JobId, JobRef, QueueKey, SourceName},
    ports::{FinishOutcome, Hint, JobState, ListedJob, Remedy, Reserved, SourceError},
    records::{JobPhase, Outcome},
    time::Timestamp,
};
use tracing::{error, info, warn};

use super::state::Leader;

impl Leader {
    /// A queue was listed from its head: this replaces what was known of that queue's backlog.
    pub(super) fn on_listed(
        &mut self,
        source: SourceName,
        queue: QueueKey,
        jobs: Vec<ListedJob>,
        paused: bool,
    ) {
        self.trouble.remove(&(source.clone(), Some(queue.clone())));
        let key = (source.clone(), queue.clone());
        self.listed.insert(key.clone());
        let changed = if paused {
            self.paused.insert(key)
        } else {
            self.paused.remove(&key)
        };
        if changed {
            info!(gust.source = %source, gust.queue = %queue, paused, "queue dispatch changed");
            self.claims = None;
        }
        let now = self.now();
        let backlog = self.backlog.entry(source.clone()).or_default();
        let before = std::mem::take(&mut backlog.jobs).into_iter();
        let (before, others): (Vec<_>, Vec<_>) = before.partition(|job| job.facts.queue == queue);
        backlog.jobs = others;
        let before: BTreeSet<JobId> = before.into_iter().map(|job| job.id).collect();
        let mut seen = BTreeSet::new();
        for listed in jobs {
            let job = JobRef {
                source: source.clone(),
                id: listed.id,
            };
            if !seen.insert(listed.id) || self.reserving.contains(&job) {
                continue;
            }
            match self.known.get_mut(&job) {
                // Booked and listed again: our reservation lapsed. Renew it; never a second machine.
                Some(known) => known.seen.reserved_until = None,
                None => {
                    if !before.contains(&listed.id) {
                        let waited = now.since(listed.facts.runnable_at);
                        metrics::histogram!("gust_job_seen_seconds").record(waited);
                    }
                    backlog.jobs.push(listed);
                }
            }
        }
    }

    /// A source could not be asked; operators see since when.
    pub(super) fn on_troubled(&mut self, source: SourceName, queue: Option<QueueKey>, why: String) {
        let now = self.now();
        let (_, latest) = self
            .trouble
            .entry((source, queue))
            .or_insert_with(|| (now, String::new()));
        *latest = why;
    }

    /// A reservation was answered: what is ours is booked.
    pub(super) fn on_reserved(
        &mut self,
        source: &SourceName,
        asked: Vec<ListedJob>,
        at: Timestamp,
        answer: Result<Reserved, SourceError>,
    ) {
        for job in &asked {
            self.reserving.remove(&JobRef {
                source: source.clone(),
                id: job.id,
            });
        }
        let reserved: BTreeSet<JobId> = match answer {
            Ok(answer) => answer.reserved.into_iter().collect(),
            // The list shows them again if they are still there.
            Err(error) => return report(source, &error),
        };
        let ours: Vec<ListedJob> = asked
            .into_iter()
            .filter(|job| reserved.contains(&job.id))
            .collect();
        let step = evolve::booked(&self.book, source, &ours, self.now());
        if !step.changes.is_empty() {
            self.step(step);
        }
        self.note_retries(source, &ours);
        let until = at.after(self.first_hold());
        self.on_renewed(source, ours.iter().map(|job| job.id), until);
        for job in ours {
            if let Some(known) = self.known.get_mut(&JobRef {
                source: source.clone(),
                id: job.id,
            }) && known.seen.state.is_none()
            {
                known.seen.state = Some((JobState::Reserved, at));
                known.loaded = true;
            }
        }
    }

    fn on_renewed(&mut self, source: &SourceName, jobs: impl Iterator<Item = JobId>, until: Timestamp) {
        for id in jobs {
            if let Some(known) = self.known.get_mut(&JobRef {
                source: source.clone(),
                id,
            }) {
                known.seen.reserved_until = Some(until);
                known.seen.reservation_lost = false;
            }
        }
    }

    /// A renewal was answered. A job that is not ours any more is somebody else's, or over: its state tells.
    pub(super) fn on_renewal(
        &mut self,
        source: &SourceName,
        asked: Vec<JobId>,
        at: Timestamp,
        answer: Result<Reserved, SourceError>,
    ) {
        match answer {
            Ok(answer) => {
                let until = at.after(self.parts.settings.reservation);
                self.on_renewed(source, answer.reserved.into_iter(), until);
                for id in answer.not_reserved {
                    if let Some(known) = self.known.get_mut(&JobRef {
                        source: source.clone(),
                        id,
                    }) {
                        known.seen.reservation_lost = true;
                    }
                }
            }
            Err(error) => {
                report(source, &error);
                for id in asked {
                    if let Some(known) = self.known.get_mut(&JobRef {
                        source: source.clone(),
                        id,
                    }) {
                        known.seen.reserved_until = None;
                    }
                }
            }
        }
    }

    /// States were read.
    pub(super) fn on_states(
        &mut self,
        source: &SourceName,
        asked: Vec<JobId>,
        states: Vec<(JobId, JobState)>,
        at: Timestamp,
    ) {
        let states: BTreeMap<JobId, JobState> = states.into_iter().collect();
        for id in asked {
            let job = JobRef {
                source: source.clone(),
                id,
            };
            let Some(known) = self.known.get_mut(&job) else {
                continue;
            };
            known.loaded = true;
            if at < known.not_before {
                continue;
            }
            match states.get(&id) {
                Some(JobState::Canceled)
                    if gust_core::mutant!("cancel-ignored")
                        && self
                            .book
                            .jobs()
                            .get(&job)
                            .is_some_and(|job| job.phase == JobPhase::Booked) => {}
                Some(state) => {
                    if state.is_over() {
                        known.seen.over_since.get_or_insert(at);
                    }
                    known.seen.missing = 0;
                    known.seen.state = Some((state.clone(), at));
                }
                None => known.seen.missing += 1,
            }
        }
        self.claims = None;
    }

    /// A finish was answered.
    pub(super) fn on_finished(&mut self, job: &JobRef, answer: Result<FinishOutcome, SourceError>) {
        let Some(JobPhase::Refusing { detail }) =
            self.book.jobs().get(job).map(|record| record.phase.clone())
        else {
            return;
        };
        let over = match answer {
            Ok(FinishOutcome::Finished | FinishOutcome::AlreadyOver) => true,
            // Not even if the job is said to be unknown: one answer is not believed, and the same is said when our
            // stack is not registered. What is read of its state decides.
            Err(error) => {
                report(&job.source, &error);
                false
            }
        };
        if over {
            info!(gust.job.id = %job.id, detail, "job refused");
            let close = Action::Close {
                job: job.clone(),
                outcome: Outcome::Refused { detail },
            };
            if let Some(step) = evolve::record(&self.book, &close, self.now()) {
                self.step(step);
            }
        } else if let Some(known) = self.known.get_mut(job) {
            known.seen.finishing = false;
        }
    }

    /// Somebody says that there is something to look at: it is looked at, and nothing else is believed.
    pub(super) fn on_hint(&mut self, hint: &Hint) {
        let knows = |source: &SourceName, id: JobId| {
            self.known.contains_key(&JobRef {
                source: source.clone(),
                id,
            })
        };
        for (source, wakes) in &self.wakes {
            match hint {
                Hint::Scheduled(queue) => wakes.list(queue.as_ref()),
                Hint::Ended(Some(job)) if !knows(source, *job) => {}
                Hint::Ended(_) => wakes.states(),
            }
        }
    }

    /// A token was refused: what we believe of the job may be old.
    pub(super) fn on_token_refused(&mut self, job: &JobRef) {
        if let Some(known) = self.known.get_mut(job) {
            known.seen.reserved_until = None;
        }
        self.asked_for = true;
    }
}

// Once per occurrence at the place that handles it; a person is needed only for credentials.
pub(super) fn report(source: &SourceName, error: &SourceError) {
    let error_chain = crate::error_chain(error);
    if error.remedy == Remedy::Unauthorized {
        error!(gust.source = %source, error = error_chain, "Buildkite does not accept our credentials");
    } else {
        warn!(gust.source = %source, error = error_chain, "call to Buildkite failed");
    }
}
