//! What jobs may ask for: `[policy.allow]`, and the `allow` of queues and pipelines. A name that can never match and a
//! limit that would not hold are told here: they would be rules that silently are not there.

use std::{cell::LazyCell, collections::BTreeSet, time::Duration};

use gust_core::{
    catalog::{Catalog, Family},
    ids::MachineTypeName,
    request::{Allow, Bound, Bounds, Cpus, Gib, Limits, Mib, Models, Policy, Request, Says},
};
use toml::de::DeValue;

use super::{
    duration,
    nearest::nearest,
    project::Project,
    section::{Complaint, Field, Section, choice},
    value,
};

/// The lists.
const LISTS: [Bound; 10] = [
    Bound::Families,
    Bound::MachineTypes,
    Bound::Regions,
    Bound::Zones,
    Bound::DiskTypes,
    Bound::Images,
    Bound::Networks,
    Bound::ServiceAccounts,
    Bound::Caches,
    Bound::Gpus,
];

/// Those of which nothing is allowed unless it is listed.
const CLOSED: [Bound; 3] = [Bound::Images, Bound::ServiceAccounts, Bound::Caches];

/// Google ends a machine after 30 s to 120 days (compute.googleapis.com, `scheduling.maxRunDuration`).
pub(super) const RUNS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(120 * 24 * 3600);

/// What names are held against.
pub(super) struct World<'a> {
    /// Read only where a name is to be held against it.
    pub(super) catalog: LazyCell<Catalog, Box<dyn FnOnce() -> Catalog + 'a>>,
    pub(super) projects: Vec<&'a Project>,
}

/// A level that is above another.
pub(super) struct Above<'a> {
    pub(super) bounds: &'a Bounds,
    /// For people: "queue `gust`".
    pub(super) whose: &'a str,
}

/// Reads one `allow` below another level.
pub(super) fn read_says(
    level: &Section<'_>,
    above: &Above<'_>,
    world: &World<'_>,
    whose: &str,
) -> Option<(Says, Bounds)> {
    let Some(allow) = level.section("allow") else {
        level.report(
            "allow",
            Complaint::new("is missing: the rule says nothing").hint("for example: allow = { spot = false }"),
        );
        return None;
    };
    let widens = read_widens(level);
    let mut says = Says {
        lists: LISTS
            .into_iter()
            .filter_map(|bound| Some((bound, Allow::Only(some_of(&allow, bound, world)?))))
            .collect(),
        models: read_models(&allow),
        limits: read_limits(&allow),
        widens: BTreeSet::new(),
    };
    if let Some(run) = allow.field(Bound::MaxRunLimit.name()) {
        says.limits.max_run_s = run
            .parsed("a duration", |text| super::section::read_duration(text, &RUNS))
            .map(|run| run.as_secs());
    }
    for (bound, field) in widens {
        if allow.field(bound.name()).is_none() {
            field.report(
                Complaint::new(format!(
                    "`{}` is widened, and nothing is said of it",
                    bound.name()
                ))
                .hint(format!("add {} to `allow`, or leave it out here", bound.name())),
            );
        }
        says.widens.insert(bound);
    }
    holds(&allow, &says, above);
    let bounds = above.bounds.narrowed(whose, &says);
    if is_possible(above.bounds, world) {
        leaves_something(&allow, &bounds, world);
    }
    allow.close();
    Some((says, bounds))
}

fn read_widens<'a>(level: &Section<'a>) -> Vec<(Bound, Field<'a>)> {
    let words = Bound::ALL.map(|bound| (bound.name(), bound));
    let Some(items) = level
        .field("widen")
        .and_then(|field| field.items("a list of keys"))
    else {
        return Vec::new();
    };
    let read = |item: Field<'a>| Some((item.parsed("a text", |text| choice(text, &words))?, item));
    items.into_iter().filter_map(read).collect()
}

/// A list of names that is not empty, unless it is one of those of which nothing is allowed unless it is listed.
fn some_of(allow: &Section<'_>, bound: Bound, world: &World<'_>) -> Option<Vec<String>> {
    let list = read_list(allow, bound, world)?;
    let field = allow.field(bound.name())?;
    let is_empty = field
        .items("a list of texts")
        .is_some_and(|items| items.is_empty());
    if is_empty && !CLOSED.contains(&bound) {
        field.report(
            Complaint::new("is empty: it would allow nothing")
                .hint("leave it out to allow what is allowed above"),
        );
    }
    // What is left of a list with problems narrows nothing: only the problems are told.
    (!list.is_empty() || is_empty && CLOSED.contains(&bound)).then_some(list)
}

/// A list of names; none where it is absent.
pub(super) fn read_list(allow: &Section<'_>, bound: Bound, world: &World<'_>) -> Option<Vec<String>> {
    let field = allow.field(bound.name())?;
    let items = field.items("a list of texts")?;
    let read = items
        .iter()
        .filter_map(|item| item.parsed("a text", |text| entry(text, bound, world)));
    Some(read.collect())
}

