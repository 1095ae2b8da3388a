//! Workloads: who builds what, drawn from a seed. Every profile has at least 20 jobs.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    Act, BuildAt, LimitsOf, Planned, When, mix,
    step::{Step, build},
};

/// Kinds of workload.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Profile {
    /// Small builds, one after the other.
    Trickle,
    /// Everything at once.
    Burst,
    /// Builds of different priorities compete for little quota.
    Priorities,
    /// All jobs ask for the same.
    OneShape,
    /// No two jobs ask for the same.
    AllDifferent,
    /// Quota for a few machines only.
    TinyQuota,
    /// People cancel most of it at every stage.
    MassCancel,
    /// A sample of a real monorepo's pipeline.
    Monorepo,
}

/// Steps whose key begins so ask for what no machine has: gust finishes them with a reason.
pub const IMPOSSIBLE: &str = "never";

/// A workload: builds, what people do to them, and what the services enforce.
pub(super) struct Work {
    pub builds: Vec<BuildAt>,
    pub acts: Vec<Planned<Act>>,
    pub limits: LimitsOf,
}

impl Profile {
    pub(super) fn draw(self, rng: &mut ChaCha8Rng) -> Work {
        let mut work = Work {
            builds: Vec::new(),
            acts: Vec::new(),
            limits: LimitsOf {
                base: "demo".to_owned(),
                change: toml::Table::new(),
            },
        };
        match self {
            Self::Trickle => trickle(rng, &mut work),
            Self::Burst => burst(rng, &mut work),
            Self::Priorities => priorities(rng, &mut work),
            Self::OneShape => one_shape(rng, &mut work),
            Self::AllDifferent => all_different(rng, &mut work),
            Self::TinyQuota => tiny_quota(rng, &mut work),
            Self::MassCancel => mass_cancel(rng, &mut work),
            Self::Monorepo => work.builds.push(build(0, "monorepo", &mix::sample(rng))),
        }
        work
    }
}

/// What a build has beside its jobs that pass: one that fails, one that is retried, one that cannot be, and
/// one that waits for another. The keys end with `mark`.
fn trimmings(rng: &mut ChaCha8Rng, mark: &str) -> Vec<Step> {
    let first = Step::new(format!("first{mark}"), "cpu: 4, memory: 16", rng);
    let after = Step {
        depends_on: vec![first.key.clone()],
        ..Step::new(format!("after{mark}"), "cpu: 2, memory: 8, spot: prefer", rng)
    };
    let fails = Step {
        exit: 3,
        ..Step::new(format!("fails{mark}"), "cpu: 2, memory: 8", rng)
    };
    let flaky = Step {
        exit: 7,
        retries: rng.random_range(1..3),
        ..Step::new(format!("flaky{mark}"), "cpu: 2, memory: 4", rng)
    };
    let never = Step::new(format!("{IMPOSSIBLE}{mark}"), "cpu: 1, memory: 700", rng);
    vec![first, after, fails, flaky, never]
}

fn parallel(key: &str, tags: &str, count: u32, rng: &mut ChaCha8Rng) -> Step {
    Step {
        parallelism: count,
        ..Step::new(key, tags, rng)
    }
}

/// Shapes that people ask for.
const COMMON: [&str; 8] = [
    "cpu: 2, memory: 8",
    "cpu: 4, memory: 16",
    "cpu: 4, memory: 8, arch: arm64",
    "cpu: 8, memory: 32",
    "cpu: 8, memory: 32, spot: prefer",
    "cpu: 16, memory: 64",
    "cpu: 2, memory: 8, spot: true",
    "cpu: 8, memory: 16, arch: arm64",
];

fn common(rng: &mut ChaCha8Rng) -> &'static str {
    COMMON[rng.random_range(0..COMMON.len())]
}

fn trickle(rng: &mut ChaCha8Rng, work: &mut Work) {
    let mut at_ms = 0;
    for n in 0..5 {
        let mut steps = trimmings(rng, &format!("-{n}"));
        if n % 2 == 1 {
            steps.retain(|step| !step.key.starts_with(IMPOSSIBLE));
        }
        steps.push(Step::new(format!("more-{n}"), common(rng), rng));
        work.builds.push(build(at_ms, "trickle", &steps));
        at_ms += rng.random_range(5_000..40_000);
    }
}

fn burst(rng: &mut ChaCha8Rng, work: &mut Work) {
    let mut steps = trimmings(rng, "");
    for n in 0..rng.random_range(3..6) {
        let count = rng.random_range(3..9);
        steps.push(parallel(&format!("fan-{n}"), common(rng), count, rng));
    }
    steps.push(parallel(
        "wide",
        "cpu: 4, memory: 16",
        rng.random_range(8..14),
        rng,
    ));
    work.builds.push(build(0, "burst", &steps));
}

