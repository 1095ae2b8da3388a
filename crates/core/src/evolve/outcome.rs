//! What the records become when a worker, a machine or a list tells something.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Step, act::from_batch};
use crate::{
    ids::{BatchId, JobRef, MachineName, MachineTypeName},
    memory::Outcomes,
    ports::{CommitPhase, Instance, MemberFate, RefusalClass},
    quota::Footprint,
    records::{
        BatchRecord, Book, Change, DeleteCause, JobRecord, KeyHash, MachinePhase, MachineRecord, spent_on,
    },
    shape::{Price, ProvisioningModel, Shape},
    time::Timestamp,
};

/// What a settled batch leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The records.
    pub step: Step,
    /// What it teaches about the places where it was asked for.
    pub outcomes: Outcomes,
    /// Machines that are recorded to go and may exist: their deletion is to be asked for again.
    pub delete: Vec<MachineName>,
}

/// A batch is settled: every member's fate is known. `None` if the batch is settled already, or a member is
/// missing from the report (a report with holes is no report).
pub fn settled(
    book: &Book,
    batch: BatchId,
    fates: &[(MachineName, MemberFate)],
    now: Timestamp,
) -> Option<Settlement> {
    let batch = book.batches().get(&batch)?;
    let fates: BTreeMap<&MachineName, &MemberFate> = fates.iter().map(|(name, fate)| (name, fate)).collect();
    if batch
        .members
        .iter()
        .any(|member| !fates.contains_key(&member.name))
    {
        return None;
    }
    let mut jobs = JobChanges::default();
    let mut changes = Vec::new();
    let mut outcomes = Outcomes::default();
    let mut delete = Vec::new();
    for member in &batch.members {
        let known = book.machines().get(&member.name);
        match fates[&member.name] {
            MemberFate::Created {
                zone,
                instance_id,
                machine_type,
            } => {
                let (shape, price) = made_as(batch, machine_type.as_ref());
                outcomes
                    .made_in
                    .insert((zone.clone(), shape.machine_type.clone()));
                let Some(known) = known.cloned().or_else(|| from_batch(book, &member.name, now)) else {
                    continue;
                };
                if known.is_deleting() {
                    delete.push(member.name.clone());
                }
                let machine = MachineRecord {
                    zone: Some(zone.clone()),
                    instance_id: known.instance_id.or(*instance_id),
                    footprint: Some(Footprint::from(&*shape)),
                    price,
                    ..known
                };
                changes.push(Change::PutMachine(Box::new(machine)));
            }
            // It claimed, so it did exist: it may have ended before its fate was read, or run on. Only reading
            // the machine itself tells which.
            MemberFate::Refused { .. } if known.is_some_and(|machine| machine.claim().is_some()) => {
                if known.is_some_and(MachineRecord::is_deleting) {
                    delete.push(member.name.clone());
                }
            }
            MemberFate::Refused { class, .. } => {
                changes.push(Change::RemoveMachine(member.name.clone()));
                jobs.attempt_ended(book, &member.job, member.attempt);
                if class.is_transient() {
                    outcomes.refusals.insert(class.clone());
                } else {
                    jobs.with(book, &member.job, |job| job.failures.refused += 1);
                }
            }
        }
    }
    changes.retain(|change| match change {
        Change::RemoveMachine(name) => book.machines().contains_key(name),
        _ => true,
    });
    changes.extend(jobs.into_changes());
    // Last: should only part of this become durable, the batch is settled once more.
    changes.push(Change::RemoveBatch(batch.id));
    Some(Settlement {
        step: Step {
            phase: CommitPhase::Resolved,
            changes,
        },
        outcomes,
        delete,
    })
}

/// What a machine of the batch is now that its type is known, and its price. A type that was not asked for is not believed.
fn made_as<'a>(batch: &'a BatchRecord, name: Option<&MachineTypeName>) -> (Cow<'a, Shape>, Price) {
    let shape = &batch.shape;
    if shape.alternatives.is_empty() {
        return (Cow::Borrowed(shape), batch.price);
    }
    let taken = shape
        .alternatives
        .iter()
        .find(|it| Some(&it.machine_type) == name);
    match taken {
        Some(taken) => (Cow::Owned(shape.with(taken)), taken.price),
        None => {
            let mut first = shape.clone();
            first.alternatives.clear();
            (Cow::Owned(first), batch.price)
        }
    }
}

/// A batch was refused as a whole: nothing was created.
pub fn refused(
    book: &Book,
    batch: BatchId,
    class: &RefusalClass,
    message: &str,
    now: Timestamp,
) -> Option<Settlement> {
    let record = book.batches().get(&batch)?;
    let fate = MemberFate::Refused {
        class: class.clone(),
        message: message.to_owned(),
    };
    let fates: Vec<_> = record
        .members
        .iter()
        .map(|member| (member.name.clone(), fate.clone()))
        .collect();
    settled(book, batch, &fates, now)
}

