//! From the data files' form to the catalog: names made, rules checked against each other.

mod prices;
mod types;

use std::collections::BTreeMap;

use self::prices::{Priced, prices};
use self::types::{attach_gpus, custom_rule, local_ssd, named, predefined};
use super::error::Error;
use super::family::{Family, LocalSsd};
use super::file;
use super::names::{DiskType, FamilyName, GpuName};
use super::{Catalog, Disk, GpuKind};
use crate::ids::{Region, Zone};
use crate::quota::Metric;

/// The region all built-in prices are of. It stands in for regions without prices of their own.
pub(super) const BASE_REGION: &str = "us-central1";

/// What begins the vCPU quota of a family that regions do not show.
const VM_FAMILY: &str = "CPUS_PER_VM_FAMILY:";

fn sense(key: impl Into<String>, why: impl Into<String>, hint: &'static str) -> Error {
    Error::Sense {
        key: key.into(),
        why: why.into(),
        hint,
    }
}

pub(super) fn catalog(document: file::Document) -> Result<Catalog, Error> {
    let regions = document
        .regions
        .ok_or_else(|| sense("regions", "is missing", "add `[regions.zones]`"))?;
    let ssd = document
        .local_ssd
        .ok_or_else(|| sense("local_ssd", "is missing", "add `gib = 375`"))?;
    let address = document
        .address
        .ok_or_else(|| sense("address", "is missing", "add both prices"))?;
    let mut zones = BTreeMap::new();
    for (region, letters) in regions.zones {
        if letters.is_empty() {
            let key = format!("regions.zones.{region}");
            return Err(sense(
                key,
                "has no zone",
                "write the letters, such as [\"a\", \"b\"]",
            ));
        }
        zones.insert(Region::new(&*region), zone_names(&region, &letters)?);
    }
    let disks = document
        .disk
        .into_iter()
        .map(|(name, d)| disk(name, d, &zones))
        .collect::<Result<_, _>>()?;
    let mut catalog = Catalog {
        zones,
        disks,
        families: BTreeMap::new(),
        gpus: BTreeMap::new(),
        local_ssd_gib: ssd.gib,
        address: (address.on_demand, address.spot),
        layers: Vec::new(),
    };
    for (name, form) in document.gpu {
        let gpu = gpu(&name, form, &catalog)?;
        catalog.gpus.insert(GpuName::from(name), gpu);
    }
    for (name, form) in document.family {
        if form.offered {
            let family = family(&name, form, &document.price_source, &catalog)?;
            catalog.families.insert(family.name.clone(), family);
        }
    }
    Ok(catalog)
}

/// The zones of a region by the last parts of their names.
fn zone_names(region: &str, letters: &[String]) -> Result<Vec<Zone>, Error> {
    let is_last = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if let Some(other) = letters.iter().find(|part| !is_last(part)) {
        let why = format!("names `{other}`, which no zone's name ends with after `{region}-`");
        return Err(sense(
            format!("regions.zones.{region}"),
            why,
            "write the letters alone, such as [\"a\", \"b\"]",
        ));
    }
    let zones = letters.iter().map(|part| Zone::new(format!("{region}-{part}")));
    Ok(zones.collect())
}

fn disk(
    name: String,
    form: file::Disk,
    zones: &BTreeMap<Region, Vec<Zone>>,
) -> Result<(DiskType, Disk), Error> {
    let key = format!("disk.{name}");
    if form.min_gib == 0 || form.min_gib > form.max_gib {
        return Err(sense(
            key,
            "sizes do not run upwards",
            "set 0 < min_gib <= max_gib",
        ));
    }
    let prices: BTreeMap<_, _> = form
        .prices
        .into_iter()
        .map(|(r, p)| (Region::new(r), p))
        .collect();
    if !prices.contains_key(&Region::from(BASE_REGION)) {
        return Err(sense(
            format!("{key}.prices"),
            "lacks us-central1",
            "give that region's price",
        ));
    }
    if let Some(unknown) = prices.keys().find(|r| !zones.contains_key(*r)) {
        return Err(unknown_region(format!("{key}.prices"), unknown.as_str()));
    }
    let disk = Disk {
        as_of: form.as_of,
        source: form.source,
        min_gib: form.min_gib,
        max_gib: form.max_gib,
        metric: Metric::new(form.quota),
        prices,
    };
    Ok((DiskType::from(name), disk))
}

fn gpu(name: &str, form: file::Gpu, catalog: &Catalog) -> Result<GpuKind, Error> {
    let key = |part: &str| format!("gpu.{name}.{part}");
    let zones = form.zones.into_iter().map(Zone::new).collect();
    let prices: BTreeMap<Region, _> = form
        .prices
        .into_iter()
        .map(|(r, p)| (Region::new(r), p))
        .collect();
    if let Some(unknown) = prices.keys().find(|r| !catalog.zones.contains_key(*r)) {
        return Err(unknown_region(key("prices"), unknown.as_str()));
    }
    Ok(GpuKind {
        metric: Metric::new(form.quota),
        zones,
        prices,
    })
}

