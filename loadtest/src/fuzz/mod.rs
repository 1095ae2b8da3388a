//! `gust-loadtest fuzz`: every parser of bytes from outside, fed with real samples and what a seed makes of them.
//!
//! Coverage is not measured, unlike with cargo-fuzz: the samples are real ones, and mutations know lines, numbers and JSON, so
//! that most inputs get past the first check. What it needs is a stable compiler and nothing else.

mod json;
mod mutate;
mod panics;
mod service;
mod targets;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{
    mutate::Mutator,
    targets::{Make, Target},
};

/// The stack of the thread on which parsers run: what threads of the server and of the guest have.
const STACK: usize = 2 << 20;
/// A target with so many findings is left alone.
const ENOUGH: usize = 5;
/// An input that takes longer is a finding, too.
const SLOW: Duration = Duration::from_secs(5);

/// What to feed, and for how long.
#[derive(Args, Clone, Debug)]
pub struct FuzzArgs {
    /// Seconds, all targets together
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The seed: with the same one, each target gets the same inputs in the same order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only targets whose name holds this; may be given several times
    #[arg(long)]
    target: Vec<String>,
    /// Where inputs are written that were not taken well
    #[arg(long, default_value = "fuzz-findings")]
    dir: PathBuf,
    /// Feed this file to the targets, once
    #[arg(long)]
    input: Option<PathBuf>,
    /// Write each input down before it is fed: finds the one that ends the process, such as by using up its stack
    #[arg(long)]
    keep: bool,
}

/// What came of a target.
#[derive(Debug)]
struct Row {
    name: &'static str,
    samples: usize,
    executions: u64,
    taken: u64,
    slowest: Duration,
    findings: Vec<String>,
}

/// Feeds all targets. True if nothing was found.
///
/// # Errors
/// No target of that name, or findings cannot be written.
pub fn fuzz(args: &FuzzArgs) -> Result<bool> {
    let args = args.clone();
    let thread = std::thread::Builder::new()
        .name("fuzz".to_owned())
        .stack_size(STACK);
    let run = thread
        .spawn(move || run(&args))
        .context("cannot start a thread")?;
    run.join()
        .map_err(|_| anyhow::anyhow!("the fuzzer itself panicked"))?
}

fn run(args: &FuzzArgs) -> Result<bool> {
    panics::listen();
    let mut all = targets::all();
    if !args.target.is_empty() {
        all.retain(|make| {
            let name = set_up(*make).map_or("", |target| target.name);
            args.target.iter().any(|part| name.contains(part.as_str()))
        });
    }
    if all.is_empty() {
        bail!("there is no target of that name");
    }
    let each = Duration::from_secs(args.seconds).div_f64(all.len() as f64);
    let mut rows = Vec::new();
    for make in all {
        let row = match &args.input {
            Some(file) => once(make, file)?,
            None => feed(make, args, each)?,
        };
        eprintln!(
            "{}: {} executions, {} findings",
            row.name,
            row.executions,
            row.findings.len()
        );
        rows.push(row);
    }
    print(&rows, args.seed);
    Ok(rows.iter().all(|row| row.findings.is_empty()))
}

fn set_up(make: Make) -> Result<Target> {
    panics::caught(make).map_err(|what| anyhow::anyhow!("a target cannot be set up: {what}"))
}

fn once(make: Make, file: &Path) -> Result<Row> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut target = set_up(make)?;
    let (fed, took) = timed(|| panics::caught(|| (target.run)(&input)));
    Ok(Row {
        name: target.name,
        samples: target.corpus.len(),
        executions: 1,
        taken: u64::from(fed == Ok(true)),
        slowest: took,
        findings: fed.err().into_iter().collect(),
    })
}

fn feed(make: Make, args: &FuzzArgs, within: Duration) -> Result<Row> {
    let mut target = set_up(make)?;
    let mut mutator = Mutator::new(args.seed, target.name);
    let mut row = Row {
        name: target.name,
        samples: target.corpus.len(),
        executions: 0,
        taken: 0,
        slowest: Duration::ZERO,
        findings: Vec::new(),
    };
    let corpus = target.corpus.clone();
    let begun = now();
    let all_fed = |row: &Row| usize::try_from(row.executions).is_ok_and(|fed| fed >= corpus.len());
    while (begun.elapsed() < within || !all_fed(&row)) && row.findings.len() < ENOUGH {
        // All samples as they are, first.
        let sample = usize::try_from(row.executions).ok().and_then(|at| corpus.get(at));
        let input = sample.cloned().unwrap_or_else(|| mutator.input(&corpus));
        if args.keep {
            write(&args.dir, target.name, "last", &input)?;
        }
        let (fed, took) = timed(|| panics::caught(|| (target.run)(&input)));
        row.executions += 1;
        row.taken += u64::from(fed == Ok(true));
        row.slowest = row.slowest.max(took);
        let slow = (took > SLOW).then(|| format!("took {took:?}"));
        if let Some(what) = fed.err().or(slow) {
            let number = row.executions.to_string();
            let file = write(&args.dir, target.name, &number, &input)?;
            row.findings.push(format!(
                "{what}\n    seed {}, input {number}: {}",
                args.seed,
                file.display()
            ));
            target = set_up(make)?;
        }
    }
    Ok(row)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run lasts is no input of what it feeds"
)]
fn now() -> Instant {
    Instant::now()
}

fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begun = now();
    let done = act();
    (done, begun.elapsed())
}

fn write(dir: &Path, target: &str, number: &str, input: &[u8]) -> Result<PathBuf> {
    let name: String = target
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let file = dir.join(format!("{name}-{number}"));
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&file, input));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[expect(clippy::print_stdout, reason = "the report is this program's product")]
fn print(rows: &[Row], seed: u64) {
    println!(
        "{:<28} {:>7} {:>11} {:>11} {:>10}  found",
        "target", "samples", "executions", "taken", "slowest ms"
    );
    for row in rows {
        println!(
            "{:<28} {:>7} {:>11} {:>11} {:>10.1}  {}",
            row.name,
            row.samples,
            row.executions,
            row.taken,
            row.slowest.as_secs_f64() * 1000.0,
            row.findings.len()
        );
    }
    for row in rows {
        for finding in &row.findings {
            println!("{}: {finding}", row.name);
        }
    }
    let executions: u64 = rows.iter().map(|row| row.executions).sum();
    let findings: usize = rows.iter().map(|row| row.findings.len()).sum();
    println!(
        "{} targets, {executions} executions with seed {seed}, {findings} findings",
        rows.len()
    );
}
