//! Offers against brute force, and the promises of every diagnosis.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gust_core::catalog::{Catalog, Family, LocalSsd, Predefined};
use gust_core::ids::{ProjectId, Region, Shard};
use gust_core::offer::{Placement, Site, SpotQuota, diagnose, offers, resources};
use gust_core::request::{Mib, Policy, Request};
use gust_core::shape::ProvisioningModel;
use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

fn iowa_and_virginia(catalog: &Catalog) -> Placement {
    let regions = ["us-central1", "us-east4"].map(|r| (Region::from(r), Vec::new()));
    let site = Site {
        project: ProjectId::from("ci"),
        regions: BTreeMap::from(regions),
    };
    Placement::new(catalog, &[site], &Policy::default()).expect("known regions")
}

static WORLD: LazyLock<(Catalog, Placement)> = LazyLock::new(|| {
    let catalog = Catalog::builtin();
    let placement = iowa_and_virginia(&catalog);
    (catalog, placement)
});

/// Boot disks at no cost keep the sum to machine and local SSD.
static FREE_DISKS: LazyLock<(Catalog, Placement)> = LazyLock::new(|| {
    let free = ["pd-balanced", "hyperdisk-balanced"]
        .map(|d| format!("[disk.{d}.prices]\nus-central1 = \"0\"\nus-east4 = \"0\"\n"));
    let catalog = Catalog::builtin()
        .merge(&[("free.toml", &free.concat())])
        .expect("a good override");
    let placement = iowa_and_virginia(&catalog);
    (catalog, placement)
});

/// Tags of all kinds, sensible and not.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let sizes = prop_oneof![
        (1_u32..130).prop_map(|n| format!("cpu={n}")),
        (1_u32..20, 0_u32..100).prop_map(|(a, b)| format!("cpu={a}+{}", a + b)),
        (1_u32..40).prop_map(|n| format!("cpu={n}+")),
        prop::sample::select(vec!["cpu=2", "cpu=8", "cpu=16", "cpu=48", "cpu=64"]).prop_map(str::to_owned),
    ];
    let memory = prop_oneof![
        (1_u32..2_000).prop_map(|n| format!("memory={n}")),
        (1_u32..300_000).prop_map(|n| format!("memory={n}Mi")),
        (1_u32..64, 0_u32..64).prop_map(|(a, b)| format!("memory={a}+{}", a + b)),
        Just("memory=".to_owned()),
    ];
    // At most one of each kind: a tag given twice would be refused.
    let one = |of: &'static [&'static str]| prop::option::weighted(0.25, prop::sample::select(of));
    let wishes = (
        (
            one(&["local-ssd=1", "local-ssd=3", "local-ssd=40"]),
            one(&["arch=arm64", "arch=amd64"]),
        ),
        (
            one(&["family=n2d|c3d|e2", "family=c4a|t2a|n1", "family=n2e"]),
            one(&["spot=prefer", "spot=true"]),
        ),
        (
            one(&["disk-type=pd-ssd", "disk-type=pd-standard|hyperdisk-balanced"]),
            one(&["disk=200", "disk=65000"]),
        ),
        (
            one(&["region=us-east4", "region=europe-west1"]),
            one(&[
                "gpu=nvidia-l4:1",
                "gpu=nvidia-tesla-t4:2",
                "gpu=nvidia-l4:3",
                "gpu=l5",
            ]),
        ),
        one(&[
            "machine-type=n2d-standard-16|custom-4-8192",
            "machine-type=e2-small",
            "machine-type=m3-megamem-64",
        ]),
    );
    let wishes = wishes.prop_map(|((a, b), (c, d), (e, f), (g, h), i)| [a, b, c, d, e, f, g, h, i]);
    (sizes, memory, wishes).prop_map(|(cpu, memory, wishes)| {
        let mut line = vec![cpu, memory];
        line.extend(wishes.into_iter().flatten().map(str::to_owned));
        line
    })
}

/// vCPUs, MiB, local SSDs, and the type if it is predefined.
type Machine<'a> = (u32, u64, u32, Option<&'a Predefined>);

/// All machines of a family without accelerators, without any cleverness.
fn every_machine(family: &Family, most_cpus: u32) -> Vec<Machine<'_>> {
    let mut all = Vec::new();
    let mut with_ssds = |cpus: u32, mib: u64, bundled: u32, predefined| {
        all.push((cpus, mib, bundled, predefined));
        if let LocalSsd::Attached(rules) = &family.local_ssd {
            all.extend(
                rules
                    .counts(cpus)
                    .iter()
                    .map(|count| (cpus, mib, *count, predefined)),
            );
        }
    };
    for t in family
        .types()
        .iter()
        .filter(|t| !t.shared_core && t.gpus.is_none() && t.cpus <= most_cpus)
    {
        with_ssds(t.cpus, t.memory_mib, t.bundled_ssds, Some(t));
    }
    if let Some(rule) = &family.custom {
        for cpus in rule.cpus().iter().copied().filter(|c| *c <= most_cpus) {
            for step in 1..=(rule.most_memory(cpus) / 256) {
                if rule.least_memory(cpus, step * 256) == Some(step * 256) {
                    with_ssds(cpus, step * 256, 0, None);
                }
            }
        }
    }
    all
}

/// The cheapest price of brute force in billionths of a dollar an hour, disks not counted.
fn cheapest(request: &Request, catalog: &Catalog, most_cpus: u32) -> Option<u64> {
    let regions = ["us-central1", "us-east4"].map(Region::from);
    let each = regions
        .iter()
        .filter_map(|region| cheapest_in(region, request, catalog, most_cpus));
    each.min()
}

