//! Artifacts on the wire: announced with the job's token, uploaded and downloaded without any.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::route::StoreCall;
use super::{Context, json, uuid};
use crate::buildkite::extras::{NewArtifact, PART_BYTES};
use crate::buildkite::ids::{self, Refusal};
use crate::wire::Response;

#[derive(Deserialize)]
struct Announced {
    path: String,
    #[serde(default)]
    file_size: u64,
    #[serde(default)]
    sha1sum: String,
    #[serde(default)]
    sha256sum: String,
    #[serde(default)]
    content_type: String,
}

#[derive(Deserialize)]
struct Batch {
    artifacts: Vec<Announced>,
    #[serde(default)]
    multipart_supported: bool,
}

#[derive(Deserialize)]
struct Update {
    artifacts: Vec<UpdatedArtifact>,
}

#[derive(Deserialize)]
struct UpdatedArtifact {
    id: Uuid,
    state: String,
}

/// Announces a batch, and says how to upload it.
pub(super) fn create(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let batch: Batch = json::typed(&context.request.body)?;
    context.told.insert("count".into(), batch.artifacts.len().into());
    let id = ids::uuid(&mut context.model.rng);
    let sizes: Vec<u64> = batch
        .artifacts
        .iter()
        .map(|artifact| artifact.file_size)
        .collect();
    let new = batch.artifacts.into_iter().map(|artifact| NewArtifact {
        path: artifact.path,
        file_size: artifact.file_size,
        sha1sum: artifact.sha1sum,
        sha256sum: artifact.sha256sum,
        content_type: artifact.content_type,
    });
    let created = context
        .model
        .create_artifacts(token, job, id, new.collect(), batch.multipart_supported)?;
    let base = &context.model.config.base_url;
    let mut in_parts = Map::new();
    for ((artifact, multipart), size) in created.iter().zip(sizes) {
        if *multipart {
            let actions: Vec<Value> = (1..=size.div_ceil(PART_BYTES).max(1))
                .map(|part| json!({"url": format!("{base}/uploads/{artifact}/{part}"), "method": "PUT", "part_number": part}))
                .collect();
            in_parts.insert(artifact.to_string(), json!({ "actions": actions }));
        }
    }
    let ids: Vec<String> = created.iter().map(|(artifact, _)| artifact.to_string()).collect();
    let mut body = json!({
        "id": id.to_string(),
        "artifact_ids": ids,
        "upload_instructions": {
            "action": {"url": base, "method": "POST", "path": "/uploads/form", "file_input": "file"},
            "data": {"batch": id.to_string(), "path": "${artifact:path}"},
        },
    });
    if !in_parts.is_empty() {
        body["per_artifact_instructions"] = in_parts.into();
    }
    Ok(Response::json(201, &body))
}

/// How the uploads ended.
pub(super) fn update(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let update: Update = json::typed(&context.request.body)?;
    context.told.insert("count".into(), update.artifacts.len().into());
    let states = update
        .artifacts
        .into_iter()
        .map(|artifact| (artifact.id, artifact.state))
        .collect();
    context.model.update_artifacts(token, job, states)?;
    Ok(Response::json(200, &json!({})))
}

/// Artifacts of a build.
pub(super) fn search(context: &mut Context<'_>, token: &str, build: Uuid) -> Result<Response, Refusal> {
    let request = context.request;
    let query = request.query("query").unwrap_or_default();
    let state = request.query("state").filter(|state| !state.is_empty());
    let duplicates = request.query("include_duplicates") == Some("true");
    let base = context.model.config.base_url.clone();
    let found =
        context
            .model
            .search_artifacts(token, build, query, (state, request.query("scope")), duplicates)?;
    let found: Vec<Value> = found
        .iter()
        .map(|(artifact, job)| {
            json!({
                "id": artifact.uuid.to_string(),
                "job_id": job.to_string(),
                "path": artifact.path,
                "file_size": artifact.file_size,
                "sha1sum": artifact.sha1sum,
                "sha256sum": artifact.sha256sum,
                "state": artifact.state,
                "url": format!("{base}/artifacts/{}", artifact.uuid),
            })
        })
        .collect();
    Ok(Response::json(200, &found))
}

/// The store itself.
pub(super) fn answer(context: &mut Context<'_>, call: &StoreCall<'_>) -> Result<Response, Refusal> {
    let body = context.request.body.clone();
    match call {
        StoreCall::Form => {
            let boundary = context
                .request
                .header("content-type")
                .and_then(|value| value.split_once("boundary="));
            let (_, boundary) = boundary.ok_or_else(|| Refusal::bad("A form with a boundary is expected"))?;
            let fields =
                form(&body, boundary.trim_matches('"')).ok_or_else(|| Refusal::bad("The form is broken"))?;
            let text = |name: &str| {
                let field = fields.iter().find(|(field, _)| field == name);
                field.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            };
            let missing = || Refusal::bad("The form lacks batch, path or file");
            let batch = uuid(&text("batch").ok_or_else(missing)?, "artifact batch")?;
            let path = text("path").ok_or_else(missing)?;
            let file = fields
                .iter()
                .find(|(name, _)| name == "file")
                .ok_or_else(missing)?;
            context.model.upload_form(batch, &path, file.1.clone())?;
            Ok(Response::empty(204))
        }
        StoreCall::Part(artifact, part) => {
            let artifact = uuid(artifact, "artifact")?;
            let part = part.parse().map_err(|_| Refusal::not_found("part"))?;
            context.model.upload_part(artifact, part, body)?;
            // The agent insists on an ETag.
            Ok(Response::empty(200).with("etag", format!("\"{artifact}-{part}\"")))
        }
        StoreCall::Download(artifact) => {
            let (content_type, bytes) = context.model.artifact_content(uuid(artifact, "artifact")?)?;
            let content_type = if content_type.is_empty() {
                "application/octet-stream"
            } else {
                &content_type
            };
            Ok(Response {
                body: bytes,
                ..Response::empty(200)
            }
            .with("content-type", content_type))
        }
    }
}

/// Fields of a `multipart/form-data` body.
fn form(body: &Bytes, boundary: &str) -> Option<Vec<(String, Bytes)>> {
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    let mut at = find(body, delimiter.as_bytes(), 0)? + delimiter.len();
    loop {
        if body.get(at..at + 2)? == b"--" {
            return Some(fields);
        }
        let head_end = find(body, b"\r\n\r\n", at)?;
        let head = String::from_utf8_lossy(&body[at..head_end]).into_owned();
        let end = find(body, format!("\r\n{delimiter}").as_bytes(), head_end)?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?.to_owned();
        fields.push((name, body.slice((head_end + 4).min(end)..end)));
        at = end + 2 + delimiter.len();
    }
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack
        .get(from..)?
        .windows(needle.len())
        .position(|window| window == needle)
        .map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_its_fields_and_a_broken_one_none() {
        let body = Bytes::from(
            "--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\na/b\r\n--b\r\nContent-Disposition: form-data; \
             name=\"file\"; filename=\"a/b\"\r\nContent-Type: x\r\n\r\nx\r\n\r\ny\r\n--b--\r\n",
        );
        let fields = form(&body, "b").unwrap();
        assert_eq!(
            fields,
            [
                ("path".to_owned(), Bytes::from("a/b")),
                ("file".to_owned(), Bytes::from("x\r\n\r\ny"))
            ]
        );
        assert!(form(&body.slice(..60), "b").is_none());
    }
}
