//! The monorepo mix: a sample of a real pipeline's steps, with what they depend on.

use std::collections::BTreeMap;

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::step::Step;

/// The real pipeline: step, arch, cpu, memory, timeout, parallelism, dependencies, priority.
const MIX: &str = include_str!("../../../rust-monorepo-ci-mix.csv");

/// Steps of a sample; so many at least, beside the builds that others wait for.
const STEPS: std::ops::Range<usize> = 12..20;
/// Parallel jobs of a step are cut to this: runs are short.
const WIDEST: u32 = 5;

struct Row<'a> {
    step: &'a str,
    tags: String,
    parallelism: u32,
    depends_on: Vec<String>,
    priority: i64,
}

fn rows() -> Vec<Row<'static>> {
    let read = |line: &'static str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [step, arch, cpu, memory, _, parallelism, depends_on, priority, ..] = cells.as_slice() else {
            return None;
        };
        Some(Row {
            step,
            tags: format!("cpu: {cpu}, memory: {memory}, arch: {arch}"),
            parallelism: parallelism.parse().ok()?,
            depends_on: depends_on
                .split(';')
                .filter(|on| !on.is_empty())
                .map(str::to_owned)
                .collect(),
            priority: priority.parse().unwrap_or_default(),
        })
    };
    MIX.lines().skip(1).filter_map(read).collect()
}

/// The shapes of the mix, each with how many jobs it has.
pub(super) fn shapes() -> Vec<(String, u32)> {
    let mut shapes = BTreeMap::new();
    for row in rows() {
        *shapes.entry(row.tags).or_default() += row.parallelism;
    }
    shapes.into_iter().collect()
}

/// A sample of the mix. Everything that a chosen step waits for is in it, too.
pub(super) fn sample(rng: &mut ChaCha8Rng) -> Vec<Step> {
    let rows = rows();
    let by_name: BTreeMap<&str, usize> = rows.iter().enumerate().map(|(at, row)| (row.step, at)).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(rng);
    let mut chosen = vec![false; rows.len()];
    let mut open: Vec<usize> = order.into_iter().take(rng.random_range(STEPS)).collect();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut chosen[at], true) {
            open.extend(
                rows[at]
                    .depends_on
                    .iter()
                    .filter_map(|on| by_name.get(on.as_str())),
            );
        }
    }
    let mut steps = Vec::new();
    let mut jobs = 0;
    for (row, _) in rows.iter().zip(&chosen).filter(|(_, chosen)| **chosen) {
        let parallelism = row.parallelism.min(WIDEST);
        jobs += parallelism;
        steps.push(Step {
            key: row.step.to_owned(),
            tags: row.tags.clone(),
            parallelism,
            depends_on: row
                .depends_on
                .iter()
                .filter(|on| by_name.contains_key(on.as_str()))
                .cloned()
                .collect(),
            priority: row.priority,
            run_s: rng.random_range(3..40),
            ..Step::default()
        });
    }
    // A sample of narrow steps only: the rest of the jobs is one wide step.
    if jobs < 20 {
        steps.push(Step {
            key: "rest".to_owned(),
            tags: "cpu: 4, memory: 8, arch: arm64".to_owned(),
            parallelism: 20 - jobs,
            run_s: rng.random_range(3..20),
            ..Step::default()
        });
    }
    steps
}
