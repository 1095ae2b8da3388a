//! What happens to a world between passes: outcomes, claims, goodbyes.

use super::{
    say,
    world::{World, job},
};
use crate::{
    claim::{self, Answer, Proof, Queue},
    evolve,
    ids::{BatchId, JobRef, Zone},
    ports::{MemberFate, RefusalClass},
    quota::{Footprint, Metric},
    records::{BatchRecord, KeyHash},
};

/// A refusal for lack of machines.
pub(crate) const STOCKOUT: RefusalClass = RefusalClass::Stockout { zone: None };

pub(crate) fn created(zone: &str) -> MemberFate {
    MemberFate::Created {
        zone: zone.into(),
        instance_id: Some(77),
        machine_type: None,
    }
}

pub(crate) fn refused(class: RefusalClass) -> MemberFate {
    MemberFate::Refused {
        class,
        message: "no".into(),
    }
}

impl World {
    /// All batches are settled: every machine exists, in zone `a` unless its call named another.
    pub fn all_created(&mut self) {
        let open: Vec<BatchId> = self.book.batches().keys().copied().collect();
        for id in open {
            let zone = zone_of(&self.book.batches()[&id]);
            self.settle(id, |_| created(zone.as_str()));
        }
    }

    /// All batches are settled: Google made none of their machines.
    pub fn all_refused(&mut self, class: &RefusalClass) {
        let open: Vec<BatchId> = self.book.batches().keys().copied().collect();
        for id in open {
            self.settle(id, |_| refused(class.clone()));
        }
    }

    /// A batch is settled; the fate of each machine by its short name. Returns the machines to delete again.
    pub fn settle(&mut self, batch: BatchId, fate: impl Fn(&str) -> MemberFate) -> Vec<String> {
        let members = &self.book.batches()[&batch].members;
        let fates: Vec<_> = members
            .iter()
            .map(|m| (m.name.clone(), fate(&say::name(&m.name))))
            .collect();
        let settlement = evolve::settled(&self.book, batch, &fates, self.now).expect("an open batch");
        let record = self.book.batches()[&batch].clone();
        self.step(settlement.step);
        let region = &record.shape.region;
        let sums = [self.promised(Some(region)), self.promised(None)];
        let promised = |metric: &Metric| {
            let sum = &sums[usize::from(metric.is_project_wide())];
            sum.get(metric).copied().unwrap_or(0)
        };
        let usage = self.usage(&Footprint::from(&record.shape));
        let times = (self.now, self.settings.hold);
        self.memory
            .learn(&record, &settlement.outcomes, &usage, promised, times);
        settlement.delete.iter().map(say::name).collect()
    }

    /// The batch that a machine belongs to.
    pub fn batch_of(&self, machine: &str) -> BatchId {
        self.book.batch_of(&self.name(machine)).expect("an open batch").id
    }

    /// What an honest machine proves.
    pub fn proof(&self, machine: &str, key: &str) -> Proof {
        let name = self.name(machine);
        let known = self.book.machines().get(&name);
        let zone = known.and_then(|machine| machine.zone.clone());
        let zone = zone.or_else(|| self.book.batch_of(&name).map(zone_of));
        Proof {
            project: "ci".into(),
            zone: zone.unwrap_or_else(|| "r1-a".into()),
            instance_id: known.and_then(|machine| machine.instance_id).unwrap_or(77),
            created_at: self.now,
            email: "ci@ci.iam".into(),
            key: KeyHash(key.to_owned()),
            machine: name,
        }
    }

    /// An honest machine claims: `job 1`, or why not.
    pub fn claim(&mut self, machine: &str, key: &str) -> String {
        self.present(&self.proof(machine, key))
    }

    /// Presents a proof.
    pub fn present(&mut self, proof: &Proof) -> String {
        let mut queue = Queue::new(&self.views(), &self.paused, (self.now, self.settings.aging));
        let known = &self.known;
        let accepted = |job: &JobRef| {
            known[job]
                .1
                .state
                .as_ref()
                .is_some_and(|(state, _)| state.is_taken() || state.is_over())
        };
        let (answer, step) = claim::claim(&self.book, &mut queue, proof, accepted, self.now);
        if let Some(step) = step {
            self.step(step);
        }
        match answer {
            Answer::Assign(job) => format!("job {}", say::number(&job)),
            Answer::NoJob(why) => format!("no job: {why}"),
            Answer::NotYet(why) => format!("not yet: {why}"),
            Answer::Refused(refusal) => format!("refused: {refusal}"),
        }
    }

    /// A machine says that it is done. False if nobody listens.
    pub fn done(&mut self, machine: &str, key: &str) -> bool {
        let step = evolve::done(
            &self.book,
            &self.name(machine),
            &KeyHash(key.to_owned()),
            self.now,
        );
        step.map(|step| self.step(step)).is_some()
    }

    /// A machine is known to be gone. What was seen of its job is forgotten, as the leader does. False if that
    /// changes nothing.
    pub fn gone(&mut self, machine: &str) -> bool {
        let name = self.name(machine);
        let Some(record) = self.book.machines().get(&name) else {
            return false;
        };
        if let Some(claim) = record.claim()
            && let Some((_, seen)) = self.known.get_mut(&claim.job)
            && !seen.state.as_ref().is_some_and(|(state, _)| state.is_over())
        {
            seen.state = None;
            seen.missing = seen.missing.max(1);
        }
        evolve::gone(&self.book, &name, self.now)
            .map(|step| self.step(step))
            .is_some()
    }

    /// How often machines failed a job: boot, acquire, lost, refused.
    pub fn failures(&self, n: u128) -> [u32; 4] {
        let failures = self.book.jobs()[&job(n)].failures;
        [failures.boot, failures.acquire, failures.lost, failures.refused]
    }
}

fn zone_of(batch: &BatchRecord) -> Zone {
    match &batch.call {
        crate::records::Call::Insert { zone } => zone.clone(),
        crate::records::Call::Bulk => batch.shape.zones[0].clone(),
    }
}
