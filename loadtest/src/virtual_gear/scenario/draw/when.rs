//! When a fault strikes: at a message or an event that changes state, more often than at any time.

use rand::{Rng, seq::IndexedRandom};

use super::{BUSY_MS, Draw};
use crate::virtual_gear::{
    net::Point,
    scenario::{FaultKind, Side, When},
};

/// Points where state changes, more often than their share.
pub(super) const HOT: [Point; 12] = [
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
pub(super) const FRESH: [&str; 10] = [
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
    /// The moment that suits a kind of fault.
    pub(super) fn when(&mut self, kind: FaultKind) -> When {
        match kind {
            FaultKind::VmFreeze | FaultKind::GuestCrash | FaultKind::HostError | FaultKind::DiskLost => {
                self.event(&["guest.state", "agent.registered", "job.acquired", "token.issued"])
            }
            FaultKind::VmStopped => self.event(&["instance.state", "agent.registered", "job.acquired"]),
            FaultKind::AgentLost => self.event(&["agent.registered", "job.acquired"]),
            FaultKind::Preempted => self.event(&["instance.inserted", "guest.state", "job.acquired"]),
            FaultKind::WrongKey => self.event(&["job.acquired", "token.issued", "job.finished"]),
            FaultKind::JobRetry => self.event(&["job.finished"]),
            // A job that is being refused is reserved until Buildkite has heard it.
            FaultKind::ReservationLapse => match self.rng.random_bool(0.3) {
                true => self.point(&[Point::SourceFinish]),
                false => self.event(&["job.reserved", "instance.inserted", "operation.state"]),
            },
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
        }
    }

    pub(super) fn at(&mut self) -> When {
        // More at the beginning, where most is going on.
        let share: f64 = self.rng.random::<f64>().powi(2);
        When::At {
            at_ms: 100 + (share * BUSY_MS as f64) as u64,
        }
    }

    pub(super) fn point(&mut self, among: &[Point]) -> When {
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
    pub(super) fn nth(&mut self) -> u64 {
        let most = self.rng.random_range(1..=12);
        self.rng.random_range(1..=most)
    }

    pub(super) fn event(&mut self, among: &[&str]) -> When {
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

    pub(super) fn moment(&mut self) -> When {
        match self.rng.random_range(0..10) {
            0..5 => self.point(&HOT),
            5..8 => self.event(&FRESH),
            _ => self.at(),
        }
    }
}
