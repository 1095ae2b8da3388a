//! What the injector needs of the hosts, of etcd, and of whoever judges the run.

use std::time::Duration;

use uuid::Uuid;

use super::super::{
    check::{Limit, Met},
    hosts::OnMet,
};

/// The replicas' hosts.
pub trait HostControl: Send + Sync {
    /// How many replicas there are.
    fn count(&self) -> usize;
    /// A replica dies, with its host or alone, and comes again. False if it was down.
    fn crash(&self, replica: usize, down: Duration, whole_host: bool) -> bool;
    /// A replica dies after so many polls more; `met` is called if it does.
    fn crash_at_poll(&self, replica: usize, polls: u64, down: Duration, met: OnMet);
    /// A replica is asked to end, and begins again so long after it has. False if it was down or was asked before.
    fn stop(&self, replica: usize, down: Duration, versions: u32) -> bool;
    /// A replica stands still. False if it was down or stood still.
    fn freeze(&self, replica: usize, lasting: Duration) -> bool;
    /// The way from `a` to `b` is cut, and back unless `half`; `met` is called once something is hindered.
    fn cut(&self, a: usize, b: usize, lasting: Duration, half: bool, met: OnMet);
    /// The port of a replica refuses everybody, although it lives; `met` is called once it does.
    fn close(&self, replica: usize, lasting: Duration, met: OnMet);
    /// A wall clock is wrong from now on by so many milliseconds. False if the replica is down.
    fn skew(&self, replica: usize, millis: i64) -> bool;
    /// True while a replica runs.
    fn is_up(&self, replica: usize) -> bool;
}

/// etcd, as all replicas reach it.
pub trait EtcdControl: Send + Sync {
    /// Nobody reaches it.
    fn gone(&self, lasting: Duration);
    /// Its answers take so much longer.
    fn slow(&self, by: Duration, lasting: Duration);
    /// Calls hang.
    fn no_quorum(&self, lasting: Duration);
    /// Connections and watches break; it is away for so long.
    fn restart(&self, lasting: Duration);
    /// Another member leads: leases get their full time again.
    fn move_leader(&self);
    /// Old revisions are forgotten.
    fn compact(&self);
    /// Every watch ends.
    fn break_watches(&self);
    /// One replica does not reach it.
    fn cut(&self, replica: usize, lasting: Duration);
}

/// Who judges the run.
pub trait Witness: Send + Sync {
    /// A fault met something.
    fn fault(&self, at: Duration, met: &Met);
    /// The world's quotas are now these.
    fn limits(&self, at: Duration, limits: &[Limit]);
    /// An operator of gust is about to cancel a job.
    fn canceled(&self, at: Duration, job: Uuid);
    /// The queue is paused, or goes on.
    fn paused(&self, at: Duration, queue: &str, paused: bool);
}
