//! `start --acquire-job`: the life of the agent from registration to its exit code.

use std::{fs, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::Method;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    api::{Api, Send},
    chain,
    cli::StartOptions,
    job::{self, Acquired, JobEnd},
    ping::{self, PingEnd},
    register::{self, Registered, connect, disconnect, heartbeats},
    say,
    stop::{Level, Stop, on_signals},
};

/// The job was not to be had: taken, canceled, or over.
const REJECTED: u8 = 27;
/// The real agent panics where the service names an interval of zero; Go's exit code for that.
const PANIC: u8 = 2;

/// Runs the agent and returns its exit code.
pub async fn start(options: StartOptions) -> u8 {
    let (job, token) = match checked(&options) {
        Ok(checked) => checked,
        Err(problem) => {
            say(&problem);
            return 1;
        }
    };
    let registered = match Api::new(&options.endpoint, &token) {
        Ok(api) => register::register(&api, &options)
            .await
            .map(|registered| (api, registered)),
        Err(failure) => Err(failure),
    };
    let (api, registered) = match registered {
        Ok(both) => both,
        Err(failure) => {
            say(&format!("cannot register: {}", chain(&failure)));
            return 1;
        }
    };
    let session = api
        .with_token(&registered.access_token)
        .moved(registered.endpoint.as_deref());
    let stop = Stop::default();
    let grace = Duration::from_secs(u64::try_from(options.cancel_grace_period).unwrap_or(0));
    let agent = Agent {
        options,
        job,
        session,
        registered,
        stop: stop.clone(),
    };
    tokio::select! {
        biased;
        ended = on_signals(&stop, grace) => ended.unwrap_or_else(|error| {
            say(&format!("cannot listen for signals: {error}"));
            1
        }),
        code = agent.live() => code,
    }
}

/// What must hold before anything is sent: the job's id and the token.
fn checked(options: &StartOptions) -> Result<(String, String), String> {
    let job = options.acquire_job.clone().filter(|job| !job.is_empty());
    let job = job.ok_or("--acquire-job is missing: the stand-in runs acquired jobs only")?;
    if options.build_path.is_none() {
        return Err("--build-path is missing".to_owned());
    }
    if options.queue.is_some() && options.tags.iter().any(|tag| tag.trim().starts_with("queue=")) {
        return Err("the queue is given twice: by --queue and in --tags".to_owned());
    }
    let grace = options.cancel_grace_period;
    if grace < 0 || options.signal_grace_period_seconds >= grace {
        return Err(format!(
            "the signal grace must be shorter than the cancel grace of {grace} s"
        ));
    }
    if let Some(hooks) = &options.hooks_path {
        let holds_hooks = fs::read_dir(hooks).is_ok_and(|mut entries| entries.next().is_some());
        if holds_hooks {
            return Err(format!(
                "{} holds hooks, and the stand-in runs none",
                hooks.display()
            ));
        }
    }
    let given = options
        .token
        .clone()
        .filter(|token| !token.is_empty())
        .ok_or("--token is missing")?;
    let token = match (given.strip_prefix("file://"), given.strip_prefix("fd://")) {
        (Some(path), _) => {
            fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?
        }
        (_, Some(fd)) => fs::read_to_string(format!("/proc/self/fd/{fd}"))
            .map_err(|error| format!("cannot read file descriptor {fd}: {error}"))?,
        _ => given,
    };
    Ok((job, token.trim().to_owned()))
}

/// Number of the last try to acquire, counted from 0.
const LAST: u32 = 6;

/// What came of trying to acquire.
enum Acquire {
    Got(Box<Acquired>),
    Rejected,
    GaveUp,
    Stopped,
}

struct Agent {
    options: StartOptions,
    job: String,
    session: Api,
    registered: Registered,
    stop: Stop,
}

