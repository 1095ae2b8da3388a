//! What became of each machine of a batch whose operation is over: lists first, then the single operations
//! behind the batch, then reads of the very names that are still missing.

use std::collections::BTreeMap;

use gust_core::{
    ids::{MachineName, MachineTypeName, Zone},
    ports::{CloudError, Creation, Instance, MemberFate, OperationRef, RefusalClass},
    records::Call as CreateCall,
    shape::ProvisioningModel,
};
use gust_fakes::gce::{Operation, Place, Progress, Query};

use super::{
    super::net::Point,
    VirtualCloud,
    class::{judged, present, unclear},
};

impl VirtualCloud {
    pub(super) async fn find_fates(
        &self,
        reference: Option<&OperationRef>,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        let mut operation = None;
        if let Some(reference) = reference {
            operation = self.read(Point::CloudFates, reference).await?;
            if operation
                .as_ref()
                .is_some_and(|operation| operation.progress != Progress::Done)
            {
                return Err(unclear("fates", format!("{} is not over yet", reference.name)));
            }
        }
        let zones: Vec<Zone> = match &creation.call {
            CreateCall::Bulk => creation.shape.zones.clone(),
            CreateCall::Insert { zone } => vec![zone.clone()],
        };
        let mut found = self.listed(creation, &zones).await?;
        let missing = |found: &BTreeMap<MachineName, MemberFate>| -> Vec<MachineName> {
            let names = creation.names.iter().filter(|name| !found.contains_key(*name));
            names.cloned().collect()
        };
        if missing(&found).is_empty() {
            return Ok(in_order(creation, found));
        }
        let causes = match (&creation.call, &operation) {
            (CreateCall::Bulk, Some(operation)) => self.causes(creation, &zones, operation).await?,
            _ => BTreeMap::new(),
        };
        // A list lags; a read of the very name does not.
        for name in missing(&found) {
            for zone in &zones {
                let project = &creation.shape.project;
                if let Some(instance) = self.read_instance(project, zone, &name).await? {
                    found.insert(name.clone(), created(instance));
                    break;
                }
            }
        }
        let spot = creation.shape.model == ProvisioningModel::Spot;
        let vanished = match spot {
            true => (RefusalClass::Preempted, "created, and gone again".to_owned()),
            false => (
                RefusalClass::Internal,
                "not there, for no stated cause".to_owned(),
            ),
        };
        for name in missing(&found) {
            let (class, message) = match (causes.get(&name), &operation) {
                (Some(single), _) if !single.errors.is_empty() => judged(&single.errors, spot),
                (_, Some(operation)) if !operation.errors.is_empty() => judged(&operation.errors, spot),
                _ => vanished.clone(),
            };
            found.insert(name, MemberFate::Refused { class, message });
        }
        Ok(in_order(creation, found))
    }

    async fn listed(
        &self,
        creation: &Creation,
        zones: &[Zone],
    ) -> Result<BTreeMap<MachineName, MemberFate>, CloudError> {
        let mut found = BTreeMap::new();
        for zone in zones {
            let mut page: Option<String> = None;
            loop {
                let answer = self.page(&creation.shape.project, zone, page.take()).await?;
                let ours = answer
                    .instances
                    .into_iter()
                    .filter(|found| creation.names.contains(&found.name));
                found.extend(ours.map(|instance| (instance.name.clone(), created(instance))));
                if answer.next.is_none() || found.len() == creation.names.len() {
                    break;
                }
                page = answer.next;
            }
            if found.len() == creation.names.len() {
                break;
            }
        }
        Ok(found)
    }

    /// The single insert operations of a bulk insert's machines, by name.
    async fn causes(
        &self,
        creation: &Creation,
        zones: &[Zone],
        bulk: &Operation,
    ) -> Result<BTreeMap<MachineName, Operation>, CloudError> {
        let mut causes = BTreeMap::new();
        let Some(group) = &bulk.group else {
            return Ok(causes);
        };
        for zone in zones {
            let (project, place) = (creation.shape.project.to_string(), zone.to_string());
            let filter = format!("operationGroupId = \"{group}\"");
            let mut token: Option<String> = None;
            loop {
                let (project, place, filter) = (project.clone(), place.clone(), filter.clone());
                let after = token.take();
                let answer = self.call(Point::CloudFates, "zoneOperations.list", move |model, call| {
                    let query = Query {
                        filter: Some(&filter),
                        page_token: after.as_deref(),
                        ..Query::default()
                    };
                    model.list_operations(call, &project, Place::Zone(&place), query)
                });
                let Some(page) = present(answer.await)? else { break };
                for single in page.items {
                    if let Some(target) = &single.target {
                        causes.insert(MachineName::new(&*target.name), single);
                    }
                }
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(causes)
    }
}

fn in_order(
    creation: &Creation,
    mut found: BTreeMap<MachineName, MemberFate>,
) -> Vec<(MachineName, MemberFate)> {
    creation
        .names
        .iter()
        .filter_map(|name| found.remove_entry(name))
        .collect()
}

fn created(instance: Instance) -> MemberFate {
    MemberFate::Created {
        zone: instance.zone,
        instance_id: Some(instance.id),
        machine_type: Some(MachineTypeName::new(instance.machine_type)),
    }
}
