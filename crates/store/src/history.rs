//! How much history is kept.

use std::time::Duration;

use gust_core::time::Timestamp;

/// Bounds on the summaries of ended jobs. What exceeds them goes in the commit that adds to them, oldest end
/// first, so that no store grows without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBounds {
    /// Most summaries.
    pub most: u64,
    /// Greatest time since the end of the job.
    pub age: Duration,
}

impl Default for HistoryBounds {
    /// 100,000 jobs, 30 days.
    fn default() -> Self {
        Self {
            most: 100_000,
            age: Duration::from_hours(30 * 24),
        }
    }
}

impl HistoryBounds {
    /// Jobs that ended before this moment are forgotten.
    pub fn oldest(&self, now: Timestamp) -> Timestamp {
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_sub(age))
    }

    /// True for a summary that must go, given how many there are.
    pub fn exceeds(&self, ended_at: Timestamp, count: u64, now: Timestamp) -> bool {
        count > self.most || ended_at < self.oldest(now)
    }
}
