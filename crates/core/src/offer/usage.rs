//! What a machine uses of Google's resource quotas.

use std::sync::LazyLock;

use super::types::Offer;
use crate::catalog::Catalog;
use crate::quota::{Footprint, Metric, SUBNET_ADDRESSES, Usage};
use crate::shape::{Accelerators, ProvisioningModel};

/// Quota of vCPUs over all regions of a project.
pub const CPUS_ALL_REGIONS: &str = "CPUS_ALL_REGIONS";
/// Quota of VMs in a region.
pub const INSTANCES: &str = "INSTANCES";
/// Quota of external addresses in use in a region.
pub const IN_USE_ADDRESSES: &str = "IN_USE_ADDRESSES";
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
    spot_cpus: Metric,
}

static COMMON: LazyLock<Common> = LazyLock::new(|| Common {
    cpus: Metric::new(CPUS_ALL_REGIONS),
    instances: Metric::new(INSTANCES),
    subnet: Metric::new(SUBNET_ADDRESSES),
    external: Metric::new(IN_USE_ADDRESSES),
    spot_cpus: Metric::new(PREEMPTIBLE_CPUS),
});

/// Which quota Spot machines count against in a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpotQuota {
    /// The ordinary ones, as where no `PREEMPTIBLE_*` quota was granted (its limit is zero).
    #[default]
    Ordinary,
    /// The `PREEMPTIBLE_*` quotas.
    Preemptible,
}

impl SpotQuota {
    /// What holds in a region whose limit of [`PREEMPTIBLE_CPUS`] is this, in vCPUs.
    pub fn granted(limit: u64) -> Self {
        if limit > 0 {
            Self::Preemptible
        } else {
            Self::Ordinary
        }
    }
}

/// What one machine with this footprint uses, at most, as long as it may be of one of several types.
/// `CPUS_ALL_REGIONS` is project-wide, everything else regional.
///
/// Quotas that Google keeps per family are named with the family, as `CPUS_PER_VM_FAMILY:C3D`. A machine type
/// or disk type that the catalog no longer has counts as far as the footprint itself tells.
pub fn resources(footprint: &Footprint, catalog: &Catalog, spot: SpotQuota) -> Usage {
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

fn of_one(footprint: &Footprint, catalog: &Catalog, spot: SpotQuota) -> Usage {
    let found = catalog.machine_type(&footprint.machine_type);
    let family = found
        .as_ref()
        .map(|f| f.family)
        .or_else(|| catalog.family(&footprint.family));
    let preemptible = footprint.model == ProvisioningModel::Spot && spot == SpotQuota::Preemptible;
    let cpus = u64::from(footprint.cpus);
    let mut usage = Vec::with_capacity(6);
    let own_metric = family.map(|f| f.vcpu_metric.clone());
    match own_metric {
        _ if preemptible => usage.push((COMMON.spot_cpus.clone(), cpus)),
        Some(metric) => usage.push((metric, cpus)),
        None => {}
    }
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
        let metric = family.and_then(|f| f.local_ssd_metric.clone());
        match metric {
            _ if preemptible => usage.push((Metric::new(PREEMPTIBLE_LOCAL_SSD_GB), ssd_gib)),
            Some(metric) => usage.push((metric, ssd_gib)),
            None => {}
        }
    }
    if let Some(gpus) = &footprint.gpus {
        let count = u64::from(gpus.count);
        if let Some(kind) = catalog.gpu(&gpus.kind) {
            let metric = if preemptible {
                Metric::new(format!("PREEMPTIBLE_{}", kind.metric))
            } else {
                kind.metric.clone()
            };
            usage.push((metric, count));
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
