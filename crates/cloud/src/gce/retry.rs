//! When the same request is sent again.
//!
//! Google's client would do so by itself, unseen by the account of calls a minute, and would repeat a stockout (it comes as
//! HTTP 503). So it makes one attempt at a time, and each passes the whole stack of layers: it is paid for, waits for a
//! place and is logged like every call. What leaves the outcome open is repeated, within a budget of attempts and time;
//! refusals for rate are not: whoever keeps the account decides when.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use google_cloud_gax::{
    backoff_policy::BackoffPolicy as _, error::Error, exponential_backoff::ExponentialBackoffBuilder,
    retry_state::RetryState,
};
use tokio::time::Instant;

use super::client::{Outcome, outcome_of};
use crate::layers::{Boxed, Failure};

/// Most attempts of one call.
const ATTEMPTS: u32 = 4;
/// The client limits each attempt; the wall behind the last one stands so far behind the end of the budget.
const WALL: Duration = Duration::from_secs(5);

/// How long a call is repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Time for all attempts together, from the moment at which the first goes out.
    pub budget: Duration,
}

impl Patience {
    /// Whether a call is worth another attempt after so many, in so long a time.
    fn goes_on(self, attempts: u32, spent: Duration, error: &Error) -> bool {
        let open = match outcome_of(error) {
            Outcome::NotSent | Outcome::Unclear => true,
            Outcome::Refused(..) | Outcome::Absent(_) => false,
        };
        open && attempts < ATTEMPTS && spent < self.budget
    }
}

/// Makes a call: `make` begins an attempt, and `pass` takes it through the layers within a time limit.
pub(super) async fn attempts<T, P>(
    patience: Patience,
    make: impl Fn() -> Boxed<Result<T, Error>>,
    pass: impl Fn(Duration, Boxed<Result<T, Error>>) -> P,
) -> Result<T, Failure>
where
    T: Send + 'static,
    P: Future<Output = Result<T, Failure>>,
{
    let backoff = ExponentialBackoffBuilder::new()
        .with_initial_delay(Duration::from_millis(200))
        .with_maximum_delay(Duration::from_secs(2))
        .build()
        .expect("the delays are in order");
    let mut first: Option<Instant> = None;
    let mut before: Option<Error> = None;
    let mut count = 0;
    loop {
        count += 1;
        let left = first.map_or(patience.budget, |at| patience.budget.saturating_sub(at.elapsed()));
        let sent = Arc::new(OnceLock::new());
        let (attempt, noted) = (make(), Arc::clone(&sent));
        let run = Box::pin(async move {
            noted.get_or_init(Instant::now);
            attempt.await
        });
        let passes = pass(left + WALL, run);
        let reply = match before.take() {
            None => passes.await,
            Some(error) => tokio::select! {
                biased;
                reply = passes => reply,
                // Its turn would come too late, so what is known is what the attempt before it met.
                () = unsent_after(left, &sent) => return Err(error.into()),
            },
        };
        let error = match reply {
            Err(Failure::Client(error)) => error,
            reply => return reply,
        };
        let begun = *first.get_or_insert_with(|| sent.get().copied().unwrap_or_else(Instant::now));
        let state = RetryState::new(true)
            .set_attempt_count(count)
            .set_start(begun.into_std());
        let pause = backoff.on_failure(&state);
        if !patience.goes_on(count, begun.elapsed() + pause, &error) {
            return Err(error.into());
        }
        tokio::time::sleep(pause).await;
        before = Some(error);
    }
}

