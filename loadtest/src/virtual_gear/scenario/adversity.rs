//! A bad day: zones without a family, a quota that is halved, Spot machines that are taken back, and a storm of refusals
//! for rate; and the same day for an oracle that knows when each of these begins and ends.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Act, LimitsOf, Planned, Profile, Scenario, SourceOf, What, When, step::Step, step::build};

const MINUTE_MS: u64 = 60_000;
/// A build comes each minute for so long.
const BUILDS: u64 = 100;
/// The family that runs out: the cheapest of those that most jobs allow.
const FAMILY: &str = "e2";
/// Where.
const ZONES: [&str; 2] = ["us-central1-a", "us-central1-b"];
/// From when, and for how long.
const STOCKOUT_MS: (u64, u64) = (10 * MINUTE_MS, 20 * MINUTE_MS);
/// The quota of the region is halved.
const QUOTA_MS: (u64, u64) = (25 * MINUTE_MS, 60 * MINUTE_MS);
/// Google refuses calls for their rate.
const STORM_MS: (u64, u64) = (45 * MINUTE_MS, MINUTE_MS);
/// vCPUs in a region: some four fifths of what the builds use on average, so that the other region has to take the rest.
const VCPUS: u32 = 96;

/// What a build asks for, and how often.
const STEPS: [(&str, u32); 4] = [
    ("cpu: 4, memory: 16, family: e2|n2d|c3d", 4),
    ("cpu: 8, memory: 32, family: e2|n2d|c3d", 2),
    ("cpu: 2, memory: 8, spot: prefer", 2),
    ("cpu: 4, memory: 16, spot: true", 2),
];

impl Scenario {
    /// The bad day of a seed. With `oracle` an operator closes what has run out at the very moment, pauses gust for the
    /// storm, and opens all again when it is over: who knows that does not meet a single refusal.
    pub fn adversity(seed: u64, replicas: usize, oracle: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6261_6420_6461_7921);
        let builds = (0..BUILDS).map(|n| {
            let steps = STEPS.iter().enumerate().map(|(at, (tags, count))| Step {
                key: format!("s{at}-{n}"),
                tags: (*tags).to_owned(),
                parallelism: *count,
                run_s: rng.random_range(60..300),
                ..Step::default()
            });
            let steps: Vec<Step> = steps.collect();
            build(n * MINUTE_MS, &format!("team-{}", n % 5), &steps)
        });
        let builds = builds.collect();
        let quiet_after_ms = (BUILDS + 1) * MINUTE_MS;
        Self {
            seed,
            profile: Profile::Trickle,
            replicas,
            latency_ms: (2, 30),
            quiet_after_ms,
            patience_ms: quiet_after_ms + 3 * 3_600_000,
            limits: limits(),
            builds,
            acts: if oracle { foresight() } else { Vec::new() },
            faults: faults(&mut rng),
            source: SourceOf::default(),
            caps: Vec::new(),
        }
    }
}

fn at<T>(at_ms: u64, what: T) -> Planned<T> {
    Planned {
        when: When::At { at_ms },
        what,
    }
}

fn faults(rng: &mut ChaCha8Rng) -> Vec<Planned<What>> {
    let (from, lasting_ms) = STOCKOUT_MS;
    let stockout = |zone: &&str| {
        let what = What::Stockout {
            zone: Some((*zone).to_owned()),
            family: Some(FAMILY.to_owned()),
            code: None,
            count: 1_000_000,
            lasting_ms,
        };
        at(from, what)
    };
    let mut faults: Vec<_> = ZONES.iter().map(stockout).collect();
    for metric in ["CPUS", "E2_CPUS"] {
        let what = What::QuotaCut {
            metric: metric.to_owned(),
            limit: f64::from(VCPUS / 2),
            lasting_ms: QUOTA_MS.1,
        };
        faults.push(at(QUOTA_MS.0, what));
    }
    let storm = What::Rate {
        count: 1_000_000,
        lasting_ms: STORM_MS.1,
    };
    faults.push(at(STORM_MS.0, storm));
    // Some twelve Spot machines are there at a time. One in twenty an hour would be one in a hundred minutes; this is
    // ten times that.
    for n in 1..10 {
        let what = What::Preempted {
            pick: rng.random_range(0..1000),
        };
        faults.push(at(n * 10 * MINUTE_MS, what));
    }
    faults
}

fn foresight() -> Vec<Planned<Act>> {
    let (from, lasting_ms) = STOCKOUT_MS;
    let close = |zone: &&str| {
        let what = Act::OperatorCordonFamily {
            family: FAMILY.to_owned(),
            zone: Some((*zone).to_owned()),
            lasting_ms,
        };
        at(from, what)
    };
    let mut acts: Vec<_> = ZONES.iter().map(close).collect();
    let lasting_ms = STORM_MS.1;
    acts.push(at(STORM_MS.0, Act::OperatorPause { lasting_ms }));
    acts
}

fn limits() -> LimitsOf {
    let quotas = ["CPUS", "E2_CPUS"]
        .map(|metric| (metric.to_owned(), toml::Value::from(f64::from(VCPUS))))
        .into_iter();
    let gce = [("quotas".to_owned(), toml::Value::Table(quotas.collect()))];
    let change = [("gce".to_owned(), toml::Value::Table(gce.into_iter().collect()))];
    LimitsOf {
        base: "demo".to_owned(),
        change: change.into_iter().collect(),
    }
}
