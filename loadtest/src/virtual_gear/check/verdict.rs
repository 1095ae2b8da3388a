//! What the checker says.

use std::{fmt, time::Duration};

/// What a run is held to: the invariants of the design by their numbers, that a run ends, and that orders are obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Invariant {
    /// 1: no job is lost.
    Lost = 1,
    /// 2: at most one machine holds a token for a job.
    Holders = 2,
    /// 3: no machine is left behind.
    Leak = 3,
    /// 4: quota, slots and call budget are not exceeded by our own promises.
    Quota = 4,
    /// 5: a deposed leader writes nothing, and causes nothing that was not durable before.
    Terms = 5,
    /// 6: intent before effect.
    Intent = 6,
    /// 7: no job of lower rank gets capacity that would fit one of higher rank.
    Rank = 7,
    /// 8: each waiting job has a true, current reason.
    Reasons = 8,
    /// 9: a running job is never disturbed.
    Running = 9,
    /// Once faults stop, all jobs end and the world empties.
    Liveness = 10,
    /// Nothing is made where the operator closed it.
    Orders = 11,
    /// Nothing is made beyond a cap of the operator's, and spend is never forgotten.
    Caps = 12,
}

impl Invariant {
    /// Its number in the design; 10 is liveness, 11 the operator's orders, 12 its caps.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: &'static str = self.into();
        write!(f, "{} ({name})", self.number())
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it was found, since the start of the run.
    pub at: Duration,
    /// What is wrong.
    pub what: String,
    /// The last few things that happened to the jobs and machines it is about.
    pub because: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "invariant {} at {:.3} s: {}",
            self.invariant,
            self.at.as_secs_f64(),
            self.what
        )?;
        self.because.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// How much was looked at, and what was counted without being wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of the fakes.
    pub events: u64,
    /// Transactions.
    pub commits: u64,
    /// Pictures.
    pub pictures: u64,
    /// Faults that met something.
    pub faults: u64,
    /// Jobs of ours that came to be.
    pub jobs: u64,
    /// Machines that came to be.
    pub machines: u64,
    /// Tokens issued anew for a job that had one.
    pub reissued: u64,
    /// Machines that were given a job which an earlier, revoked machine had held.
    pub second_machines: u64,
    /// Machines that were without a record for a time within the bound, or while nobody could write one.
    pub strays: u64,
    /// Violations, of which only the first is told.
    pub violations: u64,
}

/// What is not over at the end, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Jobs: state in Buildkite, phase of the record.
    pub jobs: Vec<String>,
    /// Machines: status at Google, phase of the record.
    pub machines: Vec<String>,
    /// Records of which nothing is left in the world.
    pub records: Vec<String>,
}

impl Left {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.machines.is_empty() && self.records.is_empty()
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The first violation.
    pub violation: Option<Violation>,
    /// How much was looked at.
    pub counts: Counts,
    /// What is not over.
    pub left: Left,
}
