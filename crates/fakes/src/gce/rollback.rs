//! A bulk insert comes to its end: its machines are entered, or what came to be is deleted again.

use std::sync::Arc;

use super::error::OpError;
use super::instance::After;
use super::model::Model;
use super::operation::Operation;
use crate::event::Effects;
use crate::now::Now;

impl Model {
    /// An insert that was part of a bulk insert is over.
    pub(super) fn enter_at_bulk(&mut self, now: Now, bulk_id: u64, child: &Operation, out: &mut Effects) {
        let (Some(target), Some(operation)) = (&child.target, self.operations.get_mut(bulk_id)) else {
            return;
        };
        let Some(bulk) = operation.bulk.as_mut() else {
            return;
        };
        let zone = bulk.zones.entry(target.zone.clone()).or_default();
        zone.open = zone.open.saturating_sub(1);
        match child.errors.first() {
            None => {
                zone.created += 1;
                bulk.created.push(target.id);
            }
            Some(error) => {
                zone.failed += 1;
                if !bulk
                    .failures
                    .iter()
                    .any(|known| known.code == error.code && known.message == error.message)
                {
                    bulk.failures.push(error.clone());
                }
            }
        }
        bulk.open = bulk.open.saturating_sub(1);
        if bulk.open > 0 {
            return;
        }
        if bulk.created.len() as u64 >= bulk.min_count {
            return self.finish(now, bulk_id, Vec::new(), out);
        }
        bulk.is_rolling_back = true;
        let created = std::mem::take(&mut bulk.created);
        self.roll_back(now, bulk_id, created, out);
    }

    /// The minimum is out of reach: what came to be is deleted again.
    fn roll_back(&mut self, now: Now, bulk_id: u64, created: Vec<u64>, out: &mut Effects) {
        let mut rolling = 0;
        for id in created {
            if let Some(instance) = self.instances.get_mut(&id).filter(|instance| !instance.is_doomed) {
                instance.is_doomed = true;
                instance.rollback_of = Some(bulk_id);
                rolling += 1;
                self.begin_stop(now, id, After::Delete, "rollback", out);
            }
        }
        if let Some(bulk) = self
            .operations
            .get_mut(bulk_id)
            .and_then(|operation| operation.bulk.as_mut())
        {
            bulk.rolling = rolling;
        }
        if rolling == 0 {
            self.end_rollback(now, bulk_id, out);
        }
    }

    /// One machine of a rollback is gone.
    pub(super) fn rolled_back(&mut self, now: Now, bulk_id: u64, zone: &Arc<str>, out: &mut Effects) {
        let Some(bulk) = self
            .operations
            .get_mut(bulk_id)
            .and_then(|operation| operation.bulk.as_mut())
        else {
            return;
        };
        bulk.zones.entry(zone.clone()).or_default().deleted += 1;
        bulk.rolling = bulk.rolling.saturating_sub(1);
        if bulk.rolling == 0 {
            self.end_rollback(now, bulk_id, out);
        }
    }

    fn end_rollback(&mut self, now: Now, bulk_id: u64, out: &mut Effects) {
        let Some(bulk) = self
            .operations
            .get(bulk_id)
            .and_then(|operation| operation.bulk.as_ref())
        else {
            return;
        };
        let mut errors = vec![OpError::min_count(bulk.min_count)];
        let causes = bulk.failures.iter().filter(|cause| cause.code != errors[0].code);
        errors.extend(causes.cloned().collect::<Vec<_>>());
        self.finish(now, bulk_id, errors, out);
    }
}
