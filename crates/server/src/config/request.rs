//! `[defaults]` and `[policy]`: what a job gets that does not say, and what a job may ask for.
//!
//! Values stay texts in the grammar of the `agents:` tags here; the grammar itself belongs to
//! `gust_core::request`, which reads them when the policy is put to use.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    ids::QueueKey,
    request::{Allow as List, Bound, Bounds, Limits, Models, PipelineRule, QueueRule},
};
use serde::{Serialize, Serializer};
use toml::de::DeValue;

use super::{
    bounds::{self, Above, World},
    nearest::nearest,
    section::{Complaint, Field, Section, choice},
    source::Source,
    value,
};

/// What to do with a tag gust does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownTags {
    /// Finish the job with a hint.
    #[default]
    Refuse,
    /// Act as if it were not there.
    Ignore,
}

/// Which jobs whose Spot machine was taken back get a machine on demand when they run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryOnDemand {
    /// None.
    Never,
    /// Those with `spot=prefer`.
    #[default]
    Prefer,
    /// Those with `spot=true` too.
    Always,
}

impl RetryOnDemand {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the author of a pipeline may choose. An empty list allows whatever gust and the project offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// Machine families.
    pub families: Vec<String>,
    /// Machine types by name.
    pub machine_types: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Boot images. Unlike the other lists, an empty one allows none: an image holds what runs as root.
    pub images: Vec<String>,
    /// Service accounts. An empty list allows none: an account is a right to act.
    pub service_accounts: Vec<String>,
    /// Zones. What was not there before is left out where nothing is said, so that a build that does not know it yet sees
    /// the same configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Boot disk types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disk_types: Vec<String>,
    /// Networks that machines may join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Warm disk images. An empty list allows none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<String>,
    /// Accelerators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// On demand, Spot or both.
    #[serde(serialize_with = "as_flag")]
    pub spot: Models,
    /// The most a job may ask for; the longest run is beside it.
    #[serde(flatten)]
    pub limits: Limits,
}

// As it was when there were two.
fn as_flag<S: Serializer>(models: &Models, into: S) -> Result<S::Ok, S::Error> {
    match models {
        Models::Any => into.serialize_bool(true),
        Models::OnDemand => into.serialize_bool(false),
        Models::Spot => into.serialize_str("only"),
    }
}

/// `[defaults]` and `[policy]` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestPolicy {
    /// Tags a job gets that does not carry them, by bare tag name.
    pub defaults: BTreeMap<&'static str, String>,
    /// What all tag names of gust begin with; empty for none.
    pub tag_prefix: String,
    /// What to do with other tags.
    pub unknown_tags: UnknownTags,
    /// How long a machine lives at most if the job does not say.
    pub max_run: Duration,
    /// The longest that a job may ask for.
    pub max_run_limit: Duration,
    /// What may be chosen.
    pub allow: Allow,
    /// What becomes of jobs whose Spot machine was taken back.
    #[serde(skip_serializing_if = "RetryOnDemand::is_default")]
    pub retry_on_demand: RetryOnDemand,
    /// What of it may be chosen in single queues, and in single pipelines there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueRule>,
}

impl RequestPolicy {
    /// What jobs may ask for of which no rule speaks.
    pub fn bounds(&self) -> Bounds {
        // In the configuration an empty list means "whatever there is", save for what runs or acts as somebody.
        let any = |names: &[String]| match names {
            [] => List::Any,
            names => List::Only(names.to_vec()),
        };
        let only = |names: &[String]| List::Only(names.to_vec());
        let allow = &self.allow;
        Bounds {
            families: any(&allow.families),
            machine_types: any(&allow.machine_types),
            regions: any(&allow.regions),
            zones: any(&allow.zones),
            disk_types: any(&allow.disk_types),
            networks: any(&allow.networks),
            images: only(&allow.images),
            service_accounts: only(&allow.service_accounts),
            caches: only(&allow.caches),
            gpus: any(&allow.gpus),
            models: allow.spot,
            max_cpu: allow.limits.max_cpu,
            max_memory_mib: allow.limits.max_memory_mib,
            max_disk_gib: allow.limits.max_disk_gib,
            max_local_ssd: allow.limits.max_local_ssd,
            max_run_s: Some(self.max_run_limit.as_secs()),
            ..Bounds::default()
        }
    }
}

/// The tags that may have a default.
const DEFAULTS: [&str; 7] = ["cpu", "memory", "disk", "disk-type", "family", "arch", "spot"];

const HOUR: Duration = Duration::from_secs(3600);

