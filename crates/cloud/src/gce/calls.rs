//! Google's calls that more than one part of the backend makes, and the names of all of them.

use google_cloud_compute_v1::model::Operation;
use gust_core::{
    ids::{MachineName, ProjectId, Zone},
    ports::{CloudError, InstancePage, OperationRef, TypePage},
    shape::STACK_LABEL,
};
use uuid::Uuid;

use super::{client::Missed, cloud::GceCloud, read};
use crate::layers::{Group, Method};

/// Pages of a list; Google's maximum.
const PAGE: u32 = 500;

const fn method(name: &'static str, group: Group) -> Method {
    Method {
        name,
        group,
        creates: false,
    }
}

const fn creates(name: &'static str) -> Method {
    Method {
        creates: true,
        ..method(name, Group::Write)
    }
}

pub(super) const BULK_INSERT: Method = creates("regionInstances.bulkInsert");
pub(super) const INSERT: Method = creates("instances.insert");
pub(super) const DELETE: Method = method("instances.delete", Group::Write);
pub(super) const GET: Method = method("instances.get", Group::Read);
pub(super) const LIST: Method = method("instances.list", Group::List);
pub(super) const MACHINE_TYPE_LIST: Method = method("machineTypes.list", Group::List);
pub(super) const REGION_OPERATION_GET: Method = method("regionOperations.get", Group::OperationRead);
pub(super) const REGION_OPERATION_WAIT: Method = method("regionOperations.wait", Group::HeavyRead);
pub(super) const ZONE_OPERATION_GET: Method = method("zoneOperations.get", Group::OperationRead);
pub(super) const ZONE_OPERATION_WAIT: Method = method("zoneOperations.wait", Group::HeavyRead);
pub(super) const ZONE_OPERATION_LIST: Method = method("zoneOperations.list", Group::List);
pub(super) const REGION_GET: Method = method("regions.get", Group::GlobalRead);
pub(super) const SUBNETWORK_GET: Method = method("subnetworks.get", Group::Read);
pub(super) const PROJECT_GET: Method = method("projects.get", Group::GlobalRead);

impl GceCloud {
    /// One page of instances of a zone, by any filter.
    pub(super) async fn page(
        &self,
        project: &ProjectId,
        zone: &Zone,
        filter: String,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        let call = self.client.instances.list().with_options(self.client.options());
        let call = call
            .set_project(project.as_str())
            .set_zone(zone.as_str())
            .set_filter(filter)
            .set_max_results(PAGE)
            .set_or_clear_page_token(page);
        let list = self
            .client
            .call(LIST, &zone.region(), move || call.clone().send())
            .await
            .map_err(|m| m.into_error(LIST))?;
        Ok(InstancePage {
            instances: list
                .items
                .iter()
                .filter_map(|item| read::instance(item, zone))
                .collect(),
            next: after(LIST, page, list.next_page_token)?,
        })
    }

