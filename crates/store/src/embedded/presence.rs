//! Leases, and what is tied to them, in the memory of the one process that has the file.
//!
//! A lease here never lapses by itself: its holder is in the same process as the store, and ends with it.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    ids::{ReplicaId, Shard, Term},
    ports::{Lease, LeaseError, LeaseId, Member, Ownership, Revision, Roster, StoreError},
};

/// Who leads.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub lease: LeaseId,
    pub replica: ReplicaId,
    pub term: Term,
}

/// Leases, the leader, members and owners of shards. All gone when the process is.
#[derive(Debug, Default)]
pub(super) struct Presence {
    last: i64,
    leases: BTreeMap<LeaseId, Duration>,
    leader: Option<Leader>,
    members: BTreeMap<ReplicaId, (LeaseId, Member)>,
    owners: BTreeMap<Shard, (LeaseId, ReplicaId)>,
    /// Counts the changes of the roster.
    version: u64,
}

impl Presence {
    /// How often the roster has changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn grant(&mut self, ttl: Duration) -> Lease {
        self.last += 1;
        let id = LeaseId(self.last);
        self.leases.insert(id, ttl);
        Lease { id, ttl }
    }

    pub fn renew(&self, lease: LeaseId) -> Result<Duration, LeaseError> {
        self.leases.get(&lease).copied().ok_or(LeaseError::Gone)
    }

    /// Takes away what is tied to the lease, but for the lead, which ends with a new term.
    pub fn revoke(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease).is_none() {
            return;
        }
        self.members.retain(|_, (held, _)| *held != lease);
        self.owners.retain(|_, (held, _)| *held != lease);
        self.version += 1;
    }

    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    pub fn lead(&mut self, leader: Option<Leader>) {
        self.leader = leader;
        self.version += 1;
    }

    /// An error unless the lease lives.
    pub fn check(&self, act: &'static str, lease: LeaseId) -> Result<(), StoreError> {
        if self.leases.contains_key(&lease) {
            return Ok(());
        }
        Err(StoreError {
            act,
            hint: "the lease has ended; take a new one".to_owned(),
            source: Some(Box::new(LeaseError::Gone)),
        })
    }

    /// An error if a member or a shard hangs on the lease.
    pub fn check_bare(&self, act: &'static str, lease: LeaseId) -> Result<(), StoreError> {
        let members = self.members.values().map(|(held, _)| *held);
        let owners = self.owners.values().map(|(held, _)| *held);
        if members.chain(owners).all(|held| held != lease) {
            return Ok(());
        }
        Err(StoreError {
            act,
            hint: "a member or a shard hangs on it as well".to_owned(),
            source: None,
        })
    }

    pub fn join(&mut self, lease: LeaseId, member: Member) -> Result<(), StoreError> {
        self.check("joining", lease)?;
        self.members.insert(member.replica.clone(), (lease, member));
        self.version += 1;
        Ok(())
    }

    pub fn own(&mut self, lease: LeaseId, shard: Shard, replica: ReplicaId) -> Result<Ownership, StoreError> {
        self.check("taking a shard", lease)?;
        if let Some((held, owner)) = self.owners.get(&shard) {
            return Ok(if *held == lease {
                Ownership::Ours
            } else {
                Ownership::Theirs(owner.clone())
            });
        }
        self.owners.insert(shard, (lease, replica));
        self.version += 1;
        Ok(Ownership::Ours)
    }

    pub fn disown(&mut self, lease: LeaseId, shard: &Shard) {
        if self.owners.get(shard).is_some_and(|(held, _)| *held == lease) {
            self.owners.remove(shard);
            self.version += 1;
        }
    }

    pub fn roster(&self) -> Roster {
        let members = self.members.iter();
        let owners = self.owners.iter();
        Roster {
            revision: Revision(self.version),
            leader: self
                .leader
                .as_ref()
                .map(|leader| (leader.replica.clone(), leader.term)),
            members: members
                .map(|(name, (_, member))| (name.clone(), member.clone()))
                .collect(),
            owners: owners
                .map(|(shard, (_, owner))| (shard.clone(), owner.clone()))
                .collect(),
        }
    }
}
