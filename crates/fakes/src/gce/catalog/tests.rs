use super::{Arch, Catalog, NoSuchType};

fn memory(name: &str) -> Option<u64> {
    Catalog::builtin()
        .machine_type(name)
        .ok()
        .map(|machine| machine.memory_mib)
}

#[test]
fn predefined_types_have_the_memory_that_google_lists() {
    for (name, mib) in [
        ("e2-micro", 1024),
        ("e2-standard-4", 16384),
        ("n1-standard-1", 3840),
        ("n1-highcpu-2", 1843),
        ("n2-highmem-128", 884_736),
        ("c3d-highcpu-60", 118 * 1024),
        ("c4-standard-2", 7 * 1024),
        ("c4-standard-8", 30 * 1024),
        ("c4d-standard-8", 31 * 1024),
        ("c4d-highmem-384", 3024 * 1024),
        ("c4d-highcpu-8", 15 * 1024),
        ("c4a-highcpu-64", 128 * 1024),
        ("t2a-standard-48", 192 * 1024),
    ] {
        assert_eq!(memory(name), Some(mib), "{name}");
    }
}

#[test]
fn all_sizes_of_the_monorepo_mix_exist_exactly_as_asked() {
    let catalog = Catalog::builtin();
    for (name, cpus, gib, arch) in [
        ("e2-custom-2-4096", 2, 4, Arch::Amd64),
        ("e2-custom-4-8192", 4, 8, Arch::Amd64),
        ("n2d-custom-8-16384", 8, 16, Arch::Amd64),
        ("n2-custom-16-32768", 16, 32, Arch::Amd64),
        ("n4-highcpu-64", 64, 128, Arch::Amd64),
        ("n2d-custom-64-131072", 64, 128, Arch::Amd64),
        ("n2-standard-48", 48, 192, Arch::Amd64),
        ("c4a-highcpu-2", 2, 4, Arch::Arm64),
        ("c4a-highcpu-4", 4, 8, Arch::Arm64),
        ("n4a-highcpu-8", 8, 16, Arch::Arm64),
        ("c4a-highcpu-16", 16, 32, Arch::Arm64),
        ("c4a-highcpu-64", 64, 128, Arch::Arm64),
    ] {
        let machine = catalog.machine_type(name).unwrap();
        assert_eq!(
            (machine.cpus, machine.memory_mib, machine.arch),
            (cpus, gib * 1024, arch),
            "{name}"
        );
    }
}

#[test]
fn custom_types_outside_the_rules_are_refused() {
    let catalog = Catalog::builtin();
    for name in [
        "e2-custom-3-4096",      // odd
        "e2-custom-34-34816",    // too many
        "e2-custom-4-4000",      // not a multiple of 256
        "e2-custom-2-32768",     // more than 8 GiB a vCPU
        "e2-custom-2-32768-ext", // no extended memory
        "n2-custom-34-65536",    // above 32 in steps of 4
        "n2d-custom-6-16384",    // only listed counts
        "n2d-custom-96-1048576-ext",
        "e2-custom-micro-4096",
    ] {
        assert!(
            matches!(catalog.machine_type(name), Err(NoSuchType::BadCustom(_))),
            "{name}"
        );
    }
    for name in [
        "c3-custom-4-8192",
        "x9-standard-4",
        "n2-standard-5",
        "n2-custom-a-b",
        "n2-custom-08-8192",
        "",
    ] {
        assert_eq!(catalog.machine_type(name), Err(NoSuchType::Unknown), "{name}");
    }
    assert_eq!(memory("n2d-custom-2-65536-ext"), Some(65536));
    assert_eq!(memory("custom-1-1024"), Some(1024));
    assert_eq!(memory("e2-custom-medium-6144"), Some(6144));
}

#[test]
fn every_family_is_whole() {
    let catalog = Catalog::builtin();
    let families: Vec<&str> = catalog.families().map(|(name, _)| &**name).collect();
    assert_eq!(
        families,
        [
            "c2", "c2d", "c3", "c3d", "c4", "c4a", "c4d", "e2", "n1", "n2", "n2d", "n4", "n4a", "n4d", "t2a",
            "t2d"
        ]
    );
    for (name, family) in catalog.families() {
        assert_ne!(
            family.metric.is_some(),
            family.per_family.is_some(),
            "{name} counts in one quota"
        );
        assert!(family.disks.contains(&family.default_disk), "{name}");
        for disk in &family.disks {
            assert!(catalog.disk_price_month(disk).is_some(), "{name} {disk}");
        }
    }
    for machine in catalog.types_in("us-central1-a") {
        assert!(
            machine.memory_mib > 0 && catalog.machine_price(machine, false) > 0.0,
            "{}",
            machine.name
        );
        assert!(catalog.machine_price(machine, true) > 0.0, "{}", machine.name);
    }
}

#[test]
fn local_ssd_rules_follow_family_and_size() {
    let catalog = Catalog::builtin();
    let counts = |family: &str, cpus| catalog.family(family).unwrap().ssd_counts(cpus).to_vec();
    assert_eq!(counts("n2", 16), [2, 4, 8, 16, 24]);
    assert_eq!(counts("n2d", 96), [8, 16, 24]);
    assert!(counts("e2", 8).is_empty());
    assert_eq!(
        catalog.machine_type("c4a-standard-16-lssd").unwrap().bundled_ssds,
        4
    );
    assert!(catalog.machine_type("c4a-highcpu-16-lssd").is_err());
    assert!(catalog.offers("us-central1-f", "t2a") && !catalog.offers("us-east4-a", "t2a"));
}
