//! The real program against a metadata server and a gust: one test, one world.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

mod world;

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, time::Duration};

use rustix::process::Signal;
use world::{Guest, MACHINE, Reply, TOKEN, World, fake_gust::JOB};

/// The agent notes SIGQUIT and goes, as the real one does.
const WAITS_FOR_QUIT: &str =
    "trap 'echo quit > quit; exit 0' QUIT\ntouch started\nwhile :; do sleep 0.02; done";

/// The guest, once its agent runs.
async fn running(world: &World, guest: Guest) -> Guest {
    let started = |world: &World| world.work_dir().join("started").exists();
    world.until("the agent runs", started).await;
    guest
}

#[tokio::test]
async fn a_machine_runs_its_one_job_reports_it_and_powers_off() {
    let world = World::new("exit 0").await;
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let builds = world.work_dir().join("builds");
    assert_eq!(
        world.noted("args").lines().collect::<Vec<_>>(),
        [
            "start",
            "--acquire-job",
            &JOB.to_string(),
            "--name",
            MACHINE,
            "--endpoint",
            "http://127.0.0.1:1/v3",
            "--tags",
            "queue=gust,cpu=2",
            "--build-path",
            &builds.display().to_string(),
            "--ping-mode",
            "poll-only",
            "--disconnect-after-uptime",
            "1",
            "--cancel-grace-period",
            "20",
        ]
    );
    let dones = world.gust.dones();
    assert_eq!(dones.len(), 1);
    assert_eq!(
        (&*dones[0].machine, &*dones[0].job_id, dones[0].agent_exit_code),
        (MACHINE, &*JOB.to_string(), Some(0))
    );
    assert_eq!(dones[0].public_key, world.gust.claims()[0].public_key);
    let stages: BTreeSet<_> = world.gust.beacons().into_iter().map(|(stage, _)| stage).collect();
    assert!(stages.contains("booted"), "{stages:?}");
}

#[tokio::test]
async fn the_token_reaches_the_agent_and_shows_nowhere() {
    let world = World::new("exit 0").await;
    let ended = world.live().await;
    assert_eq!(world.noted("token"), TOKEN);
    assert!(!world.noted("cmdline").contains(TOKEN));
    assert!(!ended.log.contains(TOKEN), "{}", ended.log);
    assert!(
        !ended.log.contains("token-for-"),
        "the identity token is no one's to see"
    );
    assert!(
        !world.noted("environment").contains("GUST_"),
        "{}",
        world.noted("environment")
    );
}

#[tokio::test]
async fn every_exit_code_of_the_agent_is_reported_and_the_machine_goes_off() {
    for code in [0, 1, 3, 27] {
        let world = World::new(&format!("exit {code}")).await;
        let ended = world.live().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert_eq!(world.gust.dones()[0].agent_exit_code, Some(code));
    }
}

#[tokio::test]
async fn an_agent_ended_by_a_signal_has_no_exit_code() {
    let world = World::new("kill -9 $$").await;
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.gust.dones()[0].agent_exit_code, None);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_key() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::Lost, Reply::Lost, Reply::Job]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let claims = world.gust.claims();
    let keys: BTreeSet<_> = claims.iter().map(|claim| claim.public_key.clone()).collect();
    assert_eq!((claims.len(), keys.len()), (3, 1));
    assert_eq!(world.gust.dones().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_fetched_anew() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::Unauthenticated, Reply::Job]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let audiences = world.metadata.audiences();
    assert_eq!(audiences.len(), 2);
    assert_eq!(audiences[0], audiences[1], "the key stays the same");
}

#[tokio::test]
async fn a_machine_without_a_job_powers_off() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::NoJob]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("the job was cancelled"), "{}", ended.log);
    assert!(world.noted("args").is_empty(), "no agent was started");
    assert!(world.gust.dones().is_empty());
}

#[tokio::test]
async fn a_refused_machine_powers_off_at_once() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::Denied]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("another key has claimed"), "{}", ended.log);
    assert_eq!(world.gust.claims().len(), 1);
}

#[tokio::test]
async fn a_replica_that_is_down_is_passed_over() {
    let world = World::new("exit 0").await;
    // Port 1 refuses on any machine that tests run on.
    let addresses = format!("127.0.0.1:1,{}", world.gust.address());
    world.metadata.set("gust-addresses", &addresses);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!((world.gust.claims().len(), world.gust.dones().len()), (1, 1));
}

#[tokio::test]
async fn a_metadata_server_that_comes_up_late_is_waited_for() {
    let world = World::new("exit 0").await;
    world.metadata.fail(3);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.gust.dones().len(), 1, "{}", ended.log);
}