fn entry(text: &str, bound: Bound, world: &World<'_>) -> Result<String, Complaint> {
    let word = value::word(text)?;
    if let Some(sign) = word.chars().find(|c| matches!(c, '&' | '`' | '|' | '=')) {
        return Err(
            Complaint::new(format!("`{text}` contains `{sign}`, which no name does"))
                .hint("write each name as an entry of its own; `*` stands for any text"),
        );
    }
    let known = world.names(bound);
    let list = Allow::Only(vec![word.clone()]);
    let possible = match bound {
        Bound::MachineTypes if text.contains('*') => {
            world.catalog.families().any(|family| has_type(family, &list))
        }
        Bound::MachineTypes => world.catalog.machine_type(&MachineTypeName::new(text)).is_some(),
        // Whatever the project or the tag says.
        Bound::Images | Bound::ServiceAccounts | Bound::Caches | Bound::Gpus => true,
        _ => known.iter().any(|name| list.allows(name)),
    };
    if possible {
        return Ok(word);
    }
    let complaint = Complaint::new(format!("`{text}` can never match: {}", nobody(bound)));
    Err(match nearest(text, known.iter().map(String::as_str)) {
        Some(word) => complaint.hint(format!("did you mean `{word}`?")),
        None if known.len() <= 24 && !known.is_empty() => {
            complaint.hint(format!("known are {}", known.join(", ")))
        }
        None => complaint.hint("`*` stands for any text"),
    })
}

fn nobody(bound: Bound) -> &'static str {
    match bound {
        Bound::Families => "there is no such machine family",
        Bound::MachineTypes => "there is no such machine type",
        Bound::Regions => "there is no such region",
        Bound::Zones => "there is no such zone",
        Bound::DiskTypes => "there is no such disk type",
        _ => "no project has such a network",
    }
}

