//! The command `gust-loadtest adversity`: what a bad day costs in waiting, next to the same day for an oracle.
//!
//! Both days are runs of the product's own shell in virtual time, over the same jobs and the same faults; the oracle's
//! operator closes and opens at the right moments what gust otherwise finds out by itself. Each is judged by the checker
//! of `sim`; a job that fails for a fault would not be one that ran.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::virtual_gear::{Keep, Scenario, run};

/// How much worse than the oracle's the wait may be that one of twenty jobs exceeds.
const GOAL: f64 = 1.15;

/// Which days.
#[derive(Args, Clone, Debug)]
pub struct AdversityArgs {
    /// How many seeds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replicas of gust
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
    replicas: u8,
    /// Print the first seed's day as a file for `sim --scenario`, and run nothing
    #[arg(long)]
    print: bool,
}

/// What became of the jobs of a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// From when a job could run until an agent had it, in milliseconds, in order.
    pub waits: Vec<u64>,
    /// The ends of jobs that ended otherwise than by their own command, without another that ran in their place.
    pub failed: Vec<String>,
    /// Jobs that lost their machine and ran again.
    pub reclaimed: u64,
}

impl Day {
    /// Reads the fakes' event log.
    ///
    /// # Errors
    /// A line that is no event.
    pub fn read(log: &str) -> Result<Self> {
        let mut runnable: BTreeMap<String, u64> = BTreeMap::new();
        let mut day = Self::default();
        let mut retried = BTreeMap::new();
        let mut lost: Vec<(String, String)> = Vec::new();
        for line in log.lines().filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_str(line).context("a line of the event log")?;
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let at = (event["at"].as_f64().unwrap_or_default() * 1000.0).round() as u64;
            let job = text("job");
            match (&*text("kind"), &*text("to")) {
                ("job.state", "scheduled") => drop(runnable.entry(job).or_insert(at)),
                ("job.state", "running") => {
                    if let Some(since) = runnable.get(&job) {
                        day.waits.push(at.saturating_sub(*since));
                    }
                }
                ("job.created", _) if event["retry_of"].is_string() => {
                    retried.insert(text("retry_of"), job);
                }
                ("job.finished", _) if text("exit_status") != "0" => lost.push((job, line.to_owned())),
                _ => {}
            }
        }
        day.waits.sort_unstable();
        for (job, line) in lost {
            if retried.contains_key(&job) {
                day.reclaimed += 1;
            } else {
                day.failed.push(line);
            }
        }
        Ok(day)
    }

    /// The wait that so many hundredths of the jobs do not exceed, in milliseconds.
    pub fn percentile(&self, hundredths: usize) -> u64 {
        let at = (self.waits.len() * hundredths).div_ceil(100).saturating_sub(1);
        self.waits.get(at).copied().unwrap_or_default()
    }
}

/// Runs the days and prints what they cost. True if no job failed, and nothing was violated.
///
/// # Errors
/// An event log that cannot be read.
#[expect(clippy::print_stdout, reason = "the report is this command's product")]
pub fn adversity(args: &AdversityArgs) -> Result<bool> {
    if args.print {
        let scenario = Scenario::adversity(args.from, usize::from(args.replicas), false);
        println!("{}", scenario.to_toml());
        return Ok(true);
    }
    let mut sums = [Day::default(), Day::default()];
    let mut violated = false;
    for seed in args.from..args.from + args.seeds {
        for (oracle, sum) in sums.iter_mut().enumerate() {
            let scenario = Scenario::adversity(seed, usize::from(args.replicas), oracle == 1);
            let outcome = run(&scenario, Keep::Log);
            if let Some(failure) = outcome.failure() {
                violated = true;
                println!(
                    "violation: seed {seed}{}\n{failure}",
                    ["", ", the oracle's"][oracle]
                );
            }
            let day = Day::read(&outcome.log)?;
            sum.waits.extend(day.waits);
            day.failed.iter().for_each(|end| println!("failed: {end}"));
            sum.failed.extend(day.failed);
            sum.reclaimed += day.reclaimed;
        }
    }
    for day in &mut sums {
        day.waits.sort_unstable();
    }
    let [gust, oracle] = &sums;
    println!(
        "two zones without e2 for 20 min, a quota halved for 60 min, Spot machines taken back every 10 min, calls refused for a minute"
    );
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "", "JOBS", "P50 S", "P95 S", "P99 S", "RECLAIMED", "FAILED"
    );
    for (name, day) in [("gust", gust), ("oracle", oracle)] {
        let seconds = |hundredths| day.percentile(hundredths) as f64 / 1000.0;
        println!(
            "{name:>8} {:>8} {:>8.1} {:>8.1} {:>8.1} {:>10} {:>8}",
            day.waits.len(),
            seconds(50),
            seconds(95),
            seconds(99),
            day.reclaimed,
            day.failed.len()
        );
    }
    let ratio = gust.percentile(95) as f64 / oracle.percentile(95).max(1) as f64;
    let missed = if ratio > GOAL { ", missed" } else { "" };
    println!("P95 of gust ÷ P95 of the oracle: {ratio:.3} (goal {GOAL}{missed})");
    Ok(!violated && gust.failed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_failures_and_retries_are_read_from_the_log() {
        let line = |at: u64, rest: &str| format!("{{\"at\": {}, {rest}}}\n", at as f64 / 1000.0);
        let log = [
            line(1_000, r#""kind": "job.state", "job": "a", "to": "scheduled""#),
            line(2_000, r#""kind": "job.state", "job": "b", "to": "scheduled""#),
            line(31_000, r#""kind": "job.state", "job": "a", "to": "running""#),
            line(42_000, r#""kind": "job.state", "job": "b", "to": "running""#),
            line(
                50_000,
                r#""kind": "job.finished", "job": "a", "exit_status": "-1""#,
            ),
            line(50_000, r#""kind": "job.created", "job": "c", "retry_of": "a""#),
            line(50_000, r#""kind": "job.state", "job": "c", "to": "scheduled""#),
            line(
                60_000,
                r#""kind": "job.finished", "job": "b", "exit_status": "1""#,
            ),
        ];
        let day = Day::read(&log.concat()).expect("a log");
        assert_eq!(day.waits, [30_000, 40_000]);
        assert_eq!((day.failed.len(), day.reclaimed), (1, 1));
        assert_eq!((day.percentile(50), day.percentile(95)), (30_000, 40_000));
    }

    #[test]
    fn no_job_fails_on_a_bad_day_and_one_of_twenty_waits_hardly_longer_than_an_oracles() {
        let days = [false, true].map(|oracle| {
            let outcome = run(&Scenario::adversity(1, 1, oracle), Keep::Log);
            assert_eq!(outcome.failure(), None);
            Day::read(&outcome.log).expect("a log")
        });
        let [gust, oracle] = &days;
        assert_eq!((&*gust.failed, &*oracle.failed), (&[][..], &[][..]));
        assert!(gust.waits.len() >= 1_000);
        // Virtual time: the same each time, whatever the machine.
        let (ours, theirs) = (gust.percentile(95), oracle.percentile(95));
        assert!(ours * 100 <= theirs * 115, "{ours} ms next to {theirs} ms");
    }
}
