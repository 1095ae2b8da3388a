//! Changes of records, as they are committed.

use super::{
    BatchRecord, Format, HistoryRecord, JobRecord, Key, MachineRecord, Orders, SpendRecord, SpentRecord,
    format::encode,
};
use crate::{
    ids::{BatchId, JobRef, MachineName},
    ports::CommitPhase,
};

/// Changes that belong together, and what they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the commit journal will say.
    pub phase: CommitPhase,
    /// The changes, in an order of which every prefix leaves records that a successor can go on from.
    pub changes: Vec<Change>,
}

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write a job.
    PutJob(JobRecord),
    /// Remove a job.
    RemoveJob(JobRef),
    /// Write a batch.
    PutBatch(Box<BatchRecord>),
    /// Remove a batch.
    RemoveBatch(BatchId),
    /// Write a machine.
    PutMachine(Box<MachineRecord>),
    /// Remove a machine.
    RemoveMachine(MachineName),
    /// Add a summary.
    PutHistory(HistoryRecord),
    /// Keep the attempts of a job that leaves.
    PutSpent(SpentRecord),
    /// Forget them.
    RemoveSpent(JobRef),
    /// Write what a pipeline spent.
    PutSpend(SpendRecord),
    /// Write the operator's standing orders.
    PutOrders(Box<Orders>),
    /// Write which builds can read the records.
    PutFormat(Format),
}

impl Change {
    /// The key it touches.
    pub fn key(&self) -> Key {
        match self {
            Self::PutJob(record) => Key::Job(record.job.clone()),
            Self::RemoveJob(job) => Key::Job(job.clone()),
            Self::PutBatch(record) => Key::Batch(record.id),
            Self::RemoveBatch(id) => Key::Batch(*id),
            Self::PutMachine(record) => Key::Machine(record.name.clone()),
            Self::RemoveMachine(name) => Key::Machine(name.clone()),
            Self::PutHistory(record) => Key::History(record.job.clone()),
            Self::PutSpent(record) => Key::Spent(record.job.clone()),
            Self::RemoveSpent(job) => Key::Spent(job.clone()),
            Self::PutSpend(record) => Key::Spend(record.pipeline.clone()),
            Self::PutOrders(_) => Key::Operator(Orders::NAME.to_owned()),
            Self::PutFormat(_) => Key::Operator(Format::NAME.to_owned()),
        }
    }

    /// The value to write, or nothing for a removal.
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::PutJob(record) => Some(encode(record)),
            Self::PutBatch(record) => Some(encode(record)),
            Self::PutMachine(record) => Some(encode(record)),
            Self::PutHistory(record) => Some(encode(record)),
            Self::PutSpent(record) => Some(encode(record)),
            Self::PutSpend(record) => Some(encode(record)),
            Self::PutOrders(record) => Some(encode(record)),
            Self::PutFormat(record) => Some(encode(record)),
            Self::RemoveJob(_) | Self::RemoveBatch(_) | Self::RemoveMachine(_) | Self::RemoveSpent(_) => None,
        }
    }
}
