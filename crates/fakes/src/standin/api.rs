//! Calls to the Agent API: one token, one base, JSON both ways, failures told apart as the agent does.

use std::time::Duration;

use reqwest::{Method, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{chain, say};

/// A client with the token of one phase: registration, session or job.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{status}: {message}")]
    Status {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("no reply")]
    Network(#[source] reqwest::Error),
    #[error("{status} with a body that cannot be read")]
    Decode {
        status: u16,
        #[source]
        source: serde_json::Error,
    },
}

impl Failure {
    /// 429, 5xx and no reply at all.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Network(_) => true,
            // A good status makes it final in most loops of the real agent.
            Self::Decode { .. } => false,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Decode { status, .. } => Some(*status),
            Self::Network(_) => None,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A good reply.
pub struct Reply {
    pub status: u16,
    pub headers: header::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|source| Failure::Decode {
            status: self.status,
            source,
        })
    }

    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }
}

/// What goes out.
pub struct Send<'a> {
    pub method: Method,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Vec<u8>,
}

impl<'a> Send<'a> {
    /// A call without body.
    pub fn bare(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: &[],
            body: Vec::new(),
        }
    }

    /// A call with a JSON body.
    pub fn json(method: Method, path: &'a str, body: &Value) -> Self {
        let body = format!("{body}\n").into_bytes();
        Self {
            method,
            path,
            headers: &[("content-type", "application/json")],
            body,
        }
    }
}

impl Api {
    /// # Errors
    /// Where the HTTP client cannot be set up.
    pub fn new(endpoint: &str, token: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("gust-agent-standin/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(Failure::Network)?;
        Ok(Self::over(http, endpoint, token))
    }

    /// The same over connections that others use as well.
    pub fn over(http: reqwest::Client, endpoint: &str, token: &str) -> Self {
        Self {
            http,
            base: endpoint.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// The same with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same at another base, where the service named one.
    pub fn moved(self, endpoint: Option<&str>) -> Self {
        match endpoint.filter(|endpoint| !endpoint.is_empty()) {
            Some(endpoint) => Self {
                base: endpoint.trim_end_matches('/').to_owned(),
                ..self
            },
            None => self,
        }
    }

    /// The token, for the job's environment.
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// One exchange below the base.
    pub async fn send(&self, send: Send<'_>) -> Result<Reply, Failure> {
        let url = format!("{}/{}", self.base, send.path);
        self.exchange(&url, send, Some(&self.token)).await
    }

    /// One exchange anywhere, without a token: artifact uploads.
    pub async fn send_away(&self, url: &str, send: Send<'_>) -> Result<Reply, Failure> {
        self.exchange(url, send, None).await
    }

    async fn exchange(&self, url: &str, send: Send<'_>, token: Option<&str>) -> Result<Reply, Failure> {
        let mut request = self.http.request(send.method.clone(), url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Token {token}"));
        }
        for (name, value) in send.headers {
            request = request.header(*name, *value);
        }
        if !send.body.is_empty() {
            request = request.body(send.body);
        } else if send.method != Method::GET {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        let reply = request.send().await.map_err(Failure::Network)?;
        let (status, headers) = (reply.status(), reply.headers().clone());
        let body = reply.bytes().await.map_err(Failure::Network)?.to_vec();
        if status.is_success() {
            return Ok(Reply {
                status: status.as_u16(),
                headers,
                body,
            });
        }
        let message = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or_default();
        Err(Failure::Status {
            status: status.as_u16(),
            message,
            retry_after: retry_after(&headers),
        })
    }
}

/// Plain seconds, fractions allowed; dates are ignored, as the real agent does.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Calls until it works, `tries` times at most, as long as the failure is worth another try.
pub async fn repeat<T>(
    what: &str,
    tries: u32,
    wait: impl Fn(u32) -> Duration,
    again: impl Fn(&Failure) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(failure) if attempt < tries && again(&failure) => {
                say(&format!(
                    "{what} failed, attempt {attempt} of {tries}: {}",
                    chain(&failure)
                ));
                tokio::time::sleep(wait(attempt)).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}
