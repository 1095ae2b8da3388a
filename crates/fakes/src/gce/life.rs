//! The life of instances: PROVISIONING → STAGING → RUNNING → STOPPING → TERMINATED or gone.
//!
//! **Guarantees.** Every instance that was inserted is deleted at most once, and gives back exactly what it
//! took. What was due for an earlier turn of a life never touches a later one.

use std::time::Duration;

use super::due::Due;
use super::error::OpError;
use super::events;
use super::instance::{After, Guest, Status};
use super::model::{LooseDisk, Model};
use super::operation::Kind;
use super::orders::Order;
use super::quota::Release;
use crate::event::Effects;
use crate::limits::Range;
use crate::now::Now;

impl Model {
    /// The next state comes after a time drawn from the range.
    pub(super) fn schedule_state(&mut self, now: Now, id: u64, range: Range) {
        let delay = self.draw(range);
        if let Some(turn) = self.instances.get(&id).map(|instance| instance.turn) {
            self.due
                .push(now.since_start + delay, Due::NextState { instance: id, turn });
        }
    }

    fn set_status(&mut self, now: Now, id: u64, status: Status, cause: &str, out: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let from = std::mem::replace(&mut instance.status, status);
        if from != status {
            instance.history.push((now.since_start, status));
            out.push(events::instance_state(instance, from, cause));
        }
    }

    pub(super) fn next_state(&mut self, now: Now, id: u64, turn: u32, out: &mut Effects) {
        let Some(instance) = self.instances.get(&id).filter(|instance| instance.turn == turn) else {
            return;
        };
        match (instance.status, instance.after) {
            (Status::Provisioning | Status::Repairing, _) => {
                self.set_status(now, id, Status::Staging, "boot", out);
                self.schedule_state(now, id, self.limits.boot.staging_s);
            }
            // A machine that is stuck leaves this state only by being stopped or deleted.
            (Status::Staging, _) if instance.boot.is_stuck => {}
            (Status::Staging, _) => self.come_up(now, id, out),
            (Status::Stopping, After::Terminate) => self.go_down(now, id, "stopped", out),
            (Status::Stopping, After::Delete) => self.vanish(now, id, out),
            (Status::Running | Status::Terminated, _) => {}
        }
    }

    fn come_up(&mut self, now: Now, id: u64, out: &mut Effects) {
        self.set_status(now, id, Status::Running, "boot", out);
        let guest = self.draw(self.limits.boot.guest_s);
        let Some(boot) = self.instances.get(&id).map(|instance| instance.boot) else {
            return;
        };
        let factor = if boot.factor > 0.0 { boot.factor } else { 1.0 };
        let guest = guest.mul_f64(factor) + self.scaled(boot.more_s);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.started_ns = Some(now.unix_ns);
        let (turn, operation) = (instance.turn, instance.operation.take());
        if !instance.boot.is_broken {
            self.due
                .push(now.since_start + guest, Due::GuestStart { instance: id, turn });
        }
        // The run time is the caller's and in real time, whatever the speed.
        instance.termination = instance.shape.template.scheduling.max_run_s.map(|seconds| {
            let end = now.since_start + Duration::from_secs(seconds);
            self.due.push(end, Due::RunOver { instance: id, turn });
            end
        });
        if let Some(operation) = operation {
            self.finish(now, operation, Vec::new(), out);
        }
    }

    pub(super) fn start_guest(&mut self, id: u64, turn: u32, out: &mut Effects) {
        if self
            .instances
            .get(&id)
            .is_some_and(|instance| instance.turn == turn)
        {
            self.set_guest(id, Guest::On, out);
            self.order(Order::Start { instance: id, turn });
        }
    }

    /// STOPPING begins. What was to come of the present state no longer comes; an operation that waited for it
    /// is over.
    pub(super) fn begin_stop(&mut self, now: Now, id: u64, after: After, cause: &str, out: &mut Effects) {
        let range = match (after, cause) {
            (_, "preempted") => {
                let notice = self.limits.boot.preemption_s;
                Range(notice, notice)
            }
            (After::Delete, _) => self.limits.boot.deleting_s,
            (After::Terminate, _) => self.limits.boot.stopping_s,
        };
        let grace = self.draw(range);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.turn += 1;
        instance.after = after;
        instance.stopped_ns = Some(now.unix_ns);
        instance.termination = None;
        let (turn, waiting) = (instance.turn, instance.operation.take());
        let has_guest = instance.guest != Guest::Off;
        self.set_status(now, id, Status::Stopping, cause, out);
        self.due
            .push(now.since_start + grace, Due::NextState { instance: id, turn });
        if has_guest {
            self.order(Order::Stop { instance: id, grace });
        }
        if let Some(operation) = waiting {
            let is_insert = self
                .operations
                .get(operation)
                .is_some_and(|operation| operation.kind == Kind::Insert);
            let errors = match cause == "preempted" && is_insert {
                true => vec![OpError::preempted_while_creating()],
                false => Vec::new(),
            };
            self.finish(now, operation, errors, out);
        }
    }

