//! Invariant 1: no job is lost.
//!
//! A job ends by an agent, by a cancel, or by the stack with a reason that the world bears out: its request was
//! impossible, or as many machines of it failed as the detail says. That every job ends at all is looked at
//! when the run does (`finish`).

use std::time::Duration;

use uuid::Uuid;

use super::{Checker, Invariant, seen::JobIx};

/// Why the stack may give a job up, by words of the detail: more than which multiple of the patience must have failed.
const CAUSES: [(&str, Cause, u32); 4] = [
    ("came up in time", Cause::Boot, 1),
    ("never took it", Cause::Acquire, 1),
    ("were refused by Google", Cause::Refused, 1),
    ("vanished before the job started", Cause::Lost, 3),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Boot,
    Acquire,
    Refused,
    Lost,
}

impl Checker {
    /// A job was canceled by gust, with a reason on it: what finishing is over GraphQL.
    pub fn canceled_with_a_reason(&mut self, at: Duration, job: Uuid, detail: &str) {
        self.catch_up(at);
        let ix = self.seen.job(job);
        self.finished_by_stack(at, ix, detail);
    }

    /// The stack finished a job.
    pub(super) fn finished_by_stack(&mut self, at: Duration, ix: JobIx, detail: &str) {
        self.finish_was_durable(at, ix);
        let job = &self.seen[ix];
        if job.started {
            let what = format!("the stack finished job {}, which ran", job.id);
            return self.violate(at, Invariant::Lost, what, &[ix], &[]);
        }
        let expected = job
            .step
            .as_deref()
            .is_some_and(|step| self.expect.impossible.contains(step));
        if expected {
            return;
        }
        if job.canceled_by_operator && detail.starts_with("canceled in gust by ") {
            return;
        }
        let found = CAUSES.iter().find(|(words, ..)| detail.contains(words));
        let Some((_, cause, times)) = found else {
            let what = format!(
                "the stack finished job {}, whose request is possible: {}",
                job.id,
                detail.lines().next().unwrap_or_default()
            );
            return self.violate(at, Invariant::Lost, what, &[ix], &[]);
        };
        let needed = self.expect.patience * times;
        let failed = self.failures(ix, *cause);
        if failed < needed {
            let what = format!(
                "the stack gave job {} up ({cause:?}): {failed} machines failed so, its patience is {needed}",
                self.seen[ix].id
            );
            let machines = self.seen[ix].attempts.clone();
            self.violate(at, Invariant::Lost, what, &[ix], &machines);
        }
    }

    /// How many machines failed a job for a cause, as the world shows it.
    fn failures(&self, ix: JobIx, cause: Cause) -> u32 {
        let job = &self.seen[ix];
        let all = job.attempts.iter().chain(&job.claimants);
        let mut machines: Vec<_> = all.copied().collect();
        machines.sort_unstable();
        machines.dedup();
        let failed = machines.iter().filter(|machine| {
            let machine = &self.seen[**machine];
            let claimed = machine.claimed == Some(ix);
            match cause {
                Cause::Boot => machine.inserted.is_some() && machine.claimed.is_none(),
                Cause::Acquire => claimed && machine.acquired != Some(ix),
                Cause::Refused => machine.inserted.is_none(),
                Cause::Lost => machine.inserted.is_some() && machine.acquired.is_none(),
            }
        });
        u32::try_from(failed.count()).unwrap_or(u32::MAX)
    }
}
