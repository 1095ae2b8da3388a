//! The words of each reason: one place for Buildkite, the command line, the admin API and the dashboard.

use std::{fmt, time::Duration};

use super::{Capped, HoldReason, Placement, Reason};
use crate::{shape::ProvisioningModel, time::human};

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
                if shortage.kept > 0 {
                    let kept = thousands(shortage.kept);
                    write!(f, ", {kept} kept for a job ahead that has waited long")?;
                }
                if shortage.needed > shortage.limit {
                    write!(
                        f,
                        ", the job needs {} and can only run when the limit is raised",
                        thousands(shortage.needed)
                    )
                } else {
                    if shortage.refused {
                        f.write_str(", but Google refuses more at present")?;
                    }
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
    pub fn is_hopeless(self) -> bool {
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
