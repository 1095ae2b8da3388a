//! The command `gust-loadtest sim`: many seeds, one seed, or one scenario file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use strum::VariantArray as _;

use crate::virtual_gear::{INTENSITY, Keep, Outcome, Profile, Scenario, Sum, Sweep, run, shrink};

/// Where failing scenarios are kept as tests.
pub const SEEDS: &str = "loadtest/seeds";
/// Most runs that shrinking may take.
const SHRINK_BUDGET: usize = 600;

const NO_SIZE: &str =
    "--jobs: only the profiles one-shape and monorepo have any size one likes; the others have their own";

/// What to simulate.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed only.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// A scenario file in place of a seed.
    #[arg(long, conflicts_with_all = ["seeds", "from", "seed"])]
    scenario: Option<PathBuf>,
    /// The workload; all in turn by default.
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// How many replicas; 1 and 3 in turn by default.
    #[arg(long)]
    replicas: Option<usize>,
    /// Each seed with every profile and every number of replicas.
    #[arg(long)]
    all: bool,
    /// Without faults.
    #[arg(long)]
    plain: bool,
    /// Big plain runs of so many jobs each, with raised limits: `--profile one-shape` or `monorepo`.
    #[arg(long, requires = "plain", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    jobs: Option<u32>,
    /// Threads; one for each core by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Print the one run's timeline.
    #[arg(long)]
    trace: bool,
    /// Fail if a pair of state and fault was never met.
    #[arg(long)]
    coverage: bool,
    /// Do not cut failing scenarios down.
    #[arg(long)]
    no_shrink: bool,
    /// Cut the one failing run down and keep it as a test of this name.
    #[arg(long)]
    keep: Option<String>,
    /// End after so many failing runs.
    #[arg(long, default_value_t = 5)]
    most: usize,
}

