//! Resource quota as values: what a machine uses, what a shard has left.

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{MachineTypeName, Shard},
    memory::Lesson,
    ports::Quota,
    shape::{Accelerators, ProvisioningModel, Shape},
    time::Timestamp,
};

/// The name of a quota metric, such as `N2D_CPUS`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metric(Arc<str>);

// The order that would be derived. Most names that meet are copies of one another, which is seen without reading them.
impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Metric {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl Metric {
    /// Wraps Google's name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if both are copies of one name, which is seen without reading it. What is not may still have an equal one.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True for what is paid for already (committed use, reservations): it bounds a price, not what can be had.
    pub fn is_prepaid(&self) -> bool {
        self.0.starts_with("PREPAID_")
    }

    /// True for metrics that Google counts over all regions of a project.
    pub fn is_project_wide(&self) -> bool {
        self.0.ends_with("_ALL_REGIONS")
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses of the subnet that machines join: no quota of Google's, but as scarce. Every machine needs one until it is
/// gone.
pub const SUBNET_ADDRESSES: &str = "SUBNET_ADDRESSES";

/// How much of each metric one machine uses, in the metric's own unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(pub Vec<(Metric, u64)>);

impl Usage {
    /// Adds `count` times this usage to a sum.
    pub fn add_to(&self, sum: &mut BTreeMap<Metric, u64>, count: u64) {
        for (metric, amount) in &self.0 {
            *sum.entry(metric.clone()).or_default() += amount * count;
        }
    }

    /// What suffices for a machine that uses this or that.
    #[must_use]
    pub fn or(mut self, that: &Self) -> Self {
        for (metric, amount) in &that.0 {
            match self.0.iter_mut().find(|(known, _)| known == metric) {
                Some((_, known)) => *known = (*known).max(*amount),
                None => self.0.push((metric.clone(), *amount)),
            }
        }
        self
    }
}

/// The part of a shape that quota depends on. Machines are counted by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Footprint {
    /// Where.
    pub shard: Shard,
    /// Machine type.
    pub machine_type: MachineTypeName,
    /// Its family.
    pub family: String,
    /// What else it may be, by type and family: until Google has told which, all of it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<(MachineTypeName, String)>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// On demand or Spot.
    pub model: ProvisioningModel,
    /// Boot disk type.
    pub disk_type: String,
    /// Boot disk in GiB.
    pub disk_gib: u32,
    /// Attached local SSDs.
    pub local_ssds: u32,
    /// Accelerators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Accelerators>,
    /// Whether it has an external address.
    pub external_address: bool,
}

impl From<&Shape> for Footprint {
    fn from(shape: &Shape) -> Self {
        Self {
            shard: shape.shard(),
            machine_type: shape.machine_type.clone(),
            family: shape.family.clone(),
            alternatives: shape
                .alternatives
                .iter()
                .map(|it| (it.machine_type.clone(), it.family.clone()))
                .collect(),
            cpus: shape.cpus,
            model: shape.model,
            disk_type: shape.boot_disk.disk_type.clone(),
            disk_gib: shape.boot_disk.gib,
            local_ssds: shape.local_ssds,
            gpus: shape.gpus.clone(),
            external_address: shape.network.external_address,
        }
    }
}

/// One metric of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The limit.
    pub limit: u64,
    /// What others than gust use.
    pub foreign: u64,
    /// What gust's own records promise.
    pub promised: u64,
    /// No more than this may be promised at present: Google refused more.
    pub ceiling: Option<u64>,
    /// The limit is what a refusal told a while ago. One machine more may be asked for, to find out whether that still
    /// holds.
    pub doubted: bool,
}

impl Row {
    /// What would be left by the figures alone.
    pub fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used())
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        let left = self.free();
        let below = self.ceiling.map(|most| most.saturating_sub(self.promised));
        below.map_or(left, |below| left.min(below))
    }

    /// What counts as used.
    pub fn used(&self) -> u64 {
        self.foreign.saturating_add(self.promised)
    }
}

/// A shard's account of resource quota.
///
/// # Guarantees
/// The durable intent is the promise: what gust has recorded counts from the moment it is recorded, whether
/// Google shows it yet or not. A metric that Google does not show is not limited here until a refusal tells of it
/// ([`Ledger::taught`]) or the operator does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    view: Arc<View>,
    promised: BTreeMap<Metric, u64>,
    /// What refusals told.
    taught: BTreeMap<Metric, Taught>,
}

