//! Tasks that are watched: a panic, or a spin without end, stops the run and says where.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use gust_server::task::{Executor, Task};
use tokio::{sync::Notify, time::Instant};

/// Polls at one moment of virtual time after which a run counts as spinning. A burst of 10,000 jobs stays far below.
const SPIN: u64 = 5_000_000;

/// Rings once, and keeps why. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Alarm {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Polls at one moment that are too many.
    spin: u64,
    why: Mutex<Option<String>>,
    rang: Notify,
    polls: AtomicU64,
    moment: Mutex<Option<Instant>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            spin: SPIN,
            why: Mutex::default(),
            rang: Notify::new(),
            polls: AtomicU64::new(0),
            moment: Mutex::default(),
        }
    }
}

impl Alarm {
    /// One that rings after so many polls at one moment.
    #[cfg(test)]
    fn after(spin: u64) -> Self {
        let inner = Inner {
            spin,
            ..Inner::default()
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Rings, unless it rang before.
    pub fn ring(&self, why: String) {
        let mut kept = self.inner.why.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(why);
        drop(kept);
        self.inner.rang.notify_waiters();
    }

    /// Why it rang.
    pub fn why(&self) -> Option<String> {
        self.inner
            .why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until it rings.
    pub async fn rung(&self) -> String {
        loop {
            let rang = self.inner.rang.notified();
            if let Some(why) = self.why() {
                return why;
            }
            rang.await;
        }
    }

    // True if time stands still although much is done.
    fn spins(&self) -> bool {
        let polls = self.inner.polls.fetch_add(1, Ordering::Relaxed) + 1;
        if !polls.is_multiple_of(self.inner.spin) {
            return false;
        }
        let now = Instant::now();
        let mut moment = self.inner.moment.lock().unwrap_or_else(PoisonError::into_inner);
        moment.replace(now) == Some(now)
    }
}

/// Runs the tasks of the world, watched.
#[derive(Debug)]
pub struct Watching(pub Alarm);

impl Executor for Watching {
    fn run(&self, name: &'static str, task: Task) {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the helper that all tasks of the world are started with"
        )]
        tokio::spawn(watched(name, task, &self.0));
    }
}

/// The task, watched: what it does wrong rings the alarm.
pub fn watched(name: &'static str, task: Task, alarm: &Alarm) -> Task {
    hook();
    Box::pin(Watched {
        name,
        task: Some(task),
        alarm: alarm.clone(),
    })
}

struct Watched {
    name: &'static str,
    task: Option<Task>,
    alarm: Alarm,
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(task) = self.task.as_mut() else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(Poll::Pending) => {
                if self.alarm.spins() {
                    let name = self.name;
                    self.alarm.ring(format!(
                        "time stands still: task {name} and others are polled without end"
                    ));
                    self.task = None;
                    return Poll::Ready(());
                }
                Poll::Pending
            }
            Ok(Poll::Ready(())) => Poll::Ready(()),
            Err(_) => {
                let said = LAST.with_borrow_mut(Option::take).unwrap_or_default();
                self.alarm.ring(format!("task {} panicked: {said}", self.name));
                self.task = None;
                Poll::Ready(())
            }
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

// Keeps what a panic said and where; the usual report goes out as well.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            LAST.with_borrow_mut(|last| *last = Some(info.to_string()));
            usual(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gust_server::task::Tasks;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_rings_and_names_its_place() {
        let alarm = Alarm::default();
        let tasks = Tasks::on(Arc::new(Watching(alarm.clone())));
        tasks.spawn("careless", async { panic!("on purpose") });
        let why = tokio::time::timeout(Duration::from_secs(1), alarm.rung())
            .await
            .unwrap();
        assert!(
            why.contains("careless") && why.contains("on purpose") && why.contains("alarm.rs"),
            "{why}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_spin_rings_instead_of_hanging() {
        let alarm = Alarm::after(50_000);
        let tasks = Tasks::on(Arc::new(Watching(alarm.clone())));
        tasks.spawn("spinner", async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let why = alarm.rung().await;
        assert!(why.contains("spinner"), "{why}");
    }
}
