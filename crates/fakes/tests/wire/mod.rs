//! A plain client for tests over the wire: no type of the product's clients.

#![allow(clippy::unwrap_used, reason = "these are tests")]
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod gce;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use gust_fakes::config::Settings;
use gust_fakes::http::{Handle, serve};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// The cluster token out of the box.
pub const TOKEN: &str = "bkct_fake";

/// Fakes of one test.
pub struct Fakes {
    /// The running fakes.
    pub handle: Handle,
    client: Client,
}

/// A reply, read.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null if it is none.
    pub body: Value,
}

impl Reply {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Status and body on one line.
    pub fn told(&self) -> String {
        format!("{} {}", self.status, self.text)
    }
}

impl Fakes {
    /// Fakes as they are out of the box.
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// Fakes with other settings.
    pub async fn with(settings: Settings) -> Self {
        let handle = serve(settings).await.unwrap();
        let client = Client::builder()
            .user_agent("gust-test")
            .no_proxy()
            .build()
            .unwrap();
        Self { handle, client }
    }

    /// One request to any address.
    pub async fn raw(&self, method: &str, url: &str, content_type: &str, body: Vec<u8>) -> Reply {
        self.try_raw(method, url, content_type, body).await.unwrap()
    }

    /// One request to any address that may be left without a reply.
    pub async fn try_raw(
        &self,
        method: &str,
        url: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Reply, reqwest::Error> {
        let request = self.client.request(method.parse::<Method>().unwrap(), url);
        Self::read(request.header("content-type", content_type).body(body)).await
    }

    async fn read(request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Reply {
            status,
            headers,
            text,
            body,
        })
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Reply {
        let url = format!("{}{path}", self.handle.addresses.buildkite);
        let mut request = self
            .client
            .request(method, url)
            .header("authorization", format!("Token {token}"));
        if let Some(body) = body.filter(|body| !body.is_null()) {
            request = request.json(body);
        }
        Self::read(request).await.unwrap()
    }

    /// One request on Buildkite with an API token and more headers.
    pub async fn api(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let url = format!("{}{path}", self.handle.addresses.buildkite);
        let mut request = self.client.request(method.parse::<Method>().unwrap(), url);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", "Bearer bkua_fake");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        Self::read(request).await.unwrap()
    }

    /// A GraphQL query with variables.
    pub async fn graphql(&self, query: &str, variables: Value) -> Reply {
        let body = json!({"query": query, "variables": variables});
        self.api("POST", "/v1", &[], &body).await
    }

    /// `GET` on Buildkite.
    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.call(Method::GET, path, token, None).await
    }

    /// `POST` on Buildkite; null is an empty body.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, token, Some(body)).await
    }

    /// `PUT` on Buildkite; null is an empty body.
    pub async fn put(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.call(Method::PUT, path, token, Some(body)).await
    }

    /// A gzip log chunk; the status.
    pub async fn chunk(&self, path: &str, token: &str, bytes: &[u8]) -> u16 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        let request = self
            .client
            .post(format!("{}{path}", self.handle.addresses.buildkite))
            .header("authorization", format!("Token {token}"))
            .header("content-type", "text/plain")
            .header("content-encoding", "gzip")
            .body(encoder.finish().unwrap());
        Self::read(request).await.unwrap().status
    }

    /// A call of the control surface.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> Reply {
        let url = format!("{}{path}", self.handle.addresses.control);
        self.raw(method, &url, "application/json", body.as_bytes().to_vec())
            .await
    }

    /// A new build; the reply's body.
    pub async fn build(&self, yaml: &str) -> Value {
        let reply = self.control("POST", "/builds?pipeline=p&branch=main", yaml).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body
    }

    /// Registers a stack.
    pub async fn register(&self, key: &str) {
        let body = json!({"key": key, "type": "custom", "queue_key": "gust", "metadata": {}});
        assert_eq!(self.post("/v3/stacks/register", TOKEN, &body).await.status, 201);
    }

    /// An agent with a cluster token runs the job; the job token.
    pub async fn run(&self, job: &str) -> String {
        let agent = self.post("/v3/register", TOKEN, &json!({"name": "vm"})).await;
        let session = agent.body["access_token"].as_str().unwrap().to_owned();
        assert_eq!(self.post("/v3/connect", &session, &Value::Null).await.status, 200);
        let acquired = self
            .put(&format!("/v3/jobs/{job}/acquire"), &session, &Value::Null)
            .await;
        let token = acquired.body["token"].as_str().unwrap().to_owned();
        assert_eq!(
            self.put(&format!("/v3/jobs/{job}/start"), &token, &json!({}))
                .await
                .status,
            200
        );
        token
    }

    /// All events of a kind.
    pub async fn events(&self, kind: &str) -> Vec<Value> {
        let text = self.control("GET", "/events?after=0", "").await.text;
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["kind"] == kind).collect()
    }

    /// Waits for a condition, at most 20 seconds.
    pub async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            let mut grown = self.handle.shared.grown();
            while !condition().await {
                // The condition looks again whenever something happened, and now and then.
                let _ = tokio::time::timeout(Duration::from_millis(20), grown.changed()).await;
            }
        });
        assert!(waited.await.is_ok(), "in vain: {what}");
    }
}
