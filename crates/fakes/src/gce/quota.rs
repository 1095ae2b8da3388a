//! Allocation quotas: what a machine needs, what is used, what is left.
//!
//! The ledger is exact: admission uses the true value. What `regions.get` shows may lag behind. Rates of calls
//! are in [`super::rate`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Catalog, LOCAL_SSD_GIB, MachineType};
use super::spec::Template;
use crate::event::{Effects, Event, Host};
use crate::limits;
use crate::now::Now;

/// Prefix of the per-family vCPU metric; the family follows (`CPUS_PER_VM_FAMILY:C3D`).
pub const CPUS_PER_FAMILY: &str = "CPUS_PER_VM_FAMILY:";
/// Prefix of the per-family local SSD metric.
pub const SSD_PER_FAMILY: &str = "LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY:";

/// A classic metric name, or one of the two per-family prefixes with its family.
pub type Metric = Arc<str>;

/// When a machine gives back what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// When it is TERMINATED.
    AtStop,
    /// When it is gone.
    AtDelete,
}

/// An amount of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// The metric.
    pub metric: Metric,
    /// Counted over the whole project instead of one region.
    pub is_project_wide: bool,
    /// vCPUs, GB or a count.
    pub amount: u64,
    /// When it comes back.
    pub release: Release,
}

/// A quota that is not enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The metric.
    pub metric: Metric,
    /// Its limit.
    pub limit: f64,
    /// The region, none for a project-wide metric.
    pub region: Option<Arc<str>>,
}

impl Shortage {
    /// Metric name without its family.
    fn base(&self) -> &str {
        self.metric
            .split_once(':')
            .map_or(&*self.metric, |(base, _)| base)
    }

    /// `Quota 'N2_CPUS' exceeded.  Limit: 24.0 in region us-central1.`
    pub fn message(&self) -> String {
        let place = self
            .region
            .as_ref()
            .map_or("globally".into(), |region| format!("in region {region}"));
        format!(
            "Quota '{}' exceeded.  Limit: {:?} {place}.",
            self.base(),
            self.limit
        )
    }

    /// Whether `regions.get` or `projects.get` shows this metric.
    pub fn is_classic(&self) -> bool {
        !self.metric.contains(':')
    }

    /// `quotaInfo.metricName`.
    pub fn metric_name(&self) -> String {
        format!("compute.googleapis.com/{}", self.base().to_lowercase())
    }

    /// `quotaInfo.limitName`.
    pub fn limit_name(&self) -> String {
        let region = if self.region.is_some() { "-region" } else { "" };
        format!("{}-per-project{region}", self.base().replace('_', "-"))
    }

    /// `quotaInfo.dimensions`.
    pub fn dimensions(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::new();
        if let Some(region) = &self.region {
            all.insert("region", region.to_string());
        }
        if let Some((_, family)) = self.metric.split_once(':') {
            all.insert("vm_family", family.to_owned());
        }
        all
    }
}

/// Everything one machine of this type and template takes. Spot machines count in `PREEMPTIBLE_*` where such a
/// quota was granted in the region, else in the ordinary one.
pub fn needs(
    catalog: &Catalog,
    limits: &limits::Gce,
    region: &str,
    machine: &MachineType,
    template: &Template,
) -> Vec<Need> {
    let spot = template.scheduling.is_spot();
    let granted = |metric: &str| spot && limit_of(limits, region, metric) > 0.0;
    let family = catalog.family(&machine.family);
    let per_family = family.and_then(|family| family.per_family.as_deref());
    let cpu_metric = match (family.and_then(|family| family.metric.as_deref()), per_family) {
        _ if granted("PREEMPTIBLE_CPUS") => "PREEMPTIBLE_CPUS".to_owned(),
        (Some(metric), _) => metric.to_owned(),
        (None, Some(name)) => format!("{CPUS_PER_FAMILY}{name}"),
        (None, None) => "CPUS".to_owned(),
    };
    let need = |metric: &str, amount: u64, release: Release| Need {
        metric: metric.into(),
        is_project_wide: false,
        amount,
        release,
    };
    let cpus = u64::from(machine.cpus);
    let mut all = vec![
        need(&cpu_metric, cpus, Release::AtStop),
        Need {
            is_project_wide: true,
            ..need("CPUS_ALL_REGIONS", cpus, Release::AtStop)
        },
        need("INSTANCES", 1, Release::AtDelete),
    ];
    let scratch = template.disks.iter().filter(|disk| disk.is_scratch).count() as u64;
    let ssd_gb = (scratch + u64::from(machine.bundled_ssds)) * LOCAL_SSD_GIB;
    if ssd_gb > 0 {
        let metric = match per_family {
            _ if granted("PREEMPTIBLE_LOCAL_SSD_GB") => "PREEMPTIBLE_LOCAL_SSD_GB".to_owned(),
            Some(family) => format!("{SSD_PER_FAMILY}{family}"),
            None => "LOCAL_SSD_TOTAL_GB".to_owned(),
        };
        all.push(need(&metric, ssd_gb, Release::AtDelete));
    }
    let external = template
        .networks
        .iter()
        .filter(|network| network.is_external)
        .count() as u64;
    if external > 0 {
        all.push(need("IN_USE_ADDRESSES", external, Release::AtDelete));
    }
    for disk in template.disks.iter().filter(|disk| !disk.is_scratch) {
        let metric = disk_metric(disk.disk_type.as_deref());
        let amount = disk.size_gib.unwrap_or_default();
        match all.iter_mut().find(|need| &*need.metric == metric) {
            Some(need) => need.amount += amount,
            None => all.push(need(metric, amount, Release::AtDelete)),
        }
    }
    all
}

