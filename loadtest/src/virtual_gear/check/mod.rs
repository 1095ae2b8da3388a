//! The checker: holds a run to the invariants of the design, from what the fakes saw and what etcd applied.
//!
//! It never asks the program. Two things only are the program's word, and they are what is judged there: the
//! reasons it shows ([`Checker::picture`], invariant 8), and its own bans among them, which excuse a job from
//! invariant 7.
//!
//! Pure: times come in as values (since the start of the run), nothing is drawn, nothing is waited for. What
//! must have happened by some time is a [`timers`] entry, looked at when the next thing is fed in: between two
//! calls nothing changes, so that is exact. Each invariant has a file; [`seen`] and [`store`] are the two
//! mirrors they look into. Drawing faults, and ending a run, are others' business.

mod again;
mod callers;
mod calm;
mod caps;
mod expect;
mod feed;
mod finish;
mod heed;
mod holders;
mod intent;
mod leaks;
mod lost;
mod orders;
mod quota;
mod rank;
mod reasons;
mod running;
mod seen;
mod store;
mod terms;
mod timers;
mod trail;
mod verdict;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::ids::MachineName;

use self::{
    callers::Callers,
    calm::Calm,
    quota::Quotas,
    reasons::Shown,
    seen::{JobIx, MachineIx, Seen},
    store::Store,
    timers::Timers,
    trail::Trail,
};
use super::{cover::Cover, run::name_of};

pub use gust_server::leader::Picture;

pub use self::{
    expect::{Expectations, Limit},
    verdict::{Counts, Invariant, Left, Verdict, Violation},
};

/// A transaction that etcd applied below the stack's prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Whose it was; none for what etcd did by itself, as when a lease lapses.
    pub replica: Option<String>,
    /// The create revision of the leader's key that it compared; 0 if it was not guarded.
    pub term: u64,
    /// The revision it made.
    pub revision: u64,
    /// Keys below the stack's prefix with their new values, none for a removal.
    pub writes: Vec<(String, Option<Arc<[u8]>>)>,
}

/// A fault met something.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// The name of its kind.
    pub kind: &'static str,
    /// What it met.
    pub subject: Subject,
    /// More about it, for people.
    pub note: String,
}

/// What a fault met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All of it.
    World,
    /// One replica, by its index.
    Replica(usize),
    /// One job.
    Job(uuid::Uuid),
    /// One machine, by its name.
    Machine(String),
    /// A message.
    Point(super::net::Point),
}

/// What became of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum HostEvent {
    /// Its process runs.
    Started,
    /// Its process is gone.
    Crashed,
    /// Its process stands still.
    Frozen,
    /// Its process goes on.
    Thawed,
    /// What is begun next is a build so many versions later than the first.
    Upgraded(u32),
}

/// Watches one run.
pub struct Checker {
    expect: Expectations,
    seen: Seen,
    store: Store,
    trail: Trail,
    timers: Timers,
    calm: Calm,
    callers: Callers,
    /// By how many versions a replica's build is later than the first.
    builds: BTreeMap<String, u32>,
    /// When a page shifted last.
    slipped: Option<Duration>,
    /// When a picture was shown last.
    pictured: Duration,
    quotas: Quotas,
    shown: Shown,
    counts: Counts,
    cover: Cover,
    first: Option<Violation>,
}

impl Checker {
    /// A checker for one run.
    pub fn new(expect: Expectations) -> Self {
        let calm = Calm::new(expect.settle);
        let quotas = Quotas::new(&expect);
        Self {
            expect,
            seen: Seen::default(),
            store: Store::default(),
            trail: Trail::default(),
            timers: Timers::default(),
            calm,
            callers: Callers::default(),
            builds: BTreeMap::new(),
            slipped: None,
            pictured: Duration::ZERO,
            quotas,
            shown: Shown::default(),
            counts: Counts::default(),
            cover: Cover::default(),
            first: None,
        }
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// The (state, fault) pairs met so far.
    pub fn cover(&self) -> &Cover {
        &self.cover
    }

    /// A fault met something.
    pub fn fault(&mut self, at: Duration, fault: &Met) {
        self.catch_up(at);
        self.counts.faults += 1;
        self.calm.fault(at);
        if fault.kind == "pages-shift" {
            self.slipped = Some(at);
        }
        let (job, machine) = match &fault.subject {
            Subject::Job(id) => (Some(self.seen.job(*id)), None),
            Subject::Machine(name) => (None, Some(self.seen.machine(name))),
            Subject::World | Subject::Replica(_) | Subject::Point(_) => (None, None),
        };
        self.trail.fault(at, fault.kind, job, machine);
        for state in self.states_of(job, machine) {
            self.cover.meet(state, fault.kind);
        }
    }

    /// Something became of a replica.
    pub fn host(&mut self, at: Duration, replica: usize, what: HostEvent) {
        self.catch_up(at);
        self.calm.host(at, replica, what);
        if matches!(what, HostEvent::Crashed | HostEvent::Frozen) {
            self.shown.silenced(replica);
        }
        if what == HostEvent::Started {
            self.callers.forget(replica);
        }
        if let HostEvent::Upgraded(build) = what {
            self.builds.insert(name_of(replica).to_string(), build);
        }
        self.trail.host(at, replica, what.into());
    }

    /// A replica has ended, as it was asked to. `keeps_lead`: it leads, and has not asked for that to end (invariant 5).
    pub fn replica_ended(&mut self, at: Duration, replica: usize, keeps_lead: bool) {
        self.catch_up(at);
        if keeps_lead {
            let what = format!("replica {replica} ended as it was asked to, and kept the lead to itself");
            self.violate(at, Invariant::Terms, what, &[], &[]);
        }
    }

    /// An operator of gust is about to cancel a job.
    pub fn canceled_by_operator(&mut self, at: Duration, job: uuid::Uuid) {
        self.catch_up(at);
        let job = self.seen.job(job);
        self.seen[job].canceled_by_operator = true;
    }

    /// From here on no fault is injected.
    pub fn quiet(&mut self, at: Duration) {
        self.catch_up(at);
        self.calm.quiet(at);
    }

    /// A quota of the world is now this.
    pub fn limit(&mut self, at: Duration, limit: &Limit) {
        self.catch_up(at);
        self.quotas.notice(at, limit);
    }

    /// A queue was paused, or goes on.
    pub fn paused(&mut self, at: Duration, queue: &str, paused: bool) {
        self.catch_up(at);
        self.shown.paused(at, queue, paused);
    }

    /// Somebody claimed `machine`'s job with a key that is not the machine's. `token`: whether the answer held
    /// a token (invariant 2).
    pub fn stranger(&mut self, at: Duration, machine: &str, token: bool) {
        self.catch_up(at);
        let machine = self.seen.machine(machine);
        self.trail.note(at, "wrong-key", "claim", None, Some(machine));
        if token {
            let what = format!(
                "a claim with another key than machine {} has was answered with a token",
                self.name(machine)
            );
            self.violate(at, Invariant::Holders, what, &[], &[machine]);
        }
    }

    fn violate(
        &mut self,
        at: Duration,
        invariant: Invariant,
        what: String,
        jobs: &[JobIx],
        machines: &[MachineIx],
    ) {
        self.counts.violations += 1;
        if self.first.is_none() {
            let because = self.trail.about(&self.seen, jobs, machines);
            self.first = Some(Violation {
                invariant,
                at,
                what,
                because,
            });
        }
    }

    fn name(&self, machine: MachineIx) -> MachineName {
        self.seen[machine].name.clone()
    }
}

#[cfg(test)]
mod tests;
