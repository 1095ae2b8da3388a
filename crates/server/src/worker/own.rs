//! Owning shards: a worker calls Google for a shard only while it holds the shard's key, and believes in that
//! no longer than in the lease on which the key hangs.

use std::time::Duration;

use async_trait::async_trait;
use gust_core::{
    ids::{MachineName, ProjectId, Shard, Zone},
    mutant,
    ports::{
        Cloud, CloudError, Creation, Event, Instance, InstancePage, LeaseId, MemberFate, OperationRef,
        OperationState, Ownership, Quota, Roster, TypePage,
    },
    time::Timestamp,
};
use tracing::{info, warn};

use super::{Session, Worker, lock};
use crate::replica::Held;

/// Longest wait for one answer of the store.
const CALL: Duration = Duration::from_secs(2);
/// Between two looks at who owns what, if nothing is heard.
const LOOK: Duration = Duration::from_secs(10);
/// The shortest time between two such looks.
const PAUSE: Duration = Duration::from_millis(250);

/// The lease on which a worker's shards hang.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The lease.
    pub lease: LeaseId,
    /// Whether it may still be believed in.
    pub held: Held,
}

impl Worker {
    /// The replica is a member from now on: sessions are accepted.
    pub fn admit(&self, membership: Membership) {
        lock(&self.state).membership = Some(membership);
    }

    /// The replica is no member any more: the session ends, and with it every call. Returns the membership that
    /// was.
    pub async fn expel(&self) -> Option<Membership> {
        let (membership, session) = {
            let mut followed = lock(&self.state);
            followed.kept.clear();
            (followed.membership.take(), followed.session.take())
        };
        if let Some(session) = session {
            session.stop().await;
        }
        membership
    }
}

/// The cloud, for the owner of a shard: no call leaves once the membership may have lapsed.
pub(super) struct Owned {
    pub cloud: std::sync::Arc<dyn Cloud>,
    pub held: Held,
}

#[async_trait]
impl Cloud for Owned {
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError> {
        self.held.within(self.cloud.create(creation)).await
    }

    async fn operation(
        &self,
        operation: &OperationRef,
        patience: Duration,
    ) -> Result<OperationState, CloudError> {
        self.held.within(self.cloud.operation(operation, patience)).await
    }

    async fn fates(
        &self,
        operation: Option<&OperationRef>,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        self.held.within(self.cloud.fates(operation, creation)).await
    }

    async fn list(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        self.held.within(self.cloud.list(project, zone, page)).await
    }

    async fn get(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        self.held.within(self.cloud.get(project, zone, name)).await
    }

    async fn delete(
        &self,
        shard: &Shard,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError> {
        self.held.within(self.cloud.delete(shard, zone, name)).await
    }

    async fn deleted(
        &self,
        project: &ProjectId,
        zone: &Zone,
        since: Timestamp,
    ) -> Result<Vec<MachineName>, CloudError> {
        self.held.within(self.cloud.deleted(project, zone, since)).await
    }

    async fn quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        self.held.within(self.cloud.quotas(shard)).await
    }

    async fn machine_types(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<Option<TypePage>, CloudError> {
        self.held
            .within(self.cloud.machine_types(project, zone, page))
            .await
    }

    fn begin(&self, shard: &Shard) {
        self.cloud.begin(shard);
    }

    async fn identity_keys(&self) -> Result<String, CloudError> {
        self.cloud.identity_keys().await
    }
}

impl Session {
    /// Does what is to be done in a shard, once its key is ours.
    pub(super) async fn look_after(self, shard: Shard) {
        match self.worker.kept(&shard, self.membership.lease) {
            Some(capacity) => {
                let shard = shard.clone();
                self.tell(Event::Kept { shard, capacity }).await;
            }
            None => {
                self.take_key(&shard).await;
                if let Some(hand) = self.hand.shards.get(&shard) {
                    hand.cloud.begin(&shard);
                }
            }
        }
        if let Some(hand) = self.hand.shards.get(&shard) {
            hand.owned.open();
        }
        self.tasks.spawn("list", self.clone().list_forever(shard.clone()));
        self.tasks
            .spawn("quotas", self.clone().measure_forever(shard.clone()));
        self.tasks
            .spawn("types", self.clone().learn_forever(shard.clone()));
        self.tasks.spawn("ends", self.clone().ends_forever(shard.clone()));
        self.tasks.spawn("delete", self.clone().delete_forever(shard));
    }

    /// Takes the shard's key, again and again until it is ours.
    async fn take_key(&self, shard: &Shard) {
        let mut backoff = self.backoff();
        loop {
            let own = self
                .worker
                .store
                .own(self.membership.lease, shard, &self.worker.replica);
            match tokio::time::timeout(CALL, own).await {
                Ok(Ok(Ownership::Ours)) => break,
                Ok(Ok(Ownership::Theirs(_))) if mutant!("shard-key-ignored") => break,
                Ok(Ok(Ownership::Theirs(owner))) => {
                    info!(gust.shard = %shard, %owner, "another worker still has the shard");
                    backoff = self.backoff();
                }
                Ok(Err(error)) => {
                    warn!(gust.shard = %shard, error = crate::error_chain(&error), "the shard's key cannot be taken");
                }
                Err(_) => {
                    warn!(gust.shard = %shard, "the store did not answer; the shard's key is asked for again")
                }
            }
            tokio::time::sleep(backoff.step()).await;
        }
        self.worker.keeps(shard, self.membership.lease);
        info!(gust.shard = %shard, "shard is ours");
    }

    /// Waits until the shard is ours.
    pub(super) async fn owned(&self, shard: &Shard) {
        if let Some(hand) = self.hand.shards.get(shard) {
            hand.owned.passed().await;
        }
    }

    /// Lets go of shards that are ours by their keys and not by this session: nothing of ours is under way there any
    /// more. Whenever the roster changes, and not only once: an earlier session's wish for a key may have its
    /// effect late.
    pub(super) async fn let_go(self) {
        loop {
            let since = match tokio::time::timeout(CALL, self.worker.store.roster()).await {
                Ok(Ok(roster)) => {
                    self.let_go_of(&roster).await;
                    Some(roster.revision)
                }
                Ok(Err(_)) | Err(_) => None,
            };
            if let Some(since) = since {
                // A watch that stays silent is not trusted for long.
                let _ = tokio::time::timeout(LOOK, self.worker.store.roster_changed(since)).await;
            }
            // Neither a store that fails at once nor a busy roster must be asked without a pause.
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn let_go_of(&self, roster: &Roster) {
        let ours = roster
            .owners
            .iter()
            .filter(|(_, owner)| **owner == self.worker.replica)
            .filter(|(shard, _)| !self.hand.shards.contains_key(*shard));
        for (shard, _) in ours {
            self.worker.gives_up(shard);
            // What hangs on an earlier lease stays, and lapses with it.
            let disown = self.worker.store.disown(self.membership.lease, shard);
            if let Ok(Ok(())) = tokio::time::timeout(CALL, disown).await {
                info!(gust.shard = %shard, "shard is let go");
            }
        }
    }
}

#[cfg(test)]
mod tests;