/// The metric that a persistent disk counts in.
pub(super) fn disk_metric(disk_type: Option<&str>) -> &'static str {
    match disk_type {
        Some("pd-standard") => "DISKS_TOTAL_GB",
        Some(kind) if kind.starts_with("hyperdisk") => "HDB_TOTAL_GB",
        _ => "SSD_TOTAL_GB",
    }
}

/// The limit of a metric in a region; of a project-wide one when `region` is empty. What the limits do not
/// name is not granted.
pub fn limit_of(limits: &limits::Gce, region: &str, metric: &str) -> f64 {
    if region.is_empty() {
        return limits.project_quotas.get(metric).copied().unwrap_or_default();
    }
    let regional = limits.regional.get(region);
    let (name, general, special) = if let Some(family) = metric.strip_prefix(CPUS_PER_FAMILY) {
        (
            family,
            &limits.family_quotas,
            regional.map(|regional| &regional.family_quotas),
        )
    } else if let Some(family) = metric.strip_prefix(SSD_PER_FAMILY) {
        (
            family,
            &limits.family_local_ssd_quotas,
            regional.map(|regional| &regional.family_local_ssd_quotas),
        )
    } else {
        (metric, &limits.quotas, regional.map(|regional| &regional.quotas))
    };
    special
        .and_then(|special| special.get(name))
        .or_else(|| general.get(name))
        .copied()
        .unwrap_or_default()
}

/// Limits that faults have lowered for the present call, by region (empty: project) and metric.
pub type Lowered = BTreeMap<(Arc<str>, Metric), f64>;

/// Region (empty: the project) and metric.
type Key = (Arc<str>, Metric);

/// The account of one project.
#[derive(Debug, Default)]
pub struct Ledger {
    used: BTreeMap<Key, u64>,
    changed: BTreeSet<Key>,
    trail: BTreeMap<Key, VecDeque<(Duration, u64)>>,
}

/// Past usage is kept at most so long.
const TRAIL: Duration = Duration::from_secs(900);

impl Ledger {
    fn key(region: &Arc<str>, need: &Need) -> Key {
        (
            if need.is_project_wide {
                "".into()
            } else {
                region.clone()
            },
            need.metric.clone(),
        )
    }

    /// Takes all needs or none.
    pub fn reserve(
        &mut self,
        limits: &limits::Gce,
        lowered: &Lowered,
        region: &Arc<str>,
        needs: &[Need],
    ) -> Result<(), Shortage> {
        for need in needs {
            let key = Self::key(region, need);
            let granted = limit_of(limits, &key.0, &key.1);
            let limit = lowered.get(&key).map_or(granted, |lowered| lowered.min(granted));
            let used = self.used.get(&key).copied().unwrap_or_default();
            if (used + need.amount) as f64 > limit {
                let region = (!need.is_project_wide).then(|| region.clone());
                return Err(Shortage {
                    metric: need.metric.clone(),
                    limit,
                    region,
                });
            }
        }
        for need in needs {
            let key = Self::key(region, need);
            *self.used.entry(key.clone()).or_default() += need.amount;
            self.changed.insert(key);
        }
        Ok(())
    }

    /// Gives back what comes back at this point.
    pub fn release(&mut self, region: &Arc<str>, needs: &[Need], at: Release) {
        for need in needs.iter().filter(|need| need.release == at) {
            let key = Self::key(region, need);
            let used = self.used.entry(key.clone()).or_default();
            *used = used
                .checked_sub(need.amount)
                .expect("only what was reserved is released, once");
            self.changed.insert(key);
        }
    }

    /// Counts something beside machines, such as a disk that outlived its machine.
    pub fn hold(&mut self, region: &Arc<str>, metric: &str, amount: u64) {
        let key = (region.clone(), Arc::from(metric));
        *self.used.entry(key.clone()).or_default() += amount;
        self.changed.insert(key);
    }

    /// True usage.
    pub fn used(&self, region: &str, metric: &str) -> u64 {
        self.used
            .get(&(Arc::from(region), Arc::from(metric)))
            .copied()
            .unwrap_or_default()
    }

    /// Usage as it was `lag` ago.
    pub fn shown(&self, now: Now, lag: Duration, region: &str, metric: &str) -> u64 {
        let Some(then) = now.since_start.checked_sub(lag).filter(|_| !lag.is_zero()) else {
            return if lag.is_zero() {
                self.used(region, metric)
            } else {
                0
            };
        };
        let trail = self.trail.get(&(Arc::from(region), Arc::from(metric)));
        let known = trail.and_then(|trail| trail.iter().rev().find(|(at, _)| *at <= then));
        known.map_or(0, |(_, used)| *used)
    }

    /// Everything that is in use, by region and metric.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.used
            .iter()
            .map(|((region, metric), used)| (&**region, &**metric, *used))
    }

    /// Pushes one `quota.used` for each metric that changed since the last time.
    pub fn flush(&mut self, project: &str, limits: &limits::Gce, now: Now, out: &mut Effects) {
        for key in std::mem::take(&mut self.changed) {
            let usage = self.used.get(&key).copied().unwrap_or_default();
            let trail = self.trail.entry(key.clone()).or_default();
            trail.push_back((now.since_start, usage));
            // One entry older than the window stays: it is what was true at the window's beginning.
            while trail.len() > 1 && trail[1].0 + TRAIL < now.since_start {
                trail.pop_front();
            }
            let region = if key.0.is_empty() {
                None
            } else {
                Some(key.0.to_string())
            };
            out.push(
                Event::new(Host::Gce, "quota.used")
                    .with("project", project)
                    .with("region", region)
                    .with("metric", &*key.1)
                    .with("usage", usage)
                    .with("limit", limit_of(limits, &key.0, &key.1)),
            );
        }
    }
}
