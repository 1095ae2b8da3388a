//! Why a job waits: data, rendered in one place, so that Buildkite, the command line, the admin API and the
//! dashboard say the same words.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{MachineName, MachineTypeName, ProjectId, QueueKey, Region},
    quota::Metric,
    shape::{Price, ProvisioningModel},
    time::human,
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

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine_type)?;
        if self.model == ProvisioningModel::Spot {
            f.write_str(" spot")?;
        }
        write!(f, " in {}, {}", self.region, self.price)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Creating(placement) => write!(f, "placed on {placement}"),
            Self::Booting { machine, placement } => write!(f, "machine {machine} boots: {placement}"),
            Self::Quota {
                shortage,
                line,
                about,
            } => {
                write!(f, "waiting for {}", shortage.metric)?;
                if let Some(region) = &shortage.region {
                    write!(f, " in {region}")?;
                }
                write!(
                    f,
                    ": {} of {} used",
                    thousands(shortage.used),
                    thousands(shortage.limit)
                )?;
                if shortage.needed > shortage.limit {
                    write!(
                        f,
                        ", the job needs {} and can only run when the limit is raised",
                        thousands(shortage.needed)
                    )
                } else {
                    write!(f, ", {} in line", ordinal(*line))?;
                    about.map_or(Ok(()), |minutes| {
                        let wait = Duration::from_secs(60 * u64::from(minutes));
                        write!(f, ", about {}", human(wait))
                    })
                }
            }
            Self::Capped { cap, line } => {
                write!(f, "waiting for cap {}: {}", cap.name, cap.what)?;
                if cap.what.is_hopeless() {
                    f.write_str(" and can only run when the cap is raised")
                } else {
                    write!(f, ", {} in line", ordinal(*line))
                }
            }
            Self::Held { hold, line } => {
                let HoldReason {
                    machine_type, region, ..
                } = &**hold;
                write!(
                    f,
                    "waiting for {machine_type} in {region}: {hold}, {} in line",
                    ordinal(*line)
                )
            }
            Self::Slot { project, slots } => {
                write!(
                    f,
                    "waiting for a bulk operation in project {project}: all {slots} that Google allows are running"
                )
            }
            Self::Cordoned => {
                f.write_str("waiting: the operator took every place that could run this job out of service")
            }
            Self::Stopped { note } => {
                f.write_str("waiting: the operator paused gust")?;
                if note.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({note})")
                }
            }
            Self::Unowned(region) => write!(f, "waiting for {region}: another replica of gust takes it over"),
            Self::Paused(queue) => write!(f, "waiting: queue {queue} is paused in Buildkite"),
            Self::HeldByBuildkite(state) => write!(f, "waiting: Buildkite holds the job back ({state})"),
            Self::Replacing(machine) => {
                write!(
                    f,
                    "waiting until machine {machine} is gone, then a new one is made"
                )
            }
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by Google ({}), ", self.class)?;
        match self.retry_seconds {
            0 => f.write_str("one machine is being tried"),
            seconds => write!(f, "tried again in {}", human(Duration::from_secs(seconds))),
        }
    }
}

impl Capped {
    /// One job alone is too much for it.
    fn is_hopeless(self) -> bool {
        match self {
            Self::Vcpus { limit, needed, .. } | Self::Dollars { limit, needed, .. } => needed > limit,
        }
    }
}

impl fmt::Display for Capped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hopeless = self.is_hopeless();
        match *self {
            Self::Vcpus { used, limit, needed } => {
                write!(f, "{} of {} vCPUs used", thousands(used), thousands(limit))?;
                if hopeless {
                    write!(f, ", the job needs {}", thousands(needed))?;
                }
            }
            Self::Dollars { used, limit, needed } => {
                write!(f, "{} of {} used for today (UTC)", Dollars(used), Dollars(limit))?;
                if hopeless {
                    write!(f, ", the job is expected to cost {}", Dollars(needed))?;
                }
            }
        }
        Ok(())
    }
}

/// Millionths of a dollar, shown in cents.
struct Dollars(u64);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.0.saturating_add(5_000) / 10_000;
        write!(f, "${}.{:02}", thousands(cents / 100), cents % 100)
    }
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn ordinal(n: u32) -> String {
    let suffix = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
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
