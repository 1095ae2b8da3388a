//! What a run is expected to be: what the checker cannot see, told by whoever made the scenario.

use std::{collections::BTreeSet, fmt, time::Duration};

use gust_core::{
    cap::Cap,
    quota::{Footprint, Usage},
};

/// A quota of the world, as Google would show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The project.
    pub project: String,
    /// The region; none for a quota that spans the project.
    pub region: Option<String>,
    /// The metric's name, such as `N2D_CPUS` or `CPUS_PER_VM_FAMILY:C3D`.
    pub metric: String,
    /// The limit.
    pub value: u64,
}

type UsageOf = Box<dyn Fn(&Footprint) -> Usage + Send>;

/// What to hold a run to.
pub struct Expectations {
    /// Our queues. A job whose tags name no queue is ours.
    pub queues: BTreeSet<String>,
    /// Whether jobs are reserved. Over GraphQL there is no such thing.
    pub reserves: bool,
    /// Keys of steps whose request can never be met.
    pub impossible: BTreeSet<String>,
    /// What one machine uses of each quota, as the planner counts.
    pub usage: UsageOf,
    /// Quotas at the start; changes are told to [`super::Checker::limit`].
    pub limits: Vec<Limit>,
    /// What pipelines may use at most.
    pub caps: Vec<Cap>,
    /// Machines of one job that may fail for one cause.
    pub patience: u32,
    /// Bulk operations running at a time in a project.
    pub bulk_slots: u32,
    /// Bulk requests a second in a project.
    pub bulk_per_second: u32,
    /// From the end of a job to the moment its machine begins to stop, in runs without faults.
    pub billing: Duration,
    /// How long a machine may live without a record, while some replica is up and nothing is wrong.
    pub stray: Duration,
    /// How long a job may be known to a leader that decides, and have no reason.
    pub reason: Duration,
    /// How long the change of a reason's kind may go untold in Buildkite.
    pub note: Duration,
    /// Whether [`super::Picture`]s are shown. Without them nothing is said about invariant 8, and a leader decides from
    /// its first commit on.
    pub pictures: bool,
    /// How old a limit may be that decisions and reasons go by.
    pub quota_memory: Duration,
    /// How long after its end a pause may be given as a reason.
    pub pause_memory: Duration,
    /// How long the effects of the last fault may last; bounds count from there.
    pub settle: Duration,
    /// How long after the last fault (or after the start, without faults) the run may take to its end.
    pub end: Duration,
}

impl Expectations {
    /// The product's defaults, for one queue and no known quota.
    pub fn new(queue: &str, usage: impl Fn(&Footprint) -> Usage + Send + 'static) -> Self {
        Self {
            queues: [queue.to_owned()].into(),
            reserves: true,
            impossible: BTreeSet::new(),
            usage: Box::new(usage),
            limits: Vec::new(),
            caps: Vec::new(),
            patience: 3,
            bulk_slots: 10,
            bulk_per_second: 20,
            billing: Duration::from_secs(15),
            stray: Duration::from_secs(300),
            reason: Duration::from_secs(2),
            note: Duration::from_secs(30),
            pictures: true,
            quota_memory: Duration::from_secs(90),
            pause_memory: Duration::from_secs(10),
            settle: Duration::from_secs(60),
            end: Duration::from_secs(3600),
        }
    }
}

impl fmt::Debug for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectations")
            .field("queues", &self.queues)
            .field("impossible", &self.impossible)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
