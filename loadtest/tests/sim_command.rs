//! What `gust-loadtest sim` says to people.

use std::{
    path::Path,
    process::{Command, Output},
};

use gust_loadtest::virtual_gear::{INTENSITY, Profile, Scenario};

fn sim(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gust-loadtest"))
        .arg("sim")
        .args(args)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program starts")
}

fn exit(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

const BAD: &str = r#"
seed = 1
profile = "burst"
replicas = 3
latency_ms = [1, 20]
quiet_after_ms = 60000
patience_ms = 600000
limits = { base = "demo" }

[[builds]]
at_ms = 0
slug = "small"
pipeline = "steps: [{ key: one, command: run, agents: { queue: gust, cpu: 2, memory: 8 } }]"

[[faults]]
when = { at_ms = 5000 }
what = { kind = "replica-crush", replica = 0, down_ms = 1000 }

[[faults]]
when = { at_ms = 5000 }
what = { kind = "reply-429", point = "cloud-create", count = -3 }

[[faults]]
when = { at_ms = 90000 }
what = { kind = "etcd-gone", lasting_ms = 1000 }
"#;

#[test]
fn a_bad_scenario_is_refused_with_path_and_hint() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), BAD).unwrap();
    let first = sim(dir.path(), &["--scenario", "bad.toml"]);
    assert_eq!(exit(&first), 2);
    assert_eq!(String::from_utf8_lossy(&first.stdout), "");
    let odd = BAD
        .replace("replica-crush", "replica-crash")
        .replace("replica = 0", "replica = \"first\"");
    std::fs::write(dir.path().join("odd.toml"), odd).unwrap();
    let third = sim(dir.path(), &["--scenario", "odd.toml"]);
    // Times are judged once everything else can be read.
    let mended = BAD.replace("crush", "crash").replace("-3", "3");
    std::fs::write(dir.path().join("late.toml"), mended).unwrap();
    let second = sim(dir.path(), &["--scenario", "late.toml"]);
    assert_eq!(exit(&second), 2);
    let absent = sim(dir.path(), &["--scenario", "absent.toml"]);
    assert_eq!(exit(&absent), 2);
    let said = [&first, &third, &second, &absent].map(|output| String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(said.concat());
}

#[test]
fn what_makes_no_sense_on_the_command_line_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let said: Vec<String> = [
        vec!["--profile", "birst"],
        vec!["--replicas", "0"],
        vec!["--seeds", "0"],
        vec!["--trace"],
        vec!["--seed", "1", "--long"],
        vec!["--seed", "1", "--keep", "A b"],
        vec!["--seed", "1", "--keep", "some-name"],
    ]
    .iter()
    .map(|args| {
        let output = sim(dir.path(), args);
        assert_eq!(exit(&output), 2, "{args:?}");
        format!(
            "$ sim {}\n{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_scenario_that_was_printed_reads_as_the_one_that_was_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--seed",
        "9",
        "--profile",
        "trickle",
        "--replicas",
        "3",
        "--print",
    ];
    let output = sim(dir.path(), &args);
    assert_eq!(exit(&output), 0);
    let text = String::from_utf8(output.stdout).unwrap();
    let read = Scenario::parse("printed.toml", &text).unwrap();
    assert_eq!(read, Scenario::draw(9, Profile::Trickle, 3, INTENSITY));
}

/// Nobody has any quota, and nobody waits long.
fn hopeless() -> String {
    let quotas = [
        "CPUS", "E2_CPUS", "N2_CPUS", "N2D_CPUS", "T2D_CPUS", "C2_CPUS", "C2D_CPUS", "C3_CPUS",
    ]
    .map(|name| format!("{name} = 0.0\n"))
    .concat();
    let families = ["C3D", "C4", "C4D", "N4", "N4D"]
        .map(|name| format!("{name} = 0.0\n"))
        .concat();
    let scenario = BAD.split("[[faults]]").next().expect("a split has a first part").replace(
        "limits = { base = \"demo\" }",
        "limits = { base = \"demo\", change = { gce = { quotas = {QUOTAS}, family_quotas = {FAMILIES}, project_quotas = { CPUS_ALL_REGIONS = 0.0 } } } }",
    );
    let inline = |lines: &str| format!("{{ {} }}", lines.trim().replace('\n', ", "));
    scenario
        .replace("{QUOTAS}", &inline(&quotas))
        .replace("{FAMILIES}", &inline(&families))
        .replace("quiet_after_ms = 60000", "quiet_after_ms = 10000")
        .replace("patience_ms = 600000", "patience_ms = 120000")
}

#[test]
fn a_run_without_progress_ends_and_says_what_each_task_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hopeless.toml"), hopeless()).unwrap();
    let output = sim(dir.path(), &["--scenario", "hopeless.toml"]);
    assert_eq!(exit(&output), 1, "{}", String::from_utf8_lossy(&output.stderr));
    let said =
        String::from_utf8_lossy(&output.stdout).replace(env!("CARGO_BIN_EXE_gust-loadtest"), "gust-loadtest");
    insta::with_settings!({ filters => vec![(r"in \d+\.\d s", "in [real] s")] }, {
        insta::assert_snapshot!(said);
    });
}
