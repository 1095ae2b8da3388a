//! Which jobs are taken in, which are over, which can never run, and which wait: in order of rank.

use std::{collections::BTreeMap, time::Duration};

use super::{Action, Decision};
use crate::{
    ids::{JobId, MachineName, SourceName},
    line::{Rank, line},
    plan::Plan,
    ports::JobState,
    reason::Reason,
    records::{Failures, JobPhase, MachinePhase, Outcome},
    snapshot::{JobView, Snapshot},
    time::Timestamp,
};

/// A job that waits for a machine.
pub(super) struct Waiting<'a> {
    /// Its place in the line.
    pub rank: Rank,
    /// Its place in the snapshot's list of jobs.
    pub index: usize,
    pub view: &'a JobView<'a>,
    pub plan: &'a Plan,
}

/// Takes in listed jobs and renews reservations.
pub(super) fn book(snapshot: &Snapshot<'_>, decision: &mut Decision) {
    for (source, backlog) in snapshot.backlog {
        let jobs: Vec<_> = backlog
            .jobs
            .iter()
            .filter(|job| {
                !snapshot
                    .paused
                    .contains(&(source.clone(), job.facts.queue.clone()))
            })
            .cloned()
            .collect();
        if !jobs.is_empty() {
            decision.actions.push(Action::Reserve {
                source: source.clone(),
                jobs,
            });
        }
    }
    let half = snapshot.settings.reservation / 2;
    let mut renew: BTreeMap<&SourceName, Vec<JobId>> = BTreeMap::new();
    for view in &snapshot.jobs {
        if needs_renewal(view, snapshot.now, half) {
            renew
                .entry(&view.record.job.source)
                .or_default()
                .push(view.record.job.id);
        }
    }
    for (source, jobs) in renew {
        decision.actions.push(Action::Renew {
            source: source.clone(),
            jobs,
        });
    }
}

// A reservation matters until an agent has the job: also after the claim, since the token dies with it.
fn needs_renewal(view: &JobView<'_>, now: Timestamp, half: Duration) -> bool {
    let waiting = !matches!(view.record.phase, JobPhase::Refusing { .. });
    let theirs = match view.seen.state.as_ref().map(|(state, _)| state) {
        // Whoever had it has let go of it.
        Some(JobState::Scheduled) => false,
        Some(state) if state.is_taken() || state.is_over() => true,
        Some(JobState::Held(_) | JobState::Unknown(_)) => true,
        // Not read yet in this term: it may run already.
        None => true,
        Some(_) => view.seen.reservation_lost,
    };
    waiting
        && !theirs
        && view
            .seen
            .reserved_until
            .is_none_or(|until| until.since(now) <= half)
}

/// Closes what is over, refuses what can never run, and returns what waits, most urgent first.
pub(super) fn triage<'a>(snapshot: &'a Snapshot<'a>, decision: &mut Decision) -> Vec<Waiting<'a>> {
    let mut plans = Vec::new();
    for (index, view) in snapshot.jobs.iter().enumerate() {
        match &view.record.phase {
            JobPhase::Refusing { detail } => refusing(view, detail, decision),
            JobPhase::Booked => {
                if let Some(plan) = booked(snapshot, view, decision) {
                    plans.push((index, plan));
                }
            }
            JobPhase::Claimed { machine, .. } => claimed(snapshot, view, machine, decision),
        }
    }
    let waiting = plans.iter().map(|(index, _)| *index);
    let line = line(&snapshot.jobs, waiting, snapshot.now, snapshot.settings.aging);
    let in_line = line.into_iter().filter_map(|rank| {
        // They are in the order of the list, and so of their places in it.
        let at = plans
            .binary_search_by_key(&rank.index, |(index, _)| *index)
            .ok()?;
        Some(Waiting {
            rank,
            index: rank.index,
            view: &snapshot.jobs[rank.index],
            plan: plans[at].1,
        })
    });
    in_line.collect()
}

fn refusing(view: &JobView<'_>, detail: &str, decision: &mut Decision) {
    let job = view.job().clone();
    if ended(view) {
        let outcome = Outcome::Refused {
            detail: detail.to_owned(),
        };
        decision.actions.push(Action::Close { job, outcome });
    } else if !view.seen.finishing {
        decision.actions.push(Action::Finish {
            job,
            detail: detail.to_owned(),
        });
    }
}

fn ended(view: &JobView<'_>) -> bool {
    view.seen.missing >= 2 || view.seen.state.as_ref().is_some_and(|(state, _)| state.is_over())
}

