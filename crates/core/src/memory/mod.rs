//! What Google refused, remembered so that the same is not asked for again too soon.
//!
//! A refusal speaks of something larger than the machine that was asked for: of a zone that has run out of a family
//! from some size on ([`Stockouts`]), of a quota that is used up ([`Exhausted`]), of a network without free addresses,
//! or of nothing more than this type ([`Hold`]). Each is left alone for a while, twice as long every time, and then
//! tried with as little as possible. Nothing in here is recorded: a new leader learns it anew, for the price of a few
//! refused calls.

mod quotas;
mod reclaims;
mod stockouts;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use quotas::{Exhausted, Lesson};
pub use reclaims::Reclaims;
pub use stockouts::{Gate, Pool, Stockout, Stockouts, Why};

use crate::{
    ids::{MachineTypeName, Shard, Zone},
    ports::RefusalClass,
    quota::{Metric, Usage},
    records::BatchRecord,
    shape::{Network, ProvisioningModel, Shape},
    time::Timestamp,
};

/// However often something is refused, it is tried again after so long.
pub const LONGEST: Duration = Duration::from_secs(600);

/// How long something is left alone that was refused for the `times`-th time in a row.
fn patience(base: Duration, times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1).min(16));
    base.saturating_mul(doubled).min(LONGEST.max(base))
}

/// What is left alone for a while, unless it is a zone or a quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldKey {
    /// A machine type in a shard, sold in one way.
    Type(Shard, MachineTypeName, ProvisioningModel),
    /// A network of a shard.
    Network(Shard, Network),
}

impl HoldKey {
    /// The keys that close a shape.
    pub fn of(shape: &Shape) -> [Self; 2] {
        let of_type = Self::Type(shape.shard(), shape.machine_type.clone(), shape.model);
        [of_type, Self::Network(shape.shard(), shape.network.clone())]
    }
}

/// A refusal that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Until when it is left alone.
    pub until: Timestamp,
    /// Why.
    pub class: RefusalClass,
    /// Refusals in a row.
    pub times: u32,
}

/// What a batch taught.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Refusals that pass, each once.
    pub refusals: BTreeSet<RefusalClass>,
    /// Zones in which machines came to be, and of which type.
    pub made_in: BTreeSet<(Zone, MachineTypeName)>,
}

/// Everything that is left alone at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By type and network.
    pub holds: BTreeMap<HoldKey, Hold>,
    /// By zone, family and size.
    pub stockouts: Stockouts,
    /// Quotas that Google says are used up.
    pub exhausted: Exhausted,
    /// Spot machines that were taken back lately.
    pub reclaims: Reclaims,
}

impl Memory {
    /// Takes in what became of a batch. `usage` is what one of its machines uses, `promised` what our records promise of
    /// a metric now that what was refused is off them, `base` how long a first refusal is heeded.
    pub fn learn(
        &mut self,
        batch: &BatchRecord,
        outcomes: &Outcomes,
        usage: &Usage,
        promised: impl Fn(&Metric) -> u64,
        (now, base): (Timestamp, Duration),
    ) {
        let shape = &batch.shape;
        // What was made is told first: the same batch may have been too much for a zone in the end.
        for (zone, machine_type) in &outcomes.made_in {
            let instead = shape
                .alternatives
                .iter()
                .find(|it| it.machine_type == *machine_type);
            let Some(instead) = instead else {
                self.stockouts.made(&Pool::of(shape, zone), shape.cpus);
                continue;
            };
            // Google takes what is preferred, as long as it has any there.
            self.stockouts
                .refused(Pool::of(shape, zone), shape.cpus, Why::Stockout, now, base);
            self.stockouts
                .made(&Pool::of(&shape.with(instead), zone), shape.cpus);
        }
        if outcomes.refusals.is_empty() && !outcomes.made_in.is_empty() {
            for (metric, _) in &usage.0 {
                self.exhausted.made(&shape.shard(), metric, promised(metric));
            }
            for key in HoldKey::of(shape) {
                self.holds.remove(&key);
            }
        }
        // Had there been any of these, they would have been taken.
        let instead: Vec<Shape> = shape.alternatives.iter().map(|it| shape.with(it)).collect();
        for class in &outcomes.refusals {
            match class {
                RefusalClass::Stockout { zone } => {
                    let asked = batch.zones();
                    let zones = zone.as_ref().map_or(asked, std::slice::from_ref);
                    for shape in std::iter::once(shape).chain(&instead) {
                        for zone in zones {
                            let pool = Pool::of(shape, zone);
                            self.stockouts.refused(pool, shape.cpus, Why::Stockout, now, base);
                        }
                    }
                }
                RefusalClass::Quota { metric, limit }
                    if usage.0.iter().any(|(m, _)| m.as_str() == metric) =>
                {
                    let metric = Metric::new(metric.as_str());
                    let shown = promised(&metric);
                    self.exhausted
                        .refused(&shape.shard(), metric, *limit, shown, (now, base));
                    // Nobody can tell how far it goes unless Google shows it: the type waits, too.
                    if limit.is_none() {
                        let [key, _] = HoldKey::of(shape);
                        self.hold(key, class, now, base);
                    }
                }
                RefusalClass::Addresses => {
                    let key = HoldKey::Network(shape.shard(), shape.network.clone());
                    self.hold(key, class, now, base);
                }
                _ => {
                    let [key, _] = HoldKey::of(shape);
                    self.hold(key, class, now, base);
                }
            }
        }
    }

    fn hold(&mut self, key: HoldKey, class: &RefusalClass, now: Timestamp, base: Duration) {
        let known = self.holds.get(&key).map_or(0, |hold| hold.times);
        // Calls a minute come back with the minute, whatever was refused before.
        let times = if *class == RefusalClass::Rate {
            1
        } else {
            known + 1
        };
        let hold = Hold {
            until: now.after(patience(base, times)),
            class: class.clone(),
            times,
        };
        self.holds.insert(key, hold);
    }

    /// What closes this shape whatever its zones.
    pub fn hold_of(&self, shape: &Shape, now: Timestamp) -> Option<&Hold> {
        if self.holds.is_empty() {
            return None;
        }
        let held = HoldKey::of(shape)
            .into_iter()
            .filter_map(|key| self.holds.get(&key));
        held.filter(|hold| hold.until > now).max_by_key(|hold| hold.until)
    }

    /// What closed this shape until a while ago: one machine finds out whether it still would. Calls a minute come back
    /// by themselves.
    pub fn lapsed(&self, shape: &Shape, now: Timestamp) -> Option<(HoldKey, &Hold)> {
        if self.holds.is_empty() {
            return None;
        }
        let known = HoldKey::of(shape).into_iter();
        let mut held = known.filter_map(|key| self.holds.get(&key).map(|hold| (key, hold)));
        held.find(|(_, hold)| hold.until <= now && hold.class != RefusalClass::Rate)
    }

    /// A Spot machine that should have lived was taken back. `alive` counts those of the same pool that are there still.
    pub fn reclaimed(&mut self, pool: Pool, alive: usize, now: Timestamp, base: Duration) {
        if self.reclaims.too_many(&pool, alive, now) {
            self.stockouts.refused(pool, 0, Why::Reclaims, now, base * 4);
        }
    }

    /// Lets go of what is long over.
    pub fn forget(&mut self, now: Timestamp) {
        // A hold is remembered as long again as it stood, so that the next refusal counts as one more in a row.
        self.holds.retain(|_, hold| now.since(hold.until) < LONGEST);
        self.stockouts.forget(now);
        self.exhausted.forget(now);
        self.reclaims.forget(now);
    }
}

#[cfg(test)]
mod tests;
