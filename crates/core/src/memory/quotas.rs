//! Quotas that Google says are used up, whatever its own figures show.
//!
//! Some quotas are in no list that can be read (those by family among them), and the lists lag. A refusal names metric
//! and often limit: both are kept.

use std::{collections::BTreeMap, time::Duration};

use super::patience;
use crate::{
    ids::{ProjectId, Shard},
    quota::Metric,
    time::Timestamp,
};

/// How long a limit that a refusal told is remembered. A raised one is met earlier: now and then one machine more is asked
/// for.
const BELIEVED: Duration = Duration::from_secs(3600);
/// So soon at the latest one machine finds out whether a limit that a refusal told still holds.
const TRIED: Duration = Duration::from_secs(60);

/// What a refusal taught about one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Refusals in a row.
    pub times: u32,
    /// Until when no more than `ceiling` is promised.
    pub until: Timestamp,
    /// What our records promised when it was refused, in the metric's unit: so much there was.
    pub ceiling: u64,
    /// The limit, where it was told, in the metric's unit.
    pub limit: Option<u64>,
    /// When it was refused last.
    pub at: Timestamp,
}

impl Lesson {
    /// The most that may be promised at present, in the metric's unit.
    pub fn most(&self, now: Timestamp) -> Option<u64> {
        (self.until > now).then_some(self.ceiling)
    }
}

/// Where a metric is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Shard(Shard),
    Project(ProjectId),
}

fn scope(shard: &Shard, metric: &Metric) -> Scope {
    if metric.is_project_wide() {
        Scope::Project(shard.project.clone())
    } else {
        Scope::Shard(shard.clone())
    }
}

/// All metrics that were refused lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exhausted(BTreeMap<Scope, BTreeMap<Metric, Lesson>>);

impl Exhausted {
    /// A metric was refused, when our records promised so much of it besides what was refused.
    pub fn refused(
        &mut self,
        shard: &Shard,
        metric: Metric,
        limit: Option<u64>,
        promised: u64,
        (now, base): (Timestamp, Duration),
    ) {
        let lessons = self.0.entry(scope(shard, &metric)).or_default();
        let known = lessons.get(&metric);
        if let Some(known) = known.filter(|known| known.until > now) {
            // One shortage, met by several batches that were under way.
            let ceiling = known.ceiling.min(promised);
            let limit = limit.or(known.limit);
            lessons.insert(
                metric,
                Lesson {
                    ceiling,
                    limit,
                    at: now,
                    ..*known
                },
            );
            return;
        }
        let times = known.map_or(0, |known| known.times) + 1;
        let limit = limit.or(known.and_then(|known| known.limit));
        // Where no limit was told, all is tried again at once: that may wait longer.
        let longest = limit.map_or(Duration::MAX, |_| TRIED.max(base));
        let lesson = Lesson {
            times,
            until: now.after(patience(base, times).min(longest)),
            ceiling: promised,
            limit,
            at: now,
        };
        lessons.insert(metric, lesson);
    }

    /// Machines came to be that use a metric, and our records promise so much of it: a smaller limit has been raised.
    pub fn made(&mut self, shard: &Shard, metric: &Metric, promised: u64) {
        if let Some(lessons) = self.0.get_mut(&scope(shard, metric)) {
            let outlived = |lesson: &Lesson| lesson.limit.is_some_and(|limit| limit < promised);
            if lessons.get(metric).is_some_and(outlived) {
                lessons.remove(metric);
            }
        }
    }

    /// What is known of the metrics of a shard, or of those over all regions of its project.
    pub fn of<'a>(
        &'a self,
        shard: &Shard,
        project_wide: bool,
    ) -> impl Iterator<Item = (&'a Metric, &'a Lesson)> {
        let scope = if project_wide {
            Scope::Project(shard.project.clone())
        } else {
            Scope::Shard(shard.clone())
        };
        self.0.get(&scope).into_iter().flatten()
    }

    /// Lets go of what is long over.
    pub fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, lessons| {
            lessons.retain(|_, lesson| now.since(lesson.at) < BELIEVED);
            !lessons.is_empty()
        });
    }
}
