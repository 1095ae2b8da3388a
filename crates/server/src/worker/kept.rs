//! What a worker knows of a shard beyond one session: a leader that follows another need not wait until Google has told
//! everything anew, where nobody else could have acted meanwhile.

use gust_core::{
    ids::Shard,
    ports::{Capacity, LeaseId, Quota},
    time::Timestamp,
};
use tokio::time::Instant;

use super::{Worker, lock};

/// A shard whose key is ours, since when, and what was read there.
#[derive(Debug)]
pub(super) struct Kept {
    /// The lease on which the key hangs.
    lease: LeaseId,
    /// Our machines there were listed whole at least once.
    listed: bool,
    /// The quotas as they were read last, and when.
    measured: Option<(Vec<Quota>, Timestamp, Instant)>,
}

impl Worker {
    /// The key of a shard has become ours.
    pub(super) fn keeps(&self, shard: &Shard, lease: LeaseId) {
        let kept = Kept {
            lease,
            listed: false,
            measured: None,
        };
        lock(&self.state).kept.insert(shard.clone(), kept);
    }

    /// A shard's key is about to be given up.
    pub(super) fn gives_up(&self, shard: &Shard) {
        if !gust_core::mutant!("kept-after-all") {
            lock(&self.state).kept.remove(shard);
        }
    }

    /// Our machines in a shard were listed.
    pub(super) fn listed(&self, shard: &Shard) {
        if let Some(kept) = lock(&self.state).kept.get_mut(shard) {
            kept.listed = true;
        }
    }

    /// A shard's quotas were read.
    pub(super) fn measured(&self, shard: &Shard, quotas: &[Quota], read_at: Timestamp, begun: Instant) {
        if let Some(kept) = lock(&self.state).kept.get_mut(shard) {
            kept.measured = Some((quotas.to_vec(), read_at, begun));
        }
    }

    /// What is known of a shard that has been ours on this lease, and looked at, ever since.
    pub(super) fn kept(&self, shard: &Shard, lease: LeaseId) -> Option<Capacity> {
        let followed = lock(&self.state);
        let kept = followed.kept.get(shard)?;
        let (quotas, read_at, begun) = kept.measured.as_ref()?;
        (kept.listed && kept.lease == lease).then(|| Capacity {
            quotas: quotas.clone(),
            read_at: *read_at,
            age: begun.elapsed(),
        })
    }
}
