//! An explanation for programs.

use gust_core::{catalog::Catalog, offer::Offer};
use gust_server::planner::Explained;
use serde_json::{Value, json};

use super::text::{is_cut, sold};

/// The request, all its offers, and why other families have none.
pub(super) fn explained(explained: &Explained, catalog: &Catalog) -> String {
    let ruled_out = explained.ruled_out.iter().map(|(family, why)| {
        json!({
            "family": family.as_str(),
            "why": why.to_string(),
        })
    });
    pretty(&json!({
        "request": explained.request.canonical(),
        "offers": explained.offers.iter().map(|it| offer(it, catalog)).collect::<Vec<_>>(),
        "truncated": is_cut(&explained.offers),
        "ruled_out": ruled_out.collect::<Vec<_>>(),
    }))
}

/// A request that nothing satisfies.
pub(super) fn impossible(why: &str) -> String {
    pretty(&json!({"error": why, "offers": []}))
}

/// One offer.
pub(crate) fn offer(offer: &Offer, catalog: &Catalog) -> Value {
    let family = catalog.family(offer.family.as_str());
    let prices = family.map(|family| family.prices(&offer.priced_as).1);
    let disk = catalog.disk(&offer.disk.disk_type);
    let places = offer.places.iter().map(|place| {
        json!({
            "project": place.shard.project.as_str(),
            "region": place.shard.region.as_str(),
            "zones": place.zones.iter().map(|zone| zone.as_str()).collect::<Vec<_>>(),
        })
    });
    json!({
        "machine_type": offer.machine_type.as_str(),
        "family": offer.family.as_str(),
        "custom": offer.custom,
        "sold": sold(offer.model),
        "paid_by": offer.paid.as_str(),
        "second_choice": offer.preference.second_choice,
        "vcpus": offer.cpus.0,
        "memory_mib": offer.memory.0,
        "local_ssds": offer.local_ssds.count,
        "gpus": offer.gpus.as_ref().map(|offered| json!({
            "kind": offered.gpus.kind.as_str(),
            "count": offered.gpus.count,
            "attached": offered.attach,
        })),
        "boot_disk": {
            "type": offer.disk.disk_type.as_str(),
            "gib": offer.disk.size.0,
            "priced_as": offer.disk.priced_as.as_str(),
            "as_of": disk.map(|disk| disk.as_of.as_str()),
            "source": disk.map(|disk| disk.source.as_str()),
        },
        "micro_usd_per_hour": offer.price.0,
        "nano_usd_per_job": offer.preference.job_cost_nano_usd,
        "priced_as": offer.priced_as.as_str(),
        "as_of": prices.map(|prices| prices.as_of.as_str()),
        "source": prices.map(|prices| prices.source.as_str()),
        "borrowed": offer.preference.borrowed,
        "places": places.collect::<Vec<_>>(),
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
