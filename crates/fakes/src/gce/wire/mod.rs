//! The wire of the fake GCE: JSON over HTTP around the typed calls.
//!
//! Paths, queries, bodies and replies are written from the wire reference; no type of any client is used.

mod body;
mod fields;
mod form;
mod guest;
mod machine;
mod reply;
mod route;
mod unbuilt;

use std::time::Duration;

use serde_json::Value;

use super::check::is_name;
use super::error::ApiError;
use super::method;
use super::model::{Call, Model, Place};
use super::operation::Progress;
use super::{events, show};
use crate::event::Effects;
use crate::fault::Faults;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};
use route::{Route, route};

/// How long `wait` holds a call at most (wire reference, section 2).
const WAIT: Duration = Duration::from_secs(120);

/// Query parameters that every method takes and that change nothing here.
const IGNORED: &[&str] = &[
    "$alt",
    "alt",
    "$apiVersion",
    "$.xgafv",
    "$prettyPrint",
    "access_token",
    "callback",
    "fields",
    "key",
    "oauth_token",
    "prettyPrint",
    "quotaUser",
    "returnPartialSuccess",
    "uploadType",
    "upload_protocol",
    "userIp",
];

/// Query parameters that some method takes.
const KNOWN: &[&str] = &[
    "requestId",
    "sourceInstanceTemplate",
    "sourceMachineImage",
    "filter",
    "maxResults",
    "orderBy",
    "pageToken",
    "includeAllScopes",
    "serviceProjectNumber",
    "noGracefulShutdown",
    "discardLocalSsd",
    "port",
    "start",
    "queryPath",
    "variableKey",
    "withExtendedNotifications",
    "views",
];

/// The API method's name, `compute.instances.insert`; empty for an unknown path.
pub fn method_of(request: &Request) -> String {
    let segments = request.segments();
    route(&request.method, &segments)
        .map(|route| route.method.name.to_owned())
        .unwrap_or_default()
}

/// One call.
pub fn handle(
    model: &mut Model,
    faults: &mut Faults,
    now: Now,
    request: &Request,
    out: &mut Effects,
) -> Outcome {
    let segments = request.segments();
    let Some(found) = route(&request.method, &segments) else {
        let error = ApiError::no_such_method(&request.path);
        out.push(events::api_call("", "", Some(&error), None, 0, "", Place::Global));
        return Outcome::Now(error_response(model, &error));
    };
    let mut call = Call::new(now, faults, out);
    match answer(model, &mut call, request, found) {
        Ok(Answer::Now(value)) => Outcome::Now(Response::json(200, &value)),
        Ok(Answer::Hold(id)) => Outcome::Hold {
            key: id.to_string(),
            until: now.since_start + WAIT,
        },
        Err(error) => Outcome::Now(error_response(model, &error)),
    }
}

/// The answer of a held `wait`: once the operation is DONE, or as it is when it must answer.
pub fn held(model: &Model, key: &str, last: bool) -> Option<Response> {
    let id: u64 = key.parse().unwrap_or_default();
    match model.operation_if_done(id) {
        Some(Some(operation)) => Some(Response::json(200, &model.show_operation(operation))),
        Some(None) => Some(error_response(
            model,
            &ApiError::not_found(&format!("operations/{key}")),
        )),
        None if last => model
            .operation_by_id(id)
            .ok()
            .map(|open| Response::json(200, &model.show_operation(&open))),
        None => None,
    }
}

enum Answer {
    Now(Value),
    /// Held until this operation is DONE.
    Hold(u64),
}

fn answer(
    model: &mut Model,
    call: &mut Call<'_>,
    request: &Request,
    route: Route<'_>,
) -> Result<Answer, ApiError> {
    let unknown = request.query.iter().find(|(key, _)| {
        let key = key.as_str();
        !IGNORED.contains(&key) && !KNOWN.contains(&key)
    });
    if let Some((key, _)) = unknown {
        let why =
            format!("Invalid JSON payload received. Unknown name \"{key}\": Cannot bind query parameter.");
        return Err(model.refuse(
            call,
            route.method,
            route.project,
            route.place,
            ApiError::invalid(why),
        ));
    }
    if let Some(bad) = path_name(&route) {
        // Not the place of the path: one that is malformed would be looked up, and missed, first.
        return Err(model.refuse(call, route.method, route.project, Place::Global, bad));
    }
    let waits = [
        &method::ZONE_OPERATION_WAIT,
        &method::REGION_OPERATION_WAIT,
        &method::GLOBAL_OPERATION_WAIT,
    ];
    if waits.iter().any(|wait| **wait == *route.method) {
        let operation = model.wait_operation(call, route.project, route.place, route.name)?;
        return Ok(match operation.progress {
            Progress::Done => Answer::Now(model.show_operation(&operation)),
            _ => Answer::Hold(operation.id),
        });
    }
    reply::reply(model, call, request, route).map(Answer::Now)
}

/// The refusal of a name in the path that nothing can have.
fn path_name(route: &Route<'_>) -> Option<ApiError> {
    let is_id = |name: &str| {
        name.len() <= 20 && !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let place = match route.place {
        Place::Zone(zone) => ("zone", zone, is_name(zone)),
        Place::Region(region) => ("region", region, is_name(region)),
        Place::Global => ("", "", true),
    };
    let kind = match route.method.name.split('.').nth(1).unwrap_or_default() {
        "instances" => "instance",
        "images" if route.method.name.ends_with("getFromFamily") => "family",
        "images" => "image",
        "machineTypes" => "machineType",
        "subnetworks" => "subnetwork",
        _ => "operation",
    };
    let name = (
        kind,
        route.name,
        route.name.is_empty() || is_name(route.name) || is_id(route.name),
    );
    let (field, bad, _) = [place, name].into_iter().find(|(_, _, is_good)| !is_good)?;
    let why = "Must be a match of regex '[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19}'";
    Some(ApiError::field(field, bad, why))
}

/// The error envelope of section 1.9: `errors[].reason` always, `status` and `details` only where Google has
/// them.
fn error_response(model: &Model, error: &ApiError) -> Response {
    let mut body = serde_json::json!({
        "code": error.status,
        "message": error.message,
        "errors": [{ "message": error.message, "domain": error.domain, "reason": error.reason }],
    });
    if model.limits().switches.error_status || error.info.is_some() {
        body["status"] = error.rpc_status().into();
    }
    if let Some(info) = &error.info {
        body["details"] = serde_json::json!([
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": info.reason,
                "domain": "compute.googleapis.com",
                "metadatas": info.metadatas,
            },
            {
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{
                    "description": "The request exceeds API Quota limit, please see help link for suggestions.",
                    "url": "https://cloud.google.com/compute/docs/operations-quota",
                }],
            },
        ]);
    }
    Response::json(error.status, &serde_json::json!({ "error": body }))
}

impl Model {
    /// An operation as the API shows it.
    pub fn show_operation(&self, operation: &super::Operation) -> Value {
        let project = &self.projects[operation.project];
        show::operation(&project.id, project.number, operation)
    }

    /// An instance as the API shows it.
    pub fn show_instance(&self, instance: &super::Instance) -> Value {
        let project = &self.projects[instance.project];
        show::instance(&project.id, self.region_index(&instance.zone), instance)
    }
}
