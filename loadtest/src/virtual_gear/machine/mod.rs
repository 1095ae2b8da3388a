//! Simulated machines: they boot, claim at any replica, run their job as an agent would, and power off. They
//! freeze, die, lose what they had, and are impersonated.

mod agent;
mod attack;
mod guest;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use gust_core::{
    claim::Proof,
    ids::{MachineName, ProjectId, Zone},
    records::KeyHash,
    time::Timestamp,
};
use gust_fakes::gce::{self, Order};
use gust_server::{
    leader::Handle,
    task::{Dice, Tasks},
};
use tokio::sync::{Notify, mpsc};

pub(super) use self::attack::Attackers;
use self::guest::Guest;
use super::{net::Net, world::Shared};

/// The replicas' front doors, by index; none while a replica is down. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<Option<Handle>>>>);

impl Doors {
    /// Doors of that many replicas, all closed.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![None; count])))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Opens the door of a replica that began, or closes that of one that is gone.
    pub fn set(&self, replica: usize, handle: Option<Handle>) {
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = doors.get_mut(replica) {
            *door = handle;
        }
    }

    /// The door of a replica, if it is open.
    pub fn get(&self, replica: usize) -> Option<Handle> {
        let doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        doors.get(replica).cloned().flatten()
    }
}

/// Plays all machines of a world.
pub(super) struct Machines {
    pub world: Shared,
    pub net: Net,
    pub doors: Doors,
    pub dice: Dice,
    /// Tasks of the world: machines outlive any replica.
    pub tasks: Tasks,
}

/// A guest at work.
struct Running {
    tasks: Tasks,
    /// Told to end in good order.
    stop: Arc<Notify>,
}

impl Machines {
    /// Obeys orders until the world is gone.
    pub async fn play(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut running: BTreeMap<u64, Running> = BTreeMap::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Start { instance, turn } => {
                    let (tasks, stop) = (self.tasks.child(), Arc::new(Notify::new()));
                    let guest = Guest {
                        world: self.world.clone(),
                        net: self.net.clone(),
                        doors: self.doors.clone(),
                        dice: self.dice.clone(),
                        stop: Arc::clone(&stop),
                        instance,
                        turn,
                    };
                    tasks.spawn("guest", guest.live());
                    running.insert(instance, Running { tasks, stop });
                }
                Order::Stop { instance, .. } => {
                    if let Some(guest) = running.get(&instance) {
                        guest.stop.notify_one();
                    }
                }
                Order::Kill { instance } | Order::Freeze { instance } => {
                    if let Some(guest) = running.remove(&instance) {
                        guest.tasks.cancelled().cancel();
                    }
                }
            }
        }
    }
}

/// What a machine proves when it claims with this key.
fn proof_of(model: &gce::Model, instance: &gce::Instance, key: String) -> Option<Proof> {
    let (project, _) = model.project_of(instance);
    Some(Proof {
        machine: MachineName::new(&*instance.name),
        project: ProjectId::new(project),
        zone: Zone::new(&*instance.zone),
        instance_id: instance.id,
        created_at: Timestamp(i64::try_from(instance.created_ns / 1_000_000).ok()?),
        email: instance.shape.template.service_account.as_ref()?.0.clone(),
        key: KeyHash(key),
    })
}
