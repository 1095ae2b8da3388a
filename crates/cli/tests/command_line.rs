//! What a person meets who gives `gust` something it cannot work with: the words, and the exit code.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

const GUST: &str = env!("CARGO_BIN_EXE_gust");

fn gust(dir: &Path, args: &[&str]) -> Output {
    Command::new(GUST)
        .args(args)
        .current_dir(dir)
        .env("TMPDIR", dir)
        .env("NO_COLOR", "1")
        .env("BUILDKITE_AGENT_TOKEN", "bkct_hidden")
        .env_remove("GUST_BUILDKITE_AGENT")
        .output()
        .expect("gust starts")
}

/// Exit code and last words. Whatever happened, no secret is among them.
fn told(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = gust(dir, args);
    let words = String::from_utf8(output.stderr).expect("text");
    assert!(!words.contains("bkct_hidden"), "leaked: {words}");
    let lines = words.lines().skip_while(|line| !line.starts_with("error: "));
    let words = lines.collect::<Vec<_>>().join("\n");
    (output.status.code().expect("an exit code"), words)
}

/// A sound configuration of a replica that reaches nobody.
fn config(listen: &str) -> String {
    format!(
        r#"
stack = "test"
listen = "{listen}"
data_dir = "data"

[[source]]
name = "main"
endpoint = "http://127.0.0.1:1/v3"
token = {{ env = "BUILDKITE_AGENT_TOKEN" }}
queues = ["gust"]

[[project]]
id = "gust-demo"
regions = ["us-central1"]
service_account = "gust@gust-demo.iam.gserviceaccount.com"
images = {{ amd64 = "projects/p/global/images/family/f" }}
endpoint = "http://127.0.0.1:1"
credentials = "anonymous"
"#
    )
}

#[test]
fn an_absent_configuration_ends_with_3() {
    let world = tempfile::tempdir().unwrap();
    let (code, words) = told(world.path(), &["serve", "--config", "absent.toml"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!("absent_configuration", words);
}

#[test]
fn a_broken_configuration_ends_with_3() {
    let world = tempfile::tempdir().unwrap();
    let text = config("127.0.0.1:0").replace("queues", "queus");
    fs::write(world.path().join("gust.toml"), text).unwrap();
    let (code, words) = told(world.path(), &["serve", "--config", "gust.toml"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!("broken_configuration", words);
}

#[test]
fn a_port_in_use_ends_with_4() {
    let world = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(world.path().join("gust.toml"), config(&address)).unwrap();
    let (code, words) = told(world.path(), &["serve", "--config", "gust.toml"]);
    assert_eq!(code, 4, "{words}");
    insta::assert_snapshot!("port_in_use", words.replace(&address, "ADDRESS"));
}

#[test]
fn a_damaged_store_ends_with_5() {
    let world = tempfile::tempdir().unwrap();
    fs::write(world.path().join("gust.toml"), config("127.0.0.1:0")).unwrap();
    fs::create_dir(world.path().join("data")).unwrap();
    fs::write(world.path().join("data/gust.redb"), vec![b'x'; 100_000]).unwrap();
    let (code, words) = told(world.path(), &["serve", "--config", "gust.toml"]);
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("gust.redb"), "names the file: {words}");
}

#[test]
fn a_table_that_makes_no_sense_ends_with_3() {
    let world = tempfile::tempdir().unwrap();
    let text = "step,arch,cpu,memory_gib\na,amd46,4,8\n";
    fs::write(world.path().join("mix.csv"), text).unwrap();
    let beside = Path::new(GUST).parent().unwrap();
    if !["gust-fakes", "gust-guest"]
        .iter()
        .all(|name| beside.join(name).exists())
    {
        eprintln!("SKIPPED: gust-fakes and gust-guest are not built");
        return;
    }
    let (code, words) = told(world.path(), &["demo", "--mix", "mix.csv"]);
    assert_eq!(code, 3, "{words}");
    insta::assert_snapshot!("senseless_table", words);
}

#[test]
fn a_demo_without_its_programs_ends_with_12() {
    let world = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = world.path().join("gust");
    // A copy cannot run for as long as a child of another test has it open for writing from the fork on.
    fs::hard_link(GUST, &alone)
        .or_else(|_| fs::copy(GUST, &alone).map(drop))
        .unwrap();
    let output = Command::new(&alone).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    let words = String::from_utf8(output.stderr).unwrap();
    let dir = fs::canonicalize(world.path()).unwrap();
    insta::assert_snapshot!("lonely_demo", words.replace(dir.to_str().unwrap(), "DIR"));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let world = tempfile::tempdir().unwrap();
    let both = ["demo", "--mix", "a.csv", "--pipeline", "b.yml"];
    assert_eq!(gust(world.path(), &both).status.code(), Some(2));
    assert_eq!(gust(world.path(), &["explian"]).status.code(), Some(2));
    assert_eq!(gust(world.path(), &["explain", "16"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_had_ends_with_7_and_what_cannot_be_read_with_3() {
    let world = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| gust(world.path(), args).status.code();
    assert_eq!(code(&["explain", "cpu=16"]), Some(0));
    assert_eq!(code(&["explain", "--cpu", "1", "--memory", "700"]), Some(7));
    assert_eq!(code(&["explain", "--config", "nowhere.toml"]), Some(3));
    let lint = |text: &str| {
        fs::write(world.path().join("pipeline.yml"), text).unwrap();
        code(&["lint", "pipeline.yml", "--json"])
    };
    assert_eq!(lint("steps: [{ command: x, agents: { cpu: 4 } }]"), Some(0));
    assert_eq!(lint("steps: [{ command: x, agents: { cpu: many } }]"), Some(7));
    assert_eq!(lint("steps: 4"), Some(3));
    assert_eq!(code(&["lint", "nowhere.yml"]), Some(3));
}

#[test]
fn a_configuration_is_asked_about_its_own_queues_alone() {
    let world = tempfile::tempdir().unwrap();
    fs::write(world.path().join("gust.toml"), config("127.0.0.1:0")).unwrap();
    let of = |args: &[&str]| {
        let output = gust(world.path(), args);
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code().unwrap(), texts.concat())
    };
    let explain = ["explain", "--config", "gust.toml", "cpu=4"];
    for more in [["--queue", "nosuch"].as_slice(), &["queue=nosuch"]] {
        let (code, words) = of(&[&explain, more].concat());
        assert_eq!(code, 2, "{words}");
        assert!(
            words.contains("`nosuch`") && words.contains("it serves gust"),
            "{words}"
        );
    }
    assert_eq!(of(&[&explain[..], &["--queue", "gust"]].concat()).0, 0);

    let pipeline = "steps:\n- { command: x, agents: { queue: gust, cpu: 4 } }\n- { command: y, agents: { queue: macos, xcode: 15 } }\n";
    fs::write(world.path().join("pipeline.yml"), pipeline).unwrap();
    let lint = ["lint", "--config", "gust.toml", "pipeline.yml"];
    let (code, words) = of(&lint);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("1 of other queues left out (macos)"), "{words}");
    let (code, words) = of(&[&lint[..], &["--queue", "macos"]].concat());
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("it serves gust"), "{words}");
}
