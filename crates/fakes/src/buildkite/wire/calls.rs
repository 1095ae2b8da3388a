//! Calls about a job, a build or a step, made by the job's agent or by the job itself.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::route::{BuildCall, DataCall, JobCall, StepCall};
use super::{Context, artifacts, json, uuid};
use crate::buildkite::extras::{MetaDataOf, NewAnnotation, UploadState};
use crate::buildkite::ids::{self, Refusal};
use crate::buildkite::running::{Chunk, JobEnd};
use crate::wire::Response;

pub(super) fn answer_job(
    context: &mut Context<'_>,
    job: &str,
    call: &JobCall<'_>,
) -> Result<Response, Refusal> {
    let token = context.token()?;
    let job = uuid(job, "job")?;
    let now = context.now;
    let body = &context.request.body;
    match call {
        JobCall::Acquire => acquire(context, &token, job),
        JobCall::Start => {
            context.model.start(now, &token, job, context.out)?;
            Ok(done(job))
        }
        JobCall::Chunk => chunk(context, &token, job),
        JobCall::Get => {
            let state = context.model.job_state(&token, job)?;
            Ok(Response::json(
                200,
                &json!({"id": job.to_string(), "state": state.name()}),
            ))
        }
        JobCall::Update => update(context, &token, job),
        JobCall::Finish => finish(context, &token, job),
        JobCall::HeaderTimes => {
            context.model.job_state(&token, job)?;
            Ok(done(job))
        }
        JobCall::Annotate => annotate(context, &token, job),
        JobCall::RemoveAnnotation(name) => {
            let scope = context.request.query("scope").unwrap_or("build");
            context
                .model
                .remove_annotation(&token, job, name, scope, context.out)?;
            Ok(Response::empty(204))
        }
        JobCall::Data(call) => data(context, &token, MetaDataOf::Job(job), *call),
        JobCall::CreateArtifacts => artifacts::create(context, &token, job),
        JobCall::UpdateArtifacts => artifacts::update(context, &token, job),
        JobCall::Upload => upload(context, &token, job),
        JobCall::UploadState(upload) => {
            let upload = uuid(upload, "pipeline upload")?;
            let body = match context.model.upload_state(&token, job, upload)? {
                UploadState::Pending => json!({"state": "pending"}),
                UploadState::Applied => json!({"state": "applied"}),
                UploadState::Rejected(message) => json!({"state": "rejected", "message": message}),
            };
            Ok(Response::json(200, &body))
        }
        JobCall::Oidc => {
            let body = json::optional_object(body)?;
            let audience = json::text(&body, "audience")?;
            let lifetime = json::integer(&body, "lifetime")?.unwrap_or(0);
            let lifetime =
                u64::try_from(lifetime).map_err(|_| Refusal::unprocessable("lifetime must be positive"))?;
            let token = context
                .model
                .oidc_token(now, &token, job, audience.as_deref(), lifetime)?;
            Ok(Response::json(200, &json!({ "token": token })))
        }
        JobCall::Secret => {
            let key = context.request.query("key").unwrap_or_default().to_owned();
            let (value, secret) = context.model.secret(&token, job, &key)?;
            Ok(Response::json(
                200,
                &json!({"key": key, "value": value, "uuid": secret.to_string()}),
            ))
        }
        JobCall::PromiseFailure => {
            let promise = json::object(body)?;
            context
                .model
                .promise_failure(now, &token, job, promise, context.out)?;
            Ok(Response::empty(204))
        }
        JobCall::RepositoryToken => {
            let token = context.model.repository_access_token(&token, job)?;
            Ok(Response::json(200, &json!({ "token": token })))
        }
    }
}

fn done(job: Uuid) -> Response {
    Response::json(200, &json!({"id": job.to_string()}))
}

