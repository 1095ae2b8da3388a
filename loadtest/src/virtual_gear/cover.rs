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
enum Domain {
    /// The world, a replica, or a message: all states there are at that moment.
    Everything,
    /// One job: its state.
    Jobs,
    /// One machine: its state.
    Machines,
    /// The making of machines: they are recorded in their batch only.
    Making,
}

impl Domain {
    fn of(kind: FaultKind) -> Self {
        match kind {
            FaultKind::JobCancel
            | FaultKind::JobRetry
            | FaultKind::JobReprioritize
            | FaultKind::ReservationLapse
            | FaultKind::ReservationTaken
            | FaultKind::StateUnknown
            | FaultKind::JobGone
            | FaultKind::AgentLost => Self::Jobs,
            FaultKind::VmFreeze
            | FaultKind::DiskLost
            | FaultKind::Preempted
            | FaultKind::VmStopped
            | FaultKind::HostError
            | FaultKind::GuestCrash
            | FaultKind::WrongKey => Self::Machines,
            FaultKind::Stockout
            | FaultKind::QuotaCut
            | FaultKind::LateQuota
            | FaultKind::PartialBulk
            | FaultKind::IpExhausted
            | FaultKind::VmNeverBoots
            | FaultKind::BootBroken => Self::Making,
            _ => Self::Everything,
        }
    }

    fn states(self) -> Vec<State> {
        match self {
            Self::Everything => State::jobs().chain(State::machines()).collect(),
            Self::Jobs => State::jobs().collect(),
            Self::Machines => State::machines().collect(),
            Self::Making => vec![State::IN_BATCH],
        }
    }
}

/// Pairs that cannot come about, each with its reason.
const IMPOSSIBLE: [(FaultKind, State, &str); 5] = [
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
    (
        FaultKind::WrongKey,
        State::IN_BATCH,
        "only a job's own code can try it, and a machine that was given a job has a record of its own",
    ),
    (
        FaultKind::WrongKey,
        State::Machine("booting"),
        "only a job's own code can try it, and a machine that was given a job is recorded with its claim",
    ),
];

/// A state and a kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The state.
    pub state: State,
    /// The name of the kind.
    pub kind: &'static str,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in state {}", self.kind, self.state)
    }
}

/// Pairs met, with how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    met: BTreeMap<Pair, u64>,
}

impl Cover {
    /// A fault met a state.
    pub fn meet(&mut self, state: State, kind: &'static str) {
        *self.met.entry(Pair { state, kind }).or_default() += 1;
    }

    /// Adds what another run met.
    pub fn merge(&mut self, other: &Self) {
        for (pair, count) in &other.met {
            *self.met.entry(*pair).or_default() += count;
        }
    }

    /// Pairs met, with how often.
    pub fn met(&self) -> &BTreeMap<Pair, u64> {
        &self.met
    }

    /// How many different pairs were met.
    pub fn pairs(&self) -> usize {
        self.met.len()
    }

    /// Pairs that could be met and never were.
    pub fn never_met(&self) -> Vec<Pair> {
        let kinds = FaultKind::VARIANTS.iter().copied();
        let pairs = kinds.flat_map(|kind| {
            let states = Domain::of(kind).states().into_iter();
            let possible = states.filter(move |state| impossible(*state, kind).is_none());
            possible.map(move |state| Pair {
                state,
                kind: kind.name(),
            })
        });
        pairs.filter(|pair| !self.met.contains_key(pair)).collect()
    }

    /// For people: a line a kind, a column a state; `.` is a pair never met, `-` one that is impossible or not
    /// of that kind's domain.
    pub fn table(&self) -> String {
        let states: Vec<State> = State::jobs().chain(State::machines()).collect();
        let mut text = format!("{:<24}", "fault");
        for state in &states {
            text.push_str(&format!(" {:>16}", state.to_string()));
        }
        for kind in FaultKind::VARIANTS {
            text.push_str(&format!("\n{:<24}", kind.name()));
            let within = Domain::of(*kind).states();
            for state in &states {
                let pair = Pair {
                    state: *state,
                    kind: kind.name(),
                };
                let cell = match self.met.get(&pair) {
                    Some(count) => count.to_string(),
                    None if !within.contains(state) || impossible(*state, *kind).is_some() => "-".to_owned(),
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
pub fn impossible(state: State, kind: FaultKind) -> Option<&'static str> {
    let found = IMPOSSIBLE.iter().find(|(of, at, _)| *of == kind && *at == state);
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
        let all = cover.never_met();
        let of = |kind: FaultKind| all.iter().filter(|pair| pair.kind == kind.name()).count();
        assert_eq!(of(FaultKind::EtcdGone), 8);
        assert_eq!(of(FaultKind::AgentLost), 1);
        assert_eq!(of(FaultKind::Preempted), 4);
        assert_eq!(of(FaultKind::BootBroken), 1);
        cover.meet(State::UNBOOKED, FaultKind::EtcdGone.name());
        let mut other = Cover::default();
        other.meet(State::Job("claimed"), FaultKind::AgentLost.name());
        cover.merge(&other);
        cover.merge(&other);
        assert_eq!(cover.never_met().len(), all.len() - 2);
        assert_eq!(cover.pairs(), 2);
        let table = cover.table();
        let line = |kind: &str| {
            table
                .lines()
                .find(|line| line.starts_with(kind))
                .expect("a line")
                .to_owned()
        };
        let cells = |kind: &str| {
            line(kind)
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(cells("agent-lost"), "- - - 2 - - - -");
        assert_eq!(cells("etcd-gone"), "1 . . . . . . .");
    }
}
