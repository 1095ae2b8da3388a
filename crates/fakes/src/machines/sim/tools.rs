//! What all simulated machines share.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;

use super::ways::Ways;

/// Calls to Buildkite under way at a time: more would only be more sockets.
const CALLS: usize = 128;

/// No HTTP client can be made.
#[derive(Debug, Error)]
#[error("simulated machines have no HTTP client")]
pub struct ToolsError(#[source] reqwest::Error);

/// Connections, and the right to use them.
pub(super) struct Tools {
    /// To Buildkite.
    pub http: reqwest::Client,
    /// Taken for each call to Buildkite.
    pub calls: Semaphore,
    /// To gust.
    pub ways: Ways,
}

impl Tools {
    pub fn new() -> Result<Self, ToolsError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("gust-sim-agent/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(ToolsError)?;
        Ok(Self {
            http,
            calls: Semaphore::new(CALLS),
            ways: Ways::default(),
        })
    }
}
