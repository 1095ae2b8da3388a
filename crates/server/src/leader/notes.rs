//! What developers are told on their jobs' timelines: each change of the kind of reason at once, new figures
//! after 1, 2, 5, 10 … minutes.

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

/// Most notes Buildkite takes for one job; the last ones are kept for changes of kind.
const MOST: u32 = 100;
const KEPT_FOR_KINDS: u32 = 20;
/// Jobs that have ended of which notes are kept, for the admin API.
const PAST: usize = 2_000;
/// Longest note, in characters.
const LONGEST: usize = 256;

#[derive(Debug)]
struct Told {
    kind: Option<Kind>,
    text: String,
    at: Timestamp,
    refreshes: u32,
    sent: u32,
    /// All that was told, oldest first; at most as much as Buildkite takes.
    log: Vec<(Timestamp, String)>,
}

/// Notes that are due, and what was told before.
#[derive(Debug, Default)]
pub(super) struct Notes {
    told: BTreeMap<JobRef, Told>,
    due: BTreeMap<SourceName, Vec<Notification>>,
    /// What was told of jobs that have ended since, oldest first.
    past: VecDeque<(JobRef, Vec<(Timestamp, String)>)>,
}

impl Notes {
    /// The reason of this pass.
    pub fn reason(&mut self, job: &JobRef, reason: &Reason, now: Timestamp) {
        let kind = reason.kind();
        if gust_core::mutant!("reason-not-updated") && self.told.contains_key(job) {
            return;
        }
        let Some(told) = self.told.get(job) else {
            self.put(job, Some(kind), reason.to_string(), now, 0);
            return;
        };
        if told.kind != Some(kind) {
            if told.sent < MOST {
                self.put(job, Some(kind), reason.to_string(), now, 0);
            }
        } else if now.since(told.at) >= pause(told.refreshes) && told.sent < MOST - KEPT_FOR_KINDS {
            let text = reason.to_string();
            let refreshes = told.refreshes + 1;
            if text == told.text {
                // Nothing new: look again after the next, longer pause.
                if let Some(told) = self.told.get_mut(job) {
                    (told.at, told.refreshes) = (now, refreshes);
                }
            } else {
                self.put(job, Some(kind), text, now, refreshes);
            }
        }
    }

    /// Something else worth telling, once.
    pub fn say(&mut self, job: &JobRef, text: String, now: Timestamp) {
        if self
            .told
            .get(job)
            .is_none_or(|told| told.text != text && told.sent < MOST)
        {
            self.put(job, None, text, now, 0);
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

    fn put(&mut self, job: &JobRef, kind: Option<Kind>, text: String, now: Timestamp, refreshes: u32) {
        let detail = crop(&text);
        self.due
            .entry(job.source.clone())
            .or_default()
            .push(Notification {
                job: job.id,
                detail,
                at: Some(now),
            });
        let (sent, mut log) = self.told.get_mut(job).map_or((1, Vec::new()), |told| {
            (told.sent + 1, std::mem::take(&mut told.log))
        });
        log.push((now, text.clone()));
        self.told.insert(
            job.clone(),
            Told {
                kind,
                text,
                at: now,
                refreshes,
                sent,
                log,
            },
        );
    }
}

fn pause(refreshes: u32) -> Duration {
    Duration::from_secs(
        60 * match refreshes {
            0 => 1,
            1 => 2,
            2 => 5,
            _ => 10,
        },
    )
}

// At a word, with an ellipsis.
fn crop(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    let cut = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use gust_core::ids::JobId;

    use super::*;

    fn job() -> JobRef {
        JobRef {
            source: "s".into(),
            id: JobId(uuid::Uuid::nil()),
        }
    }

    #[test]
    fn a_change_of_kind_is_told_at_once_and_figures_only_now_and_then() {
        let mut notes = Notes::default();
        let slot = |slots| Reason::Slot {
            project: "p".into(),
            slots,
        };
        notes.reason(&job(), &slot(10), Timestamp(0));
        notes.reason(&job(), &slot(11), Timestamp(59_000));
        assert_eq!(notes.take().len(), 1);
        notes.reason(&job(), &slot(12), Timestamp(60_000));
        notes.reason(&job(), &slot(13), Timestamp(120_000));
        let due: Vec<_> = notes
            .take()
            .into_values()
            .flatten()
            .map(|note| note.detail)
            .collect();
        assert_eq!(due.len(), 1, "{due:?}");
        notes.reason(&job(), &Reason::Cordoned, Timestamp(120_001));
        assert_eq!(notes.take().len(), 1);
    }

    #[test]
    fn flapping_reasons_never_exhaust_the_budget() {
        let mut notes = Notes::default();
        let mut sent = 0;
        for i in 0..1000 {
            let reason = if i % 2 == 0 {
                Reason::Cordoned
            } else {
                Reason::Paused("q".into())
            };
            notes.reason(&job(), &reason, Timestamp(i));
            sent += notes.take().into_values().flatten().count();
        }
        assert_eq!(sent, MOST as usize);
    }

    #[test]
    fn long_notes_are_cut_at_a_word() {
        let text = crop(&"word ".repeat(100));
        assert!(
            text.chars().count() <= LONGEST && text.ends_with("word…"),
            "{text}"
        );
    }
}
