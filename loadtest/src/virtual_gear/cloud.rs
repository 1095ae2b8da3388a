//! The fake GCE's model as a [`Cloud`], over the virtual network.

use std::time::Duration;

use async_trait::async_trait;
use gust_core::{
    ids::{MachineName, ProjectId, Region, ReplicaId, Shard, Zone},
    ports::{
        Cloud, CloudError, Creation, Instance, InstancePage, InstanceStatus, MemberFate, OperationRef,
        OperationState, Quota, RefusalClass,
    },
    quota::SUBNET_ADDRESSES,
    records::Call as CreateCall,
    shape::STACK_LABEL,
    time::Timestamp,
};
use gust_fakes::gce::{self, ApiError, At, Call, Operation, Place, Progress, Query};
use uuid::Uuid;

use self::class::{Missed, judged, on_the_way, present, refused, said};
use super::{
    net::{Net, Point},
    witness::Witness,
    world::{Bell, Shared, Topic},
};

mod body;
mod class;
mod fates;

/// How long the client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Shorter waits than this are plain reads.
const WAIT: Duration = Duration::from_secs(1);

/// GCE without a wire, as one replica reaches it.
pub(super) struct VirtualCloud {
    pub world: Shared,
    pub net: Net,
    /// The replica that calls.
    pub from: usize,
    /// Its name.
    pub name: ReplicaId,
    pub stack: String,
    /// Quotas of families that `regions.get` does not show, as the operator configured them.
    pub families: Vec<(String, f64)>,
    pub witness: Witness,
}

impl VirtualCloud {
    /// A call about a shard is about to be made. What else the client asks for its sake is not looked at: it is
    /// one call to whoever makes it.
    fn calls(&self, shard: &Shard, call: &str) {
        let at = self.world.elapsed();
        self.witness
            .tell(|checker| checker.calls_google(at, self.name.as_str(), shard, call));
    }

    fn calls_zone(&self, project: &ProjectId, zone: &Zone, call: &str) {
        let region = zone.as_str().rsplit_once('-').map_or("", |(region, _)| region);
        let shard = Shard {
            project: project.clone(),
            region: Region::new(region),
        };
        self.calls(&shard, call);
    }

    async fn call<T: Send + 'static>(
        &self,
        point: Point,
        name: &'static str,
        mut act: impl FnMut(&mut gce::Model, &mut Call<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Missed> {
        let world = self.world.clone();
        let effect = move || {
            world.call(|world, now, out| act(&mut world.gce, &mut Call::new(now, &mut world.faults, out)))
        };
        match self.net.deliver(self.from, point, DEADLINE, effect).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(said(name, &error)),
            Err(trouble) => Err(on_the_way(name, trouble)),
        }
    }

    /// Reads an operation; `None` if Google has forgotten it.
    async fn read(&self, point: Point, operation: &OperationRef) -> Result<Option<Operation>, CloudError> {
        let operation = operation.clone();
        let read = self.call(point, "operations.get", move |model, call| {
            model.get_operation(
                call,
                operation.shard.project.as_str(),
                place(&operation),
                &operation.name,
            )
        });
        present(read.await)
    }

    /// Begins to wait for an operation: what is known of it now and, while it goes on, a bell for its end.
    async fn begin_wait(
        &self,
        operation: &OperationRef,
    ) -> Result<Option<(Operation, Option<Bell>)>, CloudError> {
        let (world, operation) = (self.world.clone(), operation.clone());
        let effect = move || {
            let read = world.call(|shared, now, out| {
                let mut call = Call::new(now, &mut shared.faults, out);
                let project = operation.shard.project.as_str();
                shared
                    .gce
                    .wait_operation(&mut call, project, place(&operation), &operation.name)
            })?;
            let bell =
                (read.progress != Progress::Done).then(|| world.bell(Topic::Done(operation.name.clone())));
            Ok::<_, ApiError>((read, bell))
        };
        let name = "operations.wait";
        present(
            match self
                .net
                .deliver(self.from, Point::CloudOperation, DEADLINE, effect)
                .await
            {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(said(name, &error)),
                Err(trouble) => Err(on_the_way(name, trouble)),
            },
        )
    }

    async fn page(
        &self,
        project: &ProjectId,
        zone: &Zone,
        token: Option<String>,
    ) -> Result<InstancePage, CloudError> {
        let filter = format!("labels.{STACK_LABEL} = \"{}\"", self.stack);
        let (project, zone, name) = (project.clone(), zone.clone(), "instances.list");
        let page = self.call(Point::CloudList, name, move |model, call| {
            let query = Query {
                filter: Some(&filter),
                page_token: token.as_deref(),
                ..Query::default()
            };
            let page = model.list_instances(call, project.as_str(), zone.as_str(), query)?;
            Ok(InstancePage {
                instances: page.items.iter().map(instance).collect(),
                next: page.next,
            })
        });
        page.await.map_err(|missed| missed.into_error(name))
    }

