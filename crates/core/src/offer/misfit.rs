//! Sizes that no machine has: of vCPUs and memory, and of accelerators.

use std::collections::BTreeSet;

use super::diagnose::Doctor;
use super::impossible::Barrier;
use crate::catalog::Family;
use crate::ids::MachineTypeName;
use crate::request::text::{listed, quotable};
use crate::request::{Request, Tag};

impl Doctor<'_> {
    /// A size was asked for, in numbers or by the name of a type.
    pub fn is_sized(&self) -> bool {
        let tags = self.request.tags();
        tags.iter()
            .any(|(tag, _)| matches!(tag, Tag::Cpu | Tag::Memory | Tag::MachineType))
    }

    pub fn wrong_gpu_count(&self, stopped: &[&Family]) -> Barrier {
        let gpu = self.request.gpu.as_ref();
        let kind = gpu.map_or("", |gpu| gpu.kind.as_str());
        let asked = gpu.map_or_else(String::new, |gpu| {
            quotable(&format!("{}:{}", gpu.kind, gpu.count))
        });
        if !self.is_sized() {
            let types = stopped.iter().flat_map(|family| family.types());
            let bundled = types.filter_map(|t| t.gpus.as_ref().filter(|gpus| gpus.kind.as_str() == kind));
            let attached = stopped.iter().filter_map(|family| family.attach_gpus.get(kind));
            let attached = attached.flatten().map(|rule| rule.count);
            let counts: BTreeSet<u32> = bundled.map(|gpus| gpus.count).chain(attached).collect();
            return Barrier::GpuCount {
                asked,
                sized: false,
                suitable: listed(counts),
            };
        }
        let mut suitable: Vec<String> = Vec::new();
        for family in stopped {
            let bundled = family.types().iter().filter_map(|t| {
                let gpus = t.gpus.as_ref().filter(|gpus| gpus.kind.as_str() == kind)?;
                Some(format!("{} ({})", gpus.count, t.name))
            });
            let attached = family.attach_gpus.get(kind).into_iter().flatten().map(|rule| {
                let size = format!("{} and {}", cpus(rule.max_cpus), memory(rule.max_memory_mib));
                format!("{} ({}, to {size})", rule.count, family.name)
            });
            suitable.extend(bundled.chain(attached));
        }
        Barrier::GpuCount {
            asked,
            sized: true,
            suitable: listed(suitable),
        }
    }

    pub fn wrong_size(&self) -> Barrier {
        let describe = |name: &MachineTypeName| {
            let found = self.catalog.machine_type(name)?;
            Some(format!(
                "{name} has {} and {} of memory",
                cpus(found.cpus),
                memory(found.memory_mib)
            ))
        };
        let actual = listed(self.request.machine_types.iter().filter_map(describe));
        let tags = self
            .request
            .tags()
            .into_iter()
            .filter(|(tag, _)| matches!(tag, Tag::Cpu | Tag::Memory));
        let asked: Vec<String> = tags.map(|(tag, value)| format!("{tag}={value}")).collect();
        Barrier::NamedSize {
            actual,
            asked: asked.join(" "),
        }
    }

    /// The size asked for, for people.
    pub fn size(&self) -> (String, String) {
        let Request {
            cpu, memory: asked, ..
        } = self.request;
        let cpu = match (cpu.min.0, cpu.max) {
            (min, Some(max)) if max.0 == min => cpus(min),
            (min, Some(max)) => format!("{min} to {}", cpus(max.0)),
            (min, None) => format!("{} or more", cpus(min)),
        };
        let memory = match asked.max {
            Some(max) if max == asked.min => format!("exactly {}", memory(max.0)),
            Some(max) => format!("{} to {}", memory(asked.min.0), memory(max.0)),
            None => memory(asked.min.0),
        };
        (cpu, memory)
    }

    pub fn no_shape(&self) -> Barrier {
        let (cpu, memory) = self.size();
        let among = match (self.request.families.as_slice(), self.request.arch) {
            ([], Some(arch)) => arch.to_string(),
            ([], None) => "any architecture".to_owned(),
            (families, _) => listed(families),
        };
        let among = match &self.request.gpu {
            Some(gpu) => format!("{among}, with {}:{}", quotable(&gpu.kind), gpu.count),
            None => among,
        };
        Barrier::Shape { cpu, memory, among }
    }
}

pub(super) fn cpus(n: u32) -> String {
    if n == 1 {
        "1 vCPU".to_owned()
    } else {
        format!("{n} vCPUs")
    }
}

pub(super) fn memory(mib: u64) -> String {
    if mib.is_multiple_of(1024) {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}
