//! The one etcd cluster of a virtual world, and what befalls it as a whole.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_fakes::etcd::{Applied, Model};
use gust_server::task::Tasks;
use gust_store::etcd::{EtcdError, Event, Keys, Range, model};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::state::{Late, State, Watcher};

/// Is handed every revision in the order applied, with the replica whose request it was; none if a lease lapsed.
/// Called under the cluster's lock: it must not call back.
pub type Tap = Box<dyn FnMut(Option<usize>, Applied) + Send>;

/// What a watch is sent.
pub(super) type Seen = Result<Vec<Event>, EtcdError>;

/// What a request gets.
pub(super) enum Answer<T> {
    /// The cluster's answer.
    Said(Result<T, EtcdError>),
    /// Nobody listens there; no effect.
    Refused,
    /// Nothing.
    Silence,
}

/// Whether a request goes through the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// Why the cluster does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its hosts are gone: silence, and no effect.
    Gone,
    /// Its processes restart: connections are refused.
    Restarting,
    /// It has no majority: silence, and every other write has its effect once there is one.
    NoQuorum,
}

/// The cluster that all replicas share. Cheap to clone.
#[derive(Clone)]
pub struct EtcdWorld {
    inner: Arc<Inner>,
}

struct Inner {
    start: Instant,
    state: Mutex<State>,
    changed: Notify,
}

impl Default for EtcdWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl EtcdWorld {
    /// A new cluster, empty; its time begins now.
    pub fn new() -> Self {
        let start = Instant::now();
        Self {
            inner: Arc::new(Inner {
                start,
                state: Mutex::new(State::new(start)),
                changed: Notify::new(),
            }),
        }
    }

    /// Hands what is applied from now on to `tap`.
    pub fn set_tap(&self, tap: Tap) {
        let mut state = self.state();
        state.model.tap();
        state.tap = Some(tap);
    }