impl World<'_> {
    /// The names there are.
    fn names(&self, bound: Bound) -> Vec<String> {
        let catalog = &self.catalog;
        match bound {
            Bound::Families => catalog.families().map(|family| family.name.to_string()).collect(),
            Bound::MachineTypes => {
                let types = catalog.families().flat_map(Family::types);
                types.map(|one| one.name.to_string()).collect()
            }
            Bound::Regions => catalog.regions().keys().map(ToString::to_string).collect(),
            Bound::Zones => catalog
                .regions()
                .values()
                .flatten()
                .map(ToString::to_string)
                .collect(),
            Bound::DiskTypes => catalog.disks().keys().map(ToString::to_string).collect(),
            Bound::Networks => {
                let networks = self.projects.iter().flat_map(|project| {
                    let own = &project.network;
                    std::iter::once(&own.network).chain(own.subnetwork.as_ref())
                });
                networks.cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether a list of machine types has one of a family.
fn has_type(family: &Family, list: &Allow) -> bool {
    let custom = family.custom.as_ref().is_some_and(|rule| {
        let name = rule.name(2, 4096).to_string();
        let all = Allow::Only(vec![name.replace("2-4096", "*")]);
        all.and(list) != Allow::none()
    });
    custom || family.types().iter().any(|one| list.allows(one.name.as_str()))
}

/// `spot = false`, `true` or `"only"`.
pub(super) fn read_models(allow: &Section<'_>) -> Option<Models> {
    let field = allow.field(Bound::Spot.name())?;
    match field.value {
        DeValue::Boolean(true) => Some(Models::Any),
        DeValue::Boolean(false) => Some(Models::OnDemand),
        _ => field.parsed("true, false or \"only\"", |text| {
            choice(text, &[("only", Models::Spot)])
        }),
    }
}

/// All limits but that of the run.
pub(super) fn read_limits(allow: &Section<'_>) -> Limits {
    let count = |bound: Bound, range| {
        let number = allow.field(bound.name())?.integer(range)?;
        u32::try_from(number).ok()
    };
    let size = |bound: Bound, tag: &str| {
        let field = allow.field(bound.name())?;
        let text = match field.value {
            DeValue::Integer(number) => number.to_string(),
            _ => field.text("a size")?.to_owned(),
        };
        let request = Request::parse(&[format!("{tag}={text}")], &Policy::default());
        match request {
            Ok(request) if request.memory.max.is_none() => Some(request),
            _ => {
                let complaint = Complaint::new(format!("`{text}` is no size that a job could ask for"));
                field.report(complaint.hint("in GiB, such as 64 or \"64Gi\""));
                None
            }
        }
    };
    Limits {
        max_cpu: count(Bound::MaxCpu, 1..=10_000).map(Cpus),
        max_memory_mib: size(Bound::MaxMemory, "memory").map(|request| request.memory.min),
        max_disk_gib: size(Bound::MaxDisk, "disk").map(|request| request.disk),
        max_local_ssd: count(Bound::MaxLocalSsd, 0..=1000),
        max_run_s: None,
    }
}

/// What a level says must not be what the level above forbids.
fn holds(allow: &Section<'_>, says: &Says, above: &Above<'_>) {
    let report = |bound: Bound, message: String| {
        let hint = format!(
            "leave it out, allow it above, or write widen = [\"{}\"] to let these jobs have it all the same",
            bound.name()
        );
        if let Some(field) = allow
            .field(bound.name())
            .filter(|_| !says.widens.contains(&bound))
        {
            field.report(Complaint::new(message).hint(hint));
        }
    };
    for (bound, list) in &says.lists {
        let Some(all) = above.bounds.list(*bound) else {
            continue;
        };
        for name in list.entries() {
            if all.and(&Allow::Only(vec![name.clone()])) == Allow::none() {
                report(
                    *bound,
                    format!("`{name}` can never match: {} does not allow it", above.whose),
                );
            }
        }
    }
    if let Some(models) = says.models
        && above.bounds.models.and(models) != Some(models)
    {
        let message = format!(
            "does not hold: {} allows {}",
            above.whose,
            sold(above.bounds.models)
        );
        report(Bound::Spot, message);
    }
    let (limits, bounds) = (says.limits, above.bounds);
    let too_high = |bound: Bound, limit: Option<String>| {
        if let Some(limit) = limit {
            report(
                bound,
                format!("does not hold: {} allows at most {limit}", above.whose),
            );
        }
    };
    too_high(
        Bound::MaxCpu,
        over(limits.max_cpu, bounds.max_cpu, |Cpus(n)| n.to_string()),
    );
    too_high(
        Bound::MaxMemory,
        over(limits.max_memory_mib, bounds.max_memory_mib, |size: Mib| {
            size.to_string()
        }),
    );
    too_high(
        Bound::MaxDisk,
        over(limits.max_disk_gib, bounds.max_disk_gib, |size: Gib| {
            size.to_string()
        }),
    );
    too_high(
        Bound::MaxLocalSsd,
        over(limits.max_local_ssd, bounds.max_local_ssd, |n| n.to_string()),
    );
    let run = |seconds| duration::write(Duration::from_secs(seconds));
    too_high(Bound::MaxRunLimit, over(limits.max_run_s, bounds.max_run_s, run));
}

/// The limit above, if it is the lower one.
fn over<T: Ord + Copy>(limit: Option<T>, above: Option<T>, write: impl Fn(T) -> String) -> Option<String> {
    above
        .filter(|above| limit.is_some_and(|limit| limit > *above))
        .map(write)
}

fn sold(models: Models) -> &'static str {
    match models {
        Models::Any => "both",
        Models::OnDemand => "no Spot",
        Models::Spot => "Spot only",
    }
}

/// Bounds that no machine, or no place, is within would refuse every job.
pub(super) fn leaves_something(allow: &Section<'_>, bounds: &Bounds, world: &World<'_>) {
    if !has_machine(bounds, world) {
        let complaint = Complaint::new("leaves no machine: no machine type is in these families and types");
        allow.report(
            "",
            complaint.hint("see `families` and `machine_types` here and above"),
        );
    }
    if !has_place(bounds, world) {
        let complaint = Complaint::new("leaves no place: no project makes machines there");
        allow.report(
            "",
            complaint
                .hint("see `regions`, `zones` and `networks` here and above, and those of each [[project]]"),
        );
    }
}

fn is_possible(bounds: &Bounds, world: &World<'_>) -> bool {
    has_machine(bounds, world) && has_place(bounds, world)
}

fn has_machine(bounds: &Bounds, world: &World<'_>) -> bool {
    let families = world.catalog.families();
    let mut allowed = families.filter(|family| bounds.families.allows(family.name.as_str()));
    allowed.any(|family| has_type(family, &bounds.machine_types))
}

/// Where no project could be read, that is what is told.
fn has_place(bounds: &Bounds, world: &World<'_>) -> bool {
    let mut projects = world.projects.iter();
    world.projects.is_empty() || projects.any(|project| is_used(project, bounds, world))
}

/// Whether jobs within these bounds may have machines in a project.
fn is_used(project: &Project, bounds: &Bounds, world: &World<'_>) -> bool {
    let zones = |region, zones: &super::Zones| match zones {
        super::Zones::All => world.catalog.regions().get(region).cloned().unwrap_or_default(),
        super::Zones::Only(zones) => zones.clone(),
    };
    project.joins(&bounds.networks)
        && project.regions.iter().any(|(region, own)| {
            bounds.regions.allows(region.as_str())
                && zones(region, own)
                    .iter()
                    .any(|zone| bounds.zones.allows(zone.as_str()))
        })
}

impl Project {
    /// Whether machines here join a network that the list allows, by its own name or by that of the subnetwork.
    pub(crate) fn joins(&self, networks: &Allow) -> bool {
        let own = &self.network;
        networks.allows(&own.network) || own.subnetwork.as_ref().is_some_and(|name| networks.allows(name))
    }
}
