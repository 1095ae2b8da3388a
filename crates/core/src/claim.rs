//! The rules of a claim: which machine may have which job.
//!
//! The caller has checked the identity token's signature and the guest's own; here everything else is
//! checked, against the records alone. Any process on a machine can mint the machine's identity token, so
//! the first key that claims is the machine's key, and nobody else's claim counts after it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    decide::may_wait,
    evolve::{Step, from_batch},
    ids::{JobRef, MachineName, ProjectId, QueueKey, SourceName, Zone},
    line::line,
    ports::CommitPhase,
    records::{Book, Change, Claim, DeleteCause, JobPhase, JobRecord, KeyHash, MachinePhase, MachineRecord},
    snapshot::JobView,
    time::Timestamp,
};

/// How much earlier than its intent a machine may claim to have been created: Google's clock and ours differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// What a verified identity token and the guest's signature prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The instance's name.
    pub machine: MachineName,
    /// Its project.
    pub project: ProjectId,
    /// Its zone.
    pub zone: Zone,
    /// Its id.
    pub instance_id: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// E-mail of its service account.
    pub email: String,
    /// Hash of the key that the token's audience names and whose signature was checked.
    pub key: KeyHash,
}

/// Why a claim is refused for good. Reported and audited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No record knows such a machine.
    #[error("no machine {0} is recorded")]
    UnknownMachine(MachineName),
    /// Name is ours, something else is not.
    #[error("machine {machine}: {what} is {proven}, the record says {recorded}")]
    Mismatch {
        /// The machine.
        machine: MachineName,
        /// What differs.
        what: &'static str,
        /// What the token proves.
        proven: String,
        /// What the record says.
        recorded: String,
    },
    /// Another key claimed first.
    #[error("machine {0} was claimed with another key")]
    OtherKey(MachineName),
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The machine runs this job.
    Assign(JobRef),
    /// There is nothing for it: it powers off.
    NoJob(&'static str),
    /// Not now: it asks again.
    NotYet(&'static str),
    /// Somebody else, or something wrong.
    Refused(Refusal),
}

/// Waiting jobs by request, in the order of the line: what machines are bound from.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    by_key: BTreeMap<Arc<str>, VecDeque<JobRef>>,
    /// Requests of which jobs wait in paused queues.
    paused: BTreeSet<Arc<str>>,
}

