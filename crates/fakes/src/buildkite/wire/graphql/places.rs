//! Users and members, and of pipelines, clusters and queues what nothing here ever changes.

use serde_json::{Value, json};
use uuid::Uuid;

use super::connection::{self, List};
use super::thing::{Answer, Args, Out, Site, Thing, node_id};
use crate::buildkite::ids::{JobKey, QueueKey};
use crate::buildkite::model::Model;
use crate::buildkite::shapes::FOUNDED;
use crate::buildkite::stars::like;

impl Site<'_> {
    pub(super) fn user(&self, user: usize, field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let shown = model.rest_user(user);
        Some(match field {
            "id" => Out::leaf(shown["graphql_id"].clone()),
            "uuid" => Out::leaf(shown["id"].clone()),
            "name" | "email" => Out::leaf(shown[field].clone()),
            "avatar" => Out::record("Avatar", [("url", shown["avatar_url"].clone())]),
            "bot" | "machineUser" => Out::leaf(false),
            "hasPassword" => Out::leaf(true),
            _ => return None,
        })
    }
}

/// The users of the API tokens: all of them are administrators.
pub(super) fn members(model: &Model, args: Args<'_>) -> Answer {
    let (email, search) = (args.text("email"), args.text("search").unwrap_or_default());
    let roles = args.texts("role");
    let meets = |shown: &Value| {
        let [name, address] = ["name", "email"].map(|field| shown[field].as_str().unwrap_or_default());
        roles.as_ref().is_none_or(|roles| roles.contains(&"ADMIN"))
            && email.is_none_or(|email| email == address)
            && (name.contains(search) || address.contains(search))
    };
    let users = 0..model.config.api_tokens.len();
    let mut found: Vec<usize> = users.filter(|user| meets(&model.rest_user(*user))).collect();
    if !matches!(args.text("order"), Some("NAME" | "RELEVANCE")) {
        found.reverse();
    }
    let found = found.into_iter().map(|user| member(model, user));
    List::in_order(connection::MEMBERS, found).page(args)
}

fn member(model: &Model, user: usize) -> Thing {
    let uuid = Uuid::new_v5(&model.organization, format!("member {user}").as_bytes());
    let fields = vec![
        ("id", Out::id("OrganizationMember", uuid)),
        ("uuid", Out::leaf(uuid.to_string())),
        ("complimentary", Out::leaf(false)),
        ("createdAt", Out::leaf(FOUNDED)),
        ("createdBy", Out::null()),
        ("lastSeenAt", Out::null()),
        ("organization", Out::One(Thing::Organization)),
        ("role", Out::leaf("ADMIN")),
        ("user", Out::One(Thing::User(user))),
    ];
    Thing::Record("OrganizationMember", fields)
}

/// Agent tokens of a cluster, without their secrets.
pub(super) fn tokens(model: &Model, cluster: usize, args: Args<'_>) -> Answer {
    let tokens = model.clusters[cluster].tokens.iter().map(|(_, token)| {
        let shown = model.rest_cluster_token(cluster, *token);
        let fields = vec![
            ("id", Out::leaf(shown["graphql_id"].clone())),
            ("uuid", Out::leaf(shown["id"].clone())),
            (
                "allowedIpAddresses",
                Out::leaf(shown["allowed_ip_addresses"].clone()),
            ),
            ("description", Out::leaf(shown["description"].clone())),
            ("expiresAt", Out::null()),
            ("cluster", Out::One(Thing::Cluster(cluster))),
            ("createdBy", Out::One(Thing::User(0))),
        ];
        Thing::Record("ClusterToken", fields)
    });
    List::in_order(connection::TOKENS, tokens).page(args)
}

pub(super) fn queue(model: &Model, key: QueueKey, field: &str) -> Option<Out> {
    let paused = model.queues[key.0].paused.as_ref();
    Some(match field {
        "description" => Out::null(),
        "createdBy" => Out::One(Thing::User(0)),
        "dispatchPausedBy" => Out::maybe(paused.map(|_| Thing::User(0))),
        "hosted" => Out::leaf(false),
        "retryAgentAffinity" => Out::leaf("prefer-warmest"),
        _ => return None,
    })
}

