//! Which machines must go, and which must be looked for.

use std::time::Duration;

use super::{Action, Decision, cover::Cover};
use crate::{
    ids::{MachineName, Shard, Zone},
    ports::{InstanceStatus, JobState},
    records::{BatchRecord, Claim, DeleteCause, MachinePhase, MachineRecord, Orders},
    snapshot::Snapshot,
};

/// A machine that no list shows for so long after its deletion was wanted is looked for by its name. Deletions
/// of ten thousand machines take minutes.
const LOST_WORD: Duration = Duration::from_secs(600);

pub(super) fn retire(snapshot: &Snapshot<'_>, cover: &Cover<'_>, decision: &mut Decision) {
    let mut delete = |machine: &MachineName, cause, found: Option<(Shard, Zone)>| {
        decision.actions.push(Action::Delete {
            machine: machine.clone(),
            cause,
            found,
        });
    };
    for coming in &cover.idle {
        delete(coming.name(), DeleteCause::NoJob, None);
    }
    let idle: std::collections::BTreeSet<&MachineName> =
        cover.idle.iter().map(|coming| coming.name()).collect();
    for name in overdue_creations(snapshot) {
        if !idle.contains(name) {
            delete(name, DeleteCause::CreateTimeout, None);
        }
    }
    let mut missing = Vec::new();
    for machine in snapshot.book.machines().values() {
        if idle.contains(&machine.name) {
            continue;
        }
        if let Some(cause) = cause(snapshot, machine) {
            delete(&machine.name, cause, None);
        } else if is_missing(snapshot, machine) {
            missing.push(machine);
        }
    }
    for (shard, view) in snapshot.shards {
        let Some((_, instances)) = &view.inventory else {
            continue;
        };
        for instance in instances.values() {
            let known = snapshot.book.machines().contains_key(&instance.name)
                || snapshot.book.batch_of(&instance.name).is_some();
            if !known
                && instance.name.belongs_to(snapshot.stack)
                && instance.status != InstanceStatus::Stopping
            {
                delete(
                    &instance.name,
                    DeleteCause::Unknown,
                    Some((shard.clone(), instance.zone.clone())),
                );
            }
        }
    }
    for machine in missing {
        if let Some(zone) = &machine.zone {
            decision.actions.push(Action::Check {
                machine: machine.name.clone(),
                shard: machine.shard.clone(),
                zone: zone.clone(),
            });
        }
    }
}

// Machines of batches that nobody settled in time. They may exist, or come to be yet: with their right to claim
// gone their jobs can be placed anew, and whatever shows up is deleted.
fn overdue_creations<'a>(snapshot: &'a Snapshot<'a>) -> impl Iterator<Item = &'a MachineName> {
    let batches = snapshot.book.batches().values();
    batches
        .filter(|batch| is_overdue(snapshot, batch))
        .flat_map(|batch| &batch.members)
        .map(|member| &member.name)
        .filter(|name| !snapshot.book.machines().contains_key(*name))
}

/// Nobody settled it in time.
pub(super) fn is_overdue(snapshot: &Snapshot<'_>, batch: &BatchRecord) -> bool {
    snapshot.age(batch.created_at) >= snapshot.settings.create_timeout
}

/// This pass retires the machine.
pub(super) fn leaves(snapshot: &Snapshot<'_>, machine: &MachineRecord) -> bool {
    cause(snapshot, machine).is_some()
}

fn cause(snapshot: &Snapshot<'_>, machine: &MachineRecord) -> Option<DeleteCause> {
    let (settings, orders) = (snapshot.settings, snapshot.book.orders());
    match &machine.phase {
        MachinePhase::Deleting { .. } => None,
        _ if is_stopped(snapshot, machine) => Some(DeleteCause::Stopped),
        MachinePhase::Booting if drained(orders, machine) => Some(DeleteCause::Drained),
        MachinePhase::Booting if snapshot.age(machine.created_at) < settings.boot_timeout => None,
        // It may be up and asking: a pause is no fault of the machine, and must not cost its job patience.
        MachinePhase::Booting if is_paused(snapshot, machine) => Some(DeleteCause::NoJob),
        MachinePhase::Booting => Some(DeleteCause::BootTimeout),
        MachinePhase::Claimed(claim) => claimed_cause(snapshot, machine, claim),
    }
}

fn drained(orders: &Orders, machine: &MachineRecord) -> bool {
    let family = machine.footprint.as_ref().map(|footprint| &*footprint.family);
    orders.drains(&machine.shard, machine.zone.as_ref(), family)
}

fn claimed_cause(snapshot: &Snapshot<'_>, machine: &MachineRecord, claim: &Claim) -> Option<DeleteCause> {
    let settings = snapshot.settings;
    let limit = Duration::from_secs(machine.max_run_seconds) + settings.overdue_margin;
    if snapshot.age(claim.at) >= limit {
        return Some(DeleteCause::Overdue);
    }
    let Ok(place) = snapshot.jobs.binary_search_by(|view| view.job().cmp(&claim.job)) else {
        return Some(DeleteCause::JobEnded);
    };
    let seen = snapshot.jobs[place].seen;
    if seen
        .over_since
        .is_some_and(|over| snapshot.now.since(over) >= settings.end_grace)
    {
        return Some(DeleteCause::JobEnded);
    }
    // What counts is when the state was read: while Buildkite does not answer, the job may well be running.
    let (state, read_at) = seen.state.as_ref()?;
    let waits = matches!(state, JobState::Scheduled | JobState::Reserved);
    // A machine that had to wait for the agent's token asked until it got it: its agent has begun only then.
    let asked = seen.asked_at.map_or(claim.at, |asked| asked.max(claim.at));
    let began = asked.max(snapshot.began);
    (waits && read_at.since(began) >= settings.acquire_timeout).then_some(DeleteCause::AcquireTimeout)
}

fn is_paused(snapshot: &Snapshot<'_>, machine: &MachineRecord) -> bool {
    let job = machine
        .made_for
        .as_ref()
        .and_then(|job| snapshot.book.jobs().get(job));
    job.is_some_and(|record| {
        let queue = (record.job.source.clone(), record.facts.queue.clone());
        snapshot.paused.contains(&queue)
    })
}

fn is_stopped(snapshot: &Snapshot<'_>, machine: &MachineRecord) -> bool {
    snapshot
        .shards
        .get(&machine.shard)
        .and_then(|view| view.inventory.as_ref())
        .and_then(|(_, instances)| instances.get(&machine.name))
        .is_some_and(|instance| instance.status == InstanceStatus::Stopped)
}

// A list lags: only one begun well after the machine was created can show that it is missing. The worker tells
// when a deletion is over; should its word be lost, the record must not stay for ever.
fn is_missing(snapshot: &Snapshot<'_>, machine: &MachineRecord) -> bool {
    let seen_from = match machine.phase {
        MachinePhase::Deleting { since, .. } => since.after(LOST_WORD),
        MachinePhase::Booting | MachinePhase::Claimed(_) => {
            machine.created_at.after(snapshot.settings.list_lag)
        }
    };
    snapshot
        .shards
        .get(&machine.shard)
        .and_then(|view| view.inventory.as_ref())
        .is_some_and(|(begun_at, instances)| *begun_at > seen_from && !instances.contains_key(&machine.name))
}
