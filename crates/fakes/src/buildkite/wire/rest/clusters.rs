//! Clusters and their queues.

use serde_json::Value;

use super::{Context, pages};
use crate::buildkite::ids::{QueueKey, Refusal};
use crate::buildkite::model::Pause;
use crate::buildkite::stacks::ListView;
use crate::buildkite::wire::{json as body, uuid};
use crate::wire::Response;

pub(super) fn list(context: &Context<'_>) -> Result<Response, Refusal> {
    let all: Vec<usize> = (0..context.model.clusters.len()).collect();
    pages::page(context, &all, |at| context.model.rest_cluster(*at))
}

fn find(context: &Context<'_>, cluster: &str) -> Result<usize, Refusal> {
    let cluster = uuid(cluster, "cluster")?;
    let at = context
        .model
        .clusters
        .iter()
        .position(|known| known.uuid == cluster);
    at.ok_or_else(|| Refusal::not_found("cluster"))
}

pub(super) fn get(context: &Context<'_>, cluster: &str) -> Result<Response, Refusal> {
    let at = find(context, cluster)?;
    Ok(Response::json(200, &context.model.rest_cluster(at)))
}

pub(super) fn queues(context: &mut Context<'_>, cluster: &str) -> Result<Response, Refusal> {
    let at = find(context, cluster)?;
    let of = (0..context.model.queues.len()).filter(|queue| context.model.queues[*queue].cluster == at);
    let keys: Vec<QueueKey> = of.map(QueueKey).collect();
    let shown: Vec<Value> = keys.into_iter().map(|key| show(context, key)).collect();
    pages::page(context, &shown, Value::clone)
}

/// Agent tokens of a cluster, without their secrets.
pub(super) fn tokens(context: &Context<'_>, cluster: &str) -> Result<Response, Refusal> {
    let at = find(context, cluster)?;
    let tokens = &context.model.clusters[at].tokens;
    pages::page(context, tokens, |(_, token)| {
        context.model.rest_cluster_token(at, *token)
    })
}

pub(super) fn token(context: &Context<'_>, cluster: &str, token: &str) -> Result<Response, Refusal> {
    let (at, token) = (find(context, cluster)?, uuid(token, "token")?);
    let mut tokens = context.model.clusters[at].tokens.iter();
    match tokens.any(|(_, known)| *known == token) {
        true => Ok(Response::json(200, &context.model.rest_cluster_token(at, token))),
        false => Err(Refusal::not_found("token")),
    }
}

fn find_queue(context: &Context<'_>, cluster: &str, queue: &str) -> Result<QueueKey, Refusal> {
    let (at, queue) = (find(context, cluster)?, uuid(queue, "queue")?);
    let of = context
        .model
        .queues
        .iter()
        .position(|known| known.uuid == queue && known.cluster == at);
    of.map(QueueKey).ok_or_else(|| Refusal::not_found("queue"))
}

fn show(context: &mut Context<'_>, key: QueueKey) -> Value {
    let queue = &context.model.queues[key.0];
    let paused =
        queue.paused.is_some() || ListView::is_paused(context.faults, context.now, &queue.key, context.out);
    context.model.rest_queue(key, paused)
}

pub(super) fn queue(context: &mut Context<'_>, cluster: &str, queue: &str) -> Result<Response, Refusal> {
    let key = find_queue(context, cluster, queue)?;
    Ok(Response::json(200, &show(context, key)))
}

pub(super) fn pause(context: &mut Context<'_>, cluster: &str, queue: &str) -> Result<Response, Refusal> {
    let key = find_queue(context, cluster, queue)?;
    let posted = body::optional_object(&context.request.body)?;
    let note = body::text(&posted, "dispatch_paused_note")?;
    if context.model.queues[key.0].paused.is_some() {
        return Err(Refusal::unprocessable("Cluster queue is already paused"));
    }
    context.model.queues[key.0].paused = Some(Pause {
        at: context.now.unix_ns,
        note,
    });
    Ok(Response::json(200, &show(context, key)))
}

pub(super) fn resume(context: &mut Context<'_>, cluster: &str, queue: &str) -> Result<Response, Refusal> {
    let key = find_queue(context, cluster, queue)?;
    if context.model.queues[key.0].paused.take().is_none() {
        return Err(Refusal::unprocessable("Cluster queue is not paused"));
    }
    Ok(Response::json(200, &show(context, key)))
}
