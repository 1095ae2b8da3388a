//! Invariant 8: every waiting job has a true, current reason, and its timeline in Buildkite says so.
//!
//! What is shown comes with [`Picture`]s of the term that leads. Within bounds: a booked job is in them, what a
//! reason names is there, its figures are the world's, and a change of its kind is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gust_core::{
    reason::{Kind, Reason},
    records::MachinePhase,
};
use gust_fakes::event::Event;
use uuid::Uuid;

use super::{
    Checker, Invariant, Picture,
    seen::{JobIx, ShownReason, text},
    timers::{AGAIN, Timer},
};

/// A job with more notes than this is told changes later, and several in one: Buildkite takes 100.
const MANY_NOTES: u32 = 20;
/// How much later than the bound a reason may be missing while faults are about.
const ROUGH: Duration = Duration::from_secs(30);

/// The latest picture, and which queues are paused.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// How many pictures there were: the number of the latest.
    number: u64,
    /// Whose the latest is.
    replica: usize,
    /// Since when that leader decides, as far as it shows.
    deciding: Option<Duration>,
    paused: BTreeSet<String>,
    /// A pause met something, as the fakes' log says; it does not say when it ends.
    pause_met: bool,
    /// When pauses ended last.
    resumed: BTreeMap<String, Duration>,
}

impl Shown {
    /// Since when the leader decides, as far as it shows.
    pub fn deciding(&self) -> Option<Duration> {
        self.deciding
    }

    /// Another leads, or nobody does.
    pub fn deposed(&mut self) {
        self.deciding = None;
    }

    /// A replica shows nothing new.
    pub fn silenced(&mut self, replica: usize) {
        if self.replica == replica {
            self.deciding = None;
        }
    }

    pub fn paused(&mut self, at: Duration, queue: &str, paused: bool) {
        if paused {
            self.paused.insert(queue.to_owned());
        } else if self.paused.remove(queue) {
            self.resumed.insert(queue.to_owned(), at);
        }
    }

    /// The fakes' own pause met something. Whoever set it may tell more exactly.
    pub fn pause_met(&mut self) {
        self.pause_met = true;
    }

    /// Whether a queue was paused at `from` or later. Where only the fakes told of pauses their end is not
    /// known; faults have all ended once it is `calm`.
    fn was_paused(&self, queue: &str, from: Duration, calm: bool) -> bool {
        let told = !self.paused.is_empty() || !self.resumed.is_empty();
        if self.pause_met && !told && !calm {
            return true;
        }
        self.paused.contains(queue) || self.resumed.get(queue).is_some_and(|end| *end >= from)
    }
}

impl Checker {
    /// The leader wrote records. Where nobody shows pictures, that is how it is known to decide.
    pub(super) fn decides_unseen(&mut self, at: Duration) {
        if !self.expect.pictures {
            self.pictured = at;
            self.shown.deciding.get_or_insert(at);
        }
    }

    /// What a replica's admin surface shows after a pass.
    pub fn picture(&mut self, at: Duration, replica: usize, picture: &Picture) {
        self.catch_up(at);
        self.counts.pictures += 1;
        // What a deposed leader still shows, nobody looks at.
        if picture.term.0 != self.store.term || self.store.term == 0 {
            return;
        }
        self.pictured = at;
        self.shown.number += 1;
        self.shown.replica = replica;
        if !picture.decides {
            self.shown.deciding = None;
            return;
        }
        let deciding = *self.shown.deciding.get_or_insert(at);
        for (job, reason) in &picture.waiting {
            let ix = self.seen.job(job.id.0);
            self.show(at, ix, reason);
        }
        let number = self.shown.number;
        let silent: Vec<JobIx> = self
            .store
            .booked
            .iter()
            .copied()
            .filter(|ix| {
                self.seen[*ix]
                    .shown
                    .as_ref()
                    .is_none_or(|shown| shown.picture != number)
            })
            .collect();
        for ix in silent {
            let bound = self.expect.reason;
            let job = &mut self.seen[ix];
            job.shown = None;
            if job.missing.is_none() {
                job.missing = Some(at.max(deciding));
                self.timers.set(at + bound, Timer::Reason(ix));
            }
        }
    }