pub(super) fn organization(field: &str) -> Option<Out> {
    Some(match field {
        "allowedApiIpAddresses" | "iconUrl" => Out::null(),
        "public" | "isTeamsEnabled" | "membersRequireTwoFactorAuthentication" => Out::leaf(false),
        _ => return None,
    })
}

/// What is the same for every pipeline.
pub(super) fn pipeline(model: &Model, uuid: Uuid, field: &str) -> Option<Out> {
    Some(match field {
        "archived" | "favorite" | "public" | "cancelIntermediateBuilds" | "skipIntermediateBuilds" => {
            Out::leaf(false)
        }
        "archivedAt"
        | "archivedBy"
        | "branchConfiguration"
        | "cancelIntermediateBuildsBranchFilter"
        | "cloneMirrorUrl"
        | "color"
        | "defaultTimeoutInMinutes"
        | "description"
        | "emoji"
        | "maximumTimeoutInMinutes"
        | "skipIntermediateBuildsBranchFilter"
        | "webhookURL" => Out::null(),
        "allowRebuilds" => Out::leaf(true),
        "badgeURL" => Out::leaf(model.badge_url(uuid)),
        "commitShortLength" => Out::leaf(10),
        "createdBy" => Out::One(Thing::User(0)),
        "defaultBranch" => Out::leaf("main"),
        "tags" => Out::Many(Vec::new()),
        "visibility" => Out::leaf("PRIVATE"),
        "repository" => {
            let url = || Out::leaf(model.config.repository.clone());
            let fields = vec![
                ("name", Out::leaf("Unknown")),
                ("url", url()),
                ("webhookUrl", Out::null()),
            ];
            let provider = Thing::Record("RepositoryProviderUnknown", fields);
            Out::One(Thing::Record(
                "Repository",
                vec![("provider", Out::One(provider)), ("url", url())],
            ))
        }
        _ => return None,
    })
}

/// What a caller may do with an agent: all of it.
pub(super) fn agent_permissions() -> Out {
    let permission = || {
        Out::record(
            "Permission",
            [
                ("allowed", json!(true)),
                ("code", Value::Null),
                ("message", Value::Null),
            ],
        )
    };
    let names = ["agentPause", "agentResume", "agentStop"];
    let fields = names.map(|name| (name, permission())).to_vec();
    Out::One(Thing::Record("AgentPermissions", fields))
}

/// An artifact, and where it can be had.
pub(super) fn artifact(model: &Model, uuid: Uuid) -> Option<Thing> {
    let artifact = model.artifacts.get(&uuid)?;
    let url = format!("{}/artifacts/{uuid}", model.config.base_url);
    let fields = vec![
        ("id", Out::leaf(node_id("Artifact", uuid))),
        ("uuid", Out::leaf(uuid.to_string())),
        ("downloadURL", Out::leaf(url)),
        ("expiresAt", Out::null()),
        ("job", Out::One(Thing::Job(artifact.job))),
        ("mimeType", Out::leaf(artifact.content_type.clone())),
        ("path", Out::leaf(artifact.path.clone())),
        ("sha1sum", Out::leaf(artifact.sha1sum.clone())),
        ("sha256sum", Out::leaf(artifact.sha256sum.clone())),
        ("size", Out::leaf(artifact.file_size)),
        ("state", Out::leaf(artifact.state.clone())),
    ];
    Some(Thing::Record("Artifact", fields))
}

/// Artifacts of a job; a path takes `*` for anything.
pub(super) fn artifacts(model: &Model, job: JobKey, args: Args<'_>) -> Answer {
    let (state, path) = (args.text("state"), args.text("path"));
    let found = model.artifacts.values().filter(|artifact| {
        artifact.job == job
            && state.map_or(artifact.state != "deleted", |state| {
                state.eq_ignore_ascii_case(&artifact.state)
            })
            && path.is_none_or(|path| like(path, &artifact.path))
    });
    let found = found.filter_map(|found| artifact(model, found.uuid));
    List::in_order(connection::ARTIFACTS, found).page(args)
}
