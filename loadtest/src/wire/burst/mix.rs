//! The jobs of a burst: the real build's mix, in its proportions, all at once.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};

/// The mix that comes with the load test.
const CSV: &str = include_str!("../../../rust-monorepo-ci-mix.csv");
/// Jobs of one step at most, as Buildkite has it.
const PARALLELISM: usize = 1000;

/// Steps of equal jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    step: String,
    arch: String,
    cpu: u64,
    memory_gib: u64,
    priority: i64,
    count: usize,
}

/// What jobs a burst has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix(Vec<Steps>);

impl Mix {
    /// So many jobs: whole builds, and of one more the first steps. `fits` leaves out steps whose jobs have more
    /// vCPUs than it allows.
    pub fn of(jobs: usize, fits: impl Fn(u64) -> bool) -> Result<Self> {
        let mut build = read(CSV)?;
        build.retain(|steps| fits(steps.cpu));
        let whole: usize = build.iter().map(|steps| steps.count).sum();
        ensure!(whole > 0, "no step of the mix fits");
        let (builds, mut rest) = (jobs / whole, jobs % whole);
        for steps in &mut build {
            let more = steps.count.min(rest);
            rest -= more;
            steps.count = steps.count * builds + more;
        }
        build.retain(|steps| steps.count > 0);
        Ok(Self(build))
    }

    /// How many there are.
    pub fn jobs(&self) -> usize {
        self.0.iter().map(|steps| steps.count).sum()
    }

    /// How many jobs ask for the same, by what they ask for, the largest group first.
    pub fn groups(&self) -> Vec<usize> {
        let mut groups: BTreeMap<(&str, u64, u64), usize> = BTreeMap::new();
        for steps in &self.0 {
            *groups
                .entry((&steps.arch, steps.cpu, steps.memory_gib))
                .or_default() += steps.count;
        }
        let mut sizes: Vec<usize> = groups.into_values().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    /// The pipeline: the same sizes and priorities, without dependencies, so that all jobs are there at once.
    pub fn pipeline(&self, run_s: f64) -> String {
        let mut text = format!("env: {{ GUST_SIM_RUN_S: \"{run_s}\" }}\nsteps:\n");
        for steps in &self.0 {
            let mut left = steps.count;
            let mut part = 0;
            while left > 0 {
                let count = left.min(PARALLELISM);
                left -= count;
                part += 1;
                let Steps {
                    step,
                    arch,
                    cpu,
                    memory_gib,
                    priority,
                    ..
                } = steps;
                // Writing to a text does not fail.
                let _ = writeln!(
                    text,
                    "  - {{ key: {step}-{part}, command: \"true\", parallelism: {count}, priority: {priority}, \
                     agents: {{ queue: gust, arch: {arch}, cpu: {cpu}, memory: {memory_gib} }} }}"
                );
            }
        }
        text
    }
}

fn read(csv: &str) -> Result<Vec<Steps>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().context("the mix is empty")?.split(',').collect();
    let at = |name: &str| {
        let found = header.iter().position(|column| *column == name);
        found.with_context(|| format!("the mix has no column `{name}`"))
    };
    let columns = ["step", "arch", "cpu", "memory_gib", "parallelism", "priority"];
    let columns = columns.map(at);
    let mut all = Vec::new();
    for (n, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |column: usize| -> Result<&str> {
            let at = columns[column]
                .as_ref()
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            let cell = cells
                .get(*at)
                .with_context(|| format!("line {}: too few cells", n + 2))?;
            Ok(cell.trim())
        };
        let number = |column: usize| -> Result<i64> {
            let text = cell(column)?;
            text.parse()
                .with_context(|| format!("line {}: `{text}` is no number", n + 2))
        };
        let positive = |column: usize| -> Result<u64> {
            number(column)?
                .try_into()
                .with_context(|| format!("line {}: a negative number", n + 2))
        };
        all.push(Steps {
            step: cell(0)?.to_owned(),
            arch: cell(1)?.to_owned(),
            cpu: positive(2)?,
            memory_gib: positive(3)?,
            count: positive(4)?.try_into().context("too many jobs")?,
            priority: number(5)?,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_exactly_the_jobs_asked_for_in_the_proportions_of_the_build() {
        let build = Mix::of(126, |_| true).unwrap();
        assert_eq!(build.groups(), [33, 31, 28, 14, 7, 5, 3, 2, 1, 1, 1]);
        for jobs in [1, 30, 126, 127, 10_000] {
            let mix = Mix::of(jobs, |_| true).unwrap();
            assert_eq!((mix.jobs(), mix.groups().iter().sum::<usize>()), (jobs, jobs));
        }
        let large = Mix::of(10_000, |_| true).unwrap().groups();
        assert!(large[0].abs_diff(33 * 10_000 / 126) < 33, "{large:?}");
    }

    #[test]
    fn steps_that_do_not_fit_are_left_out() {
        let mix = Mix::of(500, |cpu| cpu <= 24).unwrap();
        assert_eq!(mix.jobs(), 500);
        assert!(mix.0.iter().all(|steps| steps.cpu <= 16));
        assert!(Mix::of(1, |_| false).is_err());
    }

    #[test]
    fn no_step_has_more_jobs_than_buildkite_takes() {
        let mix = Mix::of(10_000, |_| true).unwrap();
        let pipeline = mix.pipeline(5.0);
        let count = |line: &str| -> usize {
            let rest = line.split_once("parallelism: ").unwrap().1;
            rest.split_once(',').unwrap().0.parse().unwrap()
        };
        let counts: Vec<usize> = pipeline.lines().skip(2).map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), 10_000);
        assert!(counts.iter().all(|count| *count <= PARALLELISM));
        assert!(
            pipeline.starts_with("env: { GUST_SIM_RUN_S: \"5\" }\n"),
            "{pipeline}"
        );
    }
}
