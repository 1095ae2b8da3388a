//! Meta-data: text values by key, shared by all jobs of a build.

use uuid::Uuid;

use crate::buildkite::ids::{BuildKey, Refusal};
use crate::buildkite::model::Model;

impl Model {
    /// The build whose meta-data a call means: by the job's id, or by the build's own.
    fn meta_data_of(&self, token: &str, of: MetaDataOf) -> Result<BuildKey, Refusal> {
        match of {
            MetaDataOf::Job(job) => Ok(self.jobs[self.job_of_token(token, job)?.0].build),
            MetaDataOf::Build(build) => Ok(self.build_of_token(token, build)?.0),
        }
    }

    /// Sets values.
    pub fn set_meta_data(
        &mut self,
        token: &str,
        of: MetaDataOf,
        items: Vec<(String, String)>,
    ) -> Result<(), Refusal> {
        let build = self.meta_data_of(token, of)?;
        if items.iter().any(|(key, _)| key.is_empty()) {
            return Err(Refusal::unprocessable("key can't be blank"));
        }
        if items.iter().any(|(_, value)| value.is_empty()) {
            return Err(Refusal::unprocessable("value can't be blank"));
        }
        self.builds[build.0].meta_data.extend(items);
        Ok(())
    }

    /// A value, if there is one.
    pub fn meta_data(&self, token: &str, of: MetaDataOf, key: &str) -> Result<Option<String>, Refusal> {
        Ok(self.builds[self.meta_data_of(token, of)?.0]
            .meta_data
            .get(key)
            .cloned())
    }

    /// All keys.
    pub fn meta_data_keys(&self, token: &str, of: MetaDataOf) -> Result<Vec<String>, Refusal> {
        Ok(self.builds[self.meta_data_of(token, of)?.0]
            .meta_data
            .keys()
            .cloned()
            .collect())
    }
}

/// Whose meta-data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaDataOf {
    /// That of the job's build.
    Job(Uuid),
    /// That of the build, for reading.
    Build(Uuid),
}
