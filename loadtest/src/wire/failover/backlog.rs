//! A standing backlog: always so many jobs that could be placed, and always some that are.
//!
//! Jobs come in pairs of equal shape, so that each pair is one bulk operation and waits for a slot. Once its machines
//! exist a pair is cancelled and thereby over. A few pairs are left alone: their machines boot, claim and run them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gust_core::ids::{JobId, MachineName, StackName};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::super::{control::Control, fleet::STACK};

/// Pairs of one build.
const PAIRS: usize = 200;
/// One pair in so many is left alone.
const LEFT_ALONE: usize = 40;
/// Disks differ, in GiB, and with them shapes: far more of them than pairs wait at a time.
const DISKS: std::ops::Range<usize> = 10..4_010;
/// Between two looks at what happened.
const LOOK: Duration = Duration::from_millis(100);

/// What happened so far, as the fakes saw it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The events that judges read.
    pub events: Vec<Value>,
    /// Accepted creates: the time of each, in seconds since the fakes began, by its request id.
    pub calls: BTreeMap<String, f64>,
    /// Jobs for which no machine was made yet.
    pub waiting: BTreeSet<String>,
    /// Jobs that are not over.
    pub open: BTreeSet<String>,
    /// Machines that exist.
    pub live: BTreeSet<String>,
    builds: BTreeSet<u64>,
    /// Jobs by the name of their first machine.
    first: BTreeMap<String, String>,
    due: Vec<String>,
    last: u64,
}

/// Keeps the backlog until it is told to stop.
#[derive(Clone)]
pub(super) struct Backlog {
    control: Arc<Control>,
    stack: StackName,
    size: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Seen {
    /// Takes what happened in.
    fn take(&mut self, event: Value, stack: &StackName) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        self.last = event["seq"].as_u64().unwrap_or(self.last);
        match event["kind"].as_str().unwrap_or_default() {
            "build.created" => self.builds.extend(event["build"].as_u64()),
            "build.finished" => {
                self.builds
                    .retain(|build| event["build"].as_u64() != Some(*build));
            }
            "job.created" => {
                let job = text("job");
                if let Ok(uuid) = Uuid::parse_str(&job) {
                    let name = MachineName::for_attempt(stack, JobId(uuid), 1);
                    self.first.insert(name.to_string(), job.clone());
                }
                self.waiting.insert(job.clone());
                self.open.insert(job);
            }
            "job.finished" => {
                let job = text("job");
                self.waiting.remove(&job);
                self.open.remove(&job);
            }
            "instance.inserted" => {
                let (name, call) = (text("name"), text("request_id"));
                if let Some(at) = event["at"].as_f64() {
                    self.calls.entry(call).or_insert(at);
                }
                if let Some(job) = self.first.get(&name) {
                    self.waiting.remove(job);
                    if !self.calls.len().is_multiple_of(LEFT_ALONE) {
                        self.due.push(job.clone());
                    }
                }
                self.live.insert(name);
            }
            "instance.deleted" => {
                self.live.remove(&text("name"));
            }
            "token.issued" | "agent.registered" | "job.acquired" => {}
            _ => return,
        }
        self.events.push(event);
    }
}

impl Backlog {
    /// A backlog of at least `size` jobs.
    ///
    /// # Errors
    /// The stack's name is none.
    pub fn new(control: Control, size: usize) -> Result<Self> {
        Ok(Self {
            control: Arc::new(control),
            stack: StackName::new(STACK).context("the stack has no name")?,
            size,
            seen: Arc::default(),
        })
    }

    /// What happened so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it, for ever.
    ///
    /// # Errors
    /// The fakes do not answer.
    pub async fn keep(&self) -> Result<()> {
        let mut pairs = 0;
        loop {
            self.look().await?;
            let due = std::mem::take(&mut self.seen().due);
            for job in due {
                // One that is over meanwhile cannot be cancelled.
                let _ = self.control.cancel_job(&job).await;
            }
            if self.seen().waiting.len() < self.size {
                self.control.build(&pipeline(pairs)).await?;
                pairs += PAIRS;
            }
            sleep(LOOK).await;
        }
    }

    /// Cancels all that is left and waits until nothing is.
    ///
    /// # Errors
    /// The fakes do not answer, or something is left after `patience`.
    pub async fn end(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        self.look().await?;
        let builds = self.seen().builds.clone();
        for build in builds {
            let _ = self.control.cancel_build(build).await;
        }
        loop {
            self.look().await?;
            let (open, live) = {
                let seen = self.seen();
                (seen.open.len(), seen.live.len())
            };
            if open == 0 && live == 0 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "after {patience:?} {open} jobs are not over and {live} machines left"
            );
            sleep(LOOK).await;
        }
    }

    async fn look(&self) -> Result<()> {
        let last = self.seen().last;
        let events = self.control.events(last).await?;
        let mut seen = self.seen();
        for event in events {
            seen.take(event, &self.stack);
        }
        Ok(())
    }
}

/// A build of pairs, each with a shape that no other pair near it has.
fn pipeline(first: usize) -> String {
    let mut text = "agents: { queue: gust }\nsteps:\n".to_owned();
    for pair in first..first + PAIRS {
        let disk = DISKS.start + pair % DISKS.len();
        let _ = writeln!(
            text,
            "  - {{ key: p{pair}, command: \"true\", parallelism: 2, agents: {{ queue: gust, cpu: 2, memory: 8, disk: {disk} }} }}"
        );
    }
    text
}
