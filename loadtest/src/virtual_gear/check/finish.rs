//! The end of a run: everything is over, the world is empty, and the checker did see it (1, 3, and liveness).

use std::time::Duration;

use gust_core::records::{Change, JobRecord, MachineRecord};

use super::{
    Checker, Invariant, Left, Verdict,
    seen::{JobIx, JobState, MachineIx},
};

impl Checker {
    /// What a change means; looked at once the whole transaction is applied.
    pub(super) fn after_change(&mut self, at: Duration, change: &Change) {
        self.holders_after(at, change);
        self.leaks_after(at, change);
    }

    /// What a transaction as a whole means.
    pub(super) fn after_commit(&mut self, at: Duration, revision: u64, changes: &[Change]) {
        self.quota_after(at, changes);
        self.rank_after(at, revision, changes);
        self.caps_after(at, changes);
    }

    /// Everything that was expected has ended: no job is open, no machine and no record is left. The run need
    /// not go on.
    pub fn is_over(&self) -> bool {
        self.open_jobs().next().is_none()
            && self.seen.machines().all(|(_, machine)| !machine.exists())
            && self.store.book.jobs().is_empty()
            && self.store.book.machines().is_empty()
            && self.store.book.batches().is_empty()
    }

    fn open_jobs(&self) -> impl Iterator<Item = (JobIx, &super::seen::Job)> {
        // A job whose dependency failed never ends, and is nobody's to run.
        self.seen.jobs().filter(|(_, job)| {
            job.ours && job.over.is_none() && !job.state.is_over() && job.state != JobState::WaitingFailed
        })
    }

    /// The end of the run. What is not over by now is a violation: the caller ends a run when all is over
    /// ([`Checker::is_over`]) or [`super::Expectations::end`] after the quiet. `entries`: how many the fakes' log has.
    pub fn finish(&mut self, at: Duration, entries: u64) -> Verdict {
        self.catch_up(at);
        self.saw_it(at, entries);
        let jobs: Vec<JobIx> = self.open_jobs().map(|(ix, _)| ix).collect();
        for ix in &jobs {
            let line = self.job_line(*ix);
            let forgotten = self.record_of(*ix).is_none() && self.seen[*ix].reference.is_some();
            let (invariant, what) = if forgotten {
                (
                    Invariant::Lost,
                    format!("nobody knows of this job any more: {line}"),
                )
            } else {
                (Invariant::Liveness, format!("a job has not ended: {line}"))
            };
            self.violate(at, invariant, what, &[*ix], &[]);
        }
        let machines: Vec<MachineIx> = self
            .seen
            .machines()
            .filter(|(_, machine)| machine.exists())
            .map(|(ix, _)| ix)
            .collect();
        for ix in &machines {
            let line = self.machine_line(*ix);
            let (invariant, what) = if self.store.knows(&self.seen[*ix].name) {
                (Invariant::Liveness, format!("a machine is not gone: {line}"))
            } else {
                (
                    Invariant::Leak,
                    format!("a machine without a record is left: {line}"),
                )
            };
            self.violate(at, invariant, what, &[], &[*ix]);
        }
        self.all_run_again(at);
        let records = self.records_left();
        if let Some(record) = records.first() {
            let what = format!("a record is left of which nothing is in the world: {record}");
            self.violate(at, Invariant::Liveness, what, &[], &[]);
        }
        Verdict {
            violation: self.first.clone(),
            counts: self.counts.clone(),
            left: Left {
                jobs: jobs.iter().map(|ix| self.job_line(*ix)).collect(),
                machines: machines.iter().map(|ix| self.machine_line(*ix)).collect(),
                records,
            },
        }
    }

    /// A check passes only on what it saw: the mirrors must hold what the world holds.
    fn saw_it(&mut self, at: Duration, entries: u64) {
        let unseen = |what: &str| format!("the checker was not shown {what}: nothing is proved");
        if self.counts.events < entries {
            let what = format!(
                "{} events of {entries}",
                entries.saturating_sub(self.counts.events)
            );
            self.violate(at, Invariant::Lost, unseen(&what), &[], &[]);
        }
        if self.counts.machines > 0 && self.counts.commits == 0 {
            self.violate(at, Invariant::Intent, unseen("any transaction"), &[], &[]);
        }
        let booked = self.seen.jobs().any(|(_, job)| job.reference.is_some());
        if booked && self.expect.pictures && self.counts.pictures == 0 {
            self.violate(at, Invariant::Reasons, unseen("any picture"), &[], &[]);
        }
        // What is in the store must be in the world: a job that was booked was listed, a machine that claimed was made.
        let never = self
            .seen
            .jobs()
            .find(|(_, job)| job.reference.is_some() && job.state == JobState::New);
        if let Some((ix, job)) = never {
            let what = unseen(&format!("job {}, which is booked,", job.id));
            self.violate(at, Invariant::Lost, what, &[ix], &[]);
        }
        let never = self
            .seen
            .machines()
            .find(|(_, machine)| machine.claimed.is_some() && machine.inserted.is_none());
        if let Some((ix, machine)) = never {
            let what = unseen(&format!("machine {}, which has claimed,", machine.name));
            self.violate(at, Invariant::Intent, what, &[], &[ix]);
        }
        let listed = self.seen.jobs().any(|(_, job)| job.ours && job.listed);
        if listed && self.counts.commits == 0 {
            self.violate(at, Invariant::Lost, unseen("any transaction"), &[], &[]);
        }
    }

    fn job_line(&self, ix: JobIx) -> String {
        let job = &self.seen[ix];
        let state: &'static str = job.state.into();
        let phase: &'static str = self
            .record_of(ix)
            .map_or("no record", |record| (&record.phase).into());
        let step = job.step.as_deref().unwrap_or("-");
        let reason = job
            .shown
            .as_ref()
            .map(|shown| format!(", {:?} since {:?}", shown.kind, shown.since));
        format!(
            "job {} ({step}): {state}; {phase}{}",
            job.id,
            reason.unwrap_or_default()
        )
    }

    fn machine_line(&self, ix: MachineIx) -> String {
        let machine = &self.seen[ix];
        let status: &'static str = machine.status.into();
        let phase: &'static str = match self.machine_record(ix) {
            Some(record) => (&record.phase).into(),
            None if self.store.knows(&machine.name) => "in a batch",
            None => "no record",
        };
        format!("machine {}: {status}; {phase}", machine.name)
    }

    fn records_left(&self) -> Vec<String> {
        let book = &self.store.book;
        let jobs = book.jobs().values().filter(|record| {
            let id = record.job.id.0;
            self.seen
                .jobs()
                .any(|(_, job)| job.id == id && job.over.is_some())
        });
        let machines = book.machines().values().filter(|record| {
            self.seen
                .machines()
                .any(|(_, machine)| machine.name == record.name && !machine.exists())
        });
        let batches = book.batches().keys().map(|id| format!("batch {id}"));
        let job = |record: &JobRecord| {
            let phase: &'static str = (&record.phase).into();
            format!("job {}: {phase}", record.job)
        };
        let machine = |record: &MachineRecord| {
            let phase: &'static str = (&record.phase).into();
            format!("machine {}: {phase}", record.name)
        };
        jobs.map(job)
            .chain(machines.map(machine))
            .chain(batches)
            .collect()
    }
}