fn acquire(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let acquired = context.model.acquire(context.now, token, job, context.out)?;
    let mut body = json!({
            "id": acquired.job.to_string(),
            "endpoint": format!("{}/v3", context.model.config.base_url),
            "state": "accepted",
            "env": acquired.env,
            "step": acquired.step,
            "chunks_max_size_bytes": acquired.chunk_max_bytes,
            "chunks_interval_seconds": 1,
            "log_max_size_bytes": acquired.log_max_bytes,
            "token": acquired.token,
            "exit_status": "",
            "signal": "",
            "signal_reason": "",
            "started_at": "",
            "finished_at": "",
            "runnable_at": acquired.runnable_at.unwrap_or_default(),
            "chunks_failed_count": 0,
            "priority": acquired.priority,
    });
    if !acquired.matrix.is_empty() {
        body["matrix_permutation"] = json!(acquired.matrix);
    }
    Ok(Response::json(200, &body))
}

fn chunk(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let request = context.request;
    let number = |name: &str| -> Result<u64, Refusal> {
        let text = request.query(name).unwrap_or_default();
        text.parse()
            .map_err(|_| Refusal::bad(format!("{name} must be a number")))
    };
    let (sequence, offset, size) = (number("sequence")?, number("offset")?, number("size")?);
    if sequence == 0 {
        return Err(Refusal::bad("sequence starts at 1"));
    }
    let bytes = match request.header("content-encoding") {
        Some("gzip") => {
            // One byte above the limit is enough to see that it is too large.
            let limit = context.model.limits.chunk_max_bytes as u64 + 1;
            let mut bytes = Vec::new();
            MultiGzDecoder::new(request.body.as_ref())
                .take(limit)
                .read_to_end(&mut bytes)
                .map_err(|error| Refusal::bad(format!("The chunk is not valid gzip: {error}")))?;
            Bytes::from(bytes)
        }
        None | Some("identity") => request.body.clone(),
        Some(other) => return Err(Refusal::bad(format!("Content-Encoding {other} is not supported"))),
    };
    if bytes.len() as u64 != size && bytes.len() <= context.model.limits.chunk_max_bytes {
        return Err(Refusal::unprocessable(format!(
            "size is {size}, but the chunk has {} bytes",
            bytes.len()
        )));
    }
    context.told.insert("count".into(), size.into());
    context.model.append_log(token, job, Chunk { offset, bytes })?;
    Ok(Response::json(201, &json!({})))
}

fn update(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    for (name, value) in &body {
        let value = value
            .as_str()
            .ok_or_else(|| Refusal::bad(format!("{name} must be a string")))?;
        match name.as_str() {
            "timeout" => {
                let minutes = value.parse::<u32>().ok().filter(|minutes| *minutes > 0);
                let minutes =
                    minutes.ok_or_else(|| Refusal::unprocessable("timeout must be whole minutes"))?;
                context.model.set_timeout(context.now, token, job, minutes)?;
            }
            _ => {
                return Err(Refusal::unprocessable(format!(
                    "The attribute {name:?} cannot be changed"
                )));
            }
        }
    }
    context.model.job_state(token, job)?;
    Ok(done(job))
}

fn finish(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let end = JobEnd {
        exit_status: json::text(&body, "exit_status")?.unwrap_or_default(),
        signal: json::text(&body, "signal")?,
        signal_reason: json::text(&body, "signal_reason")?,
        chunks_failed: json::integer(&body, "chunks_failed_count")?
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0),
    };
    context
        .model
        .finish_job(context.now, token, job, end, context.out)?;
    Ok(done(job))
}

fn annotate(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let new = NewAnnotation {
        body: json::text(&body, "body")?,
        context: json::text(&body, "context")?,
        style: json::text(&body, "style")?,
        append: json::flag(&body, "append"),
        priority: json::integer(&body, "priority")?,
        scope: json::text(&body, "scope")?,
    };
    context
        .model
        .annotate(context.now, token, job, new, context.out)?;
    Ok(Response::json(201, &json!({})))
}

