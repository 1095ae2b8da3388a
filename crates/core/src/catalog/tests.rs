use super::*;
use crate::shape::Arch;

fn region(name: &str) -> Region {
    Region::from(name)
}

fn chain(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = format!("[{}] {error}", error.code());
    let mut cause = error.source();
    while let Some(e) = cause {
        text.push_str(&format!("\n  {}", e.to_string().trim_end().replace('\n', "\n  ")));
        cause = e.source();
    }
    text
}

/// Families in regions whose prices neither public list has: those of us-central1 stand in.
const UNPRICED: &[(&str, &str)] = &[
    ("c4a", "europe-west6"),
    ("c4a", "southamerica-east1"),
    ("c4a", "us-west3"),
    ("c4d", "australia-southeast1"),
    ("c4d", "northamerica-northeast1"),
    ("n4a", "asia-south1"),
    ("n4a", "us-west3"),
];

#[test]
fn every_builtin_family_is_dated_sourced_priced_and_placed() {
    let catalog = Catalog::builtin();
    let names: Vec<_> = catalog.families().map(|f| f.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a2", "a3", "c2", "c2d", "c3", "c3d", "c4", "c4a", "c4d", "c4n", "e2", "g2", "g4", "h3", "m1",
            "m2", "m3", "m4", "n1", "n2", "n2d", "n4", "n4a", "n4d", "t2a", "t2d", "z3"
        ]
    );
    let mut unpriced = Vec::new();
    for family in catalog.families() {
        let name = family.name.as_str();
        assert!(family.as_of.starts_with("2026-"), "{name}");
        assert!(!family.source.is_empty(), "{name}");
        assert!(family.zones.contains_key(&region("us-central1")), "{name}");
        for place in family.zones.keys() {
            let (of, prices) = family.prices(place);
            if of != place {
                unpriced.push((name, place.as_str()));
            }
            assert!(prices.as_of.starts_with("2026-"), "{name} in {place}");
            assert!(!prices.source.is_empty(), "{name} in {place}");
            assert!(prices.sells(ProvisioningModel::Standard), "{name} in {place}");
            let spot = prices.sells(ProvisioningModel::Spot);
            assert_eq!(
                spot,
                name != "m2",
                "{name} in {place}: all but m2 are sold on Spot"
            );
        }
        for t in family.types() {
            assert!(
                t.cpus > 0 && t.memory_mib >= 512 * u64::from(t.cpus),
                "{}",
                t.name
            );
            assert!(t.name.as_str().starts_with(name), "{}", t.name);
            let found = catalog
                .machine_type(&t.name)
                .expect("every type is found by its name");
            assert_eq!(
                (found.cpus, found.memory_mib, &found.family.name),
                (t.cpus, t.memory_mib, &family.name)
            );
        }
    }
    assert_eq!(unpriced, UNPRICED);
}

#[test]
fn spot_is_cheaper_and_custom_types_dearer_in_every_region() {
    for family in Catalog::builtin().families() {
        for place in family.zones.keys() {
            let (_, prices) = family.prices(place);
            let of = format!("{} in {place}", family.name);
            for t in family.types() {
                if let Some(Some(standard)) = prices.whole(&t.name, ProvisioningModel::Standard)
                    && let Some(Some(spot)) = prices.whole(&t.name, ProvisioningModel::Spot)
                {
                    assert!(spot < standard, "{} in {place}", t.name);
                }
            }
            let Some(standard) = prices.rate(false, ProvisioningModel::Standard) else {
                continue;
            };
            let spot = prices.rate(false, ProvisioningModel::Spot).expect("sold on Spot");
            assert!(standard.vcpu > spot.vcpu && spot.vcpu.0 > 0, "{of}");
            let Some(rule) = &family.custom else { continue };
            let cpus = rule.cpus().iter().find(|c| **c > 1).expect("some custom size");
            let memory = rule
                .least_memory(*cpus, 0)
                .expect("the smallest memory is allowed");
            for model in [ProvisioningModel::Standard, ProvisioningModel::Spot] {
                let custom = prices.rate(true, model).expect("custom types have prices");
                let plain = prices.rate(false, model).expect("checked above");
                let premium = custom.of(*cpus, memory) as f64 / plain.of(*cpus, memory) as f64;
                assert!(
                    (1.049..1.051).contains(&premium),
                    "{of}: custom is {premium} of predefined"
                );
            }
        }
    }
}

