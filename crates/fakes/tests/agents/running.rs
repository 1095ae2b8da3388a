//! Jobs that run, and how they end.

use gust_fakes::config::Settings;
use serde_json::{Value, json};

use super::{
    Agent,
    world::{CLUSTER_TOKEN, World, one},
};

/// A command's own exit status reaches Buildkite, and the agent itself ends with 0.
pub async fn exit_status_is_reported(agent: &Agent, status: i32) -> String {
    let world = World::new().await;
    let yaml = format!(
        "steps:\n  - command: 'echo \"out $BUILDKITE_LABEL\"; echo err >&2; exit {status}'\n    label: L1\n"
    );
    let job = world.build(&yaml).await.remove(0);
    assert_eq!(world.run(agent, &job).await, 0);

    let seen = world.job(&job).await;
    assert_eq!(seen["state"], "finished");
    assert_eq!(seen["exit_status"], status.to_string());
    assert_eq!(seen["signal_reason"], Value::Null);
    assert_eq!(seen["agent"]["name"], format!("vm-{}", &job[..8]));
    let log = seen["log"].as_str().expect("a log");
    assert!(log.contains("out L1") && log.contains("err"), "{log}");

    let path = world.path(&job).await;
    assert!(
        path.ends_with(&["accepted".into(), "running".into(), "finished".into()]),
        "{path:?}"
    );
    let acquired = one(world.events(&job, "job.acquired").await);
    assert_eq!(acquired["agent_name"], format!("vm-{}", &job[..8]));
    let finished = one(world.events(&job, "job.finished").await);
    assert_eq!(
        (&finished["by"], &finished["exit_status"]),
        (&json!("agent"), &json!(status.to_string()))
    );
    let registered = one(world.events("", "agent.registered").await);
    assert_eq!(registered["token_kind"], "cluster");
    assert_eq!(registered["tags"], json!(["queue=gust", "cpu=2"]));
    assert_eq!(
        one(world.events("", "agent.disconnected").await)["agent"],
        registered["agent"]
    );
    format!(
        "{}; finished with {}; agent ends with 0",
        path.join(", "),
        seen["exit_status"]
    )
}

/// A running job that is canceled ends by SIGTERM with reason `cancel`, whatever the command makes of it.
pub async fn a_running_job_can_be_canceled(agent: &Agent) -> String {
    let world = World::new().await;
    let yaml = "steps:\n  - command: 'trap \"echo trapped; exit 7\" TERM; echo up; sleep 60 & wait'\n";
    let job = world.build(yaml).await.remove(0);
    let child = world.start(agent, &job, CLUSTER_TOKEN);
    world.reaches(&job, "running").await;
    world.cancel(&job).await;
    assert_eq!(world.end(child).await, 0);

    let seen = world.job(&job).await;
    assert_eq!(seen["state"], "canceled");
    assert_eq!(seen["exit_status"], "-1");
    assert_eq!(seen["signal"], "SIGTERM");
    assert_eq!(seen["signal_reason"], "cancel");
    let path = world.path(&job).await;
    assert!(
        path.ends_with(&["running".into(), "canceling".into(), "canceled".into()]),
        "{path:?}"
    );
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "agent");
    format!(
        "{}: {}, {}, {}",
        seen["state"], seen["exit_status"], seen["signal"], seen["signal_reason"]
    )
}

/// An agent that is gone without a word is lost after a while; its job ends with -1, and Buildkite retries it as a new job.
pub async fn a_killed_agents_job_is_retried(agent: &Agent) -> String {
    let mut settings = Settings::default();
    let limits = &mut settings.limits.buildkite;
    (limits.agent_lost_after_s, limits.agent_lost_sweep_s) = (3, 1);
    limits.heartbeat_interval_s = 1;
    let world = World::with(settings).await;
    let yaml = r#"
steps:
  - command: '[ "$BUILDKITE_RETRY_COUNT" = 1 ] && echo "second try" || sleep 60'
    retry: { automatic: [ { exit_status: -1, limit: 2 } ] }
"#;
    let job = world.build(yaml).await.remove(0);
    let mut child = world.start(agent, &job, CLUSTER_TOKEN);
    world.reaches(&job, "running").await;
    child.kill().await.expect("it runs");
    world.reaches(&job, "finished").await;

    let seen = world.job(&job).await;
    assert_eq!(seen["exit_status"], "-1");
    assert_eq!(one(world.events(&job, "agent.lost").await)["kind"], "agent.lost");
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "server");
    let again = seen["retried_in"].as_str().expect("a retry").to_owned();
    assert_ne!(again, job, "a retry has a UUID of its own");
    let retry = world.job(&again).await;
    assert_eq!((&retry["retry_of"], &retry["retries"]), (&json!(job), &json!(1)));
    assert_eq!(world.run(agent, &again).await, 0);
    let retry = world.job(&again).await;
    assert_eq!(retry["exit_status"], "0");
    let log = retry["log"].as_str().expect("a log");
    assert!(log.contains("second try"), "{log}");
    "lost, -1 by the server, retried as a new job, which ends with 0".to_owned()
}

/// SIGQUIT, sent when a machine is about to be taken away, ends the job at once with reason `agent_stop`.
pub async fn a_quit_agent_says_so_before_it_goes(agent: &Agent) -> String {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: sleep 60\n").await.remove(0);
    let child = world.start(agent, &job, CLUSTER_TOKEN);
    world.reaches(&job, "running").await;
    let pid = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32))
        .expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).expect("it runs");
    assert_eq!(world.end(child).await, 0);
    let seen = world.job(&job).await;
    assert_eq!(
        (&seen["exit_status"], &seen["signal_reason"]),
        (&json!("-1"), &json!("agent_stop"))
    );
    assert_eq!(world.events("", "agent.disconnected").await.len(), 1);
    format!("{}, {}, disconnected", seen["exit_status"], seen["signal_reason"])
}

/// A reply that is lost after it took effect makes the agent repeat its finish; the job ends once all the same.
pub async fn a_lost_finish_reply_is_made_good(agent: &Agent) -> String {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: exit 4\n").await.remove(0);
    let path = format!("/v3/jobs/{job}/finish");
    let fault = json!({ "kind": "reply.lost", "match": { "host": "buildkite", "path": path }, "count": 1 });
    world.control("faults", &fault, 201).await;
    assert_eq!(world.run(agent, &job).await, 0);
    assert_eq!(world.job(&job).await["exit_status"], "4");
    assert_eq!(world.events(&job, "job.finished").await.len(), 1);
    assert_eq!(world.events("", "fault.applied").await.len(), 1);
    "finished once with 4, after one lost reply".to_owned()
}
