//! How fast the fakes themselves are on this machine: an instrument should know what it cannot measure.
//!
//! Measured in one process, so client and server share its cores; the true ceiling is somewhat higher.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use crate::buildkite::{JobEnd, Model, NewBuild, Registration, StackRegistration};
use crate::config::Settings;
use crate::event::{Effects, EventLog};
use crate::http::{Clock, ServeError, serve, spawn};
use crate::now::Now;

const CONNECTIONS: usize = 16;
const LENGTH: Duration = Duration::from_secs(2);
const JOBS_A_BUILD: usize = 1000;

/// Why nothing could be measured.
#[derive(Debug, Error)]
pub enum Error {
    /// The fakes do not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A request failed.
    #[error("a request to the fakes failed")]
    Request(#[from] reqwest::Error),
    /// The model refused a job's life.
    #[error("the model refused its own kind of job")]
    Model(#[from] crate::buildkite::Refusal),
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// Requests per second over loopback, each with its entry in the log.
    pub requests_per_s: f64,
    /// Jobs per second through the pure Buildkite model: listed, reserved, token, registered, acquired, started,
    /// finished; with the log.
    pub job_lives_per_s: f64,
    /// Entries the log got for each of these jobs.
    pub entries_per_job: f64,
}

/// Measures for some seconds.
pub async fn measure(settings: Settings) -> Result<Ceiling, Error> {
    let (job_lives_per_s, entries_per_job) = lives(&settings)?;
    Ok(Ceiling {
        requests_per_s: requests(settings).await?.round(),
        job_lives_per_s,
        entries_per_job,
    })
}

async fn requests(settings: Settings) -> Result<f64, Error> {
    let token = settings
        .buildkite
        .clusters
        .iter()
        .flat_map(|cluster| &cluster.tokens)
        .next();
    let authorization = format!("Token {}", token.map_or("none", String::as_str));
    let handle = serve(settings).await?;
    let url = format!("{}/v3/token", handle.addresses.buildkite);
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    let clock = Clock::start();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, url, authorization) = (client.clone(), url.clone(), authorization.clone());
            spawn("ceiling", async move {
                let mut count = 0_u64;
                while clock.now().since_start < LENGTH {
                    client
                        .get(&url)
                        .header("authorization", &authorization)
                        .send()
                        .await?
                        .bytes()
                        .await?;
                    count += 1;
                }
                Ok::<u64, reqwest::Error>(count)
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        // A worker that panicked counted nothing.
        total += worker.await.unwrap_or(Ok(0))?;
    }
    let took = clock.now().since_start.as_secs_f64();
    handle.shutdown().await;
    Ok(total as f64 / took)
}

fn lives(settings: &Settings) -> Result<(f64, f64), Error> {
    let mut model = Model::new(
        settings.seed,
        settings.limits.buildkite.clone(),
        settings.buildkite.clone(),
    );
    let mut log = EventLog::default();
    let stack = StackRegistration {
        key: "ceiling".into(),
        kind: "custom".into(),
        queue_key: "__default__".into(),
        ..StackRegistration::default()
    };
    model.register_stack(0, stack)?;
    let clock = Clock::start();
    let mut jobs = 0_usize;
    while clock.now().since_start < LENGTH {
        jobs += one_build(&mut model, &mut log, clock.now())?;
    }
    let rate = jobs as f64 / clock.now().since_start.as_secs_f64();
    Ok((rate.round(), (log.len() as f64 / jobs.max(1) as f64).round()))
}

/// A build of many jobs, each through its whole life.
fn one_build(model: &mut Model, log: &mut EventLog, now: Now) -> Result<usize, Error> {
    let mut out = Effects::default();
    let yaml = format!("steps:\n- {{command: 'true', parallelism: {JOBS_A_BUILD}}}");
    let build = model.create_build(
        now,
        &NewBuild {
            yaml,
            ..NewBuild::default()
        },
        &mut out,
    )?;
    let jobs: Vec<String> = build.jobs.iter().map(|job| job.uuid.to_string()).collect();
    model.reserve(now, 0, "ceiling", &jobs, None, &mut out)?;
    let tokens = model.issue_acquisition_tokens(now, 0, "ceiling", &jobs, None, &mut out)?;
    for token in &tokens.issued {
        let agent = model.register_agent(now, &token.token, Registration::default(), &mut out)?;
        model.connect(now, &agent.access_token, &mut out)?;
        let acquired = model.acquire(now, &agent.access_token, token.job, &mut out)?;
        model.start(now, &acquired.token, token.job, &mut out)?;
        let end = JobEnd {
            exit_status: "0".into(),
            ..JobEnd::default()
        };
        model.finish_job(now, &acquired.token, token.job, end, &mut out)?;
        model.disconnect(now, &agent.access_token, &mut out)?;
        log.append(now, &mut out);
    }
    Ok(jobs.len())
}