#[tokio::test]
async fn a_lost_done_is_told_again() {
    let world = World::new("exit 0").await;
    world.gust.answer_dones([Reply::Lost]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.gust.dones().len(), 2);
}

#[tokio::test]
async fn a_refused_done_does_not_keep_the_machine_on() {
    let world = World::new("exit 0").await;
    world.gust.answer_dones([Reply::Denied]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.gust.dones().len(), 1);
}

#[tokio::test]
async fn a_signal_to_the_guest_becomes_sigquit_to_the_agent() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new(WAITS_FOR_QUIT).await;
        let guest = running(&world, world.boot()).await;
        guest.signal(signal);
        let ended = guest.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert_eq!(world.noted("quit"), "quit\n");
        assert_eq!(world.gust.dones()[0].agent_exit_code, Some(0));
    }
}

#[tokio::test]
async fn the_agent_hears_of_the_end_though_whoever_started_the_guest_was_deaf_to_sigquit() {
    let world = World::new(WAITS_FOR_QUIT).await;
    let guest = running(&world, world.boot_deaf()).await;
    guest.signal(Signal::TERM);
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.noted("quit"), "quit\n");
    assert_eq!(world.gust.reclaims(), 0, "nobody takes it back");
    assert!(world.gust.dones()[0].reclaimed_signature.is_empty());
}

#[tokio::test]
async fn a_preemption_is_seen_before_the_host_signals() {
    let world = World::new(WAITS_FOR_QUIT).await;
    let guest = running(&world, world.boot()).await;
    world.metadata.preempt();
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.noted("quit"), "quit\n");
    assert!(ended.log.contains("preempted"), "{}", ended.log);
    assert_eq!(world.gust.reclaims(), 1);
}

#[tokio::test]
async fn a_host_that_signals_before_the_preemption_is_seen_is_asked_why() {
    let world = World::new(WAITS_FOR_QUIT).await;
    let guest = running(&world, world.boot()).await;
    world.metadata.preempt_unheard();
    guest.signal(Signal::TERM);
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.noted("quit"), "quit\n");
    assert_eq!(world.gust.reclaims(), 1, "{}", ended.log);
}

#[tokio::test]
async fn an_agent_that_the_host_ends_before_the_preemption_is_seen_counts_as_preempted() {
    let world = World::new("touch started; until test -e go; do sleep 0.05; done").await;
    let guest = running(&world, world.boot()).await;
    world.metadata.preempt_unheard();
    fs::write(world.work_dir().join("go"), "").expect("a file");
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.gust.reclaims(), 1, "{}", ended.log);
    let done = world.gust.dones().remove(0);
    assert!(!done.reclaimed_signature.is_empty(), "the end tells it, too");
}

#[tokio::test]
async fn a_job_that_runs_for_too_long_is_stopped() {
    let world = World::new(WAITS_FOR_QUIT).await;
    world.gust.answer_claims([Reply::ShortJob(1)]);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended.log.contains("the job has run for too long"),
        "{}",
        ended.log
    );
    assert_eq!(world.gust.dones().len(), 1);
}

#[tokio::test]
async fn a_signal_before_the_claim_powers_off_without_one() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::Lost; 1000]);
    let guest = world.boot();
    world
        .until("it claims", |world| !world.gust.claims().is_empty())
        .await;
    guest.signal(Signal::TERM);
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(world.noted("args").is_empty());
}

#[tokio::test]
async fn a_machine_without_an_agent_says_so_and_claims_nothing() {
    let world = World::new("exit 0").await;
    let guest = world.boot_with(|command| {
        command.env("GUST_BUILDKITE_AGENT", "/nowhere/agent");
    });
    let ended = guest.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let beacons = world.gust.beacons();
    let (_, detail) = beacons
        .iter()
        .find(|(stage, _)| stage == "no-agent")
        .expect("a beacon");
    assert!(detail.contains("/nowhere/agent"), "{detail}");
    assert!(world.gust.claims().is_empty());
}

