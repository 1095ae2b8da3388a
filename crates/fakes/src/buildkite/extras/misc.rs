//! Small calls of a job: secrets, identity tokens, promised failure; and the token's own identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::buildkite::ids::{self, Refusal};
use crate::buildkite::job::State;
use crate::buildkite::model::Model;
use crate::event::Effects;
use crate::now::Now;

impl Model {
    /// A secret of the cluster: its value and a UUID.
    pub fn secret(&mut self, token: &str, job: Uuid, key: &str) -> Result<(String, Uuid), Refusal> {
        self.job_of_token(token, job)?;
        let value = self
            .config
            .secrets
            .get(key)
            .cloned()
            .ok_or_else(|| Refusal::not_found("secret"))?;
        Ok((value, ids::uuid(&mut self.rng)))
    }

    /// An OIDC token. It has the shape and the claims of one, but its signature is random: nothing verifies
    /// against it, and nobody must trust it.
    pub fn oidc_token(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        audience: Option<&str>,
        lifetime_s: u64,
    ) -> Result<String, Refusal> {
        let key = self.job_of_token(token, job)?;
        let (build, organization) = (self.build_of(key), &self.config.organization);
        let issued = (now.unix_ns / 1_000_000_000) as u64;
        let lifetime_s = if lifetime_s == 0 { 300 } else { lifetime_s };
        let claims = json!({
            "iss": self.config.base_url,
            "sub": format!("organization:{organization}:pipeline:{}:ref:refs/heads/{}:commit:HEAD:step:{}",
                build.pipeline, build.branch, self.step_of(key).key.as_deref().unwrap_or("")),
            "aud": audience.unwrap_or("https://buildkite.invalid/gust-demo"),
            "iat": issued, "nbf": issued, "exp": issued + lifetime_s,
            "organization_slug": organization, "pipeline_slug": build.pipeline,
            "build_number": build.number, "build_branch": build.branch, "build_commit": "HEAD",
            "step_key": self.step_of(key).key, "job_id": job.to_string(),
            "agent_id": self.jobs[key.0].agent.map(|agent| self.agents[agent.0].uuid.to_string()),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut signature = [0; 64];
        self.rng.fill_bytes(&mut signature);
        let head = part(&json!({"alg": "RS256", "typ": "JWT", "kid": "not-a-real-key"}));
        Ok(format!(
            "{head}.{}.{}",
            part(&claims),
            URL_SAFE_NO_PAD.encode(signature)
        ))
    }

    /// The job promises to fail.
    pub fn promise_failure(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        promise: Value,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        self.jobs[key.0].promised_failure = Some(promise);
        self.tell_about_job(now, key, "job.promised_exit_status", out);
        Ok(())
    }

    /// A token to clone a repository with: there is no provider to give one.
    pub fn repository_access_token(&self, token: &str, job: Uuid) -> Result<String, Refusal> {
        self.job_of_token(token, job)?;
        Err(Refusal::unprocessable(
            "The pipeline's repository provider issues no access tokens",
        ))
    }

    /// `GET /v3/token`: what an agent token is.
    pub fn token_identity(&self, token: &str) -> Result<Value, Refusal> {
        let cluster = &self.clusters[self.cluster_of_token(token)?];
        let uuid = cluster
            .tokens
            .iter()
            .find(|(known, _)| known == token)
            .map(|(_, uuid)| uuid.to_string());
        Ok(json!({
            "uuid": uuid,
            "description": "Token of the fake",
            "token_type": "cluster",
            "organization_slug": self.config.organization,
            "organization_uuid": self.organization.to_string(),
            "cluster_uuid": cluster.uuid.to_string(),
            "cluster_name": cluster.name,
            "organization_queue_uuid": null,
            "organization_queue_key": null,
        }))
    }

    /// `GET /v3/metrics`: counts of jobs and agents, for each queue of the token's cluster.
    pub fn metrics(&self, token: &str) -> Result<Value, Refusal> {
        let cluster = self.cluster_of_token(token)?;
        let mut jobs: Vec<[u64; 3]> = vec![[0; 3]; self.queues.len()];
        for job in &self.jobs {
            let place = match job.state {
                State::Scheduled | State::Reserved => 0,
                State::Accepted | State::Running | State::Canceling | State::TimingOut => 1,
                State::Waiting | State::Limited => 2,
                _ => continue,
            };
            jobs[job.queue.0][place] += 1;
        }
        let mut agents: Vec<[u64; 2]> = vec![[0; 2]; self.queues.len()];
        for agent in &self.agents {
            if agent.state == crate::buildkite::AgentState::Connected {
                agents[agent.queue.0][usize::from(agent.job.is_some())] += 1;
            }
        }
        let counts = |jobs: [u64; 3]| json!({"scheduled": jobs[0], "running": jobs[1], "waiting": jobs[2], "total": jobs.iter().sum::<u64>()});
        let crews =
            |agents: [u64; 2]| json!({"idle": agents[0], "busy": agents[1], "total": agents[0] + agents[1]});
        let (mut by_queue, mut crew_by_queue) = (Map::new(), Map::new());
        let (mut all, mut crew) = ([0; 3], [0; 2]);
        for (index, queue) in self
            .queues
            .iter()
            .enumerate()
            .filter(|(_, queue)| queue.cluster == cluster)
        {
            by_queue.insert(queue.key.clone(), counts(jobs[index]));
            crew_by_queue.insert(queue.key.clone(), crews(agents[index]));
            (0..3).for_each(|place| all[place] += jobs[index][place]);
            (0..2).for_each(|place| crew[place] += agents[index][place]);
        }
        let (mut total, mut total_crew) = (counts(all), crews(crew));
        total["queues"] = by_queue.into();
        total_crew["queues"] = crew_by_queue.into();
        Ok(json!({
            "agents": total_crew, "jobs": total,
            "organization": {"slug": self.config.organization}, "cluster": {"name": self.clusters[cluster].name},
        }))
    }
}
