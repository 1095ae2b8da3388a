//! What a worker knows of a shard beyond one session: a leader that follows another need not wait until Google has told
//! everything anew, where nobody else could have acted meanwhile.

use std::collections::BTreeMap;

use gust_core::{
    ids::{BatchId, Shard},
    ports::{Capacity, LeaseId, OperationRef, Quota},
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
    /// Calls that Google took, and whose outcome no leader was told yet.
    operations: BTreeMap<BatchId, OperationRef>,
}

impl Worker {
    /// The key of a shard has become ours.
    pub(super) fn keeps(&self, shard: &Shard, lease: LeaseId) {
        let kept = Kept {
            lease,
            listed: false,
            measured: None,
            operations: BTreeMap::new(),
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

    /// Google took a batch's call: a leader that asks for it again need not have it repeated.
    pub(super) fn took(&self, shard: &Shard, batch: BatchId, operation: &OperationRef) {
        if let Some(kept) = lock(&self.state).kept.get_mut(shard) {
            kept.operations.insert(batch, operation.clone());
        }
    }

    /// The operation of a call that Google took from us, while the shard has been ours ever since.
    pub(super) fn taken(&self, shard: &Shard, lease: LeaseId, batch: BatchId) -> Option<OperationRef> {
        let followed = lock(&self.state);
        let kept = followed.kept.get(shard).filter(|kept| kept.lease == lease)?;
        kept.operations.get(&batch).cloned()
    }

    /// A leader was told what became of a batch.
    pub(super) fn settled(&self, shard: &Shard, batch: BatchId) {
        if let Some(kept) = lock(&self.state).kept.get_mut(shard) {
            kept.operations.remove(&batch);
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
