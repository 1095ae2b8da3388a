//! The quota that a pass may still give out.

use std::collections::BTreeMap;

use crate::{
    ids::{ProjectId, Shard},
    quota::{Ledger, Metric},
    reason::Shortage,
    snapshot::Snapshot,
};

/// Quota that is left, by number rather than by name: a burst asks for it tens of thousands of times.
#[derive(Default)]
pub(super) struct Board<'a> {
    pub rows: Vec<BoardRow<'a>>,
    shards: BTreeMap<&'a Shard, Known<'a>>,
    /// Rows that all shards of a project share.
    projects: BTreeMap<(&'a ProjectId, &'a Metric), Option<usize>>,
}

/// Rows by the names of metrics. Names of machines of one kind are copies of one another, so most are found without
/// reading one.
#[derive(Default)]
struct Known<'a> {
    copies: Vec<(&'a Metric, Option<usize>)>,
    by_name: BTreeMap<&'a Metric, Option<usize>>,
}

/// Copies of so many names are looked through; a shard counts some twenty metrics.
const COPIES: usize = 48;

impl<'a> Known<'a> {
    /// The row of a metric, looked for with `find` once.
    fn row(&mut self, metric: &'a Metric, find: impl FnOnce() -> Option<usize>) -> Option<usize> {
        let copy = self.copies.iter().find(|(known, _)| known.is_copy_of(metric));
        if let Some((_, row)) = copy {
            return *row;
        }
        let row = *self.by_name.entry(metric).or_insert_with(find);
        if self.copies.len() < COPIES {
            self.copies.push((metric, row));
        }
        row
    }
}

pub(super) struct BoardRow<'a> {
    pub metric: &'a Metric,
    pub shard: Option<&'a Shard>,
    /// A shard whose machines use it.
    counted_in: &'a Shard,
    left: u64,
    used: u64,
    limit: u64,
    /// Free by the figures, and kept for a job that has waited too long.
    kept: u64,
    /// Free by the figures, and refused by Google.
    refused: u64,
    /// One machine more than the limit allows may be asked for.
    doubted: bool,
    /// So much more than the limit was asked for.
    over: u64,
    /// Jobs that wait for it so far.
    pub line: u32,
    /// What they need together.
    pub ahead: u64,
}

impl BoardRow<'_> {
    /// About how many minutes until the last of those that wait has its turn.
    pub fn minutes(&self, snapshot: &Snapshot<'_>) -> Option<u32> {
        if self.ahead == 0 {
            return None;
        }
        let short = self.ahead.saturating_sub(self.left + self.kept + self.refused);
        let shard = self.counted_in;
        snapshot
            .flow
            .minutes_until(shard, self.metric, short, snapshot.now)
    }

    /// Whether one machine that needs so much can be asked for.
    pub fn has(&self, needed: u64) -> bool {
        self.left >= needed || self.doubted
    }

    /// How many machines that need so much can be asked for.
    pub fn room(&self, needed: u64) -> u64 {
        let whole = self.left.checked_div(needed).unwrap_or(u64::MAX);
        whole.max(u64::from(self.doubted))
    }

    /// One machine is asked for.
    pub fn take(&mut self, needed: u64) {
        if self.left < needed {
            // What is over the limit is asked for once.
            self.doubted = false;
            self.over += needed - self.left;
        }
        self.left = self.left.saturating_sub(needed);
    }

    /// One machine is not asked for after all.
    pub fn give(&mut self, needed: u64) {
        let over = self.over.min(needed);
        self.over -= over;
        self.left += needed - over;
    }

    /// What is left by the figures.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether so much can never be had as long as the limit stands.
    pub fn is_hopeless(&self, needed: u64) -> bool {
        needed > self.limit && !self.doubted
    }

    /// What is left stays for a job that has waited too long: whatever is freed is its.
    pub fn keep(&mut self) {
        self.kept += std::mem::take(&mut self.left);
        self.doubted = false;
    }

    /// One job more waits for so much of this.
    pub fn queue(&mut self, needed: u64) {
        self.line += 1;
        self.ahead = self.ahead.saturating_add(needed);
    }

    /// Why a machine that needs so much of this cannot be made. What the pass gave out counts as used: the figure
    /// is true once its batches are recorded.
    pub fn shortage(&self, needed: u64) -> Shortage {
        Shortage {
            metric: self.metric.clone(),
            region: self.shard.map(|shard| shard.region.clone()),
            used: self
                .limit
                .saturating_sub(self.left + self.kept + self.refused)
                .max(self.used),
            limit: self.limit,
            needed,
            refused: self.refused > 0,
            kept: self.kept,
        }
    }
}

/// What one shard counts: found once for all metrics that a machine there uses.
pub(super) struct OfShard<'b, 'a> {
    snapshot: &'a Snapshot<'a>,
    shard: &'a Shard,
    known: &'b mut Known<'a>,
    projects: &'b mut BTreeMap<(&'a ProjectId, &'a Metric), Option<usize>>,
    pub rows: &'b mut Vec<BoardRow<'a>>,
}

impl<'a> Board<'a> {
    /// The part of a shard.
    pub fn of(&mut self, snapshot: &'a Snapshot<'a>, shard: &'a Shard) -> OfShard<'_, 'a> {
        OfShard {
            snapshot,
            shard,
            known: self.shards.entry(shard).or_default(),
            projects: &mut self.projects,
            rows: &mut self.rows,
        }
    }
}

impl<'a> OfShard<'_, 'a> {
    /// The row of a metric as this shard counts it; none where Google shows no such quota: it does not limit us here.
    pub fn row(&mut self, metric: &'a Metric) -> Option<usize> {
        let (snapshot, shard) = (self.snapshot, self.shard);
        let (known, all_rows, projects) = (&mut *self.known, &mut *self.rows, &mut *self.projects);
        known.row(metric, || {
            let rows = all_rows;
            let mut add = |ledger: Option<&Ledger>, counted| {
                let row = ledger?.row(metric)?;
                let (left, used, limit) = (row.left(), row.used(), row.limit);
                rows.push(BoardRow {
                    metric,
                    shard: counted,
                    counted_in: shard,
                    left,
                    used,
                    limit,
                    kept: 0,
                    refused: row.free() - left,
                    doubted: row.doubted,
                    over: 0,
                    line: 0,
                    ahead: 0,
                });
                Some(rows.len() - 1)
            };
            if metric.is_project_wide() {
                let ledger = snapshot.project_ledgers.get(&shard.project);
                *projects
                    .entry((&shard.project, metric))
                    .or_insert_with(|| add(ledger, None))
            } else {
                add(snapshot.shards.get(shard).map(|view| &view.ledger), Some(shard))
            }
        })
    }
}
