//! The record that an action needs before its effect.

use super::{
    Step,
    preempted::{Awaiting, awaited, preempted},
};
use crate::{
    decide::Action,
    ids::{JobRef, MachineName, Shard, SourceName, Zone},
    ports::{CommitPhase, ListedJob},
    quota::Footprint,
    records::{
        Book, Call, Change, DeleteCause, Failures, HistoryRecord, JobPhase, JobRecord, MachinePhase,
        MachineRecord, Outcome, Preemption, SpentRecord,
    },
    shape::Price,
    time::Timestamp,
};

/// The records of jobs that Buildkite reserved for us. Jobs already booked stay as they are.
pub fn booked(book: &Book, source: &SourceName, jobs: &[ListedJob], now: Timestamp) -> Step {
    let mut awaiting = Awaiting::new(book);
    let changes = jobs
        .iter()
        .map(|listed| {
            (
                JobRef {
                    source: source.clone(),
                    id: listed.id,
                },
                listed,
            )
        })
        .filter(|(job, _)| !book.jobs().contains_key(job))
        .flat_map(|(job, listed)| {
            let back = book.spent().knows(&job).then(|| Change::RemoveSpent(job.clone()));
            let again = awaiting.find(&job, listed);
            let put = Change::PutJob(JobRecord {
                preemption: Preemption {
                    retry_of: again.as_ref().map(|(old, _)| old.id),
                    ..Preemption::default()
                },
                attempts: book.spent().attempts(&job),
                job,
                facts: listed.facts.clone(),
                booked_at: now,
                failures: Failures::default(),
                phase: JobPhase::Booked,
            });
            let found = again.map(|(_, change)| change);
            [Some(put), back, found].into_iter().flatten()
        })
        .collect();
    Step {
        phase: CommitPhase::Booked,
        changes,
    }
}

/// What must be durable before `action` takes effect; nothing for actions that are exempt, or done already.
pub fn record(book: &Book, action: &Action, now: Timestamp) -> Option<Step> {
    match action {
        Action::Reserve { .. } | Action::Renew { .. } | Action::Finish { .. } | Action::Check { .. } => None,
        Action::Refuse { job, detail } => {
            let phase = JobPhase::Refusing {
                detail: detail.clone(),
            };
            put_job(book, job, phase, CommitPhase::Refusing)
        }
        Action::Rebook { job } => put_job(book, job, JobPhase::Booked, CommitPhase::Booked),
        Action::Preempted { job } => preempted(book.jobs().get(job)?, false, now),
        Action::Close { job, outcome } => close(book, job, outcome, now),
        Action::Create(batch) => Some(Step {
            phase: CommitPhase::Batch,
            changes: vec![Change::PutBatch(batch.clone())],
        }),
        Action::Delete {
            machine,
            cause,
            found,
        } => delete(book, machine, *cause, found.as_ref(), now),
    }
}

fn put_job(book: &Book, job: &JobRef, phase: JobPhase, commit: CommitPhase) -> Option<Step> {
    let record = book.jobs().get(job)?;
    let attempts = book.last_attempt(record);
    let mut record = JobRecord {
        phase,
        attempts,
        ..record.clone()
    };
    // It was not running when its machine went, and gets another one: how that one ends is another story.
    record.preemption.lost_spot = false;
    record.preemption.preempted = None;
    Some(Step {
        phase: commit,
        changes: vec![Change::PutJob(record)],
    })
}

fn close(book: &Book, job: &JobRef, outcome: &Outcome, now: Timestamp) -> Option<Step> {
    let record = book.jobs().get(job)?;
    let (machine, claimed_at) = match &record.phase {
        JobPhase::Claimed { machine, at } => (Some(machine), Some(*at)),
        JobPhase::Booked | JobPhase::Refusing { .. } => (None, None),
    };
    let known = machine.and_then(|name| book.machines().get(name));
    let footprint = known.and_then(|m| m.footprint.as_ref());
    let history = HistoryRecord {
        job: job.clone(),
        facts: record.facts.clone(),
        booked_at: record.booked_at,
        claimed_at,
        ended_at: now,
        machine: machine.cloned(),
        machine_type: footprint.map(|f| f.machine_type.clone()),
        model: footprint.map(|f| f.model),
        price: known.map(|m| m.price),
        machine_created_at: known.map(|m| m.created_at),
        attempts: book.last_attempt(record),
        preemption: record.preemption.clone(),
        outcome: outcome.clone(),
    };
    // What keeps names from being used again comes first: no prefix of these changes forgets it.
    let mut changes = spent(book, record, outcome, now);
    changes.extend([Change::RemoveJob(job.clone()), Change::PutHistory(history)]);
    Some(Step {
        phase: CommitPhase::Ended,
        changes,
    })
}

