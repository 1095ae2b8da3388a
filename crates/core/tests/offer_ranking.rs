//! Which machine wins, what it costs, and where it may be made.

use std::collections::BTreeMap;

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region, Shard, Zone};
use gust_core::offer::{
    Offer, Placement, RuledOut, Site, SpotQuota, offers, offers_or_why, resources, ruled_out,
};
use gust_core::ports::Quota;
use gust_core::request::{Allow, Bounds, Models, Policy, Request};
use gust_core::shape::ProvisioningModel;

fn request(line: &str) -> Request {
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Request::parse(&rules, &Policy::default()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn site(project: &str, regions: &[&str]) -> Site {
    let regions = regions.iter().map(|r| (Region::from(*r), Vec::new())).collect();
    Site {
        project: ProjectId::from(project),
        regions,
    }
}

fn iowa(catalog: &Catalog) -> Placement {
    Placement::new(catalog, &[site("ci", &["us-central1"])], &Policy::default()).expect("a known region")
}

fn table(offers: &[Offer], rows: usize) -> String {
    let row = |o: &Offer| {
        let exact = if o.is_exact() { "" } else { " (more than asked)" };
        format!(
            "{} {} {} {}{exact}",
            o.price,
            o.machine_type,
            o.model.as_str(),
            o.disk.disk_type
        )
    };
    offers.iter().take(rows).map(row).collect::<Vec<_>>().join("\n")
}

/// Sizes of `loadtest/rust-monorepo-ci-mix.csv`: architecture, vCPUs, GiB.
fn mix() -> Vec<(String, u32, u64)> {
    let csv = include_str!("../../../loadtest/rust-monorepo-ci-mix.csv");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (
            cells[1].to_owned(),
            cells[2].parse().expect("vCPUs"),
            cells[3].parse().expect("GiB"),
        )
    };
    let mut sizes: Vec<(String, u32, u64)> = csv.lines().skip(1).map(row).collect();
    sizes.sort();
    sizes.dedup();
    sizes
}

#[test]
fn every_size_of_the_ci_mix_gets_exactly_what_it_asks_and_nothing_larger_is_cheaper() {
    let catalog = Catalog::builtin();
    let everywhere: Vec<&str> = catalog.regions().keys().map(Region::as_str).collect();
    let all =
        Placement::new(&catalog, &[site("ci", &everywhere)], &Policy::default()).expect("known regions");
    assert_eq!(mix().len(), 11);
    let mut report = Vec::new();
    for (arch, cpu, gib) in mix() {
        for spot in ["false", "true", "prefer"] {
            let line = format!("arch={arch} cpu={cpu} memory={gib} spot={spot}");
            for placement in [&iowa(&catalog), &all] {
                let found = offers(&request(&line), &catalog, placement);
                let best = found.first().expect("every size exists");
                assert_eq!(
                    (best.cpus.0, best.memory.0, best.arch.as_str()),
                    (cpu, gib * 1024, arch.as_str())
                );
                assert!(best.is_exact(), "{line}: {}", best.machine_type);
            }
            let best = table(&offers(&request(&line), &catalog, &iowa(&catalog)), 1);
            report.push(format!("{line}: {best}"));
        }
    }
    insta::assert_snapshot!(report.join("\n"));
}

#[test]
fn the_best_machines_of_typical_requests() {
    let catalog = Catalog::builtin();
    let placement = iowa(&catalog);
    let report: Vec<String> = [
        "cpu=2 memory=1",
        "cpu=16 memory=64",
        "cpu=16 memory=64 spot=prefer",
        "cpu=16 memory=64 local-ssd=1 family=n2d|c3d spot=prefer",
        "cpu=8+16 memory=64",
        "memory=200",
        "cpu=30 memory=60",
        "cpu=4 memory=5",
        "machine-type=n1-highcpu-4",
        "machine-type=c4a-standard-4-lssd|c3d-standard-8-lssd",
        "cpu=8 memory=32 disk=500 disk-type=pd-standard|pd-ssd",
        "cpu=384 memory=1000",
    ]
    .iter()
    .map(|line| {
        format!(
            "{line}\n{}",
            table(&offers(&request(line), &catalog, &placement), 6)
        )
    })
    .collect();
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn prices_are_the_sum_of_their_published_parts() {
    let catalog = Catalog::builtin();
    let price = |line: &str| offers(&request(line), &catalog, &iowa(&catalog))[0].price.0;
    // 16 × 0.027502 + 64 × 0.003686 + 50 × 0.10 / 730
    assert_eq!(price("machine-type=n2d-standard-16"), 682_785);
    // The same on Spot with 2 local SSDs: 16 × 0.00796 + 64 × 0.001067 + 750 × 0.0428 / 730 + 50 × 0.10 / 730
    assert_eq!(
        price("cpu=16 memory=64 family=n2d local-ssd=2 spot=true"),
        246_470
    );
    // Custom: (8 × 0.02181159 + 20 × 0.00292353) × 1.05 + 50 × 0.10 / 730
    assert_eq!(price("cpu=8 memory=20 family=e2"), 251_461);
    // Extended memory: 8 × 0.0288771 + 64 × 0.0038703 + 36 × 0.008309 + 50 × 0.10 / 730
    assert_eq!(price("cpu=8 memory=100 family=n2d"), 784_689);
    // A whole machine: g2-standard-4 with its accelerator, and 50 × 0.10 / 730
    assert_eq!(price("gpu=nvidia-l4:1"), 713_682);
    // An attached accelerator: 4 × 0.031611 + 15 × 0.004237 + 0.35 + 50 × 0.10 / 730
    assert_eq!(price("machine-type=n1-standard-4 gpu=nvidia-tesla-t4:1"), 546_848);
}

#[test]
fn spot_is_first_choice_only_where_it_is_wished() {
    let catalog = Catalog::builtin();
    let placement = iowa(&catalog);
    let models = |line: &str| {
        let mut models: Vec<_> = offers(&request(line), &catalog, &placement)
            .iter()
            .map(|o| o.model)
            .collect();
        models.dedup();
        models
    };
    assert_eq!(models("cpu=8 memory=32"), [ProvisioningModel::Standard]);
    assert_eq!(models("cpu=8 memory=32 spot=true"), [ProvisioningModel::Spot]);
    assert_eq!(
        models("cpu=8 memory=32 spot=prefer"),
        [ProvisioningModel::Spot, ProvisioningModel::Standard]
    );
}

#[test]
fn a_wide_range_of_spot_sizes_leaves_room_for_those_on_demand() {
    let catalog = Catalog::builtin();
    let found = offers(&request("cpu=2+ memory=8 spot=prefer"), &catalog, &iowa(&catalog));
    let on_demand = found
        .iter()
        .filter(|o| o.model == ProvisioningModel::Standard)
        .count();
    assert_eq!((found.len(), on_demand), (128, 64));
}

#[test]
fn places_are_those_of_the_operator_the_request_and_the_family() {
    let catalog = Catalog::builtin();
    let half = Site {
        project: ProjectId::from("b"),
        regions: BTreeMap::from([(Region::from("us-central1"), vec![Zone::from("us-central1-a")])]),
    };
    let sites = [site("a", &["us-central1", "us-east4"]), half];
    let placement = Placement::new(&catalog, &sites, &Policy::default()).expect("known places");
    let places = |line: &str| {
        let found = offers(&request(line), &catalog, &placement);
        let best = &found[0].machine_type;
        let all = found.iter().filter(|o| o.machine_type == *best);
        all.flat_map(|o| o.places.iter())
            .map(|p| format!("{} {}", p.shard, p.zones.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        places("cpu=2 family=n2d"),
        ["a/us-central1 4", "b/us-central1 1", "a/us-east4 3"],
        "Virginia is dearer than Iowa"
    );
    assert_eq!(places("cpu=2 family=t2a"), ["a/us-central1 4", "b/us-central1 1"]);
    assert_eq!(places("cpu=2 family=n2d region=us-east4"), ["a/us-east4 3"]);
    assert_eq!(places("cpu=2 family=n2d zone=us-central1-b"), ["a/us-central1 1"]);
    let unknown = Placement::new(&catalog, &[site("a", &["us-cntral1"])], &Policy::default());
    insta::assert_snapshot!(unknown.expect_err("no such region"), @"project a names the unknown region us-cntral1, did you mean us-central1?; known are asia-east1, asia-northeast1, asia-south1, asia-southeast1, australia-southeast1, europe-central2, europe-north1, europe-west1, europe-west2, europe-west3, europe-west4, europe-west6, northamerica-northeast1, southamerica-east1, us-central1, us-east1 and 7 more");
}

#[test]
fn bounds_hold_for_what_a_job_did_not_choose_too() {
    let catalog = Catalog::builtin();
    let bounds = Bounds {
        families: Allow::Only(vec!["n2d".into(), "e2".into()]),
        machine_types: Allow::Only(vec!["*-standard-*".into()]),
        models: Models::OnDemand,
        ..Bounds::default()
    };
    let policy = Policy {
        bounds,
        ..Policy::default()
    };
    let placement =
        Placement::new(&catalog, &[site("ci", &["us-central1"])], &policy).expect("a known region");
    let found = offers(&request("cpu=8 memory=5 spot=prefer"), &catalog, &placement);
    let names: Vec<_> = found
        .iter()
        .map(|o| (o.machine_type.as_str(), o.model.as_str()))
        .collect();
    assert_eq!(
        names,
        [("e2-standard-8", "standard"), ("n2d-standard-8", "standard")]
    );
}

#[test]
fn prices_of_a_region_of_its_own_make_offers_of_its_own() {
    let text = r#"
        [family.n2d.prices.us-east4]
        as_of = "2026-11-01"
        source = "a test"
        on_demand = { vcpu = "0.001", gib = "0.0001" }
        custom_premium_percent = 5
        local_ssd = { on_demand = "0.08", spot = "0.04" }
    "#;
    let catalog = Catalog::builtin()
        .merge(&[("gust.toml", text)])
        .expect("a good override");
    let sites = [site("ci", &["us-central1", "us-east4", "us-west1"])];
    let placement = Placement::new(&catalog, &sites, &Policy::default()).expect("known places");
    let found = offers(&request("cpu=8 memory=32 family=n2d"), &catalog, &placement);
    let summary: Vec<String> = found
        .iter()
        .map(|o| {
            let places: Vec<_> = o.places.iter().map(|p| p.shard.region.to_string()).collect();
            format!(
                "{} {} as {} in {}",
                o.machine_type,
                o.price,
                o.priced_as,
                places.join(",")
            )
        })
        .collect();
    insta::assert_snapshot!(summary.join("\n"), @r"
    n2d-standard-8 $0.0187/h as us-east4 in us-east4
    n2d-standard-8 $0.3448/h as us-central1 in us-central1,us-west1
    ");
}

#[test]
fn one_mistyped_family_beside_a_right_one_is_refused() {
    let catalog = Catalog::builtin();
    assert!(offers_or_why(&request("family=n2d|n2e"), &catalog, &iowa(&catalog)).is_err());
}

#[test]
fn each_family_says_why_it_is_out() {
    let catalog = Catalog::builtin();
    let placement = iowa(&catalog);
    let out: BTreeMap<String, RuledOut> = ruled_out(
        &request("cpu=48 memory=500 arch=amd64 local-ssd=1"),
        &catalog,
        &placement,
    )
    .into_iter()
    .map(|(family, why)| (family.to_string(), why))
    .collect();
    insta::assert_debug_snapshot!(out);
}

#[test]
fn accelerators_count_against_their_own_quotas() {
    let catalog = Catalog::builtin();
    let shard = Shard {
        project: ProjectId::from("ci"),
        region: Region::from("us-central1"),
    };
    let none = SpotQuota::default();
    let usage = |line: &str, spot: &SpotQuota| {
        let offer = offers(&request(line), &catalog, &iowa(&catalog)).remove(0);
        let usage = resources(&offer.footprint(&shard, false), &catalog, spot);
        let named = usage.0.iter().map(|(metric, n)| format!("{metric} {n}"));
        named
            .filter(|row| row.contains("GPU") || row.contains("CPUS"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(
        usage("gpu=nvidia-l4:2", &none),
        "CPUS_PER_VM_FAMILY:G2 24, CPUS_ALL_REGIONS 24, NVIDIA_L4_GPUS 2, GPUS_ALL_REGIONS 2"
    );
    assert_eq!(
        usage("machine-type=n1-standard-4 gpu=nvidia-tesla-t4:1", &none),
        "CPUS 4, CPUS_ALL_REGIONS 4, NVIDIA_T4_GPUS 1, GPUS_ALL_REGIONS 1"
    );
    let spot = |limits: [f64; 2]| {
        let quota = |(metric, limit): (&str, f64)| Quota {
            metric: metric.to_owned(),
            limit,
            usage: 0.0,
            project_wide: false,
        };
        let [cpus, gpus] = limits;
        let granted = [("PREEMPTIBLE_CPUS", cpus), ("PREEMPTIBLE_NVIDIA_L4_GPUS", gpus)];
        usage(
            "gpu=nvidia-l4:1 spot=true",
            &SpotQuota::granted(&granted.map(quota)),
        )
    };
    assert_eq!(
        spot([100.0, 1.0]),
        "PREEMPTIBLE_CPUS 4, CPUS_ALL_REGIONS 4, PREEMPTIBLE_NVIDIA_L4_GPUS 1, GPUS_ALL_REGIONS 1"
    );
    assert_eq!(
        spot([100.0, 0.0]),
        "PREEMPTIBLE_CPUS 4, CPUS_ALL_REGIONS 4, NVIDIA_L4_GPUS 1, GPUS_ALL_REGIONS 1",
        "each by itself"
    );
    assert_eq!(
        spot([0.0, 1.0]),
        "CPUS_PER_VM_FAMILY:G2 4, CPUS_ALL_REGIONS 4, PREEMPTIBLE_NVIDIA_L4_GPUS 1, GPUS_ALL_REGIONS 1"
    );
}

#[test]
fn an_accelerator_goes_to_nobody_who_does_not_ask_and_only_where_it_is() {
    let catalog = Catalog::builtin();
    let placement = iowa(&catalog);
    let found = offers(&request("cpu=4 memory=16"), &catalog, &placement);
    assert!(found.iter().all(|o| o.gpus.is_none()));
    let by_name = offers(&request("machine-type=g2-standard-4"), &catalog, &placement);
    assert!(
        by_name[0].gpus.is_some(),
        "whoever names the type gets what it has"
    );
    let zones = |line: &str| -> Vec<String> {
        let found = offers(&request(line), &catalog, &placement);
        let zones = found[0].places.iter().flat_map(|p| p.zones.iter());
        zones.map(Zone::to_string).collect()
    };
    assert_eq!(
        zones("machine-type=n1-standard-4 gpu=nvidia-tesla-p4:1"),
        ["us-central1-a", "us-central1-c"]
    );
    assert_eq!(zones("machine-type=n1-standard-4").len(), 4);
}