/// A machine is known to be gone. `None` if no record of a machine says otherwise, or the call that makes it is
/// not settled: it may still appear, and must then be found being deleted, or claimed, as it was.
pub fn gone(book: &Book, name: &MachineName, now: Timestamp) -> Option<Step> {
    let machine = book.machines().get(name)?;
    if book.batch_of(name).is_some() {
        return None;
    }
    let mut jobs = JobChanges::default();
    if let Some(job) = &machine.made_for {
        jobs.attempt_ended(book, job, machine.attempt);
    }
    let claimed = machine.claim().map(|claim| &claim.job);
    match (&machine.phase, claimed) {
        (
            MachinePhase::Deleting {
                cause: DeleteCause::BootTimeout | DeleteCause::Stopped,
                ..
            },
            None,
        ) => {
            if let Some(job) = &machine.made_for {
                jobs.with(book, job, |job| job.failures.boot += 1);
            }
        }
        (MachinePhase::Booting, None) => {
            if let Some(job) = &machine.made_for {
                jobs.with(book, job, |job| job.failures.lost += 1);
            }
        }
        (
            MachinePhase::Deleting {
                cause: DeleteCause::AcquireTimeout | DeleteCause::Done,
                ..
            },
            Some(job),
        ) => {
            // If the job did run, it is closed before this counts for anything.
            jobs.with(book, job, |job| job.failures.acquire += 1);
        }
        (
            MachinePhase::Claimed(_)
            | MachinePhase::Deleting {
                cause: DeleteCause::Stopped,
                ..
            },
            Some(job),
        ) => {
            let spot = machine.footprint.as_ref().map(|it| it.model) == Some(ProvisioningModel::Spot);
            jobs.with(book, job, |job| {
                job.failures.lost += 1;
                job.preemption.lost_spot |= spot;
            });
        }
        _ => {}
    }
    // What it cost comes first: no prefix of these changes forgets it.
    let mut changes = vec![
        Change::PutSpend(spent_on(book, machine, now)),
        Change::RemoveMachine(name.clone()),
    ];
    changes.extend(jobs.into_changes());
    Some(Step {
        phase: CommitPhase::Gone,
        changes,
    })
}

/// The guest says that its job is over. `None` unless it is the machine and key that claimed the job.
pub fn done(book: &Book, name: &MachineName, key: &KeyHash, now: Timestamp) -> Option<Step> {
    let machine = book.machines().get(name)?;
    let MachinePhase::Claimed(claim) = &machine.phase else {
        return None;
    };
    if claim.key != *key {
        return None;
    }
    let phase = MachinePhase::Deleting {
        cause: DeleteCause::Done,
        since: now,
        claim: Some(claim.clone()),
    };
    let record = MachineRecord {
        phase,
        ..machine.clone()
    };
    Some(Step {
        phase: CommitPhase::Deleting,
        changes: vec![Change::PutMachine(Box::new(record))],
    })
}

/// A list shows where a machine is: its zone and id are pinned where the record lacks them.
pub fn seen_at(book: &Book, instances: &[Instance]) -> Option<Step> {
    let changes: Vec<Change> = instances
        .iter()
        .filter_map(|instance| {
            let machine = book.machines().get(&instance.name)?;
            if machine.zone.is_some() && machine.instance_id.is_some() {
                return None;
            }
            Some(Change::PutMachine(Box::new(MachineRecord {
                zone: machine.zone.clone().or_else(|| Some(instance.zone.clone())),
                instance_id: machine.instance_id.or(Some(instance.id)),
                ..machine.clone()
            })))
        })
        .collect();
    (!changes.is_empty()).then_some(Step {
        phase: CommitPhase::Resolved,
        changes,
    })
}

/// Changes of jobs, gathered so that each job is written once.
#[derive(Default)]
struct JobChanges(BTreeMap<JobRef, JobRecord>);

impl JobChanges {
    fn with(&mut self, book: &Book, job: &JobRef, change: impl FnOnce(&mut JobRecord)) {
        if !self.0.contains_key(job) {
            let Some(record) = book.jobs().get(job) else {
                return;
            };
            self.0.insert(job.clone(), record.clone());
        }
        if let Some(record) = self.0.get_mut(job) {
            change(record);
        }
    }

    fn attempt_ended(&mut self, book: &Book, job: &JobRef, attempt: u32) {
        self.with(book, job, |record| record.attempts = record.attempts.max(attempt));
    }

    fn into_changes(self) -> impl Iterator<Item = Change> {
        self.0.into_values().map(Change::PutJob)
    }
}
