//! The beginning and the end of an agent's life: register, connect, heartbeats, disconnect.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    api::{Api, Failure, Send, repeat},
    chain,
    cli::StartOptions,
    say,
    stop::{Level, Stop},
    wall_time,
};

/// What the service says about a registered agent.
#[derive(Debug, Deserialize)]
pub struct Registered {
    pub access_token: String,
    pub endpoint: Option<String>,
    pub ping_interval: u64,
    pub job_status_interval: u64,
    pub heartbeat_interval: u64,
}

/// Registers: 30 tries 10 s apart where the service is down, one where it refuses.
pub async fn register(api: &Api, options: &StartOptions) -> Result<Registered, Failure> {
    let body = request(options);
    let send = || api.send(Send::json(Method::POST, "register", &body));
    let wait = |_| Duration::from_secs(10);
    repeat("register", 30, wait, Failure::is_retryable, async || {
        send().await?.json()
    })
    .await
}

fn request(options: &StartOptions) -> Value {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = options
        .name
        .replace("%hostname", hostname.trim())
        .replace("%spawn", "1");
    let mut tags: Vec<&str> = options
        .tags
        .iter()
        .map(|tag| tag.trim())
        .filter(|tag| !tag.is_empty())
        .collect();
    let queue = options.queue.as_ref().map(|queue| format!("queue={queue}"));
    tags.extend(queue.as_deref());
    let mut body = json!({
        "name": name,
        "hostname": hostname.trim(),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "script_eval_enabled": true,
        "ignore_in_dispatches": true,
        "version": concat!("gust-agent-standin ", env!("CARGO_PKG_VERSION")),
        "build": "x",
        "meta_data": tags,
        "pid": std::process::id(),
        "features": ["acquire-job"],
    });
    if let Some(priority) = &options.priority {
        body["priority"] = json!(priority);
    }
    body
}

/// Connects: 10 tries 5 s apart, whatever the failure.
pub async fn connect(session: &Api) -> Result<(), Failure> {
    let send = || session.send(Send::bare(Method::POST, "connect"));
    repeat(
        "connect",
        10,
        |_| Duration::from_secs(5),
        |_| true,
        async || send().await.map(drop),
    )
    .await
}

/// Heartbeats for good. One that the service refuses, or answers with something that is not JSON, stops
/// the agent at once; after that there are no more.
pub async fn heartbeats(session: &Api, every: Duration, stop: &Stop) {
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let send = async || {
            let body = json!({ "sent_at": wall_time() });
            session
                .send(Send::json(Method::POST, "heartbeat", &body))
                .await?
                .json::<Value>()
        };
        match repeat(
            "heartbeat",
            10,
            |_| Duration::from_secs(5),
            Failure::is_retryable,
            send,
        )
        .await
        {
            Ok(_) => {}
            Err(failure) if failure.is_retryable() => say(&format!("heartbeat failed: {}", chain(&failure))),
            Err(failure) => {
                say(&format!("heartbeat refused, stopping: {}", chain(&failure)));
                stop.raise(Level::Now);
                return std::future::pending().await;
            }
        }
    }
}

/// Disconnects: 4 tries a second apart; a failure changes nothing.
pub async fn disconnect(session: &Api) {
    let send = || session.send(Send::bare(Method::POST, "disconnect"));
    let wait = |_| Duration::from_secs(1);
    if let Err(failure) = repeat("disconnect", 4, wait, |_| true, async || send().await.map(drop)).await {
        say(&format!("disconnect failed: {}", chain(&failure)));
    }
}
