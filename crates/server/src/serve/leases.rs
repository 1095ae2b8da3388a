//! The leases of a replica on disk, so that its supervisor can give them back when it died.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use gust_core::ports::LeaseId;
use gust_store::etcd::{Etcd as _, EtcdError};
use tracing::{info, warn};

use super::{ServeError, store};
use crate::{config::Config, replica::Leases};

/// Members of etcd that are asked before a lease is left to lapse.
const TRIES: usize = 4;

/// Where a replica of this configuration writes down the leases it holds.
pub fn leases_file(config: &Config) -> PathBuf {
    config.data_dir.join(format!("leases-{}.json", config.replica))
}

/// Leases that are written down in `file`. If that fails the replica holds them all the same: a crash then costs the
/// time until they lapse.
pub(super) fn leases_in(file: PathBuf) -> Leases {
    Leases::told_to(move |leases| {
        if let Err(error) = write(&file, leases) {
            warn!(file = %file.display(), %error, "leases cannot be written down; a crash would cost more time");
        }
    })
}

/// Whole, or as it was: the file is read after a crash.
fn write(file: &Path, leases: &BTreeSet<LeaseId>) -> std::io::Result<()> {
    let ids: Vec<i64> = leases.iter().map(|lease| lease.0).collect();
    let draft = file.with_extension("new");
    std::fs::write(&draft, serde_json::to_vec(&ids)?)?;
    std::fs::rename(draft, file)
}

/// Ends the leases of a replica that died, so that nobody waits for them to lapse. Safe even if it lives: whatever
/// it writes without its lease is refused.
///
/// # Errors
/// [`ServeError`] if etcd's files make no sense. What etcd does not answer is only logged: the leases lapse by
/// themselves.
pub async fn revoke_leases(config: &Config) -> Result<(), ServeError> {
    let Some(cluster) = &config.cluster else {
        return Ok(());
    };
    let file = leases_file(config);
    let text = std::fs::read(&file).unwrap_or_else(|_| b"[]".to_vec());
    let Ok(ids) = serde_json::from_slice::<Vec<i64>>(&text) else {
        warn!(file = %file.display(), "the leases written down cannot be read; they lapse by themselves");
        return Ok(());
    };
    let way = store::way_to(&cluster.etcd)?;
    for lease in ids {
        let mut revoked = way.lease_revoke(lease).await;
        for _ in 1..TRIES {
            if !matches!(revoked, Err(EtcdError::Unclear(_))) {
                break;
            }
            revoked = way.lease_revoke(lease).await;
        }
        match revoked {
            Ok(()) => info!(lease, "a lease of the replica that died is given back"),
            Err(EtcdError::NoLease) => {}
            Err(error) => warn!(lease, %error, "a lease cannot be given back; it lapses by itself"),
        }
    }
    // Whoever finds it later must not take it for that of a replica that lives.
    let _ = std::fs::remove_file(file);
    Ok(())
}
