//! Against real etcd.

use gust_core::{
    ids::StackName,
    ports::{Candidacy, Commit, CommitError, LeaseError, Store},
    records::Change,
};

use super::{super::*, slow::SlowWay, *};
use crate::conformance::{
    Bed,
    etcd::Servers,
    sample::{commit, job},
};

/// A cluster, and a client of it.
struct Real {
    servers: Servers,
}

fn cluster(endpoints: Endpoints) -> Arc<Cluster> {
    Arc::new(Cluster::new(endpoints).expect("good endpoints"))
}

fn store_of(endpoints: Endpoints) -> EtcdStore {
    let stack = StackName::new("gust").expect("a good name");
    EtcdStore::new(cluster(endpoints), Config::new(stack))
}

impl Real {
    fn start(members: usize) -> Self {
        Self {
            servers: Servers::start(members),
        }
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            // On a busy machine a fsync takes its time; tests are not about that.
            deadline: Duration::from_secs(5),
            ..Endpoints::new(self.servers.urls())
        }
    }

    async fn admin(&self) -> etcd_client::Client {
        etcd_client::Client::connect(self.servers.urls(), None)
            .await
            .expect("it connects when it is used")
    }
}

#[async_trait]
impl Bed for Real {
    async fn open(&self) -> Arc<dyn Store> {
        let mut leases = self.admin().await.lease_client();
        for lease in leases.leases().await.expect("etcd runs").leases() {
            leases.revoke(lease.id()).await.expect("etcd runs");
        }
        Arc::new(store_of(self.endpoints()))
    }
}

crate::conformance_suite!(Real::start(1));

/// Asks again until it works: members start, and elect a leader among themselves.
async fn until<T, E, F: Future<Output = Result<T, E>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), asking).await;
    answer.expect("it works within a minute")
}