    /// The operation that ends with the present turn of the instance.
    pub(super) fn await_turn(&mut self, id: u64, operation: u64) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.operation = Some(operation);
        }
    }

    /// TERMINATED: vCPUs come back, disks stay.
    pub(super) fn go_down(&mut self, now: Now, id: u64, cause: &str, out: &mut Effects) {
        self.set_status(now, id, Status::Terminated, cause, out);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.termination = None;
        let operation = instance.operation.take();
        self.end_guest(id, out);
        self.release_cpus(id);
        if let Some(operation) = operation {
            self.finish(now, operation, Vec::new(), out);
        }
    }

    pub(super) fn end_guest(&mut self, id: u64, out: &mut Effects) {
        if self
            .instances
            .get(&id)
            .is_some_and(|instance| instance.guest != Guest::Off)
        {
            self.set_guest(id, Guest::Off, out);
            self.order(Order::Kill { instance: id });
        }
    }

    fn release_cpus(&mut self, id: u64) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut instance.holds_cpus, false) {
            let region = instance.region().into();
            let ledger = &mut self.projects[instance.project].ledger;
            ledger.release(&region, &instance.shape.needs, Release::AtStop);
        }
    }

    fn vanish(&mut self, now: Now, id: u64, out: &mut Effects) {
        self.end_guest(id, out);
        self.release_cpus(id);
        let Some(instance) = self.instances.remove(&id) else {
            return;
        };
        let region: std::sync::Arc<str> = instance.region().into();
        self.names
            .remove(&(instance.project, instance.zone.clone(), instance.name.clone()));
        if let Some(namesakes) = self.by_name.get_mut(&instance.name) {
            namesakes.remove(&id);
            if namesakes.is_empty() {
                self.by_name.remove(&instance.name);
            }
        }
        let project = &mut self.projects[instance.project];
        project
            .ledger
            .release(&region, &instance.shape.needs, Release::AtDelete);
        if let Some(subnet) = project.subnets.get_mut(&region) {
            subnet.give(instance.address);
        }
        if let Some(address) = instance.external_address {
            project.external.give(address);
        }
        for (index, disk) in instance.shape.template.disks.iter().enumerate() {
            if !disk.auto_delete && !disk.is_scratch {
                let name = disk
                    .disk_name
                    .clone()
                    .unwrap_or_else(|| super::show::disk_name(&instance.name, index));
                let gib = disk.size_gib.unwrap_or_default();
                project.keep_disk(
                    LooseDisk {
                        name,
                        zone: instance.zone.clone(),
                        gib,
                    },
                    disk,
                );
            }
        }
        out.push(events::instance_deleted(&instance.name));
        if let Some(operation) = instance.operation {
            self.finish(now, operation, Vec::new(), out);
        }
        if let Some(bulk) = instance.rollback_of {
            self.rolled_back(now, bulk, &instance.zone, out);
        }
        self.consoles.remove(&id);
        self.graves.push_back((now.since_start, instance));
    }

    pub(super) fn run_over(&mut self, now: Now, id: u64, turn: u32, out: &mut Effects) {
        let due = self.instances.get(&id).filter(|instance| instance.turn == turn);
        let Some(instance) = due.filter(|instance| instance.status == Status::Running) else {
            return;
        };
        let deletes = instance.shape.template.scheduling.deletes();
        let message = "Instance terminated: its maximum run duration is over.";
        self.system_operation(
            now,
            id,
            "compute.instances.terminateOnMaxRunDuration",
            message,
            out,
        );
        self.leave(now, id, deletes, "max-run-duration", out);
    }

    /// Stops or deletes, as the instance's termination action says.
    pub(super) fn leave(&mut self, now: Now, id: u64, deletes: bool, cause: &str, out: &mut Effects) {
        if deletes && let Some(instance) = self.instances.get_mut(&id) {
            instance.is_doomed = true;
        }
        self.begin_stop(
            now,
            id,
            if deletes { After::Delete } else { After::Terminate },
            cause,
            out,
        );
    }

    /// Begins the boot of an instance that is down.
    pub(super) fn restart(&mut self, now: Now, id: u64, status: Status, cause: &str, out: &mut Effects) {
        self.end_guest(id, out);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.turn += 1;
        instance.termination = None;
        self.set_status(now, id, status, cause, out);
        self.schedule_state(now, id, self.limits.boot.provisioning_s);
    }
}
