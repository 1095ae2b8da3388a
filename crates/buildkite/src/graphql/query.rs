//! The queries that gust asks, and what their answers look like.
//!
//! Fields and arguments: `buildkite.com/docs/apis/graphql/schemas`. A query costs a point for each object asked for and
//! nothing for scalars (`…/graphql/graphql-resource-limits`), so lists ask for ids alone, and the rest is asked once a job.

use std::{collections::BTreeMap, fmt::Write as _};

use gust_core::{
    ids::{JobId, QueueKey},
    records::JobFacts,
    time::Timestamp,
};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::wire::{moment, or_empty};

/// Jobs on one page: the most a connection gives.
pub(super) const PAGE: usize = 500;

/// The queues of the organization's clusters. Platform limit: 50 queues a cluster (`…/docs/platform/limits`).
pub(super) const QUEUES: &str = "\
query Queues($org: ID!) {
  organization(slug: $org) {
    clusters(first: 100) { edges { node { id queues(first: 50) { edges { node { id key } } } } } }
  }
}";

/// Ids of scheduled jobs, newest first: there is no other order that is of use. `head` tells of the queue they are in.
pub(super) const SCHEDULED: &str = "\
query ScheduledJobs($org: ID!, $rules: [String!], $queues: [ID!], $first: Int!, $after: String) {
  organization(slug: $org) {
    jobs(first: $first, after: $after, type: [COMMAND], state: [SCHEDULED], agentQueryRules: $rules, clusterQueue: $queues, order: RECENTLY_CREATED) {
      pageInfo { hasNextPage endCursor }
      edges { node { ... on JobTypeCommand { uuid } } }
    }
    head: jobs(first: 1, type: [COMMAND], state: [SCHEDULED], agentQueryRules: $rules, clusterQueue: $queues, order: RECENTLY_CREATED) {
      edges { node { ... on JobTypeCommand { clusterQueue { dispatchPaused } } } }
    }
  }
}";

/// Cancels a job, by its GraphQL id.
pub(super) const CANCEL: &str = "\
mutation CancelJob($id: ID!) { jobTypeCommandCancel(input: { id: $id }) { jobTypeCommand { state } } }";

/// What is asked of several jobs in one query.
pub(super) struct Question {
    name: &'static str,
    fields: &'static str,
    /// Jobs in one query at most.
    pub most: usize,
}

/// Where jobs stand: a point each, and a query may cost 50,000.
pub(super) const STATES: Question = Question {
    name: "JobStates",
    fields: "id state",
    most: 250,
};
/// What gust plans by: some seven points each.
pub(super) const FACTS: Question = Question {
    name: "JobFacts",
    fields: "agentQueryRules priority { number } scheduledAt runnableAt build { number branch } \
             pipeline { slug } step { key }",
    most: 100,
};

/// A query for that of several jobs: `j0`, `j1`, and so on.
pub(super) fn of_jobs(jobs: &[JobId], Question { name, fields, .. }: &Question) -> String {
    let mut query = String::with_capacity(jobs.len() * (fields.len() + 80) + 40);
    query.push_str("query ");
    query.push_str(name);
    query.push_str(" {");
    for (index, job) in jobs.iter().enumerate() {
        // A UUID has no characters that would need an escape.
        let _ = write!(
            query,
            " j{index}: job(uuid: \"{job}\") {{ ... on JobTypeCommand {{ {fields} }} }}"
        );
    }
    query.push_str(" }");
    query
}

/// What [`of_jobs`] was answered, by job; those that are not there are missing, and so are those in a form that cannot be read.
pub(super) fn by_job<T: for<'de> Deserialize<'de>>(
    jobs: &[JobId],
    mut data: BTreeMap<String, serde_json::Value>,
) -> BTreeMap<JobId, T> {
    let mut found = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let Some(value) = data.remove(&format!("j{index}")).filter(|value| !value.is_null()) else {
            continue;
        };
        match serde_json::from_value(value) {
            Ok(read) => drop(found.insert(*job, read)),
            Err(cause) => tracing::warn!(%job, error = %cause, "a job is in a form that cannot be read"),
        }
    }
    found
}

#[derive(Deserialize)]
pub(super) struct WithOrganization<T> {
    pub organization: Option<T>,
}

