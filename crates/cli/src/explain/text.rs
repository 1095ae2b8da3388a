//! An explanation for people.

use std::collections::BTreeMap;

use gust_core::{
    catalog::Catalog,
    offer::{Offer, Paid, RuledOut},
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
        text.push_str(&format!("and {} more, dearer\n", offers.len() - limit));
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
    if let Some(offer) = offers.iter().take(limit).find(|offer| is_borrowed(offer)) {
        text.push_str(&format!(
            "\n* No price is known there: that of {} stands in.\n",
            offer.priced_as
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
            if is_borrowed(offer) { "*" } else { "" }
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

/// The machine's price is that of another region, for want of one of its own.
pub(crate) fn is_borrowed(offer: &Offer) -> bool {
    offer
        .places
        .iter()
        .all(|place| place.shard.region != offer.priced_as)
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
