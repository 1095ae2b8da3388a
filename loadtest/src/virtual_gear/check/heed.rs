//! What Buildkite says of a job is heeded: a reservation that is gone is renewed, else another stack may take the
//! job (invariant 1), and a job that is over is waited for no longer (part of liveness: machines would come for it).
//!
//! Buildkite is asked every few seconds, so both are a matter of seconds while nothing goes wrong.

use std::time::Duration;

use gust_core::records::JobPhase;

use super::{
    Checker, Invariant,
    seen::{JobIx, JobState},
    timers::{AGAIN, Timer},
};

/// How long it may take.
const BOUND: Duration = Duration::from_secs(30);
/// Nothing must have gone wrong for so long before: faults have effects that last, clocks that are wrong most of all.
const STILL: Duration = Duration::from_secs(120);

impl Checker {
    /// The state of a job of ours has changed, or it was recorded anew.
    pub(super) fn look_whether_heeded(&mut self, at: Duration, ix: JobIx) {
        if self.unheeded(ix).is_some() {
            self.seen[ix].unheeded.get_or_insert(at);
            self.timers.set(at + BOUND, Timer::Heeded(ix));
        } else {
            self.seen[ix].unheeded = None;
        }
    }

    /// What is not heeded.
    fn unheeded(&self, ix: JobIx) -> Option<(Invariant, &'static str)> {
        let state = self.seen[ix].state;
        match &self.record_of(ix)?.phase {
            JobPhase::Booked | JobPhase::Claimed { .. }
                if state == JobState::Scheduled && self.expect.reserves =>
            {
                Some((Invariant::Lost, "is reserved for nobody"))
            }
            JobPhase::Booked | JobPhase::Refusing { .. } if state.is_over() => {
                Some((Invariant::Liveness, "is over, and still waited for"))
            }
            _ => None,
        }
    }

    pub(super) fn heeded_is_due(&mut self, at: Duration, ix: JobIx) {
        let (Some(since), Some((invariant, words))) = (self.seen[ix].unheeded, self.unheeded(ix)) else {
            self.seen[ix].unheeded = None;
            return;
        };
        let Some(deciding) = self.shown.deciding() else {
            return self.timers.set(at + AGAIN, Timer::Heeded(ix));
        };
        let deadline = since.max(deciding).max(self.calm.trouble(at) + STILL) + BOUND;
        if at < deadline {
            return self.timers.set(deadline, Timer::Heeded(ix));
        }
        let what = format!("job {} {words} since {since:?}", self.seen[ix].id);
        self.violate(at, invariant, what, &[ix], &[]);
    }
}
