//! Webhooks: whether a request comes from Buildkite, and what it hints at.
//!
//! A webhook may be lost, doubled, late or out of order (`buildkite.com/docs/apis/webhooks/pipelines` promises nothing
//! else), so all that is taken from one is that it is worth looking now. Pure: the moment comes in as a value.

use std::time::Duration;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::Hint,
    secret::Secret,
    time::Timestamp,
};
use serde_json::Value;
use uuid::Uuid;

/// Longest body read, in bytes. The largest are builds with much meta-data.
pub const MAX_BODY: usize = 2 << 20;
/// How far the time of a signature may lie from ours, either way.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Header with the webhook's token.
pub const TOKEN: &str = "x-buildkite-token";
/// Header with a signature made with that token.
pub const SIGNATURE: &str = "x-buildkite-signature";
/// Header with the name of the event.
pub const EVENT: &str = "x-buildkite-event";

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither of the two headers.
    #[error("the request has neither {TOKEN} nor {SIGNATURE}: choose one of them in the webhook's settings")]
    NoProof,
    /// Another token.
    #[error("{TOKEN} is not the token that gust was told")]
    Token,
    /// Not of the form `timestamp=…,signature=…`.
    #[error("{SIGNATURE} is not of the form timestamp=<seconds>,signature=<hex>")]
    SignatureForm,
    /// Made with another token, or over another body.
    #[error("{SIGNATURE} does not fit the body and the token that gust was told")]
    Signature,
    /// Signed too long ago, or in the future: repeated by somebody, or a clock is wrong.
    #[error(
        "{SIGNATURE} was made {seconds} s {} the present: repeated, or a clock is wrong (gust takes {} s)",
        if *ahead { "after" } else { "before" },
        WINDOW.as_secs()
    )]
    Stale {
        /// Between then and now.
        seconds: u64,
        /// It lies in the future.
        ahead: bool,
    },
    /// The body is not what Buildkite sends.
    #[error("the body is no event of Buildkite's: {0}")]
    Body(String),
}

impl Refused {
    /// A word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
            Self::Token => "token",
            Self::SignatureForm => "signature_form",
            Self::Signature => "signature",
            Self::Stale { .. } => "stale",
            Self::Body(_) => "body",
        }
    }
}

/// Checks that a request comes from Buildkite: by the token or the signature, and by both where both are there.
///
/// # Errors
/// [`Refused`]; how long the check takes tells nothing of the token.
pub fn verify(
    secret: &Secret,
    token: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refused> {
    if token.is_none() && signature.is_none() {
        return Err(Refused::NoProof);
    }
    if let Some(token) = token {
        verify_slices_are_equal(token.as_bytes(), secret.reveal().as_bytes()).map_err(|_| Refused::Token)?;
    }
    match signature {
        Some(signature) => verify_signature(secret, signature, body, now),
        None => Ok(()),
    }
}

fn verify_signature(secret: &Secret, header: &str, body: &[u8], now: Timestamp) -> Result<(), Refused> {
    let (mut timestamp, mut signature) = (None, None);
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("timestamp", text)) => timestamp = Some(text.trim()),
            Some(("signature", text)) => signature = hex::decode(text.trim()).ok(),
            _ => {}
        }
    }
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(Refused::SignatureForm);
    };
    let seconds: i64 = timestamp.parse().map_err(|_| Refused::SignatureForm)?;
    // The text that was signed is the header's own, whatever the number looks like.
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let signed = [timestamp.as_bytes(), b".", body].concat();
    hmac::verify(&key, &signed, &signature).map_err(|_| Refused::Signature)?;
    let apart = now.unix_seconds().abs_diff(seconds);
    if apart > WINDOW.as_secs() {
        return Err(Refused::Stale {
            seconds: apart,
            ahead: seconds > now.unix_seconds(),
        });
    }
    Ok(())
}

/// What an event hints at; nothing where gust does not care. `event` is the header, for bodies that do not name theirs.
///
/// # Errors
/// [`Refused::Body`] if the body is no JSON object or has no event.
pub fn read(event: Option<&str>, body: &[u8]) -> Result<Option<Hint>, Refused> {
    let body: Value = serde_json::from_slice(body).map_err(|cause| Refused::Body(cause.to_string()))?;
    let event = body["event"]
        .as_str()
        .or(event)
        .ok_or_else(|| Refused::Body("it names no event".to_owned()))?;
    let job = &body["job"];
    Ok(match event {
        "job.scheduled" => Some(Hint::Scheduled(queue(&job["agent_query_rules"]))),
        "job.finished" => {
            let id = job["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
            id.map(|id| Hint::Ended(Some(JobId(id))))
        }
        // Jobs of a build that goes on may be scheduled, those of one that ends are over.
        "build.scheduled" | "build.running" => Some(Hint::Scheduled(None)),
        "build.failing" | "build.finished" | "build.skipped" => Some(Hint::Ended(None)),
        _ => None,
    })
}

/// The queue that a job's tags name. A job of a default queue may name none.
fn queue(rules: &Value) -> Option<QueueKey> {
    let mut rules = rules.as_array()?.iter().filter_map(Value::as_str);
    rules
        .find_map(|rule| rule.strip_prefix("queue="))
        .map(QueueKey::from)
}

#[cfg(test)]
mod tests;