    async fn read_instance(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        let (project, zone, name) = (project.clone(), zone.clone(), name.clone());
        let read = self.call(Point::CloudGet, "instances.get", move |model, call| {
            let at = At {
                project: project.as_str(),
                zone: zone.as_str(),
                name: name.as_str(),
            };
            model.get_instance(call, at).map(|found| instance(&found))
        });
        present(read.await)
    }

    async fn send_delete(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
        request_id: Uuid,
    ) -> Result<Option<Operation>, CloudError> {
        let (project, zone, name) = (project.clone(), zone.clone(), name.clone());
        let request_id = request_id.to_string();
        let sent = self.call(Point::CloudDelete, "instances.delete", move |model, call| {
            let at = At {
                project: project.as_str(),
                zone: zone.as_str(),
                name: name.as_str(),
            };
            model.delete(call, at, Some(&request_id))
        });
        present(sent.await)
    }
}

fn place(operation: &OperationRef) -> Place<'_> {
    match &operation.zone {
        Some(zone) => Place::Zone(zone.as_str()),
        None => Place::Region(operation.shard.region.as_str()),
    }
}

fn state(operation: &Operation) -> OperationState {
    match (operation.progress, operation.errors.is_empty()) {
        (Progress::Pending | Progress::Running, _) => OperationState::Running,
        (Progress::Done, false) => {
            let (class, message) = judged(&operation.errors, false);
            OperationState::Failed { class, message }
        }
        (Progress::Done, true) => {
            let zones = operation.bulk.iter().flat_map(|bulk| bulk.zones.values());
            match zones
                .map(|zone| u64::from(zone.failed) + u64::from(zone.deleted))
                .sum::<u64>()
            {
                0 => OperationState::Succeeded,
                // As many as were asked for at least came; of the others it tells the number only.
                failed => OperationState::Failed {
                    class: RefusalClass::Internal,
                    message: format!(
                        "{failed} machines were not created, and the operation does not say why"
                    ),
                },
            }
        }
    }
}

#[async_trait]
impl Cloud for VirtualCloud {
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError> {
        let shard = creation.shape.shard();
        self.calls(&shard, "create");
        let (project, request_id) = (shard.project.to_string(), creation.request_id.to_string());
        let (zone, name, answer) = match &creation.call {
            CreateCall::Bulk => {
                let (name, region) = ("regionInstances.bulkInsert", shard.region.to_string());
                let body = body::bulk(creation);
                let answer = self.call(Point::CloudCreate, name, move |model, call| {
                    model.bulk_insert(
                        call,
                        &project,
                        Place::Region(&region),
                        Some(&request_id),
                        body.clone(),
                    )
                });
                (None, name, answer.await)
            }
            CreateCall::Insert { zone } => {
                let name = "instances.insert";
                let Some(body) = body::single(creation, zone) else {
                    let message = "a batch without machines".to_owned();
                    return Err(refused(name, RefusalClass::Broken, message));
                };
                let at = zone.to_string();
                let answer = self.call(Point::CloudCreate, name, move |model, call| {
                    model.insert(call, &project, &at, Some(&request_id), body.clone())
                });
                (Some(zone.clone()), name, answer.await)
            }
        };
        let operation = answer.map_err(|missed| missed.into_error(name))?;
        Ok(OperationRef {
            shard,
            zone,
            name: operation.name.to_string(),
        })
    }

    async fn operation(
        &self,
        operation: &OperationRef,
        patience: Duration,
    ) -> Result<OperationState, CloudError> {
        self.calls(&operation.shard, "operation");
        if patience < WAIT {
            let read = self.read(Point::CloudOperation, operation).await?;
            return Ok(read.as_ref().map_or(OperationState::Forgotten, state));
        }
        match self.begin_wait(operation).await? {
            None => Ok(OperationState::Forgotten),
            Some((read, None)) => Ok(state(&read)),
            Some((read, Some(bell))) => {
                // Google holds the call. A caller that dies meanwhile drops the bell with it.
                if tokio::time::timeout(patience, bell.rung()).await.is_err() {
                    return Ok(state(&read));
                }
                let over = |known: &Operation| state(known);
                Ok(self.world.read(|world| {
                    let known = world.gce.operation_named(&operation.name);
                    known.map_or(OperationState::Forgotten, over)
                }))
            }
        }
    }

