//! Carries out the orders of the GCE model, one task for each machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::guest::{self, Ask, Start};
use super::watch::Guard;
use crate::gce::Order;
use crate::http::{Shared, spawn};

/// Why machines cannot be run.
#[derive(Debug, Error)]
pub enum RunnerError {
    /// There is no guest program.
    #[error("the guest program {path} does not exist; build gust-guest, or name one with --guest PATH")]
    NoGuest {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no room for the machines' directories.
    #[error("no directory for the machines can be made")]
    Folder(#[source] std::io::Error),
}

/// Runs guests as processes.
pub struct Runner {
    program: PathBuf,
    agent: Option<PathBuf>,
    root: TempDir,
    running: BTreeMap<u64, Machine>,
    /// Guests started so far.
    started: u64,
    ending: Vec<JoinHandle<()>>,
}

struct Machine {
    asks: mpsc::Sender<Ask>,
    task: JoinHandle<()>,
}

impl Runner {
    /// A runner of this guest program; without one, `gust-guest` beside the present program.
    pub fn new(guest: Option<PathBuf>) -> Result<Self, RunnerError> {
        let beside = || {
            let mut path = std::env::current_exe().unwrap_or_default();
            path.set_file_name("gust-guest");
            path
        };
        let path = guest.unwrap_or_else(beside);
        let program = path.canonicalize().map_err(|_| RunnerError::NoGuest { path })?;
        let root = tempfile::Builder::new()
            .prefix("gust-machines-")
            .tempdir()
            .map_err(RunnerError::Folder)?;
        let agent = std::env::var_os("GUST_BUILDKITE_AGENT")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        Ok(Self {
            program,
            agent,
            root,
            running: BTreeMap::new(),
            started: 0,
            ending: Vec::new(),
        })
    }

    /// Does what the model orders until cancelled; then kills every machine and waits for its end.
    pub async fn run(mut self, shared: Shared, cancel: CancellationToken) {
        let guard = Guard::start(self.root.path());
        if let Err(error) = &guard {
            warn!(%error, "machines would outlive fakes that are killed: no guard can be started");
        }
        let mut grown = shared.grown();
        shared.with(None, |world, _, _| world.gce.want_orders());
        loop {
            grown.mark_unchanged();
            for order in shared.with(None, |world, _, _| world.gce.take_orders()) {
                self.obey(&shared, order).await;
            }
            self.ending.retain(|task| !task.is_finished());
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                changed = grown.changed() => if changed.is_err() { break },
            }
        }
        for (_, machine) in std::mem::take(&mut self.running) {
            let _ = machine.asks.send(Ask::Kill).await;
            self.ending.push(machine.task);
        }
        for task in self.ending {
            // A task that panicked has dropped its child, which kills it.
            let _ = task.await;
        }
        if let Ok(guard) = guard {
            guard.dismiss().await;
        }
    }

    async fn obey(&mut self, shared: &Shared, order: Order) {
        match order {
            Order::Start { instance, turn } => self.start(shared, instance, turn).await,
            Order::Stop { instance, grace } => self.ask(instance, Ask::Stop(grace)).await,
            Order::Freeze { instance } => self.ask(instance, Ask::Freeze).await,
            Order::Kill { instance } => {
                self.ask(instance, Ask::Kill).await;
                if let Some(machine) = self.running.remove(&instance) {
                    self.ending.push(machine.task);
                }
            }
        }
    }

    async fn ask(&self, instance: u64, ask: Ask) {
        if let Some(machine) = self.running.get(&instance) {
            // A guest that has ended no longer listens.
            let _ = machine.asks.send(ask).await;
        }
    }

    async fn start(&mut self, shared: &Shared, instance: u64, turn: u32) {
        if let Some(old) = self.running.remove(&instance) {
            let _ = old.asks.send(Ask::Kill).await;
            self.ending.push(old.task);
        }
        let name = shared.with(None, |world, _, _| {
            world
                .gce
                .instance(instance)
                .map(|instance| instance.name.to_string())
        });
        let Some(name) = name else { return };
        // Short: the agent makes sockets below its home, and a socket's path has at most 108 characters.
        self.started += 1;
        let folder = self.root.path().join(self.started.to_string());
        let start = Start {
            instance,
            turn,
            name,
            program: self.program.clone(),
            folder,
            agent: self.agent.clone(),
        };
        let (asks, inbox) = mpsc::channel(16);
        let task = spawn("machine", guest::run(shared.clone(), start, inbox));
        self.running.insert(instance, Machine { asks, task });
    }
}
