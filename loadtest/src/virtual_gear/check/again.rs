//! Invariant 1, too: a job that failed because its machine was taken back is run again.
//!
//! The step's own rules may do it, or gust asks Buildkite to, which may refuse. What is wrong is a job that gust knew to be
//! preempted, and closed without having asked.

use std::time::Duration;

use gust_core::{ids::JobRef, records::Preempted};
use gust_fakes::event::Event;

use super::{
    Checker, Invariant,
    seen::{JobIx, JobState, text},
};

impl Checker {
    /// A job leaves the store; its record is still there.
    pub(super) fn leaves(&mut self, job: &JobRef, ix: JobIx) {
        let record = self.store.book.jobs().get(job);
        let preempted = record.and_then(|record| record.preemption.preempted.as_ref());
        // Whether a job runs in its place is looked at in the world, not believed.
        self.seen[ix].unasked = preempted.is_some_and(|Preempted { asked, .. }| asked.is_none());
    }

    /// A job came to be, perhaps in the place of another one.
    pub(super) fn may_run_again(&mut self, event: &Event) {
        let old = text(event, "retry_of").and_then(|old| old.parse().ok());
        if let Some(old) = old {
            let old = self.seen.job(old);
            self.seen[old].runs_again = true;
        }
    }

    /// A job ended with this.
    pub(super) fn ended_with(&mut self, event: &Event, ix: JobIx) {
        let failed = text(event, "exit_status").is_some_and(|status| status != "0");
        self.seen[ix].failed = failed;
    }

    /// Looked at when the run ends: until then somebody's rule may run it again.
    pub(super) fn all_run_again(&mut self, at: Duration) {
        let forgotten: Vec<JobIx> = self
            .seen
            .jobs()
            .filter(|(_, job)| job.unasked && job.failed && !job.runs_again)
            // Whoever cancels a job wants no other.
            .filter(|(_, job)| job.state == JobState::Finished && !job.canceled)
            .map(|(ix, _)| ix)
            .collect();
        for ix in forgotten {
            let what = format!(
                "job {} was preempted, and nobody asked Buildkite to run it again",
                self.seen[ix].id
            );
            self.violate(at, Invariant::Lost, what, &[ix], &[]);
        }
    }
}
