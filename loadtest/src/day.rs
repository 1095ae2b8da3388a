//! The command `gust-loadtest day`: how often gust lists jobs over a day, and how soon it sees one, with webhooks and
//! without.
//!
//! A day is a run of the product's own shell in virtual time, judged by the checker of `sim`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::virtual_gear::{Keep, Scenario, run, run_with_webhooks};

/// Lists a second that Buildkite takes of one stack key, and those that gust allows itself.
/// Source: buildkite.com/docs/apis/agent-api/stacks, rate limits.
const LIMIT: usize = 10;
const OWN: usize = 8;
const DAY_S: f64 = 86_400.0;

/// Which day.
#[derive(Args, Clone, Debug)]
pub struct DayArgs {
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replicas of gust
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
    replicas: u8,
}

/// What a day's log tells.
#[derive(Clone, Debug, Default, PartialEq)]
struct Course {
    /// Lists of the day.
    lists: usize,
    /// The most within any one second.
    most: usize,
    /// Lists that Buildkite refused.
    refused: usize,
    /// Milliseconds from when a job could be listed to its reservation, in order.
    seen: Vec<u64>,
}

/// The most lists within any one second.
fn most_in_a_second(lists: &[Duration]) -> usize {
    let mut second: VecDeque<Duration> = VecDeque::new();
    let mut most = 0;
    for at in lists {
        second.push_back(*at);
        while second
            .front()
            .is_some_and(|first| *first + Duration::from_secs(1) <= *at)
        {
            second.pop_front();
        }
        most = most.max(second.len());
    }
    most
}

impl Course {
    fn read(lists: &[Duration], log: &str) -> Result<Self> {
        let mut course = Self {
            lists: lists.len(),
            most: most_in_a_second(lists),
            ..Self::default()
        };
        // None once it was reserved: renewals are no news.
        let mut runnable: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for line in log.lines().filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_str(line).context("a line of the event log")?;
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            let at = (event["at"].as_f64().unwrap_or_default() * 1000.0).round() as u64;
            match (text("kind"), text("method"), text("to")) {
                ("api.call", "stacks.list", _) if event["status"].as_u64() == Some(429) => {
                    course.refused += 1
                }
                ("job.state", _, "scheduled") => {
                    runnable.entry(text("job").to_owned()).or_insert(Some(at));
                }
                ("job.reserved", ..) => {
                    let since = runnable.get_mut(text("job")).and_then(Option::take);
                    course.seen.extend(since.map(|since| at.saturating_sub(since)));
                }
                _ => {}
            }
        }
        course.seen.sort_unstable();
        Ok(course)
    }

    fn percentile(&self, hundredths: usize) -> f64 {
        let at = (self.seen.len() * hundredths).div_ceil(100).saturating_sub(1);
        self.seen.get(at).map_or(f64::NAN, |wait| *wait as f64 / 1000.0)
    }
}

/// Runs the days and prints what they were. True if nothing was violated and no limit was ever passed.
///
/// # Errors
/// An event log that cannot be read.
#[expect(clippy::print_stdout, reason = "the report is this command's product")]
pub fn day(args: &DayArgs) -> Result<bool> {
    println!(
        "one queue, one stack key for {} replicas; lists per second of a day of 24 h",
        args.replicas
    );
    println!(
        "{:<22} {:>6} {:>8} {:>8} {:>10} {:>8} {:>9} {:>9}",
        "", "JOBS", "LISTS", "A SECOND", "MOST IN 1 S", "REFUSED", "SEEN P50", "SEEN P99"
    );
    let mut good = true;
    for (name, idle, webhooks) in [
        ("idle", true, false),
        ("idle, webhooks", true, true),
        ("working day", false, false),
        ("working day, webhooks", false, true),
    ] {
        let scenario = Scenario::day(args.seed, usize::from(args.replicas), idle);
        let outcome = match webhooks {
            true => run_with_webhooks(&scenario, Keep::Log),
            false => run(&scenario, Keep::Log),
        };
        if let Some(failure) = outcome.failure() {
            good = false;
            println!("violation: {name}\n{failure}");
        }
        let course = Course::read(&outcome.lists, &outcome.log)?;
        println!(
            "{name:<22} {:>6} {:>8} {:>8.3} {:>10} {:>8} {:>9.3} {:>9.3}",
            course.seen.len(),
            course.lists,
            course.lists as f64 / DAY_S,
            course.most,
            course.refused,
            course.percentile(50),
            course.percentile(99),
        );
        good &= course.most <= LIMIT && course.refused == 0;
    }
    println!(
        "limit {LIMIT} a second, gust's own {OWN}; webhooks as the simulation sends them: a fifth lost, a fifth doubled, up to 3 s late"
    );
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_a_second_and_the_first_reservation_are_read_from_the_log() {
        let lists = [1000, 1500, 1999, 2000].map(Duration::from_millis);
        let log = [
            "{\"at\": 3.0, \"kind\": \"job.state\", \"job\": \"a\", \"to\": \"scheduled\"}\n",
            "{\"at\": 3.25, \"kind\": \"job.reserved\", \"job\": \"a\"}\n",
            "{\"at\": 9.0, \"kind\": \"job.reserved\", \"job\": \"a\"}\n",
        ];
        let course = Course::read(&lists, &log.concat()).expect("a log");
        assert_eq!((course.lists, course.most, course.refused), (4, 3, 0));
        assert_eq!(course.seen, [250]);
        assert_eq!((course.percentile(50), course.percentile(99)), (0.25, 0.25));
    }
}
