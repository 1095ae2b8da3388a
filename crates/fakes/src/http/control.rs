//! The control surface: what a person would do in the web UI, and what a test does to the fakes.
//!
//! On a listener of its own, so that no product code can lean on it by accident.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::buildkite::{NewBuild, Refusal};
use crate::event::{Effects, Host};
use crate::fault;
use crate::http::site::Site;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};
use crate::world::World;

/// The control surface.
pub(super) struct Control;

impl Site for Control {
    fn host(&self) -> Option<Host> {
        None
    }

    fn method_of(&self, _: &Request) -> String {
        String::new()
    }

    fn handle(&self, world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
        control(world, now, request, out)
    }
}

/// One call of the control surface, without a socket.
pub fn control(world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answer = answer(world, now, request, &segments, out);
    Outcome::Now(answer.unwrap_or_else(|refusal| Response::message(refusal.status, &refusal.message)))
}

fn answer(
    world: &mut World,
    now: Now,
    request: &Request,
    segments: &[&str],
    out: &mut Effects,
) -> Result<Response, Refusal> {
    match (request.method.as_str(), segments) {
        ("POST", ["builds"]) => create_build(world, now, request, out),
        ("PUT", ["pipelines", slug]) => store_steps(world, slug, request),
        ("POST", ["builds", number, "cancel"]) => {
            let number = number.parse().map_err(|_| Refusal::new(404, "No build found"))?;
            world.buildkite.cancel_build(now, number, out)?;
            Ok(Response::json(200, &json!({"build": {"number": number}})))
        }
        ("POST", ["webhooks"]) => {
            let webhook = serde_json::from_value(body(request)?)
                .map_err(|error| Refusal::new(422, format!("The webhook is malformed: {error}")))?;
            let id = world.buildkite.add_webhook(webhook, out)?;
            Ok(Response::json(201, &json!({ "id": id })))
        }
        ("GET", ["webhooks"]) => Ok(Response::json(200, &world.buildkite.webhooks_json())),
        ("DELETE", ["webhooks", id]) => {
            if !world.buildkite.remove_webhook(id) {
                return Err(Refusal::new(404, "No webhook found"));
            }
            world.outbox.forget(id);
            Ok(Response::json(200, &json!({ "id": id })))
        }
        ("GET", ["jobs", job]) => Ok(Response::json(200, &world.buildkite.show_job(job_uuid(job)?)?)),
        ("DELETE", ["jobs", job]) => {
            world.buildkite.delete_job(now, job_uuid(job)?, out)?;
            Ok(Response::json(200, &json!({ "uuid": job })))
        }
        ("POST", ["jobs", job, "cancel"]) => {
            world.buildkite.cancel_job(now, job_uuid(job)?, out)?;
            Ok(Response::json(200, &world.buildkite.show_job(job_uuid(job)?)?))
        }
        ("POST", ["jobs", job, "retry"]) => {
            let new = world.buildkite.retry_job(now, job_uuid(job)?, out)?;
            let shown = world.buildkite.show_job(new)?;
            Ok(Response::json(
                201,
                &json!({"uuid": new.to_string(), "job": shown}),
            ))
        }
        ("POST", ["jobs", job, "unblock"]) => {
            let fields = match request.body.is_empty() {
                true => Value::Null,
                false => body(request)?["fields"].clone(),
            };
            let fields = fields.as_object().cloned().unwrap_or_default();
            world.buildkite.unblock(now, job_uuid(job)?, &fields, out)?;
            Ok(Response::json(200, &json!({ "uuid": job })))
        }
        ("PUT", ["jobs", job, "priority"]) => {
            let priority = priority(request)?;
            world.buildkite.reprioritize(now, job_uuid(job)?, priority, out)?;
            Ok(Response::json(200, &world.buildkite.show_job(job_uuid(job)?)?))
        }
        ("GET", ["events"]) => events(world, request),
        ("GET", ["state"]) => Ok(Response::json(200, &world.to_json(now))),
        ("GET", ["faults"]) => Ok(Response::json(200, &world.faults.to_json(now))),
        ("POST", ["faults"]) => add_fault(world, now, request),
        ("DELETE", ["faults", id]) => {
            if world.faults.remove(id) {
                Ok(Response::json(200, &json!({ "id": id })))
            } else {
                Err(Refusal::new(404, format!("No fault {id} found")))
            }
        }
        ("GET", ["limits"]) => Ok(Response::json(200, world.limits())),
        ("PUT", ["limits"]) => {
            let change = body(request)?;
            world
                .change_limits(now, &change)
                .map_err(|error| Refusal::new(422, chain(&error)))?;
            Ok(Response::json(200, world.limits()))
        }
        ("POST", ["instances", name, act]) => world
            .instance_act(now, name, act, out)
            .map(|()| Response::json(200, &json!({"name": name, "act": act}))),
        _ => Err(Refusal::new(
            404,
            format!("{} {} is not a control call", request.method, request.path),
        )),
    }
}

