//! What a pass looks at: everything the decision depends on, at one moment.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    flow::Flow,
    ids::{JobRef, MachineName, ProjectId, Shard, SourceName, StackName, Term},
    memory::Memory,
    plan::Plan,
    ports::{Instance, JobState, ListedJob},
    quota::{Ledger, Usage},
    records::{Book, JobRecord},
    settings::Settings,
    time::Timestamp,
};

/// What was last seen of a booked job in Buildkite. Not recorded: a new leader asks again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its state and when that was read.
    pub state: Option<(JobState, Timestamp)>,
    /// Since when it is over, as far as seen.
    pub over_since: Option<Timestamp>,
    /// Answers in a row that did not know it.
    pub missing: u32,
    /// When our reservation lapses, as far as known.
    pub reserved_until: Option<Timestamp>,
    /// Somebody else holds it: our reservation was refused.
    pub reservation_lost: bool,
    /// When its machine last asked for it: it gets its token after that.
    pub asked_at: Option<Timestamp>,
    /// A finish is under way, or was answered.
    pub finishing: bool,
}

/// The request of a job, parsed and matched, or why it can never run.
pub type Planned = Result<Arc<Plan>, Arc<str>>;

/// A booked job with what belongs to it.
#[derive(Clone, Debug)]
pub struct JobView<'a> {
    /// Its record.
    pub record: &'a JobRecord,
    /// Its plan, or the detail with which it is refused.
    pub plan: &'a Planned,
    /// What was last seen of it.
    pub seen: &'a Seen,
}

/// Jobs in a source's list that are not booked yet.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// The jobs, in the order of the list.
    pub jobs: Vec<ListedJob>,
}

/// A shard as the leader knows it.
#[derive(Clone, Debug, Default)]
pub struct ShardView {
    /// Its quota account.
    pub ledger: Ledger,
    /// Its last list, if one was taken in this term: when it was begun and what it showed.
    pub inventory: Option<(Timestamp, BTreeMap<MachineName, Instance>)>,
}

/// Everything a pass depends on.
pub struct Snapshot<'a> {
    /// The present.
    pub now: Timestamp,
    /// Our term.
    pub term: Term,
    /// When it began, by the clock of `now`. What earlier leaders recorded was timed by other clocks, which may
    /// be minutes off: no deadline counts from before this.
    pub began: Timestamp,
    /// Our stack.
    pub stack: &'a StackName,
    /// The operator's numbers.
    pub settings: &'a Settings,
    /// All records.
    pub book: &'a Book,
    /// Booked jobs, in the order of their keys.
    pub jobs: Vec<JobView<'a>>,
    /// Jobs listed and not booked, by source.
    pub backlog: &'a BTreeMap<SourceName, Backlog>,
    /// Queues that are paused.
    pub paused: &'a std::collections::BTreeSet<(SourceName, crate::ids::QueueKey)>,
    /// Shards.
    pub shards: &'a BTreeMap<Shard, ShardView>,
    /// Quotas that span a project.
    pub project_ledgers: &'a BTreeMap<ProjectId, Ledger>,
    /// What Google refused a while ago.
    pub memory: &'a Memory,
    /// How fast quotas come back.
    pub flow: &'a Flow,
    /// Bulk calls made in the last second, by project.
    pub recent_bulk: &'a BTreeMap<ProjectId, u32>,
}

/// What a footprint uses of each metric; the shell asks the catalog once per distinct footprint.
pub type UsageOf<'a> = &'a dyn Fn(&crate::quota::Footprint) -> Usage;

impl Snapshot<'_> {
    /// How long ago something recorded is, as far as our own clock can tell.
    pub fn age(&self, at: Timestamp) -> std::time::Duration {
        if crate::mutant!("timer-lost") && at < self.began {
            return std::time::Duration::ZERO;
        }
        self.now.since(at.max(self.began))
    }
}

impl JobView<'_> {
    /// Its reference.
    pub fn job(&self) -> &JobRef {
        &self.record.job
    }
}
