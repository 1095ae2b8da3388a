//! Which member of etcd leads the others, and making another one do so, over etcd's own gateway.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;

/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(2);
/// Longest wait until a member leads that was made to.
const MOVE: Duration = Duration::from_secs(20);

/// The members, by what they call themselves.
pub(super) struct Raft {
    http: Client,
    urls: Vec<String>,
}

impl Raft {
    /// The members of a fleet.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn of(fleet: &Fleet, members: usize) -> Result<Self> {
        Ok(Self {
            http: Client::builder()
                .no_proxy()
                .timeout(CALL)
                .build()
                .context("cannot make an HTTP client")?,
            urls: (0..members).map(|nth| fleet.member_url(nth)).collect(),
        })
    }

    /// The member that leads, if they agree on one.
    pub async fn leader(&self) -> Option<usize> {
        let mut leaders = Vec::new();
        let mut ids = Vec::new();
        for nth in 0..self.urls.len() {
            let (id, leader) = self.status(nth).await.ok()?;
            ids.push(id);
            leaders.push(leader);
        }
        let first = leaders.first()?;
        leaders.iter().all(|leader| leader == first).then_some(())?;
        ids.iter().position(|id| id == first)
    }

    /// Makes a member lead.
    ///
    /// # Errors
    /// It does not within 20 s.
    pub async fn make_lead(&self, nth: usize) -> Result<()> {
        let deadline = Instant::now() + MOVE;
        loop {
            match self.leader().await {
                Some(leader) if leader == nth => return Ok(()),
                Some(leader) => {
                    let (id, _) = self.status(nth).await?;
                    let body = json!({"targetID": id});
                    // One that fails is tried again.
                    let _ = self.ask(leader, "transfer-leadership", &body).await;
                }
                None => {}
            }
            ensure!(
                Instant::now() < deadline,
                "member {nth} of etcd does not come to lead"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a member calls itself, and its leader.
    async fn status(&self, nth: usize) -> Result<(String, String)> {
        let status = self.ask(nth, "status", &json!({})).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&status["header"]["member_id"]), text(&status["leader"])))
    }

    async fn ask(&self, nth: usize, what: &str, body: &Value) -> Result<Value> {
        self.http
            .post(format!("{}/v3/maintenance/{what}", self.urls[nth]))
            .json(body)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(|| format!("member {nth} of etcd does not answer"))?
            .json()
            .await
            .context("etcd's answer makes no sense")
    }
}
