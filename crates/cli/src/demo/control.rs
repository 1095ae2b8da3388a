//! Speaks to the stand-ins: submits builds and follows the event log.

use anyhow::{Context as _, anyhow};
use reqwest::{Client, Response, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::Value;

use crate::{exit_codes, failure::Failure};

/// Where the stand-ins listen: the line they print once they are ready.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    /// Builds, faults, events.
    pub(crate) control: String,
    /// Buildkite.
    pub(crate) buildkite: String,
    /// Google Compute Engine.
    pub(crate) gce: String,
    /// Keys of identity tokens.
    pub(crate) metadata: String,
}

/// The control listener.
pub(crate) struct Control {
    base: String,
    client: Client,
}

/// A build that was taken.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    /// The build.
    pub(crate) build: Build,
    /// Its jobs, in the order of the steps.
    pub(crate) jobs: Vec<Value>,
}

/// A build.
#[derive(Debug, Deserialize)]
pub(crate) struct Build {
    /// Its number.
    pub(crate) number: u64,
}

impl Control {
    /// A client of the control listener at `base`.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub(crate) fn new(base: &str) -> Result<Self, Failure> {
        let client = Client::builder()
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            client,
        })
    }

    /// Its base URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Submits a build of a pipeline (YAML).
    ///
    /// # Errors
    /// The pipeline was refused, or there was no answer.
    pub(crate) async fn submit(&self, yaml: String) -> Result<Taken, Failure> {
        let reply = self
            .client
            .post(format!("{}/builds?pipeline=demo&branch=main", self.base))
            .header(CONTENT_TYPE, "text/yaml")
            .body(yaml)
            .send()
            .await
            .context("cannot submit the build")?;
        let status = reply.status();
        let body: Value = reply
            .json()
            .await
            .context("cannot read the answer to the build")?;
        if !status.is_success() {
            let why = body["message"].as_str().unwrap_or("no reason given");
            let error = anyhow!("the pipeline was refused ({status}): {why}");
            return Err(Failure::new(exit_codes::CONFIG, error));
        }
        let taken = serde_json::from_value(body).context("cannot understand the answer to the build")?;
        Ok(taken)
    }

    /// The event log from its first line on, as it grows.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) async fn follow(&self) -> Result<Events, Failure> {
        self.events("after=0&follow=true").await
    }

    /// What the event log holds after line `seq`.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) async fn after(&self, seq: u64) -> Result<Events, Failure> {
        self.events(&format!("after={seq}")).await
    }

    async fn events(&self, query: &str) -> Result<Events, Failure> {
        let reply = self
            .client
            .get(format!("{}/events?{query}", self.base))
            .send()
            .await
            .and_then(Response::error_for_status)
            .context("cannot read the event log")?;
        Ok(Events {
            reply,
            buffer: Vec::new(),
            start: 0,
        })
    }
}

/// An event log that is being read.
pub(crate) struct Events {
    reply: Response,
    buffer: Vec<u8>,
    start: usize,
}

impl Events {
    /// The next line, without its end; `None` where the log ends. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                self.start += length + 1;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            match self.reply.chunk().await.context("the event log broke off")? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
