//! Which sizes of one family satisfy a request: predefined and custom types, named ones, local SSD.

use std::fmt;

use super::types::{LocalSsds, OfferedGpus};
use crate::catalog::{Catalog, Family, GpuName, Gpus, LocalSsd, Predefined};
use crate::ids::MachineTypeName;
use crate::request::{Bounds, Cpus, Gpu, Mib, Request};

/// Why a family has nothing for a request. The later in this list, the closer it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuledOut {
    /// The request names other families or machine types.
    NotAsked,
    /// The operator's bounds exclude it.
    NotAllowed,
    /// Another architecture was asked for.
    Arch,
    /// It has no such accelerator.
    NoGpu,
    /// None of the usable places has it.
    NoPlace,
    /// It is not sold in the model asked for.
    Model,
    /// It takes none of the boot disk types asked for, or not of that size.
    DiskType,
    /// It has no local SSD.
    NoLocalSsd,
    /// The named machine type shares a core.
    SharedCore,
    /// It has no type with the vCPUs asked for.
    Cpu,
    /// It has the vCPUs, but never with that memory.
    Memory,
    /// It has the size, but not with so many accelerators.
    GpuCount,
    /// It has the size, but not with so many local SSDs.
    LocalSsdCount,
    /// It would fit, but Google lists it in none of the zones that may be used.
    Gone,
}

impl fmt::Display for RuledOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "not asked for",
            Self::NotAllowed => "not allowed by the operator",
            Self::Arch => "another architecture",
            Self::NoPlace => "in none of the regions and zones that may be used",
            Self::Model => "not sold in that way (Spot or on demand)",
            Self::NoGpu => "has no such accelerator",
            Self::DiskType => "takes no such boot disk",
            Self::NoLocalSsd => "has no local SSD",
            Self::SharedCore => "shares a core with others",
            Self::Cpu => "has no size with that many vCPUs",
            Self::Memory => "has the vCPUs, but never with that much memory",
            Self::GpuCount => "has the size, but not with so many accelerators",
            Self::LocalSsdCount => "has the size, but not with so many local SSDs",
            Self::Gone => "would fit, but Google lists it in none of the zones that may be used",
        })
    }
}

/// A size of a family that satisfies a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size<'a> {
    /// `None` for a custom type.
    pub predefined: Option<&'a Predefined>,
    pub cpus: u32,
    pub memory_mib: u64,
    pub ssds: LocalSsds,
    pub gpus: SizeGpus<'a>,
}

/// Accelerators of a size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum SizeGpus<'a> {
    #[default]
    None,
    /// They come with the type.
    Bundled(&'a Gpus),
    /// So many of this kind are attached.
    Attached(&'a GpuName, u32),
}

impl SizeGpus<'_> {
    pub fn offered(&self) -> Option<OfferedGpus> {
        match self {
            Self::None => None,
            Self::Bundled(gpus) => Some(OfferedGpus {
                gpus: (*gpus).clone(),
                attach: false,
            }),
            Self::Attached(kind, count) => Some(OfferedGpus {
                gpus: Gpus {
                    kind: (*kind).clone(),
                    count: *count,
                },
                attach: true,
            }),
        }
    }
}

/// The name of the machine type.
pub(super) fn name_of(family: &Family, size: &Size<'_>) -> MachineTypeName {
    match (size.predefined, &family.custom) {
        (Some(predefined), _) => predefined.name.clone(),
        (None, Some(rule)) => rule.name(size.cpus, size.memory_mib),
        (None, None) => unreachable!("only a custom rule makes a size without a predefined type"),
    }
}

/// The machine types of this family that the request names.
pub(super) fn named<'a>(request: &Request, catalog: &'a Catalog, family: &'a Family) -> Vec<Size<'a>> {
    let found = request
        .machine_types
        .iter()
        .filter_map(|name| catalog.machine_type(name));
    found
        .filter(|f| f.family.name == family.name)
        .map(|f| {
            let ssds = f.predefined.map_or(0, |p| p.bundled_ssds);
            let ssds = LocalSsds {
                count: ssds,
                attach: 0,
            };
            Size {
                predefined: f.predefined,
                cpus: f.cpus,
                memory_mib: f.memory_mib,
                ssds,
                gpus: SizeGpus::None,
            }
        })
        .collect()
}

