//! The command `gust-loadtest mutants`: known faults are put back into the program, one at a time, and the
//! simulation has to notice each.
//!
//! It exists with the feature `mutants` only, which no shipped build enables.

use anyhow::{Result, bail};
use clap::Args;
use gust_core::mutant;
use strum::VariantArray as _;

use crate::virtual_gear::{Profile, Sum, Sweep};

/// Which faults to put in.
#[derive(Args, Clone, Debug)]
pub struct MutantArgs {
    /// Most runs for each.
    #[arg(long, default_value_t = 2000)]
    runs: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One of them only; `none` puts nothing in and expects nothing to be found.
    #[arg(long)]
    only: Option<String>,
    /// Threads; one for each core by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// Puts each fault in until it is caught. True if all were.
///
/// # Errors
/// There is no fault of the name asked for.
pub fn mutants(args: &MutantArgs) -> Result<bool> {
    let names: Vec<Option<&'static str>> = match args.only.as_deref() {
        None => mutant::NAMES.iter().copied().map(Some).collect(),
        Some("none") => vec![None],
        Some(name) => match mutant::NAMES.iter().find(|known| **known == name) {
            Some(name) => vec![Some(*name)],
            None => bail!(
                "there is no mutant {name:?}; there are none, {}",
                mutant::NAMES.join(", ")
            ),
        },
    };
    let mut all = true;
    for name in names {
        let sum = hunt(args, name);
        all &= report(name, &sum);
    }
    Ok(all)
}

fn hunt(args: &MutantArgs, name: Option<&'static str>) -> Sum {
    let sweep = Sweep {
        from: args.from,
        seeds: args.runs,
        profiles: Profile::VARIANTS.to_vec(),
        replicas: vec![3, 1],
        all: false,
        plain: false,
        jobs: None,
        threads: args
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        most_violations: 1,
    };
    sweep.run_on(&|| mutant::put(name), &|_| ())
}

#[expect(clippy::print_stdout, reason = "the table is this command's product")]
fn report(name: Option<&'static str>, sum: &Sum) -> bool {
    let shown = name.unwrap_or("none");
    let Some(failure) = sum.failures.first() else {
        println!("{shown:<24} not caught in {} runs", sum.runs);
        return name.is_none();
    };
    let profile: &str = failure.scenario.profile.into();
    let line = failure.what.lines().next().unwrap_or_default();
    println!(
        "{shown:<24} caught after {:>4} runs by seed {:>5} ({profile}, {} replicas): {line}",
        sum.runs, failure.scenario.seed, failure.scenario.replicas
    );
    name.is_some()
}
