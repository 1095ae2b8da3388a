//! Artifacts: announced by a job, uploaded without authorization, searched and downloaded.
//!
//! Two ways of upload, as the agent knows them: one form for a batch, or parts for a large file. The upload
//! routes carry no authorization; the ids in them are not guessable.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::buildkite::ids::{self, BuildKey, JobKey, Refusal};
use crate::buildkite::model::Model;

/// Size of a part of a large upload, bytes.
pub(in crate::buildkite) const PART_BYTES: u64 = 8 << 20;

// What a job may upload. Source: buildkite.com/docs/platform/limits, as of November 2026.
/// Largest artifact, bytes.
const MOST_BYTES: u64 = 10 << 30;
/// All artifacts of a job together, bytes.
const MOST_BYTES_OF_JOB: u64 = 50 << 30;
/// Artifacts announced at once.
const MOST_AT_ONCE: usize = 30;
/// Artifacts of a job.
const MOST_OF_JOB: usize = 5000;

/// An artifact as kept.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its path, relative to where it was found.
    pub path: String,
    /// Size in bytes as announced.
    pub file_size: u64,
    /// As announced.
    pub sha1sum: String,
    /// As announced.
    pub sha256sum: String,
    /// `new`, `finished`, `error`, `deleted`.
    pub state: String,
    pub(in crate::buildkite) batch: Uuid,
    pub(in crate::buildkite) job: JobKey,
    pub(in crate::buildkite) build: BuildKey,
    pub(in crate::buildkite) content_type: String,
    pub(in crate::buildkite) parts: BTreeMap<u32, Bytes>,
    pub(in crate::buildkite) multipart: bool,
}

/// An artifact as a job announces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewArtifact {
    /// See [`Artifact::path`].
    pub path: String,
    /// Bytes.
    pub file_size: u64,
    /// Hex.
    pub sha1sum: String,
    /// Hex.
    pub sha256sum: String,
    /// MIME type.
    pub content_type: String,
}

impl Model {
    /// Announces artifacts; `true` for those to be uploaded in parts.
    pub fn create_artifacts(
        &mut self,
        token: &str,
        job: Uuid,
        batch: Uuid,
        new: Vec<NewArtifact>,
        multipart_supported: bool,
    ) -> Result<Vec<(Uuid, bool)>, Refusal> {
        let key = self.job_of_token(token, job)?;
        let build = self.jobs[key.0].build;
        if new.iter().any(|artifact| artifact.path.is_empty()) {
            return Err(Refusal::unprocessable("path can't be blank"));
        }
        self.check_room(key, &new)?;
        let threshold = self.config.multipart_from_bytes;
        Ok(new
            .into_iter()
            .map(|artifact| {
                let uuid = ids::uuid(&mut self.rng);
                let multipart = multipart_supported && artifact.file_size >= threshold.max(1);
                let kept = Artifact {
                    uuid,
                    path: artifact.path,
                    file_size: artifact.file_size,
                    sha1sum: artifact.sha1sum,
                    sha256sum: artifact.sha256sum,
                    state: "new".into(),
                    batch,
                    job: key,
                    build,
                    content_type: artifact.content_type,
                    parts: BTreeMap::new(),
                    multipart,
                };
                self.artifacts.insert(uuid, kept);
                (uuid, multipart)
            })
            .collect())
    }

