//! The injector: obeys a scenario. It is the weather of the network, counts messages and events, and makes
//! every fault happen at its moment. A fault counts as run only when it met something; then the witness is told.
//!
//! Faults of replicas, of etcd and of messages happen at once, in the middle of whatever triggered them. Those
//! that touch the fakes are errands of the `driver`'s task, at the same moment of virtual time: their trigger
//! may hold the world.

mod act;
mod control;
mod driver;
mod hands;
mod mishap;
mod odd;
mod operator;
mod state;
mod strike;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_core::ids::MachineName;
use gust_fakes::event::Event;
use tokio::sync::mpsc;
use uuid::Uuid;

pub use self::control::{EtcdControl, HostControl, Witness};
use self::{
    driver::Errand,
    state::{Item, State},
};
use super::{
    check::{Met, Subject},
    machine::Attackers,
    net::{Fate, Passage, Point, Weather},
    scenario::{FaultKind, Scenario, Side, What},
    world::{Shared, Watcher, text},
};

/// What triggered a fault, as far as it has something to do with a replica, a job or a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Aim {
    sender: Option<usize>,
    job: Option<Uuid>,
    machine: Option<String>,
}

/// Obeys a scenario. Cheap to clone.
#[derive(Clone)]
pub struct Injector {
    inner: Arc<Inner>,
}

struct Inner {
    scenario: Scenario,
    quiet: Duration,
    world: Shared,
    hosts: Arc<dyn HostControl>,
    etcd: Arc<dyn EtcdControl>,
    witness: Arc<dyn Witness>,
    state: Mutex<State>,
    errands: mpsc::UnboundedSender<Errand>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Errand>>>,
}

