//! What exists before anything happens: organization, clusters, queues, tokens, secrets.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::webhooks::Webhook;

/// The organization as it starts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Slug of the organization.
    pub organization: String,
    /// Its clusters; builds go to the first unless they name one.
    pub clusters: Vec<Cluster>,
    /// API access tokens.
    pub api_tokens: Vec<String>,
    /// Scopes of API access tokens (`read_builds`, `write_builds`); those that are not in here have all.
    pub api_scopes: BTreeMap<String, Vec<String>>,
    /// Who is told of what happens.
    pub webhooks: Vec<Webhook>,
    /// Secrets of every cluster, for `GET /jobs/:id/secrets`.
    pub secrets: BTreeMap<String, String>,
    /// Whether agents check code out. Off: every job has `BUILDKITE_SKIP_CHECKOUT=true`.
    pub checkout: bool,
    /// Repository of every pipeline. The agent insists on a value, also where it checks nothing out.
    pub repository: String,
    /// Artifacts from this size on are uploaded in parts, where the agent can.
    pub multipart_from_bytes: u64,
    /// Where agents reach this Buildkite, `http://127.0.0.1:40002`; set by the skin when it knows its port.
    pub base_url: String,
}

/// One cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its self-hosted queues; the first is the default one.
    pub queues: Vec<String>,
    /// Its agent tokens.
    pub tokens: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            organization: "gust-demo".into(),
            clusters: vec![Cluster {
                name: "gust-demo".into(),
                queues: vec!["gust".into()],
                tokens: vec!["bkct_fake".into()],
            }],
            api_tokens: vec!["bkua_fake".into()],
            api_scopes: BTreeMap::new(),
            webhooks: Vec::new(),
            secrets: BTreeMap::new(),
            checkout: false,
            repository: "https://git.invalid/gust-demo.git".into(),
            multipart_from_bytes: 8 << 20,
            base_url: String::new(),
        }
    }
}

/// Spellings of "the default queue" that clients send (`_default` by the Go client, `~` and `-` by
/// agent-stack-k8s, `__default__` by the documentation).
pub(super) const DEFAULT_QUEUE: [&str; 4] = ["__default__", "_default", "~", "-"];
