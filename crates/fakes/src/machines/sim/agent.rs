//! What `buildkite-agent start --acquire-job` says to Buildkite, without running anything.
//!
//! The calls, their order, their retries and exit codes are those that were measured of agent 3.136, as the guest
//! starts it: poll-only, and off a second after the job at the latest.

use std::time::Duration;

use gust_proto::machine::Assignment;
use rand::Rng;
use rand::rngs::SmallRng;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::script::Script;
use super::tools::Tools;
use crate::standin::api::{Api, Failure, Reply, Send as Exchange};
use crate::standin::job::Acquired;
use crate::standin::log::gzip;
use crate::standin::register::Registered;
use crate::standin::{chain, wall_time};

/// From the agent's start to its first call, and from the job's start to its command.
const START: (f64, f64) = (0.05, 0.09);
const COMMAND: (f64, f64) = (0.028, 0.057);
/// From a cancel to the end of the command.
const CANCEL: Duration = Duration::from_millis(20);
/// Longest wait for the ping after the job (`--disconnect-after-uptime 1`).
const LAST_PING: f64 = 1.0;

/// Exit codes of the agent.
const OK: i32 = 0;
const FAILED: i32 = 1;
const STOPPED_EARLY: i32 = 2;
const REJECTED: i32 = 27;

/// One agent for one job.
pub(super) struct Agent<'a> {
    pub tools: &'a Tools,
    pub name: &'a str,
    pub assignment: &'a Assignment,
    /// SIGQUIT to the agent.
    pub stop: CancellationToken,
}

/// How the job ended, as the agent reports it.
struct Ended {
    exit_status: i32,
    reason: Option<&'static str>,
}

impl Ended {
    fn stopped(reason: &'static str) -> Self {
        Self {
            exit_status: -1,
            reason: Some(reason),
        }
    }
}

impl Agent<'_> {
    /// Lives, and gives the exit code.
    pub async fn run(&self, rng: &mut SmallRng) -> i32 {
        let begin = async {
            sleep(between(START, rng)).await;
            self.register().await
        };
        let registered = tokio::select! {
            biased;
            () = self.stop.cancelled() => return STOPPED_EARLY,
            registered = begin => registered,
        };
        let (api, registered) = match registered {
            Ok(both) => both,
            Err(failure) => {
                debug!(agent = self.name, error = chain(&failure), "not registered");
                return FAILED;
            }
        };
        let session = api
            .with_token(&registered.access_token)
            .moved(registered.endpoint.as_deref());
        let session = Session {
            tools: self.tools,
            api: session,
        };
        let wait = |_| Duration::from_secs(5);
        let connect = || session.call(Exchange::bare(Method::POST, "connect"));
        if repeat(10, wait, |_| true, connect).await.is_err() {
            return FAILED;
        }
        let beat = Duration::from_secs(registered.heartbeat_interval.max(1));
        tokio::select! {
            biased;
            code = self.work(&session, &registered, rng) => code,
            () = session.heartbeats(beat) => OK,
        }
    }

    async fn register(&self) -> Result<(Api, Registered), Failure> {
        let Assignment {
            agent_endpoint,
            token,
            tags,
            ..
        } = self.assignment;
        let api = Api::over(self.tools.http.clone(), agent_endpoint, token.reveal());
        let body = json!({
            "name": self.name,
            "hostname": self.name,
            "os": "linux",
            "arch": "amd64",
            "script_eval_enabled": true,
            "ignore_in_dispatches": true,
            "version": concat!("gust-sim-agent ", env!("CARGO_PKG_VERSION")),
            "build": "x",
            "meta_data": tags,
            "pid": 1,
            "features": ["acquire-job"],
        });
        let entry = Session {
            tools: self.tools,
            api,
        };
        let wait = |_| Duration::from_secs(10);
        let send = || entry.call(Exchange::json(Method::POST, "register", &body));
        let reply = repeat(30, wait, Failure::is_retryable, send).await?;
        let registered = reply.json()?;
        Ok((entry.api, registered))
    }

    async fn work(&self, session: &Session<'_>, registered: &Registered, rng: &mut SmallRng) -> i32 {
        let acquired = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            acquired = self.acquire(session, rng) => Some(acquired),
        };
        let code = match acquired {
            Some(Ok(Some(acquired))) => {
                self.job(session, acquired, registered.job_status_interval, rng)
                    .await;
                OK
            }
            Some(Err(())) => REJECTED,
            Some(Ok(None)) | None => OK,
        };
        if code == OK && !self.stop.is_cancelled() {
            let most = LAST_PING.min(registered.ping_interval as f64);
            sleep(Duration::from_secs_f64(rng.random_range(0.0..=most))).await;
            // What it says matters no more.
            let _ = session.call(Exchange::bare(Method::GET, "ping")).await;
        }
        let wait = |_| Duration::from_secs(1);
        let goodbye = || session.call(Exchange::bare(Method::POST, "disconnect"));
        let _ = repeat(4, wait, |_| true, goodbye).await;
        code
    }

    /// The job; nothing if the agent gives up, an error if it is not to be had.
    async fn acquire(&self, session: &Session<'_>, rng: &mut SmallRng) -> Result<Option<Acquired>, ()> {
        let path = format!("jobs/{}/acquire", self.assignment.job.id);
        for attempt in 0..7_u32 {
            let sequence = attempt.to_string();
            let headers = [
                ("x-buildkite-lock-acquire-job", "1"),
                ("x-buildkite-backoff-sequence", sequence.as_str()),
            ];
            let send = Exchange {
                headers: &headers,
                ..Exchange::bare(Method::PUT, &path)
            };
            let reply = session.call(send).await.and_then(|reply| reply.json());
            let failure = match reply {
                Ok(acquired) => return Ok(Some(acquired)),
                Err(failure) => failure,
            };
            match failure.status() {
                Some(422) => return Err(()),
                Some(423) | Some(200..300) => {}
                _ if !failure.is_retryable() => return Ok(None),
                _ => {}
            }
            let own = f64::from(1 << attempt) + rng.random_range(-1.0..5.0);
            let own = Duration::from_secs_f64(own.max(0.0));
            sleep(failure.retry_after().unwrap_or(own)).await;
        }
        Ok(None)
    }

    /// From `start` to `finish`.
    async fn job(&self, session: &Session<'_>, acquired: Acquired, status_s: u64, rng: &mut SmallRng) {
        let token = acquired.token.as_deref().filter(|token| !token.is_empty());
        let job = Session {
            tools: self.tools,
            api: session
                .api
                .with_token(token.unwrap_or_else(|| session.api.token())),
        };
        let path = |call: &str| format!("jobs/{}/{call}", acquired.id);
        let start = path("start");
        let wait = |attempt: u32| Duration::from_secs(1 << (attempt - 1).min(6));
        let send = || {
            let body = json!({ "started_at": wall_time() });
            job.call(Exchange::json(Method::PUT, &start, &body))
        };
        if repeat(7, wait, Failure::is_retryable, send).await.is_err() {
            return;
        }
        let script = Script::of(&acquired.env.unwrap_or_default());
        let until = Instant::now() + between(COMMAND, rng) + script.length;
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => Ended::stopped("agent_stop"),
            () = sleep_until(until) => Ended { exit_status: script.exit_status, reason: None },
            () = canceled(&job, &acquired.id, status_s, rng) => {
                sleep(CANCEL).await;
                Ended::stopped("cancel")
            }
        };
        let failed = self.log(&job, &acquired.id, &ended).await;
        let mut body = json!({ "exit_status": ended.exit_status.to_string() });
        if let Some(reason) = ended.reason {
            body["signal"] = json!("SIGTERM");
            body["signal_reason"] = json!(reason);
        }
        body["finished_at"] = json!(wall_time());
        body["chunks_failed_count"] = json!(failed);
        let finish = path("finish");
        let send = || job.call(Exchange::json(Method::PUT, &finish, &body));
        // A refusal means that it is over already.
        let _ = repeat(12, slowly, Failure::is_retryable, send).await;
    }

    /// A log of one line; returns the chunks that were given up.
    async fn log(&self, job: &Session<'_>, id: &str, ended: &Ended) -> u32 {
        let line = format!("simulated on {}: exit status {}\n", self.name, ended.exit_status);
        let path = format!("jobs/{id}/chunks?sequence=1&offset=0&size={}", line.len());
        let body = gzip(line.as_bytes());
        let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
        let again = |failure: &Failure| failure.status().is_none_or(|status| status >= 500);
        let send = || {
            job.call(Exchange {
                method: Method::POST,
                path: &path,
                headers: &headers,
                body: body.clone(),
            })
        };
        u32::from(repeat(12, slowly, again, send).await.is_err())
    }
}

