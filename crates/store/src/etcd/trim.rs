//! Which summaries go in the transaction that adds others.
//!
//! Only the leader writes history, so what it read once and counted since stays true. A page of the oldest is
//! read when the last one is used up; so the work of a commit does not grow with the history.

use std::collections::VecDeque;

use gust_core::time::Timestamp;

use super::{
    layout::Layout,
    pack::{MOST_WRITES, Writes},
    wire::{Found, Keys, Op, Range, Txn},
};
use crate::HistoryBounds;

/// Summaries in a page: as many as one transaction can check, and remove with their two keys.
const PAGE: usize = 60;

/// A summary that is among the oldest.
#[derive(Debug)]
struct Old {
    ended_at: Timestamp,
    by_end: String,
    /// Nothing if the job has a newer summary: then only this place in the order is given up.
    summary: Option<String>,
}

/// What is known of the history.
#[derive(Debug, Default)]
pub(super) struct Trimmer {
    /// How many there are; nothing before it was read.
    count: Option<u64>,
    oldest: VecDeque<Old>,
    /// No summary that is not in `oldest` ended before this; nothing if there is no such summary.
    rest: Option<Timestamp>,
}

/// The read that shows the oldest, and how many there are.
pub(super) fn oldest(layout: &Layout) -> Range {
    Range {
        limit: PAGE,
        keys_only: true,
        ..Range::all(layout.history_by_end())
    }
}

/// The reads that show which of the places found are those of the jobs' last summaries.
pub(super) fn summaries(layout: &Layout, found: &Found) -> Txn {
    let keys = found.kvs.iter().filter_map(|kv| layout.parse_by_end(&kv.key));
    let read = |(summary, _): (String, _)| {
        Op::Range(Range {
            keys_only: true,
            ..Range::all(Keys::one(summary))
        })
    };
    Txn {
        success: keys.map(read).collect(),
        ..Txn::default()
    }
}

impl Trimmer {
    /// True if the oldest must be read before it can be said what exceeds the bounds.
    pub fn must_look(&self, bounds: HistoryBounds, now: Timestamp, adding: u64) -> bool {
        let Some(count) = self.count else {
            return true;
        };
        let Some(rest) = self.rest else {
            return false;
        };
        let first = self
            .oldest
            .front()
            .map_or(Timestamp(i64::MAX), |old| old.ended_at);
        rest < first && bounds.exceeds(rest, count + adding, now)
    }

    /// Takes in what was read.
    pub fn looked(&mut self, layout: &Layout, found: &Found, summaries: &[Found]) {
        self.count = Some(found.count);
        self.rest = None;
        self.oldest.clear();
        let places = found.kvs.iter();
        let known = places.filter_map(|kv| layout.parse_by_end(&kv.key).map(|parsed| (kv, parsed)));
        for ((place, (summary, ended_at)), there) in known.zip(summaries) {
            // Both keys are written by one transaction.
            let last = there.kvs.first().map(|kv| kv.mod_revision) == Some(place.mod_revision);
            self.oldest.push_back(Old {
                ended_at,
                by_end: place.key.clone(),
                summary: last.then_some(summary),
            });
            if found.more {
                self.rest = Some(ended_at);
            }
        }
    }

    /// Counts the summaries that `writes` add, and adds the removal of those that exceed the bounds, to the last
    /// part if they fit.
    pub fn trim(&mut self, layout: &Layout, bounds: HistoryBounds, now: Timestamp, parts: &mut Vec<Writes>) {
        let Some(count) = &mut self.count else {
            return;
        };
        let mut added = 0;
        for key in parts.iter().flat_map(|part| part.keys()) {
            let Some((summary, ended_at)) = layout.parse_by_end(key) else {
                continue;
            };
            added += 1;
            self.rest = Some(self.rest.map_or(ended_at, |rest| rest.min(ended_at)));
            self.oldest.retain(|old| old.by_end != *key);
            for old in &mut self.oldest {
                old.summary.take_if(|old| *old == summary);
            }
        }
        *count += added;
        let mut removals = Writes::new();
        for _ in 0..2 * added + 10 {
            let Some(old) = self.oldest.front() else {
                break;
            };
            if removals.len() + 2 > MOST_WRITES || !bounds.exceeds(old.ended_at, *count, now) {
                break;
            }
            *count = count.saturating_sub(1);
            removals.insert(old.by_end.clone(), None);
            removals.extend(old.summary.clone().map(|summary| (summary, None)));
            self.oldest.pop_front();
        }
        match parts.last_mut() {
            Some(last) if last.len() + removals.len() <= MOST_WRITES => last.extend(removals),
            _ => parts.push(removals),
        }
    }
}
