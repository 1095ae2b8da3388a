//! The fake GCE's model as a [`Cloud`].

use std::time::Duration;

use async_trait::async_trait;
use gust_core::{
    ids::{MachineName, ProjectId, Shard, Zone},
    ports::{
        Cloud, CloudError, Creation, Instance, InstancePage, InstanceStatus, MemberFate, OperationRef,
        OperationState, Quota, RefusalClass,
    },
    records::Call as CreateCall,
    shape::{ProvisioningModel, STACK_LABEL, Shape},
    time::Timestamp,
};
use gust_fakes::gce::{self, ApiError, At, Call, OpError, Place, Progress, Query, spec};

use super::world::Shared;

/// GCE without a wire.
pub(super) struct VirtualCloud {
    pub world: Shared,
    pub stack: String,
}

impl VirtualCloud {
    fn call<T>(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut gce::Model, &mut Call<'_>) -> Result<T, ApiError>,
    ) -> Result<T, CloudError> {
        self.world
            .call(|world, now, out| act(&mut world.gce, &mut Call::new(now, &mut world.faults, out)))
            .map_err(|error| classed(call, &error))
    }

    fn filter(&self) -> String {
        format!("labels.{STACK_LABEL} = \"{}\"", self.stack)
    }

    fn read(&self, operation: &OperationRef) -> Result<Option<gce::Operation>, CloudError> {
        let place = match &operation.zone {
            Some(zone) => Place::Zone(zone.as_str()),
            None => Place::Region(operation.shard.region.as_str()),
        };
        let project = operation.shard.project.as_str();
        let read = self.call("operations.get", |model, call| {
            model.wait_operation(call, project, place, &operation.name)
        });
        match read {
            Ok(read) => Ok(Some(read)),
            Err(CloudError::Refused {
                class: RefusalClass::Broken,
                message,
                ..
            }) if message.starts_with("404") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn find(
        &self,
        project: &str,
        zones: &[Zone],
        name: &MachineName,
    ) -> Result<Option<MemberFate>, CloudError> {
        for zone in zones {
            let at = At {
                project,
                zone: zone.as_str(),
                name: name.as_str(),
            };
            match self.call("instances.get", |model, call| model.get_instance(call, at)) {
                Ok(instance) => {
                    return Ok(Some(MemberFate::Created {
                        zone: zone.clone(),
                        instance_id: Some(instance.id),
                    }));
                }
                Err(CloudError::Refused { message, .. }) if message.starts_with("404") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn classed(call: &'static str, error: &ApiError) -> CloudError {
    let class = match (error.status, error.reason) {
        (403, "quotaExceeded") => RefusalClass::Quota {
            metric: "unknown".to_owned(),
            limit: None,
        },
        (403, "rateLimitExceeded") | (429, _) => RefusalClass::Rate,
        (403, _) => RefusalClass::Denied,
        (409, "alreadyExists") => RefusalClass::Exists,
        (503, "insufficientCapacity") => RefusalClass::Stockout { zone: None },
        (500..=599, _) => RefusalClass::Internal,
        _ => RefusalClass::Broken,
    };
    CloudError::Refused {
        call,
        class,
        message: format!("{}: {}", error.status, error.message),
    }
}

fn class_of(error: &OpError) -> RefusalClass {
    match error.code {
        "QUOTA_EXCEEDED" => RefusalClass::Quota {
            metric: "unknown".to_owned(),
            limit: None,
        },
        code if code.contains("POOL_EXHAUSTED") => RefusalClass::Stockout { zone: None },
        "VM_MIN_COUNT_NOT_REACHED" => RefusalClass::Stockout { zone: None },
        code if code.starts_with("IP_SPACE") => RefusalClass::Addresses,
        "UNSUPPORTED_OPERATION" => RefusalClass::Preempted,
        "RESOURCE_ALREADY_EXISTS" => RefusalClass::Exists,
        _ => RefusalClass::Internal,
    }
}

fn template(shape: &Shape, single: bool, zone: Option<&Zone>) -> spec::Template {
    let url = |what: &str, name: &str| match zone {
        Some(zone) if single => format!("zones/{zone}/{what}/{name}"),
        _ => name.to_owned(),
    };
    let spot = shape.model == ProvisioningModel::Spot;
    let mut disks = vec![spec::Disk {
        boot: true,
        auto_delete: true,
        disk_type: Some(url("diskTypes", &shape.boot_disk.disk_type)),
        size_gib: Some(shape.boot_disk.gib.into()),
        source_image: Some(shape.boot_disk.image.clone()),
        ..spec::Disk::default()
    }];
    for _ in 0..shape.local_ssds {
        disks.push(spec::Disk {
            auto_delete: true,
            is_scratch: true,
            disk_type: Some(url("diskTypes", "local-ssd")),
            interface: Some("NVME".to_owned()),
            ..spec::Disk::default()
        });
    }
    spec::Template {
        machine_type: url("machineTypes", shape.machine_type.as_str()),
        labels: shape.labels.clone(),
        metadata: shape.metadata.clone().into_iter().collect(),
        disks,
        networks: vec![spec::Network {
            network: Some(shape.network.network.clone()),
            subnetwork: shape.network.subnetwork.clone(),
            is_external: shape.network.external_address,
            nic_type: Some("GVNIC".to_owned()),
        }],
        service_account: Some((
            shape.service_account.clone(),
            vec!["https://www.googleapis.com/auth/cloud-platform".to_owned()],
        )),
        scheduling: spec::Scheduling {
            provisioning_model: Some(if spot { "SPOT" } else { "STANDARD" }.to_owned()),
            termination_action: Some("DELETE".to_owned()),
            max_run_s: Some(shape.max_run_seconds),
            automatic_restart: Some(false),
            on_host_maintenance: Some("TERMINATE".to_owned()),
            ..spec::Scheduling::default()
        },
        ..spec::Template::default()
    }
}

#[async_trait]
impl Cloud for VirtualCloud {
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError> {
        let shape = &creation.shape;
        let project = shape.project.as_str();
        let request_id = creation.request_id.to_string();
        let (operation, zone) = match &creation.call {
            CreateCall::Bulk => {
                let bulk = spec::Bulk {
                    count: creation.names.len() as u64,
                    min_count: Some(1),
                    names: spec::Names::Each(
                        creation
                            .names
                            .iter()
                            .map(|name| (name.to_string(), None))
                            .collect(),
                    ),
                    template: template(shape, false, None),
                    policy: spec::LocationPolicy {
                        zones: shape.zones.iter().map(Zone::to_string).collect(),
                        shape: spec::TargetShape::Any,
                        ..spec::LocationPolicy::default()
                    },
                    ..spec::Bulk::default()
                };
                let place = Place::Region(shape.region.as_str());
                let operation = self.call("regionInstances.bulkInsert", |model, call| {
                    model.bulk_insert(call, project, place, Some(&request_id), bulk)
                })?;
                (operation, None)
            }
            CreateCall::Insert { zone } => {
                let Some(name) = creation.names.first() else {
                    let message = "a batch without machines".to_owned();
                    return Err(CloudError::Refused {
                        call: "instances.insert",
                        class: RefusalClass::Broken,
                        message,
                    });
                };
                let single = spec::Single {
                    name: name.to_string(),
                    hostname: None,
                    template: template(shape, true, Some(zone)),
                };
                let operation = self.call("instances.insert", |model, call| {
                    model.insert(call, project, zone.as_str(), Some(&request_id), single)
                })?;
                (operation, Some(zone.clone()))
            }
        };
        Ok(OperationRef {
            shard: shape.shard(),
            zone,
            name: operation.name.to_string(),
        })
    }

    async fn operation(
        &self,
        operation: &OperationRef,
        patience: Duration,
    ) -> Result<OperationState, CloudError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let Some(read) = self.read(operation)? else {
                return Ok(OperationState::Forgotten);
            };
            if read.progress == Progress::Done {
                let Some(error) = read.errors.last() else {
                    return Ok(OperationState::Succeeded);
                };
                let message = read
                    .errors
                    .iter()
                    .map(|error| error.code)
                    .collect::<Vec<_>>()
                    .join(", ");
                return Ok(OperationState::Failed {
                    class: class_of(error),
                    message,
                });
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Ok(OperationState::Running);
            }
            tokio::time::sleep(left.min(Duration::from_millis(500))).await;
        }
    }

    async fn fates(
        &self,
        operation: &OperationRef,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        let project = creation.shape.project.as_str();
        let errors = self.read(operation)?.map(|read| read.errors).unwrap_or_default();
        let refused = errors.last().map_or(
            MemberFate::Refused {
                class: RefusalClass::Internal,
                message: "not there, for no stated cause".to_owned(),
            },
            |error| MemberFate::Refused {
                class: class_of(error),
                message: error.message.clone(),
            },
        );
        let mut fates = Vec::new();
        for name in &creation.names {
            let found = self.find(project, &creation.shape.zones, name)?;
            fates.push((name.clone(), found.unwrap_or_else(|| refused.clone())));
        }
        Ok(fates)
    }

    async fn list(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        let filter = self.filter();
        let query = Query {
            filter: Some(&filter),
            page_token: page,
            ..Query::default()
        };
        let page = self.call("instances.list", |model, call| {
            model.list_instances(call, project.as_str(), zone.as_str(), query)
        })?;
        Ok(InstancePage {
            instances: page.items.iter().map(instance).collect(),
            next: page.next,
        })
    }

    async fn get(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        let at = At {
            project: project.as_str(),
            zone: zone.as_str(),
            name: name.as_str(),
        };
        match self.call("instances.get", |model, call| model.get_instance(call, at)) {
            Ok(found) => Ok(Some(instance(&found))),
            Err(CloudError::Refused { message, .. }) if message.starts_with("404") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(
        &self,
        shard: &Shard,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError> {
        let at = At {
            project: shard.project.as_str(),
            zone: zone.as_str(),
            name: name.as_str(),
        };
        match self.call("instances.delete", |model, call| model.delete(call, at, None)) {
            Ok(operation) => Ok(Some(OperationRef {
                shard: shard.clone(),
                zone: Some(zone.clone()),
                name: operation.name.to_string(),
            })),
            Err(CloudError::Refused { message, .. }) if message.starts_with("404") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        let project = shard.project.as_str();
        let region = self.call("regions.get", |model, call| {
            model.region(call, project, shard.region.as_str())
        })?;
        let (_, wide) = self.call("projects.get", |model, call| model.project(call, project))?;
        let quota = |quota: gce::Quota, project_wide| Quota {
            metric: quota.metric,
            limit: quota.limit,
            usage: quota.usage as f64,
            project_wide,
        };
        let own = region.quotas.into_iter().map(|q| quota(q, false));
        Ok(own.chain(wide.into_iter().map(|q| quota(q, true))).collect())
    }

    async fn identity_keys(&self) -> Result<String, CloudError> {
        Ok("{\"keys\":[]}".to_owned())
    }
}

fn instance(found: &gce::Instance) -> Instance {
    Instance {
        name: MachineName::new(&*found.name),
        id: found.id,
        zone: Zone::new(&*found.zone),
        status: match found.status.name() {
            "PROVISIONING" | "STAGING" => InstanceStatus::Starting,
            "RUNNING" => InstanceStatus::Running,
            "STOPPING" => InstanceStatus::Stopping,
            "TERMINATED" => InstanceStatus::Stopped,
            _ => InstanceStatus::Other,
        },
        machine_type: found.shape.machine.name.to_string(),
        created_at: i64::try_from(found.created_ns / 1_000_000).ok().map(Timestamp),
    }
}
