//! The ping after the job, which only asks whether the agent is paused.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    api::{Api, Failure, Send},
    chain, say,
    stop::{Level, Stop},
};

#[derive(Deserialize)]
struct Pong {
    #[serde(default)]
    action: Option<String>,
}

/// How the stage ended.
#[derive(Debug, PartialEq, Eq)]
pub enum PingEnd {
    /// The agent may go.
    Idle,
    /// The service refused the ping: fatal for the exit code of a job that passed.
    Fatal,
}

/// Pings after `first` and then every `interval` while the service says `pause`. Without a pause it lasts
/// no longer than `cap`.
pub async fn stage(
    session: &Api,
    first: Duration,
    interval: Duration,
    cap: Option<Duration>,
    stop: &Stop,
) -> PingEnd {
    let cap = cap.map(|cap| Instant::now() + cap);
    let mut wait = first;
    let mut paused = false;
    loop {
        let ping = async {
            sleep(wait).await;
            session
                .send(Send::bare(Method::GET, "ping"))
                .await?
                .json::<Pong>()
        };
        let pong = tokio::select! {
            biased;
            () = stop.reached(Level::AfterJob) => return PingEnd::Idle,
            pong = capped(cap.filter(|_| !paused), ping) => match pong {
                Some(pong) => pong,
                None => return PingEnd::Idle,
            },
        };
        match pong {
            Ok(pong) if pong.action.as_deref() == Some("pause") => {
                paused = true;
                wait = interval;
            }
            Ok(_) => return PingEnd::Idle,
            Err(failure) => return on_failure(&failure),
        }
    }
}

async fn capped<T>(cap: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match cap {
        Some(at) => timeout_at(at, future).await.ok(),
        None => Some(future.await),
    }
}

/// A service that is down just ends the stage in acquire mode; a refusal is an error.
fn on_failure(failure: &Failure) -> PingEnd {
    say(&format!("ping failed: {}", chain(failure)));
    if failure.is_retryable() {
        PingEnd::Idle
    } else {
        PingEnd::Fatal
    }
}