/// Those of the named sizes that fit the rest of the request.
pub(super) fn named_sizes<'a>(
    request: &Request,
    bounds: &Bounds,
    family: &'a Family,
    named: &[Size<'a>],
) -> Result<Vec<Size<'a>>, RuledOut> {
    let mut closest = RuledOut::NotAllowed;
    let mut fitting = Vec::new();
    for size in named {
        match fit(request, bounds, family, *size) {
            Ok(size) => fitting.push(size),
            Err(why) => closest = closest.max(why),
        }
    }
    if fitting.is_empty() {
        Err(closest)
    } else {
        Ok(fitting)
    }
}

/// One size against the request, with the local SSDs and accelerators it would have.
fn fit<'a>(
    request: &Request,
    bounds: &Bounds,
    family: &'a Family,
    size: Size<'a>,
) -> Result<Size<'a>, RuledOut> {
    if !bounds.machine_types.allows(name_of(family, &size).as_str()) {
        return Err(RuledOut::NotAllowed);
    }
    if size.predefined.is_some_and(|p| p.shared_core) {
        return Err(RuledOut::SharedCore);
    }
    if !request.cpu.contains(Cpus(size.cpus)) {
        return Err(RuledOut::Cpu);
    }
    if !request.memory.contains(Mib(size.memory_mib)) {
        return Err(RuledOut::Memory);
    }
    let gpus = gpus(request.gpu.as_ref(), family, &size)?;
    let ssds = local_ssds(request.local_ssd, family, &size)?;
    Ok(Size { ssds, gpus, ..size })
}

/// The accelerators a machine of this size gets. Their number is exact, like that of vCPUs.
fn gpus<'a>(asked: Option<&Gpu>, family: &'a Family, size: &Size<'a>) -> Result<SizeGpus<'a>, RuledOut> {
    let bundled = size.predefined.and_then(|p| p.gpus.as_ref());
    match (bundled, asked) {
        (Some(gpus), None) => Ok(SizeGpus::Bundled(gpus)),
        (None, None) => Ok(SizeGpus::None),
        (Some(gpus), Some(asked)) if gpus.kind.as_str() != asked.kind => Err(RuledOut::NoGpu),
        (Some(gpus), Some(asked)) if gpus.count == asked.count => Ok(SizeGpus::Bundled(gpus)),
        (Some(_), Some(_)) => Err(RuledOut::GpuCount),
        (None, Some(asked)) => {
            let (kind, rules) = family
                .attach_gpus
                .get_key_value(asked.kind.as_str())
                .ok_or(RuledOut::NoGpu)?;
            let takes = rules.iter().any(|rule| {
                rule.count == asked.count
                    && size.cpus <= rule.max_cpus
                    && size.memory_mib <= rule.max_memory_mib
            });
            takes
                .then_some(SizeGpus::Attached(kind, asked.count))
                .ok_or(RuledOut::GpuCount)
        }
    }
}

/// Whether any machine of the family has accelerators of that kind, built in or attached.
pub(super) fn has_gpu(family: &Family, kind: &str) -> bool {
    let bundled = |t: &Predefined| t.gpus.as_ref().is_some_and(|gpus| gpus.kind.as_str() == kind);
    family.attach_gpus.contains_key(kind) || family.types().iter().any(bundled)
}

