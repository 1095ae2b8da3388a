//! Claims and goodbyes of machines.

use gust_core::{
    claim::{self, Answer, Proof, Queue},
    evolve,
    ids::{JobId, MachineName},
    records::KeyHash,
};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{effect::Effect, input::ClaimReply, state::Leader};

impl Leader {
    pub(super) fn on_claim(&mut self, proof: &Proof, reply: oneshot::Sender<ClaimReply>) {
        let mut queue = match self.claims.take() {
            Some(queue) => queue,
            None => Queue::new(
                &self.views(),
                &self.paused,
                (self.now(), self.parts.settings.aging),
            ),
        };
        let accepted = |job: &gust_core::ids::JobRef| {
            self.known
                .get(job)
                .and_then(|known| known.seen.state.as_ref())
                .is_some_and(|(state, _)| state.is_taken() || state.is_over())
        };
        let now = self.now();
        let (answer, step) = claim::claim(&self.book, &mut queue, proof, accepted, now);
        let is_new = step.is_some();
        if let Some(step) = step {
            self.step(step);
        }
        self.claims = Some(queue);
        metrics::counter!("gust_claims_total", "answer" => word(&answer)).increment(1);
        let machine = &proof.machine;
        match answer {
            Answer::Assign(job) => {
                info!(gust.machine = %machine, gust.job.id = %job.id, "machine claims its job");
                // A machine that asks again is no news.
                if is_new {
                    self.note_claimed(&job, machine, now);
                }
                if let Some(known) = self.known.get_mut(&job) {
                    known.seen.asked_at = Some(now);
                }
                self.effects.push(Effect::Assign {
                    job,
                    machine: machine.clone(),
                    reply,
                });
            }
            Answer::NoJob(why) => {
                info!(gust.machine = %machine, why, "machine has no job");
                // Only a machine that is recorded as going: one whose agent has its job runs on.
                if self
                    .book
                    .machines()
                    .get(machine)
                    .is_some_and(|machine| machine.is_deleting())
                {
                    self.command_delete(machine);
                }
                self.effects.push(Effect::Reply {
                    reply,
                    answer: ClaimReply::NoJob(why.to_owned()),
                });
            }
            Answer::NotYet(why) => {
                self.effects.push(Effect::Reply {
                    reply,
                    answer: ClaimReply::NotYet(why.to_owned()),
                });
            }
            Answer::Refused(refusal) => {
                warn!(gust.machine = %machine, refusal = %refusal, "claim refused");
                self.effects.push(Effect::Reply {
                    reply,
                    answer: ClaimReply::Refused(refusal),
                });
            }
        }
    }

    pub(super) fn on_done(
        &mut self,
        machine: &MachineName,
        job: JobId,
        key: &KeyHash,
        reply: oneshot::Sender<()>,
    ) {
        if let Some(step) = evolve::done(&self.book, machine, key, self.now()) {
            info!(gust.machine = %machine, gust.job.id = %job, "machine is done");
            self.step(step);
            if !gust_core::mutant!("delete-forgotten") {
                self.command_delete(machine);
            }
            self.look_again(machine);
        }
        // Its job's state is asked for at once: the end is near.
        self.asked_for = true;
        self.effects.push(Effect::Acknowledge { reply });
    }

    fn note_claimed(
        &mut self,
        job: &gust_core::ids::JobRef,
        machine: &MachineName,
        now: gust_core::time::Timestamp,
    ) {
        let Some(record) = self.book.machines().get(machine) else {
            return;
        };
        let up = gust_core::time::human(now.since(record.intended_at));
        let text = format!("machine {machine} up after {up}, agent starting");
        self.notes.say(job, text, now);
    }
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Assign(_) => "assigned",
        Answer::NoJob(_) => "no-job",
        Answer::NotYet(_) => "not-yet",
        Answer::Refused(_) => "refused",
    }
}
