//! What a run is held to, from its scenario and the world's limits.

use std::sync::Arc;

use gust_core::quota::Footprint;
use gust_fakes::{config::Settings, limits::Limits};
use gust_server::leader::Planner as _;

use super::{
    check::{Expectations, Limit},
    replica::{PROJECT, REGIONS, Replicas},
    scenario::{IMPOSSIBLE, Scenario, SourceOf},
};

/// The expectations of a run.
pub(super) fn expectations(scenario: &Scenario, settings: &Settings, replicas: &Replicas) -> Expectations {
    let planner = Arc::clone(&replicas.planner);
    let mut expect = Expectations::new("gust", move |footprint: &Footprint| planner.usage(footprint));
    let steps = scenario
        .builds
        .iter()
        .filter_map(|build| build.steps().ok())
        .flatten();
    expect.impossible = steps.filter(|step| step.starts_with(IMPOSSIBLE)).collect();
    expect.reserves = scenario.source == SourceOf::Stacks;
    expect.limits = limits(&settings.limits, PROJECT, &REGIONS);
    expect.caps.clone_from(&scenario.caps);
    expect.end = scenario.patience().saturating_sub(scenario.quiet_after());
    expect
}

/// All quotas of a project in these regions under these limits.
pub(crate) fn limits(limits: &Limits, project: &str, regions: &[&str]) -> Vec<Limit> {
    let gce = &limits.gce;
    let mut all = Vec::new();
    let mut add = |region: Option<&str>, metric: String, value: f64| {
        all.push(Limit {
            project: project.to_owned(),
            region: region.map(str::to_owned),
            metric,
            value: value as u64,
        });
    };
    for region in regions.iter().copied() {
        let own = gce.regional.get(region);
        let of = |metric: &str, value: f64| {
            own.and_then(|own| own.quotas.get(metric))
                .copied()
                .unwrap_or(value)
        };
        for (metric, value) in &gce.quotas {
            add(Some(region), metric.clone(), of(metric, *value));
        }
        let of = |family: &str, value: f64| {
            own.and_then(|own| own.family_quotas.get(family))
                .copied()
                .unwrap_or(value)
        };
        for (family, value) in &gce.family_quotas {
            add(
                Some(region),
                format!("CPUS_PER_VM_FAMILY:{family}"),
                of(family, *value),
            );
        }
        for (family, value) in &gce.family_local_ssd_quotas {
            add(
                Some(region),
                format!("LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY:{family}"),
                *value,
            );
        }
    }
    for (metric, value) in &gce.project_quotas {
        add(None, metric.clone(), *value);
    }
    all
}
