//! Watches: all that is there, a sign that this was all, then every change.

use std::{collections::BTreeSet, sync::Arc};

use gust_core::ids::{JobRef, MachineName};
use gust_proto::v1::{self, watch_jobs_response as jobs_event, watch_machines_response as machines_event};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{Answers, convert, fail, pages::Filter};
use crate::{
    leader::{Delta, JobChange, JobInfo, LeaderGone, MachineChange, MachineInfo, Watching},
    task::Tasks,
};

/// Messages that may wait for a slow client before the watch waits, and then lags.
const DEPTH: usize = 256;

/// What one kind of watch makes of a change.
trait View: Send + 'static {
    type Event: Send + 'static;
    fn events(&mut self, delta: &Delta) -> Vec<Self::Event>;
    fn synced(&self) -> Self::Event;
}

pub(super) fn jobs(
    tasks: &Tasks,
    watching: Watching,
    filter: Filter<JobInfo>,
) -> Answers<v1::WatchJobsResponse> {
    run(
        tasks,
        watching,
        Jobs {
            filter,
            sent: BTreeSet::new(),
        },
    )
}

pub(super) fn machines(
    tasks: &Tasks,
    watching: Watching,
    filter: Filter<MachineInfo>,
) -> Answers<v1::WatchMachinesResponse> {
    run(
        tasks,
        watching,
        Machines {
            filter,
            sent: BTreeSet::new(),
        },
    )
}

/// What another replica streams, as it comes.
pub(super) fn pass_on<T: Send + 'static>(stream: Streaming<T>) -> Answers<T> {
    Box::pin(stream.map(|item| item.map_err(fail::passed_on)))
}

fn run<V: View>(tasks: &Tasks, watching: Watching, mut view: V) -> Answers<V::Event> {
    let (sender, receiver) = mpsc::channel(DEPTH);
    // The task ends with the client, or with the leader.
    tasks.spawn("watch", async move {
        let Watching { first, mut changes } = watching;
        let mut events = view.events(&first);
        events.push(view.synced());
        drop(first);
        loop {
            for event in events {
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            let next: Result<Arc<Delta>, RecvError> = tokio::select! {
                biased;
                () = sender.closed() => return,
                next = changes.recv() => next,
            };
            events = match next {
                Ok(delta) => view.events(&delta),
                Err(end) => {
                    let status = match end {
                        RecvError::Lagged(_) => fail::lagged(),
                        RecvError::Closed => fail::gone(LeaderGone),
                    };
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            };
        }
    });
    let stream: ReceiverStream<Result<V::Event, Status>> = ReceiverStream::new(receiver);
    boxed(stream)
}

fn boxed<T>(stream: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Answers<T> {
    Box::pin(stream)
}

struct Jobs {
    filter: Filter<JobInfo>,
    /// What the client knows of: only that can be removed.
    sent: BTreeSet<JobRef>,
}

impl View for Jobs {
    type Event = v1::WatchJobsResponse;

    fn events(&mut self, delta: &Delta) -> Vec<Self::Event> {
        let event = |change: &JobChange| match change {
            JobChange::Put(job) if (self.filter)(job) => {
                self.sent.insert(job.record.job.clone());
                Some(jobs_event::Event::Put(convert::job(job)))
            }
            JobChange::Put(job) => self
                .sent
                .remove(&job.record.job)
                .then(|| jobs_event::Event::Removed(convert::job(job))),
            JobChange::Ended(job, history) => self.sent.remove(job).then(|| {
                let ended = history.as_ref().map(|history| convert::ended(history));
                jobs_event::Event::Removed(ended.unwrap_or_else(|| convert::forgotten(job)))
            }),
        };
        let events = delta.jobs.iter().filter_map(event);
        events
            .map(|event| v1::WatchJobsResponse { event: Some(event) })
            .collect()
    }

    fn synced(&self) -> Self::Event {
        v1::WatchJobsResponse {
            event: Some(jobs_event::Event::Synced(v1::Synced {})),
        }
    }
}

struct Machines {
    filter: Filter<MachineInfo>,
    sent: BTreeSet<MachineName>,
}

impl View for Machines {
    type Event = v1::WatchMachinesResponse;

    fn events(&mut self, delta: &Delta) -> Vec<Self::Event> {
        let event = |change: &MachineChange| match change {
            MachineChange::Put(machine) if (self.filter)(machine) => {
                self.sent.insert(machine.record.name.clone());
                Some(machines_event::Event::Put(convert::machine(machine)))
            }
            MachineChange::Put(machine) => self
                .sent
                .remove(&machine.record.name)
                .then(|| machines_event::Event::Removed(convert::machine(machine))),
            MachineChange::Gone(name) => self.sent.remove(name).then(|| {
                machines_event::Event::Removed(v1::Machine {
                    name: name.to_string(),
                    ..v1::Machine::default()
                })
            }),
        };
        let events = delta.machines.iter().filter_map(event);
        events
            .map(|event| v1::WatchMachinesResponse { event: Some(event) })
            .collect()
    }

    fn synced(&self) -> Self::Event {
        v1::WatchMachinesResponse {
            event: Some(machines_event::Event::Synced(v1::Synced {})),
        }
    }
}
