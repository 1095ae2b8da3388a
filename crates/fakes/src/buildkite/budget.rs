//! Budgets of the GraphQL and REST APIs: so much in a window, for the organization and for each user.
//!
//! A window opens with the first call after the last one closed, and closes after its length: `RateLimit-Reset`
//! counts down to there (docs: `apis/graphql/graphql_resource_limits`, `apis/rest_api/rate_limits`).

use std::time::Duration;

/// What is used of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Budget {
    opened: Option<Duration>,
    used: u64,
}

/// How a budget stands, for the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit: u64,
    pub(super) remaining: u64,
    /// Seconds until the window closes, rounded up.
    pub(super) reset: u64,
}

impl Budget {
    /// How it stands at present.
    pub(super) fn standing(&mut self, now: Duration, window: Duration, limit: u64) -> Standing {
        let opened = match self.opened {
            Some(opened) if now < opened + window => opened,
            _ => {
                *self = Self {
                    opened: Some(now),
                    used: 0,
                };
                now
            }
        };
        let left = (opened + window).saturating_sub(now);
        Standing {
            limit,
            remaining: limit.saturating_sub(self.used),
            reset: (left.as_millis() as u64).div_ceil(1000),
        }
    }

    /// Takes so much; more than is left is taken too, since what a query costs is known behind it.
    pub(super) fn take(&mut self, points: u64) {
        self.used = self.used.saturating_add(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_whole_again_when_its_window_has_closed() {
        let mut budget = Budget::default();
        let window = Duration::from_secs(300);
        let mut at = |s: u64, take: u64| {
            budget.standing(Duration::from_secs(s), window, 100);
            budget.take(take);
            budget.standing(Duration::from_secs(s), window, 100)
        };
        assert_eq!((at(10, 60).remaining, at(10, 0).reset), (40, 300));
        assert_eq!(at(200, 60).remaining, 0);
        assert_eq!(at(309, 0).reset, 1);
        assert_eq!((at(310, 0).remaining, at(310, 0).reset), (100, 300));
    }
}
