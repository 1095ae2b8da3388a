//! Reading a job's rules: each is split, matched to a tag, read, and held against the operator's bounds. All
//! problems are collected, so that an author fixes them in one go.

use std::collections::BTreeMap;

use super::allow::{Allow, Models};
use super::bounds::Bound;
use super::error::{Error, Hint, Problem};
use super::nearest;
use super::policy::{Policy, UnknownTags};
use super::resolve::{self, Asked};
use super::tag::Tag;
use super::text::{listed, quotable};
use super::types::{Request, Spot};
use super::value::{self, Wrong};
use crate::catalog::{DiskType, FamilyName};
use crate::ids::{MachineTypeName, Region, Zone};
use crate::shape::ProvisioningModel;

/// Most rules that are looked at. Nobody writes more; a pull request might.
const MOST_RULES: usize = 64;

impl Request {
    /// Reads a job's `agent_query_rules` (`name=value` each).
    ///
    /// A value that is empty or `*` asks for nothing: the default holds. The queue's own tag is skipped.
    ///
    /// # Errors
    /// [`Error`] holds every problem, in the order of the tags.
    pub fn parse(rules: &[String], policy: &Policy) -> Result<Self, Error> {
        let mut reader = Reader {
            policy,
            asked: Asked::default(),
            seen: BTreeMap::new(),
            problems: Vec::new(),
        };
        for rule in rules.iter().take(MOST_RULES) {
            reader.rule(rule);
        }
        if let Some(rule) = rules.get(MOST_RULES) {
            reader.problems.push(Problem::TooMany {
                rule: quotable(rule),
                most: MOST_RULES,
            });
        }
        reader.contradictions();
        match Error::of(reader.problems) {
            None => Ok(resolve::request(reader.asked, policy)),
            Some(error) => Err(error),
        }
    }
}

