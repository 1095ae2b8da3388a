//! One pass: snapshot, decision, records, effects.

use std::{sync::Arc, time::Duration};

use gust_core::{
    decide::{Action, Decision, decide},
    evolve,
    ids::JobRef,
    reason::Reason,
    records::{Call, JobPhase},
};
use tracing::{debug, info};

use super::{
    Picture,
    effect::Effect,
    state::{Ask, Leader},
};

impl Leader {
    /// Decides and takes the decision into memory; it becomes durable with the next commit.
    pub(super) fn pass(&mut self) {
        let now = self.now();
        let mut decision = self.decide();
        // Whose machine is gone waits in this very pass. Else what the machine leaves, and machines that were made for
        // that job and serve others meanwhile, would go to some of lower rank.
        let back: Vec<_> = decision
            .actions
            .extract_if(.., |action| matches!(action, Action::Rebook { .. }))
            .collect();
        if !back.is_empty() {
            for action in back {
                self.take(action);
            }
            decision = self.decide();
        }
        self.memory.forget(now);
        debug!(
            gust.term = self.term.0,
            actions = decision.actions.len(),
            waiting = decision.reasons.len(),
            machines = self.book.machines().len(),
            "pass"
        );
        for action in decision.actions {
            self.take(action);
        }
        self.tell(&decision.reasons);
        self.shows(Picture {
            term: self.term,
            at: now,
            decides: true,
            missing: Vec::new(),
            waiting: decision.reasons,
        });
    }

    fn decide(&mut self) -> Decision {
        let derived = self.derive();
        decide(&self.snapshot(&derived))
    }

    /// Leaves a picture to be shown after the commit.
    pub(super) fn shows(&mut self, picture: Picture) {
        let picture = Arc::new(picture);
        self.shown = picture.clone();
        self.picture = Some(picture);
        self.note_reasons();
    }

    fn take(&mut self, action: Action) {
        if let Action::Close { job, outcome } = &action
            && self.runs_again_first(job, outcome)
        {
            return;
        }
        if let Some(step) = evolve::record(&self.book, &action, self.now()) {
            self.step(step);
        }
        match action {
            // They are the successor's.
            Action::Reserve { .. } if self.retires => {}
            Action::Reserve { source, jobs } => {
                self.backlog.remove(&source);
                for job in &jobs {
                    self.reserving.insert(JobRef {
                        source: source.clone(),
                        id: job.id,
                    });
                }
                self.effects.push(Effect::Reserve { source, jobs });
            }
            Action::Renew { source, jobs } => self.effects.push(Effect::Renew { source, jobs }),
            Action::Refuse { job, detail } | Action::Finish { job, detail } => {
                self.effects.push(Effect::Finish { job, detail });
            }
            Action::Close { job, outcome } => {
                metrics::counter!("gust_jobs_ended_total", "outcome" => outcome.as_str()).increment(1);
                info!(gust.job.id = %job.id, ?outcome, "job is over");
            }
            Action::Preempted { job } => self.note_preempted(&job),
            Action::Rebook { job } => info!(gust.job.id = %job.id, "job waits again: its machine is gone"),
            Action::Create(batch) => {
                info!(
                    gust.batch = %batch.id,
                    machines = batch.members.len(),
                    machine_type = %batch.shape.machine_type,
                    region = %batch.shape.region,
                    "create"
                );
                metrics::counter!("gust_machines_requested_total").increment(batch.members.len() as u64);
                if batch.call == Call::Bulk {
                    self.bulk_calls
                        .push_back((batch.created_at, batch.shape.project.clone()));
                }
                self.command_create(&batch);
            }
            Action::Delete { machine, cause, .. } => {
                metrics::counter!("gust_machines_deleted_total", "cause" => cause.as_str()).increment(1);
                info!(gust.machine = %machine, %cause, "delete");
                self.command_delete(&machine);
            }
            Action::Check { machine, shard, zone } => self.command_check(shard, zone, machine),
        }
    }

    /// Tells developers why their jobs wait, where that has changed.
    fn tell(&mut self, reasons: &[(JobRef, Reason)]) {
        let now = self.now();
        for (job, reason) in reasons {
            self.notes.reason(job, reason, now);
        }
    }

    /// Tells the state pollers which jobs to ask for, if that has changed.
    pub(super) fn publish_asks(&mut self) {
        if !std::mem::take(&mut self.asked_for) {
            return;
        }
        for (source, sender) in &self.ask {
            let mut waiting = Vec::new();
            let mut running = Vec::new();
            for record in self
                .book
                .jobs()
                .values()
                .filter(|record| record.job.source == *source)
            {
                let ended = self.machine_ended(&record.phase);
                match record.phase {
                    JobPhase::Claimed { .. } if !ended => running.push(record.job.id),
                    _ => waiting.push(record.job.id),
                }
            }
            sender.send_replace(Ask {
                waiting: Arc::new(waiting),
                running: Arc::new(running),
            });
        }
    }

    // A job whose machine is on its way out is about to end: its state matters now.
    fn machine_ended(&self, phase: &JobPhase) -> bool {
        match phase {
            JobPhase::Claimed { machine, .. } => self
                .book
                .machines()
                .get(machine)
                .is_none_or(|machine| machine.is_deleting()),
            JobPhase::Booked | JobPhase::Refusing { .. } => true,
        }
    }
}

/// Shortest time between two passes in a burst; the first one comes at once.
pub(super) const PASS_GAP: Duration = Duration::from_millis(50);
/// A pass is held at least this often, so that deadlines are met.
pub(super) const PASS_TURN: Duration = Duration::from_millis(1000);
