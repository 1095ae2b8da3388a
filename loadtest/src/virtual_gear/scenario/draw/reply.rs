//! Replies that are lost, late, doubled or refused.

use rand::{Rng, seq::IndexedRandom};

use super::{
    Draw,
    when::{FRESH, HOT},
};
use crate::virtual_gear::{
    net::Point,
    scenario::{FaultKind, Planned, Says, Side, What, When},
};

impl Draw {
    pub(super) fn reply(&mut self, kind: FaultKind) -> Planned<What> {
        let points: Vec<Point> = <Point as strum::VariantArray>::VARIANTS
            .iter()
            .copied()
            .filter(|point| answers_over_http(*point) || !is_http(kind))
            .collect();
        let hot: Vec<Point> = HOT
            .iter()
            .copied()
            .filter(|point| points.contains(point))
            .collect();
        let among = if self.rng.random_bool(0.6) { hot } else { points };
        let place = *among.choose(&mut self.rng).expect("there are points");
        // Hung on the very message, or a row of them some time after something happened.
        let (when, point, count) = match self.rng.random_range(0..3) {
            0 => (self.event(&FRESH), Some(place), self.rng.random_range(1..6)),
            _ => {
                let (nth, side) = (self.nth(), Side::Before);
                (
                    When::Point {
                        point: place,
                        nth,
                        side,
                    },
                    None,
                    self.rng.random_range(1..4),
                )
            }
        };
        let is_google = matches!(
            place,
            Point::CloudCreate
                | Point::CloudOperation
                | Point::CloudFates
                | Point::CloudList
                | Point::CloudGet
                | Point::CloudDelete
                | Point::CloudQuotas
        );
        let what = match kind {
            FaultKind::ReplyLostBefore => What::ReplyLostBefore { point, count },
            FaultKind::ReplyLostAfter => What::ReplyLostAfter { point, count },
            FaultKind::ReplyDoubled => What::ReplyDoubled {
                point,
                count,
                later_ms: self.rng.random_range(0..30_000),
            },
            FaultKind::ReplyLate => What::ReplyLate {
                point,
                count,
                late_ms: self.late(),
                answer: self.rng.random_bool(0.5),
            },
            FaultKind::Reply4xx => {
                let status = [403, 404, 409, 422][self.rng.random_range(0..4)];
                // Google's own words are believed; only a permission comes and goes by itself there.
                let html = is_google && (status != 403 || self.rng.random_bool(0.7));
                What::Reply4xx {
                    point,
                    count,
                    says: Says { status, html },
                }
            }
            FaultKind::Reply429 => What::Reply429 { point, count },
            FaultKind::Reply5xx => {
                let status = [500, 502, 503, 504][self.rng.random_range(0..4)];
                What::Reply5xx {
                    point,
                    count,
                    says: Says {
                        status,
                        html: self.rng.random_bool(0.5),
                    },
                }
            }
            FaultKind::ReplyTruncated => What::ReplyTruncated { point, count },
            _ => What::ReplyHtml { point, count },
        };
        Planned { when, what }
    }

    // Seconds, or minutes: longer than any deadline.
    fn late(&mut self) -> u64 {
        match self.rng.random_bool(0.6) {
            true => self.rng.random_range(200..12_000),
            false => self.rng.random_range(30_000..240_000),
        }
    }
}

fn is_http(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Reply4xx
            | FaultKind::Reply429
            | FaultKind::Reply5xx
            | FaultKind::ReplyHtml
            | FaultKind::ReplyTruncated
    )
}

fn answers_over_http(point: Point) -> bool {
    let name: &str = point.into();
    name.starts_with("source-") || name.starts_with("cloud-")
}
