//! One exchange with Buildkite: rate gate, time limit, reading, and bounded repeats.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use gust_core::secret::Secret;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::{Method, header};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use crate::{
    error::{Error, Remedy},
    gate::RateGate,
    headers::RateHeaders,
    reply::{self, Reply},
    scope::Scope,
    token::Credentials,
};

pub use crate::token::{Scheme, TokenOf};

/// Where Buildkite serves the Stacks API.
pub const DEFAULT_ENDPOINT: &str = "https://agent.buildkite.com/v3";
/// Exchanges for one call at most, the first included.
const ATTEMPTS: u32 = 5;
/// First wait between two exchanges of one call; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait that nobody asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How a client reaches Buildkite.
#[derive(Clone)]
pub struct Config {
    /// Base of all paths, `/v3` included. Plain `http` is taken for loopback only.
    pub endpoint: Url,
    /// The cluster's agent token (`bkct_…`).
    pub token: Secret,
    /// Asked for another token when Buildkite does not accept this one any more; it blocks for no longer than a small file is read.
    pub renew: Option<TokenOf>,
    /// How it is shown.
    pub scheme: Scheme,
    /// The stack key that all calls go out under: 1–80 characters of `[A-Za-z0-9_-]`.
    pub stack_key: String,
    /// Names the replica in the User-Agent.
    pub replica: String,
    /// Seed of the jitter between repeats.
    pub seed: u64,
    /// Largest reply read, in bytes. A full page of a thousand jobs has some 0.5 MiB.
    pub max_body: usize,
}

impl Config {
    /// The usual settings for an endpoint, a token and a stack key.
    pub fn new(endpoint: Url, token: Secret, stack_key: impl Into<String>) -> Self {
        Self {
            endpoint,
            token,
            renew: None,
            scheme: Scheme::Token,
            stack_key: stack_key.into(),
            replica: "-".into(),
            seed: 0,
            max_body: 32 << 20,
        }
    }
}

/// Why a client cannot be made from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The token would go over the wire in the clear.
    #[error("the buildkite endpoint {0} must be https (http is for loopback only)")]
    Insecure(Url),
    /// Not a base of paths.
    #[error("the buildkite endpoint {0} must be an http(s) URL without query, such as {DEFAULT_ENDPOINT}")]
    Endpoint(Url),
    /// Buildkite would refuse it.
    #[error("the stack key `{0}` must be 1 to 80 characters of A-Z, a-z, 0-9, `_` and `-`")]
    StackKey(String),
    /// The token cannot stand in a header. It is not shown.
    #[error("the buildkite agent token is empty or has characters that no token has")]
    Token,
    /// No TLS, or no resolver.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// A client of one stack key. Share it: all of a stack's calls have one rate gate.
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    pub(crate) stack_key: String,
    credentials: Credentials,
    gate: Mutex<RateGate>,
    jitter: Mutex<SmallRng>,
    max_body: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint.as_str())
            .field("stack_key", &self.stack_key)
            .finish_non_exhaustive()
    }
}

/// One call, ready to be sent as often as it may be.
pub(crate) struct Call<'a> {
    pub scope: Scope,
    pub method: Method,
    /// Path below the endpoint, segments not yet escaped.
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<Vec<u8>>,
}

