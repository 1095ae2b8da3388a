//! `[[cap]]`: what pipelines may use at most, in vCPUs at a time and in dollars a day.

use std::collections::BTreeSet;

use gust_core::cap::Cap;

use super::{
    section::{Complaint, Field, Section},
    value,
};

/// The most that a cap can say: more than anybody runs or pays.
const MOST_VCPUS: u64 = 100_000_000;
const MOST_DOLLARS: u64 = 1_000_000_000;

/// Reads all `[[cap]]` sections; there need be none.
pub(super) fn read(root: &Section<'_>) -> Vec<Cap> {
    let Some(field) = root.field("cap") else {
        return Vec::new();
    };
    let items = field
        .items("a list of tables, written [[cap]]")
        .unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut caps = Vec::new();
    for item in items {
        let Some(section) = item.section("a table, written [[cap]]") else {
            continue;
        };
        let Some(cap) = read_one(section) else { continue };
        if names.insert(cap.name.clone()) {
            caps.push(cap);
        } else {
            let complaint = Complaint::new(format!("two sections are called `{}`", cap.name))
                .hint("give each a name of its own");
            item.report(complaint);
        }
    }
    caps
}

fn read_one(section: Section<'_>) -> Option<Cap> {
    let name = section
        .required("name", "\"ml\"")
        .and_then(|field| field.parsed("a text", |text| value::name(text, 40, "-_. ")));
    let pipelines = section.list("pipelines", "pipeline slugs", pattern);
    let vcpus = section.field("vcpus").and_then(|field| vcpus(&field));
    let dollars = section
        .field("dollars_per_day")
        .and_then(|field| field.micro_dollars(MOST_DOLLARS));
    if section.field("vcpus").is_none() && section.field("dollars_per_day").is_none() {
        section.report(
            "",
            Complaint::new("caps nothing").hint("give `vcpus`, `dollars_per_day`, or both"),
        );
    }
    if section.field("pipelines").is_some() && pipelines.as_ref().is_some_and(Vec::is_empty) {
        section.report(
            "pipelines",
            Complaint::new("names no pipeline").hint("leave it out to cap all pipelines together"),
        );
    }
    section.close();
    Some(Cap {
        name: name?,
        pipelines: pipelines.unwrap_or_default(),
        vcpus,
        micro_usd_per_day: dollars,
    })
}

fn vcpus(field: &Field<'_>) -> Option<u64> {
    let vcpus = field.integer(0..=MOST_VCPUS)?;
    if vcpus == 0 {
        field.report(
            Complaint::new("0 would let nothing run")
                .hint("pause the pipelines in Buildkite, or give the most vCPUs they may have at a time"),
        );
        return None;
    }
    Some(vcpus)
}

/// Slugs of pipelines, as in their URL; a `*` stands for any end.
fn pattern(text: &str) -> Result<String, Complaint> {
    let start = text.strip_suffix('*').unwrap_or(text);
    let fits = start
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits && !text.is_empty() {
        return Ok(text.to_owned());
    }
    let hint =
        "the slug is the last part of the pipeline's URL: a-z, 0-9 and `-`; a `*` may stand at its end";
    Err(Complaint::new(format!("`{text}` matches no pipeline")).hint(hint))
}
