//! Scenarios from a seed. All that is random about the list of faults is drawn here.
//!
//! Faults are aimed at moments when state has just changed: at least half of them hang on a message or an
//! event, and some come in pairs, the second right after the recovery from the first.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{FaultKind, Lister, Planned, Profile, Says, Scenario, Side, What, When, Who};
use crate::virtual_gear::net::Point;

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
        let Draw { mut rng, faults, .. } = drawn;
        let is_long = faults
            .iter()
            .any(|fault| matches!(fault.what, What::GustDown { .. }));
        let quiet_after_ms = match is_long {
            true => DOWN_MS + 10 * 60_000,
            false => 10 * 60_000,
        };
        let fastest = rng.random_range(1..10);
        Self {
            seed,
            profile,
            replicas,
            latency_ms: (fastest, fastest + rng.random_range(1..60)),
            quiet_after_ms,
            patience_ms: quiet_after_ms + ENDING_MS,
            limits: work.limits,
            builds: work.builds,
            acts: work.acts,
            faults,
        }
    }
}

pub(super) struct Draw {
    pub(super) rng: ChaCha8Rng,
    pub(super) replicas: usize,
    pub(super) faults: Vec<Planned<What>>,
}

/// Points where state changes, more often than their share.
const HOT: [Point; 12] = [
    Point::EtcdTxn,
    Point::EtcdTxn,
    Point::EtcdTxn,
    Point::CloudCreate,
    Point::CloudCreate,
    Point::CloudDelete,
    Point::SourceReserve,
    Point::SourceFinish,
    Point::SourceTokens,
    Point::GuestClaim,
    Point::GuestDone,
    Point::LinkCommand,
];

