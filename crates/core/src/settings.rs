//! The operator's numbers that decisions depend on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
        }
    }
}
