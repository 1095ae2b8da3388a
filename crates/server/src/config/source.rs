//! `[[source]]`: the Buildkite clusters and queues whose jobs gust takes.

use std::{path::PathBuf, time::Duration};

use gust_core::{
    ids::{QueueKey, SourceName, StackName},
    secret::Secret,
};
use serde::Serialize;
use toml::de::DeValue;
use url::Url;

use super::{
    section::{Complaint, Field, Section, choice},
    value::{self, SecretRules},
};

/// Where Buildkite serves both of its agent-side interfaces.
/// Source: buildkite.com/docs/apis/agent-api, "base URL".
const BUILDKITE: &str = "https://agent.buildkite.com/v3";

/// Where it serves its GraphQL API.
/// Source: buildkite.com/docs/apis/graphql-api.
const GRAPHQL: &str = "https://graphql.buildkite.com/v1";

/// Where it serves its REST API.
/// Source: buildkite.com/docs/apis/rest-api.
const REST: &str = "https://api.buildkite.com/v2";

/// Longest stack key. Source: buildkite.com/docs/apis/agent-api/stacks, "register a stack".
const STACK_KEY: usize = 80;

/// By which of Buildkite's interfaces jobs are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The Stacks API.
    Stacks,
    /// The GraphQL API, with the REST API for what it cannot do.
    Graphql,
}

/// How often the list of waiting jobs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Poll {
    /// Shortest pause between two reads, while there is work.
    pub min: Duration,
    /// Longest pause, while there is none.
    pub max: Duration,
}

/// One `[[source]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name in records, logs and metrics.
    pub name: SourceName,
    /// The interface.
    pub kind: SourceKind,
    /// Base URL of the Stacks API, with `/v3`.
    pub endpoint: Url,
    /// Base URL of the Agent API that machines use, with `/v3`.
    pub agent_endpoint: Url,
    /// Token of the cluster's agents.
    #[serde(skip)]
    pub token: Secret,
    /// The file it came from, which is read again when Buildkite does not accept it any more.
    #[serde(skip)]
    pub token_file: Option<PathBuf>,
    /// Queues whose jobs are ours; at least one.
    pub queues: Vec<QueueKey>,
    /// Key under which this gust registers as a stack.
    pub stack_key: String,
    /// Pace of reading the list.
    pub poll: Poll,
    /// Whether machines get the cluster's agent token where the account has no job acquisition tokens.
    pub agent_token_fallback: bool,
    /// By what preempted jobs are run again, not at all by gust where it is not told; and all else with
    /// [`SourceKind::Graphql`], where it always is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
}

/// Buildkite's APIs for people and programs: REST, by which preempted jobs are run again, and GraphQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Api {
    /// Slug of the organization.
    pub organization: String,
    /// Base URL, with `/v2`.
    pub endpoint: Url,
    /// The GraphQL API and what is asked of it, where jobs are found by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graphql: Option<Graphql>,
    /// An API access token with the scopes `read_builds` and `write_builds`, and `graphql` where that is used.
    #[serde(skip)]
    pub token: Secret,
    /// The file it came from, which is read again before each use.
    #[serde(skip)]
    pub token_file: Option<PathBuf>,
}

/// The GraphQL API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graphql {
    /// Base URL, with `/v1`.
    pub endpoint: Url,
    /// GraphQL id of the cluster whose queues are meant; all clusters, and jobs outside of clusters, where it is not told.
    pub cluster: Option<String>,
}

pub(super) fn read(
    section: Section<'_>,
    stack: Option<&StackName>,
    secrets: SecretRules<'_>,
) -> Option<Source> {
    let kinds = [("stacks", SourceKind::Stacks), ("graphql", SourceKind::Graphql)];
    let name = section
        .required("name", "\"main\"")
        .and_then(|f| f.parsed("a text", |t| value::name(t, 40, "-_")));
    let kind = section
        .field("kind")
        .and_then(|f| f.parsed("a text", |t| choice(t, &kinds)))
        .unwrap_or(SourceKind::Stacks);
    let endpoint = section
        .field("endpoint")
        .map(|f| f.parsed("a URL", value::endpoint));
    let agent_endpoint = section
        .field("agent_endpoint")
        .map(|f| f.parsed("a URL", value::endpoint));
    let token = section.required("token", "{ env = \"BUILDKITE_AGENT_TOKEN\" }");
    let token_file = token.as_ref().and_then(file_of);
    let token = token.and_then(|f| value::secret(&f, secrets));
    let queues = read_queues(&section);
    let stack_key = section
        .field("stack_key")
        .and_then(|f| f.parsed("a text", |t| value::name(t, STACK_KEY, "-_")))
        .or_else(|| stack.map(|s| format!("gust-{s}")));
    let poll = read_poll(&section, kind);
    let agent_token_fallback = section.flag("agent_token_fallback", false);
    let api = section
        .section("api")
        .map(|section| read_api(section, kind, secrets));
    if kind == SourceKind::Graphql {
        check_graphql(&section, agent_token_fallback, api.is_some());
    }
    section.close();

    // A URL that was given and refused must not silently become the default; its problem is noted.
    let default = || Url::parse(BUILDKITE).ok();
    let endpoint = endpoint.unwrap_or_else(default)?;
    let agent_endpoint = agent_endpoint.unwrap_or_else(|| Some(endpoint.clone()))?;
    Some(Source {
        name: SourceName::new(name?),
        kind,
        endpoint,
        agent_endpoint,
        token: token?,
        token_file: token_file.map(|file| secrets.base.join(file)),
        queues,
        stack_key: stack_key?,
        poll,
        agent_token_fallback,
        // One that was refused must not silently be none; its problems are noted.
        api: match api {
            Some(read) => Some(read?),
            None => None,
        },
    })
}

