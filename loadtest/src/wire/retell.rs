//! Tells the simulation's checker what a run of real processes left behind, in the order in which it happened: the
//! fakes' event log, etcd's history with the replicas' journals, and what the harness did.
//!
//! Times are what tells the order between the fakes and etcd, so they have to be right:
//!
//! - An event's time is cut to milliseconds, so it counts as the end of its millisecond. What it caused in etcd took an
//!   answer over HTTP, a pass and a transaction, longer than that.
//! - A commit had happened by the time of its line, and no effect of it came before that. It had happened as well by the
//!   time at which somebody who watches saw it, or any later revision; the earliest of these counts. So a commit whose
//!   replica was frozen or killed before it wrote the line has a time too.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use gust_core::{
    catalog::Catalog,
    offer::{SpotQuota, resources},
};
use gust_fakes::limits::Limits;
use serde_json::Value;

use super::{
    fleet::{Deed, Done, SeenAt, key},
    history::mark,
    retell::log::event,
};
use crate::virtual_gear::{
    check::{Checker, Committed, Expectations, Met, Subject, Verdict},
    expected::limits,
};

mod log;

/// What a run left behind.
pub(super) struct Traces<'a> {
    /// The fakes' event log, whole.
    pub events: &'a [Value],
    /// The lines of all replicas' journals.
    pub journal: &'a [Value],
    /// Every change below the stack's prefix, and when it was seen.
    pub history: &'a [SeenAt],
    /// What the harness did.
    pub deeds: &'a [Deed],
    /// When the fakes started, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
}

/// What a fleet over the demo's limits is held to. Nobody records what it shows, so nothing is said about invariant 8.
pub(super) fn expectations(impossible: &[&str], project: &str, regions: &[&str]) -> Expectations {
    let catalog = Catalog::builtin();
    let usage = move |footprint: &_| resources(footprint, &catalog, &SpotQuota::default());
    let mut expect = Expectations::new("gust", usage);
    expect.impossible = impossible.iter().map(|step| (*step).to_owned()).collect();
    expect.limits = limits(&Limits::demo(), project, regions);
    expect.pictures = false;
    expect
}

/// Tells all of it, and returns what the checker says.
///
/// # Errors
/// A trace is not of the form that its writer gives it.
pub(super) fn retell(traces: &Traces<'_>, expect: Expectations) -> Result<Verdict> {
    let mut story = Vec::new();
    let mut latest = 0;
    for line in traces.events {
        let (at, event) = event(line).with_context(|| format!("an event of the fakes: {line}"))?;
        // The log's order is the truth.
        latest = at.max(latest);
        story.push((latest, Told::Event(event)));
    }
    for (unix_ns, commit) in commits(traces)? {
        let at = unix_ns.saturating_sub(traces.started_unix_ns);
        story.push((at, Told::Commit(commit)));
    }
    for deed in traces.deeds {
        let at = deed.unix_ns.saturating_sub(traces.started_unix_ns);
        story.push((at, Told::Done(&deed.done)));
    }
    // Stable: each stream keeps its own order.
    story.sort_by_key(|(at, _)| *at);
    let mut checker = Checker::new(expect);
    let end = story.last().map_or(0, |(at, _)| *at);
    for (at, told) in story {
        tell(&mut checker, Duration::from_nanos(at), told);
    }
    Ok(checker.finish(Duration::from_nanos(end), traces.events.len() as u64))
}

enum Told<'a> {
    Event(gust_fakes::event::Event),
    Commit(Committed),
    Done(&'a Done),
}

fn tell(checker: &mut Checker, at: Duration, told: Told<'_>) {
    let mut fault = |kind, note: &str| {
        let note = note.to_owned();
        let met = Met {
            kind,
            subject: Subject::World,
            note,
        };
        checker.fault(at, &met);
    };
    match told {
        Told::Event(event) => {
            if event.kind == "fault.applied" {
                fault("reply", "");
            }
            checker.event(at, &event);
        }
        Told::Commit(commit) => checker.commit(at, &commit),
        Told::Done(Done::Fault(what)) => fault("chaos", what),
        Told::Done(Done::Host(replica, what)) => checker.host(at, *replica, *what),
        Told::Done(Done::Quiet) => checker.quiet(at),
    }
}

/// The transactions of etcd's history in its order, each with the time by which it had happened.
fn commits(traces: &Traces<'_>) -> Result<Vec<(u64, Committed)>> {
    let mut lines = BTreeMap::new();
    for line in traces.journal {
        let said = || format!("a line of a journal: {line}");
        let revision = line["revision"].as_u64().with_context(said)?;
        let unix_ns = line["unix_ns"].as_u64().with_context(said)?;
        let replica = line["replica"].as_str().with_context(said)?;
        lines.insert(revision, (unix_ns, replica));
    }
    let (prefix, leader, mark_key) = (key(""), key("leader"), key("commits"));
    let mut told = Vec::new();
    let mut leaders: BTreeMap<u64, String> = BTreeMap::new();
    for same in traces
        .history
        .chunk_by(|one, next| one.1.revision == next.1.revision)
    {
        let (seen, first) = &same[0];
        let mut commit = Committed {
            replica: None,
            term: 0,
            revision: first.revision,
            writes: Vec::new(),
        };
        for (_, event) in same {
            let text = || event.value.as_deref().map(String::from_utf8_lossy);
            if event.key == leader {
                leaders.extend(text().map(|name| (event.revision, name.into_owned())));
            }
            if event.key == mark_key {
                let value = event.value.as_deref();
                commit.term = value.and_then(mark).with_context(|| {
                    format!("revision {}: {:?} is no mark of a commit", event.revision, text())
                })?;
            }
            let below = event.key.strip_prefix(&prefix).unwrap_or(&event.key);
            commit.writes.push((below.to_owned(), event.value.clone()));
        }
        let line = lines.get(&commit.revision);
        // Without a line only the mark says who it was.
        commit.replica = line
            .map(|(_, replica)| (*replica).to_owned())
            .or_else(|| leaders.get(&commit.term).cloned());
        let at = line.map_or(*seen, |(at, _)| *seen.min(at));
        told.push((at, commit));
    }
    let mut by = u64::MAX;
    for (at, _) in told.iter_mut().rev() {
        by = by.min(*at);
        *at = by;
    }
    Ok(told)
}

#[cfg(test)]
mod tests;