/// Returns after a while if the attempt has not gone out by then, else never.
async fn unsent_after(left: Duration, sent: &OnceLock<Instant>) {
    tokio::time::sleep(left).await;
    if sent.get().is_some() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use google_cloud_gax::error::rpc::Status;
    use gust_core::{budget::Rates, ids::Region, time::Timestamp};

    use super::*;
    use crate::layers::{Budget, Call, Group, Lane, Method, Stack, Wall};

    const BUDGET: Duration = Duration::from_secs(30);

    fn goes_on(attempts: u32, error: &Error) -> bool {
        Patience { budget: BUDGET }.goes_on(attempts, Duration::from_secs(1), error)
    }

    fn google(status: u16, reason: &str) -> Error {
        let body = serde_json::json!({"error": {
            "code": status, "message": "m", "errors": [{"reason": reason, "domain": "global", "message": "m"}],
        }});
        let body = serde_json::to_vec(&body).expect("JSON");
        let status_body = Status::try_from(&bytes::Bytes::from(body)).expect("Google's form");
        Error::service_with_http_metadata(status_body, Some(status), None)
    }

    #[test]
    fn what_leaves_the_outcome_open_is_asked_again_and_a_refusal_is_not() {
        assert!(goes_on(1, &google(503, "backendError")));
        assert!(goes_on(1, &Error::io("reset")));
        assert!(goes_on(1, &Error::connect("refused")));
        assert!(!goes_on(1, &google(503, "insufficientCapacity")), "a stockout");
        assert!(!goes_on(1, &google(403, "rateLimitExceeded")));
        assert!(!goes_on(1, &google(429, "")));
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        assert!(!goes_on(ATTEMPTS, &Error::io("reset")));
        let patience = Patience { budget: BUDGET };
        assert!(!patience.goes_on(1, BUDGET, &Error::io("reset")));
    }

    /// Makes a call that never succeeds, with so many calls a minute; tells how many attempts went out, and how long it took.
    async fn fails(reads: u32, makes: fn() -> Boxed<Result<(), Error>>) -> (u32, Duration, Failure) {
        let begun = Instant::now();
        let wall = Wall::new(move || Timestamp(i64::try_from(begun.elapsed().as_millis()).expect("minutes")));
        let rates = Rates {
            reads,
            ..Rates::default()
        };
        let stack = Stack::new(1, 1, Budget::new(rates, 1, wall, |_, _| false));
        let method = Method {
            name: "test.call",
            group: Group::Read,
            creates: false,
        };
        let made = Arc::new(AtomicU32::new(0));
        let counted = || -> Boxed<Result<(), Error>> {
            let (made, call) = (Arc::clone(&made), makes());
            Box::pin(async move {
                made.fetch_add(1, Ordering::SeqCst);
                call.await
            })
        };
        let pass = |within, run| {
            let call = Call {
                method,
                region: Region::new("us-central1"),
                within,
                run,
            };
            stack.call(Lane::Quick, call)
        };
        let failure = attempts(Patience { budget: BUDGET }, counted, pass)
            .await
            .expect_err("it never succeeds");
        (made.load(Ordering::SeqCst), begun.elapsed(), failure)
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_is_charged_to_the_account() {
        let breaks: fn() -> Boxed<Result<(), Error>> = || Box::pin(async { Err(Error::io("reset")) });
        let (made, took, _) = fails(6000, breaks).await;
        assert_eq!(made, ATTEMPTS);
        assert!(took < Duration::from_secs(10), "{took:?}");
        // Five a minute are one in twelve seconds: two find their turn within the time there is, and what the last one met is told.
        let (made, took, failure) = fails(5, breaks).await;
        assert!((2..ATTEMPTS).contains(&made), "{made}");
        assert!(took <= BUDGET + WALL, "{took:?}");
        assert!(matches!(failure, Failure::Client(_)), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_attempts_together_end_in_time() {
        let hangs: fn() -> Boxed<Result<(), Error>> = || {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Err(Error::timeout("20 s"))
            })
        };
        let (made, took, failure) = fails(6000, hangs).await;
        assert_eq!(made, 2);
        assert!(took <= BUDGET + WALL, "{took:?}");
        assert!(matches!(failure, Failure::Overdue(_)), "{failure}");
    }
}
