//! Where queries begin, the organization, and what it has: users, clusters, queues, pipelines.

use std::cmp::Ordering;

use uuid::Uuid;

use super::connection::{self, List};
use super::thing::{Answer, Args, Out, Site, Thing, read_id};
use super::{filter, places};
use crate::buildkite::ids::{AgentKey, BuildKey, QueueKey, Refusal};
use crate::buildkite::model::Model;
use crate::stamp::{parse_rfc3339, rfc3339};

impl Site<'_> {
    pub(super) fn query(&self, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        let model = self.model.borrow();
        let uuid = |name: &str| args.text(name).and_then(|text| Uuid::parse_str(text).ok());
        // `build` and the like take a slug or a UUID, and nothing gives nothing.
        Ok(Some(match field {
            "viewer" => Out::One(Thing::Viewer),
            "organization" => {
                let named = args
                    .text("slug")
                    .is_some_and(|slug| slug == model.config.organization);
                let known = named || uuid("uuid") == Some(model.organization);
                Out::maybe(known.then_some(Thing::Organization))
            }
            "node" => Out::maybe(args.text("id").and_then(|id| node(&model, id))),
            "job" => {
                let job = uuid("uuid").and_then(|uuid| model.jobs_by_uuid.get(&uuid));
                let block = || uuid("uuid").and_then(|uuid| model.blocks.get(&uuid).copied());
                let trigger = || uuid("uuid").and_then(|uuid| model.triggers.get(&uuid).copied());
                let job = job.copied().map(Thing::Job).or_else(|| block().map(Thing::Block));
                Out::maybe(job.or_else(|| trigger().map(|(step, index)| Thing::Trigger(step, index))))
            }
            "build" => {
                let by_uuid = uuid("uuid")
                    .and_then(|uuid| model.builds_by_uuid.get(&uuid))
                    .copied();
                let by_slug = || args.text("slug").and_then(|slug| build_of_slug(&model, slug));
                Out::maybe(by_uuid.or_else(by_slug).map(Thing::Build))
            }
            "pipeline" => {
                let by_uuid =
                    uuid("uuid").and_then(|uuid| model.pipelines.values().position(|known| *known == uuid));
                let by_slug = || args.text("slug").and_then(|slug| pipeline_of_slug(&model, slug));
                Out::maybe(by_uuid.or_else(by_slug).map(Thing::Pipeline))
            }
            "artifact" => Out::maybe(uuid("uuid").and_then(|uuid| places::artifact(&model, uuid))),
            "agent" => {
                let slug = args.text("slug").and_then(|slug| within(&model, slug));
                let uuid = slug.and_then(|slug| Uuid::parse_str(slug).ok());
                let agent = uuid.and_then(|uuid| model.agents.iter().position(|agent| agent.uuid == uuid));
                Out::maybe(agent.map(|at| Thing::Agent(AgentKey(at))))
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn viewer(&self, field: &str) -> Option<Out> {
        Some(match field {
            "id" => Out::id("Viewer", self.user_uuid()),
            "user" => Out::One(Thing::User(self.user)),
            "organizations" => {
                let own = List::in_order(connection::ORGANIZATIONS, [Thing::Organization]);
                own.page(Args(&Default::default())).ok()?
            }
            _ => return None,
        })
    }

    fn user_uuid(&self) -> Uuid {
        self.model.borrow().user_uuid(self.user)
    }

    pub(super) fn organization(&self, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        let model = self.model.borrow();
        Ok(Some(match field {
            "id" => Out::id("Organization", model.organization),
            "uuid" => Out::leaf(model.organization.to_string()),
            "slug" | "name" => Out::leaf(model.config.organization.clone()),
            "members" => places::members(&model, args)?,
            "cluster" => {
                let cluster = args.text("id").and_then(|id| filter::cluster(&model, id));
                Out::maybe(cluster.map(Thing::Cluster))
            }
            "clusters" => {
                let mut clusters: Vec<usize> = (0..model.clusters.len()).collect();
                clusters.sort_by(|one, other| match args.text("order") {
                    Some("RECENTLY_CREATED") => other.cmp(one),
                    _ => model.clusters[*one].name.cmp(&model.clusters[*other].name),
                });
                List::in_order(connection::CLUSTERS, clusters.into_iter().map(Thing::Cluster)).page(args)?
            }
            "pipelines" => pipelines(&model, args)?,
            "jobs" => {
                drop(model);
                self.jobs(args, |_, _| true, |_, _| true)?
            }
            "agents" => {
                drop(model);
                self.agents(args)?
            }
            _ => return Ok(places::organization(field)),
        }))
    }

    pub(super) fn cluster(&self, at: usize, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        let model = self.model.borrow();
        let cluster = &model.clusters[at];
        Ok(Some(match field {
            "id" => Out::id("Cluster", cluster.uuid),
            "uuid" => Out::leaf(cluster.uuid.to_string()),
            "name" => Out::leaf(cluster.name.clone()),
            "color" | "description" | "emoji" => Out::null(),
            "organization" => Out::One(Thing::Organization),
            "createdBy" => Out::One(Thing::User(0)),
            "agentTokens" => places::tokens(&model, at, args)?,
            "defaultQueue" => Out::One(Thing::Queue(cluster.default_queue)),
            "queues" => {
                let mut queues: Vec<usize> = (0..model.queues.len()).collect();
                queues.retain(|queue| model.queues[*queue].cluster == at);
                queues.sort_by(|one, other| match args.text("order") {
                    Some("RECENTLY_CREATED") => other.cmp(one),
                    _ => model.queues[*one].key.cmp(&model.queues[*other].key),
                });
                let queues = queues.into_iter().map(|queue| Thing::Queue(QueueKey(queue)));
                List::in_order(connection::QUEUES, queues).page(args)?
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn queue(&self, key: QueueKey, field: &str) -> Option<Out> {
        if field == "dispatchPaused" {
            return Some(Out::leaf(self.is_paused(key)));
        }
        let model = self.model.borrow();
        let queue = &model.queues[key.0];
        let pause = queue.paused.as_ref();
        Some(match field {
            "id" => Out::id("ClusterQueue", queue.uuid),
            "uuid" => Out::leaf(queue.uuid.to_string()),
            "key" => Out::leaf(queue.key.clone()),
            "cluster" => Out::One(Thing::Cluster(queue.cluster)),
            "dispatchPausedAt" => Out::time(pause.map(|pause| pause.at)),
            "dispatchPausedNote" => Out::leaf(pause.and_then(|pause| pause.note.clone())),
            _ => return places::queue(&model, key, field),
        })
    }

    pub(super) fn pipeline(&self, at: usize, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        let model = self.model.borrow();
        let Some((slug, uuid)) = model.pipelines.get_index(at) else {
            return Ok(None);
        };
        let mut builds = model.builds.iter().filter(|build| build.pipeline == *slug);
        Ok(Some(match field {
            "id" => Out::id("Pipeline", *uuid),
            "uuid" => Out::leaf(uuid.to_string()),
            "slug" | "name" => Out::leaf(slug.clone()),
            "createdAt" => Out::leaf(builds.next().map(|build| rfc3339(build.created_at))),
            "cluster" => Out::maybe(builds.next().map(|build| Thing::Cluster(build.cluster))),
            // Pipelines share the count of builds here.
            "nextBuildNumber" => Out::leaf(model.builds.len() + 1),
            "organization" => Out::One(Thing::Organization),
            "url" => Out::leaf(format!(
                "{}/{}/{slug}",
                model.config.base_url, model.config.organization
            )),
            "jobs" => {
                let slug = slug.clone();
                drop(model);
                let of = |model: &Model, build: BuildKey| model.builds[build.0].pipeline == slug;
                self.jobs(args, |model, job| of(model, job.build), of)?
            }
            "builds" => {
                let slug = slug.clone();
                drop(model);
                self.builds(args, &slug)?
            }
            _ => return Ok(places::pipeline(&model, *uuid, field)),
        }))
    }
}

fn pipelines(model: &Model, args: Args<'_>) -> Answer {
    let search = args.text("search").unwrap_or_default();
    let name = |at: usize| {
        let known = model.pipelines.get_index(at);
        known.map_or("", |(slug, _)| slug.as_str())
    };
    // None of them is archived, a favorite or tagged, and all are in a cluster.
    let none = args.flag("archived") == Some(true)
        || args.flag("favorite") == Some(true)
        || args.flag("clustered") == Some(false)
        || args.texts("tags").is_some_and(|tags| !tags.is_empty());
    let cluster = args.text("cluster").map(|id| filter::cluster(model, id));
    let url = args.object("repository").and_then(|wanted| wanted.text("url"));
    let time = |name: &str| args.text(name).and_then(parse_rfc3339);
    let (from, to) = (time("createdAtFrom"), time("createdAtTo"));
    let meets = |at: usize| {
        let first = model.first_build(name(at));
        let created = first.map_or(0, |build| build.created_at);
        name(at).contains(search)
            && cluster.is_none_or(|cluster| cluster == Some(first.map_or(0, |build| build.cluster)))
            && url.is_none_or(|url| url == model.config.repository)
            && from.is_none_or(|from| created >= from)
            && to.is_none_or(|to| created <= to)
    };
    let mut found: Vec<usize> = (0..model.pipelines.len())
        .filter(|at| !none && meets(*at))
        .collect();
    found.sort_by(|one, other| -> Ordering {
        match args.text("order") {
            Some("NAME" | "NAME_WITH_FAVORITES_FIRST" | "RELEVANCE") => name(*one).cmp(name(*other)),
            _ => other.cmp(one),
        }
    });
    List::in_order(connection::PIPELINES, found.into_iter().map(Thing::Pipeline)).page(args)
}

/// What comes behind the organization in a slug.
fn within<'a>(model: &Model, slug: &'a str) -> Option<&'a str> {
    slug.strip_prefix(model.config.organization.as_str())?
        .strip_prefix('/')
}

fn pipeline_of_slug(model: &Model, slug: &str) -> Option<usize> {
    model.pipelines.get_index_of(within(model, slug)?)
}

fn build_of_slug(model: &Model, slug: &str) -> Option<BuildKey> {
    let (pipeline, number) = within(model, slug)?.rsplit_once('/')?;
    let build = model.build(number.parse().ok()?)?;
    (build.pipeline == pipeline).then(|| BuildKey(build.number as usize - 1))
}

/// Whatever has this id.
pub(super) fn node(model: &Model, id: &str) -> Option<Thing> {
    let (kind, uuid) = read_id(id)?;
    // Ids say `Job`; `bk` makes its own of the type of the job, which the real service takes too.
    let kind = if kind.starts_with("JobType") {
        "Job"
    } else {
        kind.as_str()
    };
    Some(match kind {
        "Job" => match (model.blocks.get(&uuid), model.triggers.get(&uuid)) {
            (Some(block), _) => Thing::Block(*block),
            (None, Some((step, index))) => Thing::Trigger(*step, *index),
            (None, None) => Thing::Job(*model.jobs_by_uuid.get(&uuid)?),
        },
        "Build" => Thing::Build(*model.builds_by_uuid.get(&uuid)?),
        "Organization" if uuid == model.organization => Thing::Organization,
        "Cluster" => Thing::Cluster(filter::cluster(model, id)?),
        "ClusterQueue" => Thing::Queue(filter::queue(model, id)?),
        "Pipeline" => Thing::Pipeline(model.pipelines.values().position(|known| *known == uuid)?),
        "Agent" => Thing::Agent(AgentKey(
            model.agents.iter().position(|agent| agent.uuid == uuid)?,
        )),
        "Artifact" => places::artifact(model, uuid)?,
        "User" => {
            let mut users = 0..model.config.api_tokens.len();
            Thing::User(users.find(|user| model.user_uuid(*user) == uuid)?)
        }
        "Annotation" => {
            let has = |known: &crate::buildkite::build::Build| {
                known.annotations.iter().any(|note| note.uuid == uuid)
            };
            Thing::Annotation(BuildKey(model.builds.iter().position(has)?), uuid)
        }
        _ => return None,
    })
}
