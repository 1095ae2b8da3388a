//! Zones that have run out of a family, from a size on.

use std::{collections::BTreeMap, time::Duration};

use super::{LONGEST, patience};
use crate::{
    ids::{ProjectId, Zone},
    shape::{ProvisioningModel, Shape},
    time::Timestamp,
};

/// Machines of one family in one zone, sold in one way: what runs out together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pool {
    /// The project: reservations and preferences differ between projects.
    pub project: ProjectId,
    /// The zone.
    pub zone: Zone,
    /// The family, such as `n2d`.
    pub family: String,
    /// On demand or Spot.
    pub model: ProvisioningModel,
}

impl Pool {
    /// The pool from which a shape is made in a zone.
    pub fn of(shape: &Shape, zone: &Zone) -> Self {
        Self {
            project: shape.project.clone(),
            zone: zone.clone(),
            family: shape.family.clone(),
            model: shape.model,
        }
    }
}

/// Why a pool is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Google has no such machines.
    Stockout,
    /// Google takes Spot machines back as soon as they run.
    Reclaims,
}

impl Why {
    /// What a developer is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stockout => "stockout",
            Self::Reclaims => "Spot machines are being taken back",
        }
    }
}

/// A pool had no machine of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stockout {
    /// Refusals in a row.
    pub times: u32,
    /// Until when nothing of this size is asked of it.
    pub until: Timestamp,
    /// Why.
    pub why: Why,
}

/// Whether a pool may be asked for a machine of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing stands against it.
    Open,
    /// It was refused since this moment's predecessor and may be tried: with one machine.
    HalfOpen {
        /// Since when it may be tried.
        since: Timestamp,
        /// Why it was left alone.
        why: Why,
    },
    /// Not before `until`.
    Shut {
        /// When it may be tried again.
        until: Timestamp,
        /// Why not now.
        why: Why,
    },
}

/// All pools that had none, each by size in vCPUs.
///
/// # Guarantees
/// Who cannot give a small machine is not asked for a larger one; who gives a large one has smaller ones, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stockouts(BTreeMap<Pool, BTreeMap<u32, Stockout>>);

impl Stockouts {
    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is remembered, with the size in vCPUs from which on it holds.
    pub fn iter(&self) -> impl Iterator<Item = (&Pool, u32, &Stockout)> {
        let pools = self.0.iter();
        pools.flat_map(|(pool, sizes)| sizes.iter().map(move |(size, found)| (pool, *size, found)))
    }

    /// A pool had no machine of this size; it is left alone for `base`, and twice as long each time in a row.
    pub fn refused(&mut self, pool: Pool, cpus: u32, why: Why, now: Timestamp, base: Duration) {
        let sizes = self.0.entry(pool).or_default();
        let known = sizes.get(&cpus).filter(|known| known.why == why);
        // Several batches that were under way at once are refused for one and the same shortage.
        if known.is_some_and(|known| known.until > now) {
            return;
        }
        let times = known.map_or(0, |known| known.times) + 1;
        let until = now.after(patience(base, times));
        sizes.insert(cpus, Stockout { times, until, why });
    }

    /// A pool gave a machine of this size.
    pub fn made(&mut self, pool: &Pool, cpus: u32) {
        let Some(sizes) = self.0.get_mut(pool) else {
            return;
        };
        // That it takes machines back is not disproved by giving one.
        sizes.retain(|size, found| *size > cpus || found.why == Why::Reclaims);
        if sizes.is_empty() {
            self.0.remove(pool);
        }
    }

    /// Whether a pool may be asked for a machine of this size.
    pub fn gate(&self, pool: &Pool, cpus: u32, now: Timestamp) -> Gate {
        let Some(sizes) = self.0.get(pool) else {
            return Gate::Open;
        };
        let last = sizes
            .range(..=cpus)
            .map(|(_, found)| found)
            .max_by_key(|found| found.until);
        match last {
            None => Gate::Open,
            Some(found) if found.until > now => Gate::Shut {
                until: found.until,
                why: found.why,
            },
            Some(found) => Gate::HalfOpen {
                since: found.until,
                why: found.why,
            },
        }
    }

    /// Lets go of what nobody has met for long: a pool that was not tried meanwhile is as good as any.
    pub fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, sizes| {
            sizes.retain(|_, found| now.since(found.until) < LONGEST);
            !sizes.is_empty()
        });
    }
}