async fn lead(store: &EtcdStore) -> (LeaseId, Term) {
    let lease = until(|| store.grant(Duration::from_secs(60))).await.id;
    let us = ReplicaId::new("a");
    match until(|| store.campaign(lease, &us)).await {
        Candidacy::Elected(term) => (lease, term),
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

fn put(term: Term, n: u32) -> Commit {
    commit(term, vec![Change::PutJob(job(n))])
}

#[tokio::test]
async fn any_member_may_be_lost_and_come_back() {
    let mut real = Real::start(3);
    let store = store_of(Endpoints {
        deadline: Duration::from_secs(2),
        ..Endpoints::new(real.servers.urls())
    });
    let (lease, term) = lead(&store).await;
    store.commit(&put(term, 0)).await.expect("all members are there");
    for nth in 0..3 {
        real.servers.kill(nth);
        let commit = put(term, 1);
        until(|| store.commit(&commit)).await;
        until(|| store.renew(lease)).await;
        real.servers.restart(nth);
        let admin = etcd_client::Client::connect([real.servers.url(nth)], None).await;
        let admin = admin.expect("it connects when it is used");
        until(|| {
            let mut admin = admin.clone();
            async move { admin.status().await }
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_quorum_nothing_is_written_and_nothing_is_believed() {
    let mut real = Real::start(3);
    let store = store_of(Endpoints::new(real.servers.urls()));
    let (lease, term) = lead(&store).await;
    let commit = put(term, 0);
    until(|| store.commit(&commit)).await;
    real.servers.kill(0);
    real.servers.kill(1);
    let unclear = store.commit(&put(term, 1)).await.expect_err("one of three");
    assert!(matches!(unclear, CommitError::Unclear(_)), "{unclear:?}");
    // A member that led renews for as long as it has not noticed that it is alone: an election's timeout at most.
    let refused = until(|| async {
        match store.renew(lease).await {
            Ok(left) => Err(left),
            Err(refused) => Ok(refused),
        }
    });
    let refused = refused.await;
    assert!(matches!(refused, LeaseError::Unclear(_)), "{refused:?}");
    real.servers.restart(0);
    let commit = put(term, 1);
    until(|| store.commit(&commit)).await;
    assert_eq!(store.load().await.expect("a quorum").records.len(), 2);
}

#[tokio::test]
async fn user_and_password_are_checked_and_a_wrong_one_says_so() {
    let real = Real::start(1);
    let mut auth = real.admin().await.auth_client();
    auth.user_add("root", "secret", None).await.expect("etcd runs");
    auth.user_grant_role("root", "root").await.expect("etcd runs");
    auth.auth_enable().await.expect("root is there");
    let endpoints = |password: &str| Endpoints {
        user: Some(("root".to_owned(), Secret::new(password))),
        ..real.endpoints()
    };
    let (_, term) = lead(&store_of(endpoints("secret"))).await;
    for (endpoints, says) in [
        (endpoints("wrong"), "authentication failed"),
        (real.endpoints(), "user name is empty"),
    ] {
        let refused = cluster(endpoints).range(Range::all(Keys::one("k"))).await;
        let Err(EtcdError::Refused(said)) = refused else {
            panic!("{refused:?}");
        };
        assert!(said.contains(says), "{said}");
    }
    let store = store_of(endpoints("secret"));
    store.commit(&put(term, 1)).await.expect("the user may");
}

#[tokio::test]
async fn a_full_etcd_refuses_and_tells_the_remedy() {
    let real = Real {
        servers: Servers::with_flags(1, &["--quota-backend-bytes", "200000"]),
    };
    let store = store_of(real.endpoints());
    let (_, term) = lead(&store).await;
    let mut n = 0;
    let full = loop {
        match store.commit(&put(term, n)).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    let CommitError::Refused { source, .. } = full else {
        panic!("{full:?}");
    };
    assert!(source.to_string().contains("etcdctl alarm disarm"), "{source}");
}

#[tokio::test]
async fn a_watch_that_was_compacted_says_so() {
    let real = Real::start(1);
    let way = cluster(real.endpoints());
    let mut admin = real.admin().await;
    for n in 0..5 {
        admin.put("k", n.to_string(), None).await.expect("etcd runs");
    }
    admin.compact(4, None).await.expect("etcd runs");
    let keys = || vec![Keys::one("k"), Keys::one("other")];
    // etcd accepts such a watch, and ends it at once.
    let watch = match way.watch(keys(), 2).await {
        Ok(mut watch) => watch.next().await.err(),
        Err(error) => Some(error),
    };
    assert!(matches!(watch, Some(EtcdError::Compacted { .. })), "{watch:?}");
    let mut watch = way.watch(keys(), 5).await.expect("that is left");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(watch.next().await.expect("the watch goes on"));
    }
    assert_eq!(
        seen.iter().map(|event| event.revision).collect::<Vec<_>>(),
        [5, 6]
    );
    let range = Range {
        revision: 2,
        ..Range::all(Keys::one("k"))
    };
    let read = way.range(range).await;
    assert!(matches!(read, Err(EtcdError::Compacted { .. })), "{read:?}");
}

#[tokio::test]
async fn nobody_there_is_unclear_and_not_waited_for() {
    let address = crate::conformance::etcd::loopback();
    let way = cluster(Endpoints::new([format!("http://{address}:2379")]));
    let answer = way.range(Range::all(Keys::one("k"))).await;
    assert!(matches!(answer, Err(EtcdError::Unclear(_))), "{answer:?}");
    assert!(Cluster::new(Endpoints::new(Vec::<String>::new())).is_err());
}

#[tokio::test]
async fn an_etcd_that_lost_its_data_is_not_believed_any_more() {
    let mut real = Real::start(1);
    let store = store_of(real.endpoints());
    let (lease, term) = lead(&store).await;
    for n in 0..5 {
        store.commit(&put(term, n)).await.expect("etcd runs");
    }
    real.servers.lose_data(0);
    let asked = async || match store.roster().await {
        Err(error) if error.to_string().contains("restart all replicas") => Ok(()),
        other => Err(other.map(drop)),
    };
    until(asked).await;
    assert!(store.commit(&put(term, 6)).await.is_err());
    assert!(matches!(store.renew(lease).await, Err(LeaseError::Unclear(_))));
}

/// Each answer of etcd takes a second: longer than a call may.
#[tokio::test]
async fn a_slow_etcd_is_unclear_and_works_again_once_it_is_fast() {
    let real = Real::start(1);
    let slow = SlowWay::before(&real.servers.url(0)).await;
    let store = store_of(Endpoints {
        deadline: Duration::from_millis(600),
        ..Endpoints::new([slow.url.clone()])
    });
    let (lease, term) = lead(&store).await;
    let first = put(term, 0);
    until(|| store.commit(&first)).await;
    slow.delay(Duration::from_secs(1));
    let unclear = store
        .commit(&put(term, 1))
        .await
        .expect_err("nothing answers in time");
    assert!(matches!(unclear, CommitError::Unclear(_)), "{unclear:?}");
    assert!(matches!(store.renew(lease).await, Err(LeaseError::Unclear(_))));
    slow.delay(Duration::ZERO);
    let (again, next) = (put(term, 1), put(term, 2));
    until(|| store.commit(&again)).await;
    until(|| store.commit(&next)).await;
    assert_eq!(store.load().await.expect("it is fast").records.len(), 3);
}

#[tokio::test]
async fn what_has_changed_since_can_be_read_alone() {
    let real = Real::start(1);
    let way = cluster(real.endpoints());
    let mut admin = real.admin().await;
    for key in ["k1", "k2", "k3", "k2", "k3"] {
        admin.put(key, "v", None).await.expect("etcd runs");
    }
    let mut range = Range {
        min_mod_revision: 5,
        ..Range::all(Keys::interval("k", "l"))
    };
    let names = |found: &Found| found.kvs.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>();
    let found = way.range(range.clone()).await.expect("etcd runs");
    assert_eq!(
        (names(&found), found.more, found.count),
        (vec!["k2".into(), "k3".into()], false, 3)
    );
    range.limit = 1;
    let found = way.range(range).await.expect("etcd runs");
    assert_eq!((names(&found), found.more), (vec!["k2".into()], true));
}
