//! The store, mirrored from what etcd applied, and the bookkeeping that follows from it.

use std::{cmp::Reverse, collections::BTreeMap, collections::BTreeSet, time::Duration};

use gust_core::{
    ids::{JobRef, MachineName},
    records::{Book, Change, Format, JobPhase, Key, MachinePhase, MachineRecord, Orders, SpendRecord},
};

use super::super::cover::State;
use super::{
    Checker, Committed, Invariant,
    seen::{JobIx, MachineIx},
    timers::Timer,
};

/// The records, and who leads.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub book: Book,
    /// The term that leads: the create revision of the leader's key. 0 while nobody leads.
    pub term: u64,
    /// Who leads.
    pub leader: String,
    /// Booked jobs: all that wait for us.
    pub booked: BTreeSet<JobIx>,
    /// Booked jobs without a machine of their own that is coming, by tags, most urgent first.
    pub uncovered: BTreeMap<u32, BTreeSet<(Reverse<i64>, JobIx)>>,
    /// When orders changed last, and what they were before.
    pub ordered: Option<(Duration, Orders)>,
    /// What each pipeline spent, as it was written last.
    pub spend: BTreeMap<String, SpendRecord>,
}

impl Store {
    /// A machine that could still be claimed: recorded as booting, or asked for and not known yet.
    pub fn is_coming(&self, name: &MachineName) -> bool {
        match self.book.machines().get(name) {
            Some(record) => matches!(record.phase, MachinePhase::Booting),
            None => self.book.batch_of(name).is_some(),
        }
    }

    /// The form of the records, if a build that writes `ours` is too old to read it. Worked out here: what is checked must
    /// not be asked.
    pub fn too_new_for(&self, ours: Format) -> Option<Format> {
        self.book
            .format()
            .filter(|format| ours.version < format.readable_by)
    }

    /// The store knows of this machine: a record, or a batch that is not settled.
    pub fn knows(&self, name: &MachineName) -> bool {
        self.book.machines().contains_key(name) || self.book.batch_of(name).is_some()
    }
}

/// The change that a write is; none for keys that are no records of jobs, batches and machines.
fn change(key: &str, value: Option<&[u8]>) -> Result<Option<Change>, String> {
    let said = |error: serde_json::Error| error.to_string();
    Ok(match (key.parse::<Key>().map_err(|e| e.to_string())?, value) {
        (Key::Job(_), Some(value)) => Some(Change::PutJob(serde_json::from_slice(value).map_err(said)?)),
        (Key::Job(job), None) => Some(Change::RemoveJob(job)),
        (Key::Batch(_), Some(value)) => Some(Change::PutBatch(serde_json::from_slice(value).map_err(said)?)),
        (Key::Batch(id), None) => Some(Change::RemoveBatch(id)),
        (Key::Machine(_), Some(value)) => {
            Some(Change::PutMachine(serde_json::from_slice(value).map_err(said)?))
        }
        (Key::Machine(name), None) => Some(Change::RemoveMachine(name)),
        (Key::Spend(_), Some(value)) => Some(Change::PutSpend(serde_json::from_slice(value).map_err(said)?)),
        (Key::Spent(_), Some(value)) => Some(Change::PutSpent(serde_json::from_slice(value).map_err(said)?)),
        (Key::Spent(job), None) => Some(Change::RemoveSpent(job)),
        (Key::Operator(name), Some(value)) if name == Orders::NAME => {
            Some(Change::PutOrders(serde_json::from_slice(value).map_err(said)?))
        }
        (Key::Operator(name), Some(value)) if name == Format::NAME => {
            Some(Change::PutFormat(serde_json::from_slice(value).map_err(said)?))
        }
        (Key::History(_) | Key::Operator(_), _) | (Key::Spend(_), None) => None,
    })
}

