//! Custom machine types: names that carry their own figures, `n2-custom-16-65536[-ext]`.

use super::{Catalog, Custom, Family, MachineType, NoSuchType};

/// The machine type that a custom name describes, or why there is none.
pub(super) fn parse(catalog: &Catalog, name: &str) -> Result<MachineType, NoSuchType> {
    let (family_name, figures) = match name.strip_prefix("custom-") {
        Some(figures) => ("n1", figures),
        None => name.split_once("-custom-").ok_or(NoSuchType::Unknown)?,
    };
    let (family_name, family) = catalog
        .families
        .get_key_value(family_name)
        .ok_or(NoSuchType::Unknown)?;
    let (figures, is_extended) = match figures.strip_suffix("-ext") {
        Some(figures) => (figures, true),
        None => (figures, false),
    };
    let (cpus, mib) = figures.split_once('-').ok_or(NoSuchType::Unknown)?;
    let mib = figure(mib).ok_or(NoSuchType::Unknown)?;
    let is_shared = family.custom_shared.contains_key(cpus);
    let cpus = if is_shared {
        check_shared(family, cpus, mib, is_extended)?
    } else {
        let cpus = figure(cpus)
            .and_then(|cpus| u32::try_from(cpus).ok())
            .ok_or(NoSuchType::Unknown)?;
        let rules = family.custom.as_ref().ok_or(NoSuchType::Unknown)?;
        check(rules, cpus, mib, is_extended)?;
        cpus
    };
    Ok(MachineType {
        name: name.into(),
        family: family_name.clone(),
        cpus,
        memory_mib: mib,
        arch: family.arch,
        bundled_ssds: 0,
        is_shared,
        is_custom: true,
    })
}

/// A decimal number as Google writes it: no sign, no leading zero.
fn figure(text: &str) -> Option<u64> {
    let is_plain =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

fn bad(problem: String) -> NoSuchType {
    NoSuchType::BadCustom(problem)
}

fn check_shared(family: &Family, size: &str, mib: u64, is_extended: bool) -> Result<u32, NoSuchType> {
    let (least, most) = family.custom_shared[size];
    if is_extended {
        return Err(bad(
            "Extended memory is not available for shared-core machine types.".into(),
        ));
    }
    if !(least..=most).contains(&mib) || !mib.is_multiple_of(256) {
        return Err(bad(format!(
            "Memory must be a multiple of 256 MiB between {least} and {most} MiB for this machine type."
        )));
    }
    Ok(2)
}

fn check(rules: &Custom, cpus: u32, mib: u64, is_extended: bool) -> Result<(), NoSuchType> {
    let fits = rules
        .cpus
        .iter()
        .any(|&(from, to, step)| (from..=to).contains(&cpus) && (cpus - from).is_multiple_of(step));
    if !fits {
        return Err(bad(format!(
            "Number of CPUs for custom machine type is not allowed: {cpus}."
        )));
    }
    if !mib.is_multiple_of(256) {
        return Err(bad(format!(
            "Memory must be a multiple of 256 MiB, is {mib} MiB."
        )));
    }
    let least = rules.mib_per_cpu.0 * u64::from(cpus);
    let most = match (is_extended, rules.ext_max_mib) {
        (true, None) => {
            return Err(bad(
                "Extended memory is not available for this machine family.".into()
            ));
        }
        (true, Some(most)) => most,
        (false, _) => (rules.mib_per_cpu.1 * u64::from(cpus)).min(rules.max_mib),
    };
    // The least memory of N1 is 0.9 GB a vCPU: the file holds it rounded, the multiple of 256 above it is taken.
    if mib + 255 < least || mib > most {
        return Err(bad(format!(
            "Memory must be between {least} and {most} MiB for {cpus} CPUs, is {mib} MiB."
        )));
    }
    Ok(())
}