/// Reads what `world` and the sources are needed for to tell what can never match.
pub(super) fn read(root: &Section<'_>, world: &World<'_>, sources: &[&Source]) -> RequestPolicy {
    let mut policy = RequestPolicy {
        defaults: BTreeMap::new(),
        tag_prefix: String::new(),
        unknown_tags: UnknownTags::Refuse,
        max_run: 2 * HOUR,
        max_run_limit: 24 * HOUR,
        allow: Allow {
            families: Vec::new(),
            machine_types: Vec::new(),
            regions: Vec::new(),
            images: Vec::new(),
            service_accounts: Vec::new(),
            zones: Vec::new(),
            disk_types: Vec::new(),
            networks: Vec::new(),
            caches: Vec::new(),
            gpus: Vec::new(),
            spot: Models::Any,
            limits: Limits::default(),
        },
        retry_on_demand: RetryOnDemand::Prefer,
        queues: Vec::new(),
    };
    if let Some(section) = root.section("defaults") {
        read_defaults(section, &mut policy.defaults);
    }
    if let Some(section) = root.section("policy") {
        read_policy(section, &mut policy, world, sources);
    }
    policy
}

fn read_defaults(section: Section<'_>, defaults: &mut BTreeMap<&'static str, String>) {
    for key in DEFAULTS {
        let Some(field) = section.field(key) else {
            continue;
        };
        let text = match field.value {
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            _ => field.parsed("a tag's value", value::word),
        };
        if let Some(text) = text {
            defaults.insert(key, text);
        }
    }
    section.close();
}

fn read_policy(section: Section<'_>, policy: &mut RequestPolicy, world: &World<'_>, sources: &[&Source]) {
    if let Some(field) = section.field("tag_prefix") {
        let prefix = field.parsed("a text", |text| match text {
            "" => Ok(String::new()),
            _ => value::name(text, 40, "-_"),
        });
        policy.tag_prefix = prefix.unwrap_or_default();
    }
    if let Some(field) = section.field("unknown_tags") {
        let words = [("refuse", UnknownTags::Refuse), ("ignore", UnknownTags::Ignore)];
        let read = field.parsed("a text", |t| choice(t, &words));
        policy.unknown_tags = read.unwrap_or_default();
    }
    if let Some(field) = section.field("retry_on_demand") {
        let words = [
            ("never", RetryOnDemand::Never),
            ("prefer", RetryOnDemand::Prefer),
            ("always", RetryOnDemand::Always),
        ];
        let read = field.parsed("a text", |t| choice(t, &words));
        policy.retry_on_demand = read.unwrap_or_default();
    }
    let range = bounds::RUNS;
    policy.max_run = section.duration("max_run", range.clone(), policy.max_run);
    policy.max_run_limit = section.duration("max_run_limit", range, policy.max_run_limit);
    if policy.max_run > policy.max_run_limit {
        section.report(
            "max_run",
            Complaint::new("is longer than `max_run_limit`").hint("raise the limit, or lower max_run"),
        );
    }
    if let Some(allow) = section.section("allow") {
        let list = |bound| bounds::read_list(&allow, bound, world).unwrap_or_default();
        policy.allow = Allow {
            families: list(Bound::Families),
            machine_types: list(Bound::MachineTypes),
            regions: list(Bound::Regions),
            images: list(Bound::Images),
            service_accounts: list(Bound::ServiceAccounts),
            zones: list(Bound::Zones),
            disk_types: list(Bound::DiskTypes),
            networks: list(Bound::Networks),
            caches: list(Bound::Caches),
            gpus: list(Bound::Gpus),
            spot: bounds::read_models(&allow).unwrap_or_default(),
            limits: bounds::read_limits(&allow),
        };
        bounds::leaves_something(&allow, &policy.bounds(), world);
        allow.close();
    }
    if let Some(field) = section.field("queue") {
        let all = policy.bounds();
        policy.queues = read_queues(&field, &all, world, sources);
    }
    section.close();
}

fn read_queues(field: &Field<'_>, all: &Bounds, world: &World<'_>, sources: &[&Source]) -> Vec<QueueRule> {
    let above = Above {
        bounds: all,
        whose: "[policy.allow]",
    };
    let mut rules: Vec<QueueRule> = Vec::new();
    for section in tables(field, "[[policy.queue]]") {
        let Some(rule) = read_queue(&section, &above, world, sources) else {
            // What was not read for want of a name is not unknown for that.
            for key in ["source", "queue", "allow", "widen", "pipeline"] {
                let _known = section.field(key);
            }
            section.close();
            continue;
        };
        let twin = |other: &QueueRule| other.queue == rule.queue && other.source == rule.source;
        if rules.iter().any(twin) {
            let complaint = Complaint::new(format!("there are two rules for {}", rule.whose()));
            section.report("queue", complaint.hint("say all of it in one"));
        }
        section.close();
        rules.push(rule);
    }
    rules
}

