//! Jobs and machines as operators see them: their records, with what is not recorded.

use std::collections::BTreeMap;

use gust_core::{
    evolve,
    ids::{JobRef, MachineName},
    ports::JobState,
    reason::Reason,
    records::{JobRecord, MachineRecord},
};

use super::super::state::Leader;

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInfo {
    /// Its record.
    pub record: JobRecord,
    /// Why it waits, as of the last pass.
    pub reason: Option<Reason>,
    /// Its state in Buildkite, as last read by this leader.
    pub state: Option<JobState>,
    /// Machines made for it so far.
    pub attempts: u32,
}

/// A machine that exists or is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineInfo {
    /// Its record; of one that is asked for, what the record will be.
    pub record: MachineRecord,
    /// It is asked for, and not yet known to exist.
    pub creating: bool,
}

/// The reasons of the last pass, by job.
pub(super) type Reasons<'a> = BTreeMap<&'a JobRef, &'a Reason>;

impl Leader {
    pub(super) fn reasons(&self) -> Reasons<'_> {
        self.shown
            .waiting
            .iter()
            .map(|(job, reason)| (job, reason))
            .collect()
    }

    pub(super) fn job_info(&self, record: &JobRecord, reasons: &Reasons<'_>) -> JobInfo {
        let known = self.known.get(&record.job);
        JobInfo {
            reason: reasons.get(&record.job).map(|reason| (*reason).clone()),
            state: known.and_then(|known| known.seen.state.as_ref().map(|(state, _)| state.clone())),
            attempts: self.book.last_attempt(record),
            record: record.clone(),
        }
    }

    pub(super) fn machine_info(&self, name: &MachineName) -> Option<MachineInfo> {
        match self.book.machines().get(name) {
            Some(record) => Some(MachineInfo {
                record: record.clone(),
                creating: false,
            }),
            None => {
                let batch = self.book.batch_of(name)?;
                Some(MachineInfo {
                    record: evolve::from_batch(&self.book, name, batch.created_at)?,
                    creating: true,
                })
            }
        }
    }
}
