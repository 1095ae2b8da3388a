//! What a worker tells the leader.

use std::time::Duration;

use gust_core::{
    ids::{BatchId, MachineName, MachineTypeName, Shard, Zone},
    ports::{Capacity, Event, Instance, InstanceStatus, MemberFate, Quota},
    time::Timestamp,
};

use super::refusal::{class_and_message, refusal};
use crate::{
    check::{Malformed, Problem, list, message, optional_text, text, texts, uuid},
    v1,
};

impl From<&Event> for v1::Event {
    fn from(event: &Event) -> Self {
        use v1::event::Event as Wire;
        let event = match event {
            Event::Ready { batches, deleting } => Wire::Ready(v1::Ready {
                batches: batches.iter().map(BatchId::to_string).collect(),
                deleting: deleting.iter().map(MachineName::to_string).collect(),
            }),
            Event::Accepted { batch } => Wire::Accepted(v1::Accepted {
                batch: batch.to_string(),
            }),
            Event::Settled { batch, fates } => Wire::Settled(v1::Settled {
                batch: batch.to_string(),
                fates: fates.iter().map(fate_to_wire).collect(),
            }),
            Event::Refused {
                batch,
                class,
                message,
            } => Wire::Refused(v1::Refused {
                batch: batch.to_string(),
                refusal: Some(refusal(class, message)),
            }),
            Event::Gone { name } => Wire::Gone(v1::Gone {
                name: name.to_string(),
            }),
            Event::Inventory {
                shard,
                begun_at,
                instances,
            } => Wire::Inventory(v1::Inventory {
                shard: Some(shard.into()),
                begun_unix_ms: begun_at.0,
                instances: instances.iter().map(Into::into).collect(),
            }),
            Event::Kept { shard, capacity } => Wire::Kept(report(shard, capacity)),
            Event::MachineTypes { shard, zones } => Wire::MachineTypes(v1::MachineTypes {
                shard: Some(shard.into()),
                zones: zones.iter().map(zone_types).collect(),
            }),
            Event::Capacity { shard, capacity } => Wire::Capacity(report(shard, capacity)),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Malformed;

    fn try_from(event: v1::Event) -> Result<Self, Malformed> {
        use v1::event::Event as Wire;
        let event = event
            .event
            .ok_or_else(|| Malformed::at("event", Problem::Missing))?;
        match event {
            Wire::Ready(ready) => from_ready(ready).map_err(|e| e.within("ready")),
            Wire::Accepted(accepted) => Ok(Self::Accepted {
                batch: batch_id("batch", &accepted.batch).map_err(|e| e.within("accepted"))?,
            }),
            Wire::Settled(settled) => from_settled(settled).map_err(|e| e.within("settled")),
            Wire::Refused(refused) => from_refused(refused).map_err(|e| e.within("refused")),
            Wire::Gone(gone) => Ok(Self::Gone {
                name: MachineName::new(text("name", gone.name).map_err(|e| e.within("gone"))?),
            }),
            Wire::Inventory(inventory) => from_inventory(inventory).map_err(|e| e.within("inventory")),
            Wire::Kept(report) => {
                let (shard, capacity) = from_report(report).map_err(|e| e.within("kept"))?;
                Ok(Self::Kept { shard, capacity })
            }
            Wire::MachineTypes(types) => from_types(types).map_err(|e| e.within("machine_types")),
            Wire::Capacity(report) => {
                let (shard, capacity) = from_report(report).map_err(|e| e.within("capacity"))?;
                Ok(Self::Capacity { shard, capacity })
            }
        }
    }
}

fn batch_id(field: &str, value: &str) -> Result<BatchId, Malformed> {
    uuid(field, value).map(BatchId)
}

fn from_ready(ready: v1::Ready) -> Result<Event, Malformed> {
    Ok(Event::Ready {
        batches: list("batches", ready.batches, |id| batch_id("", &id))?,
        deleting: texts("deleting", ready.deleting, MachineName::new)?,
    })
}

fn from_settled(settled: v1::Settled) -> Result<Event, Malformed> {
    Ok(Event::Settled {
        batch: batch_id("batch", &settled.batch)?,
        fates: list("fates", settled.fates, fate_from_wire)?,
    })
}

fn from_refused(refused: v1::Refused) -> Result<Event, Malformed> {
    let batch = batch_id("batch", &refused.batch)?;
    let refusal = refused
        .refusal
        .ok_or_else(|| Malformed::at("refusal", Problem::Missing))?;
    let (class, message) = class_and_message(refusal).map_err(|e| e.within("refusal"))?;
    Ok(Event::Refused {
        batch,
        class,
        message,
    })
}

fn from_inventory(inventory: v1::Inventory) -> Result<Event, Malformed> {
    Ok(Event::Inventory {
        shard: message("shard", inventory.shard)?,
        begun_at: Timestamp(inventory.begun_unix_ms),
        instances: list("instances", inventory.instances, Instance::try_from)?,
    })
}

fn zone_types((zone, names): &(Zone, Vec<String>)) -> v1::ZoneTypes {
    v1::ZoneTypes {
        zone: zone.to_string(),
        names: names.clone(),
    }
}

fn from_types(types: v1::MachineTypes) -> Result<Event, Malformed> {
    let zone = |zone: v1::ZoneTypes| {
        let names = texts("names", zone.names, |name| name)?;
        Ok((Zone::new(text("zone", zone.zone)?), names))
    };
    Ok(Event::MachineTypes {
        shard: message("shard", types.shard)?,
        zones: list("zones", types.zones, zone)?,
    })
}

fn report(shard: &Shard, capacity: &Capacity) -> v1::CapacityReport {
    v1::CapacityReport {
        shard: Some(shard.into()),
        quotas: capacity.quotas.iter().map(Into::into).collect(),
        read_unix_ms: capacity.read_at.0,
        age_ms: u64::try_from(capacity.age.as_millis()).unwrap_or(u64::MAX),
    }
}

fn from_report(report: v1::CapacityReport) -> Result<(Shard, Capacity), Malformed> {
    let capacity = Capacity {
        quotas: list("quotas", report.quotas, Quota::try_from)?,
        read_at: Timestamp(report.read_unix_ms),
        age: Duration::from_millis(report.age_ms),
    };
    Ok((message("shard", report.shard)?, capacity))
}

fn fate_to_wire((name, fate): &(MachineName, MemberFate)) -> v1::Fate {
    let fate = match fate {
        MemberFate::Created {
            zone,
            instance_id,
            machine_type,
        } => v1::fate::Fate::Created(v1::Created {
            zone: zone.to_string(),
            instance_id: *instance_id,
            machine_type: machine_type.as_ref().map(ToString::to_string),
        }),
        MemberFate::Refused { class, message } => v1::fate::Fate::Refused(refusal(class, message)),
    };
    v1::Fate {
        name: name.to_string(),
        fate: Some(fate),
    }
}

fn fate_from_wire(fate: v1::Fate) -> Result<(MachineName, MemberFate), Malformed> {
    let name = MachineName::new(text("name", fate.name)?);
    let fate = match fate.fate.ok_or_else(|| Malformed::at("fate", Problem::Missing))? {
        v1::fate::Fate::Created(created) => MemberFate::Created {
            zone: Zone::new(text("zone", created.zone).map_err(|e| e.within("created"))?),
            instance_id: created.instance_id,
            machine_type: optional_text("machine_type", created.machine_type)?.map(MachineTypeName::new),
        },
        v1::fate::Fate::Refused(refusal) => {
            let (class, message) = class_and_message(refusal).map_err(|e| e.within("refused"))?;
            MemberFate::Refused { class, message }
        }
    };
    Ok((name, fate))
}

impl From<&Instance> for v1::Instance {
    fn from(instance: &Instance) -> Self {
        use v1::InstanceStatus as Wire;
        let status = match instance.status {
            InstanceStatus::Starting => Wire::Starting,
            InstanceStatus::Running => Wire::Running,
            InstanceStatus::Stopping => Wire::Stopping,
            InstanceStatus::Stopped => Wire::Stopped,
            InstanceStatus::Other => Wire::Other,
        };
        Self {
            name: instance.name.to_string(),
            id: instance.id,
            zone: instance.zone.to_string(),
            status: status.into(),
            machine_type: instance.machine_type.clone(),
            created_unix_ms: instance.created_at.map(|at| at.0),
        }
    }
}

impl TryFrom<v1::Instance> for Instance {
    type Error = Malformed;

    fn try_from(instance: v1::Instance) -> Result<Self, Malformed> {
        use v1::InstanceStatus as Wire;
        let status = match Wire::try_from(instance.status) {
            Ok(Wire::Unspecified) => return Err(Malformed::at("status", Problem::Missing)),
            Ok(Wire::Starting) => InstanceStatus::Starting,
            Ok(Wire::Running) => InstanceStatus::Running,
            Ok(Wire::Stopping) => InstanceStatus::Stopping,
            Ok(Wire::Stopped) => InstanceStatus::Stopped,
            Ok(Wire::Other) | Err(_) => InstanceStatus::Other,
        };
        Ok(Self {
            name: MachineName::new(text("name", instance.name)?),
            id: instance.id,
            zone: Zone::new(text("zone", instance.zone)?),
            status,
            machine_type: instance.machine_type,
            created_at: instance.created_unix_ms.map(Timestamp),
        })
    }
}

impl From<&Quota> for v1::Quota {
    fn from(quota: &Quota) -> Self {
        Self {
            metric: quota.metric.clone(),
            limit: quota.limit,
            usage: quota.usage,
            project_wide: quota.project_wide,
        }
    }
}

impl TryFrom<v1::Quota> for Quota {
    type Error = Malformed;

    fn try_from(quota: v1::Quota) -> Result<Self, Malformed> {
        let finite = |field, value: f64| {
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Malformed::at(field, Problem::NotFinite))
            }
        };
        Ok(Self {
            metric: text("metric", quota.metric)?,
            limit: finite("limit", quota.limit)?,
            usage: finite("usage", quota.usage)?,
            project_wide: quota.project_wide,
        })
    }
}
