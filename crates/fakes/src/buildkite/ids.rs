//! Keys into the model's tables, ids and tokens drawn from the seeded source, and refusals.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use uuid::Uuid;

/// A job's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobKey(pub(super) usize);

/// A step's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StepKey(pub(super) usize);

/// A build's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BuildKey(pub(super) usize);

/// An agent's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgentKey(pub(super) usize);

/// A queue's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey(pub(super) usize);

/// A call the model does not grant: HTTP status and message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For the body's `message`.
    pub message: String,
}

impl Refusal {
    /// A refusal of that status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, format!("No {what} found"))
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(401, message)
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, message)
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }
}

/// A random UUID (version 4) from the seeded source.
pub(super) fn uuid(rng: &mut ChaCha8Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

/// A secret with the prefix that tells its kind.
pub(super) fn token(rng: &mut ChaCha8Rng, prefix: &str) -> String {
    let bits: u128 = rng.random();
    format!("{prefix}{bits:032x}")
}
