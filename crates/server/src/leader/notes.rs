//! What developers are told on their jobs' timelines: each change of the kind of reason at once, new figures
//! after 1, 2, 5, 10 … minutes.

mod ration;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use gust_core::{
    ids::{JobRef, SourceName},
    ports::Notification,
    reason::{Kind, Reason},
    time::Timestamp,
};

use ration::{Class, Ration, pause_after, refresh_after};

/// Jobs that have ended of which notes are kept, for the admin API.
const PAST: usize = 2_000;
/// Longest note, in characters.
const LONGEST: usize = 256;
/// A loss so long after the pause for the one before is the first of a row.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What was told of a job that has not ended.
#[derive(Debug, Default)]
struct Told {
    /// The kind of the reason it has.
    kind: Option<Kind>,
    /// Changes of that kind that are not told yet.
    changes: u32,
    /// The text of its reason as it was told last, when that was looked at last, and how often without a change of kind.
    text: String,
    at: Timestamp,
    refreshes: u32,
    ration: Ration,
    /// Class of what was told last.
    class: Option<Class>,
    /// Notes that were lost in a row, and until when nothing is told for that.
    losses: u32,
    quiet_until: Timestamp,
    /// All that was told, oldest first; at most as much as Buildkite takes.
    log: Vec<(Timestamp, String)>,
}

impl Told {
    /// The note that is due now that it has this reason.
    fn due(&mut self, reason: &Reason, now: Timestamp) -> Option<String> {
        let kind = reason.kind();
        if self.kind.replace(kind) != Some(kind) {
            self.changes += 1;
        }
        let class = match self.changes {
            0 => Class::Figures,
            _ => Class::of(kind),
        };
        if now < self.quiet_until
            || class == Class::Figures && now.since(self.at) < refresh_after(self.refreshes)
            || !self.ration.may(class, now)
        {
            return None;
        }
        let text = reason.to_string();
        let is_news = class != Class::Figures || text != self.text;
        // Where there is nothing new it is looked at again after the next, longer pause.
        self.refreshes = match class {
            Class::Figures => self.refreshes + 1,
            _ => 0,
        };
        (self.text, self.at) = (text, now);
        let between = std::mem::take(&mut self.changes).saturating_sub(1);
        is_news.then(|| {
            self.spend(class, now);
            with_changes(&self.text, between)
        })
    }

    fn spend(&mut self, class: Class, now: Timestamp) {
        self.ration.spend(class, now);
        self.class = Some(class);
    }

    /// A note was lost. If it was the last, its kind of reason counts as not told.
    fn lost(&mut self, note: &Notification, unclear: bool, now: Timestamp) {
        let is_it =
            |(at, text): &(Timestamp, String)| note.at == Some(*at) && crop(text, LONGEST) == note.detail;
        let Some(place) = self.log.iter().rposition(is_it) else {
            return;
        };
        self.log.remove(place);
        // What was told since then tells more.
        if place < self.log.len() {
            return;
        }
        if let Some(class) = self.class.take().filter(|_| !unclear) {
            self.ration.refund(class);
        }
        self.kind = None;
        if now.since(self.quiet_until) > FORGIVEN {
            self.losses = 0;
        }
        self.losses += 1;
        self.quiet_until = now.after(pause_after(self.losses));
    }
}

/// Notes that are due, and what was told before.
///
/// # Guarantees
/// Of one job no more is told than Buildkite takes, whatever its reasons do, and what [`Notes::say`] says has a share
/// that no reason uses up. The last kind of a reason that stays is told, at the latest after a pause that doubles with each
/// change once there were many; changes that were not told are counted in it. One that was lost on its way is told again
/// while it is so, and what may have arrived all the same is spent.
///
/// # Assumptions
/// The count is this leader's own. A successor does not know it and begins with little ([`Notes::inherit`]); what is over
/// Buildkite's limit after many of them is refused there.
#[derive(Debug, Default)]
pub(super) struct Notes {
    told: BTreeMap<JobRef, Told>,
    due: BTreeMap<SourceName, Vec<Notification>>,
    /// What was told of jobs that have ended since, oldest first.
    past: VecDeque<(JobRef, Vec<(Timestamp, String)>)>,
}

impl Notes {
    /// Jobs that an earlier leader took in, and told of.
    pub fn inherit<'j>(&mut self, jobs: impl Iterator<Item = &'j JobRef>) {
        let inherited = || Told {
            ration: Ration::inherited(),
            ..Told::default()
        };
        self.told.extend(jobs.map(|job| (job.clone(), inherited())));
    }

    /// The reason of this pass.
    pub fn reason(&mut self, job: &JobRef, reason: &Reason, now: Timestamp) {
        if self.told.get(job).is_none_or(|told| told.kind.is_none()) {
            self.told.entry(job.clone()).or_default();
        } else if gust_core::mutant!("reason-not-updated") {
            return;
        }
        let due = self.told.get_mut(job).and_then(|told| told.due(reason, now));
        if let Some(text) = due {
            self.put(job, text, now);
        }
    }

    /// Something else worth telling, once.
    pub fn say(&mut self, job: &JobRef, text: String, now: Timestamp) {
        let told = self.told.entry(job.clone()).or_default();
        let is_told = told.log.last().is_some_and(|(_, last)| *last == text);
        if is_told || !told.ration.may(Class::Once, now) {
            return;
        }
        told.spend(Class::Once, now);
        // The reason it has is told again after it, since the timeline would else end with something that is over.
        told.kind = None;
        self.put(job, text, now);
    }

    /// These were sent and did not arrive, or only perhaps: where it is `unclear`, Buildkite may count them.
    pub fn lost(&mut self, source: &SourceName, notes: &[Notification], unclear: bool, now: Timestamp) {
        for note in notes {
            let job = JobRef {
                source: source.clone(),
                id: note.job,
            };
            if let Some(told) = self.told.get_mut(&job) {
                told.lost(note, unclear, now);
            }
        }
    }

    /// The job is over.
    pub fn forget(&mut self, job: &JobRef) {
        if let Some(told) = self.told.remove(job) {
            self.past.push_back((job.clone(), told.log));
            if self.past.len() > PAST {
                self.past.pop_front();
            }
        }
    }

    /// What was told of a job, oldest first; of jobs that have ended for a while.
    pub fn told(&self, job: &JobRef) -> Vec<(Timestamp, String)> {
        let past = || self.past.iter().rev().find(|(past, _)| past == job);
        let told = self.told.get(job).map(|told| &told.log);
        told.or_else(|| past().map(|(_, log)| log))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes what is due, by source.
    pub fn take(&mut self) -> BTreeMap<SourceName, Vec<Notification>> {
        std::mem::take(&mut self.due)
    }

    fn put(&mut self, job: &JobRef, text: String, now: Timestamp) {
        let due = self.due.entry(job.source.clone()).or_default();
        due.push(Notification {
            job: job.id,
            detail: crop(&text, LONGEST),
            at: Some(now),
        });
        if let Some(told) = self.told.get_mut(job) {
            told.log.push((now, text));
        }
    }
}

/// A reason as it is told, with the changes before it that were not: those have room even where the text is cut.
fn with_changes(text: &str, between: u32) -> String {
    if between == 0 {
        return text.to_owned();
    }
    let s = if between == 1 { "" } else { "s" };
    let changes = format!(" ({between} other change{s} since the last note)");
    crop(text, LONGEST - changes.chars().count()) + &changes
}

// At a word, with an ellipsis.
fn crop(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most - 1).collect();
    let cut = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
    format!("{cut}…")
}

#[cfg(test)]
mod tests;
