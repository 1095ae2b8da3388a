//! What can go wrong in a run: every kind of fault with its parameters, as data.
//!
//! Nothing here acts. [`super::super::inject`] obeys; a fault counts as run only once it met something.

mod figures;

use serde::{Deserialize, Serialize};

use super::{super::net::Point, Who};

/// What a service in between, or the service itself, says in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Says {
    /// HTTP status.
    pub status: u16,
    /// True if the body is not in the service's own form: a proxy's page.
    pub html: bool,
}

/// A fault: what happens, and how much of it. Times are virtual milliseconds.
///
/// Reply faults strike the message that triggered them, or else the next `count` messages at `point`.
/// Faults about jobs and machines strike the one that triggered them, or else the `pick`-th (modulo how many
/// there are) that is in a fit state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[strum_discriminants(name(FaultKind))]
#[strum_discriminants(doc = "All kinds of faults, by name; the list that coverage counts against.")]
#[strum_discriminants(derive(PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr, strum::VariantArray))]
#[strum_discriminants(strum(serialize_all = "kebab-case"))]
#[expect(
    missing_docs,
    reason = "fields are what their names say: who, how long, how many"
)]
pub enum What {
    /// A replica dies at once: before or after the effect of the message that triggers it.
    ReplicaCrash {
        #[serde(default)]
        replica: Who,
        down_ms: u64,
        /// Its host goes down with it: nobody answers there, and nobody refuses.
        #[serde(default)]
        host: bool,
    },
    /// A replica dies after so many polls of its tasks more: at any await.
    ReplicaCrashAtPoll {
        #[serde(default)]
        replica: Who,
        polls: u64,
        down_ms: u64,
    },
    /// A replica is asked to end, as a rolling upgrade does, and is begun again so long after it has ended.
    ReplicaStop {
        #[serde(default)]
        replica: Who,
        down_ms: u64,
        /// What is begun again is a build so many versions later: it writes records in a later form.
        #[serde(default)]
        versions: u32,
    },
    /// A replica stands still for less than its lease.
    ReplicaFreeze {
        #[serde(default)]
        replica: Who,
        lasting_ms: u64,
    },
    /// A replica stands still for longer than its lease, then goes on as if nothing had been.
    ReplicaFreezePastLease {
        #[serde(default)]
        replica: Who,
        lasting_ms: u64,
    },
    /// The link between two replicas breaks.
    LinkCut { a: usize, b: usize, lasting_ms: u64 },
    /// What `a` sends to `b` no longer arrives; neither is told.
    LinkHalfOpen { a: usize, b: usize, lasting_ms: u64 },
    /// The port of a replica refuses every other replica, although it lives.
    PortClosed {
        #[serde(default)]
        replica: Who,
        lasting_ms: u64,
    },
    /// The wall clock of a replica is wrong by this.
    ClockWrong {
        #[serde(default)]
        replica: Who,
        by_ms: i64,
    },
    /// etcd is gone.
    EtcdGone { lasting_ms: u64 },
    /// Every answer of etcd takes so much longer.
    EtcdSlow { by_ms: u64, lasting_ms: u64 },
    /// etcd restarts: connections break, data stays.
    EtcdRestart { lasting_ms: u64 },
    /// Another member of etcd leads.
    EtcdLeaderMoved {},
    /// etcd has no quorum: calls hang.
    EtcdNoQuorum { lasting_ms: u64 },
    /// etcd forgets old revisions.
    EtcdCompact {},
    /// Every watch ends.
    EtcdWatchBroken {},
    /// One replica cannot reach etcd.
    EtcdCut {
        #[serde(default)]
        replica: Who,
        lasting_ms: u64,
    },
    /// A message is lost.
    ReplyLostBefore {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
    },
    /// An answer is lost: the effect was had.
    ReplyLostAfter {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
    },
    /// A message has its effect twice.
    ReplyDoubled {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
        later_ms: u64,
    },
    /// A message or its answer is under way for so long.
    ReplyLate {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
        late_ms: u64,
        #[serde(default)]
        answer: bool,
    },
    /// Refused on the way, as if it were the asker's fault.
    #[serde(rename = "reply-4xx")]
    #[strum_discriminants(strum(serialize = "reply-4xx"))]
    Reply4xx {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
        says: Says,
    },
    /// Too many requests.
    #[serde(rename = "reply-429")]
    #[strum_discriminants(strum(serialize = "reply-429"))]
    Reply429 {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
    },
    /// Refused on the way, as if it were the service's fault.
    #[serde(rename = "reply-5xx")]
    #[strum_discriminants(strum(serialize = "reply-5xx"))]
    Reply5xx {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
        says: Says,
    },
    /// A web page in place of the answer, with a good status.
    ReplyHtml {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
    },
    /// A message has its effect, and of the answer half arrives.
    ReplyTruncated {
        #[serde(default)]
        point: Option<Point>,
        #[serde(default = "one")]
        count: u32,
    },
    /// Lists show what was true so long ago.
    ListLag {
        host: Lister,
        lag_ms: u64,
        lasting_ms: u64,
    },
    /// Pages are short, and items slip over their borders while they are read.
    PagesShift {
        host: Lister,
        size: usize,
        skip: usize,
        lasting_ms: u64,
    },
    /// Pages are short, so that lists have several; nothing slips.
    PagesShort {
        host: Lister,
        size: usize,
        lasting_ms: u64,
    },
    /// A zone, or all zones, have no machines. `count` zones answer so, over this time.
    Stockout {
        #[serde(default)]
        zone: Option<String>,
        /// All families if absent.
        #[serde(default)]
        family: Option<String>,
        #[serde(default)]
        code: Option<String>,
        count: u64,
        lasting_ms: u64,
    },
    /// A quota is lowered.
    QuotaCut {
        metric: String,
        limit: f64,
        lasting_ms: u64,
    },
    /// All quotas of vCPUs are raised, for good.
    QuotaRaised { factor: f64 },
    /// Machines that were accepted end with QUOTA_EXCEEDED.
    LateQuota { count: u64, lasting_ms: u64 },
    /// Of the machines of one bulk insert all but the first few do not come.
    PartialBulk { count: u64, lasting_ms: u64 },
    /// No addresses.
    IpExhausted { count: u64, lasting_ms: u64 },
    /// Google's rate limit strikes.
    Rate { count: u64, lasting_ms: u64 },
    /// Machines never come out of STAGING.
    VmNeverBoots { count: u64, lasting_ms: u64 },
    /// Machines run, but their guest never starts.
    BootBroken { count: u64, lasting_ms: u64 },
    /// A guest stops in its tracks.
    VmFreeze {
        #[serde(default)]
        pick: u64,
    },
    /// A machine reboots without what it had: a new key.
    DiskLost {
        #[serde(default)]
        pick: u64,
    },
    /// Google takes a Spot machine back.
    Preempted {
        #[serde(default)]
        pick: u64,
    },
    /// A machine is stopped.
    VmStopped {
        #[serde(default)]
        pick: u64,
    },
    /// The host of a machine breaks.
    HostError {
        #[serde(default)]
        pick: u64,
    },
    /// A guest dies; its machine stays powered on.
    GuestCrash {
        #[serde(default)]
        pick: u64,
    },
    /// Somebody cancels a job.
    JobCancel {
        #[serde(default)]
        pick: u64,
    },
    /// Somebody retries a job that is over.
    JobRetry {
        #[serde(default)]
        pick: u64,
    },
    /// Somebody changes a job's priority.
    JobReprioritize {
        #[serde(default)]
        pick: u64,
        priority: i64,
    },
    /// Buildkite forgets a reservation early.
    ReservationLapse {
        #[serde(default)]
        pick: u64,
    },
    /// Another stack has a job's reservation for so long.
    ReservationTaken {
        #[serde(default)]
        pick: u64,
        lasting_ms: u64,
    },
    /// Buildkite says that a job is in a state of which nobody here has heard.
    StateUnknown {
        #[serde(default)]
        pick: u64,
        lasting_ms: u64,
    },
    /// A job that waits disappears, as with its pipeline.
    JobGone {
        #[serde(default)]
        pick: u64,
    },
    /// Buildkite does not take gust's token for so long.
    TokenRevoked { lasting_ms: u64 },
    /// Somebody pauses the queue.
    QueuePause { lasting_ms: u64 },
    /// Buildkite takes an agent for lost.
    AgentLost {
        #[serde(default)]
        pick: u64,
    },
    /// Somebody claims a machine's job with another key.
    WrongKey {
        #[serde(default)]
        pick: u64,
    },
    /// All replicas are down.
    GustDown { lasting_ms: u64 },
}

/// Whose lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Lister {
    /// Buildkite's list of scheduled jobs.
    Buildkite,
    /// GCE's lists of instances.
    Gce,
}

fn one() -> u32 {
    1
}
