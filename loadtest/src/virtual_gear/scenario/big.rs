//! Big plain runs: as many jobs as one asks for, raised limits, no faults. They are about speed and size.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    LimitsOf, Profile, Scenario, SourceOf, mix,
    step::{Step, build},
};

/// Most jobs of one step, as Buildkite allows them.
const WIDEST: u32 = 1000;
/// Most jobs of one build: fewer than Buildkite allows, so that builds overlap.
const LARGEST: u32 = 2000;
/// Between two builds, in virtual milliseconds.
const BETWEEN_MS: u64 = 4_000;
/// How long jobs run, in virtual seconds.
const RUN_S: std::ops::RangeInclusive<u32> = 1..=8;
/// The one shape.
const ONE: &str = "cpu: 4, memory: 16";

/// What of the built-in limits a big run raises, in the form of the limits file. Rates of Buildkite stay as they
/// are, and so do the bulk operations that Google runs at a time.
const RAISED: &str = include_str!("big.toml");

impl Scenario {
    /// A plain run of this many jobs: all of one shape, or those of the monorepo mix without what they wait for.
    /// None for other profiles: they have sizes of their own.
    pub fn big(seed: u64, profile: Profile, replicas: usize, jobs: u32) -> Option<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6269_675f_7275_6e73);
        let shapes = match profile {
            Profile::OneShape => vec![(ONE.to_owned(), 1)],
            Profile::Monorepo => mix::shapes(),
            _ => return None,
        };
        let mut builds = Vec::new();
        let mut left = jobs;
        while left > 0 {
            let count = left.min(LARGEST);
            left -= count;
            let at_ms = builds.len() as u64 * BETWEEN_MS;
            builds.push(build(at_ms, "big", &steps(&mut rng, &shapes, count)));
        }
        // Each build has its turn, and the machines of the last one are gone soon after.
        let quiet_after_ms = builds.len() as u64 * BETWEEN_MS + 60_000;
        Some(Self {
            seed,
            profile,
            replicas,
            latency_ms: (2, 20),
            quiet_after_ms,
            patience_ms: quiet_after_ms + 3 * 3_600_000,
            limits: LimitsOf {
                base: "demo".to_owned(),
                change: RAISED
                    .parse()
                    .expect("big.toml is part of the program and tested"),
            },
            builds,
            acts: Vec::new(),
            source: SourceOf::default(),
            caps: Vec::new(),
            faults: Vec::new(),
        })
    }
}

/// `count` jobs, shared out by weight.
fn steps(rng: &mut ChaCha8Rng, shapes: &[(String, u32)], count: u32) -> Vec<Step> {
    let whole: u32 = shapes.iter().map(|(_, weight)| weight).sum();
    let (mut steps, mut left, mut seen) = (Vec::new(), count, 0);
    for (n, (tags, weight)) in shapes.iter().enumerate() {
        seen += weight;
        // What rounding left over goes to the last one.
        let until = u64::from(count) * u64::from(seen) / u64::from(whole.max(1));
        let mut share = left.min(u32::try_from(until).unwrap_or(count) - (count - left));
        left -= share;
        for part in 0.. {
            if share == 0 {
                break;
            }
            let parallelism = share.min(WIDEST);
            share -= parallelism;
            steps.push(Step {
                key: format!("kind-{n}-{part}"),
                tags: tags.clone(),
                parallelism,
                run_s: rng.random_range(RUN_S),
                ..Step::default()
            });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_run_has_as_many_jobs_as_were_asked_for_and_is_a_good_scenario() {
        for profile in [Profile::OneShape, Profile::Monorepo] {
            for jobs in [1, 37, 2000, 4001] {
                let scenario = Scenario::big(7, profile, 1, jobs).expect("a profile of any size");
                assert!(scenario.check("big").is_ok());
                let mut rng = ChaCha8Rng::seed_from_u64(1);
                let shapes = mix::shapes();
                let made: u32 = steps(&mut rng, &shapes, jobs)
                    .iter()
                    .map(|step| step.parallelism)
                    .sum();
                assert_eq!(made, jobs);
            }
        }
        assert!(Scenario::big(7, Profile::Trickle, 1, 100).is_none());
    }
}