impl Checker {
    /// A transaction that etcd applied; all of them, in order.
    pub fn commit(&mut self, at: Duration, commit: &Committed) {
        self.catch_up(at);
        self.counts.commits += 1;
        let mut changes = Vec::with_capacity(commit.writes.len());
        let mut has_records = false;
        let mut leader = None;
        for (key, value) in &commit.writes {
            match key.split('/').next().unwrap_or_default() {
                "shards" => {
                    let shard = key.trim_start_matches("shards/");
                    self.callers.owner_written(shard, value.as_deref());
                }
                "leader" => leader = Some(value.as_deref()),
                "members" | "commits" | "history-by-end" => {}
                _ => {
                    has_records = true;
                    match change(key, value.as_deref()) {
                        Ok(change) => changes.extend(change),
                        Err(why) => {
                            let what = format!("the record at `{key}` cannot be read: {why}");
                            self.violate(at, Invariant::Terms, what, &[], &[]);
                        }
                    }
                }
            }
        }
        if has_records {
            self.written_by_leader(at, commit);
        }
        self.leader_written(at, commit, leader);
        self.orders_obeyed(at, &changes);
        self.spend_kept(at, &changes);
        self.owner_has_looked(at, commit.term, &changes);
        let touched = self.apply(at, commit.revision, &changes);
        for change in &changes {
            self.after_change(at, change);
        }
        for (job, machine) in touched {
            if let Some(job) = job {
                self.recover(job, commit.revision);
                self.look_whether_heeded(at, job);
            }
            if let Some(machine) = machine {
                self.look_whether_abandoned(at, machine);
                self.look_whether_stray(at, machine);
            }
        }
        self.after_commit(at, commit.revision, &changes);
    }

    /// Applies changes to the mirror, and returns what they touch.
    fn apply(
        &mut self,
        at: Duration,
        revision: u64,
        changes: &[Change],
    ) -> Vec<(Option<JobIx>, Option<MachineIx>)> {
        let mut touched = Vec::new();
        for change in changes {
            match change {
                Change::PutJob(record) => {
                    let job = self.seen.job(record.job.id.0);
                    self.trail
                        .record(at, (&record.phase).into(), revision, Some(job), None);
                    touched.push((Some(job), None));
                    self.note_job(at, revision, job, record);
                }
                Change::RemoveJob(reference) => {
                    let job = self.seen.job(reference.id.0);
                    self.leaves(reference, job);
                    self.trail.record(at, "job-removed", revision, Some(job), None);
                    self.seen[job].booked = None;
                    self.seen[job].shown = None;
                    self.store.booked.remove(&job);
                    touched.push((Some(job), None));
                }
                Change::PutBatch(batch) => {
                    let id = batch.id.0;
                    for member in &batch.members {
                        let job = self.seen.job(member.job.id.0);
                        let machine = self.seen.machine(member.name.as_str());
                        self.trail
                            .record(at, "intent", revision, Some(job), Some(machine));
                        self.seen[machine].batch.get_or_insert(id);
                        touched.push((Some(job), Some(machine)));
                    }
                }
                Change::RemoveBatch(id) => {
                    let Some(batch) = self.store.book.batches().get(id) else {
                        continue;
                    };
                    for member in &batch.members {
                        let job = self.seen.job(member.job.id.0);
                        touched.push((Some(job), Some(self.seen.machine(member.name.as_str()))));
                    }
                }
                Change::PutMachine(record) => {
                    let machine = self.seen.machine(record.name.as_str());
                    let job = self.job_of_machine(record);
                    self.trail
                        .record(at, (&record.phase).into(), revision, job, Some(machine));
                    touched.push((job, Some(machine)));
                    if let Some(claim) = record.claim() {
                        touched.push((Some(self.seen.job(claim.job.id.0)), None));
                    }
                }
                Change::RemoveMachine(name) => {
                    let machine = self.seen.machine(name.as_str());
                    let known = self.store.book.machines().get(name).cloned();
                    let job = known.and_then(|record| self.job_of_machine(&record));
                    self.trail
                        .record(at, "machine-removed", revision, job, Some(machine));
                    touched.push((job, Some(machine)));
                }
                Change::PutOrders(_) => self.store.ordered = Some((at, self.store.book.orders().clone())),
                Change::PutHistory(_)
                | Change::PutSpent(_)
                | Change::PutSpend(_)
                | Change::RemoveSpent(_)
                | Change::PutFormat(_) => {}
            }
            self.store.book.apply(change);
        }
        touched
    }

