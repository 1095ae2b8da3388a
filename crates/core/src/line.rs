//! The line: in which order waiting jobs are served.
//!
//! Buildkite's priority counts first. Among jobs of one priority those that have waited too long come before all
//! others; then pipelines take turns, so that one that brings ten thousand jobs does not hold up one that brings ten:
//! whose pipeline has the fewest vCPUs, with those of its jobs ahead in the line, is next. Then time, then the order of
//! keys, so that there is no doubt.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use crate::{records::JobPhase, snapshot::JobView, time::Timestamp};

/// A place in the line: smaller is served earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub priority: Reverse<i64>,
    /// It has not waited too long yet.
    pub patient: bool,
    /// vCPUs of its pipeline at work or ahead of it.
    turn: u64,
    runnable_at: Timestamp,
    /// Its place in the list of jobs.
    pub index: usize,
}

/// The places of these jobs, given by their places in `jobs`; most urgent first.
pub(crate) fn line(
    jobs: &[JobView<'_>],
    waiting: impl Iterator<Item = usize>,
    now: Timestamp,
    aging: Duration,
) -> Vec<Rank> {
    let mut line: Vec<Rank> = waiting
        .map(|index| {
            let facts = &jobs[index].record.facts;
            Rank {
                priority: Reverse(facts.priority),
                patient: now.since(facts.runnable_at) < aging,
                turn: 0,
                runnable_at: facts.runnable_at,
                index,
            }
        })
        .collect();
    line.sort_unstable();
    if let Some(mut shares) = shares(jobs, &line) {
        for place in &mut line {
            let view = &jobs[place.index];
            let share = shares.entry(&view.record.facts.pipeline).or_default();
            // Who has waited too long is served by time alone.
            place.turn = if place.patient { *share } else { 0 };
            *share += cpus(view);
        }
        line.sort_unstable();
    }
    line
}

/// vCPUs at work by pipeline, unless all that wait are of one: then its turns are the order of time.
fn shares<'a>(jobs: &'a [JobView<'_>], line: &[Rank]) -> Option<BTreeMap<&'a str, u64>> {
    let pipeline = |place: &Rank| &*jobs[place.index].record.facts.pipeline;
    let first = line.first().map(pipeline)?;
    if line.iter().all(|place| pipeline(place) == first) {
        return None;
    }
    let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
    for view in jobs {
        if matches!(view.record.phase, JobPhase::Claimed { .. }) {
            *shares.entry(&view.record.facts.pipeline).or_default() += cpus(view);
        }
    }
    Some(shares)
}

// The first choice stands for all: it is what the job most likely gets.
fn cpus(view: &JobView<'_>) -> u64 {
    let plan = view.plan.as_ref().ok();
    plan.and_then(|plan| plan.choices.first())
        .map_or(1, |choice| u64::from(choice.shape.cpus))
}
