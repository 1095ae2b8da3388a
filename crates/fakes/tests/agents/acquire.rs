//! Who gets a job, and who does not.

use serde_json::json;

use super::{
    Agent,
    world::{CLUSTER_TOKEN, World, one},
};

/// A job canceled while its machine boots is over before anybody acquires it, and whoever comes for it is refused.
pub async fn canceled_while_its_machine_boots(agent: &Agent) -> String {
    let world = World::new().await;
    let marker = world.home.path().join("ran");
    let yaml = format!("steps:\n  - command: touch {}\n", marker.display());
    let job = world.build(&yaml).await.remove(0);
    let own = world.reserve(std::slice::from_ref(&job)).await;
    assert_eq!(world.job(&job).await["state"], "reserved");
    world.cancel(&job).await;

    // What tells the stack to take the machine down.
    let ask = json!({ "job_uuids": [job] });
    let states = world
        .stacks(reqwest::Method::POST, "s/jobs/get-states", ask, 200)
        .await;
    assert_eq!(states["states"][&job], "canceled");

    // The machine was faster. Under the job's own token the agent is not even registered: 1, or 27 from 4.0.3 on.
    assert_eq!(world.run(agent, &job).await, 27);
    let late = world.end(world.start(agent, &job, &own)).await;
    assert!(late == 1 || late == 27, "{late}");
    assert!(!marker.exists(), "the command must not run");
    assert!(world.events(&job, "job.acquired").await.is_empty());
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "server");
    format!("canceled at once; 27; with the job's own token {late}")
}

/// A job that is over cannot be acquired: exit code 27, and nothing runs.
pub async fn a_refused_acquire_ends_with_27(agent: &Agent) -> String {
    let world = World::new().await;
    let marker = world.home.path().join("ran");
    let job = world
        .build(&format!("steps:\n  - command: touch {}\n", marker.display()))
        .await
        .remove(0);
    world.cancel(&job).await;
    assert_eq!(world.run(agent, &job).await, 27);
    assert!(!marker.exists(), "the command must not run");
    assert!(world.events(&job, "job.acquired").await.is_empty());
    assert_eq!(one(world.events(&job, "job.finished").await)["by"], "server");
    assert_eq!(world.events("", "agent.disconnected").await.len(), 1);
    "27, nothing has run".to_owned()
}

/// Two agents race for one job: one runs it, the other ends with 27.
pub async fn of_two_agents_one_gets_the_job(agent: &Agent) -> String {
    let world = World::new().await;
    let job = world.build("steps:\n  - command: sleep 1\n").await.remove(0);
    let (one, two) = (
        world.start(agent, &job, CLUSTER_TOKEN),
        world.start(agent, &job, CLUSTER_TOKEN),
    );
    let (one, two) = tokio::join!(world.end(one), world.end(two));
    let mut codes = [one, two];
    codes.sort_unstable();
    assert_eq!(codes, [0, 27]);
    assert_eq!(world.events(&job, "job.acquired").await.len(), 1);
    assert_eq!(world.job(&job).await["exit_status"], "0");
    format!("{} and {}, acquired once", codes[0], codes[1])
}

/// With a job acquisition token an agent gets its own job and no other, and only once.
pub async fn an_acquisition_token_is_good_for_one_job_once(agent: &Agent) -> String {
    let world = World::new().await;
    let jobs = world
        .build("steps:\n  - command: 'true'\n  - command: 'true'\n")
        .await;
    let token = world.reserve(&jobs).await;

    // Another job is out of reach for it.
    assert_ne!(world.job(&jobs[1]).await["state"], "finished");
    let other = world.end(world.start(agent, &jobs[1], &token)).await;
    assert_eq!(
        world.job(&jobs[1]).await["state"],
        "reserved",
        "exit code {other}"
    );
    assert!(world.events(&jobs[1], "job.acquired").await.is_empty());

    assert_eq!(world.end(world.start(agent, &jobs[0], &token)).await, 0);
    assert_eq!(world.job(&jobs[0]).await["exit_status"], "0");
    let registered = world.events(&jobs[0], "agent.registered").await;
    assert!(
        registered
            .iter()
            .all(|event| event["token_kind"] == "acquisition"),
        "{registered:?}"
    );

    // The job is over, so the token does not even register: 1, or 27 from 4.0.3 on.
    let late = world.end(world.start(agent, &jobs[0], &token)).await;
    assert!(late == 1 || late == 27, "{late}");
    assert_eq!(
        world.events(&jobs[0], "agent.registered").await.len(),
        registered.len()
    );
    format!("another job: agent ends with {other}, job stays reserved; its own: 0; once more: {late}")
}
