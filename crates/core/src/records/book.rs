//! All records in memory, changed only by the same [`Change`]s that are committed to the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BatchRecord, HistoryRecord, JobRecord, Key, MachineRecord};
use crate::ids::{BatchId, JobRef, MachineName};

/// One change of one record. A commit is a list of them, at most one a key.
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
        }
    }

    /// The value to write, or nothing for a removal.
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::PutJob(record) => Some(encode(record)),
            Self::PutBatch(record) => Some(encode(record)),
            Self::PutMachine(record) => Some(encode(record)),
            Self::PutHistory(record) => Some(encode(record)),
            Self::RemoveJob(_) | Self::RemoveBatch(_) | Self::RemoveMachine(_) => None,
        }
    }
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys and no maps that JSON could refuse")
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("record `{key}` cannot be read; it was written by another version or damaged")]
pub struct Damage {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// All live records. History is not kept in memory.
///
/// # Guarantees
/// The index by job always agrees with the batches and machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    jobs: BTreeMap<JobRef, JobRecord>,
    batches: BTreeMap<BatchId, BatchRecord>,
    machines: BTreeMap<MachineName, MachineRecord>,
    made_for: BTreeMap<JobRef, BTreeSet<MachineName>>,
}

impl Book {
    /// Reads what the store holds. Keys of kinds that are not kept in memory are passed over.
    ///
    /// # Errors
    /// [`Damage`] names the first record that cannot be read; nothing is guessed.
    pub fn load<'a>(records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Damage> {
        let mut book = Self::default();
        for (key, value) in records {
            let damage = |source| Damage {
                key: key.to_owned(),
                source,
            };
            match key.parse::<Key>().map_err(|e| damage(Box::new(e)))? {
                Key::Job(_) => book.apply(&Change::PutJob(decode(key, value)?)),
                Key::Batch(_) => book.apply(&Change::PutBatch(decode(key, value)?)),
                Key::Machine(_) => book.apply(&Change::PutMachine(decode(key, value)?)),
                Key::History(_) | Key::Operator(_) => {}
            }
        }
        Ok(book)
    }

    /// Applies one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutJob(record) => {
                self.jobs.insert(record.job.clone(), record.clone());
            }
            Change::RemoveJob(job) => {
                self.jobs.remove(job);
            }
            Change::PutBatch(record) => {
                for member in &record.members {
                    self.made_for
                        .entry(member.job.clone())
                        .or_default()
                        .insert(member.name.clone());
                }
                self.batches.insert(record.id, (**record).clone());
            }
            Change::RemoveBatch(id) => {
                let Some(batch) = self.batches.remove(id) else {
                    return;
                };
                for member in batch.members {
                    if !self.machines.contains_key(&member.name) {
                        self.forget(&member.job, &member.name);
                    }
                }
            }
            Change::PutMachine(record) => {
                if let Some(job) = &record.made_for {
                    self.made_for
                        .entry(job.clone())
                        .or_default()
                        .insert(record.name.clone());
                }
                self.machines.insert(record.name.clone(), (**record).clone());
            }
            Change::RemoveMachine(name) => {
                let Some(machine) = self.machines.remove(name) else {
                    return;
                };
                let in_batch = machine.batch.is_some_and(|id| self.batches.contains_key(&id));
                if let (Some(job), false) = (&machine.made_for, in_batch) {
                    self.forget(job, name);
                }
            }
            Change::PutHistory(_) => {}
        }
    }

    fn forget(&mut self, job: &JobRef, name: &MachineName) {
        if let Some(names) = self.made_for.get_mut(job) {
            names.remove(name);
            if names.is_empty() {
                self.made_for.remove(job);
            }
        }
    }

    /// All jobs, in the order of their keys.
    pub fn jobs(&self) -> &BTreeMap<JobRef, JobRecord> {
        &self.jobs
    }

    /// All batches whose outcome is not wholly known.
    pub fn batches(&self) -> &BTreeMap<BatchId, BatchRecord> {
        &self.batches
    }

    /// All machines known to exist, or to have existed and not yet known to be gone.
    pub fn machines(&self) -> &BTreeMap<MachineName, MachineRecord> {
        &self.machines
    }

    /// Names of the machines made for a job: asked for, existing or being deleted.
    pub fn made_for(&self, job: &JobRef) -> impl Iterator<Item = &MachineName> {
        self.made_for.get(job).into_iter().flatten()
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(value).map_err(|e| Damage {
        key: key.to_owned(),
        source: Box::new(e),
    })
}
