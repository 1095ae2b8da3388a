//! Which faults met which states: a pair that no seed ever meets is not tested, whatever the number of seeds.
//!
//! States come from the enums of the records themselves, so a new phase shows up here as pairs never met.

use std::{collections::BTreeMap, fmt};

use gust_core::records::{JobPhase, MachinePhase};
use strum::{VariantArray as _, VariantNames as _};

use super::scenario::FaultKind;

/// What a job or machine was doing when a fault came, by the word of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A job.
    Job(&'static str),
    /// A machine.
    Machine(&'static str),
}

impl State {
    /// A job of ours without a record: not booked yet, or over and removed.
    pub const UNBOOKED: Self = Self::Job("unbooked");
    /// A machine that is asked for, and not recorded by itself yet.
    pub const IN_BATCH: Self = Self::Machine("in_batch");

    /// All states of jobs.
    pub fn jobs() -> impl Iterator<Item = Self> {
        let phases = JobPhase::VARIANTS.iter().map(|name| Self::Job(name));
        std::iter::once(Self::UNBOOKED).chain(phases)
    }

    /// All states of machines.
    pub fn machines() -> impl Iterator<Item = Self> {
        let phases = MachinePhase::VARIANTS.iter().map(|name| Self::Machine(name));
        std::iter::once(Self::IN_BATCH).chain(phases)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(name) => write!(f, "job {name}"),
            Self::Machine(name) => write!(f, "machine {name}"),
        }
    }
}

/// What a kind of fault is about, and so which states it can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The world, a replica, or a message: all states there are at that moment.
    Everything,
    /// One job: its state.
    Jobs,
    /// One machine: its state.
    Machines,
    /// The making of machines: what is made is in its batch only.
    Making,
}

impl Domain {
    /// That of a kind.
    pub fn of(kind: FaultKind) -> Self {
        match kind {
            FaultKind::JobCancel
            | FaultKind::JobRetry
            | FaultKind::JobReprioritize
            | FaultKind::ReservationLapse
            | FaultKind::AgentLost => Self::Jobs,
            FaultKind::Stockout
            | FaultKind::QuotaCut
            | FaultKind::LateQuota
            | FaultKind::PartialBulk
            | FaultKind::IpExhausted
            | FaultKind::VmNeverBoots
            | FaultKind::BootBroken => Self::Making,
            FaultKind::VmFreeze
            | FaultKind::DiskLost
            | FaultKind::Preempted
            | FaultKind::VmStopped
            | FaultKind::HostError
            | FaultKind::GuestCrash
            | FaultKind::WrongKey => Self::Machines,
            _ => Self::Everything,
        }
    }

    /// The states that it can meet.
    fn states(self) -> Vec<State> {
        match self {
            Self::Everything => State::jobs().chain(State::machines()).collect(),
            Self::Jobs => State::jobs().collect(),
            Self::Machines => State::machines().collect(),
            Self::Making => vec![State::IN_BATCH],
        }
    }

    /// All kinds of faults, each with its domain.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        FaultKind::VARIANTS
            .iter()
            .map(|kind| (kind.name(), Self::of(*kind)))
    }
}

/// Pairs that cannot come about, each with its reason.
const IMPOSSIBLE: [(FaultKind, State, &str); 3] = [
    (
        FaultKind::AgentLost,
        State::UNBOOKED,
        "an agent has a job only after its claim is recorded, and the record stays until the job is over",
    ),
    (
        FaultKind::AgentLost,
        State::Job("booked"),
        "a booked job has no agent: its claim comes before its token",
    ),
    (
        FaultKind::AgentLost,
        State::Job("refusing"),
        "a job that is refused was given to no machine",
    ),
];

/// Pairs met, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    met: BTreeMap<(State, &'static str), u64>,
}

impl Cover {
    /// A fault met a state.
    pub fn meet(&mut self, state: State, kind: &'static str) {
        *self.met.entry((state, kind)).or_default() += 1;
    }

    /// Adds what another run met.
    pub fn merge(&mut self, other: &Self) {
        for (pair, count) in &other.met {
            *self.met.entry(*pair).or_default() += count;
        }
    }

