//! One run, and what came of it.

use std::io::Write;

use anyhow::{Result, bail};

use super::{SimArgs, command, keep, progress::Stopwatch};
use crate::{
    virtual_gear::{Keep, Outcome, Scenario, run},
    words::count,
};

/// Runs it. `named` are the arguments that name it. True if nothing was violated.
pub(super) fn one(args: &SimArgs, scenario: &Scenario, named: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    if args.print {
        write!(out, "{}", scenario.to_toml())?;
        return Ok(true);
    }
    let keep = match (args.trace, args.log) {
        (true, _) => Keep::Timeline,
        (_, true) => Keep::Log,
        _ => Keep::Nothing,
    };
    let clock = Stopwatch::start();
    let outcome = run(scenario, keep);
    for line in &outcome.timeline {
        writeln!(out, "{line}")?;
    }
    write!(out, "{}", outcome.log)?;
    let told = told(scenario, &outcome, &clock);
    // The log is for programs: nothing else may stand in it.
    let mut words: Box<dyn Write> = if args.log {
        Box::new(std::io::stderr())
    } else {
        Box::new(out)
    };
    writeln!(words, "{told}")?;
    let Some(failure) = outcome.failure() else {
        if args.keep.is_some() {
            bail!("--keep: this run violates nothing, so there is nothing to keep");
        }
        writeln!(words, "no violation")?;
        return Ok(true);
    };
    write!(words, "violation: {failure}")?;
    match &args.keep {
        Some(name) => writeln!(words, "{}", keep::keep(scenario, named, &outcome, name)?)?,
        None => {
            if !args.trace {
                writeln!(words, "  watch: {} {named} --trace", command())?;
            }
            writeln!(words, "  keep:  {} {named} --keep NAME", command())?;
        }
    }
    Ok(false)
}

fn told(scenario: &Scenario, outcome: &Outcome, clock: &Stopwatch) -> String {
    let counts = &outcome.verdict.counts;
    format!(
        "seed {}, {}, {}: {}, {}, {} met, {} of virtual time in {:.1} s",
        scenario.seed,
        <&str>::from(scenario.profile),
        count(scenario.replicas as u64, "replica"),
        count(counts.jobs, "job"),
        count(counts.machines, "machine"),
        count(counts.faults, "fault"),
        gust_core::time::human(outcome.took),
        clock.elapsed().as_secs_f64(),
    )
}
