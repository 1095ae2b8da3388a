//! The operator's numbers that decisions depend on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cap::Cap;

/// Deadlines, patience and limits. Defaults are what a company of moderate size wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How long a reservation at Buildkite lasts; renewed at half time. A crashed leader delays a job at most this long.
    pub reservation: Duration,
    /// From existing to claiming. Google needs up to a minute; an image with much to start needs more.
    pub boot_timeout: Duration,
    /// From claiming to Buildkite showing the job accepted.
    pub acquire_timeout: Duration,
    /// From the job's end in Buildkite to deleting a machine whose guest has not said `done`.
    pub end_grace: Duration,
    /// A machine claimed longer than its own limit plus this is deleted.
    pub overdue_margin: Duration,
    /// From the record of a batch to its outcome; after that its worker is asked again and people are told.
    pub create_timeout: Duration,
    /// Missing from lists begun this long after its creation, a machine is looked for by name.
    pub list_lag: Duration,
    /// How long a refused choice (stockout, quota, rate) is left alone.
    pub hold: Duration,
    /// Machines of one job that may fail for one cause before the job is finished with the reason.
    pub patience: u32,
    /// Bulk operations running at a time in a project (Google: 10).
    pub bulk_slots: u32,
    /// Bulk requests a second in a project (Google: 20).
    pub bulk_per_second: u32,
    /// Groups up to this size are created by single inserts when no slot is free.
    pub singles: usize,
    /// Among jobs of one priority those that have waited so long come before the turns of pipelines.
    #[serde(default = "aging", skip_serializing_if = "is_usual_aging")]
    pub aging: Duration,
    /// How much dearer a machine may be for joining a call for machines that fit its job as well, in percent. Machines
    /// of the very same shape always join.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub merge_premium_percent: u32,
    /// How many other machine types a bulk call may name, for Google to take where it has none of the first.
    #[serde(default = "alternatives", skip_serializing_if = "is_usual_alternatives")]
    pub alternatives: usize,
    /// What pipelines may use at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Cap>,
}

// What is at its default does not count in the hash of the configuration: builds that do not know it decide the same.
fn aging() -> Duration {
    Duration::from_secs(1800)
}

fn is_usual_aging(value: &Duration) -> bool {
    *value == aging()
}

fn alternatives() -> usize {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_usual_alternatives(value: &usize) -> bool {
    *value == alternatives()
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reservation: Duration::from_secs(180),
            boot_timeout: Duration::from_secs(300),
            acquire_timeout: Duration::from_secs(180),
            end_grace: Duration::from_secs(10),
            overdue_margin: Duration::from_secs(120),
            create_timeout: Duration::from_secs(300),
            list_lag: Duration::from_secs(20),
            hold: Duration::from_secs(30),
            patience: 3,
            bulk_slots: 10,
            bulk_per_second: 20,
            singles: 3,
            aging: aging(),
            merge_premium_percent: 0,
            alternatives: alternatives(),
            caps: Vec::new(),
        }
    }
}
