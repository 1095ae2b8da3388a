//! One job, from `start` to `finish`.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    api::{Api, Failure, Send, repeat},
    chain,
    cli::StartOptions,
    log::{self, Log},
    redact::Redactor,
    say,
    stop::Stop,
    supervise::{Ended, Run},
    wall_time,
};

/// The reply to acquire. A field of another type makes the whole reply unreadable, as with the real agent.
#[derive(Debug, Deserialize)]
pub struct Acquired {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub env: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    pub chunks_max_size_bytes: Option<u64>,
    #[serde(default)]
    pub chunks_interval_seconds: Option<u64>,
    #[serde(default, rename = "state")]
    _state: Option<String>,
    #[serde(default, rename = "exit_status")]
    _exit_status: Option<String>,
    #[serde(default, rename = "step")]
    _step: Option<Map<String, Value>>,
}

/// What the agent's exit code needs to know of the job.
pub struct JobEnd {
    /// As reported; none where nothing ran.
    pub exit_status: Option<i32>,
}

impl JobEnd {
    pub const NONE: Self = Self { exit_status: None };
}

/// Starts, runs and finishes the job.
pub async fn run(
    options: &StartOptions,
    session: &Api,
    job: Acquired,
    status_interval: u64,
    stop: &Stop,
) -> JobEnd {
    // The service may leave the token out; then the session's serves, as with the real agent.
    let token = job
        .token
        .as_deref()
        .filter(|token| !token.is_empty())
        .unwrap_or(session.token());
    let api = session.with_token(token);
    if let Err(failure) = started(&api, &job.id).await {
        say(&format!("not started: {}", chain(&failure)));
        return JobEnd::NONE;
    }
    let chunk = usize::try_from(job.chunks_max_size_bytes.unwrap_or(0)).unwrap_or(usize::MAX);
    if chunk == 0 {
        // The real agent's log streamer fails here, and the job is never finished.
        say("the service allows no log chunks, giving up");
        return JobEnd::NONE;
    }
    let env: BTreeMap<String, String> = job
        .env
        .clone()
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect();
    let (log, chunks) = Log::new(chunk, Redactor::for_env(&env, [api.token(), session.token()]));
    let flush = Duration::from_secs(job.chunks_interval_seconds.unwrap_or(0).max(1));
    let (cancel, done) = (CancellationToken::new(), CancellationToken::new());
    let supervised = async {
        let _done = done.clone().drop_guard();
        Run {
            options,
            api: &api,
            env: &env,
            flush,
            cancel: &cancel,
            stop,
        }
        .to_end(log)
        .await
    };
    let polled = async {
        tokio::select! {
            biased;
            () = done.cancelled() => {}
            () = poll(&api, &job.id, status_interval, &cancel) => {}
        }
    };
    let (ended, failed_chunks, ()) = tokio::join!(supervised, log::upload(&api, &job.id, chunks), polled);
    finish(&api, &job.id, &ended, failed_chunks).await;
    JobEnd {
        exit_status: Some(ended.exit_status),
    }
}

async fn started(api: &Api, job: &str) -> Result<(), Failure> {
    let path = format!("jobs/{job}/start");
    let send = async || {
        let body = json!({ "started_at": wall_time() });
        api.send(Send::json(Method::PUT, &path, &body)).await.map(drop)
    };
    let wait = |attempt: u32| Duration::from_secs(1 << (attempt - 1).min(6));
    repeat("start", 7, wait, Failure::is_retryable, send).await
}

/// Asks for the job's state until it is to be canceled. Other states and other failures change nothing.
async fn poll(api: &Api, job: &str, interval: u64, cancel: &CancellationToken) {
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        state: Option<String>,
    }
    let path = format!("jobs/{job}");
    let mut rng = SmallRng::seed_from_u64(u64::from(std::process::id()));
    loop {
        // First after a part of the interval, later one interval apart, give or take.
        let wait = Duration::from_secs(interval).mul_f64(rng.random_range(0.2..1.2));
        tokio::time::sleep(wait).await;
        let reply = async { api.send(Send::bare(Method::GET, &path)).await?.json::<State>() };
        let canceled = match reply.await {
            Ok(State { state: Some(state) }) => {
                matches!(
                    state.as_str(),
                    "canceling" | "canceled" | "timing_out" | "timed_out"
                )
            }
            Ok(State { state: None }) => false,
            // The job's token is dead, so the job is.
            Err(failure) => failure.status() == Some(401),
        };
        if canceled {
            cancel.cancel();
            return;
        }
    }
}

/// Reports the end: 12 tries; a refusal means that it is over already.
async fn finish(api: &Api, job: &str, ended: &Ended, failed_chunks: usize) {
    let path = format!("jobs/{job}/finish");
    let mut body = json!({ "exit_status": ended.exit_status.to_string() });
    if let Some(signal) = ended.signal {
        body["signal"] = json!(signal);
    }
    if let Some(reason) = ended.reason {
        body["signal_reason"] = json!(reason);
    }
    body["finished_at"] = json!(wall_time());
    body["chunks_failed_count"] = json!(failed_chunks);
    let wait = |attempt: u32| Duration::from_secs(2).mul_f64(1.55_f64.powi(attempt.min(12) as i32 - 1));
    let send = async || api.send(Send::json(Method::PUT, &path, &body)).await.map(drop);
    if let Err(failure) = repeat("finish", 12, wait, Failure::is_retryable, send).await {
        say(&format!("finish failed: {}", chain(&failure)));
    }
}
