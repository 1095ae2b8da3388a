//! The grammar of tags: what is read, and that the canonical form says the same.

use gust_core::ids::{MachineTypeName, Region, Zone};
use gust_core::request::{
    Allow, Backend, Bounds, Cpus, Defaults, Gib, Gpu, Mib, Policy, Range, Request, Spot, Tag,
};
use gust_core::shape::Arch;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

fn parse(line: &str) -> Request {
    let rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Request::parse(&rules, &open_policy()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// A policy that bounds nothing, so that the grammar alone is tested.
fn open_policy() -> Policy {
    let bounds = Bounds {
        images: Allow::Any,
        service_accounts: Allow::Any,
        caches: Allow::Any,
        backends: Backend::ALL.to_vec(),
        ..Bounds::default()
    };
    Policy {
        bounds,
        ..Policy::default()
    }
}

#[test]
fn sizes_are_read_in_every_usual_spelling() {
    for (text, mib) in [
        ("64", 65_536),
        ("64G", 65_536),
        ("64GB", 65_536),
        ("64Gi", 65_536),
        ("64GiB", 65_536),
        ("65536Mi", 65_536),
        ("65536MB", 65_536),
        ("7.5", 7_680),
        ("0.9", 922),
        ("1Ti", 1_048_576),
    ] {
        let request = parse(&format!("cpu=8 memory={text}"));
        assert_eq!(request.memory, Range::at_least(Mib(mib)), "{text}");
    }
    assert_eq!(
        parse("memory=32+64 cpu=8").memory,
        Range {
            min: Mib::gib(32),
            max: Some(Mib::gib(64))
        }
    );
    assert_eq!(parse("disk=1Ti").disk, Gib(1024));
    assert_eq!(parse("disk=10.5").disk, Gib(11));
}

#[test]
fn cpu_is_exact_unless_it_is_a_range() {
    assert_eq!(parse("cpu=8").cpu, Range::exactly(Cpus(8)));
    assert_eq!(
        parse("cpu=8+16").cpu,
        Range {
            min: Cpus(8),
            max: Some(Cpus(16))
        }
    );
    assert_eq!(parse("cpu=8+").cpu, Range::at_least(Cpus(8)));
}

#[test]
fn missing_sizes_follow_from_the_given_ones() {
    assert_eq!(parse("cpu=16").memory.min, Mib::gib(64), "4 GiB for each vCPU");
    assert_eq!(
        parse("memory=64").cpu,
        Range::at_least(Cpus(2)),
        "much memory needs more vCPUs"
    );
    let named = parse("machine-type=n2d-standard-16");
    assert_eq!(
        (named.cpu, named.memory),
        (Range::at_least(Cpus(1)), Range::at_least(Mib(0)))
    );
}

#[test]
fn families_and_machine_types_bring_their_architecture() {
    assert_eq!(parse("cpu=4").arch, Some(Arch::Amd64));
    assert_eq!(parse("cpu=4 family=c4a").arch, None);
    assert_eq!(parse("machine-type=c4a-highcpu-4").arch, None);
    assert_eq!(parse("cpu=4 arch=AARCH64").arch, Some(Arch::Arm64));
    assert_eq!(parse("cpu=4 arch=x86_64 family=n2d").arch, Some(Arch::Amd64));
}

#[test]
fn every_tag_reaches_the_request() {
    let request = parse(
        "queue=gust cpu=16 memory=64 disk=100 disk-type=pd-ssd|pd-balanced local-ssd=2 family=n2d|C3D|n2d \
         machine-type=n2d-standard-16 arch=amd64 spot=prefer gpu=nvidia-l4:2 region=us-east4|us-central1 \
         zone=us-east4-a image=family/debian-12 backend=process max-run=1h30m service-account=a@b.c cache=warm-1 os=linux",
    );
    assert_eq!(
        request.families.iter().map(|f| f.as_str()).collect::<Vec<_>>(),
        ["c3d", "n2d"]
    );
    assert_eq!(
        request.disk_types.iter().map(|d| d.as_str()).collect::<Vec<_>>(),
        ["pd-balanced", "pd-ssd"]
    );
    assert_eq!(
        request.gpu,
        Some(Gpu {
            kind: "nvidia-l4".into(),
            count: 2
        })
    );
    assert_eq!(request.max_run_s, Some(5400));
    assert_eq!(request.backend, Backend::Process);
    insta::assert_snapshot!(request.canonical(), @"cpu=16 memory=64 disk=100 disk-type=pd-balanced|pd-ssd local-ssd=2 family=c3d|n2d machine-type=n2d-standard-16 arch=amd64 spot=prefer gpu=nvidia-l4:2 region=us-central1|us-east4 zone=us-east4-a image=family/debian-12 backend=process max-run=1h30m service-account=a@b.c cache=warm-1");
}

#[test]
fn every_tag_name_is_found_again() {
    for tag in Tag::ALL {
        assert_eq!(Tag::of(tag.name()), Some(tag));
    }
}

fn ranges(most: u32) -> impl Strategy<Value = (u32, Option<u32>)> {
    (1..=most, prop::option::of(0..=most)).prop_map(|(min, more)| (min, more.map(|more| min + more)))
}

fn names<T: Ord + Clone + std::fmt::Debug + for<'a> From<&'a str> + 'static>(
    known: &'static [&'static str],
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::btree_set(prop::sample::select(known), 0..3)
        .prop_map(|set| set.into_iter().map(T::from).collect())
}

