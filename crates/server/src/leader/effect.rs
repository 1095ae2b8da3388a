//! Effects: what goes out after the commit. Each runs in a task of its own and answers with an input.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::{JobId, JobRef, MachineName, ReplicaId, SourceName},
    ports::{Command, Finish, FinishOutcome, ListedJob, Remedy, SourceError},
};
use tokio::sync::oneshot;

use super::{
    input::{ClaimReply, Input},
    state::Leader,
    tokens::Wanted,
};

/// Most jobs in one call to Buildkite.
pub(super) const CALL_LIMIT: usize = 1000;
/// How long a job is reserved at most before it is booked.
const FIRST_HOLD: Duration = Duration::from_secs(30);

pub(super) enum Effect {
    Reserve {
        source: SourceName,
        jobs: Vec<ListedJob>,
    },
    Renew {
        source: SourceName,
        jobs: Vec<JobId>,
    },
    Finish {
        job: JobRef,
        detail: String,
    },
    /// Have a preempted job run again.
    Retry {
        job: JobRef,
    },
    Command {
        worker: ReplicaId,
        command: Command,
    },
    Assign {
        job: JobRef,
        machine: MachineName,
        reply: oneshot::Sender<ClaimReply>,
    },
    Reply {
        reply: oneshot::Sender<ClaimReply>,
        answer: ClaimReply,
    },
    /// An operator is answered.
    Answer(Box<dyn FnOnce() + Send>),
    Acknowledge {
        reply: oneshot::Sender<()>,
    },
}

impl Leader {
    /// Lets effects go out. Everything they depend on is durable by now.
    pub(super) fn release(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Reserve { source, jobs } => self.reserve(&source, jobs),
                Effect::Renew { source, jobs } => self.renew(&source, &jobs),
                Effect::Finish { job, detail } => self.finish(job, detail),
                Effect::Retry { job } => self.retry(job),
                Effect::Command { worker, command } => {
                    // Without a session it is said again when the next one is ready.
                    if let Some(worker) = self.workers.get(&worker) {
                        worker.send(command);
                    }
                }
                Effect::Assign { job, machine, reply } => self.assign(job, &machine, reply),
                // A machine that hung up asks again.
                Effect::Reply { reply, answer } => drop(reply.send(answer)),
                Effect::Answer(answer) => answer(),
                Effect::Acknowledge { reply } => drop(reply.send(())),
            }
        }
    }

    fn reserve(&self, source: &SourceName, jobs: Vec<ListedJob>) {
        let Some(part) = self.parts.sources.get(source) else {
            return;
        };
        for asked in jobs.chunks(CALL_LIMIT).map(<[_]>::to_vec) {
            let (part, inputs, at) = (part.clone(), self.inputs.clone(), self.now());
            let lasting = self.first_hold();
            self.tasks.spawn("reserve", async move {
                let ids: Vec<JobId> = asked.iter().map(|job| job.id).collect();
                let answer = part.source.reserve(&ids, lasting).await;
                let source = part.name;
                let _ = inputs
                    .send(Input::Reserved {
                        source,
                        asked,
                        at,
                        answer,
                    })
                    .await;
            });
        }
    }

    /// How long a job is reserved before it is booked. Short: should this replica die in between, nobody knows that the
    /// job is ours, and it is listed again only when this is over. Once it is booked the next pass prolongs it.
    pub(super) fn first_hold(&self) -> Duration {
        FIRST_HOLD.min(self.parts.settings.reservation)
    }

    fn renew(&mut self, source: &SourceName, jobs: &[JobId]) {
        if gust_core::mutant!("reservation-not-renewed") {
            return;
        }
        let until = self.now().after(self.parts.settings.reservation);
        for id in jobs {
            if let Some(known) = self.known.get_mut(&JobRef {
                source: source.clone(),
                id: *id,
            }) {
                // As if it had succeeded, so that the next pass does not ask again; a failure takes it back.
                known.seen.reserved_until = Some(until);
            }
        }
        let Some(part) = self.parts.sources.get(source) else {
            return;
        };
        for asked in jobs.chunks(CALL_LIMIT).map(<[_]>::to_vec) {
            let (part, inputs, at) = (part.clone(), self.inputs.clone(), self.now());
            let lasting = self.parts.settings.reservation;
            self.tasks.spawn("renew", async move {
                let answer = part.source.reserve(&asked, lasting).await;
                pause_after(&answer).await;
                let source = part.name;
                let _ = inputs
                    .send(Input::Renewed {
                        source,
                        asked,
                        at,
                        answer,
                    })
                    .await;
            });
        }
    }

    fn finish(&mut self, job: JobRef, detail: String) {
        if let Some(known) = self.known.get_mut(&job) {
            known.seen.finishing = true;
        }
        let Some(part) = self.parts.sources.get(&job.source) else {
            return;
        };
        let (source, inputs) = (Arc::clone(&part.source), self.inputs.clone());
        self.tasks.spawn("finish", async move {
            let finish = Finish {
                exit_status: -1,
                detail,
            };
            let answer: Result<FinishOutcome, SourceError> = source.finish(job.id, &finish).await;
            pause_after(&answer).await;
            let _ = inputs.send(Input::Finished { job, answer }).await;
        });
    }

    fn retry(&self, job: JobRef) {
        let part = self.parts.sources.get(&job.source);
        let Some(retrier) = part.and_then(|part| part.retrier.clone()) else {
            return;
        };
        let inputs = self.inputs.clone();
        self.tasks.spawn("retry", async move {
            let answer = retrier.retry(job.id).await;
            pause_after(&answer).await;
            let _ = inputs.send(Input::Retried { job, answer }).await;
        });
    }

    fn assign(&self, job: JobRef, machine: &MachineName, reply: oneshot::Sender<ClaimReply>) {
        let Some(record) = self.book.jobs().get(&job) else {
            return;
        };
        let Some(issuer) = self.token_sinks.get(&job.source) else {
            return;
        };
        let max_run_seconds = self.book.machines().get(machine).map_or(0, |m| m.max_run_seconds);
        let tags = agent_tags(&record.facts.rules, record.facts.queue.as_str());
        // Without its task we lead no more, and the machine asks another replica.
        let _ = issuer.send(Wanted {
            job,
            tags,
            max_run_seconds,
            reply,
        });
    }
}

// A failed call is not repeated at once: the input that tells of it comes after a decent interval.
async fn pause_after<T>(answer: &Result<T, SourceError>) {
    if let Err(error) = answer {
        let wait = match error.remedy {
            Remedy::RetryLater(wait) => wait.max(Duration::from_millis(200)),
            Remedy::Unclear => Duration::from_millis(500),
            // Whether it is gone is seen from what its state is said to be, which takes about as long.
            Remedy::Gone => Duration::from_secs(2),
            Remedy::Unauthorized | Remedy::Refused => Duration::from_secs(15),
        };
        tokio::time::sleep(wait).await;
    }
}

// The job's own rules, concrete: an agent's tags have values, so "any" becomes "yes".
fn agent_tags(rules: &[String], queue: &str) -> Vec<String> {
    let mut tags = vec![format!("queue={queue}")];
    for rule in rules {
        match rule.split_once('=') {
            Some(("queue", _)) | None => {}
            Some((key, "" | "*")) => tags.push(format!("{key}=true")),
            Some(_) => tags.push(rule.clone()),
        }
    }
    tags
}