// Only a job that was seen at its end never comes back; one that was preempted may do so as another. One that we finished may have been unknown to Buildkite for
// a while instead.
fn spent(book: &Book, record: &JobRecord, outcome: &Outcome, now: Timestamp) -> Vec<Change> {
    let (attempts, awaited) = (book.last_attempt(record), awaited(record));
    let over = matches!(outcome, Outcome::Ran | Outcome::Canceled);
    let again = awaited.is_some() && *outcome != Outcome::Canceled;
    if (attempts == 0 || over) && !again {
        return Vec::new();
    }
    let outlived = book.spent().outlived(now).filter(|job| **job != record.job);
    let mut changes: Vec<Change> = outlived.cloned().map(Change::RemoveSpent).collect();
    changes.push(Change::PutSpent(SpentRecord {
        job: record.job.clone(),
        attempts,
        ended_at: now,
        awaited: awaited.filter(|_| again),
    }));
    changes
}

fn delete(
    book: &Book,
    name: &MachineName,
    cause: DeleteCause,
    found: Option<&(Shard, Zone)>,
    now: Timestamp,
) -> Option<Step> {
    let record = if let Some(machine) = book.machines().get(name) {
        if machine.is_deleting() {
            return None;
        }
        let phase = MachinePhase::Deleting {
            cause,
            since: now,
            claim: machine.claim().cloned(),
        };
        MachineRecord {
            phase,
            ..machine.clone()
        }
    } else if let Some(machine) = from_batch(book, name, now) {
        MachineRecord {
            phase: MachinePhase::Deleting {
                cause,
                since: now,
                claim: None,
            },
            ..machine
        }
    } else {
        unknown(name, found?, cause, now)
    };
    Some(Step {
        phase: CommitPhase::Deleting,
        changes: vec![Change::PutMachine(Box::new(record))],
    })
}

/// The record of a batch's member that is now known, or wished, to be a machine of its own.
pub fn from_batch(book: &Book, name: &MachineName, now: Timestamp) -> Option<MachineRecord> {
    let batch = book.batch_of(name)?;
    let member = batch.members.iter().find(|member| member.name == *name)?;
    let zone = match &batch.call {
        Call::Insert { zone } => Some(zone.clone()),
        Call::Bulk => None,
    };
    Some(MachineRecord {
        name: name.clone(),
        batch: Some(batch.id),
        shard: batch.shard(),
        zone,
        instance_id: None,
        footprint: Some(Footprint::from(&batch.shape)),
        service_account: Some(batch.shape.service_account.clone()),
        max_run_seconds: batch.shape.max_run_seconds,
        price: batch.price,
        made_for: Some(member.job.clone()),
        pipeline: book.jobs().get(&member.job).map(|job| job.facts.pipeline.clone()),
        attempt: member.attempt,
        request_key: batch.key_of(member).to_owned(),
        intended_at: batch.created_at,
        created_at: now,
        phase: MachinePhase::Booting,
    })
}

fn unknown(name: &MachineName, found: &(Shard, Zone), cause: DeleteCause, now: Timestamp) -> MachineRecord {
    let (shard, zone) = found;
    MachineRecord {
        name: name.clone(),
        batch: None,
        shard: shard.clone(),
        zone: Some(zone.clone()),
        instance_id: None,
        footprint: None,
        service_account: None,
        max_run_seconds: 0,
        price: Price(0),
        made_for: None,
        pipeline: None,
        attempt: name.attempt(),
        request_key: String::new(),
        intended_at: now,
        created_at: now,
        phase: MachinePhase::Deleting {
            cause,
            since: now,
            claim: None,
        },
    }
}