#[tokio::test]
async fn attributes_that_cannot_be_used_are_named_and_the_machine_goes_off() {
    let cases: [(&str, Option<&str>, &str); 5] = [
        ("gust-stack", None, "the machine has no attribute `gust-stack`"),
        (
            "gust-stack",
            Some("NOT A NAME"),
            "stack name `NOT A NAME` must be",
        ),
        (
            "gust-addresses",
            Some("http://10.0.0.5:1"),
            "there it must be https",
        ),
        ("gust-addresses", Some(","), "names no address"),
        (
            "gust-job-user",
            Some("root; reboot"),
            "`root; reboot` is no user name",
        ),
    ];
    for (attribute, value, said) in cases {
        let world = World::new("exit 0").await;
        match value {
            Some(value) => world.metadata.set(attribute, value),
            None => world.metadata.remove(attribute),
        }
        let ended = world.live().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(ended.log.contains(said), "{}", ended.log);
        assert!(world.gust.claims().is_empty());
    }
}

#[tokio::test]
async fn a_claim_without_any_answer_is_given_up() {
    let world = World::new("exit 0").await;
    world.gust.answer_claims([Reply::Lost; 1000]);
    let settings = gust_guest::settings::Settings {
        metadata: world.metadata.address(),
        agent: Some(world.work_dir().join("agent")),
        path: std::ffi::OsString::new(),
        beside: None,
        work_dir: world.work_dir().to_owned(),
        power_off: gust_guest::settings::PowerOff::Exit,
        patience: gust_guest::settings::Patience {
            // Room for a second claim on a slow machine.
            claim: Duration::from_secs(10),
            ..gust_guest::settings::Patience::default()
        },
    };
    let error = gust_guest::life::live(&settings).await.unwrap_err();
    let said = gust_guest::life::chain(&error);
    assert!(said.contains("no answer to the claim"), "{said}");
    assert!(said.contains("the connection broke"), "{said}");
    assert!(world.gust.claims().len() > 1);
}

#[tokio::test]
async fn gust_is_believed_only_with_a_certificate_of_its_authority() {
    let mut world = World::new("exit 0").await;
    world.gust = world::FakeGust::start_with_tls().await;
    world
        .metadata
        .set("gust-addresses", &format!("https://{}", world.gust.address()));
    world.metadata.set("gust-ca", world::fake_gust::AUTHORITY);
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(
        (world.gust.claims().len(), world.gust.dones().len()),
        (1, 1),
        "{}",
        ended.log
    );

    // The system's authorities did not sign it.
    world.metadata.remove("gust-ca");
    let guest = world.boot();
    let served = world.gust.connections();
    world
        .until("it tries", |world| world.gust.connections() > served)
        .await;
    guest.signal(Signal::TERM);
    let ended = guest.ended().await;
    assert_eq!(world.gust.claims().len(), 1, "{}", ended.log);
}

#[tokio::test]
async fn an_authority_that_is_no_certificate_is_reported() {
    let world = World::new("exit 0").await;
    world.metadata.set("gust-addresses", "gust.example:7000");
    world.metadata.set(
        "gust-ca",
        "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----",
    );
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended.log.contains("cannot connect to https://gust.example:7000"),
        "{}",
        ended.log
    );
}

#[tokio::test]
async fn the_job_gets_a_user_of_its_own_where_the_guest_is_root() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can run a job as another user");
        return;
    }
    // As the agent does: it calls the script, which becomes the agent's own bootstrap.
    let world = World::new(
        "touch env.sh env.json; export BUILDKITE_ENV_FILE=$PWD/env.sh BUILDKITE_ENV_JSON_FILE=$PWD/env.json\n\
         while [ $# -gt 0 ]; do [ \"$1\" = --bootstrap-script ] && exec \"$2\"; shift; done",
    )
    .await;
    let agent = world.work_dir().join("agent");
    let script = fs::read_to_string(&agent).unwrap();
    let bootstrap =
        "if [ \"$1\" = bootstrap ]; then id -un > builds/user; stat -c %U env.sh >> builds/user; exit 0; fi";
    let script = script.replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{bootstrap}\n"), 1);
    fs::write(
        &agent,
        script.replace("--acquire-job --name", "--acquire-job --bootstrap-script --name"),
    )
    .unwrap();
    fs::set_permissions(world.work_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    world.metadata.set("gust-job-user", "nobody");
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(world.noted("builds/user"), "nobody\nnobody\n", "{}", ended.log);
}

#[tokio::test]
async fn a_job_user_that_the_image_lacks_fails_the_machine_not_the_guest() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can run a job as another user");
        return;
    }
    let world = World::new("exit 0").await;
    world.metadata.set("gust-job-user", "nobody-of-that-name");
    let ended = world.live().await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended
            .log
            .contains("the machine has no user `nobody-of-that-name`"),
        "{}",
        ended.log
    );
    assert!(
        world.noted("args").is_empty(),
        "the job must not run as root instead"
    );
    assert_eq!(world.gust.dones()[0].agent_exit_code, None);
}