/// What a machine costs in billionths of a dollar an hour.
fn price_of(family: &Family, region: &Region, (cpus, mib, ssds, predefined): Machine<'_>) -> Option<u64> {
    let model = ProvisioningModel::Standard;
    let (_, prices) = family.prices(region);
    if let Some(whole) = predefined.and_then(|t| prices.whole(&t.name, model)) {
        return whole.map(|price| price.0);
    }
    let regular = match (&family.custom, predefined) {
        (Some(rule), None) => mib.min(rule.most_regular_memory(cpus)),
        _ => mib,
    };
    let extended = match mib - regular {
        0 => 0,
        more => prices.extended(model)?.0 * more / 1024,
    };
    let ssd = prices
        .local_ssd(model)
        .map_or(0, |p| p.0 * 375 * u64::from(ssds) / 730);
    Some(prices.rate(predefined.is_none(), model)?.of(cpus, regular) + extended + ssd)
}

fn cheapest_in(region: &Region, request: &Request, catalog: &Catalog, most_cpus: u32) -> Option<u64> {
    let mut best = None;
    for family in catalog.families().filter(|f| f.zones.contains_key(region)) {
        let wanted = request.families.is_empty() || request.families.contains(&family.name);
        if !wanted || request.arch.is_some_and(|arch| arch != family.arch) {
            continue;
        }
        for machine in every_machine(family, most_cpus) {
            let (cpus, mib, ssds, _) = machine;
            let enough = request.cpu.contains(gust_core::request::Cpus(cpus))
                && request.memory.contains(Mib(mib))
                && ssds >= request.local_ssd
                && (ssds == 0 || request.local_ssd > 0);
            if let Some(nanos) = price_of(family, region, machine).filter(|_| enough) {
                best = Some(best.map_or(nanos, |b: u64| b.min(nanos)));
            }
        }
    }
    best
}

proptest! {
    #[test]
    fn offers_satisfy_their_request_and_are_in_order(line in lines()) {
        let (catalog, placement) = &*WORLD;
        let request = Request::parse(&line, &Policy::default()).expect("these tags are well-formed");
        let found = offers(&request, catalog, placement);
        for pair in found.windows(2) {
            prop_assert!(pair[0].preference < pair[1].preference, "ranked, and no offer twice");
        }
        for offer in &found {
            prop_assert!(request.cpu.contains(offer.cpus) && request.memory.contains(offer.memory));
            prop_assert!(request.arch.is_none_or(|arch| arch == offer.arch));
            prop_assert!(offer.local_ssds.count >= request.local_ssd && offer.price.0 > 0);
            prop_assert!(!offer.places.is_empty() && offer.places.iter().all(|p| !p.zones.is_empty()));
            let by_name = catalog.machine_type(&offer.machine_type).expect("offers have real types");
            prop_assert_eq!((by_name.cpus, by_name.memory_mib), (offer.cpus.0, offer.memory.0));
            let shard = Shard { project: ProjectId::from("ci"), region: Region::from("us-central1") };
            let usage = resources(&offer.footprint(&shard, false), catalog, &SpotQuota::default());
            prop_assert!(usage.0.iter().all(|(_, amount)| *amount > 0));
            prop_assert!(usage.0.iter().any(|(m, n)| m.is_project_wide() && *n == u64::from(offer.cpus.0)));
        }
    }

    #[test]
    fn every_refusal_names_a_nearby_request_that_works(line in lines()) {
        promises_of_a_refusal(&line)?;
    }
}

/// Found by the property above: neither other vCPUs nor other memory alone help.
#[test]
fn two_demands_that_are_both_in_the_way_are_both_given_up() {
    let line = ["cpu=15", "memory=17+17", "arch=arm64"].map(str::to_owned);
    promises_of_a_refusal(&line).expect("a refusal with a way out");
}

fn promises_of_a_refusal(line: &[String]) -> Result<(), TestCaseError> {
    let (catalog, placement) = &*WORLD;
    let policy = Policy::default();
    let request = Request::parse(line, &policy).expect("these tags are well-formed");
    if offers(&request, catalog, placement).is_empty() {
        let why = diagnose(&request, catalog, placement);
        prop_assert!(!why.barriers.is_empty() && !why.nearest.is_empty(), "{}", why);
        prop_assert!(why.render().len() <= 4096 && why.short().chars().count() <= 256);
        for suggestion in &why.nearest {
            let pasted = suggestion.request.to_rules("");
            let again = Request::parse(&pasted, &policy).expect("a suggestion can be pasted");
            let best = offers(&again, catalog, placement);
            prop_assert_eq!(
                best.first().map(|o| &o.machine_type),
                Some(&suggestion.machine_type)
            );
        }
    }
    Ok(())
}

proptest! {
    // Brute force is slow, so fewer cases on smaller machines.
    #![proptest_config(proptest::test_runner::Config::with_cases(40))]
    #[test]
    fn the_first_offer_is_as_cheap_as_brute_force_finds(
        cpu in 1_u32..20,
        more in 0_u32..8,
        mib in 512_u64..90_000,
        ssd in 0_u32..3,
        families in prop::sample::select(vec!["", "n2d|c3d", "e2|n1|n2", "c4a|n4a", "n4|n2d"]),
    ) {
        let (catalog, placement) = &*FREE_DISKS;
        let line = [format!("cpu={cpu}+{}", cpu + more), format!("memory={mib}Mi"), format!("local-ssd={ssd}"), format!("family={families}")];
        let request = Request::parse(&line, &Policy::default()).expect("well-formed");
        let found = offers(&request, catalog, placement);
        let brute = cheapest(&request, catalog, 30).map(|nanos| (nanos + 500) / 1000);
        prop_assert_eq!(found.first().map(|o| o.price.0), brute, "{}", request);
    }
}
