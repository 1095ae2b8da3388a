//! Where machines come from.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{BatchId, MachineName, MachineTypeName, ProjectId, Shard, Zone},
    records::{BatchRecord, Call},
    shape::Shape,
    time::Timestamp,
};

/// What is asked of the cloud: exactly what the batch record holds, no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Request id of the call.
    pub request_id: BatchId,
    /// Which call.
    pub call: Call,
    /// What all machines have in common.
    pub shape: Shape,
    /// Their names.
    pub names: Vec<MachineName>,
}

impl From<&BatchRecord> for Creation {
    fn from(batch: &BatchRecord) -> Self {
        Self {
            request_id: batch.id,
            call: batch.call.clone(),
            shape: batch.shape.clone(),
            names: batch.members.iter().map(|m| m.name.clone()).collect(),
        }
    }
}

/// A long-running operation at the cloud.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationRef {
    /// The shard it runs in.
    pub shard: Shard,
    /// The zone, where it is a zonal operation.
    pub zone: Option<Zone>,
    /// Its name.
    pub name: String,
}

/// What is known of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Still going on.
    Running,
    /// Over; every machine asked for was created (or the operation was of another kind and succeeded).
    Succeeded,
    /// Over; some or all machines were not created. The fates of single machines come from
    /// [`Cloud::fates`]; `class` and `message` are the operation's own.
    Failed {
        /// The most specific class among the operation's errors.
        class: RefusalClass,
        /// The errors, codes first, in one line.
        message: String,
    },
    /// The cloud no longer knows it.
    Forgotten,
}

/// What became of one machine of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberFate {
    /// It exists.
    Created {
        /// Where.
        zone: Zone,
        /// Google's id of it.
        instance_id: Option<u64>,
        /// Its type; that of the shape where nobody looked.
        machine_type: Option<MachineTypeName>,
    },
    /// It was not created and will not be.
    Refused {
        /// Why, by remedy.
        class: RefusalClass,
        /// The cloud's words.
        message: String,
    },
}

/// Why the cloud did not create a machine, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum RefusalClass {
    /// A resource quota is used up. Elsewhere, or later.
    Quota {
        /// The metric, as in `regions.get` or `quotaInfo`.
        metric: String,
        /// The limit, where it was told.
        limit: Option<u64>,
    },
    /// The zone has no such machines at present. Elsewhere, or later.
    Stockout {
        /// The zone, where it was told.
        zone: Option<Zone>,
    },
    /// Too many calls, or too many operations at a time. Later.
    Rate,
    /// Addresses of the subnet are used up. Elsewhere, or later.
    Addresses,
    /// Reclaimed while it was being created.
    Preempted,
    /// A name was taken. Ours if our record says so.
    Exists,
    /// Not permitted: a person must act.
    Denied,
    /// The request is malformed, or names something that does not exist: ours, or the operator's, to fix.
    Broken,
    /// The cloud failed.
    Internal,
}

impl RefusalClass {
    /// The word used in logs, metrics and reasons.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Quota { .. } => "quota",
            Self::Stockout { .. } => "stockout",
            Self::Rate => "rate",
            Self::Addresses => "addresses",
            Self::Preempted => "preempted",
            Self::Exists => "exists",
            Self::Denied => "denied",
            Self::Broken => "broken",
            Self::Internal => "internal",
        }
    }

    /// True if trying again, later or elsewhere, can succeed without a person's help.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Denied | Self::Broken)
    }
}

/// A call to the cloud that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// Refused before anything happened.
    #[error("{call} refused ({}): {message}", class.as_str())]
    Refused {
        /// Which call, such as `regionInstances.bulkInsert`.
        call: &'static str,
        /// Why, by remedy.
        class: RefusalClass,
        /// The cloud's words.
        message: String,
    },
    /// Whether it had its effect is unknown: a time-out, a broken connection, a 5xx.
    #[error("{call} has an unknown outcome: {message}")]
    Unclear {
        /// Which call.
        call: &'static str,
        /// What was seen.
        message: String,
        /// The cause below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// The state of an instance, as far as gust tells states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// Being made: pending, provisioning or staging.
    Starting,
    /// Powered on.
    Running,
    /// On its way to stopped or deleted.
    Stopping,
    /// Powered off, with disks that still cost.
    Stopped,
    /// A state this version does not know.
    Other,
}

