//! A job's environment. It is the server's work: the agent only adds its own paths, endpoint and token.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::build::StepKind;
use super::ids::{AgentKey, JobKey};
use super::model::Model;

impl Model {
    /// The environment as the Stacks API shows it: without what only an agent adds.
    pub(super) fn env_of(&self, key: JobKey) -> IndexMap<String, String> {
        let (job, build, step) = (&self.jobs[key.0], self.build_of(key), self.step_of(key));
        let organization = &self.config.organization;
        let plan = self.plan_of(key);
        let mut env: IndexMap<String, String> = IndexMap::new();
        env.extend(build.env.clone());
        if let Some(plan) = plan {
            env.extend(plan.env.clone());
        }
        let url = format!(
            "{}/{organization}/{}/builds/{}",
            self.config.base_url, build.pipeline, build.number
        );
        let label = self.label_of(key).unwrap_or_default().to_owned();
        let text = |value: &str| value.to_owned();
        let own = [
            ("CI", text("true")),
            ("BUILDKITE", text("true")),
            ("BUILDKITE_ORGANIZATION_SLUG", organization.clone()),
            ("BUILDKITE_ORGANIZATION_ID", self.organization.to_string()),
            ("BUILDKITE_PIPELINE_SLUG", build.pipeline.clone()),
            ("BUILDKITE_PIPELINE_NAME", build.pipeline.clone()),
            ("BUILDKITE_PIPELINE_ID", build.pipeline_uuid.to_string()),
            ("BUILDKITE_PIPELINE_PROVIDER", text("git")),
            ("BUILDKITE_PIPELINE_DEFAULT_BRANCH", text("main")),
            (
                "BUILDKITE_PROJECT_SLUG",
                format!("{organization}/{}", build.pipeline),
            ),
            ("BUILDKITE_PROJECT_PROVIDER", text("git")),
            ("BUILDKITE_REPO", self.config.repository.clone()),
            (
                "BUILDKITE_CLUSTER_ID",
                self.clusters[build.cluster].uuid.to_string(),
            ),
            (
                "BUILDKITE_CLUSTER_NAME",
                self.clusters[build.cluster].name.clone(),
            ),
            ("BUILDKITE_BUILD_ID", build.uuid.to_string()),
            ("BUILDKITE_BUILD_NUMBER", build.number.to_string()),
            ("BUILDKITE_BUILD_URL", url),
            ("BUILDKITE_BUILD_CREATOR", text("Gust Demo")),
            ("BUILDKITE_BUILD_CREATOR_EMAIL", text("demo@gust.invalid")),
            ("BUILDKITE_BRANCH", build.branch.clone()),
            ("BUILDKITE_COMMIT", build.commit.clone()),
            ("BUILDKITE_MESSAGE", build.message_text()),
            ("BUILDKITE_TAG", String::new()),
            ("BUILDKITE_SOURCE", text(build.source())),
            ("BUILDKITE_PULL_REQUEST", text("false")),
            ("BUILDKITE_PULL_REQUEST_BASE_BRANCH", String::new()),
            ("BUILDKITE_PULL_REQUEST_REPO", String::new()),
            ("BUILDKITE_JOB_ID", job.uuid.to_string()),
            ("BUILDKITE_LABEL", label),
            ("BUILDKITE_STEP_ID", step.uuid.to_string()),
            ("BUILDKITE_STEP_KEY", step.key.clone().unwrap_or_default()),
            (
                "BUILDKITE_COMMAND",
                plan.map(|plan| plan.command.clone()).unwrap_or_default(),
            ),
            (
                "BUILDKITE_SCRIPT_PATH",
                plan.map(|plan| plan.command.clone()).unwrap_or_default(),
            ),
            (
                "BUILDKITE_ARTIFACT_PATHS",
                plan.map(|plan| plan.artifact_paths.clone()).unwrap_or_default(),
            ),
            (
                "BUILDKITE_PLUGINS",
                plan.map_or_else(|| text("[]"), |plan| plan.plugins.to_string()),
            ),
            ("BUILDKITE_RETRY_COUNT", job.retries.to_string()),
            (
                "BUILDKITE_TIMEOUT",
                job.timeout_minutes
                    .map_or_else(|| text("false"), |minutes| minutes.to_string()),
            ),
            ("BUILDKITE_COMPUTE_TYPE", text("self-hosted")),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        if build.from.is_some() {
            let origin = self.origin_env(build);
            env.extend(origin.map(|(name, value)| (name.to_owned(), value)));
        }
        if let Some((index, count)) = job.parallel {
            env.insert("BUILDKITE_PARALLEL_JOB".into(), index.to_string());
            env.insert("BUILDKITE_PARALLEL_JOB_COUNT".into(), count.to_string());
        }
        if let Some((limit, name)) = plan.and_then(|plan| plan.concurrency.clone()) {
            env.insert("BUILDKITE_CONCURRENCY_GROUP".into(), name);
            env.insert("BUILDKITE_CONCURRENCY".into(), limit.to_string());
        }
        if !self.config.checkout {
            env.insert("BUILDKITE_SKIP_CHECKOUT".into(), "true".into());
        }
        env
    }

    /// The environment that an accepted acquire carries.
    pub(super) fn env_for_agent(&self, key: JobKey, agent: AgentKey) -> IndexMap<String, String> {
        let agent = &self.agents[agent.0];
        let mut env = self.env_of(key);
        env.insert("BUILDKITE_AGENT_ID".into(), agent.uuid.to_string());
        env.insert("BUILDKITE_AGENT_NAME".into(), agent.name.clone());
        let mut queue = Some(self.queues[agent.queue.0].key.clone());
        for tag in &agent.tags {
            let (name, value) = tag.split_once('=').unwrap_or((tag, "true"));
            if name == "queue" {
                queue = None;
            }
            env.insert(meta_data_variable(name), value.to_owned());
        }
        if let Some(queue) = queue {
            env.insert(meta_data_variable("queue"), queue);
        }
        env
    }

    /// The values of a matrix by dimension, as the agent reads them; empty without one.
    pub(super) fn matrix_permutation(&self, key: JobKey) -> IndexMap<String, String> {
        let combination = self.combination_of(key);
        combination.map_or_else(IndexMap::new, |combination| combination.values.clone())
    }

    /// The values of a matrix as the APIs show them; null without one.
    pub(super) fn matrix_json(&self, key: JobKey) -> Value {
        json!(self.combination_of(key).map(|combination| &combination.values))
    }

    /// The command step as the agent reads it, a matrix not yet in it. Never a `signature`: the agent has no keys for it.
    pub(super) fn step_json(&self, key: JobKey) -> Value {
        let step = self.step_of(key);
        let StepKind::Command(plan) = &step.kind else {
            return json!({});
        };
        let mut out = json!({ "command": plan.command });
        if let Some(name) = &step.key {
            out["key"] = name.clone().into();
        }
        if let Some(label) = &step.label {
            out["label"] = label.clone().into();
        }
        if !plan.matrix.is_null() {
            out["matrix"] = plan.matrix.clone();
        }
        if !plan.secrets.is_empty() {
            out["secrets"] = plan
                .secrets
                .iter()
                .map(|secret| json!({"key": secret.key, "environment_variable": secret.variable}))
                .collect();
        }
        out
    }
}

fn meta_data_variable(tag: &str) -> String {
    let name: String = tag
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("BUILDKITE_AGENT_META_DATA_{name}")
}
