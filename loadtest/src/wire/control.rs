//! The fakes' control surface, as a client.

use anyhow::{Context as _, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};

/// A client of the control surface.
pub struct Control {
    base: String,
    http: Client,
}

impl Control {
    /// A client of the control surface at `base`.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(base: &str) -> Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            base: base.to_owned(),
            http,
        })
    }

    /// Creates a build and returns its jobs' UUIDs.
    ///
    /// # Errors
    /// It is refused.
    pub async fn build(&self, yaml: &str) -> Result<Vec<String>> {
        let request = self
            .http
            .post(format!("{}/builds?pipeline=loadtest&branch=main", self.base));
        let answer = self
            .send(request.header("content-type", "text/yaml").body(yaml.to_owned()))
            .await?;
        let jobs = answer["jobs"].as_array().context("no jobs in the answer")?;
        Ok(jobs
            .iter()
            .filter_map(|job| job["uuid"].as_str().map(str::to_owned))
            .collect())
    }

    /// Cancels a job as a person would.
    ///
    /// # Errors
    /// It is refused: the job may be over.
    pub async fn cancel_job(&self, job: &str) -> Result<()> {
        let request = self.http.post(format!("{}/jobs/{job}/cancel", self.base));
        self.send(request).await.map(drop)
    }

    /// Cancels a build as a person would.
    ///
    /// # Errors
    /// It is refused: the build may be over.
    pub async fn cancel_build(&self, number: u64) -> Result<()> {
        let request = self.http.post(format!("{}/builds/{number}/cancel", self.base));
        self.send(request).await.map(drop)
    }

    /// Runs a job again as a person would.
    ///
    /// # Errors
    /// It is refused: the job is not over, or was run again already.
    pub async fn retry_job(&self, job: &str) -> Result<()> {
        let request = self.http.post(format!("{}/jobs/{job}/retry", self.base));
        self.send(request).await.map(drop)
    }

    /// Gives a job another priority as a person would.
    ///
    /// # Errors
    /// It is refused: the job may be over.
    pub async fn prioritize(&self, job: &str, priority: i64) -> Result<()> {
        let request = self.http.put(format!("{}/jobs/{job}/priority", self.base));
        self.send(request.json(&json!({ "priority": priority })))
            .await
            .map(drop)
    }

    /// Changes limits.
    ///
    /// # Errors
    /// They are refused.
    pub async fn limits(&self, change: &Value) -> Result<()> {
        let request = self.http.put(format!("{}/limits", self.base));
        self.send(request.json(change)).await.map(drop)
    }

    /// Google takes a Spot machine back.
    ///
    /// # Errors
    /// It is refused: there is no such machine, or it is none that can be taken back.
    pub async fn preempt(&self, machine: &str) -> Result<()> {
        let request = self
            .http
            .post(format!("{}/instances/{machine}/preempt", self.base));
        self.send(request).await.map(drop)
    }

    /// Sets a fault and returns its id.
    ///
    /// # Errors
    /// It is refused.
    pub async fn fault(&self, fault: &Value) -> Result<String> {
        let request = self.http.post(format!("{}/faults", self.base));
        let answer = self
            .send(
                request
                    .header("content-type", "application/json")
                    .body(fault.to_string()),
            )
            .await?;
        Ok(answer["id"]
            .as_str()
            .map_or_else(|| answer["id"].to_string(), str::to_owned))
    }

    /// Has what happens told to this address, signed with the token.
    ///
    /// # Errors
    /// It is refused.
    pub async fn webhook(&self, url: &str, token: &str) -> Result<()> {
        let webhook = serde_json::json!({ "url": url, "token": token, "scheme": "signature" });
        let request = self.http.post(format!("{}/webhooks", self.base));
        let request = request.header("content-type", "application/json");
        self.send(request.body(webhook.to_string())).await.map(drop)
    }

    /// All events after `seq`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn events(&self, seq: u64) -> Result<Vec<Value>> {
        let text = self.log(seq).await?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
            .collect()
    }

    /// Events after `seq`, but only those whose line is wanted, and the number of the last event of all.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn some_events(&self, seq: u64, wanted: impl Fn(&str) -> bool) -> Result<(Vec<Value>, u64)> {
        let text = self.log(seq).await?;
        let mut last = seq;
        let mut events = Vec::new();
        for line in text.lines() {
            // Numbers have no gaps.
            last += 1;
            if wanted(line) {
                events.push(serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?);
            }
        }
        Ok((events, last))
    }

    async fn log(&self, seq: u64) -> Result<String> {
        self.http
            .get(format!("{}/events?after={seq}", self.base))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .context("cannot read the event log")?
            .text()
            .await
            .context("the event log broke off")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let reply = request
            .send()
            .await
            .context("the control surface does not answer")?;
        let status = reply.status();
        let text = reply.text().await.context("the answer broke off")?;
        if !status.is_success() {
            bail!("refused ({status}): {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }
}
