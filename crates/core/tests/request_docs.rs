//! The pipeline author's reference says what the code does.

use std::collections::BTreeMap;

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region};
use gust_core::offer::{Placement, Site, offers};
use gust_core::request::{Policy, Request, Tag};
use gust_core::shape::ProvisioningModel;

const DOC: &str = include_str!("../../../docs/agents-tags.md");

/// Cells of the table rows whose first cell begins with the text.
fn rows(begin: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        // `\|` is a bar within a cell.
        let text = line.trim_matches('|').replace("\\|", "\u{1}");
        text.split('|')
            .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|"))
            .collect()
    };
    DOC.lines()
        .filter(|line| line.starts_with(&format!("| {begin}")))
        .map(cells)
        .collect()
}

#[test]
fn every_tag_is_described() {
    for tag in Tag::ALL {
        assert_eq!(rows(&format!("`{tag}` |")).len(), 1, "{tag}");
    }
}

#[test]
fn the_examples_get_the_machines_and_prices_shown() {
    let catalog = Catalog::builtin();
    let regions = BTreeMap::from([(Region::from("us-central1"), Vec::new())]);
    let site = Site {
        project: ProjectId::from("ci"),
        regions,
    };
    let placement = Placement::new(&catalog, &[site], &Policy::default()).expect("a known region");
    let examples = rows("`cpu=");
    assert!(examples.len() >= 7);
    for cells in examples {
        let rules: Vec<String> = cells[0].split_whitespace().map(str::to_owned).collect();
        let request = Request::parse(&rules, &Policy::default()).expect("examples are valid");
        let best = &offers(&request, &catalog, &placement)[0];
        let spot = if best.model == ProvisioningModel::Spot {
            " Spot"
        } else {
            ""
        };
        assert_eq!(
            cells[1],
            format!("{}{spot}, {}", best.machine_type, best.price),
            "{}",
            cells[0]
        );
    }
}

#[test]
fn every_family_is_described() {
    for family in Catalog::builtin().families() {
        let row = rows(&format!("{} |", family.name));
        assert_eq!(row.len(), 1, "{}", family.name);
        assert_eq!(row[0][1], family.arch.as_str(), "{}", family.name);
        let sizes: Vec<u32> = family
            .types()
            .iter()
            .filter(|t| !t.shared_core)
            .map(|t| t.cpus)
            .collect();
        let (least, most) = (
            sizes.iter().min().expect("types"),
            sizes.iter().max().expect("types"),
        );
        let range = match least == most {
            true => least.to_string(),
            false => format!("{least}–{most}"),
        };
        assert!(row[0][2].starts_with(&range), "{}", family.name);
        assert_eq!(row[0][3] == "–", family.custom.is_none(), "{}", family.name);
    }
}
