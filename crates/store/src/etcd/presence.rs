//! Leases, the lead, members and owners of shards.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    ids::{ReplicaId, Shard, Term},
    ports::{Candidacy, Lease, LeaseError, LeaseId, Member, Ownership, Revision, Roster, StoreError},
};

use super::{
    EtcdStore, failed,
    wire::{Compare, EtcdError, KeyValue, Keys, Op, Range, Txn, TxnAnswer},
};

impl EtcdStore {
    pub(super) async fn take_lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        // A lease whose answer is lost carries nothing, and lapses.
        let granted = self.again(|| self.etcd.lease_grant(seconds)).await;
        let (id, ttl) = granted.map_err(|error| failed("taking a lease", error))?;
        Ok(Lease {
            id: LeaseId(id),
            ttl: Duration::from_secs(ttl),
        })
    }

    /// Asks once: when to ask again is up to the caller, who knows how long there is.
    pub(super) async fn renew_lease(&self, lease: LeaseId) -> Result<Duration, LeaseError> {
        match self.etcd.lease_keep_alive(lease.0).await {
            // etcd counts from when it was asked, which is not before we did.
            Ok(ttl) => Ok(Duration::from_secs(ttl)),
            Err(EtcdError::NoLease) => Err(LeaseError::Gone),
            Err(error) => Err(LeaseError::Unclear(error.to_string())),
        }
    }

    pub(super) async fn end_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        match self.again(|| self.etcd.lease_revoke(lease.0)).await {
            Ok(()) | Err(EtcdError::NoLease) => Ok(()),
            Err(error) => Err(failed("revoking a lease", error)),
        }
    }

    pub(super) async fn stand(&self, lease: LeaseId, replica: &ReplicaId) -> Result<Candidacy, StoreError> {
        let key = self.layout.leader();
        let taken = self.take("campaigning", lease, &key, replica).await?;
        Ok(match taken {
            Taken::Now(revision) => Candidacy::Elected(Term(revision)),
            Taken::Before(kv) if kv.lease == lease.0 && !gust_core::mutant!("adoption-forgotten") => {
                Candidacy::Elected(Term(kv.create_revision))
            }
            Taken::Before(kv) => Candidacy::Held {
                leader: name(&kv),
                term: Term(kv.create_revision),
            },
        })
    }

    pub(super) async fn give_up(&self, term: Term) -> Result<(), StoreError> {
        let key = self.layout.leader();
        let held = Compare::CreateRevision(key.clone(), term.0);
        self.delete_if("resigning", held, key).await.map(drop)
    }

    /// The term is looked at again with the lease in hand: a lease is never another term's, so ending it late does no
    /// harm.
    pub(super) async fn end_term(&self, term: Term) -> Result<(), StoreError> {
        let act = "ending the lease of a leader";
        let reads = self.roster_keys().map(|keys| Op::Range(Range::all(keys)));
        let txn = Txn {
            success: reads.into(),
            ..Txn::default()
        };
        let answer = self.ask(act, txn).await?;
        let mut kvs = answer.found.iter().flat_map(|found| &found.kvs);
        let leader = kvs.find(|kv| kv.key == self.layout.leader());
        let Some(leader) = leader.filter(|kv| kv.create_revision == term.0) else {
            return Ok(());
        };
        match kvs.find(|kv| kv.lease == leader.lease) {
            None => self.end_lease(LeaseId(leader.lease)).await,
            Some(other) => Err(failed(
                act,
                EtcdError::Refused(format!("`{}` hangs on it as well", other.key)),
            )),
        }
    }

    pub(super) async fn show(&self, lease: LeaseId, member: &Member) -> Result<(), StoreError> {
        let value: Arc<[u8]> = serde_json::to_vec(member).expect("texts are always JSON").into();
        let key = self.layout.member(&member.replica);
        let mut seen = 0;
        // A replica that begins anew takes its key over from its earlier life. What that life sent and comes late
        // must not take it back: the key would go with a lease that nobody renews.
        loop {
            let txn = Txn {
                compares: vec![Compare::ModRevision(key.clone(), seen)],
                success: vec![Op::Put {
                    key: key.clone(),
                    value: value.clone(),
                    lease: lease.0,
                }],
                failure: vec![Op::Range(Range::all(Keys::one(&key)))],
            };
            let answer = self.ask("joining", txn).await?;
            let mut kvs = answer.found.into_iter().flat_map(|found| found.kvs);
            match kvs.next() {
                _ if answer.succeeded => return Ok(()),
                Some(kv) if kv.lease == lease.0 && kv.value == value => return Ok(()),
                found => seen = found.map_or(0, |kv| kv.mod_revision),
            }
        }
    }

    /// Whoever takes a shard that it has already writes its key anew: so a wish to let go of it that was sent before
    /// and comes late finds another revision, and takes nothing away.
    pub(super) async fn take_shard(
        &self,
        lease: LeaseId,
        shard: &Shard,
        replica: &ReplicaId,
    ) -> Result<Ownership, StoreError> {
        let (act, key) = ("taking a shard", self.layout.shard(shard));
        let mut taken = self.take(act, lease, &key, replica).await?;
        loop {
            let seen = match taken {
                Taken::Before(kv) if kv.lease == lease.0 => kv.mod_revision,
                Taken::Before(kv) => return Ok(Ownership::Theirs(name(&kv))),
                Taken::Now(_) => return Ok(Ownership::Ours),
            };
            let same = Compare::ModRevision(key.clone(), seen);
            let answer = self.put_if(act, same, lease, &key, replica).await?;
            if answer.succeeded {
                return Ok(Ownership::Ours);
            }
            let mut kvs = answer.found.into_iter().flat_map(|found| found.kvs);
            taken = match kvs.next() {
                Some(kv) => Taken::Before(kv),
                None => self.take(act, lease, &key, replica).await?,
            };
        }
    }

    pub(super) async fn leave_shard(&self, lease: LeaseId, shard: &Shard) -> Result<(), StoreError> {
        let (act, key) = ("letting go of a shard", self.layout.shard(shard));
        loop {
            let range = Range::all(Keys::one(&key));
            let found = self.again(|| self.etcd.range(range.clone())).await;
            let found = found.map_err(|error| failed(act, error))?;
            let Some(kv) = found.kvs.first().filter(|kv| kv.lease == lease.0) else {
                return Ok(());
            };
            let same = Compare::ModRevision(key.clone(), kv.mod_revision);
            if self.delete_if(act, same, key.clone()).await? {
                return Ok(());
            }
        }
    }

    /// Makes `key` with the replica's name, tied to the lease, unless it is there.
    ///
    /// After a lost answer the question is put again: the key may be there because of the lost one, and then
    /// carries the lease.
    async fn take(
        &self,
        act: &'static str,
        lease: LeaseId,
        key: &str,
        replica: &ReplicaId,
    ) -> Result<Taken, StoreError> {
        let free = Compare::CreateRevision(key.to_owned(), 0);
        let answer = self.put_if(act, free, lease, key, replica).await?;
        if answer.succeeded {
            return Ok(Taken::Now(answer.revision));
        }
        let mut kvs = answer.found.into_iter().flat_map(|found| found.kvs);
        kvs.next().map(Taken::Before).ok_or_else(|| {
            failed(
                act,
                EtcdError::Unclear(format!("`{key}` is there, but was not shown")),
            )
        })
    }

    /// Writes the replica's name under `key`, tied to the lease, if `held` holds; reads the key otherwise.
    async fn put_if(
        &self,
        act: &'static str,
        held: Compare,
        lease: LeaseId,
        key: &str,
        replica: &ReplicaId,
    ) -> Result<TxnAnswer, StoreError> {
        let txn = Txn {
            compares: vec![held],
            success: vec![Op::Put {
                key: key.to_owned(),
                value: replica.as_str().as_bytes().into(),
                lease: lease.0,
            }],
            failure: vec![Op::Range(Range::all(Keys::one(key)))],
        };
        self.ask(act, txn).await
    }

    /// True if it was deleted by this very message: of one that was sent again the first may have been it.
    async fn delete_if(&self, act: &'static str, held: Compare, key: String) -> Result<bool, StoreError> {
        let txn = Txn {
            compares: vec![held],
            success: vec![Op::Delete(key)],
            failure: Vec::new(),
        };
        self.ask(act, txn).await.map(|answer| answer.succeeded)
    }

    async fn ask(&self, act: &'static str, txn: Txn) -> Result<TxnAnswer, StoreError> {
        let txn = Arc::new(txn);
        let answer = self.again(|| self.etcd.txn(Arc::clone(&txn))).await;
        answer.map_err(|error| failed(act, error))
    }

    fn roster_keys(&self) -> [Keys; 3] {
        [
            Keys::one(self.layout.leader()),
            self.layout.members(),
            self.layout.shards(),
        ]
    }

    pub(super) async fn read_roster(&self) -> Result<Roster, StoreError> {
        let reads = self.roster_keys().map(|keys| Op::Range(Range::all(keys)));
        let txn = Txn {
            success: reads.into(),
            ..Txn::default()
        };
        let answer = self.ask("looking who is there", txn).await?;
        let mut found = answer.found.into_iter().map(|found| found.kvs);
        let mut part = || found.next().unwrap_or_default();
        let (leader, members, owners) = (part(), part(), part());
        let leader = leader.first().map(|kv| (name(kv), Term(kv.create_revision)));
        let owner = |kv: &KeyValue| Some((self.layout.parse_shard(&kv.key)?, name(kv)));
        Ok(Roster {
            revision: Revision(answer.revision),
            leader,
            members: members.iter().filter_map(member).collect(),
            owners: owners.iter().filter_map(owner).collect::<BTreeMap<_, _>>(),
        })
    }

    pub(super) async fn watch_roster(&self, since: Revision) -> Result<(), StoreError> {
        let act = "waiting for another roster";
        let keys = self.roster_keys().into();
        let mut watch = match self.etcd.watch(keys, since.0 + 1).await {
            Ok(watch) => watch,
            // What happened since cannot be told any more: look.
            Err(EtcdError::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(failed(act, error)),
        };
        // Whether something changed or the watch broke: look. Before there is something to see, nothing comes.
        while let Ok(events) = watch.next().await {
            if !events.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// How a key came to be there.
enum Taken {
    /// It was made, at this revision.
    Now(u64),
    /// It was there.
    Before(KeyValue),
}

fn name(kv: &KeyValue) -> ReplicaId {
    ReplicaId::new(&*String::from_utf8_lossy(&kv.value))
}

fn member(kv: &KeyValue) -> Option<(ReplicaId, Member)> {
    match serde_json::from_slice::<Member>(&kv.value) {
        Ok(member) => Some((member.replica.clone(), member)),
        Err(error) => {
            // One replica that nobody understands must not keep the others from seeing each other.
            tracing::warn!(key = %kv.key, %error, "a member cannot be read, and counts as absent");
            None
        }
    }
}
