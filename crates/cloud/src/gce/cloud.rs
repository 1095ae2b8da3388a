//! The backend itself: each method of [`Cloud`] as one of Google's calls.

use std::time::Duration;

use async_trait::async_trait;
use google_cloud_compute_v1::model::Operation;
use gust_core::{
    ids::{MachineName, ProjectId, Shard, Zone},
    ports::{
        Cloud, CloudError, Creation, Instance, InstancePage, MemberFate, OperationRef, OperationState, Quota,
        RefusalClass, TypePage,
    },
    records::Call,
    time::Timestamp,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    body::{bulk_body, insert_body},
    calls::{BULK_INSERT, DELETE, GET, INSERT, present},
    client::Client,
    config::{ConfigError, GceConfig},
    fates, keys, read,
};
use crate::layers::Method;

/// Least time between two waits on one operation: Google may answer a wait at once.
const WAIT_GAP: Duration = Duration::from_secs(1);

/// Google Compute Engine as a backend.
///
/// # Guarantees
/// A creation is sent under the record's own request id, so a repeat is the same operation. A refusal is
/// reported as one only where Google said so; whatever else went wrong is unclear.
#[derive(Clone, Debug)]
pub struct GceCloud {
    pub(super) client: Client,
    pub(super) config: GceConfig,
    keys: keys::Keys,
}

impl GceCloud {
    /// Sets up Google's client. Makes no call to GCE.
    ///
    /// # Errors
    /// [`ConfigError`] if an address cannot be used or there are no credentials.
    pub async fn connect(config: GceConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let keys = keys::Keys::new(&config.jwks_url, &config.user_agent, config.timeouts.attempt)?;
        let client = Client::connect(&config).await?;
        Ok(Self { client, config, keys })
    }
}

#[async_trait]
impl Cloud for GceCloud {
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError> {
        let shard = creation.shape.shard();
        let options = self.client.options();
        let (project, request_id) = (shard.project.as_str(), creation.request_id.to_string());
        let (method, zone, reply) = match &creation.call {
            Call::Bulk => {
                let call = self.client.region_instances.bulk_insert().with_options(options);
                let call = call
                    .set_project(project)
                    .set_region(shard.region.as_str())
                    .set_request_id(request_id)
                    .set_body(bulk_body(creation));
                (
                    BULK_INSERT,
                    None,
                    self.client
                        .call(BULK_INSERT, &shard.region, move || call.clone().send())
                        .await,
                )
            }
            Call::Insert { zone } => {
                let call = self.client.instances.insert().with_options(options);
                let call = call
                    .set_project(project)
                    .set_zone(zone.as_str())
                    .set_request_id(request_id)
                    .set_body(insert_body(creation, only(creation)?, zone));
                (
                    INSERT,
                    Some(zone.clone()),
                    self.client
                        .call(INSERT, &shard.region, move || call.clone().send())
                        .await,
                )
            }
        };
        let operation = reply.map_err(|m| m.into_error(method))?;
        reference(method, shard, zone, operation)
    }

    async fn operation(
        &self,
        operation: &OperationRef,
        patience: Duration,
    ) -> Result<OperationState, CloudError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let seen = if left < WAIT_GAP {
                self.read_operation(operation).await?
            } else {
                match tokio::time::timeout(left, self.await_operation(operation)).await {
                    Ok(seen) => seen?,
                    Err(_) => return Ok(OperationState::Running),
                }
            };
            let state = seen
                .as_ref()
                .map_or(OperationState::Forgotten, read::operation_state);
            if state != OperationState::Running || left < WAIT_GAP {
                return Ok(state);
            }
            tokio::time::sleep(WAIT_GAP).await;
        }
    }

    async fn fates(
        &self,
        operation: Option<&OperationRef>,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        fates::find(self, operation, creation).await
    }

    async fn list(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError> {
        self.page(project, zone, self.ours(), page).await
    }

    async fn get(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError> {
        let call = self.client.instances.get().with_options(self.client.options());
        let call = call
            .set_project(project.as_str())
            .set_zone(zone.as_str())
            .set_instance(name.as_str());
        let Some(resource) = present(
            self.client
                .call(GET, &zone.region(), move || call.clone().send())
                .await,
        )?
        else {
            return Ok(None);
        };
        match read::instance(&resource, zone) {
            Some(instance) => Ok(Some(instance)),
            None => Err(nameless(GET, "instance")),
        }
    }

    /// The request id is derived from the name, so that two replicas that delete the same machine start one
    /// operation. An operation that has failed is not repeated under its id, so then a fresh one is derived.
    async fn delete(
        &self,
        shard: &Shard,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError> {
        let subject = format!("gust:delete:{}/{zone}/{name}", shard.project);
        let request_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, subject.as_bytes());
        let mut reply = self.send_delete(&shard.project, zone, name, request_id).await?;
        if let Some(failed) = reply.as_ref().filter(|o| read::is_done(o) && read::is_failed(o)) {
            let subject = format!("{subject}:{}", failed.name.as_deref().unwrap_or_default());
            let request_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, subject.as_bytes());
            reply = self.send_delete(&shard.project, zone, name, request_id).await?;
        }
        reply
            .map(|operation| reference(DELETE, shard.clone(), Some(zone.clone()), operation))
            .transpose()
    }

    async fn deleted(
        &self,
        project: &ProjectId,
        zone: &Zone,
        since: Timestamp,
    ) -> Result<Vec<MachineName>, CloudError> {
        let filter = format!("(operationType eq \"delete\") AND (creationTimestamp > \"{since}\")");
        let mut names = Vec::new();
        let mut page: Option<String> = None;
        loop {
            let (operations, next) = self
                .operations(project, zone, filter.clone(), page.as_deref())
                .await?;
            let ended = operations
                .iter()
                .filter(|operation| read::is_done(operation) && !read::is_failed(operation))
                .filter_map(|operation| operation.target_link.as_deref());
            names.extend(ended.map(|target| MachineName::new(read::last_part(target))));
            page = next;
            if page.is_none() {
                return Ok(names);
            }
        }
    }

    async fn quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError> {
        self.read_quotas(shard).await
    }

    async fn machine_types(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<Option<TypePage>, CloudError> {
        self.type_page(project, zone, page).await.map(Some)
    }

    fn begin(&self, shard: &Shard) {
        self.client.begin(&shard.region);
    }

    async fn identity_keys(&self) -> Result<String, CloudError> {
        self.keys.fetch().await
    }
}

/// The one machine of an insert.
fn only(creation: &Creation) -> Result<&MachineName, CloudError> {
    match creation.names.as_slice() {
        [name] => Ok(name),
        names => Err(CloudError::Refused {
            call: INSERT.name,
            class: RefusalClass::Broken,
            message: format!("makes one machine, but the record names {}", names.len()),
        }),
    }
}

fn reference(
    method: Method,
    shard: Shard,
    zone: Option<Zone>,
    operation: Operation,
) -> Result<OperationRef, CloudError> {
    match operation.name {
        Some(name) if !name.is_empty() => Ok(OperationRef { shard, zone, name }),
        _ => Err(nameless(method, "operation")),
    }
}

fn nameless(method: Method, what: &str) -> CloudError {
    let message = format!("the reply names no {what}");
    CloudError::Unclear {
        call: method.name,
        message,
        source: None,
    }
}
