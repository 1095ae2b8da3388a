//! A whole day without faults: builds in working hours, or none at all but one.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{LimitsOf, Profile, Scenario, SourceOf, step::Step, step::build};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// How long a day is.
const DAY_MS: u64 = 24 * HOUR_MS;
/// When people work.
const WORK_MS: std::ops::Range<u64> = (8 * HOUR_MS)..(18 * HOUR_MS);

impl Scenario {
    /// A day of a seed: every one to ten minutes of working hours somebody pushes, and at noon ten do at once. With `idle`
    /// there is one build, in the last minute, so that a run has an end.
    pub fn day(seed: u64, replicas: usize, idle: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0064_6179);
        let mut at_ms = if idle { DAY_MS } else { WORK_MS.start };
        let mut pushes = Vec::new();
        while at_ms < WORK_MS.end {
            pushes.push(at_ms);
            at_ms += rng.random_range(MINUTE_MS..10 * MINUTE_MS);
        }
        if !idle {
            pushes.extend((0..10).map(|nth| 12 * HOUR_MS + nth * 200));
            pushes.sort_unstable();
        }
        pushes.push(DAY_MS - MINUTE_MS);
        let push = |(nth, at_ms): (usize, u64)| {
            let step = Step {
                key: format!("s{nth}"),
                tags: "cpu: 4, memory: 16".to_owned(),
                parallelism: rng.random_range(1..6),
                run_s: rng.random_range(30..300),
                ..Step::default()
            };
            build(at_ms, &format!("team-{}", nth % 5), &[step])
        };
        let builds = pushes.into_iter().enumerate().map(push).collect();
        Self {
            seed,
            profile: Profile::Trickle,
            replicas,
            latency_ms: (2, 30),
            quiet_after_ms: DAY_MS,
            patience_ms: DAY_MS + 3 * HOUR_MS,
            limits: LimitsOf {
                base: "demo".to_owned(),
                change: toml::Table::new(),
            },
            builds,
            acts: Vec::new(),
            faults: Vec::new(),
            source: SourceOf::default(),
            caps: Vec::new(),
        }
    }
}