fn create_build(
    world: &mut World,
    now: Now,
    request: &Request,
    out: &mut Effects,
) -> Result<Response, Refusal> {
    let yaml = yaml(request)?;
    let priority = match request.query("priority").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::new(422, "priority must be an integer"))?,
    };
    let text = |name: &str| request.query(name).unwrap_or_default().to_owned();
    let new = NewBuild {
        pipeline: text("pipeline"),
        branch: text("branch"),
        priority,
        cluster: request.query("cluster").map(str::to_owned),
        yaml: yaml.to_owned(),
    };
    let build = world.buildkite.create_build(now, &new, out)?;
    let jobs: Vec<Value> = build
        .jobs
        .iter()
        .map(|job| json!({"uuid": job.uuid.to_string(), "key": job.key, "rules": job.rules}))
        .collect();
    let build = json!({"number": build.number, "uuid": build.uuid.to_string()});
    Ok(Response::json(201, &json!({"build": build, "jobs": jobs})))
}

fn yaml(request: &Request) -> Result<&str, Refusal> {
    std::str::from_utf8(&request.body).map_err(|_| Refusal::new(422, "The pipeline is not UTF-8"))
}

/// Steps for a pipeline, which trigger steps and the REST API make builds of.
fn store_steps(world: &mut World, slug: &str, request: &Request) -> Result<Response, Refusal> {
    let cluster = request.query("cluster");
    let new = world.buildkite.store_steps(slug, cluster, yaml(request)?)?;
    let status = if new { 201 } else { 200 };
    Ok(Response::json(status, &json!({"pipeline": slug})))
}

/// `{"priority": 5}`, or the number alone, or `?priority=5`.
fn priority(request: &Request) -> Result<i64, Refusal> {
    let wrong = || Refusal::new(422, "priority must be an integer");
    if let Some(text) = request.query("priority") {
        return text.parse().map_err(|_| wrong());
    }
    let body = body(request)?;
    body.as_i64()
        .or_else(|| body.get("priority")?.as_i64())
        .ok_or_else(wrong)
}

fn events(world: &World, request: &Request) -> Result<Response, Refusal> {
    let after = match request.query("after").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::new(422, "after must be a sequence number"))?,
    };
    let (lines, _) = world.log.text_after(after, usize::MAX);
    Ok(Response {
        body: lines.into(),
        ..Response::empty(200)
    }
    .with("content-type", "application/x-ndjson"))
}

fn add_fault(world: &mut World, now: Now, request: &Request) -> Result<Response, Refusal> {
    let order = serde_json::from_value(body(request)?)
        .map_err(|error| Refusal::new(422, format!("The fault is malformed: {error}")))?;
    let id = world.faults.add(now, order).map_err(|error| {
        let status = match error {
            fault::Error::NotBuilt { .. } => 501,
            fault::Error::Invalid { .. } => 422,
        };
        Refusal::new(status, error.to_string())
    })?;
    Ok(Response::json(201, &json!({ "id": id })))
}

fn body(request: &Request) -> Result<Value, Refusal> {
    serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::new(422, format!("The body is not JSON: {error}")))
}

fn job_uuid(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::new(404, "No job found"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
