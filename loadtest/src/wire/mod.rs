//! The wire gear: real processes of this build, on loopback, judged by what the fakes saw and by the
//! commit journal.

mod burst;
mod callers;
mod chaos;
mod control;
mod failover;
mod fleet;
mod history;
mod kill;
mod network;
mod processes;
mod raft;
mod retell;
mod sources;
mod storm;
mod verdict;

pub use burst::{Bound, Burst, BurstOptions, GOAL, Kind, Records, Waits, bound, burst};
pub use chaos::{ChaosOptions, ChaosRun, chaos};
pub use control::Control;
pub use failover::{
    Cause, FailoverOptions, Failovers, Row, Step, UpgradeOptions, Upgraded, failover, upgrade,
};
pub use fleet::{Fleet, Muster};
pub use kill::{KillOptions, Killed, kill};
pub use network::{Network, Party};
pub use processes::{Fakes, Found, Programs, Replica};
pub use sources::{Course, SourcesOptions, Way, sources};
pub use storm::{Weathered, storm};
pub use verdict::{Evidence, Verdict, judge};