#[derive(Deserialize)]
pub(super) struct Clusters {
    #[serde(default, deserialize_with = "or_empty")]
    clusters: Connection<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    id: String,
    #[serde(default, deserialize_with = "or_empty")]
    queues: Connection<Queue>,
}

#[derive(Deserialize)]
struct Queue {
    id: String,
    key: String,
}

impl Clusters {
    /// GraphQL ids of queues, by their keys: of this cluster, or of all.
    pub fn queues(self, cluster: Option<&str>) -> BTreeMap<QueueKey, Vec<String>> {
        let mut queues: BTreeMap<QueueKey, Vec<String>> = BTreeMap::new();
        let clusters = self.clusters.nodes();
        let meant = clusters.filter(|found| cluster.is_none_or(|cluster| cluster == found.id));
        for queue in meant.flat_map(|cluster| cluster.queues.nodes()) {
            queues
                .entry(QueueKey::from(queue.key.as_str()))
                .or_default()
                .push(queue.id);
        }
        queues
    }
}

#[derive(Deserialize)]
pub(super) struct Jobs {
    jobs: Connection<Listed>,
    #[serde(default, deserialize_with = "or_empty")]
    head: Connection<Head>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connection<T> {
    #[serde(default, deserialize_with = "or_empty")]
    page_info: PageInfo,
    #[serde(deserialize_with = "or_empty", bound(deserialize = "T: Deserialize<'de>"))]
    edges: Vec<Option<Edge<T>>>,
}

impl<T> Default for Connection<T> {
    fn default() -> Self {
        Self {
            page_info: PageInfo::default(),
            edges: Vec::new(),
        }
    }
}

impl<T> Connection<T> {
    fn nodes(self) -> impl Iterator<Item = T> {
        self.edges.into_iter().flatten().filter_map(|edge| edge.node)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default, deserialize_with = "or_empty")]
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Edge<T> {
    node: Option<T>,
}

#[derive(Deserialize)]
struct Listed {
    uuid: Option<Uuid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    cluster_queue: Option<ClusterQueue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterQueue {
    #[serde(default, deserialize_with = "or_empty")]
    dispatch_paused: bool,
}

impl Jobs {
    pub fn ids(&self) -> Vec<JobId> {
        let nodes = self
            .jobs
            .edges
            .iter()
            .flatten()
            .filter_map(|edge| edge.node.as_ref());
        nodes.filter_map(|node| node.uuid).map(JobId).collect()
    }

    pub fn is_paused(&self) -> bool {
        let nodes = self
            .head
            .edges
            .iter()
            .flatten()
            .filter_map(|edge| edge.node.as_ref());
        let mut queues = nodes.filter_map(|head| head.cluster_queue.as_ref());
        queues.any(|queue| queue.dispatch_paused)
    }

    pub fn next(self) -> Option<String> {
        let PageInfo {
            has_next_page,
            end_cursor,
        } = self.jobs.page_info;
        end_cursor.filter(|cursor| has_next_page && !cursor.is_empty())
    }
}

/// Where a job stands.
#[derive(Deserialize)]
pub(super) struct State {
    pub id: Option<String>,
    pub state: Option<String>,
}

/// What gust plans by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    #[serde(default, deserialize_with = "or_empty")]
    agent_query_rules: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    priority: Priority,
    #[serde(default, deserialize_with = "moment")]
    scheduled_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    runnable_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_empty")]
    build: crate::wire::Build,
    #[serde(default, deserialize_with = "or_empty")]
    pipeline: crate::wire::Pipeline,
    #[serde(default, deserialize_with = "or_empty")]
    step: crate::wire::Step,
}

#[derive(Default, Deserialize)]
struct Priority {
    #[serde(default, deserialize_with = "number")]
    number: i64,
}

/// An integer, or nothing where it is null.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    or_empty(from)
}

impl Facts {
    pub fn of_queue(self, queue: &QueueKey) -> JobFacts {
        JobFacts {
            queue: queue.clone(),
            rules: self.agent_query_rules,
            priority: self.priority.number,
            pipeline: self.pipeline.slug,
            build: self.build.number,
            branch: self.build.branch,
            step: self.step.key,
            runnable_at: self.runnable_at.or(self.scheduled_at).unwrap_or_default(),
        }
    }
}
