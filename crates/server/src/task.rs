//! The one way to start a task: it has a name, and its group can be ended and awaited.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use rand::{RngCore as _, SeedableRng as _};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::Instrument as _;

/// A task as an executor takes it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What runs tasks. Whoever hosts a replica decides what that is.
pub trait Executor: Send + Sync {
    /// Runs a task until it ends.
    fn run(&self, name: &'static str, task: Task);
}

/// The tokio runtime that is current when a task begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Current;

impl Executor for Current {
    fn run(&self, _name: &'static str, task: Task) {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the helper that all tasks are started with"
        )]
        tokio::spawn(task);
    }
}

/// A group of tasks that end together.
///
/// # Guarantees
/// After [`Tasks::stop`] returned, no task of the group runs any more: what a deposed leader had under way
/// has ended before a successor of the same process begins.
#[derive(Clone)]
pub struct Tasks {
    executor: Arc<dyn Executor>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::on(Arc::new(Current))
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("tasks", &self.tracker.len())
            .finish_non_exhaustive()
    }
}

impl Tasks {
    /// A group whose tasks, and those of all groups below it, run on `executor`.
    pub fn on(executor: Arc<dyn Executor>) -> Self {
        Self {
            executor,
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
        }
    }

    /// A group below this one: it ends when this one ends, or earlier.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            executor: Arc::clone(&self.executor),
            tracker: TaskTracker::new(),
            cancel: self.cancel.child_token(),
        }
    }

    /// A group beside this one: it does not end with this one, but when the guard is dropped, or earlier.
    pub fn apart(&self) -> (Self, DropGuard) {
        let apart = Self {
            executor: Arc::clone(&self.executor),
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        let guard = apart.cancel.clone().drop_guard();
        (apart, guard)
    }

    /// The token that ends the group.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Starts a task. It is dropped at its next await once the group is ended.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancel = self.cancel.clone();
        let task = async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = task => {}
            }
        };
        let task = task.instrument(tracing::debug_span!("task", name));
        self.executor.run(name, Box::pin(self.tracker.track_future(task)));
    }

    /// Starts a task that belongs to no group: nothing ends it but itself and the end of what runs it.
    pub fn detach<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.executor.run(name, Box::pin(task));
    }

    /// Ends all tasks of the group and waits for them.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Waiting times that grow: for calls that are repeated until they succeed.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
    dice: Dice,
}

impl Backoff {
    /// Starts at `first` and doubles up to `most`, each time with up to a quarter more at random.
    pub fn new(first: Duration, most: Duration, dice: &Dice) -> Self {
        Self {
            next: first,
            most,
            dice: dice.clone(),
        }
    }

    /// The next waiting time.
    pub fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = (self.next * 2).min(self.most);
        now + now.mul_f64(self.dice.fraction() / 4.0)
    }
}

/// The one source of randomness of a replica: seeded, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct Dice(Arc<std::sync::Mutex<rand_chacha::ChaCha8Rng>>);

impl Dice {
    /// A source that gives the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(std::sync::Mutex::new(
            rand_chacha::ChaCha8Rng::seed_from_u64(seed),
        )))
    }

    /// A source seeded by the system, for production.
    pub fn from_system() -> Self {
        Self::seeded(rand::rngs::StdRng::from_os_rng().next_u64())
    }

    /// A seed for a part that keeps a source of its own.
    pub fn seed(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .next_u64()
    }

    /// A number from 0 up to, not including, 1.
    pub fn fraction(&self) -> f64 {
        use rand::Rng as _;
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .random()
    }
}
