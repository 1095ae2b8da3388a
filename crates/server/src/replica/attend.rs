//! A follower's eye on the leader: a host whose supervisor and replica died need not be waited for until the lease
//! lapses.

use std::{sync::Arc, time::Duration};

use gust_core::{
    doubt::Doubt,
    ids::{ReplicaId, Term},
    ports::{Member, Store},
    tenure::Timing,
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, warn};

use super::{Leadership, Links};
use crate::{
    clock::Clock,
    task::{Backoff, Dice},
};

/// From a connection that broke to the redial. Whoever died has closed its port by then.
const REDIAL: Duration = Duration::from_millis(20);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// Stays connected to whoever leads, and ends the leader's lease if its process is dead for certain.
pub(super) struct Attendant {
    pub store: Arc<dyn Store>,
    pub links: Arc<dyn Links>,
    pub clock: Clock,
    pub dice: Dice,
    pub timing: Timing,
    pub leadership: watch::Receiver<Leadership>,
}

impl Attendant {
    /// Attends each leader in turn, for ever.
    pub async fn stay(self) {
        let mut leadership = self.leadership.clone();
        let mut doubt = Doubt::default();
        loop {
            let now = leadership.borrow_and_update().clone();
            if let Leadership::Following { leader, term } = &now {
                tokio::select! {
                    biased;
                    changed = leadership.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    () = self.attend(leader, *term, &mut doubt) => {}
                }
            }
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }

    /// Until the leader is taken for dead.
    async fn attend(&self, leader: &ReplicaId, term: Term, doubt: &mut Doubt) {
        let fresh = || Backoff::new(REDIAL, self.timing.look, &self.dice);
        let mut backoff = fresh();
        let member = self.member(leader).await;
        let link = self.links.to(&member);
        loop {
            let dialled = self.clock.elapsed();
            let parting = link.attend().await;
            let now = self.clock.elapsed();
            if doubt.parted(term, &parting, now) {
                return self.depose(leader, term).await;
            }
            debug!(gust.leader = %leader, gust.term = term.0, ?parting, "no connection to the leader");
            if now.saturating_sub(dialled) > GOOD {
                backoff = fresh();
            }
            tokio::time::sleep(backoff.step()).await;
        }
    }

    /// How the leader shows itself, once it does.
    async fn member(&self, leader: &ReplicaId) -> Member {
        loop {
            if let Ok(Ok(mut roster)) = timeout(self.timing.call, self.store.roster()).await
                && let Some(member) = roster.members.remove(leader)
            {
                return member;
            }
            tokio::time::sleep(self.timing.look).await;
        }
    }

    async fn depose(&self, leader: &ReplicaId, term: Term) {
        warn!(
            gust.leader = %leader,
            gust.term = term.0,
            "the leader's host refuses connections: its process is dead, and its lease is ended"
        );
        let deposed = timeout(self.timing.call, self.store.depose(term)).await;
        let problem = match deposed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => crate::error_chain(&error),
            Err(_) => "the store did not answer in time".to_owned(),
        };
        warn!(
            gust.term = term.0,
            problem, "the dead leader's lease cannot be ended; it lapses by itself"
        );
    }
}

#[cfg(test)]
mod tests;
