//! The life of operations: accepted, begun, over; and a bulk insert's book-keeping of its machines.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::create::model_uuid;
use super::due::Due;
use super::error::{ApiError, OpError};
use super::events;
use super::instance::{After, Guest, Instance, Status};
use super::method;
use super::model::{Call, Model};
use super::operation::{Kind, NewOperation, Operation, Progress, Scope, Target};
use super::plan::{Fate, Planned};
use crate::event::Effects;
use crate::now::Now;

impl Model {
    /// Does all that is due by now, each thing as of the moment it was due.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        while let Some((due_at, due)) = self.due.pop(now.since_start) {
            let late = now.since_start - due_at;
            let at = Now {
                since_start: due_at,
                unix_ns: now.unix_ns - late.as_nanos() as i128,
            };
            match due {
                Due::OperationStart(id) => self.start_operation(at, id, out),
                Due::OperationEnd(id) => self.finish(at, id, Vec::new(), out),
                Due::InsertFails(id) => self.fail_insert(at, id, out),
                Due::NextState { instance, turn } => self.next_state(at, instance, turn, out),
                Due::GuestStart { instance, turn } => self.start_guest(instance, turn, out),
                Due::Maintenance(operation) => self.maintain(at, operation, out),
                Due::RunOver { instance, turn } => self.run_over(at, instance, turn, out),
            }
        }
        self.forget(now);
        for project in &mut self.projects {
            project.ledger.flush(&project.id, &self.limits, now, out);
        }
    }

    /// Drops what is past its retention: DONE operations, instances that no lagging list can show any more.
    pub(super) fn forget(&mut self, now: Now) {
        let retention =
            Duration::try_from_secs_f64(self.limits.operations.retention_s).unwrap_or(Duration::MAX);
        for gone in self.operations.purge(now.since_start, retention) {
            self.forget_request(&gone);
        }
        while self
            .graves
            .front()
            .is_some_and(|(at, _)| *at + super::list::GRAVE <= now.since_start)
        {
            self.graves.pop_front();
        }
    }

    /// Accepts an operation and returns its number.
    pub(super) fn new_operation(&mut self, call: &mut Call<'_>, new: NewOperation) -> u64 {
        let pending = self.draw(self.limits.operations.pending_s);
        let id = self.put_operation(call.now, new, Progress::Pending, call.out);
        self.due
            .push(call.now.since_start + pending, Due::OperationStart(id));
        id
    }

    fn put_operation(&mut self, now: Now, new: NewOperation, progress: Progress, out: &mut Effects) -> u64 {
        let id = self.operations.next_id();
        let random: u64 = self.rng.random();
        let prefix = if matches!(new.kind, Kind::System(_)) {
            "systemevent"
        } else {
            "operation"
        };
        let name = format!("{prefix}-{}-{random:016x}-{id:08x}", now.unix_ns / 1_000_000);
        let is_started = progress != Progress::Pending;
        let operation = Operation {
            id,
            number: (self.rng.random::<u64>() >> 2) | (1 << 61),
            name: name.into(),
            project: new.project,
            scope: new.scope,
            kind: new.kind,
            method: if let Kind::System(name) = new.kind {
                name
            } else {
                new.method.name
            },
            group: new.group,
            request_id: new.request_id,
            target: new.target,
            progress,
            inserted_ns: now.unix_ns,
            started_ns: is_started.then_some(now.unix_ns),
            ended_ns: None,
            errors: Vec::new(),
            status_message: None,
            bulk: None,
            parent: new.parent,
            doom: None,
        };
        out.push(events::operation_state(&operation, None));
        if self.counts(&operation) {
            let running = &mut self.projects[operation.project].operations_running;
            *running.entry(operation.scope.region().to_owned()).or_default() += 1;
        }
        self.operations.insert(operation);
        id
    }

    /// Whether it counts as a concurrent operation of its region.
    fn counts(&self, operation: &Operation) -> bool {
        let is_system = matches!(operation.kind, Kind::System(_));
        !is_system && (operation.parent.is_none() || self.limits.switches.bulk_inserts_count)
    }

    /// Something that Google did by itself; it is over at once.
    pub(super) fn system_operation(
        &mut self,
        now: Now,
        instance: u64,
        kind: &'static str,
        message: &'static str,
        out: &mut Effects,
    ) {
        let Some(about) = self.instances.get(&instance) else {
            return;
        };
        let target = Target {
            zone: about.zone.clone(),
            name: about.name.clone(),
            id: about.id,
        };
        let new = NewOperation {
            project: about.project,
            scope: Scope::Zone(about.zone.clone()),
            kind: Kind::System(kind),
            method: &method::INSERT,
            group: None,
            request_id: None,
            target: Some(target),
            parent: None,
        };
        let id = self.put_operation(now, new, Progress::Running, out);
        if let Some(operation) = self.operations.get_mut(id) {
            operation.status_message = Some(message);
        }
        self.finish(now, id, Vec::new(), out);
    }

    pub(super) fn operation_by_id(&self, id: u64) -> Result<Operation, ApiError> {
        let known = self.operations.get(id).cloned();
        known.ok_or_else(|| ApiError::not_found(&format!("operations/{id}")))
    }

    pub(super) fn target_of(&self, planned: &Planned) -> Target {
        let id = if let Fate::Comes { instance, .. } = planned.fate {
            instance
        } else {
            0
        };
        Target {
            zone: planned.zone.clone(),
            name: planned.name.clone(),
            id,
        }
    }

    fn start_operation(&mut self, now: Now, id: u64, out: &mut Effects) {
        let Some(operation) = self.operations.get_mut(id) else {
            return;
        };
        operation.progress = Progress::Running;
        operation.started_ns = Some(now.unix_ns);
        out.push(events::operation_state(operation, Some(Progress::Pending)));
        let (kind, target) = (operation.kind, operation.target.as_ref().map(|target| target.id));
        let plan = operation
            .bulk
            .as_mut()
            .map(|bulk| std::mem::take(&mut bulk.plan))
            .unwrap_or_default();
        match kind {
            Kind::BulkInsert => {
                for planned in plan {
                    self.start_child(now, id, planned, out);
                }
            }
            Kind::Insert => {
                if let Some(operation) = self.operations.get_mut(id) {
                    operation.bulk = None;
                }
                for planned in plan {
                    self.make(now, id, planned, out);
                }
            }
            kind => self.act(now, id, kind, target.unwrap_or_default(), out),
        }
    }

    /// The insert of one machine of a bulk request.
    fn start_child(&mut self, now: Now, parent: u64, planned: Planned, out: &mut Effects) {
        let Some(bulk) = self.operations.get(parent) else {
            return;
        };
        let new = NewOperation {
            project: bulk.project,
            scope: Scope::Zone(planned.zone.clone()),
            kind: Kind::Insert,
            method: &method::INSERT,
            group: bulk.group.clone(),
            request_id: None,
            target: Some(self.target_of(&planned)),
            parent: Some(parent),
        };
        let id = self.put_operation(now, new, Progress::Running, out);
        self.make(now, id, planned, out);
    }

    /// The machine comes to be, or is known to fail later.
    fn make(&mut self, now: Now, operation: u64, planned: Planned, out: &mut Effects) {
        let Some(insert) = self.operations.get(operation) else {
            return;
        };
        let (project, parent) = (insert.project, insert.parent);
        let caller = parent
            .and_then(|parent| self.operations.get(parent))
            .unwrap_or(insert);
        let (made_by, request_id) = (caller.name.clone(), caller.request_id.clone());
        let (id, address, boot) = match planned.fate {
            Fate::Comes {
                instance,
                address,
                boot,
            } => (instance, address, boot),
            Fate::Fails { error, .. } => {
                let delay = match error.code {
                    code if code.contains("POOL_EXHAUSTED") => self.draw(self.limits.operations.stockout_s),
                    _ => self.draw(self.limits.operations.quota_s),
                };
                if let Some(operation) = self.operations.get_mut(operation) {
                    operation.doom = Some(error);
                }
                self.due
                    .push(now.since_start + delay, Due::InsertFails(operation));
                return;
            }
        };
        let is_external = planned
            .shape
            .template
            .networks
            .iter()
            .any(|network| network.is_external);
        let external_address = is_external
            .then(|| self.projects[project].external.take(u32::MAX))
            .flatten();
        let instance = Instance {
            id,
            project,
            name: planned.name,
            zone: planned.zone,
            hostname: planned.hostname,
            labels: Arc::new(planned.shape.template.labels.clone()),
            label_fingerprint: self.rng.random(),
            metadata: Arc::new(planned.shape.template.metadata.clone()),
            metadata_fingerprint: self.rng.random(),
            shape: planned.shape,
            status: Status::Provisioning,
            created_ns: now.unix_ns,
            started_ns: None,
            stopped_ns: None,
            address,
            external_address,
            is_preempted: false,
            is_in_maintenance: false,
            guest: Guest::Off,
            boot,
            termination: None,
            guest_attributes: Default::default(),
            turn: 0,
            after: After::Terminate,
            operation: Some(operation),
            made_by,
            request_id,
            holds_cpus: true,
            is_doomed: false,
            rollback_of: None,
            history: vec![(now.since_start, Status::Provisioning)],
        };
        out.push(events::instance_inserted(&self.projects[project].id, &instance));
        self.by_name.entry(instance.name.clone()).or_default().insert(id);
        self.instances.insert(id, instance);
        self.schedule_state(now, id, self.limits.boot.provisioning_s);
    }

    fn fail_insert(&mut self, now: Now, id: u64, out: &mut Effects) {
        let Some(operation) = self.operations.get_mut(id) else {
            return;
        };
        let Some(error) = operation.doom.take() else {
            return;
        };
        if let Some(target) = &operation.target {
            out.push(events::instance_refused(&target.name, &error));
        }
        self.finish(now, id, vec![error], out);
    }

    /// An operation is over. The insert of one machine is entered at its bulk insert.
    pub(super) fn finish(&mut self, now: Now, id: u64, errors: Vec<OpError>, out: &mut Effects) {
        let Some(operation) = self.operations.get_mut(id) else {
            return;
        };
        if operation.progress == Progress::Done {
            return;
        }
        let from = operation.progress;
        operation.progress = Progress::Done;
        operation.ended_ns = Some(now.unix_ns);
        operation.errors = errors;
        out.push(events::operation_state(operation, Some(from)));
        let operation = operation.clone();
        self.operations.note_end(now.since_start, id);
        let counts = self.counts(&operation);
        let project = &mut self.projects[operation.project];
        if counts && let Some(running) = project.operations_running.get_mut(operation.scope.region()) {
            *running = running.saturating_sub(1);
        }
        if operation.kind == Kind::BulkInsert {
            project.bulk_running = project.bulk_running.saturating_sub(1);
        }
        if let Some(parent) = operation.parent {
            self.enter_at_bulk(now, parent, &operation, out);
        }
    }

    /// A group id for a new bulk insert.
    pub(super) fn new_group(&mut self) -> Arc<str> {
        model_uuid(self).into()
    }
}
