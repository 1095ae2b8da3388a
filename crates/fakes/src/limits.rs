//! The limits both fakes enforce: rates, quotas, times. One file, read by the fakes and by the load test's
//! offline bound. `limits/default.toml` holds the references' figures, each with its source;
//! `limits/demo.toml` raises quotas for the demo.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

const DEFAULT: &str = include_str!("../limits/default.toml");
const DEMO: &str = include_str!("../limits/demo.toml");

/// Why a limits file or a change of it is refused.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("limits file {path} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not a limits file.
    #[error("limits {name} are malformed")]
    Parse {
        /// File or built-in name.
        name: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A change does not fit the shape of the limits.
    #[error("the limits would not be valid")]
    Change(#[source] serde_json::Error),
}

/// All limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Boot, stop, delete and operation times are divided by this. Rate windows never are.
    pub speed: f64,
    /// What Buildkite enforces.
    pub buildkite: Buildkite,
    /// What Google enforces, and how long it takes.
    pub gce: Gce,
}

/// Buildkite's limits. Times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buildkite {
    /// Requests per sliding second, by scope name; a scope that is absent is not limited.
    pub rates_per_second: BTreeMap<String, u32>,
    /// Whether a 429 carries `Retry-After` as well.
    pub retry_after: bool,
    /// Reservation length when none is given.
    pub reservation_default_s: u32,
    /// Longest reservation.
    pub reservation_max_s: u32,
    /// Job acquisition token life when none is given.
    pub acquisition_token_default_s: u32,
    /// Longest life of a job acquisition token.
    pub acquisition_token_max_s: u32,
    /// Most UUIDs (or notifications) in one call.
    pub batch_max: usize,
    /// Most notifications a job can have.
    pub notifications_per_job: usize,
    /// Most characters in one notification.
    pub notification_chars: usize,
    /// How long after its end a job still takes notifications.
    pub notification_after_finish_s: u32,
    /// Most bytes of the detail of a stack's finish.
    pub finish_detail_bytes: usize,
    /// Most stacks of one organization.
    pub stacks_per_organization: usize,
    /// How many jobs a build can hold.
    pub jobs_per_build: usize,
    /// How many jobs one pipeline upload can add.
    pub jobs_per_upload: usize,
    /// How many builds a chain can have in which each triggers the next.
    #[serde(default = "trigger_depth")]
    pub trigger_depth: usize,
    /// An agent silent for so long is lost.
    pub agent_lost_after_s: u32,
    /// The server looks for lost agents this often.
    pub agent_lost_sweep_s: u32,
    /// A job acquired but not started goes back to `scheduled` after this.
    pub accepted_expiry_s: u32,
    /// A job whose cancel its agent does not answer is `canceled` after this.
    pub cancel_expiry_s: u32,
    /// A pipeline upload is applied this long after it was accepted.
    pub upload_apply_s: f64,
    /// Intervals that registered agents are given.
    pub ping_interval_s: u32,
    /// See `ping_interval_s`.
    pub heartbeat_interval_s: u32,
    /// See `ping_interval_s`.
    pub job_status_interval_s: u32,
    /// Largest log chunk, uncompressed bytes.
    pub chunk_max_bytes: usize,
    /// Largest log kept.
    pub log_max_bytes: usize,
    /// Most bytes of an annotation body.
    pub annotation_max_bytes: usize,
    /// What the GraphQL API enforces.
    #[serde(default)]
    pub graphql: GraphQl,
    /// What the REST API enforces.
    #[serde(default)]
    pub rest: Rest,
    /// How webhooks are sent.
    #[serde(default)]
    pub webhooks: Webhooks,
}

/// Limits of the REST API, in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Of the organization within a window.
    pub organization_requests: u64,
    /// Of one user within a window.
    pub user_requests: u64,
    /// Length of the window, seconds.
    pub window_s: u32,
}

impl Default for Rest {
    fn default() -> Self {
        Limits::standard().buildkite.rest
    }
}

/// How webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// How often a delivery is tried that is not answered with 2xx.
    pub attempts: u32,
    /// How long an answer may take.
    pub timeout_s: u32,
}

impl Default for Webhooks {
    fn default() -> Self {
        Limits::standard().buildkite.webhooks
    }
}

/// Limits of the GraphQL API, in points: one for each object that a query returns or could return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphQl {
    /// Most points that one query can ask for.
    pub query_complexity: u64,
    /// Deepest query, in fields.
    pub query_depth: usize,
    /// Points that all queries of the organization can return within a window.
    pub organization_complexity: u64,
    /// Points that the queries of one user can return within a window.
    pub user_complexity: u64,
    /// Length of the window, seconds.
    pub window_s: u32,
}

impl Default for GraphQl {
    fn default() -> Self {
        Limits::standard().buildkite.graphql
    }
}

/// A range in seconds, written `[from, to]`; a value is drawn from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range(pub f64, pub f64);

