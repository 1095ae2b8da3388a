//! Many runs, and what came of them.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Result;

use super::{SimArgs, command, keep, progress::Progress};
use crate::{
    virtual_gear::{Failure, Keep, Sum, Sweep, run},
    words::count,
};

/// Runs all. True if nothing was violated, and everything was met that had to be.
pub(super) fn sweep(args: &SimArgs, sweep: &Sweep) -> Result<bool> {
    let progress = Progress::start();
    let runs = sweep.runs();
    let told = AtomicUsize::new(0);
    let sum = sweep.run(&|sum| {
        // A long run can be looked into while it goes on.
        let before = told.fetch_max(sum.failures.len(), Ordering::Relaxed);
        for failure in sum.failures.iter().skip(before) {
            progress.say(&headline(failure));
        }
        progress.show(|took| {
            let left = took.mul_f64(runs.saturating_sub(sum.runs) as f64 / sum.runs.max(1) as f64);
            let left = gust_core::time::human(Duration::from_secs(left.as_secs()));
            format!("{} of {runs} runs: {}; {left} to go", sum.runs, rates(sum, took))
        });
    });
    progress.clear();
    let mut out = std::io::stdout().lock();
    totals(&mut out, &sum, progress.elapsed())?;
    let is_covered = args.plain || covered(&mut out, args, &sum)?;
    failures(&mut out, args, &sum)?;
    if let (Some(name), Some(failure)) = (&args.keep, sum.failures.first()) {
        let outcome = run(&failure.scenario, Keep::Nothing);
        let named = args.named(&failure.scenario);
        writeln!(out, "{}", keep::keep(&failure.scenario, &named, &outcome, name)?)?;
    }
    Ok(is_covered && sum.failures.is_empty())
}

fn totals(out: &mut dyn Write, sum: &Sum, took: Duration) -> Result<()> {
    writeln!(out, "{} runs: {}", sum.runs, rates(sum, took))?;
    writeln!(
        out,
        "at least {} jobs a run, {:.1} faults met a run on average, {} of virtual time, {:.2} million events and commits checked",
        sum.fewest_jobs,
        sum.faults as f64 / sum.runs.max(1) as f64,
        gust_core::time::human(sum.took),
        sum.seen as f64 / 1e6,
    )?;
    for (name, count) in sum.counted.iter().filter(|(_, count)| **count > 0) {
        writeln!(out, "{count:>8} {name}")?;
    }
    Ok(())
}

fn covered(out: &mut dyn Write, args: &SimArgs, sum: &Sum) -> Result<bool> {
    let never = sum.cover.never_met();
    let must = args.coverage || args.long;
    if must {
        writeln!(out, "{}", sum.cover.table())?;
    }
    let hint = if must || never.is_empty() {
        ""
    } else {
        " (--coverage lists them)"
    };
    writeln!(
        out,
        "{} pairs of state and fault met, {} never{hint}",
        sum.cover.met().len(),
        never.len()
    )?;
    if must {
        for pair in &never {
            writeln!(out, "  never met: {pair}")?;
        }
    }
    Ok(never.is_empty() || !must)
}

// The first run that broke an invariant tells its story; further ones are named.
fn failures(out: &mut dyn Write, args: &SimArgs, sum: &Sum) -> Result<()> {
    let mut told = BTreeSet::new();
    for failure in &sum.failures {
        writeln!(out, "{}", headline(failure))?;
        let lines = failure.what.lines();
        let shown = if told.insert(&failure.broken) {
            usize::MAX
        } else {
            1
        };
        lines.take(shown).try_for_each(|line| writeln!(out, "  {line}"))?;
        let named = args.named(&failure.scenario);
        writeln!(out, "  again: {} {named} --trace", command())?;
    }
    if args.keep.is_none()
        && let Some(first) = sum.failures.first()
    {
        let named = args.named(&first.scenario);
        writeln!(
            out,
            "cut the first one down, and keep it as a test: {} {named} --keep NAME",
            command()
        )?;
    }
    Ok(())
}

fn headline(Failure { scenario, .. }: &Failure) -> String {
    format!(
        "violation: seed {}, {}, {}",
        scenario.seed,
        <&str>::from(scenario.profile),
        count(scenario.replicas as u64, "replica")
    )
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
