//! Machines of kind `sim`: no process, but all that a machine says to the world.
//!
//! Each is one task. It asks the metadata model for its identity token, claims at gust over the real gRPC, speaks the
//! real Agent API for its job, sleeps for as long as the job runs, says that it is done and powers off. What takes the
//! place of 10,000 hosts is shared: a few connections to each replica of gust, and one pool to Buildkite.

mod agent;
mod claim;
mod key;
mod life;
mod script;
mod tools;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::life::Machine;
use self::tools::Tools;
pub use self::tools::ToolsError;
use crate::gce::Order;
use crate::http::{Shared, spawn};

/// Plays machines as tasks of this process.
pub struct Simulator {
    tools: Arc<Tools>,
    running: BTreeMap<u64, Running>,
    /// With so many entries those of machines that have ended are dropped.
    full: usize,
}

struct Running {
    /// Asks it to end in good order.
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Simulator {
    /// A simulator without machines.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new() -> Result<Self, ToolsError> {
        Ok(Self {
            tools: Arc::new(Tools::new()?),
            running: BTreeMap::new(),
            full: 1024,
        })
    }

    /// Does what the model orders until cancelled; then no machine is left.
    pub async fn run(mut self, shared: Shared, cancel: CancellationToken) {
        let mut grown = shared.grown();
        shared.with(None, |world, _, _| world.gce.want_orders());
        loop {
            grown.mark_unchanged();
            for order in shared.with(None, |world, _, _| world.gce.take_orders()) {
                self.obey(&shared, order);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                changed = grown.changed() => if changed.is_err() { break },
            }
        }
        for machine in self.running.into_values() {
            machine.task.abort();
        }
    }

    fn obey(&mut self, shared: &Shared, order: Order) {
        match order {
            Order::Start { instance, turn } => self.start(shared, instance, turn),
            Order::Stop { instance, .. } => {
                if let Some(machine) = self.running.get(&instance) {
                    machine.stop.cancel();
                }
            }
            // One that stands still is never polled again: nothing tells it from one that is dead.
            Order::Kill { instance } | Order::Freeze { instance } => self.end(instance),
        }
    }

    fn start(&mut self, shared: &Shared, instance: u64, turn: u32) {
        self.end(instance);
        if self.running.len() >= self.full {
            self.running.retain(|_, machine| !machine.task.is_finished());
            self.full = (2 * self.running.len()).max(1024);
        }
        let stop = CancellationToken::new();
        let machine = Machine {
            tools: Arc::clone(&self.tools),
            shared: shared.clone(),
            instance,
            turn,
            stop: stop.clone(),
        };
        let task = spawn("simulated machine", machine.live());
        self.running.insert(instance, Running { stop, task });
    }

    fn end(&mut self, instance: u64) {
        if let Some(machine) = self.running.remove(&instance) {
            machine.task.abort();
        }
    }
}
