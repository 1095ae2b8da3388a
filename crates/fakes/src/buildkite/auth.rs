//! Which secret opens what. Four kinds, never interchangeable: agent token, job acquisition token, session,
//! job token.

use uuid::Uuid;

use super::ids::{AgentKey, BuildKey, JobKey, Refusal};
use super::model::Model;

impl Model {
    /// The cluster of an agent token.
    pub fn cluster_of_token(&self, token: &str) -> Result<usize, Refusal> {
        self.clusters
            .iter()
            .position(|cluster| cluster.tokens.iter().any(|(known, _)| known == token))
            .ok_or_else(|| {
                Refusal::unauthorized("Authentication required. Please supply a valid agent token")
            })
    }

    /// The agent of a session.
    pub(super) fn agent_of_session(&self, token: &str) -> Result<AgentKey, Refusal> {
        self.sessions
            .get(token)
            .copied()
            .ok_or_else(|| Refusal::unauthorized("The access token is not that of an agent session"))
    }

    /// The job of a job token, whatever its state.
    pub(super) fn job_of_token_ever(&self, token: &str, job: Uuid) -> Result<JobKey, Refusal> {
        match self.job_tokens.get(token) {
            Some(key) if self.jobs[key.0].uuid == job => Ok(*key),
            _ => Err(Refusal::unauthorized("The token is not the token of this job")),
        }
    }

    /// The job of a job token, which dies with the job.
    pub(super) fn job_of_token(&self, token: &str, job: Uuid) -> Result<JobKey, Refusal> {
        let key = self.job_of_token_ever(token, job)?;
        if self.jobs[key.0].state.is_terminal() {
            return Err(Refusal::unauthorized(
                "The job has ended, its token is no longer valid",
            ));
        }
        Ok(key)
    }

    /// The build that a live job token may act on.
    pub(super) fn build_of_token(&self, token: &str, build: Uuid) -> Result<(BuildKey, JobKey), Refusal> {
        let key = self.any_job_of_token(token)?;
        match self.builds_by_uuid.get(&build) {
            Some(build) if *build == self.jobs[key.0].build => Ok((*build, key)),
            _ => Err(Refusal::not_found("build")),
        }
    }

    /// The live job of whatever job token this is.
    pub(super) fn any_job_of_token(&self, token: &str) -> Result<JobKey, Refusal> {
        let key = self.job_tokens.get(token).copied();
        key.filter(|key| !self.jobs[key.0].state.is_terminal())
            .ok_or_else(|| Refusal::unauthorized("The token is not the token of a job that runs"))
    }

    /// The agent behind a session or a job token: `stop`, `pause` and `resume` take both.
    pub(super) fn agent_of_any(&self, token: &str) -> Result<AgentKey, Refusal> {
        if let Ok(agent) = self.agent_of_session(token) {
            return Ok(agent);
        }
        let job = self.any_job_of_token(token)?;
        self.jobs[job.0]
            .agent
            .ok_or_else(|| Refusal::unauthorized("The job has no agent"))
    }
}
