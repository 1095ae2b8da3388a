//! Agents.

use super::{Context, pages};
use crate::buildkite::agents::AgentState;
use crate::buildkite::ids::{AgentKey, Refusal};
use crate::buildkite::wire::{json as body, uuid};
use crate::wire::Response;

/// Agents that are connected or stopping, newest first.
pub(super) fn list(context: &Context<'_>) -> Result<Response, Refusal> {
    let (model, request) = (&context.model, context.request);
    let is = |name: &str, value: &str| request.query(name).is_none_or(|wanted| wanted == value);
    let found: Vec<AgentKey> = (0..model.agents.len())
        .rev()
        .map(AgentKey)
        .filter(|key| {
            let agent = &model.agents[key.0];
            agent.state == AgentState::Connected
                && is("name", &agent.name)
                && is("hostname", &agent.hostname)
                && is("version", &agent.version)
                && is("cluster_queue_id", &model.queues[agent.queue.0].uuid.to_string())
        })
        .collect();
    pages::page(context, &found, |key| model.rest_agent(context.now, *key, true))
}

fn find(context: &Context<'_>, agent: &str) -> Result<AgentKey, Refusal> {
    let agent = uuid(agent, "agent")?;
    let at = context.model.agents.iter().position(|known| known.uuid == agent);
    at.map(AgentKey).ok_or_else(|| Refusal::not_found("agent"))
}

pub(super) fn get(context: &Context<'_>, agent: &str) -> Result<Response, Refusal> {
    let key = find(context, agent)?;
    Ok(Response::json(
        200,
        &context.model.rest_agent(context.now, key, true),
    ))
}

pub(super) fn stop(context: &mut Context<'_>, agent: &str) -> Result<Response, Refusal> {
    let key = find(context, agent)?;
    let posted = body::optional_object(&context.request.body)?;
    // The job is canceled unless the request says otherwise.
    let force = !posted.contains_key("force") || body::flag(&posted, "force");
    if context.model.agents[key.0].state != AgentState::Connected {
        return Err(Refusal::bad("Can only stop connected agents"));
    }
    context
        .model
        .stop_agent_by_key(context.now, key, force, context.out);
    Ok(Response::empty(204))
}

pub(super) fn pause(context: &mut Context<'_>, agent: &str) -> Result<Response, Refusal> {
    let key = find(context, agent)?;
    let posted = body::optional_object(&context.request.body)?;
    let minutes =
        body::integer(&posted, "timeout_in_minutes")?.and_then(|minutes| u32::try_from(minutes).ok());
    let note = body::text(&posted, "note")?;
    if context.model.agents[key.0].state != AgentState::Connected {
        return Err(Refusal::unprocessable("Only connected agents may be paused"));
    }
    if context.model.agent_pause(context.now, key).is_some() {
        return Err(Refusal::unprocessable("Agent is already paused"));
    }
    context.model.pause_agent_by_key(context.now, key, minutes, note);
    Ok(Response::empty(204))
}

pub(super) fn resume(context: &mut Context<'_>, agent: &str) -> Result<Response, Refusal> {
    let key = find(context, agent)?;
    if context.model.agent_pause(context.now, key).is_none() {
        return Err(Refusal::unprocessable("Agent is not paused"));
    }
    context.model.resume_agent_by_key(key);
    Ok(Response::empty(204))
}
