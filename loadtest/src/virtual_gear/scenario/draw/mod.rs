//! Scenarios from a seed. All that is random about the list of faults is drawn here.
//!
//! Faults are aimed at moments when state has just changed: at least half of them hang on a message or an
//! event, and some come in pairs, the second right after the recovery from the first.

mod odd;
mod reply;
mod what;
mod when;

use std::sync::LazyLock;

use gust_core::cap::Cap;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{Act, BuildAt, FaultKind, Planned, Profile, Scenario, SourceOf, What, When};
use crate::virtual_gear::net::Point;

/// Kinds that are drawn for every run.
static COMMON: LazyLock<Vec<FaultKind>> = LazyLock::new(|| {
    let all = <FaultKind as strum::VariantArray>::VARIANTS.iter().copied();
    all.filter(|kind| !kind.is_odd()).collect()
});

/// The usual intensity.
pub const INTENSITY: f64 = 1.0;
/// Faults of a run, at intensity 1, on average.
const FAULTS: f64 = 9.0;
/// Most things happen within this many virtual milliseconds.
const BUSY_MS: u64 = 120_000;
/// Virtual time that a world without faults needs to come to its end, at most.
const ENDING_MS: u64 = 3 * 3_600_000;
/// Two hours, the longest that gust is down.
const DOWN_MS: u64 = 2 * 3_600_000;

impl Scenario {
    /// The scenario of a seed. `intensity` is the number of faults in units of the usual one; 0 is none.
    pub fn draw(seed: u64, profile: Profile, replicas: usize, intensity: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7363_656e_6172_696f);
        let work = profile.draw(&mut rng);
        let mut drawn = Draw {
            rng,
            replicas,
            faults: Vec::new(),
        };
        drawn.faults(intensity);
        upgrades(seed, &mut drawn.faults);
        let orders = if intensity > 0.0 {
            drawn.orders(&work.builds)
        } else {
            Vec::new()
        };
        let Draw {
            mut rng, mut faults, ..
        } = drawn;
        let is_long = faults
            .iter()
            .any(|fault| matches!(fault.what, What::GustDown { .. }));
        let quiet_after_ms = match is_long {
            true => DOWN_MS + 10 * 60_000,
            false => 10 * 60_000,
        };
        if intensity > 0.0 {
            faults.extend(odd::oddities(seed, replicas));
        }
        let fastest = rng.random_range(1..10);
        let caps = caps(seed, profile);
        Self {
            caps,
            seed,
            profile,
            replicas,
            latency_ms: (fastest, fastest + rng.random_range(1..60)),
            quiet_after_ms,
            patience_ms: quiet_after_ms + ENDING_MS,
            source: match intensity > 0.0 {
                true => odd::source(seed),
                false => SourceOf::default(),
            },
            limits: work.limits,
            builds: work.builds,
            acts: work.acts.into_iter().chain(orders).collect(),
            faults,
        }
    }
}

/// Some operators cap what a team, or everybody, may use: never below what one job needs. Drawn apart, too.
fn caps(seed: u64, profile: Profile) -> Vec<Cap> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6361_7073_6361_7073);
    let pipelines = match profile {
        Profile::Priorities => vec!["team-1".to_owned(), "team-2".to_owned()],
        Profile::Burst | Profile::TinyQuota | Profile::OneShape => Vec::new(),
        Profile::Trickle => vec!["trick*".to_owned()],
        Profile::AllDifferent | Profile::MassCancel | Profile::Monorepo => return Vec::new(),
    };
    if !rng.random_bool(0.3) {
        return Vec::new();
    }
    vec![Cap {
        name: "team".to_owned(),
        pipelines,
        vcpus: Some(rng.random_range(16..64)),
        micro_usd_per_day: Some(rng.random_range(500..1000) * 1_000_000),
    }]
}

/// Some of the replicas that are asked to end come back as a later build. Drawn apart, so that what else a seed gives
/// does not depend on it.
fn upgrades(seed: u64, faults: &mut [Planned<What>]) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7570_6772_6164_6573);
    for fault in faults {
        if let What::ReplicaStop { versions, .. } = &mut fault.what
            && rng.random_bool(0.6)
        {
            *versions = rng.random_range(1..=2);
        }
    }
}