    /// One page of a zone's machine types.
    pub(super) async fn type_page(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<TypePage, CloudError> {
        let call = self
            .client
            .machine_types
            .list()
            .with_options(self.client.options());
        let call = call
            .set_project(project.as_str())
            .set_zone(zone.as_str())
            .set_max_results(PAGE)
            .set_or_clear_page_token(page);
        let list = self
            .client
            .call(MACHINE_TYPE_LIST, &zone.region(), move || call.clone().send())
            .await
            .map_err(|m| m.into_error(MACHINE_TYPE_LIST))?;
        Ok(TypePage {
            names: list.items.into_iter().filter_map(|item| item.name).collect(),
            next: after(MACHINE_TYPE_LIST, page, list.next_page_token)?,
        })
    }

    /// The filter for our instances.
    pub(super) fn ours(&self) -> String {
        format!("labels.{STACK_LABEL} = \"{}\"", self.config.stack)
    }

    /// Reads an operation whole; `None` if Google no longer knows it.
    pub(super) async fn read_operation(
        &self,
        operation: &OperationRef,
    ) -> Result<Option<Operation>, CloudError> {
        let options = self.client.options();
        let (project, name) = (operation.shard.project.as_str(), operation.name.as_str());
        let at = &operation.shard.region;
        let reply = match &operation.zone {
            Some(zone) => {
                let call = self.client.zone_operations.get().with_options(options);
                let call = call
                    .set_project(project)
                    .set_zone(zone.as_str())
                    .set_operation(name);
                self.client
                    .call(ZONE_OPERATION_GET, at, move || call.clone().send())
                    .await
            }
            None => {
                let call = self.client.region_operations.get().with_options(options);
                let region = operation.shard.region.as_str();
                let call = call.set_project(project).set_region(region).set_operation(name);
                self.client
                    .call(REGION_OPERATION_GET, at, move || call.clone().send())
                    .await
            }
        };
        present(reply)
    }

    /// Has Google hold the reply until the operation is over, or for two minutes, or not at all: it promises
    /// none of these.
    pub(super) async fn await_operation(
        &self,
        operation: &OperationRef,
    ) -> Result<Option<Operation>, CloudError> {
        let options = self.client.wait_options();
        let (project, name) = (operation.shard.project.as_str(), operation.name.as_str());
        let at = &operation.shard.region;
        let reply = match &operation.zone {
            Some(zone) => {
                let call = self.client.zone_operations.wait().with_options(options);
                let call = call
                    .set_project(project)
                    .set_zone(zone.as_str())
                    .set_operation(name);
                self.client
                    .wait(ZONE_OPERATION_WAIT, at, move || call.clone().send())
                    .await
            }
            None => {
                let call = self.client.region_operations.wait().with_options(options);
                let region = operation.shard.region.as_str();
                let call = call.set_project(project).set_region(region).set_operation(name);
                self.client
                    .wait(REGION_OPERATION_WAIT, at, move || call.clone().send())
                    .await
            }
        };
        present(reply)
    }

    /// One page of a zone's operations.
    pub(super) async fn operations(
        &self,
        project: &ProjectId,
        zone: &Zone,
        filter: String,
        page: Option<&str>,
    ) -> Result<(Vec<Operation>, Option<String>), CloudError> {
        let call = self
            .client
            .zone_operations
            .list()
            .with_options(self.client.options());
        let call = call
            .set_project(project.as_str())
            .set_zone(zone.as_str())
            .set_filter(filter)
            .set_max_results(PAGE)
            .set_or_clear_page_token(page);
        let reply = self
            .client
            .call(ZONE_OPERATION_LIST, &zone.region(), move || call.clone().send())
            .await;
        let list = reply.map_err(|m| m.into_error(ZONE_OPERATION_LIST))?;
        Ok((
            list.items,
            after(ZONE_OPERATION_LIST, page, list.next_page_token)?,
        ))
    }

    pub(super) async fn send_delete(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
        request_id: Uuid,
    ) -> Result<Option<Operation>, CloudError> {
        let call = self.client.instances.delete().with_options(self.client.options());
        let call = call
            .set_project(project.as_str())
            .set_zone(zone.as_str())
            .set_instance(name.as_str())
            .set_request_id(request_id);
        present(
            self.client
                .call(DELETE, &zone.region(), move || call.clone().send())
                .await,
        )
    }
}

/// The token of the next page. One that leads back to this page would be followed for ever.
fn after(method: Method, page: Option<&str>, next: Option<String>) -> Result<Option<String>, CloudError> {
    let next = next.filter(|token| !token.is_empty());
    if next.is_some() && next.as_deref() == page {
        return Err(CloudError::Unclear {
            call: method.name,
            message: "the list does not get on: its next page is this one".to_owned(),
            source: None,
        });
    }
    Ok(next)
}

/// For calls to which absence is an answer.
pub(super) fn present<T>(reply: Result<T, Missed>) -> Result<Option<T>, CloudError> {
    match reply {
        Ok(found) => Ok(Some(found)),
        Err(Missed::Absent(_)) => Ok(None),
        Err(Missed::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_leads_back_to_itself_is_not_followed() {
        let next =
            |page, next: &str| after(LIST, page, Some(next.to_owned())).map_err(|error| error.to_string());
        assert_eq!(next(None, "b"), Ok(Some("b".to_owned())));
        assert_eq!(next(Some("b"), ""), Ok(None));
        assert!(next(Some("b"), "b").is_err());
    }
}