/// One instance, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: MachineName,
    /// Google's id.
    pub id: u64,
    /// Where it is.
    pub zone: Zone,
    /// Its state.
    pub status: InstanceStatus,
    /// Bare machine type.
    pub machine_type: String,
    /// When it was created.
    pub created_at: Option<Timestamp>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// Instances of this page.
    pub instances: Vec<Instance>,
    /// The next page's token.
    pub next: Option<String>,
}

/// One page of the machine types that a zone has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypePage {
    /// Their names.
    pub names: Vec<String>,
    /// The next page's token.
    pub next: Option<String>,
}

/// One resource quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// Metric such as `N2D_CPUS`.
    pub metric: String,
    /// The limit.
    pub limit: f64,
    /// Google's idea of the usage, which lags.
    pub usage: f64,
    /// True where the limit spans all regions of the project.
    pub project_wide: bool,
}

/// A backend, as a worker sees it.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Asks for the machines of a batch. A repeat with the same request id returns the same operation.
    async fn create(&self, creation: &Creation) -> Result<OperationRef, CloudError>;

    /// Reads an operation, waiting up to `patience` for its end where the cloud supports that.
    async fn operation(
        &self,
        operation: &OperationRef,
        patience: Duration,
    ) -> Result<OperationState, CloudError>;

    /// The fates of a finished creation's machines, one for each name, by reading the instances and, where
    /// something is missing, the single operations behind the batch. Without an operation the creation was asked
    /// for so long ago that nothing of it can be under way.
    async fn fates(
        &self,
        operation: Option<&OperationRef>,
        creation: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError>;

    /// One page of our instances (by the stack's label) in a zone.
    async fn list(
        &self,
        project: &ProjectId,
        zone: &Zone,
        page: Option<&str>,
    ) -> Result<InstancePage, CloudError>;

    /// Reads one instance; `None` if it does not exist. Unlike a list, this does not lag.
    async fn get(
        &self,
        project: &ProjectId,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<Instance>, CloudError>;

    /// Asks for a deletion. `None` if there is no such instance.
    async fn delete(
        &self,
        shard: &Shard,
        zone: &Zone,
        name: &MachineName,
    ) -> Result<Option<OperationRef>, CloudError>;

    /// Machines of a zone whose deletions were asked for after `since` and have ended well, as the cloud's list of
    /// operations tells. It tells so with a few calls however many machines there are; a cloud that cannot tell knows of
    /// none.
    async fn deleted(
        &self,
        _project: &ProjectId,
        _zone: &Zone,
        _since: Timestamp,
    ) -> Result<Vec<MachineName>, CloudError> {
        Ok(Vec::new())
    }

    /// Resource quotas of a region, with those of the project marked.
    async fn quotas(&self, shard: &Shard) -> Result<Vec<Quota>, CloudError>;

    /// One page of the predefined machine types that a zone has. `None` from a cloud that cannot say: what the catalog
    /// says stays in force.
    async fn machine_types(
        &self,
        _project: &ProjectId,
        _zone: &Zone,
        _page: Option<&str>,
    ) -> Result<Option<TypePage>, CloudError> {
        Ok(None)
    }

    /// A shard is ours from now on, and another may have called there until now: what it may have spent of this minute's
    /// calls counts as spent.
    fn begin(&self, _shard: &Shard) {}

    /// The keys that sign identity tokens, as a JWKS document.
    async fn identity_keys(&self) -> Result<String, CloudError>;
}