impl Agent {
    async fn live(&self) -> u8 {
        if let Err(failure) = connect(&self.session).await {
            say(&format!("cannot connect: {}", chain(&failure)));
            return 1;
        }
        let Registered {
            heartbeat_interval,
            ping_interval,
            job_status_interval,
            ..
        } = self.registered;
        if heartbeat_interval == 0 || ping_interval == 0 || job_status_interval == 0 {
            say("the service named an interval of zero");
            return PANIC;
        }
        tokio::select! {
            biased;
            code = self.work() => code,
            () = heartbeats(&self.session, Duration::from_secs(heartbeat_interval), &self.stop) => 1,
        }
    }

    async fn work(&self) -> u8 {
        let mut rng = SmallRng::seed_from_u64(u64::from(std::process::id()));
        let end = match self.acquire(&mut rng).await {
            Acquire::Got(acquired) => {
                job::run(
                    &self.options,
                    &self.session,
                    *acquired,
                    self.registered.job_status_interval,
                    &self.stop,
                )
                .await
            }
            Acquire::GaveUp => JobEnd::NONE,
            Acquire::Rejected => {
                disconnect(&self.session).await;
                return REJECTED;
            }
            Acquire::Stopped => {
                disconnect(&self.session).await;
                return 0;
            }
        };
        let mut ping = PingEnd::Idle;
        if self.stop.level() == Level::No {
            let interval = Duration::from_secs(self.registered.ping_interval);
            let first = interval.mul_f64(rng.random_range(0.0..1.0));
            let cap = self.options.disconnect_after_uptime;
            let cap = (cap > 0).then(|| Duration::from_secs(cap));
            ping = ping::stage(&self.session, first, interval, cap, &self.stop).await;
        }
        disconnect(&self.session).await;
        match (ping, end.exit_status) {
            (_, Some(status)) if self.options.reflect_exit_status => {
                u8::try_from(status & 255).unwrap_or(255)
            }
            // After a job that failed the real agent does not mind.
            (PingEnd::Fatal, None | Some(0)) => 1,
            _ => 0,
        }
    }

    /// At most 7 tries in at most 330 s; `Retry-After` sets the wait, else it doubles from 1 s.
    async fn acquire(&self, rng: &mut SmallRng) -> Acquire {
        let until = Instant::now() + Duration::from_secs(330);
        let path = format!("jobs/{}/acquire", self.job);
        for attempt in 0..=LAST {
            let sequence = attempt.to_string();
            let headers = [
                ("x-buildkite-lock-acquire-job", "1"),
                ("x-buildkite-backoff-sequence", sequence.as_str()),
            ];
            let send = Send {
                headers: &headers,
                ..Send::bare(Method::PUT, &path)
            };
            let exchange = async { self.session.send(send).await?.json::<Acquired>() };
            let outcome = tokio::select! {
                biased;
                () = self.stop.reached(Level::AfterJob) => return Acquire::Stopped,
                outcome = timeout_at(until, exchange) => outcome,
            };
            let failure = match outcome {
                Ok(Ok(acquired)) => return Acquire::Got(Box::new(acquired)),
                Ok(Err(failure)) => failure,
                Err(_) => break,
            };
            say(&format!("acquire failed: {}", chain(&failure)));
            match failure.status() {
                Some(422) => return Acquire::Rejected,
                // Waits for a dependency; or the reply could not be read.
                Some(423) | Some(200..300) => {}
                _ if !failure.is_retryable() => return Acquire::GaveUp,
                _ => {}
            }
            if attempt == LAST {
                break;
            }
            let base = Duration::from_secs(1 << attempt);
            let own = (base + Duration::from_secs_f64(rng.random_range(0.0..6.0)))
                .saturating_sub(Duration::from_secs(1));
            let next = Instant::now() + failure.retry_after().unwrap_or(own);
            tokio::select! {
                biased;
                () = self.stop.reached(Level::AfterJob) => return Acquire::Stopped,
                () = sleep_until(next.min(until)) => {}
            }
            if next >= until {
                break;
            }
        }
        Acquire::GaveUp
    }
}
