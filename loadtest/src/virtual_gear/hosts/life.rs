//! The tasks of a host: polled only while it runs.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use gust_server::task::{Executor, Task};

use super::{Host, Hosts, OnMet};
use crate::virtual_gear::alarm::watched;

/// One life of a host, from its start to its crash.
pub(super) struct Life {
    pub hosts: Hosts,
    pub host: Arc<Host>,
    pub life: u64,
}

impl Executor for Life {
    fn run(&self, name: &'static str, task: Task) {
        if self.host.state().life != self.life {
            return;
        }
        let gated = Gated {
            task: Some(watched(name, task, &self.hosts.inner.alarm)),
            hosts: self.hosts.clone(),
            host: Arc::clone(&self.host),
            life: self.life,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the helper that all tasks of a replica are started with"
        )]
        let handle = tokio::spawn(gated).abort_handle();
        let mut state = self.host.state();
        if state.tasks.len() >= 256 && state.tasks.len().is_power_of_two() {
            state.tasks.retain(|task| !task.1.is_finished());
        }
        state.tasks.push((name, handle));
    }
}

/// A task that is polled only while its host runs.
struct Gated {
    task: Option<Task>,
    hosts: Hosts,
    host: Arc<Host>,
    life: u64,
}

enum Turn {
    Poll,
    Wait,
    Crash(Duration, OnMet),
    Dead,
}

impl Gated {
    fn turn(&self, waker: &Waker) -> Turn {
        let mut state = self.host.state();
        if state.life != self.life {
            return Turn::Dead;
        }
        if state.frozen {
            state.parked.push(waker.clone());
            return Turn::Wait;
        }
        state.polls += 1;
        match &state.crash_at {
            Some((at, down, met)) if state.polls >= *at => Turn::Crash(*down, Arc::clone(met)),
            _ => Turn::Poll,
        }
    }
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.turn(context.waker()) {
            Turn::Wait => return Poll::Pending,
            Turn::Crash(down, met) => {
                met();
                self.hosts.crash(self.host.at, down, false);
                self.task = None;
                return Poll::Ready(());
            }
            Turn::Dead => {
                self.task = None;
                return Poll::Ready(());
            }
            Turn::Poll => {}
        }
        let Some(task) = self.task.as_mut() else {
            return Poll::Ready(());
        };
        let polled = task.as_mut().poll(context);
        // It may have brought its own host down.
        if polled.is_ready() || self.host.state().life != self.life {
            self.task = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
