//! Membership: the lease on which this replica's presence and its shards hang.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ports::{Member, Store},
    tenure::Timing,
};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{Leases, held};
use crate::{
    clock::Clock,
    task::{Backoff, Dice},
    worker::{Membership, Worker},
};

#[derive(Clone)]
pub(super) struct Keeper {
    pub me: Member,
    pub store: Arc<dyn Store>,
    pub worker: Worker,
    pub clock: Clock,
    pub dice: Dice,
    pub timing: Timing,
    pub leases: Leases,
}

impl Keeper {
    /// Joins, stays a member, and joins again whenever the membership was lost, for ever.
    pub async fn stay(self) {
        let backoff = || Backoff::new(Duration::from_millis(100), Duration::from_millis(500), &self.dice);
        let mut waits = backoff();
        loop {
            let (lease, held) = held::grant(&*self.store, &self.clock, self.timing, &mut waits).await;
            self.leases.add(lease.id);
            match timeout(self.timing.call, self.store.join(lease.id, &self.me)).await {
                Ok(Ok(())) => {
                    waits = backoff();
                    info!(gust.replica = %self.me.replica, "joined");
                    self.worker.admit(Membership {
                        lease: lease.id,
                        held: held.clone(),
                    });
                    held.keep(&*self.store, lease.id).await;
                    self.worker.expel().await;
                }
                Ok(Err(error)) => warn!(error = crate::error_chain(&error), "cannot join; tried again"),
                Err(_) => warn!("cannot join: the store did not answer; tried again"),
            }
            let _ = timeout(self.timing.call, self.store.revoke(lease.id)).await;
            self.leases.remove(lease.id);
            tokio::time::sleep(waits.step()).await;
        }
    }

    /// Ends what the worker does, then gives the membership back.
    pub async fn leave(&self) {
        if let Some(membership) = self.worker.expel().await {
            membership.held.give_up();
            let _ = timeout(self.timing.call, self.store.revoke(membership.lease)).await;
            self.leases.remove(membership.lease);
        }
    }
}
