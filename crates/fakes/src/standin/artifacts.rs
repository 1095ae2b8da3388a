//! `artifact upload` in its single form: announce, send each file as a form, say that it is there.

use std::{fmt::Write as _, fs, path::Path};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    api::{Failure, Send},
    chain,
    cli::{ArtifactCommand, JobOptions},
    commands::{Job, code},
    glob,
};

/// Artifacts announced in one call.
const BATCH: usize = 30;

/// `artifact upload …`.
pub async fn run(command: ArtifactCommand) -> u8 {
    let ArtifactCommand::Upload { paths, of } = command;
    code(upload(&paths, &of).await)
}

/// The upload of a job's `artifact_paths`, after its command.
pub async fn upload_from_environment(paths: &str) -> u8 {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let of = JobOptions {
        job: var("BUILDKITE_JOB_ID"),
        agent_access_token: var("BUILDKITE_AGENT_ACCESS_TOKEN"),
        endpoint: var("BUILDKITE_AGENT_ENDPOINT"),
        no_color: false,
        debug: false,
        log_level: None,
    };
    code(upload(paths, &of).await)
}

struct File {
    path: String,
    content: Vec<u8>,
}

#[derive(Deserialize)]
struct Announced {
    artifact_ids: Vec<String>,
    #[serde(default)]
    upload_instructions: Option<Instructions>,
}

#[derive(Clone, Deserialize)]
struct Instructions {
    action: Action,
    #[serde(default)]
    data: Map<String, Value>,
}

#[derive(Clone, Deserialize)]
struct Action {
    url: String,
    method: String,
    path: String,
    file_input: String,
}

async fn upload(paths: &str, of: &JobOptions) -> Result<u8, String> {
    let job = Job::new(of)?;
    let found = glob::find(paths).map_err(|error| format!("cannot look for {paths}: {error}"))?;
    if found.is_empty() {
        eprintln!("no files match {paths}");
        return Ok(0);
    }
    let mut files = Vec::with_capacity(found.len());
    for path in found {
        let content = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        files.push(File {
            path: path.to_string_lossy().into_owned(),
            content,
        });
    }
    for batch in files.chunks(BATCH) {
        send_batch(&job, batch).await?;
    }
    Ok(0)
}

async fn send_batch(job: &Job, files: &[File]) -> Result<(), String> {
    let words = |failure: Failure| format!("cannot upload artifacts: {}", chain(&failure));
    let body = json!({
        "id": batch_id(job, files),
        "artifacts": files.iter().map(describe).collect::<Vec<_>>(),
        "upload_destination": "",
    });
    let reply = job
        .call(Method::POST, "artifacts", Some(&body))
        .await
        .map_err(words)?;
    let announced: Announced = reply.json().map_err(words)?;
    let instructions = announced
        .upload_instructions
        .ok_or("the service names no place to upload to")?;
    if announced.artifact_ids.len() != files.len() {
        return Err("the service answered for another number of artifacts".to_owned());
    }
    let mut states = Vec::with_capacity(files.len());
    for (file, id) in files.iter().zip(&announced.artifact_ids) {
        send_file(job, file, &instructions).await.map_err(words)?;
        states.push(json!({ "id": id, "state": "finished" }));
    }
    job.call(Method::PUT, "artifacts", Some(&json!({ "artifacts": states })))
        .await
        .map_err(words)?;
    Ok(())
}

/// The same files in the same job are the same batch, also when it is sent again.
fn batch_id(job: &Job, files: &[File]) -> String {
    let mut hash = Sha256::new();
    hash.update(job.id.as_bytes());
    for file in files {
        hash.update(file.path.as_bytes());
        hash.update(Sha256::digest(&file.content));
    }
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &hash.finalize()).to_string()
}

fn describe(file: &File) -> Value {
    let absolute = fs::canonicalize(&file.path).unwrap_or_else(|_| Path::new(&file.path).to_owned());
    json!({
        "id": "",
        "path": file.path,
        "absolute_path": absolute,
        "glob_path": "",
        "file_size": file.content.len(),
        "sha1sum": sha1_smol::Sha1::from(&file.content).digest().to_string(),
        "sha256sum": hex(&Sha256::digest(&file.content)),
        "job_id": "",
        "created_at": "0001-01-01T00:00:00Z",
        "content_type": content_type(&file.path),
    })
}

fn content_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("txt" | "log") => "text/plain; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "text/xml; charset=utf-8",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One multipart form: the fields given, the file last, no token.
async fn send_file(job: &Job, file: &File, instructions: &Instructions) -> Result<(), Failure> {
    let Instructions { action, data } = instructions;
    let boundary = format!("gust-{}", hex(&Sha256::digest(&file.content)));
    let mut body = Vec::new();
    for (name, value) in data {
        let value = value
            .as_str()
            .unwrap_or_default()
            .replace("${artifact:path}", &file.path);
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
        action.file_input,
        file.path.replace('"', "%22"),
        content_type(&file.path),
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&file.content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let method = Method::from_bytes(action.method.as_bytes()).unwrap_or(Method::POST);
    let headers = [("content-type", kind.as_str())];
    let send = Send {
        method,
        path: "",
        headers: &headers,
        body,
    };
    job.api
        .send_away(&with_path(&action.url, &action.path), send)
        .await
        .map(drop)
}

/// The action's path replaces the URL's.
fn with_path(url: &str, path: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let host_end = url[after_scheme..]
        .find('/')
        .map_or(url.len(), |at| after_scheme + at);
    format!("{}/{}", &url[..host_end], path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_action_replaces_that_of_the_url() {
        assert_eq!(with_path("http://h:1/a/b", "/upload"), "http://h:1/upload");
        assert_eq!(with_path("http://h:1", "upload"), "http://h:1/upload");
    }
}