/// What a refusal told of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taught {
    limit: Option<u64>,
    /// The most that may be promised, as long as the refusal is heeded.
    ceiling: Option<u64>,
}

/// Google's view of a shard's quotas, less what of it is ours. It changes when quotas are read, so passes share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Limit, and what others than gust use.
    metrics: BTreeMap<Metric, (u64, u64)>,
}

impl View {
    /// Reads quotas. `promised_then` is what we had promised when they were read.
    ///
    /// Google's usage lags and includes our own machines, so the part that is not ours is what exceeds our
    /// promise at the time of reading.
    pub fn new<'a>(
        quotas: impl IntoIterator<Item = &'a Quota>,
        promised_then: &BTreeMap<Metric, u64>,
    ) -> Self {
        let whole = |x: f64| if x.is_finite() && x > 0.0 { x as u64 } else { 0 };
        let metrics = quotas.into_iter().map(|quota| {
            let metric = Metric::new(quota.metric.as_str());
            let then = promised_then.get(&metric).copied().unwrap_or(0);
            let foreign = whole(quota.usage).saturating_sub(then);
            (metric, (whole(quota.limit), foreign))
        });
        Self {
            metrics: metrics.collect(),
        }
    }
}

impl Ledger {
    /// Builds the account from Google's view, what we had promised when that view was read, and what we promise now.
    pub fn new(
        quotas: &[Quota],
        promised_then: &BTreeMap<Metric, u64>,
        promised_now: &BTreeMap<Metric, u64>,
    ) -> Self {
        Self::over(&Arc::new(View::new(quotas, promised_then)), promised_now.clone())
    }

    /// The account of this view, with what we promise now.
    pub fn over(view: &Arc<View>, promised: BTreeMap<Metric, u64>) -> Self {
        Self {
            view: Arc::clone(view),
            promised,
            taught: BTreeMap::new(),
        }
    }

    /// The same account, with what refusals told.
    #[must_use]
    pub fn taught<'a>(self, lessons: impl Iterator<Item = (&'a Metric, &'a Lesson)>, now: Timestamp) -> Self {
        let told = lessons.map(|(metric, lesson)| {
            let (limit, ceiling) = (lesson.limit, lesson.most(now));
            (metric.clone(), Taught { limit, ceiling })
        });
        Self {
            taught: told.collect(),
            ..self
        }
    }

    /// The row of a metric, if Google shows it or has told of it. A refusal speaks of what Google counts by, so the
    /// smaller of both limits counts; once the refusal is over, as long as one machine more proves nothing else.
    pub fn row(&self, metric: &Metric) -> Option<Row> {
        let taught = self.taught.get(metric).copied().unwrap_or_default();
        let shown = self.view.metrics.get(metric).copied();
        let (limit, foreign) = shown.or_else(|| Some((taught.limit?, 0)))?;
        let promised = self.promised.get(metric).copied().unwrap_or(0);
        let told = taught.limit.filter(|told| *told < limit || shown.is_none());
        let limit = told.unwrap_or(limit);
        let ceiling = taught.ceiling;
        Some(Row {
            limit,
            foreign,
            promised,
            ceiling,
            // Whoever is over it already is finding out.
            doubted: told.is_some() && ceiling.is_none() && foreign.saturating_add(promised) <= limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(usage: f64) -> Vec<Quota> {
        vec![Quota {
            metric: "CPUS".into(),
            limit: 100.0,
            usage,
            project_wide: false,
        }]
    }

    fn sum(n: u64) -> BTreeMap<Metric, u64> {
        [(Metric::new("CPUS"), n)].into()
    }

    #[test]
    fn lagging_usage_is_never_counted_twice() {
        // Google shows our 40 already: nothing is foreign.
        let ledger = Ledger::new(&quota(40.0), &sum(40), &sum(60));
        assert_eq!(ledger.row(&Metric::new("CPUS")).map(|row| row.left()), Some(40));
        // Google does not show them yet, but others use 10 we can see.
        let ledger = Ledger::new(&quota(50.0), &sum(40), &sum(40));
        assert_eq!(ledger.row(&Metric::new("CPUS")).map(|row| row.left()), Some(50));
    }

    #[test]
    fn a_limit_cut_below_usage_leaves_nothing() {
        let ledger = Ledger::new(&quota(500.0), &sum(0), &sum(90));
        assert_eq!(ledger.row(&Metric::new("CPUS")).map(|row| row.left()), Some(0));
    }
}
