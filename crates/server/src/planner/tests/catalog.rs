use std::{io, path::Path};

use gust_core::ids::{Region, Zone};

use super::{super::*, planned};
use crate::{config::Surroundings, leader::Planner as _};

/// A world with one file to lay over the catalog.
struct Files;

const MARS: &str = "[regions.zones]\nmars-north1 = [\"a\"]\n";

impl Surroundings for Files {
    fn variable(&self, _: &str) -> Option<String> {
        Some("bkct_x".to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match path.file_name().and_then(|name| name.to_str()) {
            Some("mars.toml") => Ok(MARS.to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn process_name(&self) -> String {
        "host-1".to_owned()
    }
}

fn planner(top: &str, project: &str) -> Result<Planner, PlannerError> {
    let text = format!(
        "stack = \"gust\"\ndata_dir = \"/var/lib/gust\"\n{top}\n[[source]]\nname = \"main\"\ntoken = {{ env = \"T\" }}\nqueues = [\"gust\"]\n\
         [[project]]\nid = \"my-project\"\nservice_account = \"a@b.c\"\nimages = {{ amd64 = \"i\" }}\n{project}\n"
    );
    let config =
        Config::parse(&text, Path::new("/etc/gust/gust.toml"), &Files).expect("a good configuration");
    Planner::new(&config, BTreeMap::new())
}

const IOWA: &str = "regions = [\"us-central1\"]";

fn plan(planner: &Planner, tags: &[&str]) -> Planned {
    planned(planner, "gust", "", tags)
}

fn best(planner: &Planner, tags: &[&str]) -> String {
    match plan(planner, tags) {
        Ok(plan) => {
            let shape = &plan.choices[0].shape;
            format!(
                "{} in {} zones of {}",
                shape.machine_type,
                shape.zones.len(),
                shape.region
            )
        }
        Err(detail) => detail.to_string(),
    }
}

#[test]
fn plans_follow_what_zones_are_learned_to_have() {
    let planner = planner("", IOWA).expect("known places");
    let tags = ["cpu=8", "memory=32", "family=n2d"];
    assert_eq!(best(&planner, &tags), "n2d-standard-8 in 4 zones of us-central1");
    let learn = |zones: &[&str], types: &[&str]| {
        let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
        let zones: Vec<(Zone, Vec<String>)> = zones.iter().map(|z| (Zone::from(*z), types.clone())).collect();
        planner.learn(&zones)
    };
    assert!(learn(&["us-central1-a"], &["e2-standard-8"]));
    assert!(!learn(&["us-central1-a"], &["e2-standard-8"]), "nothing new");
    assert!(!learn(&["us-central1-b"], &[]), "an empty list says nothing");
    assert_eq!(best(&planner, &tags), "n2d-standard-8 in 3 zones of us-central1");
    assert!(learn(
        &["us-central1-b", "us-central1-c", "us-central1-f"],
        &["e2-standard-8"]
    ));
    insta::assert_snapshot!(best(&planner, &tags), @r"
    GUST127: no zone offers n2d any more in the size asked for: Google lists it in none of us-central1
    nearest: `family=e2` (e2-standard-8, $0.2749/h)
    ");
    assert!(learn(&["us-central1-c"], &["n2d-standard-8"]), "it is back");
    assert_eq!(best(&planner, &tags), "n2d-standard-8 in 1 zones of us-central1");
}

#[test]
fn what_is_paid_for_is_in_the_ledger_and_is_tried_first() {
    let project = format!(
        "{IOWA}\ncommitment = [{{ region = \"us-central1\", family = \"n2d\", vcpus = 32, memory = 128 }}]\n"
    );
    let planner = planner("", &project).expect("a known family");
    let shard = Shard {
        project: "my-project".into(),
        region: Region::from("us-central1"),
    };
    let rows: Vec<String> = planner
        .prepaid(&shard)
        .iter()
        .map(|q| format!("{} {}", q.metric, q.limit))
        .collect();
    assert_eq!(rows, ["PREPAID_CPUS:n2d 32", "PREPAID_MEMORY_MIB:n2d 131072"]);
    let plan = plan(&planner, &["cpu=16", "memory=64", "family=n2d"]).expect("a plan");
    let prices: Vec<String> = plan
        .choices
        .iter()
        .map(|c| format!("{} {}", c.price, c.usage.0[0].0))
        .collect();
    assert_eq!(prices, ["$0.0068/h PREPAID_CPUS:n2d", "$0.6828/h N2D_CPUS"]);
    // A machine counts against the commitment, whichever choice it came from.
    let [paid, full] = &plan.choices[..] else {
        panic!("two choices")
    };
    let count = |choice: &Choice| {
        let usage = planner.usage(&Footprint::from(&*choice.shape));
        usage.0.iter().filter(|(metric, _)| metric.is_prepaid()).count()
    };
    assert_eq!((count(paid), count(full)), (2, 2));
}

#[test]
fn prices_that_are_not_known_are_told_at_the_start() {
    assert!(planner("", IOWA).expect("known places").warnings().is_empty());
    let planner = planner(
        "catalog = [\"mars.toml\"]",
        "regions = [\"us-west3\", \"mars-north1\"]\n",
    )
    .expect("a region that was added");
    insta::assert_snapshot!(planner.warnings().join("\n"), @r"
    no prices are known in mars-north1 for a2, a3, c2, c2d, c3, c3d, c4, c4a, c4d, c4n, e2, g2, g4, h3, m1, m2 and 11 more: those of us-central1 stand in; give them in a file of `catalog`
    no prices are known in us-west3 for c4a and n4a: those of us-central1 stand in; give them in a file of `catalog`
    ");
}
