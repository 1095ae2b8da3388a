//! From what was asked to a whole request: the operator's defaults fill the gaps.

use super::defaults::at_most;
use super::policy::Policy;
use super::types::{ANY_CPU, ANY_MEMORY, Backend, Gpu, Request, Spot};
use super::units::{Cpus, Gib, Mib, Range};
use crate::catalog::{DiskType, FamilyName};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::shape::Arch;

/// The tags a job gave, read; `None` or empty where it gave none.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub cpu: Option<Range<Cpus>>,
    pub memory: Option<Range<Mib>>,
    pub disk: Option<Gib>,
    pub disk_types: Vec<DiskType>,
    pub local_ssd: u32,
    pub families: Vec<FamilyName>,
    pub machine_types: Vec<MachineTypeName>,
    pub arch: Option<Arch>,
    pub spot: Option<Spot>,
    pub gpu: Option<Gpu>,
    pub regions: Vec<Region>,
    pub zones: Vec<Zone>,
    pub image: Option<String>,
    pub backend: Backend,
    pub max_run_s: Option<u64>,
    pub service_account: Option<String>,
    pub cache: Option<String>,
}

pub(super) fn request(asked: Asked, policy: &Policy) -> Request {
    let (defaults, bounds) = (&policy.defaults, &policy.bounds);
    let named = !asked.machine_types.is_empty();
    let chosen = named || !asked.families.is_empty();
    // An accelerator without vCPUs beside it wants the machine that goes with it, whatever its size.
    let sized_by_gpu = asked.gpu.is_some() && asked.cpu.is_none();
    let (cpu, memory) = size(asked.cpu, asked.memory, named || sized_by_gpu, policy);
    Request {
        cpu,
        memory,
        disk: asked
            .disk
            .unwrap_or_else(|| at_most(defaults.disk_gib, bounds.max_disk_gib)),
        disk_types: if asked.disk_types.is_empty() {
            sorted(&defaults.disk_types)
        } else {
            asked.disk_types
        },
        local_ssd: asked.local_ssd,
        families: if chosen {
            asked.families
        } else {
            sorted(&defaults.families)
        },
        machine_types: asked.machine_types,
        // Who names families or machine types has named the architecture with them.
        arch: asked.arch.or(if chosen { None } else { defaults.arch }),
        spot: asked.spot.unwrap_or_else(|| bounds.spot(defaults.spot)),
        gpu: asked.gpu,
        regions: asked.regions,
        zones: asked.zones,
        image: asked.image.or_else(|| defaults.image.clone()),
        backend: asked.backend,
        max_run_s: asked.max_run_s.or_else(|| {
            defaults
                .max_run_s
                .map(|default| at_most(default, bounds.max_run_s))
        }),
        service_account: asked.service_account,
        cache: asked.cache,
    }
}

fn size(
    cpu: Option<Range<Cpus>>,
    memory: Option<Range<Mib>>,
    named: bool,
    policy: &Policy,
) -> (Range<Cpus>, Range<Mib>) {
    let defaults = &policy.defaults;
    let default_cpu = at_most(defaults.cpu, policy.bounds.max_cpu);
    let open_end = |range: Range<Cpus>| Range {
        max: range.max.or(policy.bounds.max_cpu),
        ..range
    };
    match (cpu, memory) {
        // A machine type brings its size; tags beside it only check it.
        (cpu, memory) if named => (cpu.map_or(ANY_CPU, open_end), memory.unwrap_or(ANY_MEMORY)),
        (Some(cpu), Some(memory)) => (open_end(cpu), memory),
        // Memory alone: with exactly the default vCPUs, much memory would be impossible.
        (None, Some(memory)) => (open_end(Range::at_least(default_cpu)), memory),
        (cpu, None) => {
            let cpu = cpu.map_or(Range::exactly(default_cpu), open_end);
            let memory = Mib(defaults.memory_mib_per_cpu.0.saturating_mul(u64::from(cpu.min.0)));
            (
                cpu,
                Range::at_least(at_most(memory, policy.bounds.max_memory_mib)),
            )
        }
    }
}

fn sorted<T: Clone + Ord>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort();
    items.dedup();
    items
}
