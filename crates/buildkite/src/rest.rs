//! Buildkite's REST API, as far as gust runs jobs again: two calls (docs: `apis/rest_api/jobs`, November 2026).

use std::{fmt, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::JobId,
    ports::{Remedy, Retried, Retrier, SourceError},
};
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::{client::TokenOf, headers::RateHeaders};

/// Where Buildkite serves it.
pub const DEFAULT_REST_ENDPOINT: &str = "https://api.buildkite.com/v2";
/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(15);
/// A wait for a service that is down and said nothing.
const DOWN: Duration = Duration::from_secs(2);
/// Longest reply that is read, in bytes.
const MOST: usize = 1 << 20;

/// One organization's jobs.
pub struct RestRetrier {
    http: reqwest::Client,
    endpoint: Url,
    organization: String,
    token: TokenOf,
}

impl fmt::Debug for RestRetrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestRetrier")
            .field("endpoint", &self.endpoint.as_str())
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}

/// A job, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Job {
    id: Uuid,
    state: String,
    #[serde(default)]
    retried_in_job_id: Option<Uuid>,
}

const LOOK: &str = "get job";
const RETRY: &str = "retry job";

impl RestRetrier {
    /// A client for an organization's slug; nothing is sent yet. `token` is asked before each call, so that one that was
    /// replaced is used at once; `user_agent` names gust and the replica.
    ///
    /// # Errors
    /// No TLS, or no resolver.
    pub fn new(
        endpoint: Url,
        organization: impl Into<String>,
        token: TokenOf,
        user_agent: &str,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_secs(5))
            .timeout(LIMIT)
            .build()?;
        Ok(Self {
            http,
            endpoint,
            organization: organization.into(),
            token,
        })
    }

    async fn call(&self, call: &'static str, method: Method, job: JobId) -> Result<Job, SourceError> {
        let error = |remedy, message: String| SourceError {
            call,
            remedy,
            message,
            source: None,
        };
        let token = (self.token)().map_err(|cause| SourceError {
            source: Some(Box::new(cause)),
            ..error(
                Remedy::RetryLater(DOWN),
                "the API token cannot be read".to_owned(),
            )
        })?;
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let job = job.to_string();
            path.pop_if_empty()
                .extend(["organizations", &self.organization, "jobs", &job]);
            if call == RETRY {
                path.push("retry");
            }
        }
        // A change that was sent may have been made.
        let lost = match method == Method::GET {
            true => Remedy::RetryLater(DOWN),
            false => Remedy::Unclear,
        };
        let sent = self.http.request(method, url).bearer_auth(token.reveal());
        let reply = sent.header(header::ACCEPT, "application/json").send().await;
        let reply = reply.map_err(|cause| SourceError {
            source: Some(Box::new(cause.without_url())),
            ..error(lost, "no answer".to_owned())
        })?;
        let (status, rate) = (reply.status(), RateHeaders::read(reply.headers()));
        let body = read(reply).await.map_err(|cause| SourceError {
            source: Some(Box::new(cause.without_url())),
            ..error(lost, "the answer broke off".to_owned())
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|cause| SourceError {
                source: Some(Box::new(cause)),
                ..error(lost, format!("{status}, and the answer cannot be read"))
            });
        }
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Remedy::Unauthorized,
            StatusCode::NOT_FOUND => Remedy::Gone,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Remedy::RetryLater(rate.come_back().unwrap_or(DOWN))
            }
            status if status.is_server_error() => lost,
            _ => Remedy::Refused,
        };
        Err(error(remedy, format!("{}: {}", status.as_u16(), words(&body))))
    }
}

/// The beginning of a body, as far as it is read: whatever a proxy sends, no more than that is held.
async fn read(mut reply: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < MOST
        && let Some(chunk) = reply.chunk().await?
    {
        body.extend(chunk.iter().take(MOST - body.len()));
    }
    Ok(body)
}

/// The service's own words, short.
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let told = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.message);
    let told = told.unwrap_or_else(|_| "no reason in words".to_owned());
    told.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[async_trait]
impl Retrier for RestRetrier {
    async fn retry(&self, job: JobId) -> Result<Retried, SourceError> {
        let seen = self.call(LOOK, Method::GET, job).await?;
        if let Some(new) = seen.retried_in_job_id {
            return Ok(Retried::In(JobId(new)));
        }
        // A job whose machine is taken back may still come to its end in good time. Whoever cancels it wants no other.
        if !matches!(seen.state.as_str(), "failed" | "timed_out" | "finished") {
            return match seen.state.as_str() {
                "passed" | "canceled" | "canceling" | "skipped" | "broken" | "expired" => {
                    Ok(Retried::Needless)
                }
                state => Err(SourceError {
                    call: RETRY,
                    remedy: Remedy::RetryLater(DOWN),
                    message: format!("the job is {state} there"),
                    source: None,
                }),
            };
        }
        let refused = match self.call(RETRY, Method::PUT, job).await {
            Ok(new) => return Ok(Retried::In(JobId(new.id))),
            Err(error) => error,
        };
        // The step's own rules may have been quicker than we: each job is retried once.
        if refused.remedy == Remedy::Refused
            && let Ok(seen) = self.call(LOOK, Method::GET, job).await
            && let Some(new) = seen.retried_in_job_id
        {
            return Ok(Retried::In(JobId(new)));
        }
        Err(refused)
    }
}
