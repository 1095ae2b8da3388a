//! Invariant 7: no job of lower rank gets capacity that would fit one of higher rank.
//!
//! Looked at in each transaction that adds a batch: of jobs with the same tags, which fit the same places, none
//! of higher priority was booked earlier, waits, and gets nothing. A machine that is coming without its own job
//! serves the most urgent one of the same request, so as many as there are of those may wait uncovered. While
//! slots are used up the larger call goes first by design.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use gust_core::{
    ids::ProjectId,
    reason::Kind,
    records::{BatchRecord, Call, Change, JobPhase},
};

use super::{Checker, Invariant, seen::JobIx, timers::Timer};

/// A job that came back to us is judged again only after so long: the leader has to see it first.
const COME_BACK: Duration = Duration::from_secs(60);

/// How long the transactions of one commit may take.
const COMMIT: Duration = Duration::from_secs(2);

impl Checker {
    /// Looks for inversions after a transaction.
    pub(super) fn rank_after(&mut self, at: Duration, revision: u64, changes: &[Change]) {
        // By tags, and whether it runs a preempted job again: the least urgent job that got something.
        let mut lowest: BTreeMap<(u32, bool), (i64, JobIx, &BatchRecord)> = BTreeMap::new();
        for change in changes {
            let Change::PutBatch(batch) = change else { continue };
            if self.slots_are_out(&batch.shape.project) {
                continue;
            }
            for member in &batch.members {
                let ix = self.seen.job(member.job.id.0);
                let job = &self.seen[ix];
                let of = (job.rules, self.runs_again(ix));
                let found = lowest.entry(of).or_insert((job.priority, ix, batch));
                if job.priority < found.0 {
                    *found = (job.priority, ix, batch);
                }
            }
        }
        for ((rules, again), (priority, low, batch)) in lowest {
            let mut passed = self.passed_over(at, revision, rules, priority);
            // Such a job goes on demand whatever its tags say, and serves and is served by others.
            passed.retain(|ix| self.runs_again(*ix) == again);
            // One vCPU more or less of its own request is the other's, too: they have the same tags.
            passed.retain(|ix| !self.is_capped(self.seen[*ix].id, batch.shape.cpus));
            let Some(high) = passed.first().copied() else {
                continue;
            };
            let spare = self.spare(&batch.request_key);
            if passed.len() > spare {
                // A commit of many changes is several transactions: the next may hold the other's machine.
                let timer = Timer::Passed(high, low, revision, self.store.term);
                self.timers.set(at + COMMIT, timer);
            }
        }
    }

    /// A commit is over by now: whoever was passed over in it still waits?
    pub(super) fn passed_is_due(
        &mut self,
        at: Duration,
        (high, low): (JobIx, JobIx),
        revision: u64,
        term: u64,
    ) {
        // A leader that fell in the middle of a commit left the rest to its successor.
        if self.store.term != term {
            return;
        }
        // A leader shows a picture once its commit is durable as a whole.
        if self.pictured < at.saturating_sub(COMMIT) {
            let timer = Timer::Passed(high, low, revision, term);
            return self.timers.set(at + COMMIT, timer);
        }
        let job = &self.seen[high];
        if job.state.is_waiting() && job.uncovered.is_some_and(|since| since < revision) {
            let what = format!(
                "job {} of priority {} gets a machine while job {} of priority {} with the same tags waits",
                self.seen[low].id, self.seen[low].priority, self.seen[high].id, self.seen[high].priority
            );
            self.violate(at, Invariant::Rank, what, &[low, high], &[]);
        }
    }

    /// The job runs in the place of one whose Spot machine was taken back.
    fn runs_again(&self, job: JobIx) -> bool {
        self.record_of(job)
            .is_some_and(|record| record.preemption.retry_of.is_some())
    }

    fn slots_are_out(&self, project: &ProjectId) -> bool {
        let mine = |batch: &&BatchRecord| batch.call == Call::Bulk && batch.shape.project == *project;
        let running = self.store.book.batches().values().filter(mine).count();
        running >= self.expect.bulk_slots as usize || self.bulk_rate_is_out(project)
    }

    /// Jobs of higher priority that were booked before this transaction, and got nothing in it or before.
    fn passed_over(&self, at: Duration, revision: u64, rules: u32, priority: i64) -> Vec<JobIx> {
        let Some(waiting) = self.store.uncovered.get(&rules) else {
            return Vec::new();
        };
        waiting
            .iter()
            .take_while(|(Reverse(rank), _)| *rank > priority)
            .map(|(_, job)| *job)
            .filter(|ix| {
                let job = &self.seen[*ix];
                let earlier = job.booked.is_some_and(|(_, since)| since < revision)
                    && job.uncovered.is_some_and(|since| since < revision);
                let back = job.came_back.is_some_and(|back| at < back + COME_BACK);
                let excused = job.shown.as_ref().is_some_and(|shown| {
                    matches!(shown.kind, Kind::Paused | Kind::HeldByBuildkite | Kind::Replacing)
                });
                earlier && job.state.is_waiting() && !back && !excused
            })
            .collect()
    }

    /// Machines of a request that are coming and whose own job needs none: whoever knows that it is over gives them to
    /// others before its record is gone.
    fn spare(&self, request_key: &str) -> usize {
        let book = &self.store.book;
        let waits = |job: &gust_core::ids::JobRef| {
            let record = book.jobs().get(job);
            record.is_some_and(|record| matches!(record.phase, JobPhase::Booked)) && self.seen.waits(job.id.0)
        };
        let booting = book
            .machines()
            .values()
            .filter(|machine| machine.request_key == request_key && self.store.is_coming(&machine.name))
            .filter(|machine| machine.made_for.as_ref().is_none_or(|job| !waits(job)));
        let creating = book
            .batches()
            .values()
            .filter(|batch| batch.request_key == request_key)
            .flat_map(|batch| &batch.members)
            .filter(|member| !book.machines().contains_key(&member.name) && !waits(&member.job));
        booting.count() + creating.count()
    }
}
