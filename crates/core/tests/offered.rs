//! What zones were learned to have.

use std::collections::BTreeMap;

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region, Zone};
use gust_core::offer::{Offered, Placement, Site, offers, offers_or_why};
use gust_core::request::{Policy, Request};

const ZONES: [&str; 4] = ["us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"];

fn request(line: &str) -> Request {
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Request::parse(&rules, &Policy::default()).expect("well-formed")
}

fn iowa(catalog: &Catalog, offered: Offered) -> Placement {
    let site = Site {
        project: ProjectId::from("ci"),
        regions: BTreeMap::from([(Region::from("us-central1"), Vec::new())]),
    };
    let placement = Placement::new(catalog, &[site], &Policy::default()).expect("a known region");
    placement.with_offered(offered)
}

/// The zones of the best offer.
fn zones(line: &str, catalog: &Catalog, placement: &Placement) -> Vec<String> {
    let found = offers(&request(line), catalog, placement);
    let zones = found
        .iter()
        .take(1)
        .flat_map(|o| o.places.iter())
        .flat_map(|p| p.zones.iter());
    zones.map(Zone::to_string).collect()
}

#[test]
fn a_zone_that_does_not_list_a_type_is_left_out_for_it_alone() {
    let catalog = Catalog::builtin();
    let mut offered = Offered::default();
    let listed = ["n2d-standard-8", "e2-standard-2", "x9-standard-1"];
    assert!(offered.learn(&catalog, &ZONES[0].into(), listed));
    assert!(!offered.learn(&catalog, &ZONES[0].into(), listed), "nothing new");
    let placement = iowa(&catalog, offered);
    assert_eq!(zones("machine-type=n2d-standard-8", &catalog, &placement), ZONES);
    assert_eq!(
        zones("machine-type=n2d-standard-16", &catalog, &placement),
        ZONES[1..]
    );
    // Custom types are never listed: the family counts.
    assert_eq!(zones("cpu=8 memory=20 family=n2d", &catalog, &placement), ZONES);
    assert_eq!(
        zones("cpu=8 memory=20 family=n2", &catalog, &placement),
        ZONES[1..]
    );
}

#[test]
fn a_list_that_says_nothing_leaves_the_catalog_in_force() {
    let catalog = Catalog::builtin();
    let mut offered = Offered::default();
    assert!(!offered.learn(&catalog, &ZONES[0].into(), []));
    assert!(!offered.learn(&catalog, &ZONES[1].into(), ["x9-standard-1", "n2d-custom-2-2048"]));
    assert!(offered.is_empty() && !offered.knows(&ZONES[0].into()));
}

#[test]
fn a_family_that_no_zone_offers_any_more_is_refused_with_another() {
    let catalog = Catalog::builtin();
    let mut offered = Offered::default();
    for zone in ZONES {
        offered.learn(&catalog, &zone.into(), ["n2d-standard-8", "e2-standard-8"]);
    }
    let placement = iowa(&catalog, offered);
    let why = |line: &str| {
        offers_or_why(&request(line), &catalog, &placement)
            .expect_err(line)
            .render()
    };
    let report = [
        "cpu=8 memory=32 family=n1",
        "machine-type=n2d-standard-16",
        "cpu=8 memory=32 arch=arm64",
    ]
    .map(why);
    insta::assert_snapshot!(report.join("\n"), @r"
    GUST127: no zone offers n1 any more in the size asked for: Google lists it in none of us-central1
    nearest: `family=e2|n2d` (e2-standard-8, $0.2749/h)
    GUST127: no zone offers n2d any more in the size asked for: Google lists it in none of us-central1
    nearest: `cpu=18 memory=64 arch=amd64` without machine-type (e2-custom-18-65536, $0.6156/h)
    GUST127: no zone offers c4a, n4a and t2a any more in the size asked for: Google lists it in none of us-central1
    nearest: `arch=amd64` (e2-standard-8, $0.2749/h)
    ");
}
