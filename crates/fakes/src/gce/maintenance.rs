//! Maintenance of hosts: a minute's notice on the metadata server, then the machine moves or ends.

use super::due::Due;
use super::instance::Status;
use super::model::Model;
use crate::event::Effects;
use crate::now::Now;

/// Seconds from the notice to the maintenance (wire reference, section 7).
const NOTICE_S: f64 = 60.0;

impl Model {
    /// The machine learns of it, and the operation goes on until it is over.
    pub(super) fn announce_maintenance(&mut self, now: Now, id: u64, operation: u64) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.is_in_maintenance = true;
        }
        let at = now.since_start + self.scaled(NOTICE_S);
        self.due.push(at, Due::Maintenance(operation));
    }

    /// It takes place: what can move runs on elsewhere, what cannot is ended, and starts again if it may.
    pub(super) fn maintain(&mut self, now: Now, operation: u64, out: &mut Effects) {
        let target = self
            .operations
            .get(operation)
            .and_then(|operation| operation.target.as_ref());
        let id = target.map(|target| target.id).unwrap_or_default();
        let running = self.instances.get_mut(&id).map(|instance| {
            instance.is_in_maintenance = false;
            instance.status == Status::Running
        });
        if running == Some(true) {
            self.move_or_end(now, id, out);
        }
        self.finish(now, operation, Vec::new(), out);
    }

    fn move_or_end(&mut self, now: Now, id: u64, out: &mut Effects) {
        let scheduling = &self.known(id).shape.template.scheduling;
        if scheduling.maintenance() != "TERMINATE" {
            let message = "Instance migrated during Compute Engine maintenance.";
            self.system_operation(
                now,
                id,
                "compute.instances.migrateOnHostMaintenance",
                message,
                out,
            );
            return;
        }
        let message = "Instance terminated during Compute Engine maintenance.";
        let kind = "compute.instances.terminateOnHostMaintenance";
        self.end_on_host(now, id, (kind, message, "maintenance"), Status::Provisioning, out);
    }
}
