//! Artifacts of builds and jobs. The store itself, to which a download leads, is `wire::artifacts`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Context, builds, pages};
use crate::buildkite::extras::Artifact;
use crate::buildkite::ids::{BuildKey, JobKey, Refusal};
use crate::buildkite::model::Model;
use crate::buildkite::stars::like;
use crate::buildkite::wire::uuid;
use crate::wire::Response;

/// States by which artifacts can be listed.
const STATES: [&str; 5] = ["new", "error", "finished", "deleted", "expired"];

/// A call about artifacts of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::buildkite::wire) enum ArtifactCall<'a> {
    List,
    Get(&'a str),
    Download(&'a str),
    Delete(&'a str),
}

impl<'a> ArtifactCall<'a> {
    /// The call behind `artifacts`.
    pub(super) fn read(method: &str, rest: &[&'a str]) -> Option<Self> {
        Some(match (method, rest) {
            ("GET", []) => Self::List,
            ("GET", [artifact]) => Self::Get(artifact),
            ("GET", [artifact, "download"]) => Self::Download(artifact),
            ("DELETE", [artifact]) => Self::Delete(artifact),
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "rest.list-job-artifacts",
            Self::Get(_) => "rest.get-artifact",
            Self::Download(_) => "rest.download-artifact",
            Self::Delete(_) => "rest.delete-artifact",
        }
    }

    pub(super) fn scope(self) -> &'static str {
        match self {
            Self::Delete(_) => "write_artifacts",
            _ => "read_artifacts",
        }
    }
}

/// Artifacts of all jobs of a build.
pub(super) fn of_build(context: &Context<'_>, pipeline: &str, number: &str) -> Result<Response, Refusal> {
    let key: BuildKey = builds::find(context, pipeline, number)?;
    list(context, |artifact| artifact.build == key)
}

pub(super) fn of_job(
    context: &mut Context<'_>,
    job: JobKey,
    call: ArtifactCall<'_>,
) -> Result<Response, Refusal> {
    match call {
        ArtifactCall::List => list(context, |artifact| artifact.job == job),
        ArtifactCall::Get(artifact) => {
            let artifact = find(context, job, artifact)?;
            Ok(Response::json(200, &shown(context.model, artifact)))
        }
        ArtifactCall::Download(artifact) => {
            let uuid = find(context, job, artifact)?.uuid;
            let url = format!("{}/artifacts/{uuid}", context.model.config.base_url);
            Ok(Response::json(302, &json!({ "url": url })).with("Location", url))
        }
        ArtifactCall::Delete(artifact) => {
            let uuid = find(context, job, artifact)?.uuid;
            if let Some(artifact) = context.model.artifacts.get_mut(&uuid) {
                artifact.state = "deleted".into();
                artifact.parts.clear();
            }
            Ok(Response::empty(204))
        }
    }
}

fn list(context: &Context<'_>, of: impl Fn(&Artifact) -> bool) -> Result<Response, Refusal> {
    let (state, path) = (context.request.query("state"), context.request.query("path"));
    if let Some(unknown) = state.filter(|state| !STATES.contains(state)) {
        let words = format!("{unknown:?} is not a state of artifacts");
        return Err(Refusal::unprocessable(words));
    }
    // What was deleted is in no list, unless asked for.
    let wanted = |artifact: &&Artifact| {
        of(artifact)
            && state.map_or(artifact.state != "deleted", |state| artifact.state == state)
            && path.is_none_or(|path| like(path, &artifact.path))
    };
    let found: Vec<&Artifact> = context.model.artifacts.values().filter(wanted).collect();
    pages::page(context, &found, |artifact| shown(context.model, artifact))
}

fn find<'a>(context: &'a Context<'_>, job: JobKey, artifact: &str) -> Result<&'a Artifact, Refusal> {
    let artifact: Uuid = uuid(artifact, "artifact")?;
    let known = context.model.artifacts.get(&artifact);
    known
        .filter(|artifact| artifact.job == job && artifact.state != "deleted")
        .ok_or_else(|| Refusal::not_found("artifact"))
}

fn shown(model: &Model, artifact: &Artifact) -> Value {
    let (job, build) = (&model.jobs[artifact.job.0], model.build_of(artifact.job));
    let own = model.rest_url(&format!(
        "/pipelines/{}/builds/{}/jobs/{}/artifacts/{}",
        build.pipeline, build.number, job.uuid, artifact.uuid
    ));
    let (dirname, filename) = artifact.path.rsplit_once('/').unwrap_or((".", &artifact.path));
    json!({
        "id": artifact.uuid,
        "job_id": job.uuid,
        "url": own,
        "download_url": format!("{own}/download"),
        "state": artifact.state,
        "path": artifact.path,
        "dirname": dirname,
        "filename": filename,
        "mime_type": artifact.content_type,
        "file_size": artifact.file_size,
        // Both are of the past, and null since.
        "glob_path": null,
        "original_path": null,
        "sha1sum": artifact.sha1sum,
    })
}