/// The local SSDs a machine of this size gets when at least `asked` are wanted.
fn local_ssds(asked: u32, family: &Family, size: &Size<'_>) -> Result<LocalSsds, RuledOut> {
    if size.ssds.count > 0 {
        return if size.ssds.count >= asked {
            Ok(size.ssds)
        } else {
            Err(RuledOut::LocalSsdCount)
        };
    }
    match (&family.local_ssd, asked) {
        (_, 0) => Ok(LocalSsds::default()),
        (LocalSsd::None, _) => Err(RuledOut::NoLocalSsd),
        // The types of such a family that lack them never get any.
        (LocalSsd::Bundled, _) => Err(RuledOut::LocalSsdCount),
        (LocalSsd::Attached(rules), asked) => {
            let count = rules
                .counts(size.cpus)
                .iter()
                .copied()
                .find(|count| *count >= asked);
            count
                .map(|count| LocalSsds { count, attach: count })
                .ok_or(RuledOut::LocalSsdCount)
        }
    }
}

/// For each vCPU count asked for: the smallest predefined type with enough memory, and the smallest custom
/// one unless it would be no smaller.
pub(super) fn sizes<'a>(
    request: &Request,
    bounds: &Bounds,
    family: &'a Family,
) -> Result<Vec<Size<'a>>, RuledOut> {
    if request.local_ssd > 0 && family.local_ssd == LocalSsd::None {
        return Err(RuledOut::NoLocalSsd);
    }
    let (min, max) = (request.cpu.min.0, request.cpu.max.map_or(u32::MAX, |max| max.0));
    let mut closest = RuledOut::Cpu;
    let mut found: Vec<Size<'a>> = Vec::new();
    for predefined in family.types_between(min, max) {
        // Types with local SSD are for those who ask for it, and for no one else. Shares of a core are for no one.
        // Likewise accelerators; types that bring them bring local SSD too, whoever asks.
        if predefined.shared_core || (predefined.gpus.is_some() && request.gpu.is_none()) {
            continue;
        }
        if predefined.bundled_ssds > 0 && predefined.gpus.is_none() && request.local_ssd == 0 {
            continue;
        }
        let Predefined {
            cpus,
            memory_mib,
            bundled_ssds,
            ..
        } = *predefined;
        if found.last().is_some_and(|size| size.cpus == cpus) {
            continue;
        }
        let ssds = LocalSsds {
            count: bundled_ssds,
            attach: 0,
        };
        match fit(
            request,
            bounds,
            family,
            Size {
                predefined: Some(predefined),
                cpus,
                memory_mib,
                ssds,
                gpus: SizeGpus::None,
            },
        ) {
            Ok(size) => found.push(size),
            Err(why) => closest = closest.max(why),
        }
    }
    let predefined = found.len();
    // A family whose local SSD comes with predefined types has no custom types that could have any.
    if let Some(rule) = &family.custom {
        let counts = rule.cpus();
        let counts = counts.get(counts.partition_point(|c| *c < min)..counts.partition_point(|c| *c <= max));
        for cpus in counts.unwrap_or(&[]).iter().copied() {
            let Some(memory_mib) = rule.least_memory(cpus, request.memory.min.0) else {
                closest = closest.max(RuledOut::Memory);
                continue;
            };
            let smaller_exists = found.get(..predefined).unwrap_or(&[]).iter();
            if smaller_exists
                .clone()
                .any(|size| size.cpus == cpus && size.memory_mib <= memory_mib)
            {
                continue;
            }
            let size = Size {
                predefined: None,
                cpus,
                memory_mib,
                ssds: LocalSsds::default(),
                gpus: SizeGpus::None,
            };
            match fit(request, bounds, family, size) {
                Ok(size) => found.push(size),
                Err(why) => closest = closest.max(why),
            }
        }
    }
    if found.is_empty() { Err(closest) } else { Ok(found) }
}

/// The most memory any machine of a family with so many vCPUs has, in MiB.
pub(super) fn most_memory(family: &Family, cpus: u32) -> u64 {
    let predefined = family
        .types_between(cpus, cpus)
        .iter()
        .filter(|t| !t.shared_core)
        .map(|t| t.memory_mib)
        .max();
    let custom = family
        .custom
        .as_ref()
        .filter(|rule| rule.has_cpus(cpus))
        .map(|rule| rule.most_memory(cpus));
    predefined.max(custom).unwrap_or(0)
}