fn priorities(rng: &mut ChaCha8Rng, work: &mut Work) {
    for n in 0..4 {
        let priority = rng.random_range(-2..8);
        let mut steps = vec![Step {
            priority,
            ..parallel(
                &format!("jobs-{n}"),
                "cpu: 4, memory: 16",
                rng.random_range(4..8),
                rng,
            )
        }];
        steps.extend(trimmings(rng, &format!("-{n}")).into_iter().map(|step| Step {
            priority: priority + rng.random_range(-1..2),
            ..step
        }));
        work.builds
            .push(build(rng.random_range(0..20_000), &format!("team-{n}"), &steps));
    }
    quota(work, rng.random_range(5..9) * 4);
}

fn one_shape(rng: &mut ChaCha8Rng, work: &mut Work) {
    let tags = common(rng);
    let mut steps = trimmings(rng, "");
    for step in steps.iter_mut().filter(|step| !step.key.starts_with(IMPOSSIBLE)) {
        step.tags = tags.to_owned();
    }
    steps.push(parallel("same", tags, rng.random_range(18..26), rng));
    work.builds.push(build(0, "same", &steps));
}

fn all_different(rng: &mut ChaCha8Rng, work: &mut Work) {
    let mut steps = trimmings(rng, "");
    for n in 0..rng.random_range(18..24) {
        let cpu = [2, 4, 8, 16][n % 4];
        // No two alike, and never more than 7 GiB a vCPU: machines have up to 8.
        let memory = cpu * 2 + (u32::try_from(n).unwrap_or_default() / 4) * cpu.min(8) / 2 + 1;
        steps.push(Step::new(
            format!("kind-{n}"),
            format!("cpu: {cpu}, memory: {memory}, disk: {}", 20 + n),
            rng,
        ));
    }
    work.builds.push(build(0, "kinds", &steps));
}

fn tiny_quota(rng: &mut ChaCha8Rng, work: &mut Work) {
    let mut steps = trimmings(rng, "");
    for n in 0..4 {
        let tags = ["cpu: 2, memory: 8", "cpu: 4, memory: 16", "cpu: 8, memory: 32"][rng.random_range(0..3)];
        steps.push(Step {
            priority: rng.random_range(0..3),
            run_s: rng.random_range(2..12),
            ..parallel(&format!("fan-{n}"), tags, rng.random_range(4..7), rng)
        });
    }
    work.builds.push(build(0, "tiny", &steps));
    quota(work, rng.random_range(4..8) * 4);
}

fn mass_cancel(rng: &mut ChaCha8Rng, work: &mut Work) {
    for n in 0..3 {
        let mut steps = trimmings(rng, &format!("-{n}"));
        steps.push(parallel(
            &format!("fan-{n}"),
            common(rng),
            rng.random_range(4..8),
            rng,
        ));
        steps.push(parallel(
            &format!("more-{n}"),
            common(rng),
            rng.random_range(2..5),
            rng,
        ));
        work.builds
            .push(build(rng.random_range(0..8_000), "cancelled", &steps));
        let (step, index) = (format!("fan-{n}"), rng.random_range(0..4));
        let at_ms = rng.random_range(500..45_000);
        let event = [
            "job.reserved",
            "instance.inserted",
            "token.issued",
            "agent.registered",
            "job.acquired",
        ];
        let whole = When::Event {
            event: event[rng.random_range(0..event.len())].to_owned(),
            nth: rng.random_range(1..9),
            delay_ms: rng.random_range(0..500),
        };
        let mut plan = |when: When, what: Act| work.acts.push(Planned { when, what });
        plan(
            When::At { at_ms },
            Act::CancelJob {
                step: step.clone(),
                index,
            },
        );
        plan(
            When::At {
                at_ms: at_ms + rng.random_range(0..30_000),
            },
            Act::RetryJob { step, index },
        );
        if n < 2 {
            plan(whole, Act::CancelBuild { build: n });
        }
    }
}

/// Lowers every quota of vCPUs to this.
fn quota(work: &mut Work, cpus: u32) {
    let table = |names: &[&str], value: u32| -> toml::Value {
        let entries = names
            .iter()
            .map(|name| ((*name).to_owned(), f64::from(value).into()));
        toml::Value::Table(entries.collect())
    };
    let classic = [
        "CPUS",
        "E2_CPUS",
        "N2_CPUS",
        "N2D_CPUS",
        "N2A_CPUS",
        "C2_CPUS",
        "C2D_CPUS",
        "C3_CPUS",
        "T2D_CPUS",
        "T2A_CPUS",
        "PREEMPTIBLE_CPUS",
    ];
    let families = ["C3D", "C4", "C4A", "C4D", "N4", "N4A", "N4D"];
    let mut gce = toml::Table::new();
    gce.insert("quotas".to_owned(), table(&classic, cpus));
    gce.insert("family_quotas".to_owned(), table(&families, cpus));
    gce.insert(
        "project_quotas".to_owned(),
        table(&["CPUS_ALL_REGIONS"], cpus * 2),
    );
    work.limits
        .change
        .insert("gce".to_owned(), toml::Value::Table(gce));
}
