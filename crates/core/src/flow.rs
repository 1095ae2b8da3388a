//! How fast quotas come back: from that follows about how long who waits for one will wait.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    ids::{ProjectId, Region, Shard},
    quota::{Metric, Usage},
    time::Timestamp,
};

/// Minutes that count.
const WINDOW: i64 = 10;
const MINUTE_MS: i64 = 60_000;

type Key = (ProjectId, Option<Region>, Metric);

/// What machines that ended gave back of each metric in the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// By minute since the Unix epoch, oldest first.
    freed: BTreeMap<Key, VecDeque<(i64, u64)>>,
    /// The first minute that was watched.
    since: Option<i64>,
}

impl Flow {
    /// A machine of a shard ended.
    pub fn freed(&mut self, shard: &Shard, usage: &Usage, now: Timestamp) {
        let minute = now.0.div_euclid(MINUTE_MS);
        let since = *self.since.get_or_insert(minute);
        // A clock that stepped back begins anew.
        if since > minute {
            self.freed.clear();
            self.since = Some(minute);
        }
        for (metric, amount) in &usage.0 {
            let minutes = self.freed.entry(key(shard, metric)).or_default();
            match minutes.back_mut() {
                Some((last, sum)) if *last == minute => *sum += amount,
                _ => minutes.push_back((minute, *amount)),
            }
            while minutes.front().is_some_and(|(at, _)| minute - at >= WINDOW) {
                minutes.pop_front();
            }
        }
    }

    /// About how many minutes it takes until so much of a metric has come back, at the pace of the last ten minutes.
    /// Nothing is said while it was watched for less than a minute, or nothing came back.
    pub fn minutes_until(&self, shard: &Shard, metric: &Metric, amount: u64, now: Timestamp) -> Option<u32> {
        let minute = now.0.div_euclid(MINUTE_MS);
        let watched = (minute - self.since?).clamp(0, WINDOW);
        let minutes = self.freed.get(&key(shard, metric))?;
        // The minute that runs is not over, and counts for nothing.
        let whole = minutes
            .iter()
            .filter(|(at, _)| *at < minute && minute - at <= WINDOW);
        let sum: u64 = whole.map(|(_, sum)| sum).sum();
        if watched == 0 || sum == 0 {
            return None;
        }
        let minutes = amount.saturating_mul(watched.unsigned_abs()).div_ceil(sum);
        Some(u32::try_from(minutes).unwrap_or(u32::MAX).max(1))
    }
}

fn key(shard: &Shard, metric: &Metric) -> Key {
    let region = (!metric.is_project_wide()).then(|| shard.region.clone());
    (shard.project.clone(), region, metric.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        Shard {
            project: "ci".into(),
            region: "r1".into(),
        }
    }

    fn at(minute: i64, second: i64) -> Timestamp {
        Timestamp((1_000 + minute) * MINUTE_MS + second * 1000)
    }

    #[test]
    fn what_came_back_in_whole_minutes_tells_how_long_the_rest_takes() {
        let (mut flow, cpus) = (Flow::default(), Metric::new("CPUS"));
        let usage = Usage(vec![(cpus.clone(), 16)]);
        let until = |flow: &Flow, amount, now| flow.minutes_until(&shard(), &cpus, amount, now);
        assert_eq!(until(&flow, 16, at(0, 0)), None, "nothing was seen yet");
        flow.freed(&shard(), &usage, at(0, 10));
        assert_eq!(until(&flow, 16, at(0, 50)), None, "not a minute was watched");
        flow.freed(&shard(), &usage, at(1, 0));
        // 32 in two minutes.
        assert_eq!(until(&flow, 16, at(2, 0)), Some(1));
        assert_eq!(until(&flow, 160, at(2, 0)), Some(10));
        // What is older than the window says nothing any more.
        assert_eq!(until(&flow, 16, at(30, 0)), None);
    }

    #[test]
    fn quotas_over_all_regions_are_watched_together() {
        let (mut flow, wide) = (Flow::default(), Metric::new("CPUS_ALL_REGIONS"));
        let usage = Usage(vec![(wide.clone(), 8)]);
        let other = Shard {
            region: "r2".into(),
            ..shard()
        };
        flow.freed(&shard(), &usage, at(0, 0));
        flow.freed(&other, &usage, at(0, 30));
        assert_eq!(flow.minutes_until(&other, &wide, 32, at(1, 0)), Some(2));
    }
}
