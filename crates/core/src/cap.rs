//! Caps: how much of everything some pipelines may use, in vCPUs at a time and in dollars a day.

use serde::{Deserialize, Serialize};

use crate::{offer::Expectation, shape::Price, time::Timestamp};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// An operator's bound on some pipelines together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Its name, which developers are told.
    pub name: String,
    /// Slugs of the pipelines; `ml-*` means all that begin so. All of them if empty.
    pub pipelines: Vec<String>,
    /// vCPUs at a time.
    pub vcpus: Option<u64>,
    /// Spend a day (UTC), in millionths of a dollar.
    pub micro_usd_per_day: Option<u64>,
}

impl Cap {
    /// Whether it bounds a pipeline.
    pub fn covers(&self, pipeline: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => pipeline.starts_with(start),
            None => pattern == pipeline,
        };
        self.pipelines.is_empty() || self.pipelines.iter().any(matches)
    }
}

/// A day in UTC, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i64);

impl Day {
    /// The day of a moment.
    pub fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(DAY_MS))
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(DAY_MS))
    }

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What a machine cost on the day of `until`, in millionths of a dollar. Google charges a minute at least.
pub fn cost_today(price: Price, from: Timestamp, until: Timestamp) -> u64 {
    let begin = from.max(Day::of(until).start());
    let seconds = until.since(begin).as_secs();
    let least = if begin == from { 60 } else { 0 };
    price.cost_micro_usd(seconds.max(least))
}

/// What a job is expected to cost on a machine of this price, in millionths of a dollar: what is promised for it until
/// more is known.
pub fn expected_cost(price: Price) -> u64 {
    price.cost_micro_usd(Expectation::default().paid_s())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(pipelines: &[&str]) -> Cap {
        Cap {
            name: "ml".to_owned(),
            pipelines: pipelines.iter().map(|p| (*p).to_owned()).collect(),
            vcpus: None,
            micro_usd_per_day: None,
        }
    }

    #[test]
    fn a_cap_covers_what_its_patterns_say() {
        assert!(cap(&[]).covers("anything") && cap(&["*"]).covers("anything"));
        let some = cap(&["train", "ml-*"]);
        assert!(some.covers("train") && some.covers("ml-a") && some.covers("ml-"));
        assert!(!some.covers("training") && !some.covers("ml"));
    }

    #[test]
    fn a_machine_that_ran_over_midnight_costs_today_what_it_ran_today() {
        let midnight = Day::of(Timestamp(1_800_000_000_000)).next().start();
        let hour = std::time::Duration::from_secs(3600);
        let price = Price(1_000_000);
        assert_eq!(
            cost_today(price, midnight.before(hour), midnight.after(hour)),
            1_000_000
        );
        assert_eq!(
            cost_today(price, midnight.after(hour), midnight.after(hour)),
            16_666,
            "a minute at least"
        );
        assert_eq!(cost_today(price, midnight.before(hour), midnight), 0);
    }
}