pub(super) struct Draw {
    pub(super) rng: ChaCha8Rng,
    pub(super) replicas: usize,
    pub(super) faults: Vec<Planned<What>>,
}

impl Draw {
    fn faults(&mut self, intensity: f64) {
        let most = (2.0 * FAULTS * intensity).round();
        if most < 1.0 {
            return;
        }
        // The count is small and not negative.
        let count = self.rng.random_range(0..=most as u64);
        for _ in 0..count {
            let kind = self.kind();
            let fault = self.fault(kind);
            let pair = self
                .rng
                .random_bool(0.15)
                .then(|| self.recovery(&fault))
                .flatten();
            self.faults.push(fault);
            self.faults.extend(pair);
        }
        self.plot();
    }

    /// What operators of gust order, in one run of three.
    fn orders(&mut self, builds: &[BuildAt]) -> Vec<Planned<Act>> {
        if !self.rng.random_bool(0.33) {
            return Vec::new();
        }
        let steps: Vec<String> = builds
            .iter()
            .filter_map(|build| build.steps().ok())
            .flatten()
            .collect();
        let count = self.rng.random_range(1..=3);
        let order = |draw: &mut Self| {
            let lasting_ms = draw.rng.random_range(1_000..60_000);
            let what = match draw.rng.random_range(0..4) {
                0 => Act::OperatorPause { lasting_ms },
                1 if !steps.is_empty() => Act::OperatorCancel {
                    step: steps.choose(&mut draw.rng).cloned().unwrap_or_default(),
                    index: 0,
                },
                _ => Act::OperatorCordon {
                    region: draw.rng.random_range(0..4),
                    zone: draw.rng.random_bool(0.5).then(|| draw.rng.random_range(0..4)),
                    drain: draw.rng.random_bool(0.5),
                    lasting_ms,
                },
            };
            let at_ms = draw.rng.random_range(0..120_000);
            Planned {
                when: When::At { at_ms },
                what,
            }
        };
        (0..count).map(|_| order(self)).collect()
    }

    fn kind(&mut self) -> FaultKind {
        loop {
            let kind = *COMMON.choose(&mut self.rng).expect("there are kinds");
            let fits = match kind {
                FaultKind::LinkCut | FaultKind::LinkHalfOpen | FaultKind::PortClosed => self.replicas > 1,
                // Two hours cost many passes of polling machines: once in a while is enough.
                FaultKind::GustDown => {
                    self.rng.random_bool(0.2)
                        && !self
                            .faults
                            .iter()
                            .any(|fault| matches!(fault.what, What::GustDown { .. }))
                }
                _ => true,
            };
            if fits {
                return kind;
            }
        }
    }

    /// Another fault, right when the first is over.
    fn recovery(&mut self, first: &Planned<What>) -> Option<Planned<What>> {
        let lasting = first.what.lasting_ms().filter(|lasting| *lasting < BUSY_MS)?;
        let at_ms = match first.when {
            When::At { at_ms } => at_ms + lasting + self.rng.random_range(0..300),
            // A replica that comes up again campaigns or opens its links.
            When::Point { .. } | When::Event { .. } => {
                let kind = *[
                    FaultKind::ReplicaCrash,
                    FaultKind::ReplyLostAfter,
                    FaultKind::EtcdLeaderMoved,
                ]
                .choose(&mut self.rng)
                .expect("there are kinds");
                let mut fault = self.fault(kind);
                let among = [Point::EtcdGrant, Point::LinkOpen, Point::EtcdRange];
                let mut when = self.point(&among);
                if let When::Point { nth, .. } = &mut when {
                    *nth += u64::try_from(self.replicas).unwrap_or(1);
                }
                fault.when = when;
                return Some(fault);
            }
        };
        let kind = self.kind();
        let mut second = self.fault(kind);
        if kind == FaultKind::GustDown || (kind.is_reply() && second.what.point().is_none()) {
            return None;
        }
        second.when = When::At { at_ms };
        Some(second)
    }

    fn fault(&mut self, kind: FaultKind) -> Planned<What> {
        if kind.is_reply() {
            return self.reply(kind);
        }
        let what = self.what(kind);
        let when = self.when(kind);
        Planned { when, what }
    }
}
