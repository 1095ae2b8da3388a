//! The layers put together.

use gust_core::ids::Region;
use tower::{Service as _, ServiceExt, limit::ConcurrencyLimit};

use super::{
    budget::{Budget, Pay},
    call::{Call, Failure, Make},
    deadline::Deadline,
    watch::Watch,
};

/// Which queue a call stands in. Waits hold a connection for minutes, so they must not keep a create or a
/// delete from going out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Calls that are answered at once.
    Quick,
    /// Calls that Google holds until something has happened.
    Wait,
}

type Layers = Pay<ConcurrencyLimit<Watch<Deadline<Make>>>>;

/// The whole stack. Clones share the limits.
#[derive(Clone, Debug)]
pub struct Stack {
    quick: Layers,
    wait: Layers,
    budget: Budget,
}

impl Stack {
    /// A stack with at most `quick` and `wait` calls at a time in the two lanes; further calls stand in line, once
    /// `budget` has let them go.
    pub fn new(quick: usize, wait: usize, budget: Budget) -> Self {
        let layers = |limit: usize| Pay {
            inner: ConcurrencyLimit::new(Watch(Deadline(Make)), limit.max(1)),
            budget: budget.clone(),
        };
        Self {
            quick: layers(quick),
            wait: layers(wait),
            budget,
        }
    }

    /// A region is ours to call in from now on; another may have called there until now.
    pub fn begin(&self, region: &Region) {
        self.budget.begin(region);
    }

    /// Makes a call.
    ///
    /// # Errors
    /// [`Failure`] if there was no reply that the caller can use.
    pub async fn call<T: Send + 'static>(&self, lane: Lane, call: Call<T>) -> Result<T, Failure> {
        let mut layers = match lane {
            Lane::Quick => self.quick.clone(),
            Lane::Wait => self.wait.clone(),
        };
        ServiceExt::<Call<T>>::ready(&mut layers).await?.call(call).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use gust_core::{budget::Rates, time::Timestamp};

    use super::*;
    use crate::layers::{Group, Method, Wall};

    const METHOD: Method = Method {
        name: "test.call",
        group: Group::Read,
        creates: false,
    };

    fn stack(quick: usize, wait: usize) -> Stack {
        let wall = Wall::new(|| Timestamp(0));
        Stack::new(quick, wait, Budget::new(Rates::default(), 1, wall, |_, _| false))
    }

    fn call<T>(run: impl Future<Output = T> + Send + 'static, within: u64) -> Call<T> {
        Call {
            method: METHOD,
            region: Region::new("us-central1"),
            within: Duration::from_secs(within),
            run: Box::pin(async { Ok(run.await) }),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_ended_by_its_own_time_limit() {
        let stack = stack(1, 1);
        let hung = stack
            .call(Lane::Quick, call(std::future::pending::<()>(), 30))
            .await;
        assert!(matches!(hung, Err(Failure::Overdue(d)) if d.as_secs() == 30));
        let next = stack.call(Lane::Quick, call(async { 7 }, 30)).await;
        assert_eq!(next.expect("the place in line is free again"), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_than_allowed_are_under_way() {
        let stack = stack(3, 1);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (stack, now, most) = (stack.clone(), now.clone(), most.clone());
            all.spawn(async move {
                let work = async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                stack.call(Lane::Quick, call(work, 60)).await
            });
        }
        for done in all.join_all().await {
            done.expect("each call is made in the end");
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_do_not_hold_up_quick_calls() {
        let stack = stack(1, 1);
        let other = stack.clone();
        let wait = async move {
            other
                .call(Lane::Wait, call(std::future::pending::<()>(), 120))
                .await
        };
        let quick = stack.call(Lane::Quick, call(async { 1 }, 1));
        tokio::select! {
            biased;
            _ = wait => panic!("the wait ended first"),
            quick = quick => assert_eq!(quick.expect("the quick lane is free"), 1),
        }
    }
}
