//! Why a job waits: data, rendered in one place, so that Buildkite, the command line, the admin API and the
//! dashboard say the same words.

mod text;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{MachineName, MachineTypeName, ProjectId, QueueKey, Region},
    quota::Metric,
    shape::{Price, ProvisioningModel},
};

/// The one true reason why a job waits at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A machine is being made for it.
    Creating(Arc<Placement>),
    /// Its machine exists and boots.
    Booting {
        /// That machine.
        machine: MachineName,
        /// What and where.
        placement: Arc<Placement>,
    },
    /// A resource quota is used up.
    Quota {
        /// Which, where, how much.
        shortage: Arc<Shortage>,
        /// Place in the line for it, from 1.
        line: u32,
        /// About how many minutes until it is this job's turn, at the pace of the last ten; absent while that is not
        /// known.
        about: Option<u32>,
    },
    /// A cap of the operator's is reached.
    Capped {
        /// Which, and how far.
        cap: Arc<CapReason>,
        /// Place in the line, from 1.
        line: u32,
    },
    /// The cloud has no such machines at present (or refused for a cause that passes); tried again in a while.
    Held {
        /// What was tried and how it was refused.
        hold: Arc<HoldReason>,
        /// Place in the line, from 1.
        line: u32,
    },
    /// All bulk operations that Google allows at a time are running.
    Slot {
        /// The project.
        project: ProjectId,
        /// Its limit.
        slots: u32,
    },
    /// The operator has taken all places that could run it out of service.
    Cordoned,
    /// The operator lets no machines be made at present.
    Stopped {
        /// Why, in the operator's words; may be empty.
        note: String,
    },
    /// No replica looks after the best place for it at present; one takes over.
    Unowned(Region),
    /// Its queue is paused in Buildkite.
    Paused(QueueKey),
    /// Buildkite itself holds it back.
    HeldByBuildkite(String),
    /// A machine that was given the job is being removed; the next one is made when it is gone.
    Replacing(MachineName),
}

/// What a machine is and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Machine type.
    pub machine_type: MachineTypeName,
    /// On demand or Spot.
    pub model: ProvisioningModel,
    /// Region.
    pub region: Region,
    /// Price per hour.
    pub price: Price,
}

/// A quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The metric.
    pub metric: Metric,
    /// Where; absent for a project-wide one.
    pub region: Option<Region>,
    /// What counts as used, ours and others'.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// What one machine of the job needs.
    pub needed: u64,
    /// Google refuses more than is used, whatever the limit says.
    pub refused: bool,
    /// Free, and kept for jobs ahead that have waited long.
    pub kept: u64,
}

/// A cap that leaves no room for one machine more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapReason {
    /// Its name.
    pub name: String,
    /// What is used up of it.
    pub what: Capped,
}

/// What a cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capped {
    /// vCPUs at a time.
    Vcpus {
        /// In use or asked for.
        used: u64,
        /// The cap.
        limit: u64,
        /// What the job needs.
        needed: u64,
    },
    /// Millionths of a dollar a day.
    Dollars {
        /// Spent today, with what is expected of machines that are there.
        used: u64,
        /// The cap.
        limit: u64,
        /// What the job is expected to cost.
        needed: u64,
    },
}

/// A refusal that is remembered for a while.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldReason {
    /// Machine type that was refused.
    pub machine_type: MachineTypeName,
    /// Where.
    pub region: Region,
    /// The class's word, such as `stockout`.
    pub class: &'static str,
    /// How long until it is tried again, rounded, in seconds; zero while one machine is being tried.
    pub retry_seconds: u64,
}