fn data(context: &mut Context<'_>, token: &str, of: MetaDataOf, call: DataCall) -> Result<Response, Refusal> {
    if call == DataCall::Keys {
        return Ok(Response::json(200, &context.model.meta_data_keys(token, of)?));
    }
    let body = json::object(&context.request.body)?;
    let pair = |item: &Map<String, Value>| -> Result<(String, String), Refusal> {
        let key = json::text(item, "key")?.unwrap_or_default();
        Ok((key, json::text(item, "value")?.unwrap_or_default()))
    };
    match call {
        DataCall::Set => {
            context.model.set_meta_data(token, of, vec![pair(&body)?])?;
            Ok(Response::json(200, &json!({})))
        }
        DataCall::SetBatch => {
            let Some(Value::Array(items)) = body.get("items") else {
                return Err(Refusal::bad("items must be an array"));
            };
            let items = items
                .iter()
                .map(|item| {
                    pair(
                        item.as_object()
                            .ok_or_else(|| Refusal::bad("An item must be an object"))?,
                    )
                })
                .collect::<Result<Vec<_>, _>>()?;
            context.model.set_meta_data(token, of, items)?;
            Ok(Response::json(200, &json!({})))
        }
        DataCall::Get | DataCall::Exists | DataCall::Keys => {
            let (key, _) = pair(&body)?;
            let value = context.model.meta_data(token, of, &key)?;
            match (call, value) {
                (DataCall::Exists, value) => Ok(Response::json(200, &json!({"exists": value.is_some()}))),
                (_, Some(value)) => Ok(Response::json(200, &json!({"key": key, "value": value}))),
                (_, None) => Err(Refusal::new(404, format!("No key `{key}` found"))),
            }
        }
    }
}

fn upload(context: &mut Context<'_>, token: &str, job: Uuid) -> Result<Response, Refusal> {
    let body = json::object(&context.request.body)?;
    let asynchronous = context.request.query("async") == Some("true");
    let id = match json::text(&body, "uuid")? {
        Some(text) => Uuid::parse_str(&text).map_err(|_| Refusal::unprocessable("uuid is not a UUID"))?,
        None => ids::uuid(&mut context.model.rng),
    };
    let pipeline = body
        .get("pipeline")
        .cloned()
        .ok_or_else(|| Refusal::unprocessable("pipeline is required"))?;
    let what = (pipeline, json::flag(&body, "replace"));
    if asynchronous {
        context.model.upload_pipeline(context.now, token, job, id, what)?;
        return Ok(Response::json(202, &json!({}))
            .with("location", format!("/v3/jobs/{job}/pipelines/{id}"))
            .with("retry-after", "0.2"));
    }
    context
        .model
        .upload_pipeline_now(context.now, token, job, id, what, context.out)?;
    Ok(Response::json(200, &json!({})))
}

pub(super) fn answer_build(
    context: &mut Context<'_>,
    build: &str,
    call: &BuildCall,
) -> Result<Response, Refusal> {
    let token = context.token()?;
    let build = uuid(build, "build")?;
    match call {
        BuildCall::Data(call) => data(context, &token, MetaDataOf::Build(build), *call),
        BuildCall::SearchArtifacts => artifacts::search(context, &token, build),
        BuildCall::Cancel => {
            let build = context
                .model
                .cancel_build_from_job(context.now, &token, build, context.out)?;
            Ok(Response::json(200, &json!({"uuid": build.to_string()})))
        }
    }
}

pub(super) fn answer_step(
    context: &mut Context<'_>,
    step: &str,
    call: &StepCall,
) -> Result<Response, Refusal> {
    let token = context.token()?;
    let body = json::object(&context.request.body)?;
    let build = json::text(&body, "build_id")?.filter(|build| !build.is_empty());
    let build = build.map(|build| uuid(&build, "build")).transpose()?;
    match call {
        StepCall::Export => {
            let attribute = json::text(&body, "attribute")?;
            let output = context
                .model
                .step_attribute(&token, build, step, attribute.as_deref())?;
            Ok(Response::json(200, &json!({ "output": output })))
        }
        StepCall::Update => {
            let attribute = json::text(&body, "attribute")?.unwrap_or_default();
            let value = json::text(&body, "value")?.unwrap_or_default();
            let append = json::flag(&body, "append");
            context
                .model
                .update_step(&token, build, step, (&attribute, &value), append)?;
            Ok(Response::json(200, &json!({})))
        }
        StepCall::Cancel => {
            let step = context
                .model
                .cancel_step(context.now, &token, build, step, context.out)?;
            Ok(Response::json(200, &json!({"uuid": step.to_string()})))
        }
    }
}