fn tables<'a>(field: &Field<'a>, written: &str) -> Vec<Section<'a>> {
    let wanted = format!("a table, written {written}");
    let items = field.items(&format!("a list of tables, written {written}"));
    let items = items.unwrap_or_default();
    items.iter().filter_map(|item| item.section(&wanted)).collect()
}

fn read_queue(
    section: &Section<'_>,
    above: &Above<'_>,
    world: &World<'_>,
    sources: &[&Source],
) -> Option<QueueRule> {
    let named = section.field("source").map(|field| {
        field.parsed("a text", |text| {
            let known = || sources.iter().map(|source| source.name.as_str());
            let found = sources.iter().find(|source| source.name.as_str() == text);
            found
                .map(|source| source.name.clone())
                .ok_or_else(|| unknown(text, "[[source]]", known()))
        })
    });
    // A source that was refused must not silently become all of them.
    let source = match named {
        Some(read) => Some(read?),
        None => None,
    };
    let queue = section.required("queue", "\"gust\"")?.parsed("a text", |text| {
        let those = sources
            .iter()
            .filter(|one| source.as_ref().is_none_or(|name| one.name == *name));
        let known: Vec<_> = those.flat_map(|source| &source.queues).collect();
        let found = known.iter().find(|queue| queue.as_str() == text);
        found
            .map(|queue| (*queue).clone())
            // Where no source could be read, that is what is told.
            .or_else(|| sources.is_empty().then(|| QueueKey::new(text)))
            .ok_or_else(|| {
                unknown(
                    text,
                    "queue of a [[source]]",
                    known.iter().map(|queue| queue.as_str()),
                )
            })
    })?;
    let mut rule = QueueRule {
        source,
        queue,
        says: Default::default(),
        pipelines: Vec::new(),
    };
    let whose = rule.whose();
    let (says, own) = if section.field("allow").is_some() || section.field("pipeline").is_none() {
        bounds::read_says(section, above, world, &whose)?
    } else {
        (Default::default(), above.bounds.clone())
    };
    rule.says = says;
    if let Some(field) = section.field("pipeline") {
        let above = Above {
            bounds: &own,
            whose: &whose,
        };
        rule.pipelines = read_pipelines(&field, &above, world);
    }
    Some(rule)
}

fn unknown<'a>(text: &str, what: &str, known: impl Iterator<Item = &'a str>) -> Complaint {
    let known: Vec<&str> = known.collect();
    let complaint = Complaint::new(format!("`{text}` is no {what}"));
    match nearest(text, known.iter().copied()) {
        Some(word) => complaint.hint(format!("did you mean `{word}`?")),
        None => complaint.hint(format!("known are {}", known.join(", "))),
    }
}

fn read_pipelines(field: &Field<'_>, above: &Above<'_>, world: &World<'_>) -> Vec<PipelineRule> {
    let mut rules: Vec<PipelineRule> = Vec::new();
    for section in tables(field, "[[policy.queue.pipeline]]") {
        let slug = section
            .required("slug", "\"deploy-*\"")
            .and_then(|field| field.parsed("a text", slug));
        if let Some(slug) = slug {
            if rules.iter().any(|rule| rule.slug == slug) {
                let complaint = Complaint::new(format!("there are two rules for pipeline `{slug}`"));
                section.report("slug", complaint.hint("say all of it in one"));
            }
            let mut rule = PipelineRule {
                slug,
                says: Default::default(),
            };
            let whose = rule.whose(above.whose);
            if let Some((says, _)) = bounds::read_says(&section, above, world, &whose) {
                rule.says = says;
                rules.push(rule);
            }
        } else {
            let _known = (section.field("allow"), section.field("widen"));
        }
        section.close();
    }
    rules
}

/// A pipeline's slug as Buildkite writes it: small letters, digits and `-`. A `*` may end it.
fn slug(text: &str) -> Result<String, Complaint> {
    let plain = text.strip_suffix('*').unwrap_or(text);
    let sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 100 && plain.chars().all(sign) {
        return Ok(text.to_owned());
    }
    let complaint = Complaint::new(format!("`{text}` can never match: it is no pipeline's slug"));
    let meant: String = text
        .to_lowercase()
        .chars()
        .map(|c| if sign(c) || c == '*' { c } else { '-' })
        .collect();
    Err(match meant.strip_suffix('*').unwrap_or(&meant).contains('*') {
        true => complaint.hint("a `*` may stand at its end only"),
        false => complaint.hint(format!(
            "slugs have small letters, digits and `-`, as in the pipeline's address; perhaps `{meant}`"
        )),
    })
}
