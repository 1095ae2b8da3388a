//! Small calls of a job: secrets, identity tokens, promised failure; and the token's own identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::buildkite::ids::{self, Refusal};
use crate::buildkite::model::Model;
use crate::event::Effects;
use crate::now::Now;
use crate::stamp::rfc3339;

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
        mut promise: Map<String, Value>,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        promise.insert("promised_at".into(), rfc3339(now.unix_ns).into());
        self.jobs[key.0].promised_failure = Some(promise.into());
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
}