    /// Pairs met, with how often.
    pub fn met(&self) -> &BTreeMap<(State, &'static str), u64> {
        &self.met
    }

    /// How often a kind met any state.
    pub fn times(&self, kind: &str) -> u64 {
        let of_kind = self.met.iter().filter(|((_, met), _)| *met == kind);
        of_kind.map(|(_, count)| count).sum()
    }

    /// Pairs that could be met and never were, of all these kinds.
    pub fn never_met(
        &self,
        kinds: impl IntoIterator<Item = (&'static str, Domain)>,
    ) -> Vec<(State, &'static str)> {
        let pairs = kinds
            .into_iter()
            .flat_map(|(kind, domain)| domain.states().into_iter().map(move |state| (state, kind)));
        pairs
            .filter(|pair| !self.met.contains_key(pair) && impossible(pair.0, pair.1).is_none())
            .collect()
    }

    /// For people: a line a kind, a column a state; `.` is a pair never met, `-` one that is impossible or not
    /// of that kind's domain.
    pub fn table(&self, kinds: impl IntoIterator<Item = (&'static str, Domain)>) -> String {
        let states: Vec<State> = State::jobs().chain(State::machines()).collect();
        let mut text = format!("{:<24}", "fault");
        for state in &states {
            text.push_str(&format!(" {:>16}", state.to_string()));
        }
        for (kind, domain) in kinds {
            text.push_str(&format!("\n{kind:<24}"));
            let within = domain.states();
            for state in &states {
                let cell = match self.met.get(&(*state, kind)) {
                    Some(count) => count.to_string(),
                    None if !within.contains(state) || impossible(*state, kind).is_some() => "-".to_owned(),
                    None => ".".to_owned(),
                };
                text.push_str(&format!(" {cell:>16}"));
            }
        }
        text.push('\n');
        text
    }
}

/// Why a pair cannot come about.
pub fn impossible(state: State, kind: &str) -> Option<&'static str> {
    let found = IMPOSSIBLE
        .iter()
        .find(|(of, at, _)| of.name() == kind && *at == state);
    found.map(|(.., why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_of_the_records_is_a_state() {
        assert_eq!(State::jobs().count(), JobPhase::VARIANTS.len() + 1);
        assert_eq!(State::machines().count(), MachinePhase::VARIANTS.len() + 1);
        let word: &'static str = (&MachinePhase::Booting).into();
        assert!(State::machines().any(|state| state == State::Machine(word)));
    }

    #[test]
    fn what_is_impossible_names_states_of_the_kinds_domain() {
        for (kind, state, why) in IMPOSSIBLE {
            assert!(Domain::of(kind).states().contains(&state), "{kind:?}: {state}");
            assert!(!why.is_empty());
        }
    }

    #[test]
    fn pairs_never_met_are_those_of_the_domain_that_are_possible() {
        let mut cover = Cover::default();
        let all = cover.never_met(Domain::all());
        let of = |kind: FaultKind| all.iter().filter(|(_, name)| *name == kind.name()).count();
        assert_eq!(of(FaultKind::EtcdGone), 8);
        assert_eq!(of(FaultKind::AgentLost), 1);
        assert_eq!(of(FaultKind::Preempted), 4);
        assert_eq!(of(FaultKind::BootBroken), 1);
        cover.meet(State::UNBOOKED, FaultKind::EtcdGone.name());
        let mut other = Cover::default();
        other.meet(State::Job("claimed"), FaultKind::AgentLost.name());
        cover.merge(&other);
        cover.merge(&other);
        assert_eq!(cover.never_met(Domain::all()).len(), all.len() - 2);
        assert_eq!(cover.times("agent-lost"), 2);
        let table = cover.table(Domain::all());
        let cells = |kind: &str| {
            let line = table.lines().find(|line| line.starts_with(kind)).expect("a line");
            line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(cells("agent-lost"), "- - - 2 - - - -");
        assert_eq!(cells("etcd-gone"), "1 . . . . . . .");
    }
}
