//! What authors of pipelines read when their tags are wrong, from tags to the sentence on the job.

use std::collections::BTreeMap;

use gust_core::catalog::Catalog;
use gust_core::ids::{ProjectId, Region};
use gust_core::offer::{Placement, Site, offers_or_why};
use gust_core::request::{Allow, Bounds, Cpus, Defaults, Gib, Mib, Models, Policy, Request, UnknownTags};

fn rules(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn placement(policy: &Policy) -> Placement {
    let regions = ["us-central1", "us-east4"].map(|r| (Region::from(r), Vec::new()));
    let site = Site {
        project: ProjectId::from("ci"),
        regions: BTreeMap::from(regions),
    };
    Placement::new(&Catalog::builtin(), &[site], policy).expect("both regions are in the catalog")
}

/// The sentence on the job for each line of tags, under a policy.
fn sentences(lines: &[&str], policy: &Policy) -> String {
    let catalog = Catalog::builtin();
    let placement = placement(policy);
    let mut report = Vec::new();
    for line in lines {
        let (full, short) = match Request::parse(&rules(line), policy) {
            Err(error) => (error.render(), error.short()),
            Ok(request) => match offers_or_why(&request, &catalog, &placement) {
                Err(impossible) => (impossible.render(), impossible.short()),
                Ok(offers) => panic!("{line} should be refused, got {:?}", offers[0].machine_type),
            },
        };
        assert!(full.len() <= 4096, "{line}");
        assert!(short.chars().count() <= 256, "{line}: {short}");
        report.push(format!("{line}\n  {}", full.replace('\n', "\n  ")));
    }
    report.join("\n\n")
}

#[test]
fn malformed_tags_are_named_with_the_nearest_valid_one() {
    let lines = [
        "cpu",
        "cpu:8",
        "spot",
        "=8",
        "memroy=64",
        "vcpus=8",
        "localssd=1",
        "team=storage",
        "cpu=8 cpu=16",
        "cpu=eight",
        "cpu=2.5",
        "cpu=0",
        "cpu=16+8",
        "cpu=8-16",
        "cpu=-4",
        "memory=64K",
        "memory=16GiBs",
        "memory=128+64",
        "disk=5",
        "disk=100000",
        "disk=big",
        "local-ssd=375",
        "local-ssd=yes",
        "family=n2d,c3d",
        "family=|",
        "arch=x86",
        "arch=sparc",
        "spot=yes",
        "spot=prefered",
        "gpu=1",
        "backend=lambda",
        "max-run=90",
        "max-run=10s",
        "max-run=1000d",
        "max-run=soon",
        "os=windows",
        "region=us-central1 zone=us-east4-a",
        "cpu=x memory=y dsik=50 spot=perhaps",
    ];
    insta::assert_snapshot!(sentences(&lines, &Policy::default()));
}

#[test]
fn impossible_requests_are_told_the_nearest_possible_one() {
    let lines = [
        "cpu=1 memory=700",
        "cpu=3 memory=8",
        "cpu=7 memory=28 family=n2d",
        "cpu=4 memory=64 family=e2",
        "cpu=4 memory=1000",
        "cpu=8 memory=100 family=n2d spot=true",
        "cpu=4 memory=200 spot=true",
        "cpu=64 memory=20000",
        "cpu=1000 memory=2000",
        "cpu=8 memory=17+17 family=c3d",
        "cpu=8 memory=32 local-ssd=1 family=e2",
        "cpu=16 memory=64 local-ssd=30 family=n2d",
        "cpu=8 memory=32 local-ssd=1 family=c2d|e2 arch=arm64",
        "cpu=8 memory=32 arch=arm64 family=n2",
        "cpu=8 memory=32 family=n2dd",
        "cpu=8 memory=32 family=n2d|c33",
        "cpu=8 memory=32 family=m9",
        "cpu=8 memory=32 disk-type=pd-ssd family=n4",
        "cpu=8 memory=32 disk-type=pd-sdd",
        "cpu=8 memory=32 region=us-centrall1",
        "cpu=8 memory=32 region=europe-west4",
        "cpu=8 memory=32 zone=us-central1-d",
        "cpu=8 memory=32 family=t2a region=us-east4",
        "cpu=8 memory=64 gpu=nvidia-l4:1",
        "gpu=l4",
        "gpu=nvidia-l4:3",
        "gpu=nvidia-l4:1 family=n2d",
        "gpu=nvidia-tesla-t4:2 cpu=64 memory=128",
        "gpu=nvidia-tesla-t4:1 zone=us-central1-c region=us-central1 arch=arm64",
        "gpu=nvidia-h100-80gb:1",
        "gpu=nvidia-b200:8",
        "machine-type=n2d-standard-17",
        "machine-type=n2d-custom-6-12345",
        "machine-type=x4-480-6t-metal",
        "machine-type=e2-micro",
        "machine-type=n2d-standard-16 cpu=8",
        "machine-type=n2d-standard-16 memory=128",
    ];
    insta::assert_snapshot!(sentences(&lines, &Policy::default()));
}

#[test]
fn what_the_operator_forbids_is_refused_with_what_is_allowed() {
    let policy = Policy {
        tag_prefix: "gust-".to_owned(),
        bounds: Bounds {
            families: Allow::Only(vec!["n2d".into(), "c4a".into()]),
            machine_types: Allow::Only(vec!["n2d-*".into(), "c4a-highcpu-*".into()]),
            regions: Allow::Only(vec!["us-central1".into()]),
            service_accounts: Allow::Only(vec!["build@ci.iam.gserviceaccount.com".into()]),
            models: Models::OnDemand,
            max_cpu: Some(Cpus(32)),
            max_memory_mib: Some(Mib::gib(128)),
            max_disk_gib: Some(Gib(500)),
            max_local_ssd: Some(2),
            max_run_s: Some(7200),
            ..Bounds::default()
        },
        ..Policy::default()
    };
    let lines = [
        "gust-cpu=64",
        "gust-cpu=8+64",
        "gust-memory=256",
        "gust-disk=1Ti",
        "gust-local-ssd=8",
        "gust-family=n2d|c3d",
        "gust-family=c3",
        "gust-machine-type=c4a-standard-8",
        "gust-region=us-east4",
        "gust-zone=us-east4-a",
        "gust-spot=true",
        "gust-image=my-miner",
        "gust-service-account=buld@ci.iam.gserviceaccount.com",
        "gust-cache=warm",
        "gust-backend=process",
        "gust-max-run=3h",
        "cpu=8",
        "gust-cpu=8 gust-memory=32 gust-arch=arm64",
    ];
    insta::assert_snapshot!(sentences(&lines, &policy));
}

#[test]
fn hostile_tags_cannot_flood_or_break_what_people_read() {
    let policy = Policy::default();
    let mut many: Vec<String> = (0..5_000)
        .map(|i| format!("tag{i}={}", "x".repeat(500)))
        .collect();
    many.push("cpu=\u{1b}[2J`\n".to_owned());
    many.insert(0, "cpu=\u{1b}[2J`\nhello".to_owned());
    let error = Request::parse(&many, &policy).expect_err("nothing of this is a tag");
    assert!(error.render().len() <= 4096);
    assert!(error.short().chars().count() <= 256);
    assert!(!error.render().contains('\u{1b}'));
    assert_eq!(error.render().matches("[2J").count(), 1);
    assert!(error.problems().len() <= 66, "work is bounded too");
}

#[test]
fn empty_and_starred_values_ask_for_nothing() {
    let policy = Policy::default();
    let plain = Request::parse(&[], &policy).expect("all defaults");
    let starred: Vec<String> = ["*", "cpu=*", "memory=", "queue=gust", "spot= ", "family=*"]
        .map(str::to_owned)
        .into();
    assert_eq!(Request::parse(&starred, &policy).as_ref(), Ok(&plain));
    assert_eq!(plain, policy.default_request());
    assert_eq!(plain.canonical(), "cpu=2 memory=8 disk=50 arch=amd64 spot=false");
}

#[test]
fn unknown_tags_are_left_to_others_where_the_operator_says_so() {
    let policy = Policy {
        unknown_tags: UnknownTags::Ignore,
        ..Policy::default()
    };
    let request = Request::parse(&rules("team=storage cpu=4"), &policy).expect("team is ignored");
    assert_eq!(request.cpu.min, Cpus(4));
}

#[test]
fn a_default_is_always_allowed() {
    let defaults = Defaults {
        image: Some("debian-12".into()),
        max_run_s: Some(9000),
        ..Defaults::default()
    };
    let bounds = Bounds {
        max_run_s: Some(60),
        models: Models::Spot,
        ..Bounds::default()
    };
    let policy = Policy {
        defaults,
        bounds,
        ..Policy::default()
    };
    let request = policy.default_request();
    let again = Request::parse(&request.to_rules(""), &policy);
    assert_eq!(again, Ok(request));
}