/// Whether Google has such a quota of vCPUs in a region. Sources: `Quota.Metric` of the Compute API (version 4.1.0 of its
/// client); families that are not there have one of their own below `CPUS_PER_VM_FAMILY`.
fn counts_vcpus(metric: &str) -> bool {
    const SHOWN: [&str; 14] = [
        "CPUS", "A2_CPUS", "C2_CPUS", "C2D_CPUS", "C3_CPUS", "E2_CPUS", "M1_CPUS", "M2_CPUS", "M3_CPUS",
        "N2_CPUS", "N2A_CPUS", "N2D_CPUS", "T2A_CPUS", "T2D_CPUS",
    ];
    let is_family =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    SHOWN.contains(&metric) || metric.strip_prefix(VM_FAMILY).is_some_and(is_family)
}

fn unknown_region(key: String, region: &str) -> Error {
    sense(
        key,
        format!("names the unknown region {region}"),
        "fix the name or add the region to `[regions.zones]`",
    )
}

fn family(
    name: &str,
    form: file::Family,
    sources: &BTreeMap<String, file::PriceSource>,
    catalog: &Catalog,
) -> Result<Family, Error> {
    let key = |part: &str| format!("family.{name}.{part}");
    let boot_disks: Vec<DiskType> = form.boot_disks.iter().map(|d| DiskType::new(d)).collect();
    if let Some(unknown) = boot_disks.iter().find(|d| !catalog.disks.contains_key(*d)) {
        let why = format!("names the disk type {unknown}, which no `[disk.…]` describes");
        return Err(sense(key("boot_disks"), why, "fix the name or describe the disk"));
    }
    if boot_disks.is_empty() {
        return Err(sense(
            key("boot_disks"),
            "is empty",
            "name at least the default boot disk",
        ));
    }
    if !counts_vcpus(&form.vcpu_quota) {
        let why = format!("`{}` is no quota of vCPUs that Google has", form.vcpu_quota);
        return Err(sense(
            key("vcpu_quota"),
            why,
            "name one that regions show, such as \"N2D_CPUS\", or \"CPUS_PER_VM_FAMILY:C4\" for family C4",
        ));
    }
    let zones = family_zones(name, &form, catalog)?;
    let custom = form.custom.map(|c| custom_rule(name, c)).transpose()?;
    let mut types = predefined(name, &form.types, form.local_ssd.as_ref(), form.shared_core)?;
    types.extend(named(name, form.named, catalog)?);
    types.sort_by(|a, b| (a.cpus, a.memory_mib, &a.name).cmp(&(b.cpus, b.memory_mib, &b.name)));
    let attach_gpus = attach_gpus(name, form.attach_gpu, catalog)?;
    let brings_ssd = types.iter().any(|t| t.bundled_ssds > 0 && t.gpus.is_none());
    let local_ssd = match local_ssd(name, form.local_ssd)? {
        LocalSsd::None if brings_ssd => LocalSsd::Bundled,
        other => other,
    };
    let has_ssd = local_ssd != LocalSsd::None || types.iter().any(|t| t.bundled_ssds > 0);
    if has_ssd && form.local_ssd_quota.is_none() {
        return Err(sense(
            key("local_ssd_quota"),
            "is missing",
            "name the quota its local SSD counts against",
        ));
    }
    let priced = Priced {
        custom: custom.is_some(),
        local_ssd: local_ssd != LocalSsd::None,
        types: &types,
    };
    let prices = prices(name, form.prices, sources, &priced)?;
    if let Some(unknown) = prices.keys().find(|r| !catalog.zones.contains_key(*r)) {
        return Err(unknown_region(key("prices"), unknown.as_str()));
    }
    Ok(Family {
        name: FamilyName::new(name),
        arch: form.arch,
        cpu: form.cpu,
        threads_per_core: form.threads_per_core,
        as_of: form.as_of,
        source: form.source,
        boot_disks,
        vcpu_metric: Metric::new(form.vcpu_quota),
        local_ssd_metric: form.local_ssd_quota.map(Metric::new),
        types,
        custom,
        attach_gpus,
        local_ssd,
        zones,
        prices,
        base_region: Region::from(BASE_REGION),
    })
}

fn family_zones(
    name: &str,
    form: &file::Family,
    catalog: &Catalog,
) -> Result<BTreeMap<Region, Vec<Zone>>, Error> {
    if let Some(unknown) = form
        .not_in
        .iter()
        .find(|r| !catalog.zones.contains_key(&Region::from(r.as_str())))
    {
        let why = format!("names the unknown region {unknown}");
        return Err(sense(
            format!("family.{name}.not_in"),
            why,
            "name regions of `[regions.zones]`",
        ));
    }
    let known = |zone: &str| catalog.zones.values().flatten().any(|z| z.as_str() == zone);
    if let Some(unknown) = form.not_in_zones.iter().find(|z| !known(z)) {
        let why = format!("names the unknown zone {unknown}");
        return Err(sense(
            format!("family.{name}.not_in_zones"),
            why,
            "name zones of `[regions.zones]`",
        ));
    }
    let mut zones = BTreeMap::new();
    for (region, all) in &catalog.zones {
        if form.not_in.iter().any(|r| r == region.as_str()) {
            continue;
        }
        let lacks = |zone: &Zone| form.not_in_zones.iter().any(|z| z == zone.as_str());
        let has: Vec<Zone> = all.iter().filter(|z| !lacks(z)).cloned().collect();
        if !has.is_empty() {
            zones.insert(region.clone(), has);
        }
    }
    Ok(zones)
}
