//! docs/prices.md: what typical requests get, what that costs, and what two public sources say it costs.
//!
//! The page is made of the catalog and of `prices/observed.csv`, and kept as a snapshot: it fails when a choice, a price
//! or an observation changes. `INSTA_UPDATE=always cargo test -p gust-core --test prices` writes it anew.

use std::collections::{BTreeMap, BTreeSet};

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region};
use gust_core::offer::{Offer, Placement, Site, offers};
use gust_core::request::{Policy, Request};
use gust_core::shape::ProvisioningModel;

/// Requests, and where machines may be made.
const REQUESTS: &[(&str, &[&str])] = &[
    ("cpu=2 memory=8", IOWA),
    ("cpu=16 memory=64", IOWA),
    ("cpu=16 memory=64 family=n2d", IOWA),
    ("cpu=16 memory=64 family=n2d|c3d spot=prefer", IOWA),
    ("cpu=8+16 memory=64", IOWA),
    ("cpu=8 memory=32 family=c3d|c4|c4d", IOWA),
    ("cpu=8 memory=32 arch=arm64", IOWA),
    ("cpu=16 memory=64 family=c4a spot=true", IOWA),
    ("cpu=8 memory=20", IOWA),
    ("cpu=8 memory=20 family=n2d spot=true", IOWA),
    ("cpu=24 memory=48 family=n4d", IOWA),
    ("cpu=8 memory=100 family=n2d", IOWA),
    ("cpu=16 memory=64 local-ssd=2 family=n2d", IOWA),
    ("cpu=16 memory=60 local-ssd=1 family=c4d", IOWA),
    ("machine-type=t2d-standard-8", IOWA),
    ("cpu=8+ memory=900", IOWA),
    ("gpu=nvidia-l4:1", IOWA),
    ("machine-type=n1-standard-4 gpu=nvidia-tesla-t4:1", IOWA),
    ("cpu=16 memory=64 family=n2 region=europe-west4", EVERYWHERE),
    ("cpu=32 memory=128 family=n4|c2d|n2d spot=true", EVERYWHERE),
];
const IOWA: &[&str] = &["us-central1"];
const EVERYWHERE: &[&str] = &["us-central1", "us-east4", "europe-west1", "europe-west4"];

/// Who says what a machine costs.
struct Source {
    key: &'static str,
    name: &'static str,
    text: &'static str,
}

const SOURCES: &[Source] = &[
    Source {
        key: "karpenter",
        name: "K",
        text: "[cloudpilot-ai/karpenter-provider-gcp](https://github.com/cloudpilot-ai/karpenter-provider-gcp), \
               `pkg/providers/pricing/initial-prices.json` of 2026-08-03: computed from Google's billing catalog. The \
               catalog of gust has its predefined prices from here.",
    },
    Source {
        key: "cyclenerd",
        name: "C",
        text: "[Cyclenerd/google-cloud-pricing-cost-calculator](https://github.com/Cyclenerd/google-cloud-pricing-cost-calculator), \
               `pricing.yml` of 2026-07-30 (commit fd66b26): computed from Google's billing catalog by other code.",
    },
    Source {
        key: "google",
        name: "G",
        text: "Google's own page <https://cloud.google.com/compute/vm-instance-pricing>, us-central1, in a stored copy without a \
               date that lists N4A and N4D (so of late 2025 or later).",
    },
    Source {
        key: "autoscaler",
        name: "A",
        text: "[kubernetes/autoscaler](https://github.com/kubernetes/autoscaler), `gce_price_info.go` of 2026-06-23, us-central1.",
    },
];

/// A source's price of a machine without disks, in dollars an hour. Where it has rates only, they stand here as a sum of
/// products of its own figures: `8*0.0288771+20*0.0038703`.
struct Observed {
    sum: String,
    note: String,
}

type Key = (String, String, String, String);

fn observed() -> BTreeMap<Key, Observed> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.splitn(6, ',').collect();
        let [source, machine, model, region, sum, note] = cells[..] else {
            panic!("six cells: {line}");
        };
        assert!(SOURCES.iter().any(|s| s.key == source), "{line}");
        let key = (
            source.to_owned(),
            machine.to_owned(),
            model.to_owned(),
            region.to_owned(),
        );
        let observed = Observed {
            sum: sum.to_owned(),
            note: note.to_owned(),
        };
        (key, observed)
    };
    include_str!("prices/observed.csv")
        .lines()
        .skip(1)
        .map(row)
        .collect()
}

