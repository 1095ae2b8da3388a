//! Steps on their way: ready when all they wait for is done, done when their jobs are, left out, open again.

use super::build::{StepKind, StepState};
use super::ids::{JobKey, StepKey};
use super::job::State;
use super::model::Model;
use crate::event::Effects;
use crate::now::Now;

impl Model {
    /// First state of a step that was just linked.
    pub(super) fn settle_new(&mut self, now: Now, step: StepKey, done: &mut Vec<StepKey>, out: &mut Effects) {
        if self.is_doomed(step) {
            self.do_not_run(now, step, out);
            done.push(step);
        } else if self.steps[step.0].pending == 0 {
            if self.make_ready(now, step, out) {
                done.push(step);
            }
        } else {
            for job in self.steps[step.0].jobs.clone() {
                self.set_state(now, job, State::Waiting, "created", out);
            }
        }
    }

    /// Whether a step it waits for failed, and that is not allowed.
    fn is_doomed(&self, step: StepKey) -> bool {
        self.steps[step.0].links.iter().any(|link| {
            !link.allow_failure
                && matches!(self.steps[link.on.0].state, StepState::Failed | StepState::NotRun)
        })
    }

    pub(super) fn do_not_run(&mut self, now: Now, step: StepKey, out: &mut Effects) {
        self.steps[step.0].state = StepState::NotRun;
        self.builds[self.steps[step.0].build.0].open_steps -= 1;
        for job in self.steps[step.0].jobs.clone() {
            if self.jobs[job.0].state == State::Waiting {
                self.set_state(now, job, State::WaitingFailed, "a step it waits for failed", out);
            }
        }
    }

    /// All it waited for is done. True if that makes it done itself.
    fn make_ready(&mut self, now: Now, step: StepKey, out: &mut Effects) -> bool {
        self.steps[step.0].state = StepState::Ready;
        for job in self.steps[step.0].jobs.clone() {
            if self.jobs[job.0].state != State::Waiting {
                continue;
            }
            if self.plan_of(job).is_some_and(|plan| plan.skip) {
                self.leave_out_job(now, job, State::Skipped, "skip", out);
            } else {
                self.enlist(now, job, "ready", out);
            }
        }
        if matches!(self.steps[step.0].kind, StepKind::Block(_)) {
            self.tell_block(step, "step.blocked", out);
            return false;
        }
        self.open_trigger(now, step, out);
        if self.steps[step.0].open_jobs > 0 {
            return false;
        }
        self.close_step(step);
        true
    }

    /// Ends the jobs of a step that is not made for its build.
    pub(super) fn leave_out(&mut self, now: Now, step: StepKey, out: &mut Effects) {
        let cause = self.steps[step.0].omitted.unwrap_or_default().replace('_', " ");
        for job in self.steps[step.0].jobs.clone() {
            self.leave_out_job(now, job, State::Broken, &cause, out);
        }
    }

    /// Ends a job that was never to run.
    fn leave_out_job(&mut self, now: Now, job: JobKey, state: State, cause: &str, out: &mut Effects) {
        self.jobs[job.0].ended = Some(now.since_start);
        self.set_state(now, job, state, cause, out);
        self.tell_end(job, "server", None, out);
        let step = self.jobs[job.0].step;
        self.steps[step.0].open_jobs -= 1;
    }

    /// Puts a job into the list, or behind its concurrency group.
    pub(super) fn enlist(&mut self, now: Now, job: JobKey, cause: &str, out: &mut Effects) {
        if let Some((limit, name)) = self.group_of(self.jobs[job.0].step) {
            let group = self.groups.entry(name).or_default();
            if group.active >= limit {
                group.waiting.insert(job);
                self.set_state(now, job, State::Limited, "concurrency", out);
                return;
            }
            group.active += 1;
        }
        self.set_state(now, job, State::Scheduled, cause, out);
    }

    /// Gives a step without open jobs its end.
    pub(super) fn close_step(&mut self, step: StepKey) {
        let trigger = self.trigger(step);
        let passed = self.steps[step.0].jobs.iter().all(|job| self.is_green(*job))
            && trigger.is_none_or(|trigger| (0..trigger.jobs.len()).all(|index| trigger.is_green(index)));
        self.steps[step.0].state = if passed {
            StepState::Passed
        } else {
            StepState::Failed
        };
        self.builds[self.steps[step.0].build.0].open_steps -= 1;
    }

    /// Whether the job's end leaves its step green.
    pub(super) fn is_green(&self, job: JobKey) -> bool {
        let (plan, job) = (self.plan_of(job), &self.jobs[job.0]);
        let status = job.exit_status.as_deref();
        match job.state {
            State::Skipped | State::Broken => true,
            State::Finished if status == Some("0") => true,
            State::Finished | State::TimedOut => {
                plan.is_some_and(|plan| plan.soft_fail.covers(status.unwrap_or("-1")))
            }
            _ => false,
        }
    }

    /// Tells the dependents of steps that are done; may make more steps done.
    pub(super) fn complete_steps(&mut self, now: Now, mut done: Vec<StepKey>, out: &mut Effects) {
        while let Some(step) = done.pop() {
            for dependent in self.steps[step.0].dependents.clone() {
                let state = self.steps[dependent.0].state;
                if !matches!(state, StepState::Waiting | StepState::NotRun) {
                    continue;
                }
                self.steps[dependent.0].pending -= 1;
                if state == StepState::NotRun {
                    continue;
                }
                if self.is_doomed(dependent) {
                    self.do_not_run(now, dependent, out);
                    done.push(dependent);
                } else if self.steps[dependent.0].pending == 0 && self.make_ready(now, dependent, out) {
                    done.push(dependent);
                }
            }
        }
    }

    /// A job of a done step is retried by hand: the step is open again, and so is what waited for it.
    pub(super) fn reopen_step(&mut self, now: Now, step: StepKey, out: &mut Effects) {
        let mut reopened = vec![step];
        self.steps[step.0].state = StepState::Ready;
        while let Some(step) = reopened.pop() {
            self.builds[self.steps[step.0].build.0].open_steps += 1;
            for dependent in self.steps[step.0].dependents.clone() {
                let state = self.steps[dependent.0].state;
                if !matches!(state, StepState::Waiting | StepState::NotRun) {
                    continue;
                }
                self.steps[dependent.0].pending += 1;
                if state == StepState::NotRun && !self.is_doomed(dependent) {
                    self.steps[dependent.0].state = StepState::Waiting;
                    for job in self.steps[dependent.0].jobs.clone() {
                        if self.jobs[job.0].state == State::WaitingFailed {
                            self.set_state(now, job, State::Waiting, "a step it waits for is retried", out);
                        }
                    }
                    reopened.push(dependent);
                }
            }
        }
    }
}
