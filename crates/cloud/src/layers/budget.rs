//! The account of calls a minute: each call waits for its turn in its region's account.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use google_cloud_gax::error::Error as ClientError;
use gust_core::{
    budget::{Account, Rates, Urgency},
    ids::Region,
    time::Timestamp,
};
use tower::{Service, ServiceExt as _};

use super::call::{Boxed, Call, Failure, Group, Method};

/// Tells the time by which Google's minutes are counted.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Wall {
    /// A clock.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wall").field(&self.now()).finish()
    }
}

/// The accounts of one project. Clones share them.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    rates: Rates,
    /// How many regions share what belongs to none.
    regions: u32,
    wall: Wall,
    /// Whether a refusal says that the minute is spent.
    spent: fn(Method, &ClientError) -> bool,
    purses: Mutex<BTreeMap<(Region, Group), Arc<Purse>>>,
}

struct Purse {
    account: Mutex<Account>,
    /// Who waits stands in line, by urgency: the first that came is the first to go.
    lines: [tokio::sync::Mutex<()>; 2],
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("rates", &self.0.rates)
            .finish_non_exhaustive()
    }
}

impl Budget {
    /// Accounts with these limits, in a project whose `regions` share what belongs to none of them: each has an equal
    /// part of it. `spent` says of a refused call whether Google takes no more calls of its group in this minute.
    pub fn new(rates: Rates, regions: usize, wall: Wall, spent: fn(Method, &ClientError) -> bool) -> Self {
        Self(Arc::new(Inner {
            rates,
            regions: u32::try_from(regions).unwrap_or(u32::MAX).max(1),
            wall,
            spent,
            purses: Mutex::default(),
        }))
    }

    /// The accounts of a region are ours from now on: see [`Account::begin`].
    pub fn begin(&self, region: &Region) {
        let now = self.0.wall.now();
        for group in Group::ALL {
            self.0.purse(region, group).with(|account| account.begin(now));
        }
    }
}

impl Inner {
    /// The account that a call is charged to: where reads have one together it is that of [`Group::Read`].
    fn purse(&self, region: &Region, group: Group) -> Arc<Purse> {
        let Rates { simplified, .. } = self.rates;
        let (group, limit) = match group {
            Group::Write => (group, self.rates.writes),
            Group::GlobalRead => (group, self.rates.global_reads / self.regions),
            _ if simplified => (Group::Read, self.rates.reads),
            Group::Read => (group, self.rates.reads),
            Group::List => (group, self.rates.lists),
            Group::OperationRead => (group, self.rates.operation_reads),
            Group::HeavyRead => (group, self.rates.waits),
        };
        let mut purses = self.purses.lock().unwrap_or_else(PoisonError::into_inner);
        let purse = purses.entry((region.clone(), group)).or_insert_with(|| {
            Arc::new(Purse {
                account: Mutex::new(Account::new(limit)),
                lines: Default::default(),
            })
        });
        Arc::clone(purse)
    }

    /// Waits until the call may go out.
    async fn turn(&self, purse: &Purse, method: Method) {
        let urgency = method.urgency();
        let _first = purse.lines[usize::from(urgency == Urgency::Normal)].lock().await;
        loop {
            let now = self.wall.now();
            let Err(at) = purse.with(|account| account.take(now, urgency)) else {
                return;
            };
            // A millisecond at least, however the clock moves.
            tokio::time::sleep(at.since(now).max(Duration::from_millis(1))).await;
        }
    }
}

impl Purse {
    fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Has each call wait until its account lets it go, before it takes a place among the calls under way.
#[derive(Clone, Debug)]
pub struct Pay<S> {
    /// Makes the call.
    pub inner: S,
    /// The accounts.
    pub budget: Budget,
}

impl<S, T> Service<Call<T>> for Pay<S>
where
    S: Service<Call<T>, Response = T, Error = Failure> + Clone + Send + 'static,
    S::Future: Send + 'static,
    T: Send + 'static,
{
    type Response = T;
    type Error = Failure;
    type Future = Boxed<Result<T, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        // Whoever waits for its turn must not hold a place that a more urgent call could have.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let (inner, budget) = (self.inner.clone(), Arc::clone(&self.budget.0));
        Box::pin(async move {
            let method = call.method;
            let purse = budget.purse(&call.region, method.group);
            budget.turn(&purse, method).await;
            let region = call.region.clone();
            let reply = inner.oneshot(call).await;
            if let Err(Failure::Client(error)) = &reply
                && (budget.spent)(method, error)
            {
                let now = budget.wall.now();
                let ceiling = purse.with(|account| {
                    account.refused(now);
                    account.ceiling()
                });
                tracing::warn!(
                    gust.call.method = method.name,
                    gust.call.group = method.group.as_str(),
                    gust.region = %region,
                    ceiling,
                    "Google takes no more calls of this group in this minute; fewer are made from now on"
                );
            }
            reply
        })
    }
}

#[cfg(test)]
mod tests;
