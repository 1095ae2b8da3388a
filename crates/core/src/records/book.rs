//! All records in memory, changed only by the same changes that are committed to the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::{BatchRecord, Change, Format, JobRecord, Key, MachineRecord, Orders, Spend, Spent, TooNew};
use crate::{
    ids::{BatchId, JobRef, MachineName},
    quota::Footprint,
    time::Timestamp,
};

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

/// Records that cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// One of them is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A build too new for this one wrote them.
    #[error(transparent)]
    TooNew(#[from] TooNew),
}

/// All live records. History is not kept in memory.
///
/// # Guarantees
/// The indexes by job, by member and by footprint always agree with the batches and machines: each name
/// counts once, from its batch to its removal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    jobs: BTreeMap<JobRef, JobRecord>,
    batches: BTreeMap<BatchId, BatchRecord>,
    machines: BTreeMap<MachineName, MachineRecord>,
    made_for: BTreeMap<JobRef, BTreeSet<MachineName>>,
    members: BTreeMap<MachineName, BatchId>,
    footprints: BTreeMap<Footprint, u64>,
    spent: Spent,
    spend: Spend,
    orders: Orders,
    format: Option<Format>,
}

impl Book {
    /// Reads what the store holds, as a build does that writes `ours`. Keys of kinds that are not kept in memory are
    /// passed over.
    ///
    /// # Errors
    /// [`Unreadable`] says that a newer build wrote them, or names the first record that cannot be read; nothing is
    /// guessed.
    pub fn load<'a>(
        records: impl IntoIterator<Item = (&'a str, &'a [u8]), IntoIter: Clone>,
        ours: Format,
    ) -> Result<Self, Unreadable> {
        let records = records.into_iter();
        let mut book = Self::default();
        // First of all: what a newer build wrote may look damaged to this one.
        let format = Key::Operator(Format::NAME.to_owned()).to_string();
        if let Some((key, value)) = records.clone().find(|(key, _)| *key == format) {
            let format: Format = decode(key, value)?;
            format.check(ours.version)?;
            book.format = Some(format);
        }
        for (key, value) in records {
            let damage = |source| Damage {
                key: key.to_owned(),
                source,
            };
            let key_of = match key.parse::<Key>() {
                Ok(key) => key,
                // A kind of record that a later build has, and says that this one need not know.
                Err(_) if book.is_ahead(ours) => continue,
                Err(error) => return Err(damage(Box::new(error)).into()),
            };
            match key_of {
                Key::Job(_) => book.apply(&Change::PutJob(decode(key, value)?)),
                Key::Batch(_) => book.apply(&Change::PutBatch(decode(key, value)?)),
                Key::Machine(_) => book.apply(&Change::PutMachine(decode(key, value)?)),
                Key::Spent(_) => book.apply(&Change::PutSpent(decode(key, value)?)),
                Key::Spend(_) => book.apply(&Change::PutSpend(decode(key, value)?)),
                Key::Operator(name) if name == Orders::NAME => {
                    book.apply(&Change::PutOrders(decode(key, value)?));
                }
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
            Change::PutBatch(record) => self.put_batch(record),
            Change::RemoveBatch(id) => self.remove_batch(*id),
            Change::PutMachine(record) => self.put_machine(record),
            Change::RemoveMachine(name) => self.remove_machine(name),
            Change::PutHistory(_) => {}
            Change::PutSpent(record) => self.spent.put(record),
            Change::RemoveSpent(job) => self.spent.remove(job),
            Change::PutSpend(record) => self.spend.put(record),
            Change::PutOrders(orders) => self.orders = (**orders).clone(),
            Change::PutFormat(format) => self.format = Some(*format),
        }
    }

    fn put_batch(&mut self, record: &BatchRecord) {
        if self.batches.contains_key(&record.id) {
            return; // A batch never changes; this is a repeat.
        }
        let footprint = Footprint::from(&record.shape);
        for member in &record.members {
            self.made_for
                .entry(member.job.clone())
                .or_default()
                .insert(member.name.clone());
            self.members.insert(member.name.clone(), record.id);
            if self.own_footprint(&member.name).is_none() {
                self.count(&footprint);
            }
        }
        self.batches.insert(record.id, record.clone());
    }

    fn remove_batch(&mut self, id: BatchId) {
        let Some(batch) = self.batches.remove(&id) else {
            return;
        };
        let footprint = Footprint::from(&batch.shape);
        for member in batch.members {
            self.members.remove(&member.name);
            if self.own_footprint(&member.name).is_none() {
                self.release(&footprint);
            }
            if !self.machines.contains_key(&member.name) {
                self.forget(&member.job, &member.name);
            }
        }
    }

    fn put_machine(&mut self, record: &MachineRecord) {
        if let Some(job) = &record.made_for {
            self.made_for
                .entry(job.clone())
                .or_default()
                .insert(record.name.clone());
        }
        let before = self.counts_as(&record.name);
        self.machines.insert(record.name.clone(), record.clone());
        self.recount(&record.name, before);
    }

    fn remove_machine(&mut self, name: &MachineName) {
        let before = self.counts_as(name);
        let Some(machine) = self.machines.remove(name) else {
            return;
        };
        self.recount(name, before);
        if self.members.contains_key(name) {
            return; // Its batch still counts it.
        }
        if let Some(job) = &machine.made_for {
            self.forget(job, name);
        }
    }

    fn own_footprint(&self, name: &MachineName) -> Option<&Footprint> {
        self.machines.get(name)?.footprint.as_ref()
    }

    /// What a name counts as: what its machine is known to be, else what its batch asked for.
    fn counts_as(&self, name: &MachineName) -> Option<Footprint> {
        let own = self.own_footprint(name).cloned();
        own.or_else(|| self.batch_of(name).map(|batch| Footprint::from(&batch.shape)))
    }

    fn recount(&mut self, name: &MachineName, before: Option<Footprint>) {
        let after = self.counts_as(name);
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.release(&before);
        }
        if let Some(after) = after {
            self.count(&after);
        }
    }

    fn count(&mut self, footprint: &Footprint) {
        *self.footprints.entry(footprint.clone()).or_default() += 1;
    }

    fn release(&mut self, footprint: &Footprint) {
        if let Some(count) = self.footprints.get_mut(footprint) {
            *count -= 1;
            if *count == 0 {
                self.footprints.remove(footprint);
            }
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

    /// Names of all machines that exist or are asked for, in order.
    pub fn names(&self) -> Vec<&MachineName> {
        let mut names: Vec<&MachineName> = self.machines.keys().chain(self.members.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The batch whose outcome for this machine is not known yet.
    pub fn batch_of(&self, name: &MachineName) -> Option<&BatchRecord> {
        self.members.get(name).and_then(|id| self.batches.get(id))
    }

    /// Attempts used up for jobs that left.
    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// What was spent today, by pipeline, as far as machines are gone.
    pub fn spend(&self) -> &Spend {
        &self.spend
    }

    /// What the operator ordered.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Which builds can read the records, as far as it was said.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// A later build than this one has written the records.
    fn is_ahead(&self, ours: Format) -> bool {
        self.format.is_some_and(|format| format.version > ours.version)
    }

    /// How many machines of each footprint are promised: asked for, existing, or not yet known to be gone.
    pub fn footprints(&self) -> &BTreeMap<Footprint, u64> {
        &self.footprints
    }

    /// The same, of those alone that were asked for by then.
    pub fn footprints_by(&self, then: Timestamp) -> BTreeMap<Footprint, u64> {
        let mut footprints = BTreeMap::new();
        for batch in self.batches.values().filter(|batch| batch.created_at <= then) {
            let unborn = batch.members.iter().map(|member| &member.name);
            let unborn = unborn.filter(|name| self.own_footprint(name).is_none()).count();
            if unborn > 0 {
                *footprints.entry(Footprint::from(&batch.shape)).or_default() += unborn as u64;
            }
        }
        let machines = self
            .machines
            .values()
            .filter(|machine| machine.intended_at <= then);
        for footprint in machines.filter_map(|machine| machine.footprint.clone()) {
            *footprints.entry(footprint).or_default() += 1;
        }
        footprints
    }

    /// The last moment that any record tells of: about when somebody last decided something. By that replica's clock.
    pub fn latest(&self) -> Option<Timestamp> {
        let jobs = self.jobs.values().map(JobRecord::latest);
        let batches = self.batches.values().map(|batch| batch.created_at);
        let machines = self.machines.values().map(MachineRecord::latest);
        jobs.chain(batches).chain(machines).max()
    }

    /// The highest attempt number ever used for a job, as far as records tell.
    pub fn last_attempt(&self, job: &JobRecord) -> u32 {
        self.made_for(&job.job)
            .map(MachineName::attempt)
            .max()
            .unwrap_or(0)
            .max(job.attempts)
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
