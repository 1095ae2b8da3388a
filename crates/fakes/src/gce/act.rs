//! What callers do to instances that exist: delete, stop, start, reset. Labels and metadata are in `set`.

use std::sync::Arc;

use super::catalog::region_of;
use super::due::Due;
use super::error::ApiError;
use super::instance::{After, Instance, Status};
use super::method::{self, Method};
use super::model::{Call, Model, Place};
use super::operation::{Kind, NewOperation, Operation, Scope, Target};
use super::quota::{Lowered, Release};
use super::request_id::Asked;
use crate::event::Effects;
use crate::now::Now;

/// Which instance a call is about.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Project id.
    pub project: &'a str,
    /// Zone name.
    pub zone: &'a str,
    /// Instance name, or its id in decimal.
    pub name: &'a str,
}

/// A call about one instance, for [`Model::start_act`].
pub(super) struct Act<'a> {
    pub method: &'static Method,
    pub kind: Kind,
    pub at: At<'a>,
    pub request_id: Option<&'a str>,
    /// What the call says beside its path, so that a repeat can be told from another request.
    pub body: String,
}

impl<'a> Act<'a> {
    /// A call without a body.
    fn new(method: &'static Method, kind: Kind, at: At<'a>, request_id: Option<&'a str>) -> Self {
        Self {
            method,
            kind,
            at,
            request_id,
            body: String::new(),
        }
    }
}

impl Model {
    /// `instances.delete`.
    pub fn delete(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let act = Act::new(&method::DELETE, Kind::Delete, at, request_id);
        self.start_act(call, act, |model, id| {
            model.check_undoomed(id)?;
            if model.known(id).shape.template.is_protected {
                return Err(ApiError::protected());
            }
            if let Some(instance) = model.instances.get_mut(&id) {
                instance.is_doomed = true;
            }
            Ok(())
        })
    }

    /// `instances.stop`.
    pub fn stop(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let act = Act::new(&method::STOP, Kind::Stop, at, request_id);
        self.start_act(call, act, |model, id| model.check_undoomed(id))
    }

    /// `instances.reset`.
    pub fn reset(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let act = Act::new(&method::RESET, Kind::Reset, at, request_id);
        self.start_act(call, act, |model, id| {
            let instance = model.known(id);
            match instance.status {
                Status::Running => Ok(()),
                _ => Err(ApiError::not_ready(&model.path_of(instance))),
            }
        })
    }

    /// `instances.simulateMaintenanceEvent`: takes a Spot machine back, as a preemption would (U); others have
    /// a minute's notice on the metadata server.
    pub fn simulate_maintenance(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let method = &method::SIMULATE_MAINTENANCE;
        let act = Act::new(method, Kind::SimulateMaintenance, at, request_id);
        self.start_act(call, act, |model, id| model.check_undoomed(id))
    }

    /// `instances.start`: takes the vCPUs again.
    pub fn start(
        &mut self,
        call: &mut Call<'_>,
        at: At<'_>,
        request_id: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let act = Act::new(&method::START, Kind::Start, at, request_id);
        self.start_act(call, act, |model, id| {
            model.check_undoomed(id)?;
            let instance = model.known(id);
            if instance.status != Status::Terminated || instance.holds_cpus {
                return Ok(());
            }
            let (project, region): (usize, Arc<str>) = (instance.project, instance.region().into());
            let needs: Vec<_> = instance
                .shape
                .needs
                .iter()
                .filter(|need| need.release == Release::AtStop)
                .cloned()
                .collect();
            let ledger = &mut model.projects[project].ledger;
            ledger
                .reserve(&model.limits, &Lowered::new(), &region, &needs)
                .map_err(|short| ApiError::quota(&short))?;
            if let Some(instance) = model.instances.get_mut(&id) {
                instance.holds_cpus = true;
            }
            Ok(())
        })
    }

