//! The wire of the fake Buildkite: HTTP requests into calls of the model, and back.
//!
//! Own serde types, written from the documents. Every call of an API is told in the log as `api.call`, ahead
//! of what it changed.

mod agent;
mod artifacts;
mod calls;
pub(super) mod graphql;
mod json;
pub(super) mod markdown;
mod page;
mod rest;
mod route;
mod stacks;

use serde_json::{Map, Value};
use uuid::Uuid;

use self::route::Call;
use super::ids::Refusal;
use super::model::Model;
use crate::event::{Effects, Event, Host};
use crate::fault::Faults;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};

/// Everything one call needs.
struct Context<'a> {
    model: &'a mut Model,
    faults: &'a mut Faults,
    now: Now,
    request: &'a Request,
    out: &'a mut Effects,
    /// Fields for `api.call` that the call itself knows.
    told: Map<String, Value>,
}

/// The API method's name of a request, `stacks.list`; empty for a path that does not exist.
pub fn method_of(request: &Request) -> String {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match route::route(&request.method, &segments) {
        None => String::new(),
        Some(Call::GraphQl) => graphql::name_of(request),
        Some(call) => call.name().to_owned(),
    }
}

/// One request.
pub fn handle(
    model: &mut Model,
    faults: &mut Faults,
    now: Now,
    request: &Request,
    out: &mut Effects,
) -> Outcome {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(page) = page::page(model, now, request, &segments) {
        return Outcome::Now(page);
    }
    let Some(call) = route::route(&request.method, &segments) else {
        return Outcome::Now(not_an_api(model, request, &segments));
    };
    let mut inner = Effects::default();
    let mut context = Context {
        model,
        faults,
        now,
        request,
        out: &mut inner,
        told: Map::new(),
    };
    let response = answer(&mut context, &call);
    let told = context.told;
    let mut event = Event::new(Host::Buildkite, "api.call").with("method", method_of(request));
    event.fields.extend(told);
    event = event.with("status", response.status);
    if response.status >= 400 {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let message = &body["message"];
        let message = if message.is_null() {
            &body["errors"][0]["message"]
        } else {
            message
        };
        event = event.with("reason", message.clone());
    }
    out.push(event);
    out.adopt(inner);
    Outcome::Now(response)
}

fn answer(context: &mut Context<'_>, call: &Call<'_>) -> Response {
    match call {
        Call::Stack(key, call) => stacks::answer(context, key.as_deref(), call),
        Call::Agent(call) => settle(agent::answer(context, call)),
        Call::Job(job, call) => {
            context.told.insert("job".into(), (*job).into());
            settle(calls::answer_job(context, job, call))
        }
        Call::Build(build, call) => settle(calls::answer_build(context, build, call)),
        Call::Step(step, call) => settle(calls::answer_step(context, step, call)),
        Call::Store(call) => settle(artifacts::answer(context, call)),
        Call::GraphQl => graphql::answer(context),
        Call::Rest(organization, call) => rest::answer(context, *organization, call),
    }
}

/// A refusal is a reply.
fn settle(answer: Result<Response, Refusal>) -> Response {
    answer.unwrap_or_else(|refusal| Response::message(refusal.status, &refusal.message))
}

fn not_an_api(model: &Model, request: &Request, segments: &[&str]) -> Response {
    match segments.first() {
        Some(&"v2") => rest::unknown_path(model, request),
        _ => Response::message(404, "Not Found"),
    }
}

impl Context<'_> {
    /// The secret of `Authorization: Token …`.
    fn token(&self) -> Result<String, Refusal> {
        let header = self.request.header("authorization").unwrap_or_default();
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("token") && !token.trim().is_empty() {
            Ok(token.trim().to_owned())
        } else {
            Err(Refusal::new(
                401,
                "Authentication required. Please supply a valid token",
            ))
        }
    }
}

/// A UUID in a path; anything else names nothing.
fn uuid(text: &str, what: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::not_found(what))
}
