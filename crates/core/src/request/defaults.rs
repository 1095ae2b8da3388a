//! Defaults within bounds: what a job did not ask for is never a reason to refuse it.

use super::allow::Models;
use super::bounds::Bounds;
use super::policy::Policy;
use super::tag::Tag;
use super::types::Spot;
use super::units::{Cpus, Range};
use super::value;

impl Policy {
    /// An operator's default for a tag as far as the bounds allow it; none if nothing of it is left. What cannot be read
    /// stays: reading it says what is wrong.
    pub fn fitted(&self, tag: Tag, default: &str) -> Option<String> {
        let bounds = &self.bounds;
        let list = match tag {
            Tag::Family => &bounds.families,
            Tag::DiskType => &bounds.disk_types,
            _ => return Some(self.fitted_amount(tag, default)),
        };
        let Ok(names) = value::names(default) else {
            return Some(default.to_owned());
        };
        let kept: Vec<String> = names.into_iter().filter(|name| list.allows(name)).collect();
        (!kept.is_empty()).then(|| kept.join("|"))
    }

    fn fitted_amount(&self, tag: Tag, default: &str) -> String {
        let bounds = &self.bounds;
        let fitted = match tag {
            Tag::Spot => value::spot(default)
                .ok()
                .map(|spot| bounds.spot(spot).as_str().to_owned()),
            Tag::Cpu => value::cpu(default).ok().map(|cpu| bounds.cpu(cpu).exact_form()),
            Tag::Memory => value::memory(default).ok().map(|memory| {
                let min = at_most(memory.min, bounds.max_memory_mib);
                let max = memory.max.map(|max| at_most(max, bounds.max_memory_mib));
                Range { min, max }.minimum_form()
            }),
            Tag::Disk => value::disk(default)
                .ok()
                .map(|disk| at_most(disk, bounds.max_disk_gib).to_string()),
            _ => None,
        };
        fitted.unwrap_or_else(|| default.to_owned())
    }
}

impl Bounds {
    /// A default for `spot` that the models allow.
    pub(super) fn spot(&self, default: Spot) -> Spot {
        match self.models {
            Models::Any => default,
            Models::OnDemand => Spot::Never,
            Models::Spot => Spot::Only,
        }
    }

    fn cpu(&self, default: Range<Cpus>) -> Range<Cpus> {
        Range {
            min: at_most(default.min, self.max_cpu),
            max: default.max.map(|max| at_most(max, self.max_cpu)),
        }
    }
}

/// The value, or the limit where that is lower.
pub(super) fn at_most<T: Ord>(value: T, limit: Option<T>) -> T {
    match limit {
        Some(limit) => value.min(limit),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Allow, Gib, Mib};
    use super::*;

    #[test]
    fn a_default_is_cut_down_to_what_is_allowed() {
        let bounds = Bounds {
            families: Allow::Only(vec!["n2*".to_owned()]),
            models: Models::OnDemand,
            max_cpu: Some(Cpus(8)),
            max_memory_mib: Some(Mib::gib(16)),
            max_disk_gib: Some(Gib(100)),
            ..Bounds::default()
        };
        let policy = Policy {
            bounds,
            ..Policy::default()
        };
        for (tag, default, fitted) in [
            (Tag::Family, "e2|n2d", Some("n2d")),
            (Tag::Family, "e2", None),
            (Tag::DiskType, "pd-ssd", Some("pd-ssd")),
            (Tag::Spot, "prefer", Some("false")),
            (Tag::Cpu, "16", Some("8")),
            (Tag::Cpu, "4+16", Some("4+8")),
            (Tag::Cpu, "2", Some("2")),
            (Tag::Memory, "64", Some("16")),
            (Tag::Disk, "200Gi", Some("100")),
            (Tag::Cpu, "many", Some("many")),
            (Tag::Arch, "arm64", Some("arm64")),
        ] {
            assert_eq!(policy.fitted(tag, default).as_deref(), fitted, "{tag}={default}");
        }
    }
}
