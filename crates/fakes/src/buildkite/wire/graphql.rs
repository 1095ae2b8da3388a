//! The GraphQL API: `POST /v1`.
//!
//! Queries are read, validated and run by `apollo-compiler` against the part of the public schema that is in
//! `graphql/schema.graphql`; the resolvers look into the model. Facts (docs: `apis/graphql/graphql_resource_limits`):
//! a query that asks for too much is refused with 200 and `errors`, before it runs; an organization and each user have
//! a budget for 5 minutes, which is charged with what was returned; over it, 429. A token that may not use GraphQL is
//! told that authentication is required (buildkite/cli#75).

mod agents;
mod builds;
mod connection;
mod cost;
pub(in crate::buildkite) mod document;
mod events;
mod filter;
mod jobs;
mod mutations;
mod places;
mod root;
mod thing;
#[cfg(test)]
pub(in crate::buildkite) mod whole;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use apollo_compiler::executable::OperationType;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::resolvers::Execution;
use apollo_compiler::response::{ExecutionResponse, JsonMap, JsonValue};
use serde_json::{Value, json};

pub(in crate::buildkite) use self::thing::node_id;
use self::thing::{Resolver, Site, Thing};
use super::{Context, rest};
use crate::buildkite::budget::Standing;
use crate::wire::{Request, Response};

/// What a client posts.
struct Posted {
    query: String,
    operation: Option<String>,
    variables: JsonMap,
}

/// The name of a request's operation, for `api.call` and faults.
pub(super) fn name_of(request: &Request) -> String {
    let name = read(request)
        .ok()
        .and_then(|posted| document::name_of(&posted.query, posted.operation.as_deref()));
    format!("graphql.{}", name.as_deref().unwrap_or("unreadable"))
}

pub(super) fn answer(context: &mut Context<'_>) -> Response {
    let user = match rest::permitted(context, "graphql") {
        Ok(user) => user,
        Err(_) => {
            let words = "Authentication required. Please supply a valid API Access Token: https://buildkite.com/docs/apis/graphql-api#authentication";
            return errors(401, vec![json!({ "message": words })]);
        }
    };
    let (organization, own) = standings(context, user);
    let over = |whose: &str, standing: &Standing| {
        let words = format!(
            "{whose} limit of {} complexity points. Please try again in {} seconds.",
            standing.limit, standing.reset
        );
        errors(429, vec![json!({ "message": words })])
    };
    let response = if organization.remaining == 0 {
        over("Your organization has exceeded the", &organization)
    } else if own.remaining == 0 {
        over("You have exceeded your per-user", &own)
    } else {
        run(context, user)
    };
    let (organization, own) = standings(context, user);
    response
        .with("RateLimit-Limit", organization.limit.to_string())
        .with("RateLimit-Remaining", organization.remaining.to_string())
        .with("RateLimit-Reset", organization.reset.to_string())
        .with("RateLimit-User-Limit", own.limit.to_string())
        .with("RateLimit-User-Remaining", own.remaining.to_string())
        .with("RateLimit-User-Reset", own.reset.to_string())
}

/// How the budgets stand: that of the organization, and that of the caller.
fn standings(context: &mut Context<'_>, user: usize) -> (Standing, Standing) {
    let (now, model) = (context.now.since_start, &mut *context.model);
    let limits = &model.limits.graphql;
    let window = Duration::from_secs(limits.window_s.into());
    let budgets = &mut model.graphql_budgets;
    let mut standing =
        |key: Option<usize>, limit| budgets.entry(key).or_default().standing(now, window, limit);
    (
        standing(None, limits.organization_complexity),
        standing(Some(user), limits.user_complexity),
    )
}

