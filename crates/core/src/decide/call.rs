//! Groups become calls: the most urgent first, then the largest, while slots last.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{
    Action, Decision,
    place::{Group, Placing, Seat},
    slots::Slots,
    triage::Waiting,
};
use crate::{
    ids::{BatchId, JobRef, MachineName, ProjectId, Zone},
    plan::Choice,
    reason::{Placement, Reason},
    records::{BatchRecord, Call, Member},
    shape::{BATCH_LABEL, Price, Shape},
    snapshot::Snapshot,
};

/// Machines that are asked for in one bulk call, or one by one.
struct Asked<'a> {
    group: usize,
    seats: Vec<Seat<'a>>,
    bulk: bool,
}

/// What is told to jobs instead of what was decided when they were placed, by their places in the snapshot's list.
type Told = BTreeMap<usize, Reason>;

pub(super) fn call<'a>(
    mut placing: Placing<'a>,
    waiting: &[Waiting<'_>],
    first_reason: usize,
    decision: &mut Decision,
) {
    let mut told = Told::new();
    let asked = ask(&mut placing, &mut told);
    for call in asked {
        let alternatives = match call.bulk {
            true => placing.alternatives(call.group, &call.seats),
            false => Vec::new(),
        };
        let group = &placing.groups[call.group];
        if call.bulk {
            let mut action = batch(placing.snapshot, group, &call.seats, Call::Bulk);
            if let Action::Create(record) = &mut action {
                record.shape.alternatives = alternatives;
            }
            decision.actions.push(action);
            continue;
        }
        for seat in &call.seats {
            let zone = zone(placing.snapshot, group, seat.job);
            let action = batch(
                placing.snapshot,
                group,
                std::slice::from_ref(seat),
                Call::Insert { zone },
            );
            decision.actions.push(action);
        }
    }
    if !told.is_empty() {
        for (at, job) in waiting.iter().enumerate() {
            if let Some(reason) = told.remove(&job.index) {
                decision.reasons[first_reason + at].1 = reason;
            }
        }
    }
}

fn ask<'a>(placing: &mut Placing<'a>, told: &mut Told) -> Vec<Asked<'a>> {
    let snapshot = placing.snapshot;
    let mut slots = Slots::new(snapshot);
    let mut groups: Vec<usize> = (0..placing.groups.len()).collect();
    // A group's first job is its most urgent one.
    groups.sort_by_key(|at| {
        let seats = &placing.groups[*at].seats;
        let first = seats[0].job;
        (
            first.rank.priority,
            first.rank.patient,
            Reverse(seats.len()),
            first.rank,
        )
    });
    let mut asked: Vec<Asked<'a>> = Vec::new();
    for at in groups {
        let project: &ProjectId = &placing.groups[at].choice.shard.project;
        let seats = std::mem::take(&mut placing.groups[at].seats);
        for chunk in seats.chunks(BatchRecord::MAX_MEMBERS) {
            let bulk = chunk.len() > 1 && slots.take(project);
            let single = chunk.len() <= snapshot.settings.singles.max(1);
            if !bulk && join_another(placing, &mut asked, (at, chunk), told) {
                continue;
            }
            if bulk || single {
                asked.push(Asked {
                    group: at,
                    seats: chunk.to_vec(),
                    bulk,
                });
            } else {
                let slots = snapshot.settings.bulk_slots;
                let wait = || Reason::Slot {
                    project: project.clone(),
                    slots,
                };
                told.extend(chunk.iter().map(|seat| (seat.job.index, wait())));
            }
        }
    }
    asked
}

/// Puts these jobs into a bulk call for machines that fit them as well, if one goes out in this pass, has room, and
/// costs hardly more. Either all of them find room, or none.
fn join_another<'a>(
    placing: &mut Placing<'a>,
    asked: &mut [Asked<'a>],
    (group, seats): (usize, &[Seat<'a>]),
    told: &mut Told,
) -> bool {
    let premium = placing.snapshot.settings.merge_premium_percent;
    let own = placing.groups[group].choice;
    if premium == 0 {
        return false;
    }
    let most = Price(own.price.0.saturating_add(own.price.0 * u64::from(premium) / 100));
    let found = asked.iter().position(|call| {
        let host = &placing.groups[call.group];
        call.bulk
            && !host.zones.is_probe()
            && host.shard() == &own.shard
            && host.choice.shape.cpus == own.shape.cpus
            && host.choice.price <= most
            && call.seats.len() + seats.len() <= BatchRecord::MAX_MEMBERS
            && seats.iter().all(|seat| fits(seat, &host.choice.shape))
    });
    let Some(found) = found else { return false };
    let host: &'a Choice = placing.groups[asked[found].group].choice;
    for done in 0..seats.len() {
        if !placing.swap(own, host) {
            for _ in 0..done {
                placing.swap(host, own);
            }
            return false;
        }
    }
    asked[found].seats.extend_from_slice(seats);
    let placement: &Arc<Placement> = &host.placement;
    told.extend(
        seats
            .iter()
            .map(|seat| (seat.job.index, Reason::Creating(placement.clone()))),
    );
    true
}

fn fits(seat: &Seat<'_>, shape: &Shape) -> bool {
    seat.plan.choices.iter().any(|choice| *choice.shape == *shape)
}

fn batch(snapshot: &Snapshot<'_>, group: &Group<'_>, seats: &[Seat<'_>], call: Call) -> Action {
    let key = &seats[0].plan.key;
    let members: Vec<Member> = seats.iter().map(|seat| member(snapshot, seat, key)).collect();
    let mut shape = (*group.choice.shape).clone();
    // Zones that are closed at present are left out; what is asked for serves the same requests.
    shape.zones = group.zones.all();
    let id = BatchId::of(&members[0].name);
    if call == Call::Bulk {
        // Recorded with the shape: whoever repeats the call must ask for the very same.
        shape.labels.insert(BATCH_LABEL.to_owned(), id.to_string());
    }
    Action::Create(Box::new(BatchRecord {
        id,
        term: snapshot.term,
        created_at: snapshot.now,
        call,
        shape,
        request_key: key.to_string(),
        price: group.choice.price,
        members,
    }))
}

// Spread over the zones by job, and another one at each attempt: the last zone may have had none.
fn zone(snapshot: &Snapshot<'_>, group: &Group<'_>, job: &Waiting<'_>) -> Zone {
    let zones = group.zones.single();
    let turn = (job.view.job().id.0.as_u128() % zones.len() as u128) as usize;
    zones[(turn + attempt(snapshot, job) as usize) % zones.len()].clone()
}

fn attempt(snapshot: &Snapshot<'_>, job: &Waiting<'_>) -> u32 {
    snapshot.book.last_attempt(job.view.record) + 1
}

fn member(snapshot: &Snapshot<'_>, seat: &Seat<'_>, key: &str) -> Member {
    let attempt = attempt(snapshot, seat.job);
    let job: JobRef = seat.job.view.record.job.clone();
    Member {
        name: MachineName::for_attempt(snapshot.stack, job.id, attempt),
        job,
        attempt,
        request_key: (*seat.plan.key != *key).then(|| seat.plan.key.to_string()),
    }
}
