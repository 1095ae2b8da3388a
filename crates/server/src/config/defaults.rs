//! `[defaults]` put to the test: what no job could run with is told at the start, and not with each job that is refused.

use gust_core::{
    catalog::Catalog,
    offer::{Placement, offers_or_why},
    request::{Policy, Request},
};
use toml::de::DeValue;

use super::{
    nearest::nearest,
    project::Project,
    request::RequestPolicy,
    section::{Complaint, Field, Section},
};

/// Plans the defaults, one by one and together, within no bounds but the catalog and the projects' places.
pub(super) fn check(root: &Section<'_>, catalog: &Catalog, projects: &[&Project], policy: &RequestPolicy) {
    let field = root.field("defaults");
    let Some(field) = field.filter(|field| matches!(field.value, DeValue::Table(_))) else {
        return;
    };
    let Some(section) = field.section("a table") else {
        return;
    };
    let mut is_read = true;
    for (name, field) in section.named() {
        // What is no default has been told of.
        let Some(value) = policy.defaults.get(name) else {
            continue;
        };
        is_read &= is_possible(&field, name, value, catalog);
    }
    // Without places nothing is possible, and what is wrong with those has been told.
    let sites: Vec<_> = projects.iter().map(|project| project.site()).collect();
    let bounds = Policy::default();
    let Some(placement) = Placement::new(catalog, &sites, &bounds)
        .ok()
        .filter(|_| is_read && !sites.is_empty())
    else {
        return;
    };
    let why_not = |tags: &[String]| {
        let request = Request::parse(tags, &bounds).ok()?;
        offers_or_why(&request, catalog, &placement).err()
    };
    let tag = |(name, value): (&&str, &String)| format!("{name}={value}");
    // A number of vCPUs that no machine has is wrong whatever is asked for besides; what goes with a number that a job
    // writes itself is not known.
    let Some(cpu) = policy.defaults.get_key_value("cpu") else {
        return;
    };
    let told = |why: &str| Complaint::new(format!("no machine is like that: {why}"));
    let hint = "change it, or leave it to the jobs";
    if let (Some(why), Some(field)) = (why_not(&[tag(cpu)]), section.field("cpu")) {
        return field.report(told(&why.short()).hint(hint));
    }
    let all: Vec<String> = policy.defaults.iter().map(tag).collect();
    if let Some(why) = why_not(&all) {
        field.report(told(&why.short()).hint("a job without tags could never run with these: change them"));
    }
}

/// Whether a default can be read, and names what the catalog has.
fn is_possible(field: &Field<'_>, name: &str, value: &str, catalog: &Catalog) -> bool {
    let request = match Request::parse(&[format!("{name}={value}")], &Policy::default()) {
        Ok(request) => request,
        Err(error) => {
            field.report(Complaint::new(error.short()));
            return false;
        }
    };
    let families: Vec<&str> = catalog.families().map(|family| family.name.as_str()).collect();
    let disks: Vec<&str> = catalog.disks().keys().map(|disk| disk.as_str()).collect();
    let asked = request.families.iter().map(|family| (family.as_str(), &families));
    let asked = asked.chain(request.disk_types.iter().map(|disk| (disk.as_str(), &disks)));
    let mut is_known = true;
    for (word, known) in asked.filter(|(word, known)| !known.contains(word)) {
        is_known = false;
        let complaint = Complaint::new(format!("the catalog has no {name} `{word}`"));
        field.report(match nearest(word, known.iter().copied()) {
            Some(near) => complaint.hint(format!("did you mean `{near}`?")),
            None => complaint.hint(format!("known are {}", known.join(", "))),
        });
    }
    is_known
}
