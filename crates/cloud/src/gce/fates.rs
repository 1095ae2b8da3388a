//! What became of each machine of a batch whose operation is over.
//!
//! Google's bulk operation tells counts for each zone, not names. So the machines are listed, and only where
//! some are missing is more read: the single insert operations behind the batch say why, and a read of the
//! very name settles what a lagging list leaves open. A machine is called refused only once every zone that
//! could hold it has been accounted for; anything else would leak it.

use std::collections::{BTreeMap, BTreeSet};

use google_cloud_compute_v1::model::Operation;
use gust_core::{
    ids::{MachineName, MachineTypeName, Zone},
    ports::{Cloud as _, CloudError, Creation, Instance, MemberFate, OperationRef, RefusalClass},
    records::Call,
    shape::{BATCH_LABEL, ProvisioningModel},
    time::Timestamp,
};

use super::{
    classify::{faults_of, judge_faults},
    cloud::GceCloud,
    read,
};

/// Up to so many names are asked for by name; more are found by the batch's label.
const BY_NAME: usize = 40;

/// How far around the operation's begin its single operations are looked for, in seconds: clocks of the
/// zones differ a little.
const SLACK_S: u64 = 60;

/// The fates of all machines of a creation, in the order of its names.
pub(super) async fn find(
    cloud: &GceCloud,
    reference: Option<&OperationRef>,
    creation: &Creation,
) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
    let mut operation = None;
    if let Some(reference) = reference {
        operation = cloud.read_operation(reference).await?;
        if operation.as_ref().is_some_and(|o| !read::is_done(o)) {
            return Err(CloudError::Unclear {
                call: "fates",
                message: format!("{} is not over yet", reference.name),
                source: None,
            });
        }
    }
    let mut search = Search::new(cloud, creation, operation);
    search.list().await?;
    if !search.missing().is_empty() {
        search.read_causes().await?;
        search.confirm().await?;
    }
    Ok(search.verdicts())
}

/// What the single operation of a machine says.
#[derive(Clone, Debug)]
enum Single {
    Failed(RefusalClass, String),
    Succeeded(Zone),
}

struct Search<'a> {
    cloud: &'a GceCloud,
    creation: &'a Creation,
    wanted: BTreeSet<&'a MachineName>,
    operation: Option<Operation>,
    /// Zones that may hold machines of the batch, and how many each holds by the operation's own account.
    zones: BTreeMap<Zone, Option<usize>>,
    found: BTreeMap<MachineName, Instance>,
    singles: BTreeMap<MachineName, Single>,
}

impl<'a> Search<'a> {
    fn new(cloud: &'a GceCloud, creation: &'a Creation, operation: Option<Operation>) -> Self {
        let allowed = match &creation.call {
            Call::Bulk => creation.shape.zones.clone(),
            Call::Insert { zone } => vec![zone.clone()],
        };
        let mut zones: BTreeMap<Zone, Option<usize>> = allowed.into_iter().map(|z| (z, None)).collect();
        // A zone that the account leaves out holds none; an account without zones accounts for nothing.
        if let Some(account) = operation
            .as_ref()
            .and_then(read::created_in)
            .filter(|a| !a.is_empty())
        {
            zones.values_mut().for_each(|expected| *expected = Some(0));
            zones.extend(account.into_iter().map(|(zone, created)| (zone, Some(created))));
        }
        Self {
            cloud,
            creation,
            wanted: creation.names.iter().collect(),
            operation,
            zones,
            found: BTreeMap::new(),
            singles: BTreeMap::new(),
        }
    }

    fn is_spot(&self) -> bool {
        self.creation.shape.model == ProvisioningModel::Spot
    }

