//! The right to have one more bulk operation running, within a pass.

use std::collections::BTreeMap;

use crate::{ids::ProjectId, records::Call, snapshot::Snapshot};

/// Bulk operations that may still be started in this pass.
pub(super) struct Slots<'a> {
    /// By project: operations running, and calls made within the last second, both with this pass's own.
    counts: BTreeMap<&'a ProjectId, (u32, u32)>,
    running: u32,
    per_second: u32,
}

impl<'a> Slots<'a> {
    pub fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let mut counts: BTreeMap<&ProjectId, (u32, u32)> = BTreeMap::new();
        for batch in snapshot
            .book
            .batches()
            .values()
            .filter(|batch| batch.call == Call::Bulk)
        {
            counts.entry(&batch.shape.project).or_default().0 += 1;
        }
        for (project, recent) in snapshot.recent_bulk {
            counts.entry(project).or_default().1 += recent;
        }
        Self {
            counts,
            running: snapshot.settings.bulk_slots,
            per_second: snapshot.settings.bulk_per_second,
        }
    }

    /// Takes a slot of a project, if there is one.
    pub fn take(&mut self, project: &'a ProjectId) -> bool {
        let (running, recent) = self.counts.entry(project).or_default();
        let free = *running < self.running && *recent < self.per_second;
        if free {
            *running += 1;
            *recent += 1;
        }
        free
    }
}