fn profile(name: &str) -> Result<Profile, String> {
    name.parse().map_err(|_| {
        let names: Vec<&str> = Profile::VARIANTS.iter().map(Into::into).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Runs what is asked for. True if nothing was violated.
///
/// # Errors
/// A scenario file that cannot be read or is refused; a scenario that cannot be kept.
pub fn sim(args: &SimArgs) -> Result<bool> {
    if let Some(file) = &args.scenario {
        return one(args, &Scenario::load(file)?);
    }
    if let Some(seed) = args.seed {
        let profile = args.profile.unwrap_or(Profile::VARIANTS[0]);
        let intensity = if args.plain { 0.0 } else { INTENSITY };
        let replicas = args.replicas.unwrap_or(3);
        if let Some(jobs) = args.jobs {
            let profile = args.profile.unwrap_or(Profile::OneShape);
            return match Scenario::big(seed, profile, replicas, jobs) {
                Some(big) => one(args, &big),
                None => bail!(NO_SIZE),
            };
        }
        return one(args, &Scenario::draw(seed, profile, replicas, intensity));
    }
    if args.trace || args.keep.is_some() {
        bail!("--trace and --keep are about one run: name it with --seed or --scenario");
    }
    many(args)
}

#[expect(clippy::print_stdout, reason = "the report is this command's product")]
fn one(args: &SimArgs, scenario: &Scenario) -> Result<bool> {
    let keep = if args.trace { Keep::Timeline } else { Keep::Nothing };
    let clock = Stopwatch::start();
    let outcome = run(scenario, keep);
    for line in &outcome.timeline {
        println!("{line}");
    }
    let counts = &outcome.verdict.counts;
    println!(
        "seed {} {} with {} replicas: {} jobs, {} machines, {} faults met, {} virtual, {:.0} ms real",
        scenario.seed,
        <&str>::from(scenario.profile),
        scenario.replicas,
        counts.jobs,
        counts.machines,
        counts.faults,
        gust_core::time::human(outcome.took),
        clock.elapsed().as_secs_f64() * 1000.0,
    );
    let Some(failure) = outcome.failure() else {
        println!("no violation");
        return Ok(true);
    };
    println!("{failure}");
    if let Some(name) = &args.keep {
        let (small, runs) = cut(scenario, &outcome);
        let path = keep_as(&small, name)?;
        println!(
            "cut down in {runs} runs to {} and kept as {}",
            size(&small),
            path.display()
        );
    }
    Ok(false)
}

#[expect(clippy::print_stdout, reason = "the report is this command's product")]
#[expect(clippy::print_stderr, reason = "progress is for people")]
fn many(args: &SimArgs) -> Result<bool> {
    let profiles = match (args.profile, args.jobs) {
        (Some(one), None) => vec![one],
        (Some(one), Some(jobs)) if Scenario::big(1, one, 1, jobs).is_some() => vec![one],
        (Some(_), Some(_)) => bail!(NO_SIZE),
        (None, Some(_)) => vec![Profile::OneShape, Profile::Monorepo],
        (None, None) => Profile::VARIANTS.to_vec(),
    };
    let sweep = Sweep {
        from: args.from,
        seeds: args.seeds,
        profiles,
        jobs: args.jobs,
        replicas: args.replicas.map_or_else(|| vec![1, 3], |one| vec![one]),
        all: args.all,
        plain: args.plain,
        threads: args
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        most_violations: args.most,
    };
    let clock = Stopwatch::start();
    let last = Mutex::new(Duration::ZERO);
    let sum = sweep.run(&|sum| {
        let now = clock.elapsed();
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_sub(*last) >= Duration::from_secs(2) {
            *last = now;
            eprintln!("{:>6} of {} runs: {}", sum.runs, sweep.runs(), rates(sum, now));
        }
    });
    println!("{} runs: {}", sum.runs, rates(&sum, clock.elapsed()));
    println!(
        "fewest jobs of a run {}, {:.1} faults met a run on average, {} of virtual time, {:.2} M events and commits checked",
        sum.fewest_jobs,
        sum.faults as f64 / sum.runs.max(1) as f64,
        gust_core::time::human(sum.took),
        sum.seen as f64 / 1e6,
    );
    for (name, count) in &sum.counted {
        println!("{count:>8} {name}");
    }
    for failure in &sum.failures {
        let Scenario { seed, replicas, .. } = &failure.scenario;
        let profile: &str = failure.scenario.profile.into();
        println!(
            "violation: seed {seed}, {profile}, {replicas} replicas\n{}",
            failure.what
        );
        println!(
            "  again: gust-loadtest sim --seed {seed} --profile {profile} --replicas {replicas} --trace"
        );
    }
    if let Some(failure) = sum.failures.first().filter(|_| !args.no_shrink) {
        let (small, runs) = cut(&failure.scenario, &run(&failure.scenario, Keep::Nothing));
        println!(
            "the first one, cut down in {runs} runs to {}:\n{}",
            size(&small),
            small.to_toml()
        );
    }
    Ok(covered(args, &sum) && sum.failures.is_empty())
}

#[expect(clippy::print_stdout, reason = "the report is this command's product")]
fn covered(args: &SimArgs, sum: &Sum) -> bool {
    if args.plain {
        return true;
    }
    let never = sum.cover.never_met();
    println!("{}", sum.cover.table());
    println!(
        "{} pairs of state and fault met, {} never",
        sum.cover.met().len(),
        never.len()
    );
    for pair in &never {
        println!("  never met: {pair}");
    }
    never.is_empty() || !args.coverage
}

fn rates(sum: &Sum, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    format!(
        "{} jobs ({:.0}/s), {} machines, {} faults met ({:.0}/s), {} violations, {:.1} s",
        sum.jobs,
        sum.jobs as f64 / seconds,
        sum.machines,
        sum.faults,
        sum.faults as f64 / seconds,
        sum.failures.len(),
        seconds
    )
}

/// Cuts a failing scenario down to what still breaks the same invariant.
fn cut(scenario: &Scenario, outcome: &Outcome) -> (Scenario, usize) {
    let broken = outcome.broken();
    shrink(scenario, SHRINK_BUDGET, &mut |candidate| {
        run(candidate, Keep::Nothing).broken() == broken
    })
}

fn size(scenario: &Scenario) -> String {
    let steps: usize = scenario
        .builds
        .iter()
        .map(|build| build.steps().map_or(0, |steps| steps.len()))
        .sum();
    format!(
        "{} steps in {} builds, {} acts, {} faults, {} replicas",
        steps,
        scenario.builds.len(),
        scenario.acts.len(),
        scenario.faults.len(),
        scenario.replicas
    )
}

/// Keeps a scenario as a test.
fn keep_as(scenario: &Scenario, name: &str) -> Result<PathBuf> {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !plain || name.is_empty() {
        bail!("--keep {name}: a name is made of a-z, 0-9 and -");
    }
    let dir = Path::new(SEEDS);
    if !dir.is_dir() {
        bail!("there is no directory {SEEDS} here: run this from the root of the repository");
    }
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, scenario.to_toml()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Real time, for rates.
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "rates of the report are about real time"
    )]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
