//! An agent about itself: register, connect, heartbeat, ping, disconnect, stop, pause, resume.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::route::AgentCall;
use super::{Context, json};
use crate::buildkite::agents::Registration;
use crate::buildkite::ids::Refusal;
use crate::stamp::rfc3339;
use crate::wire::Response;

pub(super) fn answer(context: &mut Context<'_>, call: &AgentCall) -> Result<Response, Refusal> {
    let token = context.token()?;
    let now = context.now;
    let empty = json!({});
    match call {
        AgentCall::Token => Ok(Response::json(200, &context.model.token_identity(&token)?)),
        AgentCall::Metrics => Ok(Response::json(200, &context.model.metrics(&token)?)),
        AgentCall::QueueMetrics => {
            let queue = context.request.query("name").unwrap_or_default();
            Ok(Response::json(200, &context.model.queue_metrics(&token, queue)?))
        }
        AgentCall::Register => register(context, &token),
        AgentCall::Connect => {
            context.model.connect(now, &token, context.out)?;
            Ok(Response::json(200, &empty))
        }
        AgentCall::Heartbeat => heartbeat(context, &token),
        AgentCall::Ping => {
            let action = context.model.ping(now, &token)?;
            let body = match action {
                None => empty,
                Some(action) => json!({"action": action, "message": format!("told to {action}")}),
            };
            Ok(Response::json(200, &body))
        }
        AgentCall::Disconnect => {
            context.model.disconnect(now, &token, context.out)?;
            Ok(Response::json(200, &empty))
        }
        AgentCall::Stop => {
            let body = json::optional_object(&context.request.body)?;
            let force = body.get("force").and_then(Value::as_bool).unwrap_or(true);
            context.model.stop_agent(now, &token, force, context.out)?;
            Ok(Response::json(200, &empty))
        }
        AgentCall::Pause => {
            let body = json::optional_object(&context.request.body)?;
            let minutes = json::integer(&body, "timeout_in_minutes")?;
            let minutes = minutes.map(u32::try_from).transpose();
            let minutes =
                minutes.map_err(|_| Refusal::unprocessable("timeout_in_minutes must be positive"))?;
            context
                .model
                .pause_agent(now, &token, minutes.filter(|minutes| *minutes > 0))?;
            Ok(Response::json(200, &empty))
        }
        AgentCall::Resume => {
            context.model.resume_agent(&token)?;
            Ok(Response::json(200, &empty))
        }
    }
}

fn register(context: &mut Context<'_>, token: &str) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let tags = match body.get("meta_data") {
        None | Some(Value::Null) => Vec::new(),
        Some(_) => json::texts(&body, "meta_data")?,
    };
    let new = Registration {
        name: json::text(&body, "name")?.unwrap_or_default(),
        hostname: json::text(&body, "hostname")?.unwrap_or_default(),
        tags,
        version: json::text(&body, "version")?.unwrap_or_default(),
        os: json::text(&body, "os")?.unwrap_or_default(),
        arch: json::text(&body, "arch")?.unwrap_or_default(),
        ip_address: address(&context.request.peer),
    };
    let agent = context
        .model
        .register_agent(context.now, token, new, context.out)?;
    let limits = &context.model.limits;
    Ok(Response::json(
        200,
        &json!({
            "id": agent.uuid.to_string(),
            "name": agent.name,
            "access_token": agent.access_token,
            "endpoint": format!("{}/v3", context.model.config.base_url),
            // An interval of zero makes the agent panic.
            "ping_interval": limits.ping_interval_s.max(1),
            "job_status_interval": limits.job_status_interval_s.max(1),
            "heartbeat_interval": limits.heartbeat_interval_s.max(1),
            "meta_data": agent.tags,
        }),
    ))
}

/// The peer without its port.
fn address(peer: &str) -> Option<String> {
    let (address, _) = peer.rsplit_once(':')?;
    Some(address.trim_matches(['[', ']']).to_owned())
}

/// A heartbeat, unless a fault lets it fall on deaf ears: it is answered, and does not count.
fn heartbeat(context: &mut Context<'_>, token: &str) -> Result<Response, Refusal> {
    let body = json::optional_object(&context.request.body)?;
    let deaf = match context.model.describe_session(token) {
        Some((agent, name, job, queue)) if context.faults.any("buildkite.agent-lost") => {
            let subject = BTreeMap::from([
                ("agent", agent.as_str()),
                ("agent_name", name.as_str()),
                ("job", job.as_deref().unwrap_or_default()),
                ("queue", queue.as_str()),
            ]);
            context
                .faults
                .check(context.now, "buildkite.agent-lost", &subject, context.out)
                .is_some()
        }
        _ => false,
    };
    if !deaf {
        context.model.heartbeat(context.now, token)?;
    }
    Ok(Response::json(
        200,
        &json!({"sent_at": body.get("sent_at"), "received_at": rfc3339(context.now.unix_ns)}),
    ))
}
