//! The record of one call to Google: intent, promise of quota and names in one value.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{BatchId, JobRef, MachineName, Shard, Term, Zone},
    shape::{Price, Shape},
    time::Timestamp,
};

/// Which of Google's calls creates the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// `regionInstances.bulkInsert`; needs a slot while its operation runs.
    Bulk,
    /// `instances.insert` of a single machine in one zone; needs no slot.
    Insert {
        /// That zone.
        zone: Zone,
    },
}

/// One machine of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name chosen for it.
    pub name: MachineName,
    /// The job it is made for.
    pub job: JobRef,
    /// Which attempt of that job it is.
    pub attempt: u32,
    /// The canonical request that it satisfies, where that is not the batch's: machines of one shape may serve several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_key: Option<String>,
}

/// Machines of one shape asked for in one call. Key: `batches/<id>`.
///
/// # Guarantees
/// Written before the call goes out, and never changed: a repeat of the call under the same request id is
/// the same request. It is removed in the commit that records what became of every member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its id, also the request id of the call.
    pub id: BatchId,
    /// The term that decided it.
    pub term: Term,
    /// When it was decided.
    pub created_at: Timestamp,
    /// How it is created.
    #[serde(flatten)]
    pub call: Call,
    /// What all members have in common.
    pub shape: Shape,
    /// The canonical request that members satisfy unless they say otherwise: jobs with the same key may swap machines.
    pub request_key: String,
    /// Price of one member.
    pub price: Price,
    /// The members, at most [`BatchRecord::MAX_MEMBERS`].
    pub members: Vec<Member>,
}

impl BatchRecord {
    /// Most machines in one batch: keeps the record below the store's value limit of 1 MiB.
    pub const MAX_MEMBERS: usize = 1000;

    /// The canonical request that a member satisfies.
    pub fn key_of<'a>(&'a self, member: &'a Member) -> &'a str {
        member.request_key.as_deref().unwrap_or(&self.request_key)
    }

    /// The zones in which Google is asked.
    pub fn zones(&self) -> &[Zone] {
        match &self.call {
            Call::Insert { zone } => std::slice::from_ref(zone),
            Call::Bulk => &self.shape.zones,
        }
    }

    /// The shard that owns the call.
    pub fn shard(&self) -> Shard {
        self.shape.shard()
    }
}