/// Reads, checks and runs a query that there is a budget for.
fn run(context: &mut Context<'_>, user: usize) -> Response {
    let posted = match read(context.request) {
        Ok(posted) => posted,
        Err(words) => return errors(400, vec![json!({ "message": words })]),
    };
    if posted.query.trim().is_empty() {
        return errors(200, vec![json!({"message": "No query string was present"})]);
    }
    let document = match document::read(&posted.query) {
        Ok(document) => document,
        Err(broken) => return refused(context, broken),
    };
    let operation = match document.operations.get(posted.operation.as_deref()) {
        Ok(operation) => operation,
        Err(error) => return refused(context, vec![json!({"message": error.message().to_string()})]),
    };
    let schema = document::schema();
    let variables = match coerce_variable_values(schema, operation, &posted.variables) {
        Ok(variables) => variables,
        Err(error) => return refused(context, vec![json!({"message": error.message().to_string()})]),
    };
    let (requested, depth) = cost::requested(schema, &document, operation, &variables);
    let limits = &context.model.limits.graphql;
    let (most, deepest) = (limits.query_complexity, limits.query_depth);
    if requested > most {
        let words = format!("Query has complexity of {requested}, which exceeds max complexity of {most}");
        return refused(context, vec![json!({ "message": words })]);
    }
    if depth > deepest {
        let words = format!("Query has depth of {depth}, which exceeds max depth of {deepest}");
        return refused(context, vec![json!({ "message": words })]);
    }
    let method = name_of(context.request);
    let root = match operation.operation_type {
        OperationType::Mutation => Thing::Mutation,
        _ => Thing::Query,
    };
    let site = Site {
        model: RefCell::new(&mut *context.model),
        faults: RefCell::new(&mut *context.faults),
        out: RefCell::new(&mut *context.out),
        now: context.now,
        points: Cell::new(0),
        method,
        user,
    };
    let executed = Execution::new(schema, &document)
        .operation(operation)
        .coerced_variable_values(&variables)
        .enable_schema_introspection(true)
        .execute_sync(&Resolver {
            site: &site,
            thing: root,
        });
    let actual = site.points.get();
    match executed {
        Ok(executed) => told(context, user, executed, (requested, actual)),
        Err(error) => refused(context, vec![json!({"message": error.message().to_string()})]),
    }
}

/// The reply to a query that ran.
fn told(
    context: &mut Context<'_>,
    user: usize,
    executed: ExecutionResponse,
    (requested, actual): (u64, u64),
) -> Response {
    for key in [None, Some(user)] {
        context.model.graphql_budgets.entry(key).or_default().take(actual);
    }
    context.told.insert("complexity".into(), actual.into());
    let mut body = json!({ "data": executed.data });
    if !executed.errors.is_empty() {
        let errors: Vec<Value> = executed
            .errors
            .iter()
            .map(|error| {
                let mut shown = serde_json::to_value(error).unwrap_or_default();
                let words = error
                    .message
                    .strip_prefix("resolver error: ")
                    .unwrap_or(&error.message);
                shown["message"] = words.into();
                shown
            })
            .collect();
        context.told.insert("reason".into(), errors[0]["message"].clone());
        body["errors"] = errors.into();
    }
    if context.request.header("buildkite-include-query-stats") == Some("true") {
        body["stats"] = json!({"requestedComplexity": requested, "actualComplexity": actual});
    }
    Response::json(200, &body)
        .with("RateLimit-Complexity-Requested", requested.to_string())
        .with("RateLimit-Complexity-Actual", actual.to_string())
}

/// A query that is not run is answered with 200, as GraphQL services do.
fn refused(context: &mut Context<'_>, broken: Vec<Value>) -> Response {
    let first = broken.first().map(|error| error["message"].clone());
    context.told.insert("reason".into(), first.unwrap_or_default());
    errors(200, broken)
}

fn errors(status: u16, errors: Vec<Value>) -> Response {
    Response::json(status, &json!({ "errors": errors }))
}

fn read(request: &Request) -> Result<Posted, String> {
    let body: JsonValue = serde_json::from_slice(&request.body)
        .map_err(|error| format!("The request body is not valid JSON: {error}"))?;
    let JsonValue::Object(mut body) = body else {
        return Err("The request body must be a JSON object".into());
    };
    let text = |value: Option<&JsonValue>, name: &str| match value {
        None | Some(JsonValue::Null) => Ok(None),
        Some(JsonValue::String(text)) => Ok(Some(text.as_str().to_owned())),
        Some(_) => Err(format!("{name} must be a string")),
    };
    let query = text(body.get("query"), "query")?.unwrap_or_default();
    let operation = text(body.get("operationName"), "operationName")?.filter(|name| !name.is_empty());
    let variables = match body.remove("variables") {
        None | Some(JsonValue::Null) => JsonMap::new(),
        Some(JsonValue::Object(variables)) => variables,
        // What consoles send; an empty text is none.
        Some(JsonValue::String(text)) if text.as_str().trim().is_empty() => JsonMap::new(),
        Some(JsonValue::String(text)) => serde_json::from_str(text.as_str())
            .map_err(|error| format!("variables are not valid JSON: {error}"))?,
        Some(_) => return Err("variables must be an object".into()),
    };
    Ok(Posted {
        query,
        operation,
        variables,
    })
}
