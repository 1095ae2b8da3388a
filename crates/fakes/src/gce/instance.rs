//! An instance: what it is, which state it is in, what runs on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::catalog::MachineType;
use super::plan::Boot;
use super::quota::Need;
use super::spec::Template;

/// `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Resources are allocated.
    Provisioning,
    /// Being prepared.
    Staging,
    /// Powered on.
    Running,
    /// Going down.
    Stopping,
    /// Down; disks stay.
    Terminated,
    /// Being restarted after a host error.
    Repairing,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Provisioning,
        Self::Staging,
        Self::Running,
        Self::Stopping,
        Self::Terminated,
        Self::Repairing,
    ];

    /// `PROVISIONING` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Staging => "STAGING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Terminated => "TERMINATED",
            Self::Repairing => "REPAIRING",
        }
    }
}

/// What runs on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Nothing: not up yet, or down.
    Off,
    /// The guest program.
    On,
    /// The guest program, stopped in its tracks.
    Frozen,
    /// Nothing any more, although the machine is powered on.
    Crashed,
}

impl Guest {
    /// The name in events: `off`, `on`, `frozen`, `crashed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Frozen => "frozen",
            Self::Crashed => "crashed",
        }
    }
}

/// What comes after STOPPING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// TERMINATED.
    Terminate,
    /// Gone.
    Delete,
}

/// What a template is once it is judged: everything the machines of one shape share.
#[derive(Debug, PartialEq)]
pub struct Shape {
    /// The machine type.
    pub machine: MachineType,
    /// The template; disks have a type and a size, names are short.
    pub template: Template,
    /// What one machine takes of each quota.
    pub needs: Vec<Need>,
    /// Price of one machine, disks included, USD per hour.
    pub price_usd_h: f64,
    /// GiB of persistent disks.
    pub disk_gib: u64,
    /// Local SSDs.
    pub local_ssds: u32,
}

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id, never used again.
    pub id: u64,
    /// Project, by index.
    pub(super) project: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Its zone.
    pub zone: Arc<str>,
    /// What it shares with the others of its request.
    pub shape: Arc<Shape>,
    /// Hostname, if one was given.
    pub hostname: Option<String>,
    /// Labels; the template's until they are set.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Changes with the labels.
    pub label_fingerprint: u64,
    /// Metadata; the template's until it is set.
    pub metadata: Arc<IndexMap<String, String>>,
    /// Changes with the metadata.
    pub metadata_fingerprint: u64,
    /// Its state.
    pub status: Status,
    /// When it came to be, nanoseconds since the Unix epoch.
    pub created_ns: i128,
    /// When it last became RUNNING.
    pub started_ns: Option<i128>,
    /// When it last began to stop.
    pub stopped_ns: Option<i128>,
    /// Internal address.
    pub address: u32,
    /// External address.
    pub external_address: Option<u32>,
    /// Whether Google has taken it back: `instance/preempted`.
    pub is_preempted: bool,
    /// Whether its host is about to be maintained: `instance/maintenance-event`.
    pub is_in_maintenance: bool,
    /// What runs on it.
    pub guest: Guest,
    /// How it boots.
    pub(super) boot: Boot,
    /// When its run time ends, since start.
    pub termination: Option<Duration>,
    /// Written by the guest: namespace and key.
    pub guest_attributes: BTreeMap<(String, String), String>,
    /// Counts turns of its life, so that what was due for an earlier turn can be told.
    pub(super) turn: u32,
    pub(super) after: After,
    /// The operation that ends when it is up, down or gone.
    pub(super) operation: Option<u64>,
    /// The operation that made it, and the request id of that call.
    pub made_by: Arc<str>,
    /// The request id of the call that asked for it.
    pub request_id: Option<Arc<str>>,
    /// Whether its vCPUs count: not once it is TERMINATED.
    pub(super) holds_cpus: bool,
    /// Whether a delete of it was accepted.
    pub(super) is_doomed: bool,
    /// The bulk insert that takes it back.
    pub(super) rollback_of: Option<u64>,
    /// Past states, for lists that lag.
    pub(super) history: Vec<(Duration, Status)>,
}

impl Instance {
    /// Its state as it was at that moment, `None` before it came to be.
    pub fn status_at(&self, then: Duration) -> Option<Status> {
        self.history
            .iter()
            .rev()
            .find(|(at, _)| *at <= then)
            .map(|(_, status)| *status)
    }

    /// `instance/maintenance-event` of the metadata server.
    pub fn maintenance_event(&self) -> &'static str {
        match (
            self.is_in_maintenance,
            self.shape.template.scheduling.maintenance(),
        ) {
            (false, _) => "NONE",
            (true, "TERMINATE") => "TERMINATE_ON_HOST_MAINTENANCE",
            (true, _) => "MIGRATE_ON_HOST_MAINTENANCE",
        }
    }

    /// Its region.
    pub fn region(&self) -> &str {
        super::catalog::region_of(&self.zone)
    }
}