#[test]
fn known_facts_are_read_back() {
    let catalog = Catalog::builtin();
    let size = |name: &str| {
        catalog
            .machine_type(&name.into())
            .map(|f| (f.cpus, f.memory_mib / 1024))
    };
    assert_eq!(size("n2d-standard-16"), Some((16, 64)));
    assert_eq!(size("n2-highmem-128"), Some((128, 864)));
    assert_eq!(size("c3d-highcpu-360"), Some((360, 708)));
    assert_eq!(size("c4-standard-2"), Some((2, 7)));
    assert_eq!(size("c4a-highcpu-64"), Some((64, 128)));
    assert_eq!(
        size("custom-8-8192"),
        Some((8, 8)),
        "N1's custom types have no prefix"
    );
    assert_eq!(size("n2d-custom-8-20480"), Some((8, 20)));
    assert_eq!(size("n2d-custom-6-20480"), None, "n2d has no 6");
    assert_eq!(size("n2d-custom-8-20481"), None, "memory goes in steps of 256");
    assert_eq!(
        size("n2d-custom-08-20480"),
        None,
        "only the one spelling Google takes"
    );
    assert_eq!(size("e2-custom-32-262144"), None, "at most 128 GiB");
    assert_eq!(size("c3-standard-4-lssd"), Some((4, 16)));
    assert_eq!(size("c3-highmem-4-lssd"), None);
    assert_eq!(size("m1-ultramem-40"), Some((40, 961)));
    assert_eq!(size("n2d-custom-8-131072-ext"), Some((8, 128)));
    assert_eq!(
        size("n2d-custom-8-131072"),
        None,
        "extended memory is in the name"
    );
    assert_eq!(size("n2d-custom-8-20480-ext"), None, "and only where it is used");
    assert_eq!(size("n2d-custom-8-786688-ext"), None, "768 GiB is the end");
    assert_eq!(size("e2-custom-8-131072-ext"), None, "e2 has none");
    assert_eq!(size("g2-standard-4"), Some((4, 16)));
    let l4s = |name: &str| catalog.machine_type(&name.into())?.predefined?.gpus.clone();
    assert_eq!(l4s("g2-standard-24").map(|g| g.count), Some(2));
    assert_eq!(l4s("n2-standard-2"), None);
    let t2a = catalog.family("t2a").expect("is there");
    assert_eq!(t2a.arch, Arch::Arm64);
    assert_eq!(t2a.zones.len(), 3);
}

#[test]
fn overrides_change_single_keys_and_can_add_or_remove() {
    let text = r#"
        [family.n2d.prices.europe-west4]
        as_of = "2026-11-01"
        source = "our contract"
        on_demand = { vcpu = "0.02", gib = "0.003" }
        custom_premium_percent = 5
        local_ssd = { on_demand = "0.08", spot = "0.04" }
        [family.n1]
        offered = false
        [regions.zones]
        mars-north1 = ["a"]
    "#;
    let catalog = Catalog::builtin()
        .merge(&[("gust.toml", text)])
        .expect("a good override");
    assert!(catalog.family("n1").is_none());
    let n2d = catalog.family("n2d").expect("is there");
    let (_, dutch) = n2d.prices(&region("europe-west4"));
    assert_eq!(dutch.source, "our contract");
    assert_eq!(n2d.prices(&region("mars-north1")).0, &region("us-central1"));
    let again = catalog
        .merge(&[("more.toml", "[family.n1]\noffered = true\n")])
        .expect("a good override");
    assert!(again.family("n1").is_some(), "overrides pile up");
}