/// Google's quotas, rates and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gce {
    /// Regions that exist for the projects; their zones come from the catalogue.
    pub regions: Vec<String>,
    /// Limit of each classic metric in each region.
    pub quotas: BTreeMap<String, f64>,
    /// vCPU limit in each region of the families without a classic metric (`CPUS_PER_VM_FAMILY`).
    pub family_quotas: BTreeMap<String, f64>,
    /// Local SSD GB limit in each region of those families (`LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY`).
    pub family_local_ssd_quotas: BTreeMap<String, f64>,
    /// Limits of the project over all regions.
    pub project_quotas: BTreeMap<String, f64>,
    /// Limits that differ in one region.
    #[serde(default)]
    pub regional: BTreeMap<String, Regional>,
    /// Calls per clock-aligned minute, by rate group (per region, or per project for global groups).
    pub rates_per_minute: BTreeMap<String, u32>,
    /// Bulk requests per second and project.
    pub bulk_per_second: u32,
    /// Bulk operations running at the same time in a project.
    pub bulk_running: u32,
    /// Operations pending or running at the same time in a project and region.
    pub concurrent_operations: u32,
    /// Addresses of the default subnet in each region.
    pub subnet_addresses: u32,
    /// Times of an instance.
    pub boot: Boot,
    /// Times of operations.
    pub operations: Operations,
    /// How long after a change lists show it.
    pub list_lag_s: f64,
    /// How long after a change `regions.get` shows the usage.
    pub usage_lag_s: f64,
    /// Choices where the reference leaves open what Google does.
    #[serde(default)]
    pub switches: crate::gce::Switches,
}

/// Limits of one region that differ from the general ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regional {
    /// See [`Gce::quotas`].
    pub quotas: BTreeMap<String, f64>,
    /// See [`Gce::family_quotas`].
    pub family_quotas: BTreeMap<String, f64>,
    /// See [`Gce::family_local_ssd_quotas`].
    pub family_local_ssd_quotas: BTreeMap<String, f64>,
}

/// How long the states of an instance last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// PROVISIONING.
    pub provisioning_s: Range,
    /// STAGING.
    pub staging_s: Range,
    /// From RUNNING until the guest program starts.
    pub guest_s: Range,
    /// STOPPING, when stopped or powered off.
    pub stopping_s: Range,
    /// STOPPING, when deleted.
    pub deleting_s: Range,
    /// Notice of a preemption.
    pub preemption_s: f64,
}

/// How long operations take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// PENDING.
    pub pending_s: Range,
    /// Until a quota refusal shows.
    pub quota_s: Range,
    /// Until a stockout shows.
    pub stockout_s: Range,
    /// How long a DONE operation can be read.
    pub retention_s: f64,
}

impl Limits {
    /// The references' figures (`limits/default.toml`).
    pub fn standard() -> Self {
        static READ: OnceLock<Limits> = OnceLock::new();
        let read = || toml::from_str(DEFAULT).expect("limits/default.toml is part of the program and tested");
        READ.get_or_init(read).clone()
    }

    /// The demo's raised quotas and short boots (`limits/demo.toml`).
    pub fn demo() -> Self {
        static READ: OnceLock<Limits> = OnceLock::new();
        let read = || toml::from_str(DEMO).expect("limits/demo.toml is part of the program and tested");
        READ.get_or_init(read).clone()
    }

    /// Reads a whole limits file. The names `default` and `demo` mean the two built-in ones.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text = match name.as_str() {
            "default" => DEFAULT.to_owned(),
            "demo" => DEMO.to_owned(),
            _ => std::fs::read_to_string(path).map_err(|source| Error::Read {
                path: name.clone(),
                source,
            })?,
        };
        toml::from_str(&text).map_err(|source| Error::Parse { name, source })
    }

    /// The limits after a partial change (RFC 7396: objects merge, `null` removes, all else replaces).
    pub fn merged(&self, change: &Value) -> Result<Self, Error> {
        let mut whole = serde_json::to_value(self).map_err(Error::Change)?;
        merge(&mut whole, change);
        serde_json::from_value(whole).map_err(Error::Change)
    }
}

/// Files from before there were trigger steps do not have it.
fn trigger_depth() -> usize {
    10
}

fn merge(into: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    let Value::Object(into) = into else { return };
    for (key, value) in change {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_built_in_limits_parse_and_the_demo_differs_only_in_what_it_raises() {
        let (standard, demo) = (Limits::standard(), Limits::demo());
        assert_eq!(standard.buildkite, demo.buildkite);
        assert_eq!(standard.gce.rates_per_minute, demo.gce.rates_per_minute);
        for (metric, limit) in &standard.gce.quotas {
            assert!(demo.gce.quotas[metric] >= *limit, "{metric} is lower in the demo");
        }
    }

    #[test]
    fn a_change_merges_and_an_unknown_key_is_refused() {
        let limits = Limits::standard();
        let changed = limits
            .merged(&json!({"gce":{"quotas":{"N2D_CPUS": 7},"boot":{"guest_s":[1,1]}}}))
            .unwrap();
        assert_eq!(changed.gce.quotas["N2D_CPUS"], 7.0);
        assert_eq!(changed.gce.boot.guest_s, Range(1.0, 1.0));
        assert_eq!(changed.buildkite, limits.buildkite);
        assert!(limits.merged(&json!({"gce":{"qotas":{}}})).is_err());
        assert!(limits.merged(&json!({"gce":{"bulk_running":null}})).is_err());
        assert!(limits.merged(&json!(3)).is_err());
    }
}
