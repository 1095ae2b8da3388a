//! Batches: the record of one call, as the leader hands it to the worker.

use std::collections::BTreeSet;

use gust_core::{
    ids::{BatchId, MachineName, Term, Zone},
    records::{BatchRecord, Call, Member},
    shape::Price,
    time::Timestamp,
};

use crate::{
    check::{Malformed, Problem, list, message, optional_text, text, uuid},
    v1,
};

impl From<&Member> for v1::Member {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.to_string(),
            job: Some((&member.job).into()),
            attempt: member.attempt,
            request_key: member.request_key.clone(),
        }
    }
}

impl TryFrom<v1::Member> for Member {
    type Error = Malformed;

    fn try_from(member: v1::Member) -> Result<Self, Malformed> {
        Ok(Self {
            name: MachineName::new(text("name", member.name)?),
            job: message("job", member.job)?,
            attempt: member.attempt,
            request_key: member.request_key,
        })
    }
}

impl From<&BatchRecord> for v1::Batch {
    fn from(batch: &BatchRecord) -> Self {
        Self {
            id: batch.id.to_string(),
            term: batch.term.0,
            created_unix_ms: batch.created_at.0,
            insert_zone: match &batch.call {
                Call::Bulk => None,
                Call::Insert { zone } => Some(zone.to_string()),
            },
            shape: Some((&batch.shape).into()),
            request_key: batch.request_key.clone(),
            price_micro_usd_per_hour: batch.price.0,
            members: batch.members.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Batch> for BatchRecord {
    type Error = Malformed;

    fn try_from(batch: v1::Batch) -> Result<Self, Malformed> {
        let call = match optional_text("insert_zone", batch.insert_zone)? {
            None => Call::Bulk,
            Some(zone) => Call::Insert {
                zone: Zone::new(zone),
            },
        };
        Ok(Self {
            id: BatchId(uuid("id", &batch.id)?),
            term: Term(batch.term),
            created_at: Timestamp(batch.created_unix_ms),
            shape: message("shape", batch.shape)?,
            request_key: batch.request_key,
            price: Price(batch.price_micro_usd_per_hour),
            members: members(&call, batch.members)?,
            call,
        })
    }
}

/// The members of a batch: as many as its call can make, none of them twice.
fn members(call: &Call, members: Vec<v1::Member>) -> Result<Vec<Member>, Malformed> {
    let most = match call {
        Call::Bulk => BatchRecord::MAX_MEMBERS,
        Call::Insert { .. } => 1,
    };
    if members.is_empty() {
        return Err(Malformed::at("members", Problem::Missing));
    }
    if members.len() > most {
        return Err(Malformed::at("members", Problem::TooMany(most)));
    }
    let mut seen = BTreeSet::new();
    list("members", members, |member| {
        let member = Member::try_from(member)?;
        if seen.insert(member.name.clone()) {
            Ok(member)
        } else {
            Err(Malformed::at("name", Problem::Repeated))
        }
    })
}
