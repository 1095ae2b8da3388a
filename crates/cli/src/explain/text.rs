//! An explanation for people.

use std::collections::{BTreeMap, BTreeSet};

use gust_core::{
    catalog::Catalog,
    ids::Region,
    offer::{MOST_OFFERS, Offer, Paid, RuledOut},
    shape::ProvisioningModel,
};
use gust_server::planner::Explained;

use crate::table::table;

/// Regions named before the rest is only counted.
const REGIONS: usize = 3;

/// The request, its offers, and why the other families have none.
pub(super) fn explained(explained: &Explained, catalog: &Catalog, limit: usize) -> String {
    let offers = &explained.offers;
    let mut text = format!("{}\n\n", explained.request.canonical());
    let heading = [
        "",
        "MACHINE TYPE",
        "SOLD",
        "VCPU",
        "GIB",
        "SSD",
        "BOOT DISK",
        "REGIONS",
        "$/HOUR",
        "$/JOB",
    ];
    let rows: Vec<Vec<String>> = offers.iter().take(limit).enumerate().map(row).collect();
    text.push_str(&table(&heading, &rows));
    if offers.len() > limit {
        let least = if is_cut(offers) { "at least " } else { "" };
        text.push_str(&format!("and {least}{} more, dearer\n", offers.len() - limit));
    }
    let mut by_reason: BTreeMap<&RuledOut, Vec<&str>> = BTreeMap::new();
    for (family, why) in &explained.ruled_out {
        by_reason.entry(why).or_default().push(family.as_str());
    }
    if !by_reason.is_empty() {
        text.push_str("\nNot offered:\n");
    }
    for (why, families) in by_reason.iter().rev() {
        text.push_str(&format!("  {}: {why}\n", families.join(", ")));
    }
    let borrowed: BTreeSet<(String, String)> = offers.iter().take(limit).flat_map(borrowed).collect();
    if !borrowed.is_empty() {
        text.push('\n');
    }
    for (what, whose) in borrowed {
        text.push_str(&format!(
            "* No price of {what} is known there: that of {whose} stands in.\n"
        ));
    }
    if let Some(line) = offers.first().and_then(|best| priced(best, catalog)) {
        text.push_str(&line);
    }
    text
}

fn row((nth, offer): (usize, &Offer)) -> Vec<String> {
    let second = if offer.preference.second_choice {
        ", if no Spot"
    } else {
        ""
    };
    vec![
        (nth + 1).to_string(),
        offer.machine_type.to_string(),
        format!("{}{second}", paid(offer)),
        offer.cpus.0.to_string(),
        gib(offer.memory.0),
        offer.local_ssds.count.to_string(),
        format!("{} GiB {}", offer.disk.size.0, offer.disk.disk_type),
        regions(offer),
        format!(
            "{:.4}{}",
            offer.price.0 as f64 / 1e6,
            if offer.preference.borrowed { "*" } else { "" }
        ),
        format!("{:.4}", offer.preference.job_cost_nano_usd as f64 / 1e9),
    ]
}

/// How a machine is sold, and what pays for it already.
fn paid(offer: &Offer) -> String {
    match offer.paid {
        Paid::Full => sold(offer.model).to_owned(),
        paid => paid.as_str().to_owned(),
    }
}

/// How a machine is sold, in a word.
pub(crate) fn sold(model: ProvisioningModel) -> &'static str {
    match model {
        ProvisioningModel::Standard => "on demand",
        ProvisioningModel::Spot => "spot",
    }
}

fn gib(mib: u64) -> String {
    match mib % 1024 {
        0 => (mib / 1024).to_string(),
        _ => format!("{:.2}", mib as f64 / 1024.0),
    }
}

fn regions(offer: &Offer) -> String {
    let mut names: Vec<&str> = offer
        .places
        .iter()
        .map(|place| place.shard.region.as_str())
        .collect();
    names.dedup();
    let more = names.len().saturating_sub(REGIONS);
    names.truncate(REGIONS);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Whether the list of offers may have an end only because nobody tries so many.
pub(super) fn is_cut(offers: &[Offer]) -> bool {
    let second = offers
        .iter()
        .filter(|offer| offer.preference.second_choice)
        .count();
    second.max(offers.len() - second) >= MOST_OFFERS
}

/// The parts of an offer's price that are those of another region, for want of one of its own, each with the region.
pub(crate) fn borrowed(offer: &Offer) -> Vec<(String, String)> {
    if !offer.preference.borrowed {
        return Vec::new();
    }
    let is_elsewhere = |region: &Region| offer.places.iter().all(|place| place.shard.region != *region);
    let machine = (offer.family.to_string(), &offer.priced_as);
    let disk = (offer.disk.disk_type.to_string(), &offer.disk.priced_as);
    let mut parts: Vec<(String, String)> = [machine, disk]
        .into_iter()
        .filter(|(_, region)| is_elsewhere(region))
        .map(|(what, region)| (what, region.to_string()))
        .collect();
    if parts.is_empty() {
        // What is left is what was attached.
        let gpus = offer.gpus.as_ref().map(|offered| offered.gpus.kind.to_string());
        parts.extend(gpus.map(|kind| (kind, "us-central1".to_owned())));
    }
    parts
}

/// Of which day the price of the best offer is, and where it was read.
fn priced(offer: &Offer, catalog: &Catalog) -> Option<String> {
    let family = catalog.family(offer.family.as_str())?;
    let (_, prices) = family.prices(&offer.priced_as);
    Some(format!(
        "\n$/HOUR with boot disk, local SSD and address; $/JOB for a run of ten minutes and its boot.\n\
         Prices of {} in {} are of {}, from {}.\n",
        offer.family, offer.priced_as, prices.as_of, prices.source
    ))
}
