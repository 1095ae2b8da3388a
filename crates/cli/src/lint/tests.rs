use gust_core::catalog::Catalog;

use super::*;

const PIPELINE: &str = r#"agents: { queue: gust, cpu: 4 }
defaults: &retry
  retry: { automatic: [{ exit_status: -1, limit: 2 }] }
steps:
  - label: ":rust: build"
    command: cargo build --release
    agents: { queue: gust, cpu: 16, memory: 64, region: us-central1 }
  - command: cargo test
  - wait
  - group: "more"
    steps:
      - label: typo
        command: x
        agents:
          queue: gust
          cpu: sixteen
          memori: 64
      - label: too much
        command: x
        agents:
          - queue=gust
          - cpu=1
          - memory=700
  - label: reclaimed
    command: x
    agents: { queue: gust, cpu: 8, spot: prefer, region: us-east4 }
  - label: reclaimed and run again
    command: x
    <<: *retry
    agents: { queue: gust, cpu: 8, spot: prefer, region: us-east4 }
  - label: later
    command: x
    agents: { queue: gust, cpu: "$CPUS" }
  - label: elsewhere
    command: x
    agents: { queue: macos }
  - block: go on?
"#;

fn verdict(text: &str) -> anyhow::Result<Verdict> {
    let planner = Planner::anywhere().expect("the catalog is a good one");
    let judge = Judge {
        planner: &planner,
        queues: &["gust".to_owned()],
        pipeline: "",
    };
    judge.pipeline_file(text)
}

#[test]
fn each_step_gets_its_machine_or_what_is_wrong_with_its_place() {
    let verdict = verdict(PIPELINE).expect("a pipeline");
    insta::assert_snapshot!("text", report::text(&verdict, "pipeline.yml"));
    assert!(!verdict.is_good());
}

#[test]
fn merged_tags_count_and_what_is_no_tag_is_told() {
    let text = r#"
base: &base { queue: gust, cpu: 4, memory: 8 }
region: &region { region: us-central1, memory: 1 }
steps:
  - label: merged
    command: x
    agents: { <<: *base, cpu: 16, region: us-central1 }
  - label: two merged
    command: x
    agents: { <<: [*base, *region] }
  - label: lists
    command: x
    agents:
      queue: gust
      cpu: [4, 8]
      family: [n2d, c3d]
      memory: { least: 4 }
      arch: mips
  - label: items
    command: x
    agents: [queue=gust, { cpu: 4 }]
  - label: a queue that is no queue
    command: x
    agents: { queue: [gust, other] }
"#;
    let verdict = verdict(text).expect("a pipeline");
    insta::assert_snapshot!("merged", report::text(&verdict, "pipeline.yml"));
}

#[test]
fn a_step_costs_as_often_as_it_runs() {
    let text = r#"
agents: { queue: gust, cpu: 4, region: us-central1 }
steps:
  - { label: once, command: x }
  - { label: sharded, command: x, parallelism: 20 }
  - { label: matrix, command: x, matrix: [a, b, c] }
  - { label: skipped, command: x, skip: "too slow" }
  - { label: who knows, command: x, parallelism: "$N" }
  - { label: later, command: x, matrix: [4, 8], agents: { queue: gust, cpu: "{{matrix}}" } }
  - group: skipped
    skip: true
    steps: [{ label: within, command: x }]
"#;
    let verdict = verdict(text).expect("a pipeline");
    insta::assert_snapshot!("times", report::text(&verdict, "pipeline.yml"));
}

#[test]
fn programs_read_the_same() {
    let one = "steps: [{ command: x, agents: { queue: gust, cpu: 0 } }]";
    let verdict = verdict(one).expect("a pipeline");
    insta::assert_snapshot!(
        "json",
        report::json(&verdict, "pipeline.yml", &Catalog::builtin())
    );
}

#[test]
fn a_tag_with_which_nothing_is_done_yet_is_noted() {
    let config = r#"
stack = "gust"
data_dir = "/var/lib/gust"
allow_literal_secrets = true
policy = { tag_prefix = "g-", allow = { caches = ["warm-*"] } }
[[source]]
name = "main"
token = "t"
queues = ["gust"]
[[project]]
id = "my-project"
regions = ["us-central1"]
service_account = "gust@my-project.iam.gserviceaccount.com"
images = { amd64 = "image" }
"#;
    let host = gust_server::config::Host;
    let config = gust_server::config::Config::parse(config, Path::new("/etc/gust.toml"), &host);
    let planner = Planner::new(&config.expect("it is sound"), Default::default()).expect("it plans");
    let judge = Judge {
        planner: &planner,
        queues: &[],
        pipeline: "",
    };
    let text = "steps:\n  - command: x\n    agents: { queue: gust, g-cpu: 2, g-cache: warm-1 }\n";
    let verdict = judge.pipeline_file(text).expect("a pipeline");
    assert!(verdict.is_good());
    insta::assert_snapshot!("cache", report::text(&verdict, "pipeline.yml"));
}

#[test]
fn what_is_no_pipeline_says_where() {
    for (text, says) in [
        ("", "empty"),
        ("steps: 4", "no list of `steps`"),
        ("steps:\n  - a: [1\n  - b: 2\n", "3:"),
        ("a: *nothing", "1:"),
    ] {
        let error = verdict(text).expect_err(text);
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
}

#[test]
fn a_file_that_repeats_itself_through_aliases_ends() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        text.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let error = verdict(&text).expect_err("too much");
    assert!(format!("{error:#}").contains("more than"), "{error:#}");
}

#[test]
fn lists_within_lists_without_end_are_refused_with_their_place() {
    let deep = [
        format!("steps:\n{}x\n", "- ".repeat(100_000)),
        format!("steps: {}", "[".repeat(100_000)),
        format!("steps: {}", "{a: ".repeat(100_000)),
        // Each repeats the one before, three levels deeper.
        (0..60).fold("a0: &a0 [[[x]]]\n".to_owned(), |text, n| {
            format!("{text}a{}: &a{} [[[*a{n}]]]\n", n + 1, n + 1)
        }),
    ];
    for text in deep {
        let error = yaml::read(&text).expect_err("too deep");
        // The scanner looks ahead in brackets, and has a limit of its own there.
        let says = |words: &str| error.message.contains(words);
        assert!(says("within each other") || says("recursion limit"), "{error}");
    }
}
