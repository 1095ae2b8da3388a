//! The Stacks API's JSON, as it is on the wire.
//!
//! Reading is tolerant where the service is known to vary (unknown fields, null for lists, maps and nested
//! objects, both spellings of the pause flag) and strict where a wrong guess would harm: a reply without
//! its main field is no reply, so an error page in JSON never reads as "no jobs".

use std::collections::BTreeMap;

use gust_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use uuid::Uuid;

/// `null` reads as empty; a missing field stays an error unless the field has a default.
pub(crate) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A moment, or nothing where it is null or in no form we read.
pub(crate) fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(from)?
        .as_deref()
        .and_then(Timestamp::parse_rfc3339))
}

fn strict_moment<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    Timestamp::parse_rfc3339(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no RFC 3339 time")))
}

#[derive(Serialize)]
pub(crate) struct RegisterRequest<'a> {
    pub key: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub queue_key: &'a str,
    pub metadata: &'a BTreeMap<String, String>,
}

/// What Buildkite says about a registered stack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stack {
    /// The stack's key, as sent.
    pub key: String,
    /// The queue it was registered for, in Buildkite's spelling.
    #[serde(default)]
    pub cluster_queue_key: Option<String>,
    /// `connected`, `disconnected` or `lost`.
    #[serde(default)]
    pub state: Option<String>,
}

/// Whose token it is: the reply of `GET /token`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TokenIdentity {
    /// The token's own id (not the token).
    pub uuid: Option<String>,
    /// What a person called it.
    #[serde(default)]
    pub description: Option<String>,
    /// The organization's slug.
    #[serde(default)]
    pub organization_slug: Option<String>,
    /// The cluster, absent for a token that belongs to none; such a token cannot be used.
    #[serde(default)]
    pub cluster_uuid: Option<String>,
    /// The cluster's name.
    #[serde(default)]
    pub cluster_name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ListReply<J> {
    #[serde(deserialize_with = "or_empty", bound(deserialize = "J: Deserialize<'de>"))]
    pub jobs: Vec<J>,
    #[serde(default, deserialize_with = "or_empty")]
    pub page_info: PageInfo,
    #[serde(default, deserialize_with = "or_empty")]
    pub cluster_queue: ClusterQueue,
}

#[derive(Default, Deserialize)]
pub(crate) struct PageInfo {
    #[serde(default, deserialize_with = "or_empty")]
    has_next_page: bool,
    #[serde(default)]
    end_cursor: Option<String>,
}

impl PageInfo {
    pub(crate) fn next(self) -> Option<String> {
        self.end_cursor
            .filter(|cursor| self.has_next_page && !cursor.is_empty())
    }
}

#[derive(Default, Deserialize)]
pub(crate) struct ClusterQueue {
    /// The documentation's name.
    #[serde(default, deserialize_with = "or_empty")]
    dispatch_paused: bool,
    /// The name in Buildkite's own Go client.
    #[serde(default, deserialize_with = "or_empty")]
    paused: bool,
}

impl ClusterQueue {
    pub(crate) fn is_paused(&self) -> bool {
        self.dispatch_paused || self.paused
    }
}

#[derive(Deserialize)]
pub(crate) struct ListedJob {
    pub id: Uuid,
    #[serde(default, deserialize_with = "or_empty")]
    pub priority: i64,
    #[serde(default, deserialize_with = "or_empty")]
    pub agent_query_rules: Vec<String>,
    #[serde(default, deserialize_with = "moment")]
    pub scheduled_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    pub runnable_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_empty")]
    pub pipeline: Pipeline,
    #[serde(default, deserialize_with = "or_empty")]
    pub build: Build,
    #[serde(default, deserialize_with = "or_empty")]
    pub step: Step,
}

#[derive(Default, Deserialize)]
pub(crate) struct Pipeline {
    #[serde(default, deserialize_with = "or_empty")]
    pub slug: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct Build {
    #[serde(default, deserialize_with = "or_empty")]
    pub number: u64,
    #[serde(default, deserialize_with = "or_empty")]
    pub branch: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct Step {
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ReserveRequest<'a> {
    pub job_uuids: &'a [Uuid],
    pub reservation_expiry_seconds: u64,
}

#[derive(Deserialize)]
pub(crate) struct ReserveReply {
    #[serde(deserialize_with = "or_empty")]
    pub reserved: Vec<Uuid>,
}

#[derive(Serialize)]
pub(crate) struct StatesRequest<'a> {
    pub job_uuids: &'a [Uuid],
}

#[derive(Deserialize)]
pub(crate) struct StatesReply {
    #[serde(deserialize_with = "or_empty")]
    pub states: BTreeMap<Uuid, Option<String>>,
}

/// The reply of get-job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JobDetail {
    /// The job's environment, without what agents add.
    #[serde(default, deserialize_with = "env")]
    pub env: BTreeMap<String, String>,
    /// What it runs.
    #[serde(default)]
    pub command: Option<String>,
}

fn env<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let env = Option::<BTreeMap<String, Option<String>>>::deserialize(from)?.unwrap_or_default();
    Ok(env
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect())
}

#[derive(Serialize)]
pub(crate) struct FinishRequest<'a> {
    /// Always sent: left out it means -1, even where 0 was meant.
    pub exit_status: i32,
    pub detail: &'a str,
}

#[derive(Serialize)]
pub(crate) struct NotifyRequest<'a> {
    pub notifications: Vec<NotificationEntry<'a>>,
}

#[derive(Serialize)]
pub(crate) struct NotificationEntry<'a> {
    pub job_uuid: Uuid,
    pub detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct NotifyReply {
    #[serde(default, deserialize_with = "or_empty")]
    pub errors: Vec<NotifyError>,
}

#[derive(Deserialize)]
pub(crate) struct NotifyError {
    #[serde(default, deserialize_with = "or_empty")]
    pub error: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub indexes: Vec<usize>,
}

#[derive(Serialize)]
pub(crate) struct TokensRequest<'a> {
    pub job_uuids: &'a [Uuid],
    pub token_lifetime_seconds: u64,
}

#[derive(Deserialize)]
pub(crate) struct TokensReply {
    #[serde(deserialize_with = "or_empty")]
    pub job_acquisition_tokens: Vec<IssuedToken>,
}

#[derive(Deserialize)]
pub(crate) struct IssuedToken {
    pub job_uuid: Uuid,
    pub job_acquisition_token: String,
    #[serde(deserialize_with = "strict_moment")]
    pub expires_at: Timestamp,
}

/// A page's entries, and what could not be read of them: one job in a strange form must not hide the rest.
pub(crate) fn read_jobs(entries: Vec<Value>) -> (Vec<ListedJob>, Vec<(String, serde_json::Error)>) {
    let mut jobs = Vec::with_capacity(entries.len());
    let mut unreadable = Vec::new();
    for entry in entries {
        let id = entry
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or("without an id")
            .chars()
            .take(60)
            .collect();
        match serde_json::from_value(entry) {
            Ok(job) => jobs.push(job),
            Err(cause) => unreadable.push((id, cause)),
        }
    }
    (jobs, unreadable)
}

#[cfg(test)]
mod tests;
