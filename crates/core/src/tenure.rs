//! The timing of leases: how long a holder may believe in one, and when it asks again.
//!
//! A lease is a sign of life, never a proof: what keeps a deposed holder from doing harm is the store's fence.
//! This is the courtesy before it: a holder stops on its own before anybody else can begin. All times are
//! monotonic, counted from any fixed moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How leases are kept. The defaults were measured against etcd: a shorter lease is lost to a mere change of
/// etcd's own leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long a lease lasts without a renewal.
    pub ttl: Duration,
    /// From one renewal to the next.
    pub renew: Duration,
    /// So long before the lease could lapse its holder stops.
    pub margin: Duration,
    /// Longest wait for the answer to one call.
    pub call: Duration,
    /// From a renewal that failed to the next try.
    pub retry: Duration,
    /// A silent watch is not trusted longer than this.
    pub look: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            renew: Duration::from_secs(1),
            margin: Duration::from_secs(1),
            call: Duration::from_secs(1),
            retry: Duration::from_millis(200),
            look: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// How long a watch that says nothing is trusted.
    pub fn trusted(&self) -> Duration {
        if crate::mutant!("silent-watch-trusted") {
            return Duration::from_secs(86_400);
        }
        self.look
    }
}

/// What a holder may believe of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    until: Duration,
}

impl Tenure {
    /// After a renewal that was sent at `sent` was answered with a time to live of `ttl`: the lease cannot lapse
    /// before `sent + ttl`, since the store counts from a later moment.
    pub fn renewed(timing: &Timing, sent: Duration, ttl: Duration) -> Self {
        let lasts = if crate::mutant!("lease-stopped-late") {
            ttl.saturating_add(timing.margin)
        } else {
            ttl.saturating_sub(timing.margin)
        };
        Self {
            until: sent.saturating_add(lasts),
        }
    }

    /// One that ends at `until`.
    pub fn ending(until: Duration) -> Self {
        Self { until }
    }

    /// The moment at which its holder stops.
    pub fn until(self) -> Duration {
        self.until
    }

    /// True while its holder may act on it.
    pub fn holds(self, now: Duration) -> bool {
        now < self.until
    }

    /// The later of two: answers may overtake each other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        // Whatever the delays, the holder stops before the store can let the lease lapse.
        #[test]
        fn a_holder_stops_before_its_lease_can_lapse(sent in any::<u32>(), under_way in any::<u16>(), ttl in 0_u64..60_000) {
            let timing = Timing::default();
            let (sent, ttl) = (Duration::from_millis(sent.into()), Duration::from_millis(ttl));
            let counted_from = sent + Duration::from_millis(under_way.into());
            let tenure = Tenure::renewed(&timing, sent, ttl);
            let lapses = counted_from + ttl;
            assert!(!tenure.holds(lapses) );
            assert!(ttl <= timing.margin || !tenure.holds(lapses - timing.margin));
        }
    }

    #[test]
    fn an_answer_that_was_overtaken_shortens_nothing() {
        let timing = Timing::default();
        let (late, early) = (Duration::from_secs(9), Duration::from_secs(3));
        let newer = Tenure::renewed(&timing, late, timing.ttl);
        assert_eq!(newer.or(Tenure::renewed(&timing, early, timing.ttl)), newer);
        assert!(newer.holds(Duration::from_secs(12)) && !newer.holds(Duration::from_secs(13)));
    }
}
