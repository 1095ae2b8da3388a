//! `[defaults]` and `[policy]`: what a job gets that does not say, and what a job may ask for.
//!
//! Values stay texts in the grammar of the `agents:` tags here; the grammar itself belongs to
//! `gust_core::request`, which reads them when the policy is put to use.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use toml::de::DeValue;

use super::{
    section::{Complaint, Section, choice},
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
    /// Spot machines.
    pub spot: bool,
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
}

/// The tags that may have a default.
const DEFAULTS: [&str; 7] = ["cpu", "memory", "disk", "disk-type", "family", "arch", "spot"];

const HOUR: Duration = Duration::from_secs(3600);

/// Google ends a machine after 30 s to 120 days (compute.googleapis.com, `scheduling.maxRunDuration`).
const LONGEST_RUN: Duration = Duration::from_secs(120 * 24 * 3600);

pub(super) fn read(root: &Section<'_>) -> RequestPolicy {
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
            spot: true,
        },
    };
    if let Some(section) = root.section("defaults") {
        read_defaults(section, &mut policy.defaults);
    }
    if let Some(section) = root.section("policy") {
        read_policy(section, &mut policy);
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

fn read_policy(section: Section<'_>, policy: &mut RequestPolicy) {
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
    let range = Duration::from_secs(30)..=LONGEST_RUN;
    policy.max_run = section.duration("max_run", range.clone(), policy.max_run);
    policy.max_run_limit = section.duration("max_run_limit", range, policy.max_run_limit);
    if policy.max_run > policy.max_run_limit {
        section.report(
            "max_run",
            Complaint::new("is longer than `max_run_limit`").hint("raise the limit, or lower max_run"),
        );
    }
    if let Some(allow) = section.section("allow") {
        let list = |key| allow.list(key, "texts", value::word).unwrap_or_default();
        policy.allow = Allow {
            families: list("families"),
            machine_types: list("machine_types"),
            regions: list("regions"),
            images: list("images"),
            service_accounts: list("service_accounts"),
            spot: allow.flag("spot", true),
        };
        allow.close();
    }
    section.close();
}