    async fn fates(
        &self,
        operation: Option<&OperationRef>,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        self.calls(&creation.shape.shard(), "fates");
        self.find_fates(operation, creation).await
    }

    async fn list(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        self.calls_zone(project, zone, "list");
        self.page(project, zone, page.map(str::to_owned)).await
    }

    async fn get(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        self.calls_zone(project, zone, "get");
        self.read_instance(project, zone, name).await
    }

    // As the client: under an id derived from the name, and under a fresh one if that operation has failed.
    async fn delete(
        &self,
        shard: &Shard,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError> {
        self.calls(shard, "delete");
        let subject = format!("gust:delete:{}/{zone}/{name}", shard.project);
        let id = |subject: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, subject.as_bytes());
        let mut sent = self.send_delete(&shard.project, zone, name, id(&subject)).await?;
        if let Some(failed) = sent.as_ref().filter(|operation| !operation.errors.is_empty()) {
            let again = id(&format!("{subject}:{}", failed.name));
            sent = self.send_delete(&shard.project, zone, name, again).await?;
        }
        Ok(sent.map(|operation| OperationRef {
            shard: shard.clone(),
            zone: Some(zone.clone()),
            name: operation.name.to_string(),
        }))
    }

    async fn deleted(
        &self,
        project: &ProjectId,
        zone: &Zone,
        since: Timestamp,
    ) -> Result<Vec<MachineName>, CloudError> {
        self.calls_zone(project, zone, "deleted");
        let filter = format!("(operationType eq \"delete\") AND (creationTimestamp > \"{since}\")");
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let (project, zone, filter) = (project.clone(), zone.clone(), filter.clone());
            let after = token.take();
            let page = self.call(Point::CloudList, "zoneOperations.list", move |model, call| {
                let query = Query {
                    filter: Some(&filter),
                    page_token: after.as_deref(),
                    ..Query::default()
                };
                model.list_operations(call, project.as_str(), Place::Zone(zone.as_str()), query)
            });
            let page = page
                .await
                .map_err(|missed| missed.into_error("zoneOperations.list"))?;
            let ended = page
                .items
                .iter()
                .filter(|operation| operation.progress == Progress::Done && operation.errors.is_empty());
            names.extend(
                ended.filter_map(|operation| Some(MachineName::new(&*operation.target.as_ref()?.name))),
            );
            token = page.next;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    async fn quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        self.calls(shard, "quotas");
        let of = shard.clone();
        let region = self.call(Point::CloudQuotas, "regions.get", move |model, call| {
            model.region(call, of.project.as_str(), of.region.as_str())
        });
        let region = region.await.map_err(|missed| missed.into_error("regions.get"))?;
        let project = shard.project.clone();
        let wide = self.call(Point::CloudQuotas, "projects.get", move |model, call| {
            model.project(call, project.as_str())
        });
        let (_, wide) = wide.await.map_err(|missed| missed.into_error("projects.get"))?;
        let of = shard.clone();
        let subnet = self.call(Point::CloudQuotas, "subnetworks.get", move |model, call| {
            model.subnetwork(call, of.project.as_str(), of.region.as_str(), "default")
        });
        let subnet = subnet
            .await
            .map_err(|missed| missed.into_error("subnetworks.get"))?;
        let addresses = Quota {
            metric: SUBNET_ADDRESSES.to_owned(),
            limit: f64::from(subnet.allocated + subnet.free),
            usage: f64::from(subnet.allocated),
            project_wide: false,
        };
        let quota = |quota: gce::Quota, project_wide| Quota {
            metric: quota.metric,
            limit: quota.limit,
            usage: quota.usage as f64,
            project_wide,
        };
        let families = self.families.iter().map(|(family, limit)| Quota {
            metric: format!("CPUS_PER_VM_FAMILY:{family}"),
            limit: *limit,
            usage: 0.0,
            project_wide: false,
        });
        let own = region.quotas.into_iter().map(|known| quota(known, false));
        Ok(own
            .chain(wide.into_iter().map(|known| quota(known, true)))
            .chain(families)
            .chain([addresses])
            .collect())
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
        status: match found.status {
            gce::Status::Provisioning | gce::Status::Staging => InstanceStatus::Starting,
            gce::Status::Running => InstanceStatus::Running,
            gce::Status::Stopping => InstanceStatus::Stopping,
            gce::Status::Terminated => InstanceStatus::Stopped,
            gce::Status::Repairing => InstanceStatus::Other,
        },
        machine_type: found.shape.machine.name.to_string(),
        created_at: i64::try_from(found.created_ns / 1_000_000).ok().map(Timestamp),
    }
}
