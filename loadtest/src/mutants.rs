//! The command `gust-loadtest mutants`: known faults are put back into gust, one at a time, and runs of the
//! virtual gear go on until the checker notices. A fault that it does not notice shows a hole in the checker.

use anyhow::Result;
use clap::Args;

/// What to look for.
#[derive(Args, Clone, Debug)]
pub struct MutantsArgs {
    /// A mutant that is not caught within so many runs has got away.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Scenarios to try if no run that is drawn catches it.
    #[arg(long, value_name = "DIR", default_value = crate::sim::SEEDS)]
    kept: std::path::PathBuf,
    /// One mutant only, by its name.
    #[arg(long, value_parser = known)]
    only: Option<&'static str>,
    /// The control: no mutant, and nothing may be found.
    #[arg(long, conflicts_with = "only")]
    none: bool,
    /// Threads; one for each core by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Print what was found.
    #[arg(long)]
    explain: bool,
}

/// Each mutant with what it breaks, in the words of the report.
const BREAKS: [(&str, &str); 31] = [
    (
        "effect-before-commit",
        "effects go out before their records are durable",
    ),
    ("guard-skipped", "writes do not compare the leader's key"),
    ("term-not-compared", "a worker follows a leader of an older term"),
    (
        "request-id-renewed",
        "a call of unknown outcome is repeated under another request id",
    ),
    (
        "claim-not-single-use",
        "a job stays in the queue of claims after it was given away",
    ),
    (
        "promise-not-counted",
        "machines that are asked for do not count as using quota",
    ),
    (
        "delete-forgotten",
        "a machine that is done is recorded as going, and never deleted",
    ),
    (
        "timer-lost",
        "a new leader forgets the deadlines of what earlier ones made",
    ),
    ("reason-not-updated", "only the first reason is told in Buildkite"),
    ("reservation-not-renewed", "reservations lapse while jobs wait"),
    ("page-end-trusted", "only the first page of a list is read"),
    (
        "cancel-ignored",
        "a job that was cancelled while it waits is not noticed",
    ),
    ("lease-believed", "a lease is believed in beyond its time"),
    (
        "owner-never-stops",
        "calls and commands go out although the lease may have lapsed",
    ),
    ("shard-key-ignored", "a worker does not wait for a shard's key"),
    (
        "state-not-repeated",
        "a worker is not told again what the records ask of it when its session is opened anew",
    ),
    (
        "unclear-taken-for-written",
        "a commit of unknown outcome counts as durable",
    ),
    (
        "lease-stopped-late",
        "a lease is believed in for a second more than it lasts",
    ),
    (
        "late-renewal-untold",
        "who waits for a lease to be renewed is not told that it was",
    ),
    (
        "shard-not-looked-at",
        "what a shard's earlier owner told is acted upon under the next",
    ),
    (
        "stale-events-believed",
        "what a worker said in an earlier session counts",
    ),
    (
        "resumed-as-new",
        "a batch that may have been asked for is handed on as one that never was",
    ),
    (
        "silent-watch-trusted",
        "a watch that says nothing is trusted for ever",
    ),
    (
        "adoption-forgotten",
        "an election whose answer was lost is not recognized as won",
    ),
    (
        "commits-not-chained",
        "a commit does not compare what it follows: late and doubled messages write again",
    ),
    (
        "records-half-loaded",
        "a new leader reads only the first page of the records",
    ),
    ("orders-ignored", "machines are made where the operator closed it"),
    (
        "kept-after-all",
        "a worker that let go of a shard goes on with what it knew of it",
    ),
    (
        "format-not-checked",
        "a build leads over records that it is too old to read",
    ),
    (
        "resign-forgotten",
        "a leader that is asked to end leaves its lease to lapse",
    ),
    ("caps-ignored", "pipelines get more than their caps"),
];

fn known(name: &str) -> Result<&'static str, String> {
    let found = BREAKS.iter().find(|(known, _)| *known == name);
    found.map(|(known, _)| *known).ok_or_else(|| {
        let names: Vec<&str> = BREAKS.iter().map(|(known, _)| *known).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Looks for each mutant. True if all are caught, or if the control finds nothing.
///
/// # Errors
/// In a build without the feature `mutants`: how to get one with it.
#[cfg(not(feature = "mutants"))]
pub fn mutants(_: &MutantsArgs) -> Result<bool> {
    anyhow::bail!(
        "this build has no mutants in it: cargo run --release -p gust-loadtest --features mutants -- mutants"
    )
}

#[cfg(feature = "mutants")]
pub use hunt::mutants;

#[cfg(feature = "mutants")]
mod hunt;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_of_the_program_is_looked_for() {
        let names: Vec<&str> = BREAKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, gust_core::mutant::NAMES);
    }
}
