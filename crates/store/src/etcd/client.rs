//! The way to a real etcd: one connection to each of its members, used one at a time.
//!
//! A client that spreads its calls over all members picks a dead or frozen one again and again. So this one stays
//! with a member for as long as it answers, and goes on to the next when it does not. Each call is made once and
//! bounded in time; what became of one that failed is told honestly, and repeating is up to the store.

mod convert;
mod error;
mod leases;
mod members;
mod watching;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gust_core::secret::Secret;

use super::wire::{Etcd, EtcdError, Found, Keys, Range, Txn, TxnAnswer, Watch};
use error::classed;
use leases::Leases;
use members::{Member, Members};

/// Most bytes of one answer: a page of 1,000 records and any single one of 1 MiB have room.
const LARGEST_ANSWER: usize = 64 << 20;

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Base URLs of the members, `http://` or `https://`.
    pub urls: Vec<String>,
    /// How `https://` members are trusted, and who we are to them.
    pub tls: Option<Tls>,
    /// Name and password, where etcd wants them.
    pub user: Option<(String, Secret)>,
    /// How long one call to one member may take. A member that is frozen costs one such time.
    pub deadline: Duration,
}

/// PEM texts.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority that signed the members' certificates.
    pub authority: String,
    /// Our own certificate with its chain and key, where members want one.
    pub identity: Option<(String, Secret)>,
}

impl Endpoints {
    /// Members without encryption and user, with a deadline of 600 ms.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            deadline: Duration::from_millis(600),
        }
    }
}

/// A client of a cluster. Nothing is asked before it is used, and it recovers by itself.
pub struct Cluster {
    members: Members,
    leases: Leases,
}

impl Cluster {
    /// A client of these members.
    ///
    /// # Errors
    /// A text if there is no member, or the TLS files make no sense.
    pub fn new(endpoints: Endpoints) -> Result<Self, String> {
        Ok(Self {
            members: Members::new(endpoints)?,
            leases: Leases::default(),
        })
    }

    /// Makes one call to the member at hand. A member that gave no clear answer is left.
    async fn call<T, F>(&self, call: impl FnOnce(etcd_client::Client) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let member = self.members.at_hand();
        let answer = self.bounded(&member, call).await;
        match &answer {
            Ok(_) => self.members.answered(&member),
            Err(EtcdError::Unclear(problem)) => self.members.leave(&member, problem),
            Err(_) => {}
        }
        answer
    }

    async fn bounded<T, F>(
        &self,
        member: &Member,
        call: impl FnOnce(etcd_client::Client) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let whole = async {
            let client = member.client().await.map_err(classed)?;
            call(client).await.map_err(classed)
        };
        let late = |_| EtcdError::Unclear(format!("no answer within {:?}", self.members.deadline()));
        tokio::time::timeout(self.members.deadline(), whole)
            .await
            .unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

#[async_trait]
impl Etcd for Cluster {
    async fn range(&self, range: Range) -> Result<Found, EtcdError> {
        let (key, options) = convert::range(&range);
        let answer = self
            .call(|client| async move {
                let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                kv.get(key, Some(options)).await
            })
            .await?;
        convert::found(&answer)
    }

    async fn txn(&self, txn: Arc<Txn>) -> Result<TxnAnswer, EtcdError> {
        let txn = convert::txn(&txn);
        let answer = self
            .call(|client| async move {
                let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                kv.txn(txn).await
            })
            .await?;
        convert::txn_answer(&answer)
    }

    async fn lease_grant(&self, ttl: u64) -> Result<(i64, u64), EtcdError> {
        let ttl = i64::try_from(ttl).unwrap_or(i64::MAX);
        let answer = self
            .call(|client| async move { client.lease_client().grant(ttl, None).await })
            .await?;
        Ok((answer.id(), convert::positive(answer.ttl())))
    }

    async fn lease_keep_alive(&self, lease: i64) -> Result<u64, EtcdError> {
        let member = self.members.at_hand();
        let open = self.leases.take(lease, member.number());
        let answer = self
            .bounded(&member, |client| leases::renew(client, lease, open))
            .await;
        match answer {
            Ok((0, _)) => Err(EtcdError::NoLease),
            Ok((ttl, stream)) => {
                self.leases.put(lease, member.number(), stream);
                self.members.answered(&member);
                Ok(ttl)
            }
            Err(error) => {
                if let EtcdError::Unclear(problem) = &error {
                    self.members.leave(&member, problem);
                }
                Err(error)
            }
        }
    }

    async fn lease_revoke(&self, lease: i64) -> Result<(), EtcdError> {
        self.leases.forget(lease);
        self.call(|client| async move { client.lease_client().revoke(lease).await })
            .await
            .map(drop)
    }

    async fn watch(&self, keys: Vec<Keys>, from: u64) -> Result<Box<dyn Watch>, EtcdError> {
        let watching = self.call(|client| watching::open(client, keys, from)).await??;
        Ok(Box::new(watching))
    }
}

#[cfg(test)]
mod slow;
#[cfg(test)]
mod tests;
