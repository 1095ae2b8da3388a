//! How soon the last create of a burst can be accepted at the earliest, from the limits file alone.
//!
//! # Derivation
//! Let a burst be groups of jobs that ask for the same, all there at time 0, and quotas that hold all machines.
//!
//! 1. A bulk call makes at most 1,000 machines of one shape, so a group of *n* jobs is ⌈n / 1,000⌉ **chunks**, and each
//!    chunk is one bulk call, or as many single inserts as it has jobs.
//! 2. In no second more than `bulk_per_second` bulk calls are accepted: the *k*-th (from 0) not before ⌊k / bulk_per_second⌋ s.
//! 3. Not more than `bulk_running` bulk operations run at a time in the project. An operation runs from its call until
//!    its slowest machine is RUNNING: the time it is pending, and the longest of the machines' PROVISIONING and STAGING.
//!    These times are drawn, evenly, from ranges in the limits file. The bound takes the middle of the pending time and the
//!    median of the longest of *m* such sums: the time *t* at which Fᵐ(t) = ½, where F is the distribution of one sum. So a
//!    call of the second round is accepted when an operation of the first has ended, and so on. Those that end
//!    soonest (the smallest) are taken first, which no other order beats.
//! 4. Creates count in the group `default_per_region` (or `writes_per_region`), by minutes of the clock. The bound lets a minute begin
//!    with the burst, lets all calls of a minute be made in its first moment, and spreads them over all regions evenly.
//! 5. Single inserts need no slot, only calls. Without a price on calls they would beat any slot: a region takes 1,500 in a
//!    moment. So the bound is held to the same goal as gust: `calls_per_job` calls a job, one of which is its deletion.
//!    What is left of that may be spent on single inserts of the smallest chunks.
//!
//! The bound is the best over how many of the smallest chunks are made singly. What gust has to do beside (lists, reads,
//! reservations, commits) takes no time in it.

use gust_fakes::limits::{Gce, Range};

/// Most machines of one bulk call.
const CHUNK: usize = 1000;

/// The earliest end, and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Seconds from the jobs being there to the last create accepted.
    pub seconds: f64,
    /// Bulk calls.
    pub bulk_calls: usize,
    /// Single inserts.
    pub singles: usize,
}

/// The bound of a burst of such groups, in so many regions, with so many calls a job.
pub fn bound(limits: &Gce, speed: f64, regions: usize, groups: &[usize], calls_per_job: f64) -> Bound {
    let chunks = chunks(groups);
    let jobs: usize = groups.iter().sum();
    let affordable = ((calls_per_job - 1.0) * jobs as f64).floor().max(0.0) as usize;
    let mut best: Option<Bound> = None;
    let mut singles = 0;
    for taken in 0..=chunks.len() {
        // The smallest chunks come first.
        if taken > 0 {
            singles += chunks[taken - 1];
        }
        let bulk = &chunks[taken..];
        let is_affordable = singles + bulk.len() <= affordable || taken == 0;
        if !is_affordable {
            break;
        }
        let by_slots = last_bulk(limits, speed, bulk);
        let by_calls = last_write(limits, regions, singles + bulk.len());
        let found = Bound {
            seconds: by_slots.max(by_calls),
            bulk_calls: bulk.len(),
            singles,
        };
        if best.is_none_or(|best| found.seconds < best.seconds) {
            best = Some(found);
        }
    }
    best.unwrap_or(Bound {
        seconds: 0.0,
        bulk_calls: 0,
        singles: 0,
    })
}

/// The chunks of all groups, the smallest first.
fn chunks(groups: &[usize]) -> Vec<usize> {
    let mut chunks: Vec<usize> = groups
        .iter()
        .flat_map(|group| {
            let rest = group % CHUNK;
            std::iter::repeat_n(CHUNK, group / CHUNK).chain((rest > 0).then_some(rest))
        })
        .collect();
    chunks.sort_unstable();
    chunks
}

/// When the last of these bulk calls is accepted; `chunks` are in order of size.
fn last_bulk(limits: &Gce, speed: f64, chunks: &[usize]) -> f64 {
    let slots = limits.bulk_running.max(1) as usize;
    let per_second = limits.bulk_per_second.max(1) as usize;
    let mut ends: Vec<f64> = Vec::new();
    let mut last = 0.0_f64;
    for (k, size) in chunks.iter().enumerate() {
        let mut at = (k / per_second) as f64;
        if ends.len() == slots {
            let soonest = ends
                .iter()
                .enumerate()
                .min_by(|a, b| a.1.total_cmp(b.1))
                .map_or(0, |(nth, _)| nth);
            at = at.max(ends.swap_remove(soonest));
        }
        ends.push(at + life(limits, speed, *size));
        last = last.max(at);
    }
    last
}

/// When the last of so many creates can be accepted by the quota of calls a minute.
fn last_write(limits: &Gce, regions: usize, calls: usize) -> f64 {
    let rates = &limits.rates_per_minute;
    let a_minute = ["default_per_region", "writes_per_region"]
        .iter()
        .find_map(|group| rates.get(*group))
        .map_or(usize::MAX, |rate| (*rate as usize).saturating_mul(regions.max(1)));
    let minutes = calls.saturating_sub(1) / a_minute.max(1);
    minutes as f64 * 60.0
}

/// How long the bulk operation of so many machines runs, in seconds.
fn life(limits: &Gce, speed: f64, machines: usize) -> f64 {
    let (pending, boot) = (limits.operations.pending_s, &limits.boot);
    let middle = (pending.0 + pending.1) / 2.0;
    (middle + slowest(boot.provisioning_s, boot.staging_s, machines)) / speed
}

