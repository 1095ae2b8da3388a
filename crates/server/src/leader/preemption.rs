//! Jobs whose Spot machines Google takes back while they run: they are shown as such, and so is what runs in their place.

use std::time::Duration;

use gust_core::{
    evolve,
    ids::{JobRef, MachineName, SourceName},
    ports::{ListedJob, Remedy, Retried, SourceError},
    records::{Change, JobRecord, KeyHash, Outcome},
    time::human,
};
use tokio::sync::oneshot;
use tracing::info;

use super::{effect::Effect, on_source::report, state::Leader};

/// How a wish to run a job again stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// The call is under way.
    Now,
    /// It did not succeed, and is to be repeated.
    Again,
    /// Nothing comes of it, or all has.
    Over,
}

/// Buildkite is asked for so long at most; then the job is closed as it is.
const PATIENCE: Duration = Duration::from_mins(10);

impl Leader {
    /// Whether a preempted job that is over has to be run again before it is closed. Buildkite is asked once it is durable
    /// that it is asked; a successor asks again, since each job is retried once there whoever asks.
    pub(super) fn runs_again_first(&mut self, job: &JobRef, outcome: &Outcome) -> bool {
        let part = self.parts.sources.get(&job.source);
        let record = self.book.jobs().get(job);
        let preempted = record.and_then(|record| record.preemption.preempted.as_ref());
        let Some(preempted) = preempted.filter(|_| part.is_some_and(|part| part.retrier.is_some())) else {
            return false;
        };
        if preempted.told_retry().is_some() || *outcome == Outcome::Canceled {
            return false;
        }
        match self.retrying.get(job) {
            Some(Asking::Over) => return false,
            Some(Asking::Now) => return true,
            Some(Asking::Again) | None => {}
        }
        let now = self.now();
        if preempted.asked.is_some_and(|asked| now.since(asked) > PATIENCE) {
            let text = "Buildkite could not be asked to run it again".to_owned();
            self.notes.say(job, text, now);
            return false;
        }
        if let Some(step) = evolve::asked_again(&self.book, job, now) {
            self.step(step);
        }
        self.retrying.insert(job.clone(), Asking::Now);
        self.effects.push(Effect::Retry { job: job.clone() });
        true
    }

    /// Buildkite was asked to run a preempted job again.
    pub(super) fn on_retried(&mut self, job: &JobRef, answer: Result<Retried, SourceError>) {
        let now = self.now();
        let asking = match answer {
            Ok(Retried::In(new)) => {
                if let Some(step) = evolve::retried(&self.book, job, new) {
                    let jobs = step.changes.iter().filter_map(|change| match change {
                        Change::PutJob(record) => Some(record.job.clone()),
                        _ => None,
                    });
                    let others: Vec<JobRef> = jobs.filter(|other| other != job).collect();
                    self.step(step);
                    for other in &others {
                        self.plan_again(other);
                        if other.id != new {
                            let text = format!("does not run job {} again: job {new} does", job.id);
                            self.notes.say(other, text, now);
                        }
                    }
                    self.notes.say(job, format!("runs again as job {new}"), now);
                }
                Asking::Over
            }
            Ok(Retried::Needless) => {
                if let Some(step) = evolve::needless(&self.book, job) {
                    self.step(step);
                }
                Asking::Over
            }
            Err(error) => {
                report(&job.source, &error);
                match error.remedy {
                    Remedy::RetryLater(_) | Remedy::Unclear => Asking::Again,
                    Remedy::Unauthorized | Remedy::Gone | Remedy::Refused => {
                        let text = format!("Buildkite does not run it again: {}", error.message);
                        self.notes.say(job, text, now);
                        Asking::Over
                    }
                }
            }
        };
        if self.book.jobs().contains_key(job) {
            self.retrying.insert(job.clone(), asking);
        }
    }

    /// A job that was booked before it was known what it runs again, or that it does not, may want another machine.
    fn plan_again(&mut self, job: &JobRef) {
        if let Some(record) = self.book.jobs().get(job)
            && let Some(known) = self.known.get_mut(job)
        {
            known.plan = self.parts.planner.plan(record);
        }
    }

    /// A guest was told by Google that its machine goes.
    pub(super) fn on_reclaimed(&mut self, machine: &MachineName, key: &KeyHash, reply: oneshot::Sender<()>) {
        if let Some(step) = evolve::reclaimed(&self.book, machine, key, self.now()) {
            let claim = self.book.machines().get(machine).and_then(|it| it.claim());
            let job = claim.map(|claim| claim.job.clone());
            self.step(step);
            if let Some(job) = job {
                self.note_preempted(&job);
            }
        }
        self.effects.push(Effect::Acknowledge { reply });
    }

    /// It is recorded that a job was preempted: its timeline says so.
    pub(super) fn note_preempted(&mut self, job: &JobRef) {
        let Some(record) = self.book.jobs().get(job) else {
            return;
        };
        let Some(text) = preempted(record) else { return };
        info!(gust.job.id = %job.id, text, "preempted");
        metrics::counter!("gust_jobs_preempted_total").increment(1);
        let now = self.now();
        self.notes.say(job, text, now);
    }

    /// Of the jobs that were just booked those that run preempted ones again say so.
    pub(super) fn note_retries(&mut self, source: &SourceName, jobs: &[ListedJob]) {
        let now = self.now();
        for listed in jobs {
            let job = JobRef {
                source: source.clone(),
                id: listed.id,
            };
            let Some(record) = self.book.jobs().get(&job) else {
                continue;
            };
            let Some(old) = record.preemption.retry_of else {
                continue;
            };
            info!(gust.job.id = %job.id, gust.job.preempted = %old, "runs a preempted job again");
            let on_demand = match self.parts.planner.runs_on_demand(record) {
                true => ", on demand this time",
                false => "",
            };
            let text = format!("runs job {old} again, whose Spot machine Google took back{on_demand}");
            self.notes.say(&job, text, now);
        }
    }
}

/// What the timeline of a preempted job says.
fn preempted(record: &JobRecord) -> Option<String> {
    let preempted = record.preemption.preempted.as_ref()?;
    let after = human(Duration::from_millis(preempted.after_ms));
    Some(match preempted.told {
        true => format!(
            "Google takes the Spot machine back after {after}; the job ends with exit status -1 (agent_stop)"
        ),
        false => format!(
            "the Spot machine went away {after} after it got the job: Google took it back, or its host failed; the job ends with \
             exit status -1 once Buildkite misses the agent"
        ),
    })
}
