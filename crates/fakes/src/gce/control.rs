//! What happens to machines, by the hand of a test: preempt, host error, freeze, crash, power off; and what
//! whoever runs the guests reports.

use super::due::Due;
use super::instance::{After, Guest, Instance, Status};
use super::model::Model;
use super::orders::Order;
use crate::event::Effects;
use crate::now::Now;

/// What can happen to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Google takes a Spot machine back.
    Preempt,
    /// The host breaks.
    HostError,
    /// The guest stops in its tracks; the machine stays RUNNING.
    Freeze,
    /// The guest dies; the machine stays RUNNING.
    Crash,
    /// The guest powers the machine off.
    PowerOff,
    /// The disk is lost: the machine reboots from its image, without anything it had.
    LoseDisk,
}

impl Mishap {
    /// The name in the control surface.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "preempt" => Self::Preempt,
            "host-error" => Self::HostError,
            "freeze" => Self::Freeze,
            "crash" => Self::Crash,
            "power-off" => Self::PowerOff,
            "lose-disk" => Self::LoseDisk,
            _ => return None,
        })
    }
}

/// Why it cannot happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// There is no instance of that name: 404.
    #[error("there is no instance {0}")]
    NoSuchInstance(String),
    /// Not in this state: 422.
    #[error("instance {name} {why}")]
    State {
        /// The instance.
        name: String,
        /// Why not.
        why: String,
    },
}

impl Model {
    /// Makes something happen to the instance of that name (in any project and zone; of several the oldest).
    pub fn happen(
        &mut self,
        now: Now,
        name: &str,
        mishap: Mishap,
        out: &mut Effects,
    ) -> Result<(), Impossible> {
        let named = self.instances.values().filter(|instance| &*instance.name == name);
        let Some(instance) = named.min_by_key(|instance| (instance.created_ns, instance.id)) else {
            return Err(Impossible::NoSuchInstance(name.to_owned()));
        };
        let (id, status, guest) = (instance.id, instance.status, instance.guest);
        let is_spot = instance.shape.template.scheduling.is_spot();
        let impossible = |why: String| {
            Err(Impossible::State {
                name: name.to_owned(),
                why,
            })
        };
        let is_up = matches!(status, Status::Provisioning | Status::Staging | Status::Running);
        match mishap {
            Mishap::Preempt if !is_spot => impossible("is not a Spot machine".into()),
            Mishap::Preempt if is_up => {
                self.preempt(now, id, out);
                Ok(())
            }
            Mishap::HostError | Mishap::Freeze | Mishap::Crash | Mishap::PowerOff | Mishap::LoseDisk
                if status == Status::Running =>
            {
                match mishap {
                    Mishap::HostError => self.host_error(now, id, out),
                    Mishap::PowerOff => self.power_off(now, id, out),
                    Mishap::LoseDisk => self.reboot_guest(now, id, out),
                    _ if guest != Guest::On => {
                        return impossible(format!("has no guest at work ({guest:?})"));
                    }
                    Mishap::Freeze => {
                        self.set_guest(id, Guest::Frozen, out);
                        self.order(Order::Freeze { instance: id });
                    }
                    _ => {
                        self.set_guest(id, Guest::Crashed, out);
                        self.order(Order::Kill { instance: id });
                    }
                }
                self.flush(now, out);
                Ok(())
            }
            _ => impossible(format!("is {}", status.name())),
        }
    }

    /// The guest program that was started in this `turn` ended: `clean` (exit 0) powers the machine off,
    /// anything else is a crash and the machine stays RUNNING.
    pub fn guest_ended(&mut self, now: Now, id: u64, turn: u32, clean: bool, out: &mut Effects) {
        let Some(instance) = self.instances.get(&id).filter(|instance| instance.turn == turn) else {
            return;
        };
        if instance.status != Status::Running || !matches!(instance.guest, Guest::On | Guest::Frozen) {
            return;
        }
        if clean {
            self.set_guest(id, Guest::Off, out);
            self.power_off(now, id, out);
            self.flush(now, out);
        } else {
            self.set_guest(id, Guest::Crashed, out);
        }
    }

    /// Notes what the guest wrote to its console, for `getSerialPortOutput`. The last MiB is kept.
    pub fn console(&mut self, id: u64, text: &str) {
        const KEPT: usize = 1 << 20;
        if !self.instances.contains_key(&id) {
            return;
        }
        let kept = self.consoles.entry(id).or_default();
        kept.push_str(text);
        let mut cut = kept.len().saturating_sub(KEPT);
        while !kept.is_char_boundary(cut) {
            cut += 1;
        }
        kept.drain(..cut);
    }

