//! The command `gust-loadtest sim`: many seeds, one seed, or one scenario file.
//!
//! What is asked for is here; [`one`] and [`sweep`] run it and say what came of it, [`keep`] makes tests of what fails.

mod keep;
mod one;
pub(crate) mod progress;
mod sweep;

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Result, bail};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use strum::VariantArray as _;

use crate::virtual_gear::{MOST_REPLICAS, Profile, Scenario, Sweep};

pub use keep::SEEDS;

/// Seeds of a sweep, if nothing else is said.
const SOME: u64 = 100;
/// Seeds of the long run.
const MANY: u64 = 10_000;
/// Numbers of replicas that a sweep takes in turn.
const REPLICAS: [usize; 2] = [1, 3];
/// Profiles that have any size one likes.
const BIG: [Profile; 2] = [Profile::OneShape, Profile::Monorepo];

/// What to simulate.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// How many seeds [default: 100]
    #[arg(long, value_name = "N", help_heading = "Which runs")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Which runs")]
    from: u64,
    /// The workload [default: all in turn, by the seed]
    #[arg(long, value_parser = profiles(), help_heading = "Which runs")]
    profile: Option<Profile>,
    /// How many replicas, 1 to 7 [default: 1 and 3 in turn, by the seed]
    #[arg(long, value_name = "N", value_parser = replicas, help_heading = "Which runs")]
    replicas: Option<usize>,
    /// Each seed with every profile and every number of replicas
    #[arg(long, help_heading = "Which runs")]
    all: bool,
    /// The long run: 10,000 seeds with every profile, with 1 and 3 replicas; every pair of state and fault must be met
    #[arg(long, conflicts_with_all = ["one", "plain"], help_heading = "Which runs")]
    long: bool,
    /// Without faults
    #[arg(long, conflicts_with = "scenario", help_heading = "Which runs")]
    plain: bool,
    /// Big plain runs of so many jobs each, with raised limits, of the profiles one-shape and monorepo
    #[arg(long, value_name = "N", requires = "plain", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Which runs")]
    jobs: Option<u32>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", help_heading = "Which runs")]
    threads: Option<NonZeroUsize>,
    /// End after so many failing runs
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(5).expect("five is not zero"), help_heading = "Which runs")]
    most: NonZeroUsize,

    /// This seed only, as a sweep runs it
    #[arg(long, value_name = "SEED", group = "one", conflicts_with_all = ["seeds", "from", "all"], help_heading = "One run")]
    seed: Option<u64>,
    /// This scenario file only
    #[arg(long, value_name = "FILE", group = "one", conflicts_with_all = ["seeds", "from", "all", "profile", "replicas"], help_heading = "One run")]
    scenario: Option<PathBuf>,
    /// Print what happened, a line a fact
    #[arg(long, requires = "one", help_heading = "One run")]
    trace: bool,
    /// Print the event log of the fakes, one JSON object a line, and nothing else on stdout
    #[arg(long, requires = "one", conflicts_with = "trace", help_heading = "One run")]
    log: bool,
    /// Print the scenario as a file, and do not run it
    #[arg(long, requires = "one", conflicts_with_all = ["trace", "log", "keep"], help_heading = "One run")]
    print: bool,

    /// Show which faults met which states, and fail if a pair was never met
    #[arg(long, conflicts_with_all = ["one", "plain"], help_heading = "What to do with it")]
    coverage: bool,
    /// Cut the (first) failing run down and keep it as a test: loadtest/seeds/NAME.toml
    #[arg(long, value_name = "NAME", help_heading = "What to do with it")]
    keep: Option<String>,
}

fn profiles() -> impl clap::builder::TypedValueParser<Value = Profile> {
    let names: Vec<&'static str> = Profile::VARIANTS.iter().map(Into::into).collect();
    PossibleValuesParser::new(names).map(|name| name.parse().expect("it is one of the names"))
}

fn replicas(text: &str) -> Result<usize, String> {
    let count = text.parse().ok();
    count
        .filter(|count| (1..=MOST_REPLICAS).contains(count))
        .ok_or_else(|| format!("a number from 1 to {MOST_REPLICAS} is wanted"))
}

/// Runs what is asked for. True if nothing was violated.
///
/// # Errors
/// A scenario file that cannot be read or is refused; a scenario that cannot be kept; stdout that cannot be written.
pub fn sim(args: &SimArgs) -> Result<bool> {
    if let Some(name) = &args.keep {
        keep::check(name)?;
    }
    let sweep = args.sweep()?;
    if let Some(file) = &args.scenario {
        let file = file.display().to_string();
        let scenario = Scenario::load(file.as_ref())?;
        return one::one(args, &scenario, &format!("--scenario {file}"));
    }
    if args.seed.is_some() {
        let scenario = sweep.scenario(0);
        return one::one(args, &scenario, &args.named(&scenario));
    }
    if sweep.seeds == 0 {
        bail!("--seeds 0 runs nothing, and so proves nothing: at least 1 is wanted");
    }
    sweep::sweep(args, &sweep)
}

impl SimArgs {
    /// The sweep that is meant, or that the one seed is part of.
    fn sweep(&self) -> Result<Sweep> {
        let all = self.all || self.long;
        let profiles = match (self.profile, self.jobs) {
            (Some(one), Some(_)) if !BIG.contains(&one) => {
                let names = BIG.map(<&str>::from).join(" and ");
                bail!("--jobs: only the profiles {names} have any size one likes; the others have their own");
            }
            (Some(one), _) => vec![one],
            (None, Some(_)) => BIG.to_vec(),
            (None, None) => Profile::VARIANTS.to_vec(),
        };
        Ok(Sweep {
            from: self.seed.unwrap_or(self.from),
            seeds: self.seeds.unwrap_or(if self.long { MANY } else { SOME }),
            profiles,
            replicas: self.replicas.map_or_else(|| REPLICAS.to_vec(), |one| vec![one]),
            all,
            plain: self.plain,
            jobs: self.jobs,
            threads: self
                .threads
                .or_else(|| std::thread::available_parallelism().ok())
                .map_or(1, NonZeroUsize::get),
            most_violations: self.most.get(),
        })
    }

    /// The arguments that give this one run again.
    fn named(&self, scenario: &Scenario) -> String {
        let Scenario { seed, replicas, .. } = scenario;
        let profile: &str = scenario.profile.into();
        let plain = if self.plain { " --plain" } else { "" };
        let jobs = self.jobs.map(|jobs| format!(" --jobs {jobs}"));
        let jobs = jobs.unwrap_or_default();
        format!("--seed {seed} --profile {profile} --replicas {replicas}{plain}{jobs}")
    }
}

/// This command, as it was typed.
fn command() -> String {
    let program = std::env::args().next();
    format!("{} sim", program.as_deref().unwrap_or("gust-loadtest"))
}
