//! When the client sends the same request again by itself.
//!
//! The client's default would repeat a stockout (it comes as HTTP 503) and treat its 60 s as a limit for
//! each request. This policy repeats only what leaves the outcome open, only where a repeat is harmless,
//! within a budget of attempts and time. Refusals for rate are not repeated here either: whoever keeps the
//! budget of calls decides when.

use std::time::Duration;

use google_cloud_gax::{
    error::Error, retry_policy::RetryPolicy, retry_result::RetryResult, retry_state::RetryState,
    throttle_result::ThrottleResult,
};

use super::client::{Outcome, outcome_of};

/// Most attempts of one call.
const ATTEMPTS: u32 = 4;

/// The retry policy of every call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Time for all attempts together; the client cuts an attempt that would outlast it.
    pub budget: Duration,
}

impl Patience {
    fn spent(self, state: &RetryState) -> Duration {
        // The client takes the start from tokio's clock, so that is the one to compare with.
        tokio::time::Instant::now()
            .into_std()
            .saturating_duration_since(state.start)
    }

    fn is_over(self, state: &RetryState) -> bool {
        state.attempt_count >= ATTEMPTS || self.spent(state) >= self.budget
    }
}

impl RetryPolicy for Patience {
    fn on_error(&self, state: &RetryState, error: Error) -> RetryResult {
        let worth_it = match outcome_of(&error) {
            Outcome::NotSent => true,
            Outcome::Unclear => state.idempotent,
            Outcome::Refused(..) | Outcome::Absent(_) => false,
        };
        match worth_it {
            false => RetryResult::Permanent(error),
            true if self.is_over(state) => RetryResult::Exhausted(error),
            true => RetryResult::Continue(error),
        }
    }

    fn on_throttle(&self, state: &RetryState, error: Error) -> ThrottleResult {
        if self.is_over(state) {
            ThrottleResult::Exhausted(error)
        } else {
            ThrottleResult::Continue(error)
        }
    }

    fn remaining_time(&self, state: &RetryState) -> Option<Duration> {
        Some(self.budget.saturating_sub(self.spent(state)))
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::Status;

    use super::*;

    const POLICY: Patience = Patience {
        budget: Duration::from_secs(30),
    };

    fn state(attempts: u32, idempotent: bool) -> RetryState {
        let now = tokio::time::Instant::now().into_std();
        RetryState::new(idempotent)
            .set_attempt_count(attempts)
            .set_start(now)
    }

    fn google(status: u16, reason: &str) -> Error {
        let body = serde_json::json!({"error": {
            "code": status, "message": "m", "errors": [{"reason": reason, "domain": "global", "message": "m"}],
        }});
        let body = serde_json::to_vec(&body).expect("JSON");
        let status_body = Status::try_from(&bytes::Bytes::from(body)).expect("Google's form");
        Error::service_with_http_metadata(status_body, Some(status), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stockout_is_not_asked_for_again() {
        let flow = POLICY.on_error(&state(1, true), google(503, "insufficientCapacity"));
        assert!(flow.is_permanent());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_server_is_asked_again_only_where_that_is_harmless() {
        assert!(
            POLICY
                .on_error(&state(1, true), google(503, "backendError"))
                .is_continue()
        );
        assert!(
            POLICY
                .on_error(&state(1, false), google(503, "backendError"))
                .is_permanent()
        );
        assert!(POLICY.on_error(&state(1, true), Error::io("reset")).is_continue());
        // Nothing was sent, so any call may be repeated.
        assert!(
            POLICY
                .on_error(&state(1, false), Error::connect("refused"))
                .is_continue()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_and_time_are_bounded() {
        assert!(
            POLICY
                .on_error(&state(ATTEMPTS, true), Error::io("reset"))
                .is_exhausted()
        );
        let begun = state(1, true);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(POLICY.on_error(&begun, Error::io("reset")).is_exhausted());
        assert_eq!(POLICY.remaining_time(&begun), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_for_rate_are_left_to_the_budget() {
        assert!(
            POLICY
                .on_error(&state(1, true), google(403, "rateLimitExceeded"))
                .is_permanent()
        );
        assert!(POLICY.on_error(&state(1, true), google(429, "")).is_permanent());
    }
}