    fn show(&mut self, at: Duration, ix: JobIx, reason: &Reason) {
        let kind = reason.kind();
        let number = self.shown.number;
        let machine = match reason {
            Reason::Booting { machine, .. } | Reason::Replacing(machine) => Some(machine),
            _ => None,
        };
        let job = &mut self.seen[ix];
        job.missing = None;
        match &mut job.shown {
            Some(shown) if shown.kind == kind => {
                shown.picture = number;
                if shown.machine.as_ref() != machine {
                    shown.machine = machine.cloned();
                    shown.since = at;
                    shown.doubted = None;
                    self.timers
                        .set(at + self.expect.reason, Timer::True(ix, kind, at));
                }
            }
            shown => {
                *shown = Some(ShownReason {
                    kind,
                    since: at,
                    picture: number,
                    machine: machine.cloned(),
                    doubted: None,
                });
                self.timers
                    .set(at + self.expect.reason, Timer::True(ix, kind, at));
                self.timers.set(at + self.expect.note, Timer::Told(ix, kind, at));
            }
        }
        self.figures(at, ix, reason);
    }

    /// Figures that must be the world's at once.
    fn figures(&mut self, at: Duration, ix: JobIx, reason: &Reason) {
        let what = match reason {
            Reason::Quota { shortage, .. } => {
                let from = self.quota_since(at);
                let region = shortage.region.as_ref().map(gust_core::ids::Region::as_str);
                let metric = shortage.metric.as_str();
                if self.quotas.had(region, metric, shortage.limit, from) != Some(false) {
                    return;
                }
                format!("the limit of {metric} is not {}", shortage.limit)
            }
            Reason::Slot { slots, .. } if *slots != self.expect.bulk_slots => {
                format!("Google does not allow {slots} bulk operations")
            }
            Reason::Stopped { .. } if !self.was_stopped(at) => "the operator has not paused gust".to_owned(),
            Reason::Cordoned if !self.was_cordoned(at) => "the operator has closed no place".to_owned(),
            Reason::Paused(queue) => {
                let from = if self.calm.lasts(at, self.expect.pause_memory) {
                    at.saturating_sub(self.expect.pause_memory)
                } else {
                    Duration::ZERO
                };
                let calm = from > Duration::ZERO && !self.calm.faultless();
                if self.shown.was_paused(queue.as_str(), from, calm) {
                    return;
                }
                format!("queue {queue} is not paused")
            }
            _ => return,
        };
        let what = format!("job {}: its reason is `{reason}`, and {what}", self.seen[ix].id);
        self.violate(at, Invariant::Reasons, what, &[ix], &[]);
    }

    /// A note is on a job's timeline.
    pub(super) fn job_notified(&mut self, event: &Event) {
        if let Some(ix) = self.seen.job_of(event) {
            self.told(ix, text(event, "detail").unwrap_or_default());
        }
    }

    /// A note stands in a job's annotation: over GraphQL.
    pub fn annotated(&mut self, job: Uuid, text: &str) {
        let ix = self.seen.job(job);
        self.told(ix, text);
    }

    fn told(&mut self, ix: JobIx, text: &str) {
        let job = &mut self.seen[ix];
        job.notes += 1;
        job.told = kind_told(text);
    }

    pub(super) fn reason_is_due(&mut self, at: Duration, ix: JobIx) {
        let job = &self.seen[ix];
        let (Some((booked, _)), Some(deciding)) = (job.booked, self.shown.deciding) else {
            // Without a leader that decides nobody is to blame; its first picture looks again.
            return;
        };
        if job.shown.is_some() || !job.state.is_waiting() || !self.expect.pictures {
            return;
        }
        let since = booked.max(deciding).max(job.missing.unwrap_or_default());
        let rough = if self.calm.lasts(at, Duration::ZERO) {
            Duration::ZERO
        } else {
            ROUGH
        };
        let deadline = since + self.expect.reason + rough;
        if at < deadline {
            return self.timers.set(deadline, Timer::Reason(ix));
        }
        // A leader whose store is away records nothing, and so shows nothing: its next picture is
        // what is judged.
        if !self.calm.lasts(at, Duration::ZERO) && self.pictured < since + self.expect.reason {
            return self.timers.set(at + AGAIN, Timer::Reason(ix));
        }
        let what = format!("job {} waits without a reason since {since:?}", job.id);
        self.violate(at, Invariant::Reasons, what, &[ix], &[]);
    }

