//! What happens by itself, when its time has come.
//!
//! Deadlines are put into one ordered set and checked against the present state when they fire: a deadline
//! that was moved or dropped meanwhile does nothing.

use std::time::Duration;

use uuid::Uuid;

use super::end::End;
use super::ids::{AgentKey, BuildKey, JobKey, StepKey};
use super::job::State;
use super::model::Model;
use crate::event::Effects;
use crate::now::Now;

/// A deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A reservation may have run out.
    Reservation(JobKey),
    /// A job that was accepted may not have started.
    Accepted(JobKey),
    /// A job may be over its time.
    Timeout(JobKey),
    /// An agent may not have answered a cancel.
    Cancel(JobKey),
    /// An agent may have been silent for too long.
    Agent(AgentKey),
    /// A pipeline upload is to be applied.
    Upload(JobKey, Uuid),
    /// A trigger step is to make its builds.
    Trigger(StepKey),
    /// A triggered build ended.
    Followed(BuildKey),
}

impl Model {
    /// When something is due next, since start.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Does all that is due by now, in order.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        while let Some(&(at, due)) = self.due.first() {
            if at > now.since_start {
                return;
            }
            self.due.pop_first();
            self.fire(now, due, out);
        }
    }

    pub(super) fn at(&mut self, when: Duration, due: Due) {
        self.due.insert((when, due));
    }

    fn fire(&mut self, now: Now, due: Due, out: &mut Effects) {
        match due {
            Due::Reservation(key) => {
                let job = &mut self.jobs[key.0];
                let over = job
                    .reservation
                    .as_ref()
                    .is_some_and(|held| held.until <= now.since_start);
                if job.state == State::Reserved && over {
                    job.reservation = None;
                    self.set_state(now, key, State::Scheduled, "reservation expired", out);
                }
            }
            Due::Accepted(key) => {
                let over = self.jobs[key.0]
                    .accepted_until
                    .is_some_and(|until| until <= now.since_start);
                if self.jobs[key.0].state == State::Accepted && over {
                    self.release_from_agent(key);
                    self.set_state(now, key, State::Scheduled, "accepted but not started", out);
                }
            }
            Due::Timeout(key) => {
                let over = self.jobs[key.0]
                    .timeout_at
                    .is_some_and(|at| at <= now.since_start);
                if self.jobs[key.0].state == State::Running && over {
                    self.set_state(now, key, State::TimingOut, "timeout", out);
                    self.await_cancel(now, key);
                }
            }
            Due::Cancel(key) => {
                let over = self.jobs[key.0]
                    .cancel_until
                    .is_some_and(|at| at <= now.since_start);
                let to = match self.jobs[key.0].state {
                    State::Canceling if over => State::Canceled,
                    State::TimingOut if over => State::TimedOut,
                    _ => return,
                };
                self.end_job(
                    now,
                    key,
                    End::by_server(to, "the agent did not answer in time"),
                    out,
                );
            }
            Due::Agent(key) => self.check_agent(now, key, out),
            Due::Upload(job, upload) => self.apply_upload(now, job, upload, out),
            Due::Trigger(step) => self.fire_trigger(now, step, out),
            Due::Followed(build) => self.follow(now, build, out),
        }
    }

    pub(super) fn await_cancel(&mut self, now: Now, key: JobKey) {
        let until = now.since_start + Duration::from_secs(self.limits.cancel_expiry_s.into());
        self.jobs[key.0].cancel_until = Some(until);
        self.at(until, Due::Cancel(key));
    }
}