    /// Whether Buildkite takes so much of a job. It documents the limits, and not its words.
    fn check_room(&self, job: JobKey, new: &[NewArtifact]) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::unprocessable(why));
        if new.len() > MOST_AT_ONCE {
            return refused(format!("artifacts must have at most {MOST_AT_ONCE} entries"));
        }
        if let Some(large) = new.iter().find(|artifact| artifact.file_size > MOST_BYTES) {
            return refused(format!("{} is larger than 10 GiB", large.path));
        }
        let known = self.artifacts.values().filter(|artifact| artifact.job == job);
        let (count, bytes) = known.fold((new.len(), 0_u64), |(count, bytes), artifact| {
            (count + 1, bytes.saturating_add(artifact.file_size))
        });
        if count > MOST_OF_JOB {
            return refused(format!("A job can have at most {MOST_OF_JOB} artifacts"));
        }
        let bytes = new
            .iter()
            .fold(bytes, |bytes, artifact| bytes + artifact.file_size);
        if bytes > MOST_BYTES_OF_JOB {
            return refused("The artifacts of a job can have at most 50 GiB".to_owned());
        }
        Ok(())
    }

    /// The form upload: the content of one artifact of a batch, by its path.
    pub fn upload_form(&mut self, batch: Uuid, path: &str, content: Bytes) -> Result<(), Refusal> {
        let artifact = self
            .artifacts
            .values_mut()
            .find(|artifact| artifact.batch == batch && artifact.path == path);
        let artifact = artifact.ok_or_else(|| Refusal::not_found("artifact"))?;
        artifact.parts.insert(1, content);
        Ok(())
    }

    /// One part of a large upload.
    pub fn upload_part(&mut self, artifact: Uuid, part: u32, content: Bytes) -> Result<(), Refusal> {
        let artifact = self
            .artifacts
            .get_mut(&artifact)
            .filter(|artifact| artifact.multipart);
        let artifact = artifact.ok_or_else(|| Refusal::not_found("artifact"))?;
        artifact.parts.insert(part, content);
        Ok(())
    }

    /// The agent tells how uploads ended.
    pub fn update_artifacts(
        &mut self,
        token: &str,
        job: Uuid,
        states: Vec<(Uuid, String)>,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        for (uuid, state) in &states {
            if !["new", "finished", "error", "deleted"].contains(&state.as_str()) {
                return Err(Refusal::unprocessable("state is not that of an artifact"));
            }
            let known = self
                .artifacts
                .get(uuid)
                .is_some_and(|artifact| artifact.job == key);
            if !known {
                return Err(Refusal::not_found("artifact"));
            }
        }
        for (uuid, state) in states {
            if let Some(artifact) = self.artifacts.get_mut(&uuid) {
                artifact.state = state;
            }
        }
        Ok(())
    }

    /// Artifacts of a build, the newest first; with the same path only the newest, unless asked otherwise.
    /// Returns each with the UUID of its job.
    pub fn search_artifacts(
        &self,
        token: &str,
        build: Uuid,
        query: &str,
        (state, scope): (Option<&str>, Option<&str>),
        duplicates: bool,
    ) -> Result<Vec<(&Artifact, Uuid)>, Refusal> {
        let (build, _) = self.build_of_token(token, build)?;
        let mut found: Vec<(&Artifact, Uuid)> = Vec::new();
        for artifact in self.artifacts.values().rev() {
            let step = self.step_of(artifact.job);
            let job = self.jobs[artifact.job.0].uuid;
            let in_scope = scope.is_none_or(|scope| {
                scope.is_empty()
                    || scope == job.to_string()
                    || step.key.as_deref() == Some(scope)
                    || step.label.as_deref() == Some(scope)
            });
            let matches = artifact.build == build
                && in_scope
                && state.is_none_or(|state| artifact.state == state)
                && glob(query, &artifact.path);
            if matches && (duplicates || !found.iter().any(|(known, _)| known.path == artifact.path)) {
                found.push((artifact, job));
            }
        }
        Ok(found)
    }

    /// What was uploaded: content type and bytes.
    pub fn artifact_content(&self, artifact: Uuid) -> Result<(String, Bytes), Refusal> {
        let artifact = self
            .artifacts
            .get(&artifact)
            .ok_or_else(|| Refusal::not_found("artifact"))?;
        let content = match artifact.parts.len() {
            1 => artifact.parts.values().next().cloned().unwrap_or_default(),
            _ => artifact
                .parts
                .values()
                .flat_map(|part| part.iter().copied())
                .collect::<Vec<u8>>()
                .into(),
        };
        Ok((artifact.content_type.clone(), content))
    }
}

/// Path patterns of a search: `*` within a directory, `**` over directories, `?` one character. A pattern
/// that ends with `/` means all below.
fn glob(pattern: &str, path: &str) -> bool {
    fn matches(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', b'/', rest @ ..] => {
                matches(rest, path)
                    || (0..path.len()).any(|at| path[at] == b'/' && matches(rest, &path[at + 1..]))
            }
            [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| matches(rest, &path[at..])),
            [b'*', rest @ ..] => {
                let reach = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                (0..=reach).any(|at| matches(rest, &path[at..]))
            }
            [b'?', rest @ ..] => path.first().is_some_and(|byte| *byte != b'/') && matches(rest, &path[1..]),
            [byte, rest @ ..] => path.first() == Some(byte) && matches(rest, &path[1..]),
        }
    }
    // `*` alone means everything, as the agent's own examples use it.
    if pattern.is_empty() || pattern == "*" {
        return true;
    }
    let whole = if pattern.ends_with('/') {
        format!("{pattern}**")
    } else {
        pattern.to_owned()
    };
    matches(whole.as_bytes(), path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_stay_within_directories_unless_doubled() {
        for (pattern, path, expected) in [
            ("*", "a/b.txt", true),
            ("*.txt", "b.txt", true),
            ("*.txt", "a/b.txt", false),
            ("a/*", "a/b.txt", true),
            ("**/*.txt", "a/c/b.txt", true),
            ("**/*.txt", "b.txt", true),
            ("a/", "a/c/b.txt", true),
            ("a/?.txt", "a/b.txt", true),
            ("a/b.txt", "a/b.txtx", false),
        ] {
            assert_eq!(glob(pattern, path), expected, "{pattern} {path}");
        }
    }
}