    fn missing(&self) -> Vec<MachineName> {
        self.creation
            .names
            .iter()
            .filter(|name| !self.found.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Lists the zones that hold machines of the batch.
    async fn list(&mut self) -> Result<(), CloudError> {
        let filter = self.filter();
        let zones: Vec<_> = self
            .zones
            .iter()
            .filter(|(_, n)| **n != Some(0))
            .map(|(zone, _)| zone.clone())
            .collect();
        for zone in zones {
            let mut page: Option<String> = None;
            loop {
                let project = &self.creation.shape.project;
                let batch = self
                    .cloud
                    .page(project, &zone, filter.clone(), page.as_deref())
                    .await?;
                for instance in batch.instances {
                    if self.wanted.contains(&instance.name) {
                        self.found.insert(instance.name.clone(), instance);
                    }
                }
                page = batch.next;
                if page.is_none() || self.missing().is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn filter(&self) -> String {
        if self.creation.names.len() > BY_NAME {
            // Batches of before there was the label are found among all of ours.
            let batch = self.creation.shape.labels.get(BATCH_LABEL);
            return batch.map_or_else(
                || self.cloud.ours(),
                |id| format!("labels.{BATCH_LABEL} = \"{id}\""),
            );
        }
        let names: Vec<_> = self
            .creation
            .names
            .iter()
            .map(|n| format!("(name = \"{n}\")"))
            .collect();
        names.join(" OR ")
    }

    /// Reads the single insert operations of the missing machines: by an indexed filter, since a filter on
    /// the group itself is charged for everything it leaves out.
    async fn read_causes(&mut self) -> Result<(), CloudError> {
        // An insert is its own single operation.
        let (Call::Bulk, Some(operation)) = (&self.creation.call, &self.operation) else {
            return Ok(());
        };
        let Some(group) = operation.operation_group_id.clone() else {
            return Ok(());
        };
        let filter = single_operations(operation);
        let zones: Vec<_> = self.zones.keys().cloned().collect();
        let project = self.creation.shape.project.clone();
        for zone in zones {
            let mut page: Option<String> = None;
            loop {
                let (batch, next) = self
                    .cloud
                    .operations(&project, &zone, filter.clone(), page.as_deref())
                    .await?;
                let ours = batch
                    .iter()
                    .filter(|o| o.operation_group_id.as_ref() == Some(&group));
                for single in ours {
                    self.note(single, &zone);
                }
                page = next;
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, single: &Operation, zone: &Zone) {
        let Some(target) = single.target_link.as_deref() else {
            return;
        };
        let name = MachineName::new(read::last_part(target));
        let says = if read::is_failed(single) {
            let class = judge_faults(&faults_of(single), read::http_status(single), self.is_spot());
            Single::Failed(class, read::words(single))
        } else {
            Single::Succeeded(zone.clone())
        };
        // Google may try one name in several zones: one success outweighs any number of failures.
        if !matches!(self.singles.get(&name), Some(Single::Succeeded(_))) {
            self.singles.insert(name, says);
        }
    }

    /// Reads missing machines one by one wherever one could still be: in zones whose account shows more than
    /// were found, and in all zones where there is no account.
    async fn confirm(&mut self) -> Result<(), CloudError> {
        for name in self.missing() {
            for zone in self.open_zones(&name) {
                let project = &self.creation.shape.project;
                if let Some(instance) = self.cloud.get(project, &zone, &name).await? {
                    self.found.insert(name.clone(), instance);
                    break;
                }
            }
        }
        Ok(())
    }

    fn open_zones(&self, name: &MachineName) -> Vec<Zone> {
        let single = self.singles.get(name);
        if let Some(Single::Succeeded(zone)) = single {
            return vec![zone.clone()];
        }
        let exists = matches!(single, Some(Single::Failed(RefusalClass::Exists, _)));
        let here = |zone: &Zone| self.found.values().filter(|i| i.zone == *zone).count();
        self.zones
            .iter()
            // A name that was taken belongs to a machine which this operation's account does not show.
            .filter(|(zone, expected)| exists || expected.is_none_or(|expected| expected > here(zone)))
            .map(|(zone, _)| zone.clone())
            .collect()
    }

    fn verdicts(self) -> Vec<(MachineName, MemberFate)> {
        let fate = |name: &MachineName| match self.found.get(name) {
            Some(instance) => MemberFate::Created {
                zone: instance.zone.clone(),
                instance_id: Some(instance.id),
                machine_type: Some(&instance.machine_type)
                    .filter(|name| !name.is_empty())
                    .map(|name| MachineTypeName::new(name.as_str())),
            },
            None => {
                let (class, message) = self.cause(name);
                MemberFate::Refused { class, message }
            }
        };
        self.creation
            .names
            .iter()
            .map(|name| (name.clone(), fate(name)))
            .collect()
    }

    /// Why a machine is missing: its single operation's words, else the batch's.
    fn cause(&self, name: &MachineName) -> (RefusalClass, String) {
        match (self.singles.get(name), &self.operation) {
            (Some(Single::Failed(class, message)), _) => (class.clone(), message.clone()),
            (Some(Single::Succeeded(_)), _) => read::vanished(self.is_spot()),
            (None, Some(operation)) if read::is_failed(operation) => {
                let class = judge_faults(
                    &faults_of(operation),
                    read::http_status(operation),
                    self.is_spot(),
                );
                (class, read::words(operation))
            }
            (None, Some(_)) if matches!(self.creation.call, Call::Insert { .. }) => {
                read::vanished(self.is_spot())
            }
            (None, Some(_)) => (
                RefusalClass::Internal,
                "it was not created, and Google does not say why".to_owned(),
            ),
            (None, None) => {
                let message = "it does not exist, and Google no longer knows the operation";
                (RefusalClass::Internal, message.to_owned())
            }
        }
    }
}

/// The filter for the insert operations of a zone around the time of a batch.
fn single_operations(batch: &Operation) -> String {
    let mut filter = "(operationType eq \"insert\")".to_owned();
    let begun = batch.insert_time.as_deref().and_then(Timestamp::parse_rfc3339);
    if let Some(begun) = begun {
        let from = Timestamp(begun.0.saturating_sub(i64::try_from(SLACK_S * 1000).unwrap_or(0)));
        filter.push_str(&format!(" AND (creationTimestamp > \"{from}\")"));
    }
    let over = batch.end_time.as_deref().and_then(Timestamp::parse_rfc3339);
    if let Some(over) = over {
        let until = over.after(std::time::Duration::from_secs(SLACK_S));
        filter.push_str(&format!(" AND (creationTimestamp < \"{until}\")"));
    }
    filter
}
