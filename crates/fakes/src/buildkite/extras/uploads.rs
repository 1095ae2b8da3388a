//! Pipeline uploads: accepted, applied a little later, polled by the agent.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::buildkite::due::Due;
use crate::buildkite::ids::{JobKey, Refusal};
use crate::buildkite::model::Model;
use crate::buildkite::pipeline;
use crate::event::Effects;
use crate::now::Now;

/// How an upload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Accepted.
    Pending,
    /// Its jobs exist.
    Applied,
    /// It cannot be applied, for the reason given.
    Rejected(String),
}

/// A pipeline upload.
#[derive(Clone, Debug)]
pub struct Upload {
    pub(in crate::buildkite) pipeline: Value,
    pub(in crate::buildkite) replace: bool,
    /// How it stands.
    pub state: UploadState,
}

impl Model {
    /// Accepts an upload, to be applied a little later. A repeat under the same UUID is the same upload.
    pub fn upload_pipeline(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        upload: Uuid,
        (pipeline, replace): (Value, bool),
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        if self.uploads.contains_key(&(key, upload)) {
            return Ok(());
        }
        self.uploads.insert(
            (key, upload),
            Upload {
                pipeline,
                replace,
                state: UploadState::Pending,
            },
        );
        let after = Duration::try_from_secs_f64(self.limits.upload_apply_s).unwrap_or_default();
        self.at(now.since_start + after, Due::Upload(key, upload));
        Ok(())
    }

    /// Applies an upload at once: what an agent asks for without `async`.
    pub fn upload_pipeline_now(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        upload: Uuid,
        (pipeline, replace): (Value, bool),
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        if !self.uploads.contains_key(&(key, upload)) {
            let read = pipeline::from_value(&pipeline)?;
            self.add_uploaded(now, key, read, replace, out)?;
            self.uploads.insert(
                (key, upload),
                Upload {
                    pipeline,
                    replace,
                    state: UploadState::Applied,
                },
            );
        }
        Ok(())
    }

    /// How an upload stands.
    pub fn upload_state(&self, token: &str, job: Uuid, upload: Uuid) -> Result<UploadState, Refusal> {
        let key = self.job_of_token(token, job)?;
        let upload = self
            .uploads
            .get(&(key, upload))
            .ok_or_else(|| Refusal::not_found("pipeline upload"))?;
        Ok(upload.state.clone())
    }

    pub(in crate::buildkite) fn apply_upload(
        &mut self,
        now: Now,
        job: JobKey,
        upload: Uuid,
        out: &mut Effects,
    ) {
        let Some(Upload {
            pipeline, replace, ..
        }) = self.uploads.get(&(job, upload)).cloned()
        else {
            return;
        };
        let applied = if self.jobs[job.0].state.is_terminal() {
            Err(Refusal::unprocessable("The job has ended"))
        } else {
            pipeline::from_value(&pipeline).and_then(|read| self.add_uploaded(now, job, read, replace, out))
        };
        if let Some(upload) = self.uploads.get_mut(&(job, upload)) {
            upload.state = match applied {
                Ok(()) => UploadState::Applied,
                Err(refusal) => UploadState::Rejected(refusal.message),
            };
        }
    }
}
