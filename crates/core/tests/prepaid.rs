//! Committed use and reservations: what is paid for costs nothing more, up to its size.

use std::collections::BTreeMap;

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region, Shard, Zone};
use gust_core::offer::{Commitment, Offer, Paid, Placement, Prepaid, Site, SpotQuota, offers, resources};
use gust_core::quota::Usage;
use gust_core::request::{Policy, Request};

fn shard() -> Shard {
    Shard {
        project: ProjectId::from("ci"),
        region: Region::from("us-central1"),
    }
}

fn paid_for(catalog: &Catalog) -> Prepaid {
    let mut prepaid = Prepaid::default();
    let commitment = Commitment {
        cpus: 64,
        memory_mib: 256 * 1024,
    };
    prepaid
        .commit(catalog, &shard(), "n2d", commitment)
        .expect("a family");
    let zone = Zone::from("us-central1-f");
    let reserved = "n2d-standard-16".into();
    prepaid
        .reserve(catalog, &shard(), &reserved, &zone, 2)
        .expect("a type");
    prepaid
}

fn found(line: &str, catalog: &Catalog) -> Vec<Offer> {
    let regions = ["us-central1", "us-east1"].map(|r| (Region::from(r), Vec::new()));
    let site = Site {
        project: ProjectId::from("ci"),
        regions: BTreeMap::from(regions),
    };
    let placement = Placement::new(catalog, &[site], &Policy::default()).expect("known regions");
    let placement = placement.with_prepaid(paid_for(catalog));
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let request = Request::parse(&rules, &Policy::default()).expect("well-formed");
    offers(&request, catalog, &placement)
}

fn table(offers: &[Offer]) -> String {
    let row = |o: &Offer| {
        let zones = o.places.iter().flat_map(|p| p.zones.iter()).count();
        format!(
            "{} {} {} {}, {zones} zones",
            o.price,
            o.machine_type,
            o.model.as_str(),
            o.paid.as_str()
        )
    };
    offers.iter().take(6).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_paid_for_comes_first_at_the_price_of_its_disk() {
    let catalog = Catalog::builtin();
    let all = [
        "cpu=16 memory=64 family=n2d|e2",
        "cpu=16 memory=64 spot=prefer",
        "cpu=16 memory=50 family=n2d",
        "cpu=16 memory=64 family=n2d local-ssd=1",
        "cpu=16 memory=64 spot=true family=n2d",
    ]
    .map(|line| format!("{line}\n{}", table(&found(line, &catalog))));
    insta::assert_snapshot!(all.join("\n\n"));
}

fn named(usage: &Usage) -> Vec<String> {
    usage
        .0
        .iter()
        .map(|(metric, n)| format!("{metric} {n}"))
        .collect()
}

#[test]
fn each_way_needs_rows_of_its_own_and_machines_count_whatever_they_were_offered_as() {
    let catalog = Catalog::builtin();
    let prepaid = paid_for(&catalog);
    let all = found("cpu=16 memory=64 family=n2d", &catalog);
    let needs = |paid: Paid| {
        let offer = all.iter().find(|o| o.paid == paid).expect("one of each");
        let footprint = offer.footprint(&shard(), false);
        let anyhow = resources(&footprint, &catalog, &SpotQuota::default());
        named(&prepaid.needed(paid, &footprint, &catalog, anyhow))
    };
    assert_eq!(
        needs(Paid::Reserved),
        [
            "PREPAID_MACHINES:n2d-standard-16 1",
            "INSTANCES 1",
            "SUBNET_ADDRESSES 1",
            "SSD_TOTAL_GB 50"
        ]
    );
    assert_eq!(
        needs(Paid::Committed),
        [
            "PREPAID_CPUS:n2d 16",
            "PREPAID_MEMORY_MIB:n2d 65536",
            "N2D_CPUS 16",
            "CPUS_ALL_REGIONS 16",
            "INSTANCES 1",
            "SUBNET_ADDRESSES 1",
            "SSD_TOTAL_GB 50"
        ]
    );
    assert_eq!(
        needs(Paid::Full),
        [
            "N2D_CPUS 16",
            "CPUS_ALL_REGIONS 16",
            "INSTANCES 1",
            "SUBNET_ADDRESSES 1",
            "SSD_TOTAL_GB 50"
        ]
    );
    let used = |line: &str| {
        let offer = found(line, &catalog)
            .into_iter()
            .find(|o| o.paid == Paid::Full)
            .expect("always there");
        named(&Usage(prepaid.used(&offer.footprint(&shard(), false), &catalog)))
    };
    assert_eq!(
        used("cpu=16 memory=64 family=n2d"),
        ["PREPAID_MACHINES:n2d-standard-16 1"]
    );
    assert_eq!(
        used("cpu=8 memory=32 family=n2d"),
        ["PREPAID_CPUS:n2d 8", "PREPAID_MEMORY_MIB:n2d 32768"]
    );
    assert!(
        used("cpu=8 memory=32 family=n2d spot=true").is_empty(),
        "Spot is never paid for"
    );
    assert!(used("cpu=8 memory=32 family=e2").is_empty());
    // Reservations are billed against the commitment: 64 vCPUs less two machines of 16.
    let rows = prepaid.rows(&catalog, &shard());
    let rows: Vec<String> = rows.iter().map(|q| format!("{} {}", q.metric, q.limit)).collect();
    assert_eq!(
        rows,
        [
            "PREPAID_MACHINES:n2d-standard-16 2",
            "PREPAID_CPUS:n2d 32",
            "PREPAID_MEMORY_MIB:n2d 131072"
        ]
    );
}

#[test]
fn names_that_the_catalog_does_not_have_are_refused_with_what_to_do() {
    let catalog = Catalog::builtin();
    let mut prepaid = Prepaid::default();
    let mut refused = Vec::new();
    for (family, region) in [("n2e", "us-central1"), ("t2a", "us-east4"), ("m3", "us-central1")] {
        let shard = Shard {
            region: Region::from(region),
            ..shard()
        };
        let error = prepaid.commit(&catalog, &shard, family, Commitment::default());
        refused.push(error.expect_err(family).to_string());
    }
    for (name, zone) in [
        ("n2d-standard-17", "us-central1-a"),
        ("t2a-standard-4", "us-central1-x"),
    ] {
        let error = prepaid.reserve(&catalog, &shard(), &name.into(), &Zone::from(zone), 1);
        refused.push(error.expect_err(name).to_string());
    }
    assert!(prepaid.is_empty());
    insta::assert_snapshot!(refused.join("\n"), @r"
    project ci has a commitment of family `n2e`, which the catalog does not have; did you mean `n2`?
    project ci has a commitment of family `t2a`, which us-east4 does not have
    project ci has a commitment of family `m3`, whose machines are priced whole; write reservations of its types instead
    project ci has a reservation of `n2d-standard-17` in us-central1-a, a type that the catalog does not have
    project ci has a reservation of `t2a-standard-4` in us-central1-x, a zone that has no t2a
    ");
}