impl Injector {
    /// An injector that has not begun: see [`Injector::start`].
    pub fn new(
        scenario: &Scenario,
        world: &Shared,
        hosts: Arc<dyn HostControl>,
        etcd: Arc<dyn EtcdControl>,
        witness: Arc<dyn Witness>,
    ) -> Self {
        let (errands, inbox) = mpsc::unbounded_channel();
        let inner = Inner {
            quiet: scenario.quiet_after(),
            state: Mutex::new(State::new(scenario)),
            scenario: scenario.clone(),
            world: world.clone(),
            hosts,
            etcd,
            witness,
            errands,
            inbox: Mutex::new(Some(inbox)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Begins: creates the builds and does all that is planned, in a task of the world.
    pub(super) fn start(&self, attackers: Attackers) {
        let inbox = self
            .inner
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let inbox = inbox.expect("an injector is started once");
        let tasks = attackers.net.tasks.clone();
        tasks.spawn("injector", driver::drive(self.clone(), attackers, inbox));
    }

    /// How many builds are still to come.
    pub fn builds_left(&self) -> usize {
        self.state().builds_left
    }

    /// How much is planned for a time that has not come.
    pub fn errands_left(&self) -> usize {
        self.state().errands_left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_quiet(&self) -> bool {
        self.inner.world.elapsed() >= self.inner.quiet
    }

    /// A length of time, cut where it becomes quiet.
    fn until_quiet(&self, ms: u64) -> Duration {
        let left = self.inner.quiet.saturating_sub(self.inner.world.elapsed());
        Duration::from_millis(ms).min(left).max(Duration::from_millis(1))
    }

    fn what(&self, fault: usize) -> &What {
        &self.inner.scenario.faults[fault].what
    }

    fn met(&self, kind: FaultKind, subject: Subject, note: impl Into<String>) {
        let met = Met {
            kind: kind.name(),
            subject,
            note: note.into(),
        };
        self.inner.witness.fault(self.inner.world.elapsed(), &met);
    }

    fn send(&self, item: Item, delay: Duration, aim: Aim) {
        let errand = Errand {
            at: self.inner.world.elapsed() + delay,
            item,
            aim,
        };
        self.state().errands_left += 1;
        // Without a driver the run is over.
        let _ = self.inner.errands.send(errand);
    }

    /// Makes happen what hangs on a message or an event.
    fn trigger(&self, item: Item, delay: Duration, aim: Aim) {
        match item {
            Item::Fault(fault) if delay.is_zero() && strike::is_immediate(self.what(fault)) => {
                self.strike(fault, &aim);
            }
            _ => self.send(item, delay, aim),
        }
    }

    /// What a reply fault does to a message; it is met.
    fn bend(&self, fault: usize, point: Point, passage: &mut Passage) {
        let what = self.what(fault);
        let ms = Duration::from_millis;
        match what {
            What::ReplyLostBefore { .. } => passage.fate = Fate::LostBefore,
            What::ReplyLostAfter { .. } => passage.fate = Fate::LostAfter,
            What::ReplyTruncated { .. } => passage.fate = Fate::Truncated,
            What::ReplyDoubled { later_ms, .. } => passage.fate = Fate::Doubled(ms(*later_ms)),
            What::ReplyLate {
                late_ms,
                answer: false,
                ..
            } => passage.there += ms(*late_ms),
            What::ReplyLate { late_ms, .. } => passage.back += ms(*late_ms),
            What::Reply4xx { says, .. } | What::Reply5xx { says, .. } => {
                passage.fate = Fate::Refused {
                    status: says.status,
                    html: says.html,
                };
            }
            What::Reply429 { .. } => {
                passage.fate = Fate::Refused {
                    status: 429,
                    html: false,
                }
            }
            What::TokenRevoked { .. } => {
                passage.fate = Fate::Refused {
                    status: 401,
                    html: false,
                }
            }
            What::ReplyHtml { .. } => {
                passage.fate = Fate::Refused {
                    status: 200,
                    html: true,
                }
            }
            _ => return,
        }
        self.met(what.kind(), Subject::Point(point), passage.fate.to_string());
    }
}

impl Weather for Injector {
    fn passage(&self, from: usize, point: Point) -> Passage {
        let is_quiet = self.is_quiet();
        let (mut passage, items, bends) = {
            let mut state = self.state();
            let (there, back) = (state.latency(), state.latency());
            let passage = Passage {
                there,
                fate: Fate::Served,
                back,
            };
            if is_quiet {
                return passage;
            }
            if state::is_source(point) {
                state.leader = from;
            }
            let items = state.count(point, Side::Before);
            let rule = if state.rules.is_empty() {
                None
            } else {
                state.rule_at(point)
            };
            let revoked = state.revoked_at(point, self.inner.world.elapsed());
            (passage, items, [rule, revoked])
        };
        for fault in bends.into_iter().flatten() {
            self.bend(fault, point, &mut passage);
        }
        for item in items {
            match item {
                Item::Fault(fault) if self.what(fault).kind().is_reply() => {
                    let what = self.what(fault);
                    // At the message that triggers it, unless it names another point.
                    match what.point().filter(|named| *named != point) {
                        Some(named) => self.stand(fault, named, what.count()),
                        None => {
                            self.bend(fault, point, &mut passage);
                            self.stand(fault, point, what.count() - 1);
                        }
                    }
                }
                Item::Fault(fault) if matches!(self.what(fault), What::ReplicaCrash { .. }) => {
                    let aim = Aim {
                        sender: Some(from),
                        ..Aim::default()
                    };
                    // A sender that dies before its message left has not sent it.
                    if self.strike(fault, &aim) == Some(from) {
                        passage.fate = Fate::LostBefore;
                    }
                }
                item => {
                    let aim = Aim {
                        sender: Some(from),
                        ..Aim::default()
                    };
                    self.trigger(item, Duration::ZERO, aim);
                }
            }
        }
        passage
    }

    fn served(&self, from: usize, point: Point) {
        if self.is_quiet() {
            return;
        }
        let items = self.state().count(point, Side::After);
        for item in items {
            let aim = Aim {
                sender: Some(from),
                ..Aim::default()
            };
            match item {
                // The message at hand is over; the next ones at its point are struck.
                Item::Fault(fault) if self.what(fault).kind().is_reply() => {
                    let what = self.what(fault);
                    self.stand(fault, what.point().unwrap_or(point), what.count());
                }
                item => self.trigger(item, Duration::ZERO, aim),
            }
        }
    }
}

impl Watcher for Injector {
    fn saw(&self, at: Duration, event: &Event) {
        match event.kind {
            "fault.applied" => self.note_applied(event),
            "api.call" if !self.state().raised.is_empty() => self.note_read(event),
            _ => {}
        }
        if at >= self.inner.quiet {
            return;
        }
        let items = self.state().count_event(event.kind);
        for (item, delay) in items {
            self.trigger(item, delay, aim_of(event));
        }
    }
}

impl Injector {
    /// A fault of the fakes met something, as their log says.
    fn note_applied(&self, event: &Event) {
        let Some(fault) = text(event, "fault").and_then(|id| self.state().set.get(id).copied()) else {
            return;
        };
        let name = event
            .fields
            .get("subject")
            .and_then(|subject| subject.get("name"));
        let job = event.fields.get("subject").and_then(|subject| subject.get("job"));
        let job = job
            .and_then(serde_json::Value::as_str)
            .and_then(|job| Uuid::parse_str(job).ok());
        let subject = match (name.and_then(serde_json::Value::as_str), job) {
            (Some(name), _) => Subject::Machine(name.to_owned()),
            (None, Some(job)) => Subject::Job(job),
            (None, None) => Subject::World,
        };
        self.met(
            self.what(fault).kind(),
            subject,
            text(event, "fault_kind").unwrap_or_default(),
        );
    }

    /// Somebody reads quotas that were raised.
    fn note_read(&self, event: &Event) {
        if text(event, "method") == Some("compute.regions.get") {
            let raised = std::mem::take(&mut self.state().raised);
            for fault in raised {
                self.met(
                    self.what(fault).kind(),
                    Subject::World,
                    "seen by a read of the quotas",
                );
            }
        }
    }
}

fn aim_of(event: &Event) -> Aim {
    let machine = match event.kind {
        "job.acquired" | "agent.registered" | "agent.lost" | "agent.disconnected" => {
            text(event, "agent_name")
        }
        "instance.inserted" | "instance.state" | "instance.refused" | "guest.state" => text(event, "name"),
        "machine.claimed" => text(event, "instance"),
        _ => None,
    };
    Aim {
        sender: None,
        job: text(event, "job").and_then(|job| Uuid::parse_str(job).ok()),
        machine: machine.map(str::to_owned),
    }
}

/// The machine named, as gust names machines.
fn machine_name(name: &str) -> MachineName {
    MachineName::new(name)
}

#[cfg(test)]
mod tests;
