//! What a job reaches Buildkite by: the agent's commands.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::{
    Agent,
    world::{World, one},
};

/// Runs a job whose command is `script`, with the agent on its PATH; it must pass.
async fn pass(agent: &Agent, script: &str, files: &[(&str, &str)]) -> (World, String) {
    let world = World::new().await;
    let home = world.home.path();
    for (name, content) in files {
        fs::write(home.join(name), content).expect("a file");
    }
    // Whatever the program is called, jobs call it `buildkite-agent`.
    let bin = home.join("bin");
    fs::create_dir_all(&bin).expect("a directory");
    symlink(&agent.0, bin.join("buildkite-agent")).expect("a link");
    let lines: String = script.lines().map(|line| format!("      {line}\n")).collect();
    let yaml = format!(
        "steps:\n  - env: {{ GIVEN: \"{}\" }}\n    command: |\n      export PATH=\"{}:$PATH\"\n{lines}",
        home.display(),
        bin.display(),
    );
    let job = world.build(&yaml).await.remove(0);
    assert_eq!(world.run(agent, &job).await, 0);
    let seen = world.job(&job).await;
    assert_eq!(seen["exit_status"], "0", "{}", seen["log"]);
    (world, job)
}

/// Annotations of a job and of its build, and one that is taken back.
pub async fn annotation(agent: &Agent) -> String {
    let script = r#"buildkite-agent annotate "used 3 of 4 GiB" --style info --context usage --scope job
buildkite-agent annotate "one" --context list
buildkite-agent annotate ", two" --context list --append"#;
    let (world, job) = pass(agent, script, &[]).await;
    let seen = world.job(&job).await;
    // The build's annotations are shown with the job that made them, too.
    let mut annotations = seen["annotations"].as_array().expect("annotations").clone();
    annotations.retain(|annotation| annotation["context"] == "usage");
    let annotation = one(annotations);
    let fields =
        ["context", "style", "body", "scope"].map(|field| annotation[field].as_str().unwrap_or_default());
    assert_eq!(fields, ["usage", "info", "used 3 of 4 GiB", "job"]);
    let told = world.events(&job, "job.annotated").await;
    assert!(told.iter().any(|event| event["context"] == "usage"), "{told:?}");
    let list: Vec<_> = told.iter().filter(|event| event["context"] == "list").collect();
    assert_eq!(list.len(), 2, "{told:?}");
    assert_eq!(list[1]["bytes"], "one, two".len());
    format!(
        "\"{}\", {}, scope {}; appended to another",
        fields[2], fields[1], fields[3]
    )
}

/// Meta-data is set, read, asked for and defaulted.
pub async fn meta_data(agent: &Agent) -> String {
    let script = r#"buildkite-agent meta-data set release v7
test "$(buildkite-agent meta-data get release)" = v7
buildkite-agent meta-data exists release
buildkite-agent meta-data exists nothing && exit 9 || test $? -eq 100
test "$(buildkite-agent meta-data get nothing --default d)" = d
buildkite-agent meta-data get nothing && exit 8 || true"#;
    let (world, _) = pass(agent, script, &[]).await;
    let kept = &world.state().await["buildkite"]["builds"][0];
    assert_eq!(kept["meta_data"]["release"], "v7", "{kept}");
    "release = v7; exists 0 and 100; default; a missing key fails".to_owned()
}

/// An artifact arrives whole.
pub async fn artifact_upload(agent: &Agent) -> String {
    let script =
        "mkdir -p out\nprintf 'a report\\n' > out/report.txt\nbuildkite-agent artifact upload 'out/*.txt'";
    let (world, job) = pass(agent, script, &[]).await;
    let state = world.state().await;
    let artifacts = state["buildkite"]["artifacts"].as_array().expect("artifacts");
    let artifact = one(artifacts.clone());
    assert_eq!(
        (
            &artifact["path"],
            &artifact["state"],
            &artifact["job"],
            &artifact["bytes"]
        ),
        (
            &json!("out/report.txt"),
            &json!("finished"),
            &json!(job),
            &json!(9)
        )
    );
    let id = artifact["id"].as_str().expect("an id");
    let url = format!("{}/artifacts/{id}", world.fakes.addresses.buildkite);
    let reply = world.http.get(url).send().await.expect("a reply");
    assert_eq!(reply.text().await.expect("a body"), "a report\n");
    "out/report.txt, 9 bytes, the same when downloaded".to_owned()
}

const MORE: &str = r#"
steps:
  - key: second
    command: echo "branch ${BUILDKITE_BRANCH} end"
    agents: { queue: gust, cpu: 8, big: true }
"#;

/// A job adds steps to its build. They exist by the time the upload is answered, their tags as text.
pub async fn pipeline_upload(agent: &Agent) -> String {
    let script = "buildkite-agent pipeline upload \"$GIVEN/more.yml\"";
    let (world, job) = pass(agent, script, &[("more.yml", MORE)]).await;
    let created = world.events("", "job.created").await;
    let uploaded = created
        .iter()
        .find(|event| event["job"] != job.as_str())
        .expect("a second job");
    assert_eq!(uploaded["key"], "second");
    assert_eq!(uploaded["rules"], json!(["queue=gust", "cpu=8", "big=true"]));
    let second = uploaded["job"].as_str().expect("an id").to_owned();
    assert_eq!(world.run(agent, &second).await, 0);
    let log = world.job(&second).await["log"]
        .as_str()
        .expect("a log")
        .to_owned();
    assert!(log.contains("branch main end"), "{log}");
    format!("second: {}; ran, ${{BUILDKITE_BRANCH}} = main", uploaded["rules"])
}
