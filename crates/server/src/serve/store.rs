//! The store of a replica: embedded for one that is alone, etcd for one of several.

use std::{path::Path, sync::Arc, time::Duration};

use gust_core::{ports::Store, secret::Secret};
use gust_store::{EmbeddedStore, EtcdStore, Journal, etcd};
use tracing::{info, warn};

use super::ServeError;
use crate::{
    clock::Clock,
    config::{self, Config},
};

/// Between two looks at an etcd that does not answer at the start.
const AGAIN: Duration = Duration::from_secs(2);

pub(super) async fn open(
    config: &Config,
    journal: Option<&Path>,
    clock: &Clock,
) -> Result<Arc<dyn Store>, ServeError> {
    std::fs::create_dir_all(&config.data_dir).map_err(|source| ServeError::File {
        what: "data_dir",
        path: config.data_dir.clone(),
        source,
    })?;
    let clock = clock.clone();
    let wall: gust_store::WallClock = Arc::new(move || clock.now_unix_ns());
    let journal = journal
        .map(|path| Journal::open(path, wall))
        .transpose()
        .map_err(ServeError::Journal)?;
    if let Some(cluster) = &config.cluster {
        let way = Arc::new(way_to(&cluster.etcd)?);
        wait_for(&*way).await;
        let store = EtcdStore::new(way, etcd::Config::new(config.stack.clone()));
        return Ok(match journal {
            Some(journal) => Arc::new(store.with_journal(journal)),
            None => Arc::new(store),
        });
    }
    let file = gust_store::embedded::Config::new(config.data_dir.join("gust.redb"), config.stack.clone());
    let store = EmbeddedStore::open(file, journal)
        .await
        .map_err(ServeError::Store)?;
    Ok(Arc::new(store))
}

/// A client of the etcd that the configuration names. Nothing is asked.
pub(super) fn way_to(etcd: &config::Etcd) -> Result<etcd::client::Cluster, ServeError> {
    let read = |what, path: &Path| super::read_pem(what, path);
    let tls = match &etcd.authority {
        None => None,
        Some(authority) => Some(etcd::client::Tls {
            authority: read("etcd.authority", authority)?,
            identity: match &etcd.identity {
                None => None,
                Some((certificate, key)) => Some((
                    read("etcd.certificate", certificate)?,
                    Secret::new(read("etcd.key", key)?),
                )),
            },
        }),
    };
    let endpoints = etcd::client::Endpoints {
        urls: etcd
            .endpoints
            .iter()
            .map(|url| url.as_str().trim_end_matches('/').to_owned())
            .collect(),
        tls,
        user: etcd.user.clone(),
        deadline: etcd.deadline,
    };
    etcd::client::Cluster::new(endpoints).map_err(ServeError::Etcd)
}

/// An etcd that is down, or refuses us, is no reason to end: it may come back, and others mend it. But it is said.
async fn wait_for(way: &dyn etcd::Etcd) {
    let probe = || etcd::Range::all(etcd::Keys::one("/gust/v1"));
    while let Err(error) = way.range(probe()).await {
        warn!(
            error = crate::error_chain(&error),
            "etcd does not answer; nothing is decided before it does"
        );
        tokio::time::sleep(AGAIN).await;
    }
    info!("etcd is there");
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use etcd::{EtcdError, Found, Keys, Range, Txn, TxnAnswer, Watch};
    use tokio::time::Instant;

    use super::*;

    /// Fails as it is told to, then answers.
    struct Failing(Mutex<Vec<EtcdError>>);

    #[async_trait]
    impl etcd::Etcd for Failing {
        async fn range(&self, _: Range) -> Result<Found, EtcdError> {
            self.0
                .lock()
                .unwrap()
                .pop()
                .map_or_else(|| Ok(Found::default()), Err)
        }

        async fn txn(&self, _: Arc<Txn>) -> Result<TxnAnswer, EtcdError> {
            unreachable!("nothing is written before it answers")
        }

        async fn lease_grant(&self, _: u64) -> Result<(i64, u64), EtcdError> {
            unreachable!("no lease is taken before it answers")
        }

        async fn lease_keep_alive(&self, _: i64) -> Result<u64, EtcdError> {
            Err(EtcdError::NoLease)
        }

        async fn lease_revoke(&self, _: i64) -> Result<(), EtcdError> {
            Err(EtcdError::NoLease)
        }

        async fn watch(&self, _: Vec<Keys>, _: u64) -> Result<Box<dyn Watch>, EtcdError> {
            unreachable!("nothing is watched before it answers")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_etcd_that_is_down_or_refuses_us_at_the_start_is_waited_for() {
        let problems = [
            EtcdError::Unclear("tcp connect error: Connection refused".to_owned()),
            EtcdError::Refused("authentication failed; check the user and the password".to_owned()),
            EtcdError::Unclear("no answer within 600ms".to_owned()),
        ];
        let (way, start) = (Failing(Mutex::new(problems.into())), Instant::now());
        wait_for(&way).await;
        assert_eq!(start.elapsed(), 3 * AGAIN);
    }
}
