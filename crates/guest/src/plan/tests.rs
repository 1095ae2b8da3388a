use std::time::Duration;

use gust_core::{
    ids::{JobId, JobRef, SourceName},
    secret::Secret,
    time::Timestamp,
};

use super::*;

const HELP_3: &str = "OPTIONS:\n   --config value  Path [$BUILDKITE_AGENT_CONFIG]\n   \
    --acquire-job value\n   --name value\n   --endpoint value\n   --tags value\n   --build-path value\n   \
    --ping-mode value\n   --disconnect-after-uptime value\n   --cancel-grace-period value (default: 10)\n   \
    --bootstrap-script value\n";
const HELP_4: &str = "--acquire-job <id>, --name=<n>, --endpoint --tags --build-path --ping-mode \
    --disconnect-after-uptime --cancel-signal-timeout --cancel-cleanup-timeout --bootstrap-script";
const HELP_OLD: &str = "--acquire-job --name --endpoint --tags --build-path --cancel-grace-period";

fn assignment() -> Assignment {
    Assignment {
        job: JobRef {
            source: SourceName::new("main"),
            id: JobId(uuid::Uuid::from_u128(7)),
        },
        agent_endpoint: "https://agent.example/v3".to_owned(),
        token: Secret::new("bkjat_very_secret"),
        agent_token_fallback: false,
        token_expires_at: Timestamp(0),
        tags: vec!["queue=gust".to_owned(), "cpu=16".to_owned()],
        max_run: Duration::from_secs(60),
    }
}

fn plan(known: &Known, bootstrap: Option<&Path>) -> Plan {
    Plan::new(Ingredients {
        agent: Path::new("/usr/bin/buildkite-agent"),
        known,
        assignment: &assignment(),
        machine: &MachineName::new("gust-a-1"),
        builds: Path::new("/var/lib/gust/builds"),
        bootstrap,
    })
}

#[test]
fn the_command_line_of_version_3() {
    let known = Known::read("buildkite-agent version 3.136.3+8450.abc\n", HELP_3);
    insta::assert_debug_snapshot!(plan(&known, Some(Path::new("/var/lib/gust/bootstrap"))));
}

#[test]
fn the_command_line_of_version_4() {
    let known = Known::read("buildkite-agent version 4.0.3", HELP_4);
    insta::assert_debug_snapshot!(plan(&known, None));
}

#[test]
fn an_agent_that_knows_less_is_asked_for_less() {
    let known = Known::read("buildkite-agent version 3.90.0", HELP_OLD);
    let args = plan(&known, None).args.join(" ");
    assert!(
        args.ends_with("--build-path /var/lib/gust/builds --cancel-grace-period 20"),
        "{args}"
    );
}

#[test]
fn an_agent_without_readable_help_is_known_by_its_version() {
    let third = plan(&Known::read("version 3.136.3", ""), None).args;
    let fourth = plan(&Known::read("v4.1.0", "no help"), None).args;
    assert!(third.contains(&"--cancel-grace-period".to_owned()));
    assert!(!third.contains(&"--cancel-signal-timeout".to_owned()));
    assert!(fourth.contains(&"--cancel-signal-timeout".to_owned()));
    assert!(!fourth.contains(&"--cancel-grace-period".to_owned()));
}

#[test]
fn versions_are_read_from_what_agents_print() {
    for (said, version) in [
        ("buildkite-agent version 3.136.3+8450.abc\n", Some("3.136.3")),
        (
            "buildkite-agent version v4.0.0-beta.15, build 1",
            Some("4.0.0-beta.15"),
        ),
        ("gust-agent-standin 0.1.0", Some("0.1.0")),
        ("what?", None),
        ("", None),
    ] {
        assert_eq!(Known::read(said, "").version.as_deref(), version, "{said}");
    }
}

#[test]
fn a_plan_holds_no_secret() {
    let shown = format!("{:?}", plan(&Known::default(), None));
    assert!(!shown.contains("very_secret"), "{shown}");
}