fn value(sum: &str) -> f64 {
    let product = |part: &str| {
        part.split('*')
            .map(|n| n.parse::<f64>().expect("a figure"))
            .product::<f64>()
    };
    sum.split('+').map(product).sum()
}

fn best(line: &str, regions: &[&str], catalog: &Catalog) -> Offer {
    let regions = regions.iter().map(|r| (Region::from(*r), Vec::new())).collect();
    let site = Site {
        project: ProjectId::from("ci"),
        regions,
    };
    let placement = Placement::new(catalog, &[site], &Policy::default()).expect("known regions");
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let request = Request::parse(&rules, &Policy::default()).expect("well-formed");
    offers(&request, catalog, &placement).remove(0)
}

/// The machine alone, in dollars an hour.
fn machine_price(offer: &Offer, catalog: &Catalog) -> f64 {
    let region = &offer.places[0].shard.region;
    let disk = catalog.disk(&offer.disk.disk_type).expect("a known disk");
    let disk = disk.price(region).1.0 * offer.disk.size.0 / 730;
    (offer.price.0 as f64 - disk as f64 / 1000.0) / 1e6
}

fn page() -> String {
    let catalog = Catalog::builtin();
    let observed = observed();
    let mut used = BTreeSet::new();
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for (line, regions) in REQUESTS {
        let offer = best(line, regions, &catalog);
        let region = offer.places[0].shard.region.to_string();
        let ours = machine_price(&offer, &catalog);
        let mut machine = offer.machine_type.to_string();
        if offer.local_ssds.attach > 0 {
            machine += &format!(" + {} local SSD", offer.local_ssds.attach);
        }
        if let Some(gpus) = offer.gpus.as_ref().filter(|gpus| gpus.attach) {
            machine += &format!(" + {} {}", gpus.gpus.count, gpus.gpus.kind);
        }
        let mut said = Vec::new();
        for source in SOURCES {
            let key = (
                source.key.to_owned(),
                machine.clone(),
                offer.model.as_str().to_owned(),
                region.clone(),
            );
            let Some(found) = observed.get(&key) else { continue };
            used.insert(key);
            let theirs = value(&found.sum);
            let apart = (theirs / ours - 1.0) * 100.0;
            let mut cell = format!("{} {theirs:.4}", source.name);
            if apart.abs() >= 0.1 {
                cell += &format!(" ({apart:+.1} %)");
                assert!(
                    !found.note.is_empty(),
                    "{machine}: {} differs and nobody says why",
                    source.key
                );
            }
            if !found.note.is_empty() {
                notes.push(found.note.clone());
                cell += &format!(" [{}]", notes.len());
            }
            said.push(cell);
        }
        assert!(!said.is_empty(), "{machine}: no source at all");
        if said.len() == 1 {
            said.push("no second source found".to_owned());
        }
        let spot = match offer.model {
            ProvisioningModel::Spot => "Spot",
            ProvisioningModel::Standard => "on demand",
        };
        let written = line.replace('|', "\\|");
        rows.push(format!(
            "| `{written}` | {machine}, {spot}, {region} | {ours:.4} | {} | {} |",
            said.join("; "),
            offer.price,
        ));
    }
    let idle: Vec<_> = observed.keys().filter(|key| !used.contains(*key)).collect();
    assert!(idle.is_empty(), "observations of nothing in the table: {idle:?}");
    let sources: Vec<String> = SOURCES
        .iter()
        .map(|s| format!("- **{}**: {}", s.name, s.text))
        .collect();
    let notes: Vec<String> = notes
        .iter()
        .enumerate()
        .map(|(at, note)| format!("{}. {note}", at + 1))
        .collect();
    format!(
        include_str!("prices/page.md"),
        rows = rows.join("\n"),
        sources = sources.join("\n"),
        notes = notes.join("\n"),
    )
}

#[test]
fn the_page_shows_what_requests_get_and_what_others_say_it_costs() {
    let page = page();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/prices.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
        std::fs::write(path, &page).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(path).expect("docs/prices.md is there");
    assert!(
        kept == page,
        "docs/prices.md is not what the catalog says now:\n{page}"
    );
}

#[test]
fn sums_of_products_are_read() {
    assert_eq!(value("2*3+0.5"), 6.5);
}
