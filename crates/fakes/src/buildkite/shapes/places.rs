//! What was there before anything happened, as the REST API shows it: pipelines, users, clusters, queues, their tokens.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::buildkite::build::{Build, BuildState};
use crate::buildkite::extras::Counts;
use crate::buildkite::ids::QueueKey;
use crate::buildkite::model::Model;
use crate::buildkite::wire::graphql::node_id;
use crate::stamp::rfc3339;

/// When organization, users, clusters, queues and tokens were made. The model has no clock, and these have no event.
pub(in crate::buildkite) const FOUNDED: &str = "2026-01-01T00:00:00.000Z";

impl Model {
    /// The first build of a pipeline: the pipeline is as old, and in its cluster.
    pub(in crate::buildkite) fn first_build(&self, pipeline: &str) -> Option<&Build> {
        self.builds.iter().find(|build| build.pipeline == pipeline)
    }

    /// A pipeline as builds and webhooks show it: without the counts, which cost a look at all builds.
    pub(in crate::buildkite) fn rest_pipeline(&self, slug: &str) -> Value {
        let uuid = self.pipelines.get(slug).copied().unwrap_or_default();
        let own = self.rest_url(&format!("/pipelines/{slug}"));
        let first = self.first_build(slug);
        let cluster = first.map_or(0, |build| build.cluster);
        json!({
            "id": uuid,
            "graphql_id": node_id("Pipeline", uuid),
            "url": own,
            "web_url": format!("{}/{}/{slug}", self.config.base_url, self.config.organization),
            "name": slug,
            "description": null,
            "slug": slug,
            "repository": self.config.repository,
            "cluster_id": self.clusters[cluster].uuid,
            "branch_configuration": null,
            "default_branch": "main",
            "skip_queued_branch_builds": false,
            "skip_queued_branch_builds_filter": null,
            "cancel_running_branch_builds": false,
            "cancel_running_branch_builds_filter": null,
            "allow_rebuilds": true,
            // Nobody pushes anything here, so there is no address for it.
            "provider": {"id": "unknown", "webhook_url": "", "settings": {"repository": self.config.repository}},
            "builds_url": format!("{own}/builds"),
            "badge_url": self.badge_url(uuid),
            "created_by": self.rest_user(0),
            "created_at": first.map_or_else(|| FOUNDED.into(), |build| rfc3339(build.created_at)),
            "archived_at": null,
            "env": {},
            "visibility": "private",
            "tags": [],
            "steps": [],
        })
    }

    /// A pipeline with its counts.
    pub(in crate::buildkite) fn rest_pipeline_whole(&self, slug: &str) -> Value {
        let mut shown = self.rest_pipeline(slug);
        let (mut scheduled, mut running) = (0, 0);
        let open = |build: &&Build| matches!(build.state, BuildState::Running | BuildState::Canceling);
        for build in self.builds.iter().filter(open) {
            match self.shown_state(build) {
                _ if build.pipeline != slug => {}
                "scheduled" => scheduled += 1,
                "running" | "failing" | "canceling" => running += 1,
                _ => {}
            }
        }
        let mut jobs = Counts::default();
        for job in &self.jobs {
            if self.builds[job.build.0].pipeline == slug {
                jobs.job(job.state);
            }
        }
        shown["scheduled_builds_count"] = scheduled.into();
        shown["running_builds_count"] = running.into();
        shown["scheduled_jobs_count"] = jobs.scheduled.into();
        shown["running_jobs_count"] = jobs.running.into();
        shown["waiting_jobs_count"] = jobs.waiting.into();
        shown
    }

    pub(in crate::buildkite) fn badge_url(&self, pipeline: Uuid) -> String {
        format!("{}/badges/{}.svg", self.config.base_url, pipeline.simple())
    }

    /// The user of an API token, by its place.
    pub(in crate::buildkite) fn rest_user(&self, user: usize) -> Value {
        let uuid = self.user_uuid(user);
        json!({
            "id": uuid,
            "graphql_id": node_id("User", uuid),
            "name": format!("User {}", user + 1),
            "email": format!("user-{}@{}.invalid", user + 1, self.config.organization),
            "avatar_url": self.avatar_url(uuid),
            "created_at": FOUNDED,
        })
    }

    pub(in crate::buildkite) fn avatar_url(&self, user: Uuid) -> String {
        format!("{}/avatars/{}", self.config.base_url, user.simple())
    }

    /// Tokens belong to users: the first token to the first one.
    pub(in crate::buildkite) fn user_uuid(&self, user: usize) -> Uuid {
        Uuid::new_v5(&self.organization, format!("user {user}").as_bytes())
    }

    /// Where people look at a cluster.
    fn cluster_page(&self, at: usize) -> String {
        let (base, organization) = (&self.config.base_url, &self.config.organization);
        format!(
            "{base}/organizations/{organization}/clusters/{}",
            self.clusters[at].uuid
        )
    }

    pub(in crate::buildkite) fn rest_cluster(&self, at: usize) -> Value {
        let cluster = &self.clusters[at];
        let own = self.rest_url(&format!("/clusters/{}", cluster.uuid));
        let queue = self.queues[cluster.default_queue.0].uuid;
        json!({
            "id": cluster.uuid,
            "graphql_id": node_id("Cluster", cluster.uuid),
            "default_queue_id": queue,
            "name": cluster.name,
            "description": null,
            "emoji": null,
            "color": null,
            "maintainers": {"users": [], "teams": []},
            "url": own,
            "web_url": self.cluster_page(at),
            "queues_url": format!("{own}/queues"),
            "default_queue_url": format!("{own}/queues/{queue}"),
            "created_at": FOUNDED,
            "created_by": self.rest_user(0),
        })
    }

    /// A queue; `paused` says whether dispatch is paused, by a person or by a fault.
    pub(in crate::buildkite) fn rest_queue(&self, key: QueueKey, paused: bool) -> Value {
        let queue = &self.queues[key.0];
        let cluster = self.rest_url(&format!("/clusters/{}", self.clusters[queue.cluster].uuid));
        let pause = queue.paused.as_ref();
        json!({
            "id": queue.uuid,
            "graphql_id": node_id("ClusterQueue", queue.uuid),
            "key": queue.key,
            "description": null,
            "url": format!("{cluster}/queues/{}", queue.uuid),
            "web_url": format!("{}/queues/{}", self.cluster_page(queue.cluster), queue.uuid),
            "cluster_url": cluster,
            "retry_agent_affinity": "prefer-warmest",
            "dispatch_paused": paused,
            "dispatch_paused_by": pause.map(|_| self.rest_user(0)),
            "dispatch_paused_at": pause.map(|pause| rfc3339(pause.at)),
            "dispatch_paused_note": pause.and_then(|pause| pause.note.clone()),
            "created_at": FOUNDED,
            "created_by": self.rest_user(0),
        })
    }

    /// An agent token of a cluster. Its secret is shown to nobody.
    pub(in crate::buildkite) fn rest_cluster_token(&self, at: usize, token: Uuid) -> Value {
        let cluster = self.rest_url(&format!("/clusters/{}", self.clusters[at].uuid));
        json!({
            "id": token,
            "graphql_id": node_id("ClusterToken", token),
            "description": "Token of the fake",
            "allowed_ip_addresses": "0.0.0.0/0",
            "expires_at": null,
            "url": format!("{cluster}/tokens/{token}"),
            "cluster_url": cluster,
            "created_at": FOUNDED,
            "created_by": self.rest_user(0),
        })
    }
}