/// The kind of a reason. A change of kind is told in Buildkite at once, new figures only now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`Reason::Creating`]
    Creating,
    /// [`Reason::Booting`]
    Booting,
    /// [`Reason::Quota`]
    Quota,
    /// [`Reason::Capped`]
    Capped,
    /// [`Reason::Held`]
    Held,
    /// [`Reason::Slot`]
    Slot,
    /// [`Reason::Cordoned`]
    Cordoned,
    /// [`Reason::Stopped`]
    Stopped,
    /// [`Reason::Unowned`]
    Unowned,
    /// [`Reason::Paused`]
    Paused,
    /// [`Reason::HeldByBuildkite`]
    HeldByBuildkite,
    /// [`Reason::Replacing`]
    Replacing,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 12] = [
        Self::Creating,
        Self::Booting,
        Self::Quota,
        Self::Capped,
        Self::Held,
        Self::Slot,
        Self::Cordoned,
        Self::Stopped,
        Self::Unowned,
        Self::Paused,
        Self::HeldByBuildkite,
        Self::Replacing,
    ];

    /// The word used in logs, metrics and the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Booting => "booting",
            Self::Quota => "quota",
            Self::Capped => "capped",
            Self::Held => "held",
            Self::Slot => "slot",
            Self::Cordoned => "cordoned",
            Self::Stopped => "stopped",
            Self::Unowned => "unowned",
            Self::Paused => "paused",
            Self::HeldByBuildkite => "held-by-buildkite",
            Self::Replacing => "replacing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Creating(_) => Kind::Creating,
            Self::Booting { .. } => Kind::Booting,
            Self::Quota { .. } => Kind::Quota,
            Self::Capped { .. } => Kind::Capped,
            Self::Held { .. } => Kind::Held,
            Self::Slot { .. } => Kind::Slot,
            Self::Cordoned => Kind::Cordoned,
            Self::Stopped { .. } => Kind::Stopped,
            Self::Unowned(_) => Kind::Unowned,
            Self::Paused(_) => Kind::Paused,
            Self::HeldByBuildkite(_) => Kind::HeldByBuildkite,
            Self::Replacing(_) => Kind::Replacing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_sentences() {
        let shortage = Arc::new(Shortage {
            metric: Metric::new("N2D_CPUS"),
            region: Some("us-central1".into()),
            used: 4992,
            limit: 5000,
            needed: 16,
            refused: false,
            kept: 0,
        });
        let placement = Arc::new(Placement {
            machine_type: "n2d-standard-16".into(),
            model: ProvisioningModel::Spot,
            region: "us-central1".into(),
            price: Price(211_234),
        });
        let capped = |what| {
            Arc::new(CapReason {
                name: "ml".to_owned(),
                what,
            })
        };
        let hold = HoldReason {
            machine_type: "c4a-highcpu-64".into(),
            region: "us-central1".into(),
            class: "stockout",
            retry_seconds: 28,
        };
        let all = [
            Reason::Creating(placement.clone()),
            Reason::Booting {
                machine: "gust-aa-1".into(),
                placement,
            },
            Reason::Quota {
                shortage: shortage.clone(),
                line: 3,
                about: None,
            },
            Reason::Quota {
                shortage: shortage.clone(),
                line: 3,
                about: Some(4),
            },
            Reason::Capped {
                cap: capped(Capped::Vcpus {
                    used: 1000,
                    limit: 1024,
                    needed: 32,
                }),
                line: 2,
            },
            Reason::Capped {
                cap: capped(Capped::Dollars {
                    used: 198_204_000,
                    limit: 200_000_000,
                    needed: 2_110_000,
                }),
                line: 21,
            },
            Reason::Capped {
                cap: capped(Capped::Dollars {
                    used: 0,
                    limit: 1_000_000,
                    needed: 2_110_000,
                }),
                line: 1,
            },
            Reason::Quota {
                shortage: Arc::new(Shortage {
                    needed: 9000,
                    ..(*shortage).clone()
                }),
                line: 1,
                about: Some(3),
            },
            Reason::Quota {
                shortage: Arc::new(Shortage {
                    refused: true,
                    ..(*shortage).clone()
                }),
                line: 1,
                about: None,
            },
            Reason::Quota {
                shortage: Arc::new(Shortage {
                    used: 4000,
                    kept: 1000,
                    ..(*shortage).clone()
                }),
                line: 2,
                about: None,
            },
            Reason::Held {
                hold: Arc::new(hold.clone()),
                line: 12,
            },
            Reason::Held {
                hold: Arc::new(HoldReason {
                    retry_seconds: 0,
                    ..hold
                }),
                line: 13,
            },
            Reason::Slot {
                project: "ci".into(),
                slots: 10,
            },
            Reason::Cordoned,
            Reason::Stopped {
                note: "quota is being moved".to_owned(),
            },
            Reason::Paused("gust".into()),
            Reason::HeldByBuildkite("limited".into()),
            Reason::Replacing("gust-aa-1".into()),
        ];
        let text = all.iter().map(|r| format!("{r}\n")).collect::<String>();
        assert!(text.lines().all(|line| line.chars().count() <= 256));
        insta::assert_snapshot!(text);
    }
}