/// What only works with more than the Stacks API needs.
fn check_graphql(section: &Section<'_>, agent_token_fallback: bool, has_api: bool) {
    if !has_api {
        let complaint =
            Complaint::new("is missing: by kind = \"graphql\" jobs are found with an API access token");
        let example = "api = { organization = \"my-company\", token = { file = \"buildkite-api.token\" } }";
        section.report("api", complaint.hint(example));
    }
    if !agent_token_fallback {
        let complaint = Complaint::new(
            "must be true with kind = \"graphql\": job acquisition tokens are for the Stacks API, so machines need the agent token",
        );
        let hint = "a job can read that token and run any other job with it: set it if all who can start jobs may do that";
        section.report("agent_token_fallback", complaint.hint(hint));
    }
}

fn read_graphql(section: &Section<'_>) -> Option<Graphql> {
    let endpoint = section
        .field("graphql_endpoint")
        .map(|f| f.parsed("a URL", value::endpoint));
    let cluster = section.field("cluster").map(|f| f.parsed("a text", value::word));
    Some(Graphql {
        endpoint: endpoint.unwrap_or_else(|| Url::parse(GRAPHQL).ok())?,
        cluster: match cluster {
            Some(read) => Some(read?),
            None => None,
        },
    })
}

fn read_api(section: Section<'_>, kind: SourceKind, secrets: SecretRules<'_>) -> Option<Api> {
    let organization = section
        .required("organization", "\"my-company\"")
        .and_then(|f| f.parsed("a text", slug));
    let token = section.required("token", "{ file = \"buildkite-api.token\" }");
    let file = token.as_ref().and_then(file_of);
    let token = token.and_then(|field| value::secret(&field, secrets));
    let endpoint = section
        .field("endpoint")
        .map(|f| f.parsed("a URL", value::endpoint));
    // With the Stacks API these keys mean nothing, and are refused like any other.
    let graphql = match kind {
        SourceKind::Graphql => Some(read_graphql(&section)),
        SourceKind::Stacks => None,
    };
    section.close();
    let endpoint = endpoint.unwrap_or_else(|| Url::parse(REST).ok());
    Some(Api {
        organization: organization?,
        graphql: match graphql {
            Some(read) => Some(read?),
            None => None,
        },
        endpoint: endpoint?,
        token: token?,
        token_file: file.map(|file| secrets.base.join(file)),
    })
}

/// The file that holds a secret, if it is in one.
fn file_of(field: &Field<'_>) -> Option<String> {
    match field.value {
        DeValue::Table(_) => field.section("a table")?.text("file"),
        _ => None,
    }
}

/// An organization as it stands in Buildkite's addresses.
fn slug(text: &str) -> Result<String, Complaint> {
    let sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 100 && text.chars().all(sign) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(format!("`{text}` is no organization's slug"))
        .hint("it has small letters, digits and `-`, as in https://buildkite.com/my-company"))
}

fn read_queues(section: &Section<'_>) -> Vec<QueueKey> {
    let Some(field) = section.required("queues", "[\"gust\"]") else {
        return Vec::new();
    };
    let Some(items) = field.items("a list of queue keys") else {
        return Vec::new();
    };
    if items.is_empty() {
        field.report(Complaint::new("names no queue").hint("for example: queues = [\"gust\"]"));
    }
    let mut queues = Vec::new();
    for item in items {
        // At most 100 letters, digits, `-` and `_` (buildkite.com/docs/agent/queues/managing).
        let Some(queue) = item.parsed("a text", |t| value::name(t, 100, "-_")) else {
            continue;
        };
        let queue = QueueKey::new(queue);
        if queues.contains(&queue) {
            item.report(Complaint::new(format!("`{queue}` is named twice")));
        }
        queues.push(queue);
    }
    queues
}

fn read_poll(section: &Section<'_>, kind: SourceKind) -> Poll {
    let defaults = Poll {
        // Each query costs of a budget for minutes.
        min: match kind {
            SourceKind::Stacks => Duration::from_millis(125),
            SourceKind::Graphql => Duration::from_secs(1),
        },
        max: Duration::from_secs(5),
    };
    let Some(table) = section.section("poll") else {
        return defaults;
    };
    // Buildkite answers ten lists a second for a stack key (buildkite.com/docs/apis/stacks-api, rate limits).
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    let poll = Poll {
        min: table.duration("min", range.clone(), defaults.min),
        max: table.duration("max", range, defaults.max),
    };
    if poll.min > poll.max {
        table.report("min", Complaint::new("is longer than `max`"));
    }
    table.close();
    poll
}
