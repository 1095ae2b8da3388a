//! The replicas' hosts: what crashes, freezes, and comes back.
//!
//! All tasks of a replica run on its host. A crash drops every one of them at once, wherever it waits; a freeze
//! stops them from being polled while time goes on, as SIGSTOP does.

mod attend;
mod life;
mod stop;
mod ways;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use gust_core::time::Timestamp;
use gust_server::{
    clock::Clock,
    task::{Executor, Tasks},
};
use tokio::{sync::Notify, task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use life::Life;
use ways::Cut;

use super::alarm::Alarm;

pub use attend::Answer;

/// Starts the software of a replica on its host.
pub type Boot = Arc<dyn Fn(usize, Arc<dyn Executor>, Clock) + Send + Sync>;
/// Called once what was planned has met something.
pub type OnMet = Arc<dyn Fn() + Send + Sync>;
/// Is told what happens to hosts.
pub type Told = Arc<dyn Fn(usize, HostEvent) + Send + Sync>;

pub use super::check::HostEvent;

/// All hosts of a run. Cheap to clone.
#[derive(Clone)]
pub struct Hosts {
    inner: Arc<Inner>,
}

struct Inner {
    hosts: Vec<Arc<Host>>,
    /// Cut ways between replicas, each direction for itself, until when.
    cuts: Mutex<BTreeMap<(usize, usize), Cut>>,
    /// Replicas whose port refuses everybody, although they live.
    closed: Mutex<BTreeMap<usize, Cut>>,
    /// A host or a way is not what it was.
    changed: Notify,
    world: Tasks,
    boot: Mutex<Option<Boot>>,
    told: Told,
    alarm: Alarm,
    epoch: Timestamp,
    start: Instant,
}

struct Host {
    at: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts starts; tasks of an earlier one are dead.
    life: u64,
    up: bool,
    frozen: bool,
    /// The whole host is down: nobody answers for it.
    dark: bool,
    polls: u64,
    crash_at: Option<(u64, Duration, OnMet)>,
    /// Asks its replica to end.
    ask: Option<CancellationToken>,
    /// It was asked to end, and is to be begun again so long after that, with a build so many versions later.
    ending: Option<(Duration, u32)>,
    /// By how many versions its build is later than the first.
    build: u32,
    parked: Vec<Waker>,
    tasks: Vec<(&'static str, AbortHandle)>,
    clock: Option<Clock>,
    skew: i64,
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    /// Hosts that are all down. Wall time is `epoch` at this moment.
    pub fn new(count: usize, world: Tasks, epoch: Timestamp, told: Told, alarm: Alarm) -> Self {
        let hosts = (0..count).map(|at| {
            Arc::new(Host {
                at,
                state: Mutex::default(),
            })
        });
        Self {
            inner: Arc::new(Inner {
                hosts: hosts.collect(),
                cuts: Mutex::default(),
                closed: Mutex::default(),
                changed: Notify::new(),
                world,
                boot: Mutex::new(None),
                told,
                alarm,
                epoch,
                start: Instant::now(),
            }),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.hosts.len()
    }

    /// The run is over: nothing starts any more. What is started holds the hosts, so only this lets go of them.
    pub fn end(&self) {
        *self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts all; each starts its software with `boot`, now and after each crash.
    pub fn start(&self, boot: Boot) {
        *self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner) = Some(boot);
        for at in 0..self.count() {
            self.up(at);
        }
    }

    /// True while it runs, frozen or not.
    pub fn is_up(&self, replica: usize) -> bool {
        self.host(replica).is_some_and(|host| host.state().up)
    }

    /// True while it is frozen.
    pub fn is_frozen(&self, replica: usize) -> bool {
        self.host(replica).is_some_and(|host| host.state().frozen)
    }

    /// No task of the replica is polled again. It starts anew after `down`, and so does its host if that went down with
    /// it. False if it was down.
    pub fn crash(&self, replica: usize, down: Duration, whole_host: bool) -> bool {
        let Some(host) = self.host(replica) else {
            return false;
        };
        let tasks = {
            let mut state = host.state();
            if !state.up {
                return false;
            }
            state.life += 1;
            (state.up, state.frozen, state.crash_at) = (false, false, None);
            (state.ask, state.ending) = (None, None);
            state.dark = whole_host;
            state.parked.clear();
            std::mem::take(&mut state.tasks)
        };
        for (_, task) in tasks {
            task.abort();
        }
        (self.inner.told)(replica, HostEvent::Crashed);
        self.inner.changed.notify_waiters();
        let hosts = self.clone();
        self.inner.world.spawn("restart", async move {
            tokio::time::sleep(down).await;
            hosts.up(replica);
        });
        true
    }

    /// Crashes the replica when its tasks have been polled so many times more, and calls `met` then.
    pub fn crash_at_poll(&self, replica: usize, polls: u64, down: Duration, met: OnMet) {
        if let Some(host) = self.host(replica) {
            let mut state = host.state();
            state.crash_at = Some((state.polls + polls.max(1), down, met));
        }
    }

    /// What was planned and did not come about is forgotten, and all clocks are right again.
    pub fn calm(&self) {
        for host in &self.inner.hosts {
            host.state().crash_at = None;
            self.skew(host.at, 0);
        }
    }

    /// Its tasks are not polled for a while; time goes on. False if it was down or frozen already.
    pub fn freeze(&self, replica: usize, lasting: Duration) -> bool {
        let Some(host) = self.host(replica) else {
            return false;
        };
        let life = {
            let mut state = host.state();
            if !state.up || state.frozen {
                return false;
            }
            state.frozen = true;
            state.life
        };
        (self.inner.told)(replica, HostEvent::Frozen);
        self.inner.changed.notify_waiters();
        let (host, inner) = (Arc::clone(host), Arc::clone(&self.inner));
        self.inner.world.spawn("thaw", async move {
            tokio::time::sleep(lasting).await;
            let parked = {
                let mut state = host.state();
                if state.life != life {
                    return;
                }
                state.frozen = false;
                std::mem::take(&mut state.parked)
            };
            (inner.told)(host.at, HostEvent::Thawed);
            inner.changed.notify_waiters();
            parked.into_iter().for_each(Waker::wake);
        });
        true
    }

    /// The tasks of a replica that have not ended, by name.
    pub fn tasks_of(&self, replica: usize) -> BTreeMap<&'static str, usize> {
        let mut names = BTreeMap::new();
        if let Some(host) = self.host(replica) {
            for (name, task) in &host.state().tasks {
                if !task.is_finished() {
                    *names.entry(*name).or_default() += 1;
                }
            }
        }
        names
    }

    /// Sets the replica's wall clock wrong by so many milliseconds, for good. False if it is down: it will be
    /// wrong once it runs.
    pub fn skew(&self, replica: usize, millis: i64) -> bool {
        let Some(host) = self.host(replica) else {
            return false;
        };
        let mut state = host.state();
        state.skew = millis;
        if let Some(clock) = &state.clock {
            clock.set(self.wall(millis));
        }
        state.up
    }

    /// What runs tasks on a host, for as long as it does not crash. Nothing while it is down.
    pub fn executor(&self, replica: usize) -> Option<Arc<dyn Executor>> {
        let host = self.host(replica)?;
        let state = host.state();
        state.up.then(|| self.life(host, state.life))
    }

    fn life(&self, host: &Arc<Host>, life: u64) -> Arc<dyn Executor> {
        Arc::new(Life {
            hosts: self.clone(),
            host: Arc::clone(host),
            life,
        })
    }

    fn wall(&self, skew: i64) -> Timestamp {
        let now = self.inner.epoch.after(self.inner.start.elapsed());
        Timestamp(now.0 + skew)
    }

    fn up(&self, replica: usize) {
        let Some(host) = self.host(replica) else { return };
        let (executor, clock) = {
            let mut state = host.state();
            if state.up {
                return;
            }
            (state.up, state.dark) = (true, false);
            let clock = Clock::starting_at(self.wall(state.skew));
            state.clock = Some(clock.clone());
            (self.life(host, state.life), clock)
        };
        (self.inner.told)(replica, HostEvent::Started);
        let boot = self
            .inner
            .boot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(boot) = boot {
            boot(replica, executor, clock);
        }
        self.inner.changed.notify_waiters();
    }

    fn host(&self, replica: usize) -> Option<&Arc<Host>> {
        self.inner.hosts.get(replica)
    }
}