/// Asks for the job's state until it is to end. Other states and other failures change nothing.
async fn canceled(job: &Session<'_>, id: &str, interval_s: u64, rng: &mut SmallRng) {
    #[derive(Deserialize)]
    struct State {
        state: Option<String>,
    }
    let path = format!("jobs/{id}");
    loop {
        let part = rng.random_range(0.2..1.2);
        sleep(Duration::from_secs(interval_s.max(1)).mul_f64(part)).await;
        let reply = job.call(Exchange::bare(Method::GET, &path)).await;
        let over = match reply.and_then(|reply| reply.json::<State>()) {
            Ok(State { state }) => matches!(
                state.as_deref(),
                Some("canceling" | "canceled" | "timing_out" | "timed_out")
            ),
            // The job's token is dead, so the job is.
            Err(failure) => failure.status() == Some(401),
        };
        if over {
            return;
        }
    }
}

/// Calls with one token, of which only so many are under way at a time over all machines.
struct Session<'a> {
    tools: &'a Tools,
    api: Api,
}

impl Session<'_> {
    async fn call(&self, exchange: Exchange<'_>) -> Result<Reply, Failure> {
        // It is never closed.
        let _call = self.tools.calls.acquire().await;
        self.api.send(exchange).await
    }

    /// Heartbeats until one is refused, which is the agent's end.
    async fn heartbeats(&self, every: Duration) {
        loop {
            sleep(every).await;
            let body = json!({ "sent_at": wall_time() });
            let wait = |_| Duration::from_secs(5);
            let send = || self.call(Exchange::json(Method::POST, "heartbeat", &body));
            let beat = repeat(10, wait, Failure::is_retryable, send).await;
            let beat = beat.and_then(|reply| reply.json::<Value>());
            if beat.is_err_and(|failure| !failure.is_retryable()) {
                return;
            }
        }
    }
}

/// Waits of log chunks and of finish.
fn slowly(attempt: u32) -> Duration {
    Duration::from_secs(2).mul_f64(1.55_f64.powi(attempt.min(12) as i32 - 1))
}

fn between((from, to): (f64, f64), rng: &mut SmallRng) -> Duration {
    Duration::from_secs_f64(rng.random_range(from..=to))
}

/// Calls until it works, `tries` times at most, as long as the failure is worth another try. Says nothing: thousands
/// would.
async fn repeat<F: Future<Output = Result<Reply, Failure>>>(
    tries: u32,
    wait: impl Fn(u32) -> Duration,
    again: impl Fn(&Failure) -> bool,
    call: impl Fn() -> F,
) -> Result<Reply, Failure> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(failure) if attempt < tries && again(&failure) => {
                sleep(wait(attempt)).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}