fn requests() -> impl Strategy<Value = Request> {
    let size = (ranges(500), ranges(4_000_000), 10_u64..65_536, 0_u32..64);
    let kinds = (
        names(&["pd-ssd", "pd-balanced"]),
        names(&["n2d", "c3d", "c4a"]),
        names::<MachineTypeName>(&["n2d-standard-16", "custom-2-4096"]),
        prop::option::of(prop_oneof![Just(Arch::Amd64), Just(Arch::Arm64)]),
        prop_oneof![Just(Spot::Never), Just(Spot::Prefer), Just(Spot::Only)],
    );
    let places = (names::<Region>(&["us-central1", "us-east4"]), any::<bool>());
    let rest = (
        prop::option::of("[a-z][a-z0-9/-]{0,40}"),
        prop::option::of(30_u64..1_000_000),
        prop::option::of("[a-z]{1,9}@[a-z]{1,9}"),
        prop::option::of(1_u32..=16),
        prop_oneof![
            Just(Backend::Gce),
            Just(Backend::CloudRun),
            Just(Backend::Process)
        ],
    );
    (size, kinds, places, rest).prop_map(|((cpu, memory, disk, local_ssd), kinds, places, rest)| Request {
        cpu: Range {
            min: Cpus(cpu.0),
            max: cpu.1.map(Cpus),
        },
        memory: Range {
            min: Mib(memory.0.into()),
            max: memory.1.map(|m| Mib(m.into())),
        },
        disk: Gib(disk),
        disk_types: kinds.0,
        local_ssd,
        families: kinds.1,
        machine_types: kinds.2,
        arch: kinds.3,
        spot: kinds.4,
        gpu: rest.3.map(|count| Gpu {
            kind: "nvidia-l4".into(),
            count,
        }),
        zones: if places.1 {
            places.0.iter().map(|r| Zone::new(format!("{r}-a"))).collect()
        } else {
            Vec::new()
        },
        regions: places.0,
        image: rest.0.clone(),
        backend: rest.4,
        max_run_s: rest.1,
        service_account: rest.2,
        cache: rest.0,
    })
}

proptest! {
    #[test]
    fn the_canonical_form_is_read_as_the_same_request(request in requests(), prefix in "([a-z]{1,5}-)?") {
        // A request without an architecture comes about where families or machine types are named.
        let defaults = Defaults { arch: None, ..Defaults::default() };
        let policy = Policy { tag_prefix: prefix.clone(), defaults, ..open_policy() };
        let again = Request::parse(&request.to_rules(&prefix), &policy);
        assert_eq!(again.as_ref().map_err(ToString::to_string), Ok(&request));
        assert_eq!(again.map(|r| r.canonical()), Ok(request.canonical()));
    }

    #[test]
    fn whatever_can_be_read_is_read_the_same_from_its_canonical_form(
        rules in prop::collection::vec("(cpu|memory|disk|local-ssd|family|arch|spot|max-run|machine-type|gpu)=[0-9a-z+|.*]{0,6}", 0..6)
    ) {
        let policy = Policy::default();
        if let Ok(request) = Request::parse(&rules, &policy) {
            assert_eq!(Request::parse(&request.to_rules(""), &policy), Ok(request));
        }
    }

    #[test]
    fn no_rules_whatever_break_the_reader_or_its_bounds(rules in prop::collection::vec(".{0,300}", 0..80)) {
        if let Err(error) = Request::parse(&rules, &Policy::default()) {
            assert!(!error.problems().is_empty());
            assert!(error.render().len() <= 4096);
            assert!(error.short().chars().count() <= 256);
        }
    }
}
