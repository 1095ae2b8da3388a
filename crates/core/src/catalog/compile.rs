//! From the data files' form to the catalog: names made, rules checked against each other.

use std::collections::BTreeMap;

use super::error::Error;
use super::family::{AttachRule, AttachRules, CustomRule, Family, LocalSsd, Predefined, PriceList};
use super::file;
use super::names::{DiskType, FamilyName};
use super::{Catalog, Disk};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::quota::Metric;

/// The region all built-in prices are of. It stands in for regions without prices of their own.
pub(super) const BASE_REGION: &str = "us-central1";

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
        let list = letters
            .iter()
            .map(|letter| Zone::new(format!("{region}-{letter}")))
            .collect();
        zones.insert(Region::new(region), list);
    }
    let disks = document
        .disk
        .into_iter()
        .map(|(name, d)| disk(name, d))
        .collect::<Result<_, _>>()?;
    let mut catalog = Catalog {
        zones,
        disks,
        families: BTreeMap::new(),
        local_ssd_gib: ssd.gib,
        address: (address.on_demand, address.spot),
        layers: Vec::new(),
    };
    for (name, form) in document.family {
        if form.offered {
            let family = family(&name, form, &catalog)?;
            catalog.families.insert(family.name.clone(), family);
        }
    }
    Ok(catalog)
}

