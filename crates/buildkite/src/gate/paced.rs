//! Calls that are counted over minutes, for a whole organization: GraphQL by the points a query costs, REST by calls.
//!
//! What a call costs is known only afterwards, and others use the same window. So calls go freely while more than half of it
//! is left, and then so far apart that the rest lasts until it begins anew. The last tenth is others'.

use std::time::Duration;

use tokio::time::Instant;

use crate::headers::RateHeaders;

/// A wait after a refusal that named none.
const REFUSED: Duration = Duration::from_secs(5);

/// The pace of one API.
#[derive(Debug, Default)]
pub(super) struct Paced {
    not_before: Option<Instant>,
    /// What was left after the last reply.
    left: Option<u32>,
}

impl Paced {
    /// The earliest moment, `now` or later, at which a call may go out.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |at| at.max(now))
    }

    /// Learns from a reply of `status`.
    pub fn observe(&mut self, status: u16, headers: &RateHeaders, now: Instant) {
        let allowance = headers.scarcer();
        let wait = match (status, allowance) {
            (429, _) => Some(headers.come_back().unwrap_or(REFUSED)),
            (_, Some(left)) if left.remaining <= left.limit / 2 => {
                // A window that began anew tells nothing of the cost.
                let cost = self
                    .left
                    .map_or(0, |before| before.saturating_sub(left.remaining))
                    .max(1);
                let spare = left.remaining.saturating_sub(left.limit / 10);
                Some(match spare {
                    0 => left.reset,
                    spare => left.reset.mul_f64((f64::from(cost) / f64::from(spare)).min(1.0)),
                })
            }
            _ => headers.retry_after,
        };
        self.left = allowance.map(|left| left.remaining);
        if let Some(wait) = wait {
            let until = now + wait;
            self.not_before = Some(self.not_before.map_or(until, |earlier| earlier.max(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A service that counts points in windows of five minutes.
    struct Service {
        begun: Instant,
        used: u32,
    }

    const WINDOW: Duration = Duration::from_secs(300);
    const LIMIT: u32 = 20_000;

    impl Service {
        fn call(&mut self, cost: u32, others: u32, now: Instant) -> RateHeaders {
            while now >= self.begun + WINDOW {
                (self.begun, self.used) = (self.begun + WINDOW, 0);
            }
            self.used += cost + others;
            RateHeaders {
                limit: Some(LIMIT),
                remaining: Some(LIMIT.saturating_sub(self.used)),
                reset: Some(self.begun + WINDOW - now),
                ..RateHeaders::default()
            }
        }
    }

    proptest! {
        #[test]
        fn no_window_is_overdrawn_however_eagerly_it_is_asked(
            costs in prop::collection::vec((1..600_u32, 0..50_u32), 1..800),
        ) {
            let start = Instant::now();
            let (mut paced, mut service, mut now) = (Paced::default(), Service { begun: start, used: 0 }, start);
            for (cost, others) in costs {
                now = paced.earliest(now);
                let headers = service.call(cost, others, now);
                prop_assert!(service.used <= LIMIT, "{} points", service.used);
                paced.observe(200, &headers, now);
            }
        }
    }

    #[test]
    fn while_much_is_left_nothing_waits_and_a_refusal_is_waited_out() {
        let now = Instant::now();
        let mut paced = Paced::default();
        let left = |remaining| RateHeaders {
            limit: Some(LIMIT),
            remaining: Some(remaining),
            reset: Some(Duration::from_secs(100)),
            ..RateHeaders::default()
        };
        paced.observe(200, &left(10_001), now);
        assert_eq!(paced.earliest(now), now);
        // 1,000 points of the 8,000 that are ours to spend.
        paced.observe(200, &left(10_000), now);
        paced.observe(200, &left(9_000), now);
        let wait = (paced.earliest(now) - now).as_secs_f64();
        assert!((14.0..15.0).contains(&wait), "{wait}");
        paced.observe(429, &left(0), now);
        assert_eq!(paced.earliest(now), now + Duration::from_secs(100));
    }
}