struct Reader<'a> {
    policy: &'a Policy,
    asked: Asked,
    /// The value of each tag as first given.
    seen: BTreeMap<Tag, String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn rule(&mut self, rule: &str) {
        // `*` alone is how Buildkite's own API writes "any agent".
        if rule.trim() == "*" {
            return;
        }
        let (name, value) = match rule.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => (name.trim(), value.trim()),
            _ => return self.malformed(rule),
        };
        if name == self.policy.queue_tag {
            return;
        }
        let Some(tag) = name.strip_prefix(&self.policy.tag_prefix).and_then(Tag::of) else {
            return self.unknown(rule, name);
        };
        if value.is_empty() || value == "*" {
            return;
        }
        if let Some(first) = self.seen.get(&tag) {
            if first != value {
                let (rule, first) = (quotable(rule), quotable(first));
                self.problems.push(Problem::Repeated { rule, tag, first });
            }
            return;
        }
        self.seen.insert(tag, value.to_owned());
        if let Err(problem) = self.read(tag, value) {
            self.problems.push(problem);
        }
    }

    fn malformed(&mut self, rule: &str) {
        let (name, value) = rule.split_once(':').unwrap_or((rule, ""));
        let hint = match (self.tag_named(name.trim()), value.trim()) {
            (Some(tag), "") => Hint::Example(self.written(tag, tag.example())),
            (Some(tag), value) => Hint::Nearest(self.written(tag, &quotable(value))),
            (None, _) => Hint::Example(self.written(Tag::Cpu, Tag::Cpu.example())),
        };
        self.problems.push(Problem::Malformed {
            rule: quotable(rule),
            hint,
        });
    }

    fn unknown(&mut self, rule: &str, name: &str) {
        if self.policy.unknown_tags == UnknownTags::Ignore {
            return;
        }
        let bare = name.strip_prefix(&self.policy.tag_prefix).unwrap_or(name);
        self.problems.push(Problem::UnknownTag {
            rule: quotable(rule),
            name: quotable(name),
            nearest: Tag::meant_by(bare).map(|tag| format!("{}{tag}", self.policy.tag_prefix)),
            known: self.policy.tag_names(),
        });
    }

    fn read(&mut self, tag: Tag, text: &str) -> Result<(), Problem> {
        let bad = |wrong: Wrong| Problem::BadValue {
            rule: self.written(tag, &quotable(text)),
            tag,
            expected: wrong.expected,
            hint: match wrong.nearest {
                Some(value) => Hint::Nearest(self.written(tag, &value)),
                None => Hint::Example(self.written(tag, tag.example())),
            },
        };
        let bounds = &self.policy.bounds;
        match tag {
            Tag::Cpu => {
                let cpu = value::cpu(text).map_err(bad)?;
                self.under(
                    tag,
                    text,
                    cpu.max.unwrap_or(cpu.min),
                    (Bound::MaxCpu, bounds.max_cpu),
                    " vCPUs",
                )?;
                self.asked.cpu = Some(cpu);
            }
            Tag::Memory => {
                let memory = value::memory(text).map_err(bad)?;
                self.under(
                    tag,
                    text,
                    memory.min,
                    (Bound::MaxMemory, bounds.max_memory_mib),
                    " GiB",
                )?;
                self.asked.memory = Some(memory);
            }
            Tag::Disk => {
                let disk = value::disk(text).map_err(bad)?;
                self.under(tag, text, disk, (Bound::MaxDisk, bounds.max_disk_gib), " GiB")?;
                self.asked.disk = Some(disk);
            }
            Tag::DiskType => {
                let types = value::names(text).map_err(bad)?;
                self.allowed(tag, text, &types, Bound::DiskTypes)?;
                self.asked.disk_types = types.into_iter().map(DiskType::from).collect();
            }
            Tag::LocalSsd => {
                let disks = value::local_ssd(text).map_err(bad)?;
                self.under(
                    tag,
                    text,
                    disks,
                    (Bound::MaxLocalSsd, bounds.max_local_ssd),
                    " disks",
                )?;
                self.asked.local_ssd = disks;
            }
            Tag::Family => {
                let names = value::names(text).map_err(bad)?;
                self.allowed(tag, text, &names, Bound::Families)?;
                self.asked.families = names.into_iter().map(FamilyName::from).collect();
            }
            Tag::MachineType => {
                let names = value::names(text).map_err(bad)?;
                self.allowed(tag, text, &names, Bound::MachineTypes)?;
                self.asked.machine_types = names.into_iter().map(MachineTypeName::new).collect();
            }
            Tag::Arch => self.asked.arch = Some(value::arch(text).map_err(bad)?),
            Tag::Spot => {
                let spot = value::spot(text).map_err(bad)?;
                self.model(text, spot)?;
                self.asked.spot = Some(spot);
            }
            Tag::Gpu => {
                let gpu = value::gpu(text).map_err(bad)?;
                let kinds: Vec<String> = gpu.iter().map(|gpu| gpu.kind.clone()).collect();
                self.allowed(tag, text, &kinds, Bound::Gpus)?;
                self.asked.gpu = gpu;
            }
            Tag::Region => {
                let names = value::names(text).map_err(bad)?;
                self.allowed(tag, text, &names, Bound::Regions)?;
                self.asked.regions = names.into_iter().map(Region::new).collect();
            }
            Tag::Zone => {
                let names = value::names(text).map_err(bad)?;
                let zones: Vec<Zone> = names.into_iter().map(Zone::new).collect();
                self.zones_allowed(text, &zones)?;
                self.asked.zones = zones;
            }
            Tag::Image => {
                let image = value::reference(text).map_err(bad)?;
                if self.policy.defaults.image.as_deref() != Some(text) {
                    self.allowed(tag, text, std::slice::from_ref(&image), Bound::Images)?;
                }
                self.asked.image = Some(image);
            }
            Tag::Backend => {
                let backend = value::backend(text).map_err(bad)?;
                if !bounds.backends.contains(&backend) {
                    let nearest = bounds.backends.first().copied().unwrap_or_default();
                    return Err(Problem::NoBackend {
                        rule: self.written(tag, &quotable(text)),
                        backend: backend.as_str(),
                        served: listed(bounds.backends.iter().map(|served| served.as_str())),
                        nearest: self.written(tag, nearest.as_str()),
                    });
                }
                self.asked.backend = backend;
            }
            Tag::MaxRun => {
                let seconds = value::max_run(text).map_err(bad)?;
                self.run_under(text, seconds)?;
                self.asked.max_run_s = Some(seconds);
            }
            Tag::ServiceAccount => {
                let account = value::reference(text).map_err(bad)?;
                self.allowed(tag, text, std::slice::from_ref(&account), Bound::ServiceAccounts)?;
                self.asked.service_account = Some(account);
            }
            Tag::Cache => {
                let cache = value::reference(text).map_err(bad)?;
                self.allowed(tag, text, std::slice::from_ref(&cache), Bound::Caches)?;
                self.asked.cache = Some(cache);
            }
            Tag::Os => value::os(text).map_err(bad)?,
        }
        Ok(())
    }

    fn under<T: Ord + ToString>(
        &self,
        tag: Tag,
        text: &str,
        asked: T,
        (bound, limit): (Bound, Option<T>),
        unit: &str,
    ) -> Result<(), Problem> {
        match limit {
            Some(limit) if asked > limit => Err(Problem::OverLimit {
                rule: self.written(tag, &quotable(text)),
                tag,
                limit: format!("{}{unit}", limit.to_string()),
                list: self.policy.bounds.whose(bound, ""),
                nearest: self.written(tag, &limit.to_string()),
            }),
            _ => Ok(()),
        }
    }

    fn run_under(&self, text: &str, seconds: u64) -> Result<(), Problem> {
        let default = self.policy.defaults.max_run_s;
        match self.policy.bounds.max_run_s {
            Some(limit) if seconds > limit && default != Some(seconds) => Err(Problem::OverLimit {
                rule: self.written(Tag::MaxRun, &quotable(text)),
                tag: Tag::MaxRun,
                limit: value::run_text(limit),
                list: self.policy.bounds.whose(Bound::MaxRunLimit, ""),
                nearest: self.written(Tag::MaxRun, &value::run_text(limit)),
            }),
            _ => Ok(()),
        }
    }

    fn model(&self, text: &str, spot: Spot) -> Result<(), Problem> {
        let models = self.policy.bounds.models;
        let fits = match spot {
            Spot::Never => models.allows(ProvisioningModel::Standard),
            Spot::Only => models.allows(ProvisioningModel::Spot),
            Spot::Prefer => models == Models::Any,
        };
        if fits || spot == self.policy.defaults.spot {
            return Ok(());
        }
        let allowed = if models == Models::Spot {
            Spot::Only
        } else {
            Spot::Never
        };
        let list = self.policy.bounds.whose(Bound::Spot, text);
        let only = Allow::Only(vec![allowed.as_str().to_owned()]);
        self.among(Tag::Spot, text, &[text.to_owned()], &only, &list)
    }

    /// Every name must be in the operator's list.
    fn allowed(&self, tag: Tag, text: &str, names: &[String], bound: Bound) -> Result<(), Problem> {
        let bounds = &self.policy.bounds;
        let Some(list) = bounds.list(bound) else {
            return Ok(());
        };
        match names.iter().find(|name| !list.allows(name)) {
            Some(refused) => self.among(tag, text, names, list, &bounds.whose(bound, refused)),
            None => Ok(()),
        }
    }

    /// Every name must be in the list, which is called so.
    fn among(
        &self,
        tag: Tag,
        text: &str,
        names: &[String],
        list: &Allow,
        whose: &str,
    ) -> Result<(), Problem> {
        let Some(refused) = names.iter().find(|name| !list.allows(name)) else {
            return Ok(());
        };
        let kept: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| list.allows(name))
            .collect();
        // The names that may stay; else the one most alike; else the first. A pattern is no name.
        let concrete = list
            .entries()
            .iter()
            .map(String::as_str)
            .filter(|entry| !entry.contains('*'));
        let alike = nearest::name(refused, concrete.clone()).or_else(|| concrete.clone().next());
        let nearest = if kept.is_empty() {
            alike.map(str::to_owned)
        } else {
            Some(kept.join("|"))
        };
        Err(Problem::NotAllowed {
            rule: self.written(tag, &quotable(text)),
            tag,
            value: quotable(refused),
            list: whose.to_owned(),
            allowed: match list.entries() {
                [] => "none".to_owned(),
                entries => listed(entries),
            },
            nearest: nearest.map(|value| self.written(tag, &value)),
        })
    }

    fn zones_allowed(&self, text: &str, zones: &[Zone]) -> Result<(), Problem> {
        let bounds = &self.policy.bounds;
        let names: Vec<String> = zones.iter().map(|zone| zone.as_str().to_owned()).collect();
        self.allowed(Tag::Zone, text, &names, Bound::Zones)?;
        let refused = zones
            .iter()
            .find(|zone| !bounds.regions.allows(zone.region().as_str()));
        refused.map_or(Ok(()), |zone| {
            let kept = names
                .iter()
                .filter(|name| bounds.regions.allows(Zone::new(name.as_str()).region().as_str()));
            let kept: Vec<&str> = kept.map(String::as_str).collect();
            Err(Problem::NotAllowed {
                rule: self.written(Tag::Zone, &quotable(text)),
                tag: Tag::Zone,
                value: quotable(zone.as_str()),
                list: bounds.whose(Bound::Regions, zone.region().as_str()),
                allowed: format!("zones of {}", listed(bounds.regions.entries())),
                nearest: (!kept.is_empty()).then(|| self.written(Tag::Zone, &kept.join("|"))),
            })
        })
    }

    /// Tags that are fine each but exclude each other.
    fn contradictions(&mut self) {
        let regions = &self.asked.regions;
        let outside = |zone: &&Zone| !regions.is_empty() && !regions.contains(&zone.region());
        if let Some(zone) = self.asked.zones.iter().find(outside) {
            let problem = Problem::Conflict {
                rule: self.given(Tag::Zone),
                other: self.given(Tag::Region),
                why: format!(
                    "zone {} is in {}",
                    quotable(zone.as_str()),
                    quotable(zone.region().as_str())
                ),
                nearest: self.written(Tag::Region, &quotable(zone.region().as_str())),
            };
            self.problems.push(problem);
        }
    }

    fn tag_named(&self, name: &str) -> Option<Tag> {
        name.strip_prefix(&self.policy.tag_prefix).and_then(Tag::of)
    }

    /// A tag as this queue's pipelines write it.
    fn written(&self, tag: Tag, value: &str) -> String {
        format!("{}{tag}={value}", self.policy.tag_prefix)
    }

    fn given(&self, tag: Tag) -> String {
        self.written(tag, &quotable(self.seen.get(&tag).map_or("", String::as_str)))
    }
}
