//! Invariant 2: at most one machine per job holds a token; a second one is made, or given the job, only after
//! the first is gone or its right is revoked in the store.

use std::time::Duration;

use gust_core::records::{Change, MachinePhase};
use gust_fakes::event::Event;

use super::{
    Checker, Invariant,
    seen::{JobIx, MachineIx},
};

impl Checker {
    /// Whether a machine may still act upon a job that it was given: it is up, and nothing in the store says
    /// that its right has ended.
    fn may_still_hold(&self, machine: MachineIx) -> bool {
        let revoked = self
            .machine_record(machine)
            .is_some_and(|record| record.is_deleting());
        self.seen[machine].is_up() && !revoked
    }

    /// An agent on a machine used a token of a job.
    pub(super) fn used_token(&mut self, at: Duration, job: JobIx, machine: MachineIx) {
        if self.seen[job].holders.contains(&machine) {
            return;
        }
        let others = self.seen[job].holders.clone();
        self.seen[job].holders.push(machine);
        if !self.seen[job].claimants.contains(&machine) {
            let what = format!(
                "machine {} used a token of job {}, which it was not given in the store",
                self.name(machine),
                self.seen[job].id
            );
            self.violate(at, Invariant::Holders, what, &[job], &[machine]);
        }
        for other in others {
            if self.may_still_hold(other) {
                let what = format!(
                    "machines {} and {} both hold tokens of job {}",
                    self.name(other),
                    self.name(machine),
                    self.seen[job].id
                );
                self.violate(at, Invariant::Holders, what, &[job], &[other, machine]);
            } else {
                self.counts.second_machines += 1;
            }
        }
    }

    /// Buildkite issued a token.
    pub(super) fn token_issued(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.job_of(event) else {
            return;
        };
        self.trail.note(at, event.kind, "", Some(ix), None);
        if std::mem::replace(&mut self.seen[ix].token, true) {
            self.counts.reissued += 1;
        }
        self.token_was_durable(at, ix);
    }

    /// What a change means for who holds what; looked at once the whole transaction is applied.
    pub(super) fn holders_after(&mut self, at: Duration, change: &Change) {
        match change {
            Change::PutMachine(record) => {
                if let Some(claim) = record.claim() {
                    let job = self.seen.job(claim.job.id.0);
                    let machine = self.seen.machine(record.name.as_str());
                    self.given(at, job, machine);
                }
            }
            Change::PutBatch(batch) => {
                for member in &batch.members {
                    let job = self.seen.job(member.job.id.0);
                    let machine = self.seen.machine(member.name.as_str());
                    self.made(at, job, machine);
                }
            }
            Change::PutJob(_)
            | Change::RemoveJob(_)
            | Change::RemoveBatch(_)
            | Change::RemoveMachine(_)
            | Change::PutHistory(_)
            | Change::PutSpent(_)
            | Change::PutSpend(_)
            | Change::RemoveSpent(_)
            | Change::PutOrders(_)
            | Change::PutFormat(_) => {}
        }
    }

    /// The store gives a job to a machine.
    fn given(&mut self, at: Duration, job: JobIx, machine: MachineIx) {
        if self.seen[job].claimants.contains(&machine) {
            return;
        }
        let earlier = self.seen[job].claimants.clone();
        self.seen[job].claimants.push(machine);
        if let Some(first) = self.seen[machine].claimed.replace(job) {
            let what = format!(
                "machine {} was given job {}, and before it job {}",
                self.name(machine),
                self.seen[job].id,
                self.seen[first].id
            );
            self.violate(at, Invariant::Holders, what, &[job, first], &[machine]);
        }
        self.seen[machine].claimed_at = at;
        for other in earlier {
            let record = self.machine_record(other);
            let both = record.is_some_and(|record| matches!(record.phase, MachinePhase::Claimed(_)));
            if both || self.may_still_hold(other) {
                let what = format!(
                    "machine {} was given job {} while machine {} still has it",
                    self.name(machine),
                    self.seen[job].id,
                    self.name(other)
                );
                self.violate(at, Invariant::Holders, what, &[job], &[other, machine]);
            }
        }
    }

    /// The store intends a machine for a job.
    fn made(&mut self, at: Duration, job: JobIx, machine: MachineIx) {
        if self.seen[job].attempts.contains(&machine) {
            return;
        }
        let earlier = self.seen[job].attempts.clone();
        let claimants = self.seen[job].claimants.clone();
        self.seen[job].attempts.push(machine);
        let coming = earlier
            .into_iter()
            .find(|other| self.store.is_coming(&self.seen[*other].name));
        let having = claimants.into_iter().find(|other| {
            self.machine_record(*other)
                .is_some_and(|record| matches!(record.phase, MachinePhase::Claimed(_)))
        });
        if let Some(other) = coming.or(having) {
            let what = format!(
                "machine {} is made for job {} while machine {} is neither gone nor revoked",
                self.name(machine),
                self.seen[job].id,
                self.name(other)
            );
            self.violate(at, Invariant::Holders, what, &[job], &[other, machine]);
        }
    }
}
