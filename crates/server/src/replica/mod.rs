//! A replica: always a worker, and one of all replicas the leader.
//!
//! It holds two leases. On one hang its membership and the shards its worker owns; on the other, if it is
//! elected, the leader's key. Losing one ends what hangs on it, and nothing else. Whoever holds a lease stops
//! on its own before the lease can lapse; the store's fence stands behind that.

mod attend;
mod held;
mod lead;
mod leases;
mod member;
mod notice;
mod stand_by;

use std::{pin::pin, sync::Arc, time::Duration};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Link, Member, Store},
    tenure::Timing,
};
use tokio::{sync::watch, time::timeout};

pub use held::Held;
pub use leases::Leases;

use crate::{
    leader::{End, Handle, Parts},
    task::Tasks,
    worker::Worker,
};

/// How long a leader that is asked to end goes on leading at most, until others have its shards.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Ways to the other replicas' workers.
pub trait Links: Send + Sync {
    /// The way to the worker of a member, which may be this replica itself.
    fn to(&self, member: &Member) -> Arc<dyn Link>;
}

/// Whether this replica leads, and who does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// Nobody is known to lead.
    #[default]
    Unknown,
    /// Another replica leads.
    Following {
        /// Which.
        leader: ReplicaId,
        /// Since which term.
        term: Term,
    },
    /// This replica leads.
    Leading {
        /// Since which term.
        term: Term,
    },
}

/// Everything a replica is made of.
pub struct Replica {
    /// How it shows itself.
    pub me: Member,
    /// What its leader is made of.
    pub parts: Parts,
    /// Its worker.
    pub worker: Worker,
    /// Ways to the others.
    pub links: Arc<dyn Links>,
    /// How leases are kept.
    pub timing: Timing,
    /// The way into its leader's loop, while it leads.
    pub handle: Handle,
    /// Whether it leads.
    pub leadership: watch::Sender<Leadership>,
    /// The leases it holds.
    pub leases: Leases,
}

impl Replica {
    /// Runs until `tasks` is cancelled, or its leader cannot go on at all.
    ///
    /// Both leases are revoked before it returns: a successor need not wait for them to lapse. A leader that is asked to
    /// end hands over in order: others take its shards first, while it still leads, and only then it gives up the lead.
    pub async fn run(&self, tasks: &Tasks) -> End {
        let member = tasks.child();
        let (candidate, _ends_with_this) = tasks.apart();
        let keeper = member::Keeper {
            me: self.me.clone(),
            store: Arc::clone(&self.parts.store),
            worker: self.worker.clone(),
            clock: self.parts.clock.clone(),
            dice: self.parts.dice.clone(),
            timing: self.timing,
            leases: self.leases.clone(),
        };
        member.spawn("member", keeper.clone().stay());
        member.spawn("attend", self.attendant().stay());
        let mut campaign = pin!(self.campaign(&candidate));
        let leave = async {
            member.stop().await;
            keeper.leave().await;
        };
        let relieved = async {
            tasks.cancelled().cancelled().await;
            if self.handle.is_open() {
                leave.await;
                let _ = timeout(HAND_OVER, self.handle.retire()).await;
            }
        };
        let end = tokio::select! {
            biased;
            end = &mut campaign => Some(end),
            () = relieved => None,
        };
        candidate.cancelled().cancel();
        let end = match end {
            Some(end) => end,
            None => campaign.await,
        };
        member.stop().await;
        keeper.leave().await;
        end
    }

    fn attendant(&self) -> attend::Attendant {
        attend::Attendant {
            store: Arc::clone(&self.parts.store),
            links: Arc::clone(&self.links),
            clock: self.parts.clock.clone(),
            dice: self.parts.dice.clone(),
            timing: self.timing,
            leadership: self.leadership.subscribe(),
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.parts.store
    }

    fn tell(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|now| {
            let changed = *now != leadership;
            *now = leadership;
            changed
        });
    }
}
