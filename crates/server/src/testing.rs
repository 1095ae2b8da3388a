//! Ports for tests of what is timed: they answer what they are told to, and count what they are asked.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::{MachineName, ProjectId, ReplicaId, Shard, Term, Zone},
    ports::{
        Candidacy, Cloud, CloudError, Commit, CommitError, Creation, Instance, InstancePage, Lease,
        LeaseError, LeaseId, Loaded, Member, MemberFate, OperationRef, OperationState, Ownership, Quota,
        Revision, Roster, Store, StoreError, TypePage,
    },
};
use tokio::time::Instant;

/// What comes of one renewal.
#[derive(Clone, Copy, Debug)]
pub enum Renewal {
    /// It is granted after so long.
    After(Duration),
    /// The lease is gone.
    Gone,
    /// Nobody knows.
    Unclear,
    /// There is never an answer.
    Silence,
}

/// What comes of waiting for another roster.
#[derive(Clone, Copy, Debug, Default)]
pub enum Watching {
    /// Nothing, ever: the connection is dead.
    #[default]
    Silence,
    /// It breaks at once.
    Broken,
}

/// A store that does as it is told. What no test asks for is refused.
#[derive(Debug, Default)]
pub struct ToldStore {
    /// The next renewals; after the last of them all are granted at once.
    pub renewals: Mutex<VecDeque<Renewal>>,
    /// When renewals were asked for.
    pub renewed: Mutex<Vec<Instant>>,
    /// Who has the shards; nobody's are given to who asks.
    pub owners: Mutex<BTreeMap<Shard, ReplicaId>>,
    /// Shards that were let go.
    pub let_go: Mutex<Vec<Shard>>,
    /// What a watch of the roster does.
    pub watching: Mutex<Watching>,
    /// How often the roster was read.
    pub looks: AtomicUsize,
    /// Who is there.
    pub members: Mutex<BTreeMap<ReplicaId, Member>>,
    /// Terms whose leases were ended, and when.
    pub deposed: Mutex<Vec<(Term, Instant)>>,
    /// Its records.
    pub records: Vec<(String, Vec<u8>)>,
}

fn refused(act: &'static str) -> StoreError {
    StoreError {
        act,
        hint: "the test says so".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Store for ToldStore {
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let id = LeaseId(1);
        Ok(Lease { id, ttl })
    }

    async fn renew(&self, _lease: LeaseId) -> Result<Duration, LeaseError> {
        self.renewed.lock().unwrap().push(Instant::now());
        let next = self.renewals.lock().unwrap().pop_front();
        match next.unwrap_or(Renewal::After(Duration::ZERO)) {
            Renewal::After(delay) => {
                tokio::time::sleep(delay).await;
                Ok(Duration::from_secs(5))
            }
            Renewal::Gone => Err(LeaseError::Gone),
            Renewal::Unclear => Err(LeaseError::Unclear("the test says so".to_owned())),
            Renewal::Silence => pending().await,
        }
    }

    async fn revoke(&self, _lease: LeaseId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn campaign(&self, _lease: LeaseId, _replica: &ReplicaId) -> Result<Candidacy, StoreError> {
        Err(refused("campaigning"))
    }

    async fn resign(&self, _term: Term) -> Result<(), StoreError> {
        Err(refused("resigning"))
    }

    async fn depose(&self, term: Term) -> Result<(), StoreError> {
        self.deposed.lock().unwrap().push((term, Instant::now()));
        Ok(())
    }

    async fn join(&self, _lease: LeaseId, _member: &Member) -> Result<(), StoreError> {
        Err(refused("joining"))
    }

    async fn own(
        &self,
        _lease: LeaseId,
        shard: &Shard,
        replica: &ReplicaId,
    ) -> Result<Ownership, StoreError> {
        let mut owners = self.owners.lock().unwrap();
        let owner = owners.entry(shard.clone()).or_insert_with(|| replica.clone());
        Ok(if owner == replica {
            Ownership::Ours
        } else {
            Ownership::Theirs(owner.clone())
        })
    }

    async fn disown(&self, _lease: LeaseId, shard: &Shard) -> Result<(), StoreError> {
        self.owners.lock().unwrap().remove(shard);
        self.let_go.lock().unwrap().push(shard.clone());
        Ok(())
    }

    async fn roster(&self) -> Result<Roster, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(Roster {
            owners: self.owners.lock().unwrap().clone(),
            members: self.members.lock().unwrap().clone(),
            ..Roster::default()
        })
    }

    async fn roster_changed(&self, _since: Revision) -> Result<(), StoreError> {
        let watching = *self.watching.lock().unwrap();
        match watching {
            Watching::Silence => pending().await,
            Watching::Broken => Err(refused("watching")),
        }
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded {
            revision: Revision(1),
            records: self.records.clone(),
        })
    }

    async fn commit(&self, _commit: &Commit) -> Result<Revision, CommitError> {
        Err(CommitError::Unclear("the test says so".into()))
    }

    async fn history(
        &self,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Err(refused("reading history"))
    }
}