#[test]
fn bad_data_is_refused_with_its_place() {
    let refused = |text: &str| {
        let error = Catalog::builtin()
            .merge(&[("good.toml", ""), ("gust.toml", text)])
            .expect_err(text);
        chain(&error)
    };
    let report: Vec<String> = [
        "family = ",
        "[family.n2d]\nqouta = \"X\"\n",
        "[family.n2d.prices.us-central1]\non_demand = { vcpu = \"0.1\" , gip = \"1\" }\n",
        "[family.n2d.prices.us-central1]\non_demand = { vcpu = 0.1 }\n",
        "[family.n2d.prices.us-central1]\non_demand = { vcpu = \"free\", gib = \"0\" }\n",
        "[family.n2d]\narch = \"sparc\"\n",
        "[family.n2d]\nboot_disks = [\"floppy\"]\n",
        "[family.n2d]\nnot_in = [\"us-centrall1\"]\n",
        "[family.n2d]\nnot_in_zones = [\"us-central1-z\"]\n",
        "[[family.n2d.types]]\nclass = \"standard\"\ncpus = [2, 4]\nmemory_mib = [1024]\n",
        "[family.n2d.custom]\nmemory_step_mib = 0\n",
        "[family.q9]\narch = \"amd64\"\n",
        "[family.n2d.prices.us-centrall1]\nas_of = \"x\"\nsource = \"x\"\non_demand = { vcpu = \"1\", gib = \"1\" }\ncustom_premium_percent = 5\nlocal_ssd = { on_demand = \"1\", spot = \"1\" }\n",
        "[regions.zones]\nmars1 = [\"a\"]\n[family.e2.prices.mars1]\non_demand = { vcpu = \"1\", gib = \"1\" }\ncustom_premium_percent = 5\n",
        "[family.g2.prices.us-central1.types]\ng2-standard-5 = { on_demand = \"1\" }\n",
        "[[family.g2.named]]\nname = \"g2-standard-5\"\ncpus = 5\nmemory_mib = 1024\ngpu = \"nvidia-l5\"\ngpus = 1\n",
        "[[family.g2.named]]\nname = \"g2-standard-5\"\ncpus = 5\nmemory_mib = 1024\ngpus = 1\n",
        "[family.n2.attach_gpu]\nnvidia-l4 = [{ count = 1, max_cpus = 8, max_memory_mib = 1024 }]\n",
        "[gpu.nvidia-tesla-t4.prices]\nmars-north1 = { on_demand = \"1\", spot = \"1\" }\n",
        "[gpu.nvidia-l4]\nzone = []\n",
        "[disk.pd-ssd]\nmin_gib = 0\n",
        "[regions.zones]\nmoon1 = []\n",
        "[[family.n2d.types]]\nclass = \"highcpu\"\ncpus = [2, 224]\nmib_per_cpu = 297110125164533072\n",
        "[family.n2d]\nvcpu_quota = \"N2D_CPU\"\n",
        "[family.c3d]\nvcpu_quota = \"CPUS_PER_VM_FAMILY:c3d\"\n",
        "[disk.pd-balanced.prices]\nus-centrall1 = \"0.1\"\n",
        "[regions.zones]\neurope-west9 = [\"europe-west9-a\"]\n",
        "[family.n2d.local_ssd]\nattach = [{ from = 16, to = 8, counts = [1] }]\n",
        "[family.n2d.local_ssd]\nattach = [{ from = 2, to = 8, counts = [] }]\n",
        "[family.n2d.custom]\ncpu_ranges = [{ from = 2, to = 4294967295, step = 1 }]\n",
        "[family.n2d.custom]\ncpu_ranges = [{ from = 8, to = 2, step = 2 }]\n",
    ]
    .into_iter()
    .map(refused)
    .collect();
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn custom_memory_is_the_least_that_is_allowed() {
    let catalog = Catalog::builtin();
    let rule = catalog
        .family("n2d")
        .and_then(|f| f.custom.clone())
        .expect("n2d has custom types");
    assert_eq!(rule.least_memory(8, 20_000), Some(20_224));
    assert_eq!(rule.least_memory(8, 0), Some(4_096));
    assert_eq!(rule.least_memory(8, 65_536), Some(65_536));
    assert_eq!(rule.least_memory(8, 65_537), Some(65_792), "extended");
    assert_eq!(rule.name(8, 65_536).as_str(), "n2d-custom-8-65536");
    assert_eq!(rule.name(8, 65_792).as_str(), "n2d-custom-8-65792-ext");
    assert_eq!(rule.least_memory(8, 786_433), None);
    assert_eq!(rule.least_memory(7, 8_192), None);
}
