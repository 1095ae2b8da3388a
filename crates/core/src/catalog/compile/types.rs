//! Machine types of a family: predefined, named, custom, and what may be attached to them.

use std::collections::BTreeMap;

use super::super::Catalog;
use super::super::error::Error;
use super::super::family::{AttachGpu, AttachRule, AttachRules, CustomRule, Gpus, LocalSsd, Predefined};
use super::super::file;
use super::super::names::GpuName;
use super::{BASE_REGION, sense};
use crate::ids::{MachineTypeName, Region};

/// More memory than any machine has, four times over (the largest of Google's have 32 TiB): what is above it is a mistake,
/// and sums of it must not overflow.
const MOST_MIB: u64 = 128 << 20;

/// More vCPUs than any machine has (the largest of Google's have 1,952): what is above it is a mistake, and a list of all up to it is
/// held in memory.
const MOST_CPUS: u32 = 4096;

pub(super) fn predefined(
    family: &str,
    classes: &[file::TypeClass],
    ssd: Option<&file::LocalSsd>,
    shared: Vec<file::SharedCore>,
) -> Result<Vec<Predefined>, Error> {
    let mut types = Vec::new();
    for class in classes {
        let key = format!("family.{family}.types");
        let memory: Vec<u64> = match (class.mib_per_cpu, &class.memory_mib) {
            // What is too much for a machine is refused below.
            (Some(each), None) => class
                .cpus
                .iter()
                .map(|c| u64::from(*c).saturating_mul(each))
                .collect(),
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
            if memory_mib > MOST_MIB {
                return Err(sense(
                    key,
                    format!("class {} has {memory_mib} MiB beside {cpus} vCPUs", class.class),
                    "no machine has more than 128 TiB",
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
                    gpus: None,
                    shared_core: false,
                });
            }
            let name = MachineTypeName::new(name);
            types.push(Predefined {
                name,
                cpus,
                memory_mib,
                bundled_ssds: 0,
                gpus: None,
                shared_core: false,
            });
        }
    }
    types.extend(shared.into_iter().map(|s| Predefined {
        name: MachineTypeName::new(s.name),
        cpus: s.cpus,
        memory_mib: s.memory_mib,
        bundled_ssds: 0,
        gpus: None,
        shared_core: true,
    }));
    Ok(types)
}

fn known_gpu(key: String, name: &str, catalog: &Catalog) -> Result<GpuName, Error> {
    if catalog.gpus.contains_key(name) {
        return Ok(GpuName::new(name));
    }
    Err(sense(
        key,
        format!("names the accelerator {name}, which no `[gpu.…]` describes"),
        "fix the name or describe the accelerator",
    ))
}

pub(super) fn named(
    family: &str,
    types: Vec<file::Named>,
    catalog: &Catalog,
) -> Result<Vec<Predefined>, Error> {
    let key = || format!("family.{family}.named");
    let one = |t: file::Named| {
        if t.cpus == 0 || t.memory_mib == 0 || (t.gpu.is_some() != (t.gpus > 0)) {
            return Err(sense(
                key(),
                format!("type {} has a zero", t.name),
                "sizes are positive, and gpus goes with gpu",
            ));
        }
        let kind = t.gpu.map(|gpu| known_gpu(key(), &gpu, catalog)).transpose()?;
        Ok(Predefined {
            name: MachineTypeName::new(t.name),
            cpus: t.cpus,
            memory_mib: t.memory_mib,
            bundled_ssds: t.bundled_ssds,
            gpus: kind.map(|kind| Gpus { kind, count: t.gpus }),
            shared_core: false,
        })
    };
    types.into_iter().map(one).collect()
}

pub(super) fn attach_gpus(
    family: &str,
    forms: BTreeMap<String, Vec<file::AttachGpu>>,
    catalog: &Catalog,
) -> Result<BTreeMap<GpuName, Vec<AttachGpu>>, Error> {
    let mut all = BTreeMap::new();
    for (gpu, rules) in forms {
        let key = format!("family.{family}.attach_gpu.{gpu}");
        let kind = known_gpu(key.clone(), &gpu, catalog)?;
        if !catalog.gpus[&kind]
            .prices
            .contains_key(&Region::from(BASE_REGION))
        {
            let why = "the accelerator has no price for us-central1";
            return Err(sense(key, why, "give it in `[gpu.….prices]`"));
        }
        let mut rules: Vec<AttachGpu> = rules
            .into_iter()
            .map(|r| AttachGpu {
                count: r.count,
                max_cpus: r.max_cpus,
                max_memory_mib: r.max_memory_mib,
            })
            .collect();
        rules.sort_by_key(|rule| rule.count);
        all.insert(kind, rules);
    }
    Ok(all)
}

pub(super) fn custom_rule(family: &str, form: file::Custom) -> Result<CustomRule, Error> {
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
        if range.from > range.to || range.to > MOST_CPUS {
            let why = format!("{} to {} is no range of vCPUs", range.from, range.to);
            let hint = "set from not above to, and to at most 4096";
            return Err(sense(key("cpu_ranges"), why, hint));
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
        extended_max_mib: form.extended_memory_mib_max,
    })
}

pub(super) fn local_ssd(family: &str, form: Option<file::LocalSsd>) -> Result<LocalSsd, Error> {
    let Some(form) = form else {
        return Ok(LocalSsd::None);
    };
    if !form.bundled.is_empty() {
        return Ok(LocalSsd::Bundled);
    }
    let rule = |mut form: file::Attach| {
        let key = || format!("family.{family}.local_ssd.attach");
        let whose = format!("the rule from {} to {} vCPUs", form.from, form.to);
        if form.from > form.to {
            let why = format!("{whose} is for no machine");
            return Err(sense(key(), why, "set from not above to"));
        }
        if form.counts.is_empty() || form.counts.contains(&0) {
            let why = format!("{whose} names no count of disks, or a zero");
            return Err(sense(
                key(),
                why,
                "list the counts that Google takes, such as [1, 2, 4]",
            ));
        }
        form.counts.sort_unstable();
        Ok(AttachRule {
            from: form.from,
            to: form.to,
            counts: form.counts,
        })
    };
    let rules = form.attach.into_iter().map(rule).collect::<Result<_, _>>()?;
    Ok(LocalSsd::Attached(AttachRules(rules)))
}
