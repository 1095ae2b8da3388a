//! Failing runs become tests: cut down to what matters, and kept as scenario files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::progress::Progress;
use crate::{
    virtual_gear::{Keep, Outcome, Scenario, run, shrink},
    words::count,
};

/// Where failing scenarios are kept as tests, from the root of the repository.
pub const SEEDS: &str = "loadtest/seeds";
/// Most runs that cutting down may take.
const BUDGET: usize = 600;

/// Refuses what cannot be kept, before anything is run for it.
pub(super) fn check(name: &str) -> Result<()> {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !plain || name.is_empty() {
        bail!(
            "--keep {name:?}: a name is made of a-z, 0-9 and -, and says what was wrong, as in token-twice"
        );
    }
    if !Path::new(SEEDS).is_dir() {
        bail!("--keep {name}: there is no directory {SEEDS} here; run this from the root of the repository");
    }
    let path = path(name);
    if path.exists() {
        bail!(
            "--keep {name}: {} exists; take another name, or remove it first",
            path.display()
        );
    }
    Ok(())
}

fn path(name: &str) -> PathBuf {
    Path::new(SEEDS).join(format!("{name}.toml"))
}

/// Cuts a failing run down to what still breaks the same invariant, and keeps that. Returns what was done, in words.
pub(super) fn keep(scenario: &Scenario, named: &str, outcome: &Outcome, name: &str) -> Result<String> {
    let broken = outcome.broken();
    let progress = Progress::start();
    let mut tried = 0;
    let (small, runs) = shrink(scenario, BUDGET, &mut |candidate| {
        tried += 1;
        progress.show(|_| format!("cutting it down: {tried} runs, at most {BUDGET}"));
        run(candidate, Keep::Nothing).broken() == broken
    });
    progress.clear();
    let said = outcome.failure().unwrap_or_default();
    let said = said.lines().next().unwrap_or_default();
    let path = path(name);
    let text = format!(
        "# {said}\n# Found with {named}, and cut down.\n{}",
        small.to_toml()
    );
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!(
        "cut down in {runs} runs from {}\n                  to {}\nand kept as {}",
        size(scenario),
        size(&small),
        path.display()
    ))
}

fn size(scenario: &Scenario) -> String {
    let steps: usize = scenario
        .builds
        .iter()
        .map(|build| build.steps().map_or(0, |steps| steps.len()))
        .sum();
    format!(
        "{} in {}, {}, {}, {}",
        count(steps as u64, "step"),
        count(scenario.builds.len() as u64, "build"),
        count(scenario.acts.len() as u64, "act"),
        count(scenario.faults.len() as u64, "fault"),
        count(scenario.replicas as u64, "replica")
    )
}
