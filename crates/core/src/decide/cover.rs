//! Which waiting jobs have a machine coming, and which machines have no job.
//!
//! A machine belongs to a request, not to a job: one whose own job no longer needs it serves the most urgent
//! job of the same request that has none.

use std::collections::{BTreeMap, VecDeque};

use super::{
    retire::{is_overdue, leaves},
    triage::Waiting,
};
use crate::{
    ids::{JobRef, MachineName},
    records::{BatchRecord, JobPhase, MachinePhase, MachineRecord, Member},
    snapshot::Snapshot,
};

/// A machine that could still be claimed.
#[derive(Clone, Copy)]
pub(super) enum Coming<'a> {
    /// Its outcome is not known yet.
    Creating(&'a BatchRecord, &'a Member),
    /// It exists and boots.
    Booting(&'a MachineRecord),
}

impl<'a> Coming<'a> {
    pub(super) fn name(self) -> &'a MachineName {
        match self {
            Self::Creating(_, member) => &member.name,
            Self::Booting(machine) => &machine.name,
        }
    }

    fn key(self) -> &'a str {
        match self {
            Self::Creating(batch, member) => batch.key_of(member),
            Self::Booting(machine) => &machine.request_key,
        }
    }
}

/// The assignment of coming machines to waiting jobs.
pub(super) struct Cover<'a> {
    /// By place in the snapshot's list of jobs.
    pub by_job: Vec<Option<Coming<'a>>>,
    /// Machines that no waiting job needs.
    pub idle: Vec<Coming<'a>>,
}

pub(super) fn cover<'a>(snapshot: &'a Snapshot<'a>, waiting: &[Waiting<'a>]) -> Cover<'a> {
    let mut by_job: Vec<Option<Coming<'a>>> = vec![None; snapshot.jobs.len()];
    let mut spare: BTreeMap<&'a str, VecDeque<Coming<'a>>> = BTreeMap::new();
    for (coming, job) in coming(snapshot) {
        match own_place(snapshot, job, coming.key()) {
            Some(place) if by_job[place].is_none() => by_job[place] = Some(coming),
            _ => spare.entry(coming.key()).or_default().push_back(coming),
        }
    }
    if !spare.is_empty() {
        for job in waiting {
            if by_job[job.index].is_none()
                && let Some(machine) = spare.get_mut(&*job.plan.key).and_then(VecDeque::pop_front)
            {
                by_job[job.index] = Some(machine);
            }
        }
    }
    Cover {
        by_job,
        idle: spare.into_values().flatten().collect(),
    }
}

// Booting machines come first: they will claim sooner than those still being created. One that this very pass
// retires comes no more, or the job that counts on it would be passed over by one of lower rank.
fn coming<'a>(snapshot: &'a Snapshot<'a>) -> impl Iterator<Item = (Coming<'a>, Option<&'a JobRef>)> {
    let book = snapshot.book;
    let booting = book
        .machines()
        .values()
        .filter(|m| matches!(m.phase, MachinePhase::Booting) && !leaves(snapshot, m))
        .map(|m| (Coming::Booting(m), m.made_for.as_ref()));
    let in_time = book
        .batches()
        .values()
        .filter(|batch| !is_overdue(snapshot, batch));
    let creating = in_time.flat_map(move |batch| {
        batch
            .members
            .iter()
            .filter(move |member| !book.machines().contains_key(&member.name))
            .map(move |member| (Coming::Creating(batch, member), Some(&member.job)))
    });
    booting.chain(creating)
}

// The place of the job a machine was made for, if that job still waits and still asks for the same.
fn own_place(snapshot: &Snapshot<'_>, job: Option<&JobRef>, key: &str) -> Option<usize> {
    let job = job?;
    let place = snapshot.jobs.binary_search_by(|view| view.job().cmp(job)).ok()?;
    let view = &snapshot.jobs[place];
    let same = view.plan.as_ref().is_ok_and(|plan| &*plan.key == key);
    (same && matches!(view.record.phase, JobPhase::Booked) && super::may_wait(view)).then_some(place)
}