/// A reply, and whether an earlier exchange of the same call may have taken effect unseen.
pub(crate) struct Answer<T> {
    pub result: Result<T, Error>,
    pub earlier_unknown: bool,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`], each with what to change.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let Config {
            mut endpoint,
            token,
            renew,
            scheme,
            stack_key,
            replica,
            seed,
            max_body,
        } = config;
        if !matches!(endpoint.scheme(), "http" | "https")
            || endpoint.host().is_none()
            || endpoint.query().is_some()
        {
            return Err(ConfigError::Endpoint(endpoint));
        }
        if endpoint.scheme() == "http" && !is_loopback(&endpoint) {
            return Err(ConfigError::Insecure(endpoint));
        }
        let path = endpoint.path().trim_end_matches('/').to_owned();
        endpoint.set_path(&path);
        let key_ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=80).contains(&stack_key.len()) || !stack_key.bytes().all(key_ok) {
            return Err(ConfigError::StackKey(stack_key));
        }
        let credentials = Credentials::new(scheme, &token, renew)?;
        let http = reqwest::Client::builder()
            .user_agent(user_agent(&replica))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self {
            http,
            endpoint,
            stack_key,
            credentials,
            gate: Mutex::default(),
            jitter: Mutex::new(SmallRng::seed_from_u64(seed)),
            max_body,
        })
    }

    /// When the next call of `scope` may go out; `now` or later. For a poller that wants to sleep until then.
    pub fn earliest(&self, scope: Scope, now: Instant) -> Instant {
        self.gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .earliest(scope, now)
    }

    /// Sends a call and reads its reply, repeated as far as its kind, the budget and the deadline allow. A
    /// reply that cannot be read is as good as none, so it counts as a failure here.
    pub(crate) async fn send<T>(
        &self,
        call: Call<'_>,
        deadline: Instant,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Answer<T> {
        let mut earlier_unknown = false;
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            let shown = self.credentials.header();
            let error = match self
                .exchange(&call, &shown, deadline)
                .await
                .and_then(|reply| read(&reply))
            {
                Ok(reply) => {
                    return Answer {
                        result: Ok(reply),
                        earlier_unknown,
                    };
                }
                Err(error) => error,
            };
            // Whoever has no right is answered so at once: nothing was done.
            if error.remedy() == Remedy::Unauthorized && !renewed && self.credentials.renew(&shown) {
                renewed = true;
                continue;
            }
            let wait = error
                .repeat()
                .filter(|_| attempt < ATTEMPTS)
                .map(|told| self.wait(attempt, told));
            let now = Instant::now();
            let again = wait
                .map(|wait| self.earliest(call.scope, now).max(now + wait))
                .filter(|at| *at < deadline);
            let Some(at) = again else {
                return Answer {
                    result: Err(error),
                    earlier_unknown,
                };
            };
            tracing::debug!(call = call.scope.name(), attempt, error = %error, "repeating a buildkite call");
            earlier_unknown |= error.outcome_unknown();
            attempt += 1;
            sleep_until(at).await;
        }
    }

    /// What the service asked for, else exponential; always with jitter on top, so that many callers spread.
    fn wait(&self, attempt: u32, told: Option<Duration>) -> Duration {
        let spread = self
            .jitter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random_range(0.0..0.5_f64);
        let base = told.unwrap_or_else(|| (FIRST_WAIT * 2_u32.pow(attempt - 1)).min(LONGEST_WAIT));
        base + base.max(FIRST_WAIT).mul_f64(spread).min(LONGEST_WAIT)
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        authorization: &header::HeaderValue,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let scope = call.scope;
        self.pass_gate(scope, deadline).await?;
        let limit = scope
            .time_limit()
            .min(deadline.saturating_duration_since(Instant::now()));
        let exchange = async {
            let reply = self.request(call, authorization).send().await?;
            let rate = RateHeaders::read(reply.headers());
            let status = reply.status().as_u16();
            let now = Instant::now();
            self.gate
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .observe(scope, status, &rate, now);
            reply::read(scope, &rate, reply, self.max_body).await
        };
        match timeout(limit, exchange).await {
            Ok(Ok(read)) => read,
            // A connect that timed out is a connect error first: nothing was sent.
            Ok(Err(source)) if source.is_connect() => Err(Error::Connect {
                scope,
                source: source.without_url(),
            }),
            Ok(Err(source)) if source.is_timeout() => Err(Error::TimedOut { scope, limit }),
            Ok(Err(source)) => Err(Error::Broken {
                scope,
                source: source.without_url(),
            }),
            Err(_) => Err(Error::TimedOut { scope, limit }),
        }
    }

    async fn pass_gate(&self, scope: Scope, deadline: Instant) -> Result<(), Error> {
        let now = Instant::now();
        let at = {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            let at = gate.earliest(scope, now);
            if at >= deadline {
                return Err(Error::NoRoom {
                    scope,
                    after: at - now,
                });
            }
            gate.take(scope, now)
        };
        if at > now {
            sleep_until(at).await;
        }
        Ok(())
    }

    fn request(&self, call: &Call<'_>, authorization: &header::HeaderValue) -> reqwest::RequestBuilder {
        let mut url = self.endpoint.clone();
        // `Client::new` has refused endpoints that cannot be a base, so the segments are there.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let request = self
            .http
            .request(call.method.clone(), url)
            .header(header::AUTHORIZATION, authorization.clone())
            .header(header::ACCEPT, "application/json");
        match &call.body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => request,
        }
    }
}

/// `gust/<version> (<replica>)`; characters that a header cannot hold become `_`.
fn user_agent(replica: &str) -> String {
    let replica: String = replica
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '(' | ')') {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("gust/{} ({replica})", env!("CARGO_PKG_VERSION"))
}

fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