    fn job_of_machine(&mut self, record: &MachineRecord) -> Option<JobIx> {
        let job = record.made_for.as_ref().map(|job| job.id.0)?;
        Some(self.seen.job(job))
    }

    fn note_job(&mut self, at: Duration, revision: u64, job: JobIx, record: &gust_core::records::JobRecord) {
        let rules = self.seen.rules(&record.facts.rules);
        self.forget_uncovered(job);
        let seen = &mut self.seen[job];
        seen.reference.get_or_insert_with(|| record.job.clone());
        seen.rules = rules;
        seen.priority = record.facts.priority;
        match &record.phase {
            JobPhase::Booked => {
                if seen.booked.is_none() {
                    seen.booked = Some((at, revision));
                    seen.missing = None;
                    self.timers.set(at + self.expect.reason, Timer::Reason(job));
                }
            }
            JobPhase::Refusing { .. } => {
                seen.refusing = true;
                seen.booked = None;
            }
            JobPhase::Claimed { .. } => seen.booked = None,
        }
        if seen.booked.is_none() {
            seen.shown = None;
            self.store.booked.remove(&job);
        } else {
            self.store.booked.insert(job);
        }
    }

    fn forget_uncovered(&mut self, job: JobIx) {
        let seen = &self.seen[job];
        if seen.uncovered.is_some()
            && let Some(jobs) = self.store.uncovered.get_mut(&seen.rules)
        {
            jobs.remove(&(Reverse(seen.priority), job));
        }
    }

    /// Whether a job waits without a machine of its own.
    fn recover(&mut self, job: JobIx, revision: u64) {
        self.forget_uncovered(job);
        let seen = &self.seen[job];
        let Some(reference) = &seen.reference else { return };
        let covered = seen.booked.is_none()
            || self
                .store
                .book
                .made_for(reference)
                .any(|name| self.store.is_coming(name));
        let rank = (Reverse(seen.priority), job);
        if covered {
            self.seen[job].uncovered = None;
        } else {
            let rules = seen.rules;
            self.seen[job].uncovered.get_or_insert(revision);
            self.store.uncovered.entry(rules).or_default().insert(rank);
        }
    }

    /// The record of a job.
    pub(super) fn record_of(&self, job: JobIx) -> Option<&gust_core::records::JobRecord> {
        let reference: &JobRef = self.seen[job].reference.as_ref()?;
        self.store.book.jobs().get(reference)
    }

    /// The record of a machine.
    pub(super) fn machine_record(&self, machine: MachineIx) -> Option<&MachineRecord> {
        self.store.book.machines().get(&self.seen[machine].name)
    }

    /// The states that a fault about this meets: the one of that job or machine, or all that there are.
    pub(super) fn states_of(&self, job: Option<JobIx>, machine: Option<MachineIx>) -> Vec<State> {
        match (job, machine) {
            (Some(job), _) => {
                let phase = self.record_of(job).map(|record| (&record.phase).into());
                vec![phase.map_or(State::UNBOOKED, State::Job)]
            }
            (None, Some(machine)) => {
                let phase = self.machine_record(machine).map(|record| (&record.phase).into());
                vec![phase.map_or(State::IN_BATCH, State::Machine)]
            }
            (None, None) => self.all_states(),
        }
    }

    fn all_states(&self) -> Vec<State> {
        let book = &self.store.book;
        let jobs = book
            .jobs()
            .values()
            .map(|record| State::Job((&record.phase).into()));
        let machines = book
            .machines()
            .values()
            .map(|record| State::Machine((&record.phase).into()));
        let mut states: BTreeSet<State> = jobs.chain(machines).collect();
        let mut members = book.batches().values().flat_map(|batch| &batch.members);
        if members.any(|member| !book.machines().contains_key(&member.name)) {
            states.insert(State::IN_BATCH);
        }
        let unbooked = |job: &super::seen::Job| {
            job.ours
                && job.state.is_waiting()
                && job
                    .reference
                    .as_ref()
                    .is_none_or(|job| !book.jobs().contains_key(job))
        };
        if self.seen.jobs().any(|(_, job)| unbooked(job)) {
            states.insert(State::UNBOOKED);
        }
        states.into_iter().collect()
    }
}
