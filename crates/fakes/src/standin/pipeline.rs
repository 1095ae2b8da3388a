//! `pipeline upload`: reads steps, fills in variables, hands them over, and waits until they are applied.

use std::{
    fs,
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    time::Duration,
};

use reqwest::{Method, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::{Failure, Send, repeat},
    chain,
    cli::{JobOptions, PipelineCommand},
    commands::{Job, code},
    interpolate,
};

/// Where steps are looked for when no file is named and nothing comes by stdin.
const DEFAULTS: [&str; 4] = [
    "buildkite.yml",
    ".buildkite/pipeline.yml",
    ".buildkite/pipeline.yaml",
    ".buildkite/pipeline.json",
];
/// Questions whether the steps are applied.
const POLLS: u32 = 60;

/// `pipeline upload …`.
pub async fn run(command: PipelineCommand) -> u8 {
    let PipelineCommand::Upload {
        file,
        replace,
        no_interpolation,
        of,
    } = command;
    code(upload(file, replace, !no_interpolation, &of).await)
}

async fn upload(file: Option<PathBuf>, replace: bool, fill_in: bool, of: &JobOptions) -> Result<u8, String> {
    let job = Job::new(of)?;
    let text = read(file)?;
    let steps: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text).map_err(|error| format!("the steps are no YAML: {error}"))?;
    let mut steps = serde_json::to_value(steps).map_err(|error| format!("the steps fit no JSON: {error}"))?;
    if fill_in {
        steps = interpolate::document(steps, &|name: &str| std::env::var(name).ok())?;
    }
    if steps.is_array() {
        steps = json!({ "steps": steps });
    }
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{}{}", job.id, super::wall_time()).as_bytes(),
    );
    let mut body = json!({ "uuid": id, "pipeline": steps });
    if replace {
        body["replace"] = json!(true);
    }
    hand_over(&job, &body).await
}

fn read(file: Option<PathBuf>) -> Result<String, String> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    if let Some(path) = file {
        return read(&path);
    }
    let mut text = String::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot read stdin: {error}"))?;
    }
    if !text.trim().is_empty() {
        return Ok(text);
    }
    let found = DEFAULTS.iter().map(PathBuf::from).find(|path| path.is_file());
    found
        .as_ref()
        .map_or_else(|| Err(format!("there is none of {}", DEFAULTS.join(", "))), read)
}

async fn hand_over(job: &Job, body: &Value) -> Result<u8, String> {
    let words = |failure: Failure| format!("cannot upload the steps: {}", chain(&failure));
    let path = format!("jobs/{}/pipelines?async=true", job.id);
    let mut sequence = 0;
    let send = async || {
        let number = sequence.to_string();
        sequence += 1;
        let headers = [
            ("content-type", "application/json"),
            ("x-buildkite-backoff-sequence", number.as_str()),
        ];
        let send = Send {
            method: Method::POST,
            path: &path,
            headers: &headers,
            body: body.to_string().into_bytes(),
        };
        job.api.send(send).await
    };
    let every_5s = |_| Duration::from_secs(5);
    let reply = repeat("pipeline upload", POLLS, every_5s, Failure::is_retryable, send)
        .await
        .map_err(words)?;
    if reply.status != 202 {
        return Ok(0);
    }
    let location = reply
        .headers
        .get(header::LOCATION)
        .and_then(|place| place.to_str().ok());
    // Relative or absolute; what counts is the part below the API's base.
    let place = location.and_then(|place| place.find("jobs/").map(|at| place[at..].to_owned()));
    let place = place.ok_or("the service does not say where to ask for the upload")?;
    if !body["uuid"].as_str().is_some_and(|id| place.ends_with(id)) {
        return Err(format!("the service answered for another upload: {place}"));
    }
    let mut wait = reply.retry_after().unwrap_or(Duration::from_secs(1));
    for _ in 0..POLLS {
        tokio::time::sleep(wait).await;
        let reply = repeat(
            "pipeline upload status",
            POLLS,
            every_5s,
            Failure::is_retryable,
            async || job.api.send(Send::bare(Method::GET, &place)).await,
        )
        .await
        .map_err(words)?;
        wait = reply.retry_after().unwrap_or(Duration::from_secs(5));
        let status: Status = reply.json().map_err(words)?;
        match status.state.as_str() {
            "applied" => return Ok(0),
            "pending" | "processing" => {}
            state => {
                return Err(format!(
                    "the upload is {state}: {}",
                    status.message.unwrap_or_default()
                ));
            }
        }
    }
    Err("the upload was not applied in time".to_owned())
}

#[derive(Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    message: Option<String>,
}
