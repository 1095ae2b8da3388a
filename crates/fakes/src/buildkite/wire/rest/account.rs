//! The caller, the organization, its people and its budgets; and what this organization has none of.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Context, pages, standings};
use crate::buildkite::budget::Standing;
use crate::buildkite::ids::Refusal;
use crate::buildkite::shapes::FOUNDED;
use crate::buildkite::wire::{graphql, uuid};
use crate::stamp::rfc3339;
use crate::wire::Response;

/// A call about none of the things that builds are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::buildkite::wire) enum AccountCall<'a> {
    AccessToken,
    User,
    Meta,
    Organizations,
    Organization,
    RateLimits,
    Members,
    Member(&'a str),
    Teams,
    /// Schedules of a pipeline.
    Schedules(&'a str),
}

impl<'a> AccountCall<'a> {
    /// The call that names no organization.
    pub(super) fn read(method: &str, segments: &[&str]) -> Option<Self> {
        Some(match (method, segments) {
            ("GET", ["access-token"]) => Self::AccessToken,
            ("GET", ["user"]) => Self::User,
            ("GET", ["meta"]) => Self::Meta,
            ("GET", ["organizations"]) => Self::Organizations,
            _ => return None,
        })
    }

    /// The call below an organization.
    pub(super) fn below(method: &str, segments: &[&'a str]) -> Option<Self> {
        Some(match (method, segments) {
            ("GET", []) => Self::Organization,
            ("GET", ["rate_limit"]) => Self::RateLimits,
            ("GET", ["members"]) => Self::Members,
            ("GET", ["members", user]) => Self::Member(user),
            ("GET", ["teams"]) => Self::Teams,
            ("GET", ["pipelines", pipeline, "schedules"]) => Self::Schedules(pipeline),
            _ => return None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AccessToken => "rest.access-token",
            Self::User => "rest.get-user",
            Self::Meta => "rest.get-meta",
            Self::Organizations => "rest.list-organizations",
            Self::Organization => "rest.get-organization",
            Self::RateLimits => "rest.get-rate-limits",
            Self::Members => "rest.list-members",
            Self::Member(_) => "rest.get-member",
            Self::Teams => "rest.list-teams",
            Self::Schedules(_) => "rest.list-schedules",
        }
    }

    pub(super) fn scope(&self) -> Option<&'static str> {
        Some(match self {
            Self::AccessToken | Self::Meta => return None,
            Self::User => "read_user",
            Self::Organizations | Self::Organization | Self::Members | Self::Member(_) => {
                "read_organizations"
            }
            Self::RateLimits => "read_accounts",
            Self::Teams => "read_teams",
            Self::Schedules(_) => "read_pipelines",
        })
    }
}

pub(super) fn answer(
    context: &mut Context<'_>,
    call: AccountCall<'_>,
    user: usize,
) -> Result<Response, Refusal> {
    let body = match call {
        AccountCall::AccessToken => access_token(context, user),
        AccountCall::User => context.model.rest_user(user),
        AccountCall::Meta => return Ok(meta()),
        AccountCall::Organizations => {
            return pages::page(context, &[()], |()| organization(context));
        }
        AccountCall::Organization => organization(context),
        AccountCall::RateLimits => rate_limits(context, user),
        AccountCall::Members => {
            let users: Vec<usize> = (0..context.model.config.api_tokens.len()).collect();
            return pages::page(context, &users, |user| member(context, *user));
        }
        AccountCall::Member(wanted) => {
            let wanted = uuid(wanted, "user")?;
            let mut users = 0..context.model.config.api_tokens.len();
            let user = users.find(|user| context.model.user_uuid(*user) == wanted);
            member(context, user.ok_or_else(|| Refusal::not_found("user"))?)
        }
        AccountCall::Teams => return pages::page(context, &[], |()| Value::Null),
        AccountCall::Schedules(pipeline) => {
            if !context.model.pipelines.contains_key(pipeline) {
                return Err(Refusal::not_found("pipeline"));
            }
            return pages::page(context, &[], |()| Value::Null);
        }
    };
    Ok(Response::json(200, &body))
}

/// What anybody may know: webhooks come from here.
pub(super) fn meta() -> Response {
    Response::json(200, &json!({"webhook_ips": ["127.0.0.1"]}))
}

fn access_token(context: &Context<'_>, user: usize) -> Value {
    let config = &context.model.config;
    let shown = context.model.rest_user(user);
    let all = SCOPES.iter().map(|scope| (*scope).to_owned()).collect();
    let scopes = config
        .api_scopes
        .get(&config.api_tokens[user])
        .cloned()
        .unwrap_or(all);
    json!({
        "uuid": Uuid::new_v5(&context.model.organization, format!("token {user}").as_bytes()),
        "scopes": scopes,
        "description": null,
        "created_at": FOUNDED,
        "expires_at": null,
        "user": {"name": shown["name"], "email": shown["email"]},
    })
}

/// The scopes that calls of this fake take.
const SCOPES: [&str; 16] = [
    "read_accounts",
    "read_agents",
    "write_agents",
    "read_artifacts",
    "write_artifacts",
    "read_builds",
    "write_builds",
    "read_build_logs",
    "read_job_env",
    "read_clusters",
    "write_clusters",
    "read_organizations",
    "read_pipelines",
    "read_teams",
    "read_user",
    "graphql",
];

fn organization(context: &Context<'_>) -> Value {
    let model = &context.model;
    let slug = &model.config.organization;
    json!({
        "id": model.organization,
        "graphql_id": graphql::node_id("Organization", model.organization),
        "url": model.rest_url(""),
        "web_url": format!("{}/{slug}", model.config.base_url),
        "name": slug,
        "slug": slug,
        "pipelines_url": model.rest_url("/pipelines"),
        "agents_url": model.rest_url("/agents"),
        "emojis_url": model.rest_url("/emojis"),
        "created_at": FOUNDED,
    })
}

fn member(context: &Context<'_>, user: usize) -> Value {
    let shown = context.model.rest_user(user);
    json!({
        "id": shown["id"],
        "name": shown["name"],
        "email": shown["email"],
        "role": "admin",
        "sso_mode": "optional",
    })
}

/// How the organization's budgets stand; those of users are told by headers only.
fn rate_limits(context: &mut Context<'_>, user: usize) -> Value {
    let (rest, _) = standings(context, user);
    let (now, limits) = (context.now, context.model.limits.graphql);
    let window = Duration::from_secs(limits.window_s.into());
    let budget = context.model.graphql_budgets.entry(None).or_default();
    let graphql = budget.standing(now.since_start, window, limits.organization_complexity);
    let shown = |standing: &Standing| {
        let reset_at = now.unix_ns + i128::from(standing.reset) * 1_000_000_000;
        json!({
            "limit": standing.limit,
            "current": standing.limit - standing.remaining,
            "reset": standing.reset,
            "reset_at": rfc3339(reset_at),
            "enforced": true,
        })
    };
    json!({"scopes": {"rest": shown(&rest), "graphql": shown(&graphql)}})
}
