//! What a machine uses of Google's resource quotas.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::types::Offer;
use crate::catalog::Catalog;
use crate::ports::Quota;
use crate::quota::{Footprint, Metric, SUBNET_ADDRESSES, Usage};
use crate::shape::{Accelerators, ProvisioningModel};

/// Quota of vCPUs over all regions of a project.
pub const CPUS_ALL_REGIONS: &str = "CPUS_ALL_REGIONS";
/// Quota of VMs in a region.
pub const INSTANCES: &str = "INSTANCES";
/// Quota of external addresses in use in a region.
pub const IN_USE_ADDRESSES: &str = "IN_USE_ADDRESSES";
/// How quotas of Spot machines begin.
const PREEMPTIBLE: &str = "PREEMPTIBLE_";
/// Quota of Spot vCPUs in a region, where it was granted.
pub const PREEMPTIBLE_CPUS: &str = "PREEMPTIBLE_CPUS";
/// Quota of local SSD on Spot machines in a region, where it was granted.
pub const PREEMPTIBLE_LOCAL_SSD_GB: &str = "PREEMPTIBLE_LOCAL_SSD_GB";

/// Quota of accelerators over all regions of a project.
pub const GPUS_ALL_REGIONS: &str = "GPUS_ALL_REGIONS";

/// Names that most machines use, kept once: what copies say is where all of them look, and no two need to be compared.
struct Common {
    cpus: Metric,
    instances: Metric,
    subnet: Metric,
    external: Metric,
}

static COMMON: LazyLock<Common> = LazyLock::new(|| Common {
    cpus: Metric::new(CPUS_ALL_REGIONS),
    instances: Metric::new(INSTANCES),
    subnet: Metric::new(SUBNET_ADDRESSES),
    external: Metric::new(IN_USE_ADDRESSES),
});

/// The `PREEMPTIBLE_*` quotas that were granted in a shard: Spot machines count against these, and against the ordinary
/// ones where a quota's limit is zero, which is how most projects begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpotQuota(BTreeSet<Metric>);

impl SpotQuota {
    /// What holds in a region with these quotas.
    pub fn granted(quotas: &[Quota]) -> Self {
        let granted = quotas
            .iter()
            .filter(|quota| quota.metric.starts_with(PREEMPTIBLE) && quota.limit > 0.0);
        Self(granted.map(|quota| Metric::new(quota.metric.as_str())).collect())
    }

    /// The metric that a Spot machine counts against in the stead of an ordinary one.
    fn instead(&self, name: &str) -> Option<Metric> {
        self.0.iter().find(|metric| metric.as_str() == name).cloned()
    }
}

/// What one machine with this footprint uses, at most, as long as it may be of one of several types.
/// `CPUS_ALL_REGIONS` is project-wide, everything else regional.
///
/// Quotas that Google keeps per family are named with the family, as `CPUS_PER_VM_FAMILY:C3D`. A machine type
/// or disk type that the catalog no longer has counts as far as the footprint itself tells.
pub fn resources(footprint: &Footprint, catalog: &Catalog, spot: &SpotQuota) -> Usage {
    let mut usage = of_one(footprint, catalog, spot);
    for (machine_type, family) in &footprint.alternatives {
        let instead = Footprint {
            machine_type: machine_type.clone(),
            family: family.clone(),
            alternatives: Vec::new(),
            ..footprint.clone()
        };
        usage = usage.or(&of_one(&instead, catalog, spot));
    }
    usage
}

fn of_one(footprint: &Footprint, catalog: &Catalog, spot: &SpotQuota) -> Usage {
    let found = catalog.machine_type(&footprint.machine_type);
    let family = found
        .as_ref()
        .map(|f| f.family)
        .or_else(|| catalog.family(&footprint.family));
    let is_spot = footprint.model == ProvisioningModel::Spot;
    let granted = |name: &str| spot.instead(name).filter(|_| is_spot);
    let cpus = u64::from(footprint.cpus);
    let mut usage = Vec::with_capacity(6);
    let own_metric = family.map(|f| f.vcpu_metric.clone());
    usage.extend(
        granted(PREEMPTIBLE_CPUS)
            .or(own_metric)
            .map(|metric| (metric, cpus)),
    );
    usage.push((COMMON.cpus.clone(), cpus));
    usage.push((COMMON.instances.clone(), 1));
    usage.push((COMMON.subnet.clone(), 1));
    if footprint.external_address {
        usage.push((COMMON.external.clone(), 1));
    }
    if let Some(disk) = catalog.disk(&footprint.disk_type.as_str().into()) {
        usage.push((disk.metric.clone(), u64::from(footprint.disk_gib)));
    }
    let bundled = found.and_then(|f| f.predefined).map_or(0, |p| p.bundled_ssds);
    let ssd_gib = u64::from(bundled.max(footprint.local_ssds)) * catalog.local_ssd_gib();
    if ssd_gib > 0 {
        let own = family.and_then(|f| f.local_ssd_metric.clone());
        let metric = granted(PREEMPTIBLE_LOCAL_SSD_GB).or(own);
        usage.extend(metric.map(|metric| (metric, ssd_gib)));
    }
    if let Some(gpus) = &footprint.gpus {
        let count = u64::from(gpus.count);
        if let Some(kind) = catalog.gpu(&gpus.kind) {
            let instead = granted(&format!("{PREEMPTIBLE}{}", kind.metric));
            usage.push((instead.unwrap_or_else(|| kind.metric.clone()), count));
        }
        usage.push((Metric::new(GPUS_ALL_REGIONS), count));
    }
    Usage(usage)
}

impl Offer {
    /// Its accelerators, as a shape has them.
    pub fn accelerators(&self) -> Option<Accelerators> {
        self.gpus.as_ref().map(|offered| Accelerators {
            kind: offered.gpus.kind.to_string(),
            count: offered.gpus.count,
            attach: offered.attach,
        })
    }

    /// The footprint of a machine of this offer in one of its places.
    pub fn footprint(&self, shard: &crate::ids::Shard, external_address: bool) -> Footprint {
        Footprint {
            shard: shard.clone(),
            machine_type: self.machine_type.clone(),
            family: self.family.to_string(),
            alternatives: Vec::new(),
            cpus: self.cpus.0,
            model: self.model,
            disk_type: self.disk.disk_type.to_string(),
            disk_gib: u32::try_from(self.disk.size.0).unwrap_or(u32::MAX),
            local_ssds: self.local_ssds.attach,
            gpus: self.accelerators(),
            external_address,
        }
    }
}
