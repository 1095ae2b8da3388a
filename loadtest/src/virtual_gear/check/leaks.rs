//! Invariant 3: no machine is left behind.

use std::time::Duration;

use gust_core::records::{Change, MachinePhase};

use super::{
    Checker, Invariant,
    seen::{MachineIx, Status},
    timers::{AGAIN, Timer},
};

/// How long after a page shifted a machine whose deletion runs may have been overlooked.
const SLIPPED: Duration = Duration::from_secs(60);

impl Checker {
    /// What a change means for who is left behind; looked at once the whole transaction is applied.
    pub(super) fn leaks_after(&mut self, at: Duration, change: &Change) {
        match change {
            Change::PutMachine(record) => {
                if let MachinePhase::Deleting { .. } = record.phase {
                    let machine = self.seen.machine(record.name.as_str());
                    self.seen[machine].deleting = true;
                }
            }
            Change::RemoveMachine(name) => {
                let machine = self.seen.machine(name.as_str());
                let slipped = self.slipped.is_some_and(|last| at.saturating_sub(last) < SLIPPED)
                    && self.seen[machine].status == Status::Stopping;
                if slipped && self.seen[machine].exists() && !self.store.knows(name) {
                    // Its deletion runs, and lists that lie about their pages may lack it.
                    self.counts.strays += 1;
                } else if self.seen[machine].exists() && !self.store.knows(name) {
                    let status: &'static str = self.seen[machine].status.into();
                    let what = format!("the record of machine {name} was removed while it exists ({status})");
                    self.violate(at, Invariant::Leak, what, &[], &[machine]);
                }
            }
            Change::PutJob(_)
            | Change::RemoveJob(_)
            | Change::PutBatch(_)
            | Change::RemoveBatch(_)
            | Change::PutHistory(_)
            | Change::PutSpent(_)
            | Change::PutSpend(_)
            | Change::RemoveSpent(_)
            | Change::PutOrders(_)
            | Change::PutFormat(_) => {}
        }
    }

    /// Whether a transaction took away all that is known of an instance which exists: as a member of a batch that was
    /// settled without it, or refused. What comes to be only later is a stray: nobody could know.
    pub(super) fn look_whether_abandoned(&mut self, at: Duration, ix: MachineIx) {
        let machine = &self.seen[ix];
        let abandoned = machine.batch.is_some()
            && machine.is_up()
            && machine.stopping.is_none()
            && machine.stray.is_none()
            && !self.store.knows(&machine.name);
        if abandoned {
            let what = format!(
                "the batch of machine {} was removed while it exists, and no record of it was written",
                machine.name
            );
            self.violate(at, Invariant::Leak, what, &[], &[ix]);
        }
    }

    /// Whether an instance has neither record nor batch.
    pub(super) fn look_whether_stray(&mut self, at: Duration, ix: MachineIx) {
        let known = self.store.knows(&self.seen[ix].name);
        let machine = &mut self.seen[ix];
        if known || !machine.exists() {
            machine.stray = None;
        } else if machine.stray.is_none() {
            machine.stray = Some(at);
            self.counts.strays += 1;
            self.timers.set(at + self.expect.stray, Timer::Stray(ix));
        }
    }

    pub(super) fn stray_is_due(&mut self, at: Duration, ix: MachineIx) {
        let Some(since) = self.seen[ix].stray else { return };
        match self.calm.deadline_with_replica(since, self.expect.stray) {
            Some(deadline) if deadline <= at => {
                let what = format!("machine {} lives without a record since {since:?}", self.name(ix));
                self.violate(at, Invariant::Leak, what, &[], &[ix]);
            }
            Some(deadline) => self.timers.set(deadline, Timer::Stray(ix)),
            None => self.timers.set(at + AGAIN, Timer::Stray(ix)),
        }
    }

    pub(super) fn billing_is_due(&mut self, at: Duration, ix: MachineIx, over: Duration) {
        let machine = &self.seen[ix];
        if self.calm.faultless() && machine.is_up() && machine.stopping.is_none() {
            let what = format!("machine {} still runs; its job ended at {over:?}", self.name(ix));
            let jobs: Vec<_> = machine.acquired.into_iter().collect();
            self.violate(at, Invariant::Leak, what, &jobs, &[ix]);
        }
    }
}
