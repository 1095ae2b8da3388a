//! When the next call of each kind may go out: Buildkite's one-second sliding windows, kept on our side.
//!
//! Pure: moments come in as values, nothing sleeps here. The gate is one stack's; calls to other stacks
//! are counted elsewhere by Buildkite too.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

mod paced;

use self::paced::Paced;
use crate::{headers::RateHeaders, scope::Scope};

/// The window Buildkite counts in.
const WINDOW: Duration = Duration::from_secs(1);
/// The window in which we count: calls that leave evenly do not arrive so, and Buildkite counts arrivals.
const SPAN: Duration = Duration::from_millis(1100);

/// The rate limits of one stack key.
///
/// **Guarantees.** If every call takes its place with [`RateGate::take`], no window of one second holds
/// more calls of a scope than its limit; a reply that says "not before" is obeyed.
/// **Assumptions.** Other users of the same stack key (a predecessor's last calls) are few; a 429 or
/// `RateLimit-Remaining: 0` tells of them.
#[derive(Debug, Default)]
pub struct RateGate {
    scopes: BTreeMap<Scope, Lane>,
    /// What is counted over minutes, all calls together.
    paced: Paced,
}

#[derive(Debug, Default)]
struct Lane {
    /// From the last reply that named it.
    limit: Option<u32>,
    /// Moments of calls in the last window, oldest first. They may lie in the future: places taken by
    /// calls that still wait.
    taken: VecDeque<Instant>,
    /// The service's own word.
    not_before: Option<Instant>,
}

impl Lane {
    fn limit(&self, scope: Scope) -> usize {
        let own = scope.default_per_second();
        // A raised limit is used, a lowered one obeyed; listing never takes the whole of it.
        let limit = match (scope, self.limit) {
            (_, None) => own,
            (Scope::List, Some(limit)) => limit.saturating_mul(8) / 10,
            (_, Some(limit)) => limit,
        };
        limit.max(1) as usize
    }

    fn forget(&mut self, now: Instant) {
        while self.taken.front().is_some_and(|first| *first + SPAN <= now) {
            self.taken.pop_front();
        }
    }
}

impl RateGate {
    /// The earliest moment, `now` or later, at which a call of `scope` may go out.
    pub fn earliest(&self, scope: Scope, now: Instant) -> Instant {
        let now = match scope.is_paced() {
            true => self.paced.earliest(now),
            false => now,
        };
        let Some(lane) = self.scopes.get(&scope) else {
            return now;
        };
        let limit = lane.limit(scope);
        let room = lane
            .taken
            .len()
            .checked_sub(limit)
            .map_or(now, |over| lane.taken[over] + SPAN);
        let last = lane.taken.back().copied().unwrap_or(now);
        // Never before a place already given away, so that calls leave in the order they asked.
        let after_last = if lane.taken.len() >= limit {
            room.max(last)
        } else {
            room
        };
        after_last.max(lane.not_before.unwrap_or(now)).max(now)
    }

    /// Takes the place that [`RateGate::earliest`] names, and returns its moment.
    pub fn take(&mut self, scope: Scope, now: Instant) -> Instant {
        self.scopes.entry(scope).or_default().forget(now);
        let at = self.earliest(scope, now);
        let lane = self.scopes.entry(scope).or_default();
        let place = lane.taken.partition_point(|taken| *taken <= at);
        lane.taken.insert(place, at);
        at
    }

    /// Learns from a reply of `status`.
    pub fn observe(&mut self, scope: Scope, status: u16, headers: &RateHeaders, now: Instant) {
        if scope.is_paced() {
            return self.paced.observe(status, headers, now);
        }
        let lane = self.scopes.entry(scope).or_default();
        if headers.limit.is_some() {
            lane.limit = headers.limit;
        }
        let spent = headers.remaining == Some(0);
        let wait = match status {
            // Without any word a whole window is the least that makes a difference.
            429 => Some(headers.come_back().unwrap_or(WINDOW)),
            503 => headers.retry_after,
            // Measured clients honour Retry-After on success as well.
            _ => headers.retry_after.or(if spent { headers.reset } else { None }),
        };
        if let Some(wait) = wait {
            let until = now + wait;
            lane.not_before = Some(lane.not_before.map_or(until, |earlier| earlier.max(until)));
        }
    }
}

#[cfg(test)]
mod tests;