    /// Lets leases lapse, outages end and history go when it is time, for ever.
    pub fn start_ticking(&self, tasks: &Tasks) {
        let world = self.clone();
        tasks.spawn("etcd", async move {
            loop {
                let due = world.arm();
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => world.change(|_, _| ()),
                    () = world.inner.changed.notified() => {}
                }
            }
        });
    }

    /// The lease on which a key hangs, if the key is there.
    pub(super) fn lease_of(&self, key: &str) -> Option<i64> {
        let found = model::range(&self.state().model, &Range::all(Keys::one(key))).ok()?;
        found.kvs.first().map(|kv| kv.lease)
    }

    /// All its hosts vanish for so long. No lease lapses meanwhile.
    pub fn gone(&self, lasting: Duration) {
        self.outage(Cut::Gone, lasting);
    }

    /// It is stopped and comes back after so long with all it had: connections break, watches end.
    pub fn restart(&self, lasting: Duration) {
        self.outage(Cut::Restarting, lasting);
    }

    /// It has no majority for so long: reads and writes hang, and no lease lapses. Of the writes that hung, every
    /// other one has its effect once there is a majority again.
    pub fn no_quorum(&self, lasting: Duration) {
        self.outage(Cut::NoQuorum, lasting);
    }

    fn outage(&self, why: Cut, lasting: Duration) {
        self.change(|state, now| {
            let until = now + lasting;
            // One outage at a time; a second one makes the first one longer.
            state.outage = Some(match state.outage {
                Some((first, before)) => (first, before.max(until)),
                None => (why, until),
            });
            if why == Cut::Restarting {
                state.connection += 1;
                state.watchers.clear();
            } else {
                state.sever(now, |_| true);
            }
        });
    }

    /// Every request and every answer takes half of `extra` longer, for so long.
    pub fn slow(&self, extra: Duration, lasting: Duration) {
        self.change(|state, now| state.slow = Some((extra, now + lasting)));
    }

    /// One replica cannot reach it for so long.
    pub fn cut(&self, replica: usize, lasting: Duration) {
        self.change(|state, now| {
            let until = state.cuts.entry(replica).or_insert(now);
            *until = (*until).max(now + lasting);
            state.sever(now, |watcher| watcher.replica == replica);
        });
    }

    /// Another member becomes raft leader: leases get their whole TTL again, watches end.
    pub fn move_leader(&self) {
        let start = self.inner.start;
        self.change(|state, now| {
            state.model.leader_moved(now - start);
            state.watchers.clear();
        });
    }

    /// All history up to now is forgotten.
    pub fn compact(&self) {
        self.change(|state, _| {
            let revision = state.model.revision();
            // Refused if nothing happened since the last time.
            let _ = state.model.compact(revision);
        });
    }

    /// All watches end.
    pub fn break_watches(&self) {
        self.change(|state, _| state.watchers.clear());
    }

    /// Looks at the model.
    #[cfg(test)]
    pub fn read<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&self.state().model)
    }

    /// How often all connections broke so far.
    pub(super) fn connection(&self) -> u64 {
        self.state().connection
    }

    /// How much longer than usual a call takes now.
    pub(super) fn slowness(&self) -> Duration {
        let slow = self.state().slow;
        slow.filter(|(_, until)| Instant::now() < *until)
            .map_or(Duration::ZERO, |(extra, _)| extra)
    }

    /// True while this replica cannot reach the cluster.
    pub(super) fn is_cut(&self, replica: usize) -> bool {
        self.state().is_cut(replica, Instant::now())
    }

    /// A request of this replica has arrived.
    pub(super) fn serve<T: Send + 'static>(
        &self,
        replica: usize,
        kind: Kind,
        act: impl FnOnce(&mut Model, Duration) -> Result<T, EtcdError> + Send + 'static,
    ) -> Answer<T> {
        let start = self.inner.start;
        self.change(|state, now| {
            if state.is_cut(replica, now) {
                return Answer::Silence;
            }
            match state.outage {
                None => {
                    let answer = act(&mut state.model, now - start);
                    state.hand_on(Some(replica));
                    Answer::Said(answer)
                }
                Some((Cut::Restarting, _)) => Answer::Refused,
                Some((Cut::Gone, _)) => Answer::Silence,
                Some((Cut::NoQuorum, _)) => {
                    state.hung += u64::from(kind == Kind::Write);
                    if kind == Kind::Write && state.hung.is_multiple_of(2) {
                        let late: Late = Box::new(move |model, now| drop(act(model, now)));
                        state.late.push((replica, late));
                    }
                    Answer::Silence
                }
            }
        })
    }

    /// A watch of this replica has arrived.
    pub(super) fn watch(
        &self,
        replica: usize,
        keys: Vec<Keys>,
        from: u64,
    ) -> Answer<mpsc::UnboundedReceiver<Seen>> {
        self.change(|state, now| {
            if state.is_cut(replica, now) {
                return Answer::Silence;
            }
            match state.outage {
                Some((Cut::Restarting, _)) => return Answer::Refused,
                Some((Cut::Gone | Cut::NoQuorum, _)) => return Answer::Silence,
                None => {}
            }
            let past = match model::events(&state.model, &keys, from) {
                Ok(past) => past,
                Err(error) => return Answer::Said(Err(error)),
            };
            let (to, seen) = mpsc::unbounded_channel();
            if !past.is_empty() {
                // The other end is in our hands.
                let _ = to.send(Ok(past));
            }
            let from = from.max(state.model.revision() + 1);
            state.watchers.push(Watcher {
                replica,
                keys,
                from,
                to,
            });
            Answer::Said(Ok(seen))
        })
    }

    fn arm(&self) -> Instant {
        let mut state = self.state();
        state.armed = state.next_due(self.inner.start);
        state.armed
    }

    /// Does what is due by now, then `act`, and wakes whoever ticks if that is too late for what comes next.
    fn change<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.state();
        state.settle(self.inner.start, now);
        let result = act(&mut state, now);
        let too_late = state.next_due(self.inner.start) < state.armed;
        drop(state);
        if too_late {
            self.inner.changed.notify_waiters();
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
