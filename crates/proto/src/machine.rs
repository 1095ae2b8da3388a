//! What machine and gust agree on beyond the messages: what is hashed and what is signed.
//!
//! Guest, server and simulated machines must build these very bytes, so they stand here once. Signing and
//! verifying are the business of those who hold keys. [`Assignment`] is the checked form of the answer to a
//! claim.

use std::{fmt, time::Duration};

use gust_core::{
    ids::{JobId, JobRef, MachineName, SourceName, StackName},
    records::KeyHash,
    secret::Secret,
    time::Timestamp,
};
use sha2::{Digest, Sha256};

use crate::{
    check::{Malformed, Problem, text, texts, uuid},
    v1,
};

/// The hash by which a guest's public key (uncompressed P-256 point) is known.
pub fn key_hash(public_key: &[u8]) -> KeyHash {
    KeyHash(hex::encode(Sha256::digest(public_key)))
}

/// The audience a machine asks its identity token for: it binds the token to this stack and this key.
pub fn audience(stack: &StackName, public_key: &[u8]) -> String {
    format!("gust:{stack}:{}", key_hash(public_key).0)
}

/// What the guest signs when it claims.
pub fn claim_message(machine: &MachineName, identity_token: &str) -> Vec<u8> {
    format!("gust-claim-v1\n{machine}\n{identity_token}").into_bytes()
}

/// What the guest signs when it tells that the job is over.
pub fn done_message(machine: &MachineName, job: JobId) -> Vec<u8> {
    format!("gust-done-v1\n{machine}\n{job}").into_bytes()
}

/// What the guest signs when it tells that Google takes the machine back.
pub fn reclaimed_message(machine: &MachineName, job: JobId) -> Vec<u8> {
    format!("gust-reclaimed-v1\n{machine}\n{job}").into_bytes()
}

/// The job a machine was given, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobRef,
    /// Base URL of the Agent API, with `/v3`.
    pub agent_endpoint: String,
    /// What the agent registers with.
    pub token: Secret,
    /// True if the token is the agent token of the whole cluster rather than one for this job alone.
    pub agent_token_fallback: bool,
    /// When the token ends.
    pub token_expires_at: Timestamp,
    /// Tags the agent registers with, `key=value` each.
    pub tags: Vec<String>,
    /// After this time the guest ends the agent.
    pub max_run: Duration,
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = Malformed;

    fn try_from(assignment: v1::Assignment) -> Result<Self, Malformed> {
        if assignment.max_run_seconds == 0 {
            return Err(Malformed::at("max_run_seconds", Problem::Missing));
        }
        Ok(Self {
            job: JobRef {
                source: SourceName::new(text("source", assignment.source)?),
                id: JobId(uuid("job_id", &assignment.job_id)?),
            },
            agent_endpoint: endpoint(assignment.agent_endpoint)?,
            token: Secret::new(text("token", assignment.token)?),
            agent_token_fallback: assignment.agent_token_fallback,
            token_expires_at: Timestamp(assignment.token_expires_unix_ms),
            tags: texts("tags", assignment.tags, |tag| tag)?,
            max_run: Duration::from_secs(assignment.max_run_seconds),
        })
    }
}

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            source: assignment.job.source.to_string(),
            job_id: assignment.job.id.to_string(),
            agent_endpoint: assignment.agent_endpoint.clone(),
            token: assignment.token.reveal().to_owned(),
            agent_token_fallback: assignment.agent_token_fallback,
            token_expires_unix_ms: assignment.token_expires_at.0,
            tags: assignment.tags.clone(),
            max_run_seconds: assignment.max_run.as_secs(),
        }
    }
}

fn endpoint(value: String) -> Result<String, Malformed> {
    let value = text("agent_endpoint", value)?;
    if value.starts_with("https://") || value.starts_with("http://") {
        Ok(value)
    } else {
        Err(Malformed::at(
            "agent_endpoint",
            Problem::Expected("an http or https URL"),
        ))
    }
}

impl fmt::Debug for v1::Assignment {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment")
            .field("source", &self.source)
            .field("job_id", &self.job_id)
            .field("agent_endpoint", &self.agent_endpoint)
            .field("agent_token_fallback", &self.agent_token_fallback)
            .field("token_expires_unix_ms", &self.token_expires_unix_ms)
            .field("tags", &self.tags)
            .field("max_run_seconds", &self.max_run_seconds)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::ClaimRequest {
    /// Everything but the identity token, which could be replayed elsewhere, and the signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("stack", &self.stack)
            .field("machine", &self.machine)
            .field("key", &key_hash(&self.public_key).0)
            .field("guest_version", &self.guest_version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a message, and how it was spoilt.
    type Case<M> = (&'static str, fn(&mut M));

    fn assignment() -> v1::Assignment {
        v1::Assignment {
            source: "main".to_owned(),
            job_id: "0192f0c1-0000-7000-8000-000000000001".to_owned(),
            agent_endpoint: "https://agent.example/v3".to_owned(),
            token: "bkjat_very_secret".to_owned(),
            agent_token_fallback: false,
            token_expires_unix_ms: 900_000,
            tags: vec!["queue=gust".to_owned()],
            max_run_seconds: 3600,
        }
    }

    #[test]
    fn an_assignment_survives_the_way_there_and_back() {
        let wire = assignment();
        let value = Assignment::try_from(wire.clone()).expect("it is whole");
        assert_eq!(v1::Assignment::from(&value), wire);
    }

    #[test]
    fn an_assignment_with_a_hole_names_the_field() {
        let cases: [Case<v1::Assignment>; 6] = [
            ("field `source` is missing", |a| a.source.clear()),
            ("field `job_id` is no UUID", |a| a.job_id = "7".to_owned()),
            ("field `agent_endpoint` must be an http or https URL", |a| {
                a.agent_endpoint = "agent.example".to_owned();
            }),
            ("field `token` is missing", |a| a.token.clear()),
            ("field `tags[0]` is missing", |a| a.tags = vec![String::new()]),
            ("field `max_run_seconds` is missing", |a| a.max_run_seconds = 0),
        ];
        for (said, spoil) in cases {
            let mut wire = assignment();
            spoil(&mut wire);
            let error = Assignment::try_from(wire).expect_err(said);
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn no_message_prints_a_token() {
        let answer = v1::ClaimResponse {
            answer: Some(v1::claim_response::Answer::Assignment(assignment())),
        };
        let claim = v1::ClaimRequest {
            identity_token: "eyJ_very_secret".to_owned(),
            ..v1::ClaimRequest::default()
        };
        let value = Assignment::try_from(assignment()).expect("it is whole");
        let printed = format!("{answer:?} {claim:?} {value:?}");
        assert!(!printed.contains("very_secret"), "{printed}");
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_wire_description() {
        let machine = MachineName::new("gust-a-1");
        let stack = StackName::new("gust").expect("a good name");
        assert_eq!(claim_message(&machine, "t"), b"gust-claim-v1\ngust-a-1\nt");
        assert_eq!(
            done_message(&machine, JobId(uuid::Uuid::nil())),
            b"gust-done-v1\ngust-a-1\n00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(
            reclaimed_message(&machine, JobId(uuid::Uuid::nil())),
            b"gust-reclaimed-v1\ngust-a-1\n00000000-0000-0000-0000-000000000000"
        );
        assert_eq!(
            audience(&stack, b""),
            "gust:gust:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
