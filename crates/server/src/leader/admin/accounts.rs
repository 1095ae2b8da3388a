//! How quotas stand, each told once.

use std::{collections::BTreeMap, sync::Arc};

use gust_core::{
    ids::{ProjectId, Shard},
    quota::{Ledger, Metric, View},
};

use super::super::derived::Promised;

/// A quota.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaLine {
    /// Its name.
    pub metric: Metric,
    /// Its limit.
    pub limit: u64,
    /// Ours and others'.
    pub used: u64,
}

/// The accounts of all shards and projects.
pub(super) struct Accounts<'a> {
    promised: &'a Promised,
    /// Of each project the shard whose line tells of quotas over all regions, and Google's view of them.
    wide: BTreeMap<&'a ProjectId, (&'a Shard, &'a Arc<View>)>,
}

impl<'a> Accounts<'a> {
    /// With what each shard's owner has read of quotas over all regions: they are the project's, and so the first one tells.
    pub fn new(promised: &'a Promised, wide: impl Iterator<Item = (&'a Shard, &'a Arc<View>)>) -> Self {
        let mut first = BTreeMap::new();
        for (shard, view) in wide {
            first.entry(&shard.project).or_insert((shard, view));
        }
        Self {
            promised,
            wide: first,
        }
    }

    /// The lines of a shard whose own quotas look like this.
    pub fn lines(&self, shard: &Shard, view: &Arc<View>) -> Vec<QuotaLine> {
        let ours = self.promised.shards.get(shard).cloned().unwrap_or_default();
        let mut lines = told(view, ours, false);
        if let Some((_, view)) = self.wide.get(&shard.project).filter(|(first, _)| *first == shard) {
            let ours = self.promised.projects.get(&shard.project).cloned();
            lines.extend(told(view, ours.unwrap_or_default(), true));
        }
        lines.sort_by(|a, b| a.metric.cmp(&b.metric));
        lines
    }
}

fn told(view: &Arc<View>, ours: BTreeMap<Metric, u64>, wide: bool) -> Vec<QuotaLine> {
    let metrics: Vec<Metric> = ours.keys().cloned().collect();
    let ledger = Ledger::over(view, ours);
    let line = |metric: Metric| {
        let row = ledger.row(&metric)?;
        Some(QuotaLine {
            metric,
            limit: row.limit,
            used: row.used(),
        })
    };
    let metrics = metrics
        .into_iter()
        .filter(|metric| metric.is_project_wide() == wide);
    metrics.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use gust_core::ports::Quota;

    use super::*;

    #[test]
    fn a_quota_over_all_regions_is_the_projects_sum_and_told_once() {
        let (cpus, all) = (Metric::new("CPUS"), Metric::new("CPUS_ALL_REGIONS"));
        let shard = |region: &str| Shard {
            project: "p".into(),
            region: region.into(),
        };
        let (here, there) = (shard("us-central1"), shard("us-east4"));
        let sum = |cpu: u64| BTreeMap::from([(cpus.clone(), cpu), (all.clone(), cpu)]);
        let promised = Promised {
            shards: [(here.clone(), sum(500)), (there.clone(), sum(500))].into(),
            projects: [("p".into(), sum(1000))].into(),
        };
        let quota = |metric: &str, limit: f64, usage: f64, project_wide| Quota {
            metric: metric.into(),
            limit,
            usage,
            project_wide,
        };
        let quotas = [
            quota("CPUS", 800.0, 500.0, false),
            quota("CPUS_ALL_REGIONS", 1000.0, 1000.0, true),
        ];
        let then = BTreeMap::from([(cpus.clone(), 500), (all.clone(), 1000)]);
        let own = Arc::new(View::new(&quotas, &then));
        let wide = Arc::new(View::new(&quotas[1..], &then));
        let accounts = Accounts::new(&promised, [(&here, &wide), (&there, &wide)].into_iter());
        let told = |shard| {
            let lines = accounts.lines(shard, &own).into_iter();
            let told = lines.map(|line| format!("{} {}/{}", line.metric, line.used, line.limit));
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&here), ["CPUS 500/800", "CPUS_ALL_REGIONS 1000/1000"]);
        assert_eq!(told(&there), ["CPUS 500/800"]);
    }
}