    /// Finds the instance, answers a repeated request id, lets `accept` judge and prepare, and starts the
    /// operation.
    pub(super) fn start_act(
        &mut self,
        call: &mut Call<'_>,
        act: Act<'_>,
        accept: impl FnOnce(&mut Self, u64) -> Result<(), ApiError>,
    ) -> Result<Operation, ApiError> {
        let Act {
            method,
            kind,
            at,
            request_id,
            body,
        } = act;
        self.api(
            call,
            method,
            at.project,
            Place::Zone(at.zone),
            |model, call, project| {
                call.count = 1;
                let asked = Asked::Act(kind.name(), at.zone.into(), at.name.into(), body);
                if let Some(known) = model.replayed(project, request_id, &asked)? {
                    return model.operation_by_id(known);
                }
                let id = model.find(project, at)?;
                model.check_concurrent(project, region_of(at.zone), kind.name())?;
                accept(model, id)?;
                let instance = model.known(id);
                let target = Target {
                    zone: instance.zone.clone(),
                    name: instance.name.clone(),
                    id,
                };
                let operation = model.new_operation(
                    call,
                    NewOperation {
                        project,
                        scope: Scope::Zone(at.zone.into()),
                        kind,
                        method,
                        group: None,
                        request_id: request_id.filter(|id| !id.is_empty()).map(Arc::from),
                        target: Some(target),
                        parent: None,
                    },
                );
                model.note_request(project, request_id, operation, asked);
                model.operation_by_id(operation)
            },
        )
    }

    /// What an operation does to its instance once it begins.
    pub(super) fn act(&mut self, now: Now, operation: u64, kind: Kind, id: u64, out: &mut Effects) {
        let status = self.instances.get(&id).map(|instance| instance.status);
        match (kind, status) {
            (Kind::Delete, Some(_)) => {
                self.begin_stop(now, id, After::Delete, "delete", out);
                self.await_turn(id, operation);
            }
            (
                Kind::Stop,
                Some(Status::Provisioning | Status::Staging | Status::Running | Status::Repairing),
            ) => {
                self.begin_stop(now, id, After::Terminate, "stop", out);
                self.await_turn(id, operation);
            }
            (Kind::Start, Some(Status::Terminated)) => {
                self.restart(now, id, Status::Provisioning, "start", out);
                self.await_turn(id, operation);
            }
            (Kind::Reset, Some(Status::Running)) => {
                self.reboot_guest(now, id, out);
                self.finish(now, operation, Vec::new(), out);
            }
            (Kind::SimulateMaintenance, Some(Status::Running)) => {
                if self.known(id).shape.template.scheduling.is_spot() {
                    self.preempt(now, id, out);
                    self.finish(now, operation, Vec::new(), out);
                } else {
                    self.announce_maintenance(now, id, operation);
                }
            }
            (Kind::SetLabels | Kind::SetMetadata, _) => {
                let delay = self.draw(self.limits.operations.pending_s);
                self.due
                    .push(now.since_start + delay, Due::OperationEnd(operation));
            }
            _ => self.finish(now, operation, Vec::new(), out),
        }
    }

    /// The id of the instance, by name or by id.
    pub(super) fn find(&self, project: usize, at: At<'_>) -> Result<u64, ApiError> {
        let key = (project, Arc::from(at.zone), Arc::from(at.name));
        let by_name = self
            .names
            .get(&key)
            .copied()
            .filter(|id| self.instances.contains_key(id));
        let by_id = || {
            let id: u64 = at.name.parse().ok()?;
            let instance = self.instances.get(&id)?;
            (instance.project == project && *instance.zone == *at.zone).then_some(id)
        };
        by_name.or_else(by_id).ok_or_else(|| {
            let project = &self.projects[project].id;
            ApiError::not_found(&format!(
                "projects/{project}/zones/{}/instances/{}",
                at.zone, at.name
            ))
        })
    }

    pub(super) fn known(&self, id: u64) -> &Instance {
        self.instances
            .get(&id)
            .expect("the id was found in this very call")
    }

    fn path_of(&self, instance: &Instance) -> String {
        let project = &self.projects[instance.project].id;
        format!(
            "projects/{project}/zones/{}/instances/{}",
            instance.zone, instance.name
        )
    }

    fn check_undoomed(&self, id: u64) -> Result<(), ApiError> {
        let instance = self.known(id);
        match instance.is_doomed {
            true => Err(ApiError::not_ready(&self.path_of(instance))),
            false => Ok(()),
        }
    }
}
