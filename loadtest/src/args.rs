//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use gust_loadtest::{
    adversity::AdversityArgs,
    day::DayArgs,
    fuzz::FuzzArgs,
    mutants::MutantsArgs,
    sim::SimArgs,
    wire::{Cause, Records},
};

/// Load tests and chaos for gust, against the fakes.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Loads many jobs at once and measures how soon all their machines are asked for, next to how soon the limits
    /// allow it, and how many calls to Google that takes. Machines are simulated.
    Burst {
        /// How many jobs [default: 10,000; with default quotas 500].
        #[arg(long)]
        jobs: Option<usize>,
        /// With the quotas of a new project, and jobs that each fit the smallest of them: whether those that wait
        /// are told why.
        #[arg(long)]
        default_quotas: bool,
        /// Another limits file than `loadtest/limits/burst.toml`, or than the defaults.
        #[arg(long)]
        limits: Option<PathBuf>,
        /// Where gust keeps its records.
        #[arg(long, value_enum, default_value_t = Records::Embedded)]
        records: Records,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds until no machine may be left.
        #[arg(long, default_value_t = 3_600)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Runs several replicas over etcd through builds while their processes, and etcd's, are killed and frozen and
    /// replies get lost, as each seed draws it; judges from the fakes' event log, the replicas' journals and etcd's
    /// history.
    Chaos {
        /// How many seeds, each with processes of its own.
        #[arg(long, default_value_t = 10)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Replicas of gust.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
        replicas: u16,
        /// Members of etcd; by default one and three in turn.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=5))]
        members: Option<u16>,
        /// Faults in each build.
        #[arg(long, default_value_t = 4)]
        faults: usize,
        /// Seconds that a build may take after its last fault.
        #[arg(long, default_value_t = 180)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Loses the leader of three replicas over three members of etcd, again and again and in several ways, while more
    /// jobs wait than can be placed, and measures for how long nothing is placed.
    Failover {
        /// How the leader is lost; several causes take turns, all by default.
        #[arg(long, value_delimiter = ',')]
        cause: Vec<Cause>,
        /// How many losses, all causes together.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// At least so many jobs wait whenever a leader is lost.
        #[arg(long, default_value_t = 1_000)]
        backlog: usize,
        /// Seed of the fakes and of the moments of losses.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the replicas may take to be whole again after a loss.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// A bad day in virtual time: zones without a family, a quota that is halved, Spot machines that are taken back, calls
    /// that are refused; and the same day for an oracle that knows of all that. Prints how long jobs wait on each.
    Adversity(AdversityArgs),
    /// A day in virtual time, idle and busy, with webhooks and without. Prints how often gust lists jobs and how soon it sees
    /// them.
    Day(DayArgs),
    /// Feeds every parser of bytes from outside with real samples and random changes of them, and prints how many were fed to
    /// each. No input may make one panic.
    Fuzz(FuzzArgs),
    /// Kills `gust serve` with SIGKILL in every phase of a job's life, each time in its own build, and judges
    /// from the fakes' event log and the commit journal that nothing was lost, doubled or left behind.
    Kill {
        /// How many kills; the six phases take turns.
        #[arg(long, default_value_t = 50)]
        count: usize,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that a build may take after a restart.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Puts known faults back into gust, one at a time, and shows that the checks of `sim` notice each. Needs a
    /// build with the feature `mutants`.
    Mutants(MutantsArgs),
    /// Runs the whole shell in virtual time over the fakes' models, with faults drawn from a seed, and holds each
    /// run to the invariants of the design.
    Sim(SimArgs),
    /// Restarts the replicas one by one with another build while more jobs wait than can be placed, and measures for
    /// how long nothing is placed.
    Upgrade {
        /// The other build's `gust`; by default this build's once more.
        #[arg(long)]
        to: Option<PathBuf>,
        /// At least so many jobs wait whenever a replica is restarted.
        #[arg(long, default_value_t = 1_000)]
        backlog: usize,
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the replicas may take to be whole again after a restart.
        #[arg(long, default_value_t = 120)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Finds the same jobs over the Stacks API and over GraphQL, with webhooks and without, while people cancel, retry and
    /// reprioritize them: they must end the same in each way. Machines are simulated.
    Sources {
        /// How many steps.
        #[arg(long, default_value_t = 5_000)]
        jobs: usize,
        /// One way only, such as `graphql-webhooks`; several may be given.
        #[arg(long, value_delimiter = ',')]
        way: Vec<String>,
        /// Seed of the jobs and the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that one way may take.
        #[arg(long, default_value_t = 1_800)]
        patience: u64,
        /// Directory for logs, records and journals; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Runs one build while Google and Buildkite lose, delay, truncate and refuse replies, and judges it.
    Storm {
        /// Seed of the fakes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that the build may take.
        #[arg(long, default_value_t = 180)]
        patience: u64,
        /// Directory for logs, records and the journal; a temporary one by default.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}