fn disk(name: String, form: file::Disk) -> Result<(DiskType, Disk), Error> {
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

fn family(name: &str, form: file::Family, catalog: &Catalog) -> Result<Family, Error> {
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
    let zones = family_zones(name, &form, catalog)?;
    let custom = form.custom.map(|c| custom_rule(name, c)).transpose()?;
    let types = predefined(name, &form.types, form.local_ssd.as_ref(), form.shared_core)?;
    let local_ssd = local_ssd(form.local_ssd);
    if local_ssd != LocalSsd::None && form.local_ssd_quota.is_none() {
        return Err(sense(
            key("local_ssd_quota"),
            "is missing",
            "name the quota its local SSD counts against",
        ));
    }
    let prices = prices(name, form.prices, custom.is_some(), local_ssd != LocalSsd::None)?;
    if let Some(unknown) = prices.keys().find(|r| !catalog.zones.contains_key(*r)) {
        let why = format!("names the unknown region {unknown}");
        return Err(sense(
            key("prices"),
            why,
            "fix the name or add the region to `[regions.zones]`",
        ));
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

fn predefined(
    family: &str,
    classes: &[file::TypeClass],
    ssd: Option<&file::LocalSsd>,
    shared: Vec<file::SharedCore>,
) -> Result<Vec<Predefined>, Error> {
    let mut types = Vec::new();
    for class in classes {
        let key = format!("family.{family}.types");
        let memory: Vec<u64> = match (class.mib_per_cpu, &class.memory_mib) {
            (Some(each), None) => class.cpus.iter().map(|c| u64::from(*c) * each).collect(),
            (None, Some(list)) if list.len() == class.cpus.len() => list.clone(),
            _ => {
                let why = format!("class {} has no memory for each vCPU count", class.class);
                return Err(sense(
                    key,
                    why,
                    "give mib_per_cpu, or memory_mib with one entry for each of cpus",
                ));
            }
        };
        for (cpus, memory_mib) in class.cpus.iter().copied().zip(memory) {
            if cpus == 0 || memory_mib == 0 {
                return Err(sense(
                    key,
                    format!("class {} has a zero", class.class),
                    "sizes are positive",
                ));
            }
            let name = format!("{family}-{}-{cpus}", class.class);
            let bundled = ssd
                .iter()
                .flat_map(|s| &s.bundled)
                .filter(|b| b.classes.contains(&class.class));
            let disks = bundled
                .flat_map(|b| &b.disks)
                .find(|(c, _)| *c == cpus)
                .map(|(_, d)| *d);
            if let Some(bundled_ssds) = disks {
                let name = MachineTypeName::new(format!("{name}-lssd"));
                types.push(Predefined {
                    name,
                    cpus,
                    memory_mib,
                    bundled_ssds,
                    shared_core: false,
                });
            }
            let name = MachineTypeName::new(name);
            types.push(Predefined {
                name,
                cpus,
                memory_mib,
                bundled_ssds: 0,
                shared_core: false,
            });
        }
    }
    types.extend(shared.into_iter().map(|s| Predefined {
        name: MachineTypeName::new(s.name),
        cpus: s.cpus,
        memory_mib: s.memory_mib,
        bundled_ssds: 0,
        shared_core: true,
    }));
    types.sort_by(|a, b| (a.cpus, a.memory_mib, &a.name).cmp(&(b.cpus, b.memory_mib, &b.name)));
    Ok(types)
}

fn custom_rule(family: &str, form: file::Custom) -> Result<CustomRule, Error> {
    let key = |part: &str| format!("family.{family}.custom.{part}");
    let mut cpus = form.cpus;
    for range in &form.cpu_ranges {
        if range.step == 0 {
            return Err(sense(
                key("cpu_ranges"),
                "a step is zero",
                "set step to 1 or more",
            ));
        }
        cpus.extend((range.from..=range.to).step_by(range.step as usize));
    }
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.is_empty() || cpus.contains(&0) {
        return Err(sense(
            key("cpus"),
            "no vCPU count, or a zero",
            "list counts in cpus or cpu_ranges",
        ));
    }
    if form.memory_step_mib == 0 || form.mib_per_cpu_min > form.mib_per_cpu_max {
        let why = "the memory rule allows nothing";
        return Err(sense(
            key("memory_step_mib"),
            why,
            "set a positive step, and min not above max",
        ));
    }
    Ok(CustomRule {
        prefix: form.prefix,
        cpus,
        mib_per_cpu_min: form.mib_per_cpu_min,
        mib_per_cpu_max: form.mib_per_cpu_max,
        step_mib: form.memory_step_mib,
        max_mib: form.memory_mib_max.unwrap_or(u64::MAX),
    })
}

fn local_ssd(form: Option<file::LocalSsd>) -> LocalSsd {
    let Some(form) = form else { return LocalSsd::None };
    if !form.bundled.is_empty() {
        return LocalSsd::Bundled;
    }
    let rules = form.attach.into_iter().map(|a| {
        let mut counts = a.counts;
        counts.sort_unstable();
        AttachRule {
            from: a.from,
            to: a.to,
            counts,
        }
    });
    LocalSsd::Attached(AttachRules(rules.collect()))
}

fn prices(
    family: &str,
    lists: BTreeMap<String, file::Prices>,
    has_custom: bool,
    has_ssd: bool,
) -> Result<BTreeMap<Region, PriceList>, Error> {
    let mut compiled = BTreeMap::new();
    for (region, list) in lists {
        let key = |part: &str| format!("family.{family}.prices.{region}.{part}");
        let premium = list.custom_premium_percent;
        let custom = list
            .custom
            .or_else(|| premium.map(|p| list.on_demand.plus_percent(p)));
        let custom_spot = list
            .custom_spot
            .or_else(|| Some(list.spot?.plus_percent(premium?)));
        if has_custom && custom.is_none() {
            return Err(sense(
                key("custom"),
                "is missing",
                "give it, or custom_premium_percent",
            ));
        }
        if has_ssd && list.local_ssd.is_none() {
            return Err(sense(
                key("local_ssd"),
                "is missing",
                "give both prices per GiB-month",
            ));
        }
        let list = PriceList {
            as_of: list.as_of,
            source: list.source,
            on_demand: list.on_demand,
            spot: list.spot,
            custom: custom.unwrap_or(list.on_demand),
            custom_spot: if has_custom { custom_spot } else { None },
            local_ssd: list.local_ssd.map(|p| (p.on_demand, p.spot)),
        };
        compiled.insert(Region::new(region), list);
    }
    if !compiled.contains_key(&Region::from(BASE_REGION)) {
        let key = format!("family.{family}.prices");
        return Err(sense(
            key,
            "lacks us-central1",
            "give that region's prices; they stand in elsewhere",
        ));
    }
    Ok(compiled)
}
