//! Takes the fakes' events in: mirrors them, and hands each to the invariants that it concerns.

use std::{str::FromStr, time::Duration};

use gust_fakes::event::Event;
use serde_json::Value;

use super::{
    Checker,
    seen::{JobIx, JobState, MachineIx, Status, text},
    timers::Timer,
};

impl Checker {
    /// An event of the fakes' log; all of them, in order.
    pub fn event(&mut self, at: Duration, event: &Event) {
        self.catch_up(at);
        self.counts.events += 1;
        match event.kind {
            "job.created" => self.job_created(event),
            "job.state" => self.job_state(at, event),
            "job.finished" => self.job_finished(at, event),
            "job.acquired" => self.job_acquired(at, event),
            "job.notified" => self.job_notified(event),
            "token.issued" => self.token_issued(at, event),
            "agent.registered" => self.agent_registered(at, event),
            "instance.inserted" => self.instance_inserted(at, event),
            "instance.state" => self.instance_state(at, event),
            "instance.deleted" => self.instance_deleted(at, event),
            "instance.refused" => {
                let machine = self.seen.machine_of(event, "name");
                self.trail.note(at, event.kind, "", None, machine);
            }
            "guest.state" => self.guest_state(at, event),
            "operation.state" => self.operation_state(at, event),
            "quota.used" => self.quotas.event(at, event),
            "api.call" => self.quotas.called(event),
            "fault.applied" if text(event, "fault_kind") == Some("buildkite.pause") => self.shown.pause_met(),
            _ => {}
        }
    }

    /// Looks at all that was due before `at`.
    pub(super) fn catch_up(&mut self, at: Duration) {
        while let Some((due, timer)) = self.timers.pop(at) {
            match timer {
                Timer::Stray(machine) => self.stray_is_due(due, machine),
                Timer::Billing(machine, over) => self.billing_is_due(due, machine, over),
                Timer::Passed(high, low, revision, term) => {
                    self.passed_is_due(due, (high, low), revision, term)
                }
                Timer::Heeded(job) => self.heeded_is_due(due, job),
                Timer::Reason(job) => self.reason_is_due(due, job),
                Timer::True(job, kind, since) => self.truth_is_due(due, job, kind, since),
                Timer::Told(job, kind, since) => self.note_is_due(due, job, kind, since),
            }
        }
    }

    fn job_created(&mut self, event: &Event) {
        let Some(at) = self.seen.job_of(event) else {
            return;
        };
        self.may_run_again(event);
        let rules = event.fields.get("rules").and_then(Value::as_array);
        let mut queues = rules
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(|rule| rule.strip_prefix("queue="));
        let ours = queues
            .next()
            .is_none_or(|queue| self.expect.queues.contains(queue));
        let job = &mut self.seen[at];
        job.ours = ours;
        job.step = text(event, "key").map(Into::into);
        if ours {
            self.counts.jobs += 1;
        }
    }

    fn job_state(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.job_of(event) else {
            return;
        };
        let state = text(event, "to")
            .and_then(|to| JobState::from_str(to).ok())
            .unwrap_or_default();
        self.trail.note(at, event.kind, state.into(), Some(ix), None);
        let job = &mut self.seen[ix];
        if job.state.is_wanted() && state.is_waiting() {
            job.came_back = Some(at);
        }
        job.state = state;
        job.listed |= state == JobState::Scheduled;
        job.started |= state == JobState::Running;
        job.canceled |= matches!(
            state,
            JobState::Canceling | JobState::Canceled | JobState::TimingOut | JobState::TimedOut
        );
        if self.seen[ix].reference.is_some() {
            self.look_whether_heeded(at, ix);
        }
    }

    fn job_finished(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.job_of(event) else {
            return;
        };
        let by = match text(event, "by") {
            Some("agent") => "by-agent",
            Some("stack") => "by-stack",
            _ => "by-server",
        };
        self.trail.note(at, event.kind, by, Some(ix), None);
        self.ended_with(event, ix);
        let first = self.seen[ix].over.replace(at).is_none();
        if by == "by-stack" {
            self.finished_by_stack(at, ix, text(event, "detail").unwrap_or_default());
        }
        self.ended(at, ix, first);
    }

    fn job_acquired(&mut self, at: Duration, event: &Event) {
        let (Some(job), Some(machine)) = (self.seen.job_of(event), self.seen.machine_of(event, "agent_name"))
        else {
            return;
        };
        self.trail.note(at, event.kind, "", Some(job), Some(machine));
        self.seen[machine].acquired = Some(job);
        self.used_token(at, job, machine);
    }

    fn agent_registered(&mut self, at: Duration, event: &Event) {
        let Some(machine) = self.seen.machine_of(event, "agent_name") else {
            return;
        };
        let job = self.seen.job_of(event);
        self.trail.note(at, event.kind, "", job, Some(machine));
        if let Some(job) = job {
            self.used_token(at, job, machine);
        }
    }

    fn instance_inserted(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.machine_of(event, "name") else {
            return;
        };
        self.counts.machines += 1;
        self.trail.note(at, event.kind, "", None, Some(ix));
        self.inserted(at, ix, text(event, "request_id"));
        let machine = &mut self.seen[ix];
        machine.status = Status::Provisioning;
        machine.inserted = Some(at);
        machine.stopping = None;
        self.look_whether_stray(at, ix);
    }

    fn instance_state(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.machine_of(event, "name") else {
            return;
        };
        let status = text(event, "to")
            .and_then(|to| Status::from_str(to).ok())
            .unwrap_or_default();
        let cause = text(event, "cause").unwrap_or_default();
        self.trail.note(at, event.kind, status.into(), None, Some(ix));
        if status == Status::Stopping {
            self.stops(at, ix, cause);
        }
        let machine = &mut self.seen[ix];
        machine.status = status;
        match status {
            Status::Stopping | Status::Terminated => {
                machine.stopping.get_or_insert(at);
                if cause != "guest" {
                    machine.troubled.get_or_insert(at);
                }
            }
            Status::Repairing => {
                machine.troubled.get_or_insert(at);
            }
            Status::Provisioning | Status::Staging | Status::Running => machine.stopping = None,
            Status::Never | Status::Gone => {}
        }
    }

    fn instance_deleted(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.machine_of(event, "name") else {
            return;
        };
        self.trail.note(at, event.kind, "", None, Some(ix));
        let machine = &mut self.seen[ix];
        machine.status = Status::Gone;
        machine.stopping.get_or_insert(at);
        machine.stray = None;
    }

    fn guest_state(&mut self, at: Duration, event: &Event) {
        let Some(ix) = self.seen.machine_of(event, "name") else {
            return;
        };
        let word = match text(event, "to") {
            Some("on") => "on",
            Some("frozen") => "frozen",
            Some("crashed") => "crashed",
            _ => "off",
        };
        self.trail.note(at, event.kind, word, None, Some(ix));
        if word != "on" {
            self.seen[ix].troubled.get_or_insert(at);
        }
    }

    /// A job came to its end.
    fn ended(&mut self, at: Duration, job: JobIx, first: bool) {
        if !first {
            return;
        }
        let holders: Vec<MachineIx> = self.seen[job].holders.clone();
        for machine in holders {
            if self.seen[machine].acquired == Some(job) {
                self.timers
                    .set(at + self.expect.billing, Timer::Billing(machine, at));
            }
        }
    }
}
