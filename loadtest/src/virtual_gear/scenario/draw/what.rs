//! What goes wrong, with its figures.

use rand::{Rng, seq::IndexedRandom};

use super::{DOWN_MS, Draw};
use crate::virtual_gear::scenario::{FaultKind, Lister, What, Who};

impl Draw {
    pub(super) fn what(&mut self, kind: FaultKind) -> What {
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
                host: self.rng.random_bool(0.3),
            },
            FaultKind::ReplicaCrashAtPoll => What::ReplicaCrashAtPoll {
                replica,
                polls: self.rng.random_range(0..40),
                down_ms: lasting_ms,
            },
            FaultKind::ReplicaStop => What::ReplicaStop {
                replica,
                down_ms: lasting_ms,
                versions: 0,
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
            FaultKind::PortClosed => What::PortClosed { replica, lasting_ms },
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
                family: None,
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
            FaultKind::ReservationTaken => What::ReservationTaken {
                pick,
                lasting_ms: while_ms,
            },
            FaultKind::StateUnknown => What::StateUnknown {
                pick,
                lasting_ms: while_ms,
            },
            FaultKind::JobGone => What::JobGone { pick },
            FaultKind::TokenRevoked => What::TokenRevoked { lasting_ms: while_ms },
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
            | FaultKind::ReplyHtml
            | FaultKind::ReplyTruncated => unreachable!("replies are drawn by another function"),
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
}