/// Events after which state has just changed.
const FRESH: [&str; 10] = [
    "job.reserved",
    "job.acquired",
    "job.finished",
    "job.created",
    "token.issued",
    "agent.registered",
    "instance.inserted",
    "instance.refused",
    "instance.deleted",
    "operation.state",
];

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

    fn kind(&mut self) -> FaultKind {
        loop {
            let kind = *<FaultKind as strum::VariantArray>::VARIANTS
                .choose(&mut self.rng)
                .expect("there are kinds");
            let fits = match kind {
                FaultKind::LinkCut | FaultKind::LinkHalfOpen => self.replicas > 1,
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

    fn at(&mut self) -> When {
        // More at the beginning, where most is going on.
        let share: f64 = self.rng.random::<f64>().powi(2);
        When::At {
            at_ms: 100 + (share * BUSY_MS as f64) as u64,
        }
    }

    fn point(&mut self, among: &[Point]) -> When {
        When::Point {
            point: *among.choose(&mut self.rng).expect("there are points"),
            nth: self.nth(),
            side: if self.rng.random_bool(0.5) {
                Side::Before
            } else {
                Side::After
            },
        }
    }

    // Low numbers come more often, since they surely come.
    fn nth(&mut self) -> u64 {
        let most = self.rng.random_range(1..=12);
        self.rng.random_range(1..=most)
    }

    fn event(&mut self, among: &[&str]) -> When {
        let delay_ms = match self.rng.random_range(0..4) {
            0 | 1 => 0,
            2 => self.rng.random_range(0..200),
            _ => self.rng.random_range(0..20_000),
        };
        When::Event {
            event: (*among.choose(&mut self.rng).expect("there are events")).to_owned(),
            nth: self.nth(),
            delay_ms,
        }
    }

    fn moment(&mut self) -> When {
        match self.rng.random_range(0..10) {
            0..5 => self.point(&HOT),
            5..8 => self.event(&FRESH),
            _ => self.at(),
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

    fn short(&mut self) -> u64 {
        self.rng.random_range(200..6_000)
    }

    fn who(&mut self) -> Who {
        match self.rng.random_range(0..6) {
            0..3 => Who::Leader,
            3 | 4 => Who::Sender,
            _ => Who::Other,
        }
    }

    fn link(&mut self) -> (usize, usize) {
        let a = self.rng.random_range(0..self.replicas);
        (
            a,
            (a + self.rng.random_range(1..self.replicas.max(2))) % self.replicas.max(2),
        )
    }

    fn fault(&mut self, kind: FaultKind) -> Planned<What> {
        let what = if kind.is_reply() {
            return self.reply(kind);
        } else {
            self.what(kind)
        };
        let when = match kind {
            FaultKind::VmFreeze | FaultKind::GuestCrash | FaultKind::HostError | FaultKind::DiskLost => {
                self.event(&["guest.state", "agent.registered", "job.acquired", "token.issued"])
            }
            FaultKind::VmStopped | FaultKind::AgentLost => self.event(&["agent.registered", "job.acquired"]),
            FaultKind::Preempted => self.event(&["instance.inserted", "guest.state", "job.acquired"]),
            FaultKind::WrongKey => self.event(&["agent.registered", "job.acquired", "token.issued"]),
            FaultKind::JobRetry => self.event(&["job.finished"]),
            FaultKind::ReservationLapse => {
                self.event(&["job.reserved", "instance.inserted", "operation.state"])
            }
            FaultKind::JobCancel | FaultKind::JobReprioritize => self.event(&[
                "job.created",
                "job.reserved",
                "instance.inserted",
                "operation.state",
                "guest.state",
                "token.issued",
                "agent.registered",
                "job.acquired",
            ]),
            // They meet what is created while they stand, so they come early.
            FaultKind::Stockout
            | FaultKind::QuotaCut
            | FaultKind::LateQuota
            | FaultKind::PartialBulk
            | FaultKind::IpExhausted
            | FaultKind::Rate
            | FaultKind::VmNeverBoots
            | FaultKind::BootBroken => match self.rng.random_range(0..3) {
                0 => When::At {
                    at_ms: self.rng.random_range(0..2_000),
                },
                1 => self.event(&["job.reserved", "job.created"]),
                _ => When::Point {
                    point: Point::CloudCreate,
                    nth: self.rng.random_range(1..4),
                    side: Side::Before,
                },
            },
            FaultKind::PagesShift | FaultKind::PagesShort | FaultKind::ListLag | FaultKind::QuotaRaised => {
                match self.rng.random_bool(0.5) {
                    true => self.at(),
                    false => self.event(&["job.created", "job.reserved", "instance.inserted"]),
                }
            }
            _ => self.moment(),
        };
        Planned { when, what }
    }

    fn what(&mut self, kind: FaultKind) -> What {
        let replica = self.who();
        let lasting_ms = self.short();
        let pick = self.rng.random_range(0..64);
        let count = self.rng.random_range(1..6);
        let while_ms = self.rng.random_range(5_000..90_000);
        let (a, b) = self.link();
        let host = if self.rng.random_bool(0.5) {
            Lister::Buildkite
        } else {
            Lister::Gce
        };
        match kind {
            FaultKind::ReplicaCrash => What::ReplicaCrash {
                replica,
                down_ms: lasting_ms,
            },
            FaultKind::ReplicaCrashAtPoll => What::ReplicaCrashAtPoll {
                replica,
                polls: self.rng.random_range(0..40),
                down_ms: lasting_ms,
            },
            FaultKind::ReplicaFreeze => What::ReplicaFreeze {
                replica,
                lasting_ms: lasting_ms.min(2_500),
            },
            FaultKind::ReplicaFreezePastLease => What::ReplicaFreezePastLease {
                replica,
                lasting_ms: self.rng.random_range(8_000..60_000),
            },
            FaultKind::LinkCut => What::LinkCut {
                a,
                b,
                lasting_ms: while_ms / 3,
            },
            FaultKind::LinkHalfOpen => What::LinkHalfOpen {
                a,
                b,
                lasting_ms: while_ms / 3,
            },
            FaultKind::ClockWrong => What::ClockWrong {
                replica,
                by_ms: self.rng.random_range(-120_000..120_000),
            },
            FaultKind::EtcdGone => What::EtcdGone {
                lasting_ms: while_ms / 4,
            },
            FaultKind::EtcdSlow => What::EtcdSlow {
                by_ms: self.rng.random_range(50..1_500),
                lasting_ms: while_ms / 4,
            },
            FaultKind::EtcdRestart => What::EtcdRestart { lasting_ms },
            FaultKind::EtcdLeaderMoved => What::EtcdLeaderMoved {},
            FaultKind::EtcdNoQuorum => What::EtcdNoQuorum {
                lasting_ms: while_ms / 4,
            },
            FaultKind::EtcdCompact => What::EtcdCompact {},
            FaultKind::EtcdWatchBroken => What::EtcdWatchBroken {},
            FaultKind::EtcdCut => What::EtcdCut {
                replica,
                lasting_ms: while_ms / 4,
            },
            FaultKind::ListLag => What::ListLag {
                host,
                lag_ms: self.rng.random_range(500..15_000),
                lasting_ms: while_ms,
            },
            FaultKind::PagesShift => What::PagesShift {
                host,
                size: self.rng.random_range(1..5),
                skip: self.rng.random_range(1..3),
                lasting_ms: while_ms / 2,
            },
            FaultKind::PagesShort => What::PagesShort {
                host,
                size: self.rng.random_range(1..5),
                lasting_ms: while_ms,
            },
            FaultKind::Stockout => What::Stockout {
                zone: None,
                code: self.code(),
                count: count * 4,
                lasting_ms: while_ms,
            },
            FaultKind::QuotaCut => What::QuotaCut {
                metric: (*[
                    "N2D_CPUS",
                    "CPUS",
                    "T2A_CPUS",
                    "CPUS_PER_VM_FAMILY",
                    "SSD_TOTAL_GB",
                    "INSTANCES",
                ]
                .choose(&mut self.rng)
                .expect("there are metrics"))
                .to_owned(),
                limit: f64::from(self.rng.random_range(0..24_u32)),
                lasting_ms: while_ms,
            },
            FaultKind::QuotaRaised => What::QuotaRaised {
                factor: f64::from(self.rng.random_range(2..6_u32)),
            },
            FaultKind::LateQuota => What::LateQuota {
                count: count * 3,
                lasting_ms: while_ms,
            },
            FaultKind::PartialBulk => What::PartialBulk {
                count,
                lasting_ms: while_ms,
            },
            FaultKind::IpExhausted => What::IpExhausted {
                count: count * 3,
                lasting_ms: while_ms,
            },
            FaultKind::Rate => What::Rate {
                count,
                lasting_ms: while_ms,
            },
            FaultKind::VmNeverBoots => What::VmNeverBoots {
                count,
                lasting_ms: while_ms,
            },
            FaultKind::BootBroken => What::BootBroken {
                count,
                lasting_ms: while_ms,
            },
            FaultKind::VmFreeze => What::VmFreeze { pick },
            FaultKind::DiskLost => What::DiskLost { pick },
            FaultKind::Preempted => What::Preempted { pick },
            FaultKind::VmStopped => What::VmStopped { pick },
            FaultKind::HostError => What::HostError { pick },
            FaultKind::GuestCrash => What::GuestCrash { pick },
            FaultKind::JobCancel => What::JobCancel { pick },
            FaultKind::JobRetry => What::JobRetry { pick },
            FaultKind::JobReprioritize => What::JobReprioritize {
                pick,
                priority: self.rng.random_range(-5..20),
            },
            FaultKind::ReservationLapse => What::ReservationLapse { pick },
            FaultKind::QueuePause => What::QueuePause { lasting_ms: while_ms },
            FaultKind::AgentLost => What::AgentLost { pick },
            FaultKind::WrongKey => What::WrongKey { pick },
            FaultKind::GustDown => What::GustDown { lasting_ms: DOWN_MS },
            FaultKind::ReplyLostBefore
            | FaultKind::ReplyLostAfter
            | FaultKind::ReplyDoubled
            | FaultKind::ReplyLate
            | FaultKind::Reply4xx
            | FaultKind::Reply429
            | FaultKind::Reply5xx
            | FaultKind::ReplyHtml => unreachable!("replies are drawn by another function"),
        }
    }

    fn code(&mut self) -> Option<String> {
        let codes = [
            "RESOURCE_POOL_EXHAUSTED",
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            "UNSUPPORTED_OPERATION",
        ];
        self.rng
            .random_bool(0.5)
            .then(|| (*codes.choose(&mut self.rng).expect("there are codes")).to_owned())
    }

    fn reply(&mut self, kind: FaultKind) -> Planned<What> {
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
        FaultKind::Reply4xx | FaultKind::Reply429 | FaultKind::Reply5xx | FaultKind::ReplyHtml
    )
}

fn answers_over_http(point: Point) -> bool {
    let name: &str = point.into();
    name.starts_with("source-") || name.starts_with("cloud-")
}
