//! Invariant 9: a running job is never disturbed.
//!
//! Its machine is stopped or deleted by a call of ours only once the job is over, somebody wants it to stop, the
//! machine was in trouble by itself, or its time is up.

use std::time::Duration;

use super::{Checker, Invariant, seen::MachineIx};

impl Checker {
    /// A machine begins to stop.
    pub(super) fn stops(&mut self, at: Duration, ix: MachineIx, cause: &str) {
        if cause == "delete" {
            self.delete_was_durable(at, ix);
        }
        if !matches!(cause, "delete" | "stop") {
            return;
        }
        let machine = &self.seen[ix];
        let Some(job_ix) = machine.acquired else { return };
        let job = &self.seen[job_ix];
        let disturbed = job.over.is_none()
            && !job.canceled
            && job.state.is_wanted()
            && job.holders.last() == Some(&ix)
            && machine.troubled.is_none()
            && !self.time_is_up(at, ix);
        if disturbed {
            let what = format!(
                "machine {} was told to {cause} while job {} ran on it",
                self.name(ix),
                self.seen[job_ix].id
            );
            self.violate(at, Invariant::Running, what, &[job_ix], &[ix]);
        }
    }

    fn time_is_up(&self, at: Duration, ix: MachineIx) -> bool {
        let limit = self
            .machine_record(ix)
            .map(|record| Duration::from_secs(record.max_run_seconds));
        limit.is_some_and(|limit| at >= self.seen[ix].claimed_at + limit)
    }
}