    /// A reason stands: what it names must be there by now.
    pub(super) fn truth_is_due(&mut self, at: Duration, ix: JobIx, kind: Kind, since: Duration) {
        if !self.stands(ix, kind, since) {
            return;
        }
        if self.shown.deciding.is_none() {
            return self.timers.set(at + AGAIN, Timer::True(ix, kind, since));
        }
        let named = self.seen[ix]
            .shown
            .as_ref()
            .and_then(|shown| shown.machine.clone());
        let is_there = match (kind, named) {
            (Kind::Booting, Some(name)) => self.store.is_coming(&name),
            (Kind::Replacing, Some(name)) => self
                .store
                .book
                .machines()
                .get(&name)
                .is_some_and(|record| matches!(record.phase, MachinePhase::Deleting { .. })),
            (Kind::Creating, _) => self.something_is_coming(ix),
            _ => true,
        };
        // It may have gone a moment ago, and the next picture says so: only what stays wrong is wrong.
        let Some(shown) = &mut self.seen[ix].shown else {
            return;
        };
        let doubted = if is_there {
            shown.doubted = None;
            return;
        } else {
            *shown.doubted.get_or_insert(at)
        };
        let deadline = self.calm.deadline(doubted, self.expect.reason);
        match deadline {
            Some(deadline) if deadline <= at => {
                let what = format!(
                    "job {} is shown as {kind:?} since {since:?}, and the store holds no such machine",
                    self.seen[ix].id
                );
                self.violate(at, Invariant::Reasons, what, &[ix], &[]);
            }
            Some(deadline) => self.timers.set(deadline, Timer::True(ix, kind, since)),
            None => self.timers.set(at + AGAIN, Timer::True(ix, kind, since)),
        }
    }

    /// Some machine that could be claimed for a job's request is coming.
    fn something_is_coming(&self, ix: JobIx) -> bool {
        let job = &self.seen[ix];
        if job.uncovered.is_none() {
            return true;
        }
        // Not its own: then one of the same request, made for a job with the same tags.
        let book = &self.store.book;
        let alike = |other: &gust_core::ids::JobRef| {
            book.jobs().get(other).is_none_or(|record| {
                let own = self.record_of(ix);
                own.is_some_and(|own| own.facts.rules == record.facts.rules)
            })
        };
        let members = book.batches().values().flat_map(|batch| &batch.members);
        members
            .filter(|member| !book.machines().contains_key(&member.name))
            .any(|member| alike(&member.job))
            || book
                .machines()
                .values()
                .filter(|machine| matches!(machine.phase, MachinePhase::Booting))
                .any(|machine| machine.made_for.as_ref().is_some_and(alike))
    }

    /// A reason stands: its kind must be told by now.
    pub(super) fn note_is_due(&mut self, at: Duration, ix: JobIx, kind: Kind, since: Duration) {
        let job = &self.seen[ix];
        let told = job.told == Some(kind) || job.notes >= MANY_NOTES;
        if told || !self.stands(ix, kind, since) {
            return;
        }
        if self.shown.deciding.is_none() {
            return self.timers.set(at + AGAIN, Timer::Told(ix, kind, since));
        }
        match self.calm.deadline(since, self.expect.note) {
            Some(deadline) if deadline <= at => {
                let what = format!(
                    "job {} waits for another kind of reason ({kind:?}) since {since:?}, and Buildkite was not told",
                    job.id
                );
                self.violate(at, Invariant::Reasons, what, &[ix], &[]);
            }
            Some(deadline) => self.timers.set(deadline, Timer::Told(ix, kind, since)),
            None => self.timers.set(at + AGAIN, Timer::Told(ix, kind, since)),
        }
    }

    /// The job still waits for this reason, the same since then.
    fn stands(&self, ix: JobIx, kind: Kind, since: Duration) -> bool {
        let job = &self.seen[ix];
        let same = |shown: &ShownReason| shown.kind == kind && shown.since == since;
        job.state.is_waiting() && job.booked.is_some() && job.shown.as_ref().is_some_and(same)
    }
}

/// The kind of reason that a note tells; none for other notes.
pub(super) fn kind_told(detail: &str) -> Option<Kind> {
    let kinds = [
        ("placed on ", Kind::Creating),
        ("waiting for a bulk operation", Kind::Slot),
        ("waiting: the operator took", Kind::Cordoned),
        ("waiting: the operator paused", Kind::Stopped),
        ("waiting: Buildkite holds", Kind::HeldByBuildkite),
        ("waiting: queue ", Kind::Paused),
        ("waiting until machine ", Kind::Replacing),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(words, _)| detail.starts_with(words)) {
        return Some(*kind);
    }
    if detail.starts_with("machine ") && detail.contains(" boots: ") {
        return Some(Kind::Booting);
    }
    let waits = detail.starts_with("waiting for ");
    match () {
        () if waits && detail.contains(": another replica ") => Some(Kind::Unowned),
        () if detail.starts_with("waiting for cap ") => Some(Kind::Capped),
        () if waits && detail.contains(" used") => Some(Kind::Quota),
        () if waits && detail.contains(": refused by Google (") => Some(Kind::Held),
        () => None,
    }
}
