//! Faults of the fakes' models: set in their fault engine, or done to one job or machine.

use std::time::Duration;

use gust_fakes::{
    buildkite::{Job, State},
    fault::Order,
    gce::{Guest, Instance, Mishap, Status},
    world::World,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{
    check::{Limit, Subject},
    expected::limits,
    machine::Attackers,
    replica::{PROJECT, REGIONS},
    scenario::{Lister, What},
};
use super::{Aim, Injector, machine_name, state::Item};

impl Injector {
    pub(super) fn mishap(&self, fault: usize, aim: &Aim, attackers: &Attackers) {
        let what = self.what(fault);
        match what {
            What::VmFreeze { pick } => self.machine(fault, aim, *pick, Mishap::Freeze),
            What::DiskLost { pick } => self.machine(fault, aim, *pick, Mishap::LoseDisk),
            What::Preempted { pick } => self.machine(fault, aim, *pick, Mishap::Preempt),
            What::VmStopped { pick } => self.machine(fault, aim, *pick, Mishap::PowerOff),
            What::HostError { pick } => self.machine(fault, aim, *pick, Mishap::HostError),
            What::GuestCrash { pick } => self.machine(fault, aim, *pick, Mishap::Crash),
            What::WrongKey { pick } => {
                // Only a job's own code can try that, or what it left behind: so there was some.
                let worked: std::collections::BTreeSet<String> = self.inner.world.read(|world| {
                    let names = world.buildkite.have_worked().map(str::to_owned);
                    names.collect()
                });
                let fits = |instance: &Instance| {
                    instance.status == Status::Running && worked.contains(&*instance.name)
                };
                if let Some(name) = self.pick_machine(aim, *pick, fits)
                    && attackers.strike(&machine_name(&name))
                {
                    self.met(what.kind(), Subject::Machine(name), "");
                }
            }
            What::JobCancel { pick }
            | What::JobRetry { pick }
            | What::JobReprioritize { pick, .. }
            | What::ReservationLapse { pick }
            | What::AgentLost { pick } => self.job(fault, aim, *pick),
            What::ReservationTaken { pick, .. }
            | What::StateUnknown { pick, .. }
            | What::JobGone { pick } => {
                self.odd(fault, aim, *pick);
            }
            What::QuotaRaised { factor } => self.raise(fault, *factor),
            _ => self.set(fault),
        }
    }

    fn machine(&self, fault: usize, aim: &Aim, pick: u64, mishap: Mishap) {
        let fits = |instance: &Instance| match mishap {
            Mishap::Preempt => {
                instance.shape.template.scheduling.is_spot()
                    && matches!(
                        instance.status,
                        Status::Provisioning | Status::Staging | Status::Running
                    )
            }
            Mishap::HostError | Mishap::PowerOff => instance.status == Status::Running,
            Mishap::Freeze | Mishap::Crash | Mishap::LoseDisk => {
                instance.status == Status::Running && instance.guest == Guest::On
            }
        };
        let Some(name) = self.pick_machine(aim, pick, fits) else {
            return;
        };
        let happened = self
            .inner
            .world
            .call(|world, now, out| world.gce.happen(now, &name, mishap, out));
        if happened.is_ok() {
            self.met(self.what(fault).kind(), Subject::Machine(name), "");
        }
    }

    /// The machine that triggered the fault, or one of those that fit.
    fn pick_machine(&self, aim: &Aim, pick: u64, fits: impl Fn(&Instance) -> bool) -> Option<String> {
        self.inner.world.read(|world| {
            let aimed = aim
                .machine
                .as_ref()
                .and_then(|name| world.gce.instance_named(name));
            if let Some(instance) = aimed.filter(|instance| fits(instance)) {
                return Some(instance.name.to_string());
            }
            let fit: Vec<&Instance> = world.gce.instances().filter(|instance| fits(instance)).collect();
            nth(&fit, pick).map(|instance| instance.name.to_string())
        })
    }

    fn job(&self, fault: usize, aim: &Aim, pick: u64) {
        let what = self.what(fault);
        let fits = |job: &Job| match what {
            What::JobCancel { .. } => !job.state.is_terminal() && job.state != State::Canceling,
            What::JobRetry { .. } => job.state.is_terminal() && job.state != State::Skipped,
            What::JobReprioritize { .. } => !job.state.is_terminal() && !job.state.is_with_agent(),
            What::ReservationLapse { .. } => job.state == State::Reserved,
            _ => job.state.is_with_agent(),
        };
        let Some(job) = self.pick_job(aim, pick, fits) else {
            return;
        };
        let happened = self.inner.world.call(|world, now, out| {
            let model = &mut world.buildkite;
            match what {
                What::JobCancel { .. } => model.cancel_job(now, job, out),
                What::JobRetry { .. } => model.retry_job(now, job, out).map(|_| ()),
                What::JobReprioritize { priority, .. } => model.reprioritize(now, job, *priority, out),
                What::ReservationLapse { .. } => model.lapse_reservation(now, job, out),
                _ => model.give_up_agent_of(now, job, out),
            }
        });
        if happened.is_ok() {
            self.met(what.kind(), Subject::Job(job), "");
        }
    }

    /// The job that triggered the fault, or one of those that fit.
    pub(super) fn pick_job(&self, aim: &Aim, pick: u64, fits: impl Fn(&Job) -> bool) -> Option<Uuid> {
        self.inner.world.read(|world| {
            let aimed = aim.job.and_then(|job| world.buildkite.job(job));
            if let Some(job) = aimed.filter(|job| fits(job)) {
                return Some(job.uuid);
            }
            let fit: Vec<Uuid> = world
                .buildkite
                .jobs()
                .filter(|job| fits(job))
                .map(|job| job.uuid)
                .collect();
            nth(&fit, pick).copied()
        })
    }

    /// Every quota of vCPUs is raised. It is met once somebody reads quotas.
    fn raise(&self, fault: usize, factor: f64) {
        let change = self.inner.world.read(|world| raised(world, factor));
        let changed = self
            .inner
            .world
            .call(|world, now, _| world.change_limits(now, &change));
        if changed.is_ok() {
            self.state().raised.push(fault);
            self.tell_limits();
        }
    }

    /// What a cut or a pause leaves to be told when it begins; its end is an errand.
    fn begin_state(&self, fault: usize, lasting: Duration) {
        match self.what(fault) {
            What::QuotaCut { metric, limit, .. } => {
                self.state().cuts.push((fault, metric.clone(), *limit));
                self.tell_limits();
            }
            What::QueuePause { .. } => self.begin_pause(fault),
            _ => return,
        }
        self.send(Item::Over(fault), lasting, Aim::default());
    }

    /// The queue is paused, by a fault or, counted from the end of the faults, by an act.
    pub(super) fn begin_pause(&self, item: usize) {
        self.state().pauses.push(item);
        self.inner
            .witness
            .paused(self.inner.world.elapsed(), "gust", true);
    }

    /// A cut or a pause is over.
    pub(super) fn over(&self, item: usize) {
        let ended = {
            let mut state = self.state();
            state.cuts.retain(|(fault, ..)| *fault != item);
            let before = state.pauses.len();
            state.pauses.retain(|pause| *pause != item);
            before > 0 && state.pauses.is_empty()
        };
        if ended {
            self.inner
                .witness
                .paused(self.inner.world.elapsed(), "gust", false);
        }
        self.tell_limits();
    }

    /// Tells the world's quotas, cuts included.
    fn tell_limits(&self) {
        let mut limits = self
            .inner
            .world
            .read(|world| limits(world.limits(), PROJECT, &REGIONS));
        for (_, metric, value) in &self.state().cuts {
            // A cut of `CPUS_PER_VM_FAMILY` is one of each family's.
            let is_cut = |limit: &&mut Limit| limit.metric.split(':').next() == Some(metric);
            for limit in limits.iter_mut().filter(is_cut) {
                limit.value = limit.value.min(*value as u64);
            }
        }
        self.inner.witness.limits(self.inner.world.elapsed(), &limits);
    }

    /// Sets a fault in the fakes' own engine. It is met when the log says that it was applied.
    fn set(&self, fault: usize) {
        let what = self.what(fault);
        let Some((kind, aim, count)) = order(what) else {
            return;
        };
        let lasting = self.until_quiet(what.lasting_ms().unwrap_or(0));
        let order = Order {
            kind: kind.to_owned(),
            aim,
            for_s: Some(lasting.as_secs_f64()),
            count,
            probability: matches!(what, What::PagesShift { .. }).then_some(SHIFTS),
            ..Order::default()
        };
        self.begin_state(fault, lasting);
        self.give(fault, order);
    }

    /// Gives the fakes a fault to play.
    pub(super) fn give(&self, fault: usize, order: Order) {
        // Under the world's lock, so that the fault is known before anything can meet it.
        let set = self.inner.world.call(|world, now, _| {
            let id = world.faults.add(now, order)?;
            self.state().set.insert(id, fault);
            Ok::<_, gust_fakes::fault::Error>(())
        });
        if let Err(error) = set {
            tracing::error!(what = ?self.what(fault), %error, "the fakes refuse a fault");
        }
    }
}

/// How often a page shifts while they do: what slips past one list must be seen by another.
const SHIFTS: f64 = 0.3;

/// A fault as the fakes' engine takes it: kind, aim and parameters, how many times.
fn order(what: &What) -> Option<(&'static str, Map<String, Value>, Option<u64>)> {
    let aimed = |entries: &[(&str, Value)]| -> Map<String, Value> {
        let entries = entries.iter().filter(|(_, value)| !value.is_null());
        entries
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    };
    let host = |host: &Lister| json!(<&str>::from(*host));
    Some(match what {
        What::ListLag { host: of, lag_ms, .. } => {
            let lag_s = *lag_ms as f64 / 1000.0;
            (
                "list.lag",
                aimed(&[("host", host(of)), ("lag_s", json!(lag_s))]),
                None,
            )
        }
        What::PagesShift {
            host: of, size, skip, ..
        } => {
            let aim = aimed(&[("host", host(of)), ("size", json!(size)), ("skip", json!(skip))]);
            ("list.shift", aim, None)
        }
        What::PagesShort { host: of, size, .. } => {
            let aim = aimed(&[("host", host(of)), ("size", json!(size)), ("skip", json!(0))]);
            ("list.shift", aim, None)
        }
        What::Stockout {
            zone,
            family,
            code,
            count,
            ..
        } => {
            let aim = aimed(&[
                ("zone", json!(zone)),
                ("family", json!(family)),
                ("code", json!(code)),
            ]);
            ("gce.stockout", aim, Some(*count))
        }
        What::QuotaCut { metric, limit, .. } => {
            let aim = aimed(&[("metric", json!(metric)), ("limit", json!(limit))]);
            ("gce.quota", aim, None)
        }
        What::LateQuota { count, .. } => ("gce.late-quota", Map::new(), Some(*count)),
        What::PartialBulk { count, .. } => ("gce.partial-bulk", Map::new(), Some(*count)),
        What::IpExhausted { count, .. } => ("gce.ip-exhausted", Map::new(), Some(*count)),
        What::Rate { count, .. } => ("gce.rate", Map::new(), Some(*count)),
        What::VmNeverBoots { count, .. } => ("gce.stuck-boot", Map::new(), Some(*count)),
        What::BootBroken { count, .. } => ("gce.broken-boot", Map::new(), Some(*count)),
        What::QueuePause { .. } => ("buildkite.pause", aimed(&[("queue", json!("gust"))]), None),
        _ => return None,
    })
}

fn raised(world: &World, factor: f64) -> Value {
    let gce = &world.limits().gce;
    let raise = |quotas: &std::collections::BTreeMap<String, f64>| -> Value {
        let cpus = quotas
            .iter()
            .filter(|(metric, _)| !metric.contains("SSD") && !metric.contains("HDB"));
        cpus.map(|(metric, limit)| (metric.clone(), json!(limit * factor)))
            .collect::<Map<_, _>>()
            .into()
    };
    json!({ "gce": {
        "quotas": raise(&gce.quotas),
        "family_quotas": raise(&gce.family_quotas),
        "project_quotas": raise(&gce.project_quotas),
    } })
}

fn nth<T>(items: &[T], pick: u64) -> Option<&T> {
    let count = u64::try_from(items.len()).ok().filter(|count| *count > 0)?;
    items.get(usize::try_from(pick % count).ok()?)
}