    /// Writes or removes a guest attribute; false if there was none to remove.
    pub fn set_guest_attribute(&mut self, id: u64, space: &str, key: &str, value: Option<String>) -> bool {
        let Some(instance) = self.instances.get_mut(&id) else {
            return false;
        };
        let at = (space.to_owned(), key.to_owned());
        match value {
            Some(value) => {
                instance.guest_attributes.insert(at, value);
                true
            }
            None => instance.guest_attributes.remove(&at).is_some(),
        }
    }

    /// The project of an instance: its id and number.
    pub fn project_of(&self, instance: &Instance) -> (&str, u64) {
        let project = &self.projects[instance.project];
        (&project.id, project.number)
    }

    /// The full host name of an instance.
    pub fn hostname(&self, instance: &Instance) -> String {
        let project = &self.projects[instance.project].id;
        let internal = || format!("{}.{}.c.{project}.internal", instance.name, instance.zone);
        instance.hostname.clone().unwrap_or_else(internal)
    }

    /// The internal address of an instance.
    pub fn internal_address(&self, instance: &Instance) -> String {
        super::addresses::internal(self.region_index(&instance.zone), instance.address)
    }

    /// An instance of that name, in any project and zone.
    pub fn instance_named(&self, name: &str) -> Option<&Instance> {
        self.instances.get(self.by_name.get(name)?.first()?)
    }

    /// All instances, by id.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The instance of that id.
    pub fn instance(&self, id: u64) -> Option<&Instance> {
        self.instances.get(&id)
    }

    pub(super) fn preempt(&mut self, now: Now, id: u64, out: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.is_preempted = true;
        let deletes = instance.shape.template.scheduling.deletes();
        self.system_operation(
            now,
            id,
            "compute.instances.preempted",
            "Instance was preempted.",
            out,
        );
        self.leave(now, id, deletes, "preempted", out);
        self.flush(now, out);
    }

    fn host_error(&mut self, now: Now, id: u64, out: &mut Effects) {
        let message = "Instance terminated due to a hardware failure on the host.";
        let told = ("compute.instances.hostError", message, "host-error");
        self.end_on_host(now, id, told, Status::Repairing, out);
    }

    /// The host lets go of a machine, without a word to its guest: it starts again, in this status, or is
    /// TERMINATED. `told` are the system operation, its message, and the cause in the log.
    pub(super) fn end_on_host(
        &mut self,
        now: Now,
        id: u64,
        (kind, message, cause): (&'static str, &'static str, &str),
        again: Status,
        out: &mut Effects,
    ) {
        let restarts = self.known(id).shape.template.scheduling.restarts();
        self.system_operation(now, id, kind, message, out);
        if restarts {
            self.system_operation(
                now,
                id,
                "compute.instances.automaticRestart",
                "Instance was restarted.",
                out,
            );
            self.restart(now, id, again, cause, out);
            return;
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.turn += 1;
            instance.stopped_ns = Some(now.unix_ns);
        }
        self.go_down(now, id, cause, out);
    }

    fn power_off(&mut self, now: Now, id: u64, out: &mut Effects) {
        self.system_operation(
            now,
            id,
            "compute.instances.guestTerminate",
            "Guest OS shut the instance down.",
            out,
        );
        self.begin_stop(now, id, After::Terminate, "guest", out);
    }

    /// A reset: the guest dies and starts again.
    pub(super) fn reboot_guest(&mut self, now: Now, id: u64, out: &mut Effects) {
        let delay = self.draw(self.limits.boot.guest_s);
        self.end_guest(id, out);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        // A turn of its own, so that the end of the old guest is not taken for the end of the new one.
        instance.turn += 1;
        let turn = instance.turn;
        let run_left = instance.termination;
        if !instance.boot.is_broken {
            self.due
                .push(now.since_start + delay, Due::GuestStart { instance: id, turn });
        }
        if let Some(end) = run_left {
            self.due.push(end, Due::RunOver { instance: id, turn });
        }
    }

    pub(super) fn set_guest(&mut self, id: u64, guest: Guest, out: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let from = std::mem::replace(&mut instance.guest, guest);
        if from != guest {
            out.push(super::events::guest_state(instance, from));
        }
    }

    fn flush(&mut self, now: Now, out: &mut Effects) {
        for project in &mut self.projects {
            project.ledger.flush(&project.id, &self.limits, now, out);
        }
    }
}
