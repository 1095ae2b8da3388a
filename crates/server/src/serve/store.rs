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