fn booked<'a>(snapshot: &Snapshot<'_>, view: &'a JobView<'_>, decision: &mut Decision) -> Option<&'a Plan> {
    let job = view.job().clone();
    let state = view.seen.state.as_ref().map(|(state, _)| state);
    if let Some(outcome) = outcome_without_machine(view, state) {
        decision.actions.push(Action::Close { job, outcome });
        return None;
    }
    let plan = match view.plan {
        Ok(plan) => plan,
        Err(detail) => {
            decision.actions.push(Action::Refuse {
                job,
                detail: detail.to_string(),
            });
            return None;
        }
    };
    if let Some(detail) = out_of_patience(&view.record.failures, snapshot.settings.patience) {
        decision.actions.push(Action::Refuse { job, detail });
        return None;
    }
    if let Some(word) = barred(view) {
        decision
            .reasons
            .push((job, Reason::HeldByBuildkite(word.to_owned())));
        return None;
    }
    let queue = &view.record.facts.queue;
    if !snapshot.paused.is_empty() && snapshot.paused.contains(&(job.source.clone(), queue.clone())) {
        decision.reasons.push((job, Reason::Paused(queue.clone())));
        return None;
    }
    Some(plan)
}

fn outcome_without_machine(view: &JobView<'_>, state: Option<&JobState>) -> Option<Outcome> {
    match state {
        _ if view.seen.missing >= 2 => Some(Outcome::Gone { state: String::new() }),
        Some(JobState::Canceled) => Some(Outcome::Canceled),
        Some(state) if state.is_over() || state.is_taken() => Some(Outcome::Gone {
            state: state.to_string(),
        }),
        _ => None,
    }
}

// Why Buildkite would let no machine of ours run the job at present. The job stays booked: it may come back to
// us, and its record is what keeps its machines' names from being used again.
fn barred<'a>(view: &'a JobView<'_>) -> Option<&'a str> {
    match view.seen.state.as_ref().map(|(state, _)| state) {
        // A word that is not known yet is taken for one that says to wait.
        Some(JobState::Held(word) | JobState::Unknown(word)) => Some(word),
        Some(JobState::Reserved) if view.seen.reservation_lost => Some("reserved by another stack"),
        _ => None,
    }
}

fn out_of_patience(failures: &Failures, patience: u32) -> Option<String> {
    let text = |n: u32, what: &str, advice: &str| format!("gust gave up: {n} machines {what}. {advice}");
    if failures.boot >= patience {
        Some(text(
            failures.boot,
            "were made for this job and none of them came up in time",
            "The machine image or the network is likely broken: ask the operator of gust; a retry of the step starts afresh.",
        ))
    } else if failures.acquire >= patience {
        Some(text(
            failures.acquire,
            "received this job and their agents never took it",
            "The agent on the machine image may be too old, or cannot reach Buildkite: ask the operator of gust.",
        ))
    } else if failures.refused >= patience {
        Some(text(
            failures.refused,
            "were refused by Google for a cause that does not pass",
            "Ask the operator of gust for permissions, image and network of the project; a retry of the step starts afresh.",
        ))
    } else if failures.lost >= patience * 3 {
        Some(text(
            failures.lost,
            "vanished before the job started",
            "If the step has spot=true, Google may be taking its machines back: with spot=false it runs on demand.",
        ))
    } else {
        None
    }
}

fn claimed(snapshot: &Snapshot<'_>, view: &JobView<'_>, machine: &MachineName, decision: &mut Decision) {
    let job = view.job().clone();
    let record = snapshot.book.machines().get(machine);
    let present = record.is_some_and(|m| matches!(m.phase, MachinePhase::Claimed(_)));
    let state = view.seen.state.as_ref().map(|(state, _)| state);
    let graced = view
        .seen
        .over_since
        .is_some_and(|t| snapshot.now.since(t) >= snapshot.settings.end_grace);
    match state {
        // The guest's `done` may still be on its way and carries what a mere state cannot tell.
        _ if ended(view) && (!present || graced) => {
            let outcome = match state {
                Some(JobState::Finished) => Outcome::Ran,
                Some(JobState::Canceled) => Outcome::Canceled,
                Some(state) => Outcome::Gone {
                    state: state.to_string(),
                },
                None => Outcome::Gone { state: String::new() },
            };
            decision.actions.push(Action::Close { job, outcome });
        }
        // Read after the machine was gone: what was seen before does not count.
        Some(state)
            if state.is_taken()
                && record.is_none()
                && view.record.preemption.lost_spot
                && view.record.preemption.preempted.is_none() =>
        {
            decision.actions.push(Action::Preempted { job });
        }
        Some(JobState::Scheduled | JobState::Reserved) if record.is_none() => {
            decision.actions.push(Action::Rebook { job });
        }
        Some(JobState::Scheduled | JobState::Reserved) if record.is_some_and(|m| m.is_deleting()) => {
            decision.reasons.push((job, Reason::Replacing(machine.clone())));
        }
        _ => {}
    }
}

/// True if a booked job may still need a machine: nothing seen of it says that it is over, taken or held back.
pub(crate) fn may_wait(view: &JobView<'_>) -> bool {
    let state = view.seen.state.as_ref().map(|(state, _)| state);
    outcome_without_machine(view, state).is_none() && barred(view).is_none()
}