/// The median of the longest of `machines` sums of a value from each range.
fn slowest(a: Range, b: Range, machines: usize) -> f64 {
    let (mut low, mut high) = (a.0 + b.0, a.1 + b.1);
    let machines = machines.clamp(1, i32::MAX as usize) as i32;
    // Halved so often, it is exact to a microsecond.
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if distribution(a, b, middle).powi(machines) < 0.5 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How likely the sum of a value from each range is at most `t`.
fn distribution(a: Range, b: Range, t: f64) -> f64 {
    let (wide_a, wide_b) = (a.1 - a.0, b.1 - b.0);
    let t = t - a.0 - b.0;
    if wide_a <= 0.0 || wide_b <= 0.0 {
        let wide = wide_a.max(wide_b);
        return if wide > 0.0 {
            (t / wide).clamp(0.0, 1.0)
        } else {
            f64::from(u8::from(t >= 0.0))
        };
    }
    // The area of the part of a rectangle that lies below a line at 45°.
    let half = |side: f64| side.max(0.0).powi(2) / 2.0;
    let area = half(t) - half(t - wide_a) - half(t - wide_b) + half(t - wide_a - wide_b);
    (area / (wide_a * wide_b)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use gust_fakes::limits::Limits;

    use super::*;

    /// Limits under which every machine takes exactly 10 s.
    fn plain() -> Gce {
        let mut limits = Limits::standard().gce;
        limits.operations.pending_s = Range(0.0, 0.0);
        limits.boot.provisioning_s = Range(4.0, 4.0);
        limits.boot.staging_s = Range(6.0, 6.0);
        limits
    }

    fn seconds(limits: &Gce, groups: &[usize]) -> f64 {
        bound(limits, 1.0, 1, groups, 1.0).seconds
    }

    #[test]
    fn as_many_calls_as_there_are_slots_take_no_time_and_each_further_round_an_operation() {
        let limits = plain();
        for (groups, expected) in [
            (vec![10_000], 0.0),
            (vec![10_001], 10.0),
            (vec![500; 10], 0.0),
            (vec![500; 20], 10.0),
            (vec![500; 21], 20.0),
            (vec![20_000, 20], 20.0),
            (vec![], 0.0),
        ] {
            assert!((seconds(&limits, &groups) - expected).abs() < 1e-5, "{groups:?}");
        }
    }

    #[test]
    fn bulk_calls_a_second_bind_where_slots_do_not() {
        let mut limits = plain();
        limits.bulk_running = 1000;
        assert!((seconds(&limits, &[2; 100]) - 4.0).abs() < 1e-9);
        assert!((seconds(&limits, &[2; 101]) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn small_chunks_are_made_singly_as_far_as_calls_may_be_spent() {
        let limits = plain();
        // Ten chunks of 990 in the slots, and one of 100 for which there is none.
        let groups: Vec<usize> = std::iter::repeat_n(990, 10).chain([100]).collect();
        assert!((bound(&limits, 1.0, 1, &groups, 1.0).seconds - 10.0).abs() < 1e-5);
        let spent = bound(&limits, 1.0, 1, &groups, 1.02);
        assert_eq!((spent.seconds, spent.bulk_calls, spent.singles), (0.0, 10, 100));
        // One call less than that takes.
        let short = bound(&limits, 1.0, 1, &groups, 1.0 + 109.0 / 10_000.0);
        assert!((short.seconds - 10.0).abs() < 1e-5, "{short:?}");
    }

    #[test]
    fn calls_a_minute_bind_where_there_are_many() {
        let mut limits = plain();
        limits.rates_per_minute.insert("default_per_region".into(), 15);
        limits.bulk_running = 1000;
        limits.bulk_per_second = 1000;
        assert_eq!(seconds(&limits, &[500; 15]), 0.0);
        assert_eq!(seconds(&limits, &[500; 16]), 60.0);
        assert_eq!(bound(&limits, 1.0, 2, &[500; 30], 1.0).seconds, 0.0);
        assert_eq!(bound(&limits, 1.0, 2, &[500; 31], 1.0).seconds, 60.0);
    }

    #[test]
    fn the_slowest_of_many_comes_near_the_longest_there_can_be() {
        let (a, b) = (Range(2.0, 6.0), Range(4.0, 10.0));
        // Half of all sums are below the middle of what is symmetric.
        assert!((slowest(a, b, 1) - 11.0).abs() < 1e-6);
        let many = [1, 10, 100, 1000].map(|machines| slowest(a, b, machines));
        assert!(many.is_sorted());
        // 1 − F(16 − x) = x² / 48 near the end: the median of 1,000 has x² = 48 × (1 − 2^(−1/1000)).
        let x = (48.0 * (1.0 - 0.5_f64.powf(0.001))).sqrt();
        assert!((many[3] - (16.0 - x)).abs() < 1e-6, "{many:?}");
        let fixed = slowest(Range(3.0, 3.0), Range(1.0, 2.0), 1);
        assert!((fixed - 4.5).abs() < 1e-6, "{fixed}");
    }

    #[test]
    fn speed_shortens_operations_and_no_window() {
        let mut limits = plain();
        assert!((bound(&limits, 10.0, 1, &[500; 20], 1.0).seconds - 1.0).abs() < 1e-6);
        limits.rates_per_minute.insert("default_per_region".into(), 15);
        assert_eq!(bound(&limits, 10.0, 1, &[500; 20], 1.0).seconds, 60.0);
    }
}
