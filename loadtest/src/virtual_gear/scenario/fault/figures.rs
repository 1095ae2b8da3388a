//! What can be asked of a fault: its kind, whom it strikes, how often and for how long.

use super::{FaultKind, Point, What, Who};

impl FaultKind {
    /// The name in files and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it is drawn apart from the others: see `draw::odd`.
    pub(in super::super) fn is_odd(self) -> bool {
        matches!(
            self,
            Self::ReplyTruncated
                | Self::ReservationTaken
                | Self::StateUnknown
                | Self::JobGone
                | Self::TokenRevoked
        )
    }

    /// Whether it strikes messages on their way.
    pub fn is_reply(self) -> bool {
        self.name().starts_with("reply-")
    }
}

impl What {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        self.into()
    }

    /// Where a reply fault strikes, if it says so itself.
    pub fn point(&self) -> Option<Point> {
        match self {
            Self::ReplyLostBefore { point, .. }
            | Self::ReplyLostAfter { point, .. }
            | Self::ReplyDoubled { point, .. }
            | Self::ReplyLate { point, .. }
            | Self::Reply4xx { point, .. }
            | Self::Reply429 { point, .. }
            | Self::Reply5xx { point, .. }
            | Self::ReplyHtml { point, .. }
            | Self::ReplyTruncated { point, .. } => *point,
            _ => None,
        }
    }

    /// How many messages a reply fault strikes.
    pub fn count(&self) -> u32 {
        match self {
            Self::ReplyLostBefore { count, .. }
            | Self::ReplyLostAfter { count, .. }
            | Self::ReplyDoubled { count, .. }
            | Self::ReplyLate { count, .. }
            | Self::Reply4xx { count, .. }
            | Self::Reply429 { count, .. }
            | Self::Reply5xx { count, .. }
            | Self::ReplyHtml { count, .. }
            | Self::ReplyTruncated { count, .. } => *count,
            _ => 0,
        }
    }

    /// How long it lasts, where it lasts.
    pub fn lasting_ms(&self) -> Option<u64> {
        match self {
            Self::ReplicaCrash { down_ms, .. }
            | Self::ReplicaCrashAtPoll { down_ms, .. }
            | Self::ReplicaStop { down_ms, .. } => Some(*down_ms),
            Self::ReplicaFreeze { lasting_ms, .. }
            | Self::ReplicaFreezePastLease { lasting_ms, .. }
            | Self::LinkCut { lasting_ms, .. }
            | Self::LinkHalfOpen { lasting_ms, .. }
            | Self::PortClosed { lasting_ms, .. }
            | Self::EtcdGone { lasting_ms }
            | Self::EtcdSlow { lasting_ms, .. }
            | Self::EtcdRestart { lasting_ms }
            | Self::EtcdNoQuorum { lasting_ms }
            | Self::EtcdCut { lasting_ms, .. }
            | Self::ListLag { lasting_ms, .. }
            | Self::PagesShift { lasting_ms, .. }
            | Self::PagesShort { lasting_ms, .. }
            | Self::Stockout { lasting_ms, .. }
            | Self::QuotaCut { lasting_ms, .. }
            | Self::LateQuota { lasting_ms, .. }
            | Self::PartialBulk { lasting_ms, .. }
            | Self::IpExhausted { lasting_ms, .. }
            | Self::Rate { lasting_ms, .. }
            | Self::VmNeverBoots { lasting_ms, .. }
            | Self::BootBroken { lasting_ms, .. }
            | Self::ReservationTaken { lasting_ms, .. }
            | Self::StateUnknown { lasting_ms, .. }
            | Self::TokenRevoked { lasting_ms }
            | Self::QueuePause { lasting_ms }
            | Self::GustDown { lasting_ms } => Some(*lasting_ms),
            Self::ReplyLate { late_ms, .. } => Some(*late_ms),
            Self::ReplyDoubled { later_ms, .. } => Some(*later_ms),
            _ => None,
        }
    }

    /// The replicas it names by index.
    pub fn replicas(&self) -> Vec<usize> {
        match self {
            Self::LinkCut { a, b, .. } | Self::LinkHalfOpen { a, b, .. } => vec![*a, *b],
            Self::ReplicaCrash { replica, .. }
            | Self::ReplicaCrashAtPoll { replica, .. }
            | Self::ReplicaStop { replica, .. }
            | Self::ReplicaFreeze { replica, .. }
            | Self::ReplicaFreezePastLease { replica, .. }
            | Self::PortClosed { replica, .. }
            | Self::ClockWrong { replica, .. }
            | Self::EtcdCut { replica, .. } => match replica {
                Who::Index(index) => vec![*index],
                Who::Leader | Who::Sender | Who::Other => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}
