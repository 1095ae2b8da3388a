//! What Buildkite answers oddly, and a clock that is minutes wrong. Drawn apart, so that what else a seed gives does not depend
//! on it.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::Draw;
use crate::virtual_gear::scenario::{FaultKind, Planned, SourceOf, What, Who};

/// How many runs have some.
const SHARE: f64 = 0.3;
/// How many runs find their jobs over GraphQL.
const GRAPHQL: f64 = 0.1;
/// The most that a clock is wrong, ms.
const WRONG_MS: i64 = 600_000;

/// A few of them, or none.
pub(super) fn oddities(seed: u64, replicas: usize) -> Vec<Planned<What>> {
    let mut draw = Draw {
        rng: ChaCha8Rng::seed_from_u64(seed ^ 0x6f64_6469_7469_6573),
        replicas,
        faults: Vec::new(),
    };
    if !draw.rng.random_bool(SHARE) {
        return Vec::new();
    }
    let odd: Vec<FaultKind> = <FaultKind as strum::VariantArray>::VARIANTS
        .iter()
        .copied()
        .filter(|kind| kind.is_odd() || *kind == FaultKind::ClockWrong)
        .collect();
    for _ in 0..draw.rng.random_range(1..=3) {
        let kind = *odd.choose(&mut draw.rng).expect("there are kinds");
        let fault = draw.odd(kind);
        draw.faults.push(fault);
    }
    draw.faults
}

/// Some organizations have no Stacks API.
pub(super) fn source(seed: u64) -> SourceOf {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6772_6170_6871_6c00);
    match rng.random_bool(GRAPHQL) {
        true => SourceOf::Graphql,
        false => SourceOf::Stacks,
    }
}

impl Draw {
    fn odd(&mut self, kind: FaultKind) -> Planned<What> {
        if kind == FaultKind::ReplyTruncated {
            return self.reply(kind);
        }
        let what = match kind {
            FaultKind::ClockWrong => What::ClockWrong {
                replica: Who::Leader,
                by_ms: self.rng.random_range(-WRONG_MS..=WRONG_MS),
            },
            kind => self.what(kind),
        };
        let when = match kind {
            FaultKind::TokenRevoked | FaultKind::ClockWrong => self.moment(),
            _ => self.event(&[
                "job.created",
                "job.reserved",
                "job.reserved",
                "instance.inserted",
                "token.issued",
            ]),
        };
        Planned { when, what }
    }
}
