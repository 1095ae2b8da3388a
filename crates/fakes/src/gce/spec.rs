//! What is asked for: the typed form of the bodies of `bulkInsert` and `insert`.
//!
//! Only shapes. Whether Google would take them is judged in `check`; how they are read from JSON is `wire`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

/// What every machine of one request has in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Machine type: a bare name (bulk), or a URL (insert).
    pub machine_type: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Metadata, in the order written.
    pub metadata: IndexMap<String, String>,
    /// Disks, the boot disk first.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub networks: Vec<Network>,
    /// Service account and its scopes.
    pub service_account: Option<(String, Vec<String>)>,
    /// Provisioning model, run time, what a stop does.
    pub scheduling: Scheduling,
    /// Network tags.
    pub tags: Vec<String>,
    /// `canIpForward`.
    pub forwards: bool,
    /// `deletionProtection` (insert): it cannot be deleted.
    pub is_protected: bool,
    /// Fields that the fake only shows again, such as `shieldedInstanceConfig`.
    pub echoed: Map<String, Value>,
}

impl Template {
    /// Whether it asks for a confidential machine.
    pub fn is_confidential(&self) -> bool {
        let config = self.echoed.get("confidentialInstanceConfig");
        config.is_some_and(|config| {
            config["enableConfidentialCompute"] == Value::Bool(true)
                || config.get("confidentialInstanceType").is_some()
        })
    }
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// Whether it is the boot disk.
    pub boot: bool,
    /// Whether it goes with the machine.
    pub auto_delete: bool,
    /// Whether it is a local SSD (`SCRATCH`).
    pub is_scratch: bool,
    /// Disk type: a bare name, or a URL in insert.
    pub disk_type: Option<String>,
    /// Size; the image's when none is given.
    pub size_gib: Option<u64>,
    /// Image: full or partial URL.
    pub source_image: Option<String>,
    /// `deviceName`.
    pub device_name: Option<String>,
    /// Name of the disk; the machine's when none is given.
    pub disk_name: Option<String>,
    /// `SCSI` or `NVME`.
    pub interface: Option<String>,
    /// Labels of the disk.
    pub labels: BTreeMap<String, String>,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// Network: full or partial URL.
    pub network: Option<String>,
    /// Subnetwork: full or partial URL.
    pub subnetwork: Option<String>,
    /// Whether it has an external address.
    pub is_external: bool,
    /// `GVNIC` or `VIRTIO_NET`.
    pub nic_type: Option<String>,
}

/// `scheduling`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scheduling {
    /// `STANDARD`, `SPOT` …
    pub provisioning_model: Option<String>,
    /// `STOP` or `DELETE`.
    pub termination_action: Option<String>,
    /// Longest run, seconds.
    pub max_run_s: Option<u64>,
    /// Whether Google starts it again after a host error.
    pub automatic_restart: Option<bool>,
    /// `MIGRATE` or `TERMINATE`.
    pub on_host_maintenance: Option<String>,
    /// The old form of Spot.
    pub preemptible: bool,
    /// Fields that are only shown again.
    pub echoed: Map<String, Value>,
}

impl Scheduling {
    /// Whether Google may take the machine back.
    pub fn is_spot(&self) -> bool {
        self.preemptible || self.provisioning_model.as_deref() == Some("SPOT")
    }

    /// `MIGRATE` or `TERMINATE`: what was said, or what holds where nothing was.
    pub fn maintenance(&self) -> &str {
        let default = if self.is_spot() { "TERMINATE" } else { "MIGRATE" };
        self.on_host_maintenance.as_deref().unwrap_or(default)
    }

    /// `SPOT` or `STANDARD`, for events.
    pub fn model(&self) -> &'static str {
        if self.is_spot() { "SPOT" } else { "STANDARD" }
    }

    /// Whether a preemption or the end of the run time deletes the machine (else it stops).
    pub fn deletes(&self) -> bool {
        self.termination_action.as_deref() == Some("DELETE")
    }

    /// Whether it comes back by itself after a host error.
    pub fn restarts(&self) -> bool {
        self.automatic_restart.unwrap_or(!self.is_spot())
    }
}

/// `bulkInsert`: many machines of one template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bulk {
    /// How many.
    pub count: u64,
    /// How many at least; all when none is given.
    pub min_count: Option<u64>,
    /// Their names.
    pub names: Names,
    /// What they have in common.
    pub template: Template,
    /// Where they may be (regional calls).
    pub policy: LocationPolicy,
    /// Several machine types in order of preference (regional calls).
    pub flexibility: Vec<Selection>,
}

/// How the machines of a bulk request are named.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Names {
    /// Not said: refused.
    #[default]
    Missing,
    /// Both ways at once: refused.
    Both,
    /// `perInstanceProperties`: name and hostname of each.
    Each(IndexMap<String, Option<String>>),
    /// `namePattern`.
    Pattern(String),
}

/// `locationPolicy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocationPolicy {
    /// By zone name: whether it is allowed, and how many machines at most.
    pub locations: BTreeMap<String, Location>,
    /// How they are spread.
    pub shape: TargetShape,
    /// Only these zones, if any are named.
    pub zones: Vec<String>,
}

/// What a location policy says of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// ALLOW (or nothing) against DENY.
    pub is_allowed: bool,
    /// `constraints.maxCount`.
    pub max_count: Option<u64>,
}

/// `targetShape`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetShape {
    /// All machines in one zone.
    #[default]
    AnySingleZone,
    /// Wherever there is room.
    Any,
    /// Spread evenly.
    Balanced,
}

/// One entry of `instanceFlexibilityPolicy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Lower is preferred.
    pub rank: i64,
    /// Bare names.
    pub machine_types: Vec<String>,
    /// Disks in place of the template's.
    pub disks: Option<Vec<Disk>>,
}

/// `insert`: one machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Single {
    /// Its name.
    pub name: String,
    /// Its hostname.
    pub hostname: Option<String>,
    /// What it is.
    pub template: Template,
}