impl Queue {
    /// Builds the queue from the booked jobs; those of paused queues are left out.
    pub fn new(
        jobs: &[JobView<'_>],
        paused: &BTreeSet<(SourceName, QueueKey)>,
        (now, aging): (Timestamp, Duration),
    ) -> Self {
        let mut queue = Self::default();
        let mut waiting = Vec::new();
        for (index, view) in jobs.iter().enumerate() {
            let record = view.record;
            let Ok(plan) = view.plan else { continue };
            if !matches!(record.phase, JobPhase::Booked) || !may_wait(view) {
                continue;
            }
            if !paused.is_empty() && paused.contains(&(record.job.source.clone(), record.facts.queue.clone()))
            {
                queue.paused.insert(plan.key.clone());
            } else {
                waiting.push(index);
            }
        }
        for rank in line(jobs, waiting.into_iter(), now, aging) {
            let view = &jobs[rank.index];
            if let Ok(plan) = view.plan {
                let waiting = queue.by_key.entry(plan.key.clone()).or_default();
                waiting.push_back(view.job().clone());
            }
        }
        queue
    }

    /// Takes the most urgent job of a request out of the queue.
    pub fn pop(&mut self, key: &str) -> Option<JobRef> {
        let queue = self.by_key.get_mut(key)?;
        if crate::mutant!("claim-not-single-use") {
            return queue.front().cloned();
        }
        queue.pop_front()
    }
}

/// Decides a claim. `accepted` tells whether Buildkite was seen to have a job accepted.
///
/// # Guarantees
/// A job is given to one machine only: it must be booked, and becomes claimed in the same step. A repeat with
/// the same key gets the same job until Buildkite shows it accepted, so a lost answer bricks nothing.
pub fn claim(
    book: &Book,
    queue: &mut Queue,
    proof: &Proof,
    accepted: impl Fn(&JobRef) -> bool,
    now: Timestamp,
) -> (Answer, Option<Step>) {
    let Some(machine) = book
        .machines()
        .get(&proof.machine)
        .cloned()
        .or_else(|| from_batch(book, &proof.machine, now))
    else {
        return (
            Answer::Refused(Refusal::UnknownMachine(proof.machine.clone())),
            None,
        );
    };
    if let Err(refusal) = matches(&machine, proof) {
        return (Answer::Refused(refusal), None);
    }
    match &machine.phase {
        MachinePhase::Deleting { .. } => (Answer::NoJob("this machine is being removed"), None),
        MachinePhase::Claimed(claim) if claim.key != proof.key => {
            (Answer::Refused(Refusal::OtherKey(machine.name)), None)
        }
        MachinePhase::Claimed(claim) => match book.jobs().get(&claim.job) {
            Some(job) if !accepted(&job.job) => (Answer::Assign(job.job.clone()), None),
            Some(_) => (Answer::NoJob("an agent already has this machine's job"), None),
            None => (Answer::NoJob("this machine's job is over"), None),
        },
        MachinePhase::Booting => match queue
            .pop(&machine.request_key)
            .and_then(|job| book.jobs().get(&job))
        {
            Some(job) => {
                let job = job.job.clone();
                let step = bind(book, machine, &job, proof, now);
                (Answer::Assign(job), step)
            }
            None if queue.paused.contains(&*machine.request_key) => {
                (Answer::NotYet("the queue is paused in Buildkite"), None)
            }
            None => (
                Answer::NoJob("no job is left for this machine"),
                Some(unneeded(machine, proof, now)),
            ),
        },
    }
}

fn matches(machine: &MachineRecord, proof: &Proof) -> Result<(), Refusal> {
    let mismatch = |what, proven: &dyn ToString, recorded: &dyn ToString| {
        Err(Refusal::Mismatch {
            machine: machine.name.clone(),
            what,
            proven: proven.to_string(),
            recorded: recorded.to_string(),
        })
    };
    if proof.project != machine.shard.project {
        return mismatch("project", &proof.project, &machine.shard.project);
    }
    if let Some(zone) = &machine.zone
        && *zone != proof.zone
    {
        return mismatch("zone", &proof.zone, zone);
    }
    if proof.zone.region() != machine.shard.region {
        return mismatch("region", &proof.zone.region(), &machine.shard.region);
    }
    if let Some(email) = &machine.service_account
        && *email != proof.email
    {
        return mismatch("service account", &proof.email, email);
    }
    match machine.instance_id {
        Some(id) if id != proof.instance_id => mismatch("instance id", &proof.instance_id, &id),
        None if proof.created_at.after(CLOCK_SKEW) < machine.intended_at => mismatch(
            "creation",
            &proof.created_at,
            &format!("an intent of {}", machine.intended_at),
        ),
        _ => Ok(()),
    }
}

fn bind(book: &Book, machine: MachineRecord, job: &JobRef, proof: &Proof, now: Timestamp) -> Option<Step> {
    let record = book.jobs().get(job)?;
    let claim = Claim {
        job: job.clone(),
        key: proof.key.clone(),
        at: now,
    };
    let phase = JobPhase::Claimed {
        machine: machine.name.clone(),
        at: now,
    };
    let job = JobRecord {
        phase,
        attempts: book.last_attempt(record),
        ..record.clone()
    };
    let machine = MachineRecord {
        pipeline: Some(record.facts.pipeline.clone()),
        ..pinned(machine, proof, MachinePhase::Claimed(claim))
    };
    let changes = vec![Change::PutMachine(Box::new(machine)), Change::PutJob(job)];
    Some(Step {
        phase: CommitPhase::Claimed,
        changes,
    })
}

fn unneeded(machine: MachineRecord, proof: &Proof, now: Timestamp) -> Step {
    let phase = MachinePhase::Deleting {
        cause: DeleteCause::NoJob,
        since: now,
        claim: None,
    };
    let changes = vec![Change::PutMachine(Box::new(pinned(machine, proof, phase)))];
    Step {
        phase: CommitPhase::Deleting,
        changes,
    }
}

fn pinned(machine: MachineRecord, proof: &Proof, phase: MachinePhase) -> MachineRecord {
    MachineRecord {
        zone: Some(proof.zone.clone()),
        instance_id: Some(proof.instance_id),
        phase,
        ..machine
    }
}

#[cfg(test)]
mod tests;
