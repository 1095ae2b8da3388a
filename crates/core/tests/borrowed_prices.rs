//! Prices that stand in for those of a region that has none: never preferred, and told.

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region};
use gust_core::offer::{Offer, Placement, Site, offers, offers_or_why};
use gust_core::request::{Bounds, Models, Policy, Request};

fn request(line: &str) -> Request {
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Request::parse(&rules, &Policy::default()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn placement(regions: &[&str], policy: &Policy) -> Placement {
    let regions = regions.iter().map(|r| (Region::from(*r), Vec::new())).collect();
    let site = Site {
        project: ProjectId::from("ci"),
        regions,
    };
    Placement::new(&Catalog::builtin(), &[site], policy).expect("known regions")
}

fn found(line: &str, regions: &[&str]) -> Vec<Offer> {
    let placement = placement(regions, &Policy::default());
    offers(&request(line), &Catalog::builtin(), &placement)
}

fn row(offer: &Offer) -> String {
    let places = offer.places.iter().map(|place| place.shard.region.to_string());
    format!(
        "{} {} machine as {}, disk as {}{}",
        places.collect::<Vec<_>>().join(","),
        offer.price,
        offer.priced_as,
        offer.disk.priced_as,
        if offer.preference.borrowed {
            ", borrowed"
        } else {
            ""
        },
    )
}

fn table(line: &str, regions: &[&str]) -> String {
    found(line, regions)
        .iter()
        .map(row)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_region_whose_price_is_known_comes_before_one_that_borrows_it() {
    let regions = ["europe-west6", "us-central1"];
    insta::assert_snapshot!(table("machine-type=c4a-standard-4", &regions));
}

#[test]
fn a_disk_whose_price_is_borrowed_is_told_even_where_the_machine_has_its_own() {
    let regions = ["us-central1", "us-east1", "us-east4"];
    let lines = ["machine-type=n4-standard-4", "machine-type=n2d-standard-4"];
    insta::assert_snapshot!(lines.map(|line| table(line, &regions)).join("\n\n"));
}

#[test]
fn the_region_shown_is_one_that_can_be_used() {
    let regions = ["us-central1", "us-east1"];
    let found = found("machine-type=e2-standard-4 region=us-east1", &regions);
    assert_eq!(found[0].priced_as.as_str(), "us-east1");
    assert!(!found[0].preference.borrowed);
}

#[test]
fn what_exists_on_demand_alone_is_not_said_to_exist_nowhere() {
    let catalog = Catalog::builtin();
    let line = "cpu=4 memory=200 spot=true";
    let why = |policy: &Policy| {
        let placement = placement(&["us-central1"], policy);
        let impossible = offers_or_why(&request(line), &catalog, &placement).expect_err(line);
        impossible.render()
    };
    let spot_alone = Policy {
        bounds: Bounds {
            models: Models::Spot,
            ..Bounds::default()
        },
        ..Policy::default()
    };
    insta::assert_snapshot!([why(&Policy::default()), why(&spot_alone)].join("\n\n"));
}