/// An empty cloud that counts its calls.
#[derive(Debug, Default)]
pub struct CountingCloud {
    /// Shards that a new owner began with.
    pub begun: Mutex<Vec<Shard>>,
    /// How many calls reached it.
    pub calls: AtomicUsize,
    /// How many of them were to create machines.
    pub creates: AtomicUsize,
    /// Its operations go on.
    pub goes_on: AtomicBool,
    /// Pages of each zone's machine types, if it can say; without a page the list fails.
    pub types: Mutex<Option<Vec<Vec<String>>>>,
    /// How many pages of them were read.
    pub type_pages: AtomicUsize,
}

impl CountingCloud {
    /// How many calls reached it so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Cloud for CountingCloud {
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError> {
        self.called();
        self.creates.fetch_add(1, Ordering::Relaxed);
        Ok(OperationRef {
            shard: Shard {
                project: "p".into(),
                region: "r1".into(),
            },
            zone: None,
            name: creation.request_id.to_string(),
        })
    }

    fn begin(&self, shard: &Shard) {
        self.begun.lock().unwrap().push(shard.clone());
    }

    async fn operation(
        &self,
        _operation: &OperationRef,
        _patience: Duration,
    ) -> Result<OperationState, CloudError> {
        self.called();
        if self.goes_on.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(OperationState::Running);
        }
        Ok(OperationState::Succeeded)
    }

    async fn fates(
        &self,
        _operation: Option<&OperationRef>,
        _creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        self.called();
        Ok(Vec::new())
    }

    async fn list(
        &self,
        _project: &ProjectId,
        _zone: &Zone,
        _page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        self.called();
        Ok(InstancePage::default())
    }

    async fn get(
        &self,
        _project: &ProjectId,
        _zone: &Zone,
        _name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        self.called();
        Ok(None)
    }

    async fn delete(
        &self,
        _shard: &Shard,
        _zone: &Zone,
        _name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError> {
        self.called();
        Ok(None)
    }

    async fn quotas(&self, _shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        self.called();
        Ok(Vec::new())
    }

    async fn machine_types(
        &self,
        _project: &ProjectId,
        _zone: &Zone,
        page: Option<&str>,
    ) -> Result<Option<TypePage>, CloudError> {
        let Some(pages) = self.types.lock().unwrap().clone() else {
            return Ok(None);
        };
        self.type_pages.fetch_add(1, Ordering::Relaxed);
        let nth: usize = page.map_or(0, |page| page.parse().unwrap());
        let names = pages.get(nth).cloned().ok_or_else(|| CloudError::Unclear {
            call: "machineTypes.list",
            message: "the test says so".into(),
            source: None,
        })?;
        let next = (nth + 1 < pages.len()).then(|| (nth + 1).to_string());
        Ok(Some(TypePage { names, next }))
    }

    async fn identity_keys(&self) -> Result<String, CloudError> {
        self.called();
        Ok(String::new())
    }
}
