//! Faults that happen at once: of replicas, their links, etcd and messages to come.

use std::{sync::Arc, time::Duration};

use super::super::{
    check::Subject,
    hosts::OnMet,
    net::Point,
    scenario::{FaultKind, What, Who},
};
use super::{Aim, Injector, state::Rule};

/// Whether a fault touches no model of the fakes.
pub(super) fn is_immediate(what: &What) -> bool {
    what.kind().is_reply()
        || matches!(
            what,
            What::ReplicaCrash { .. }
                | What::ReplicaCrashAtPoll { .. }
                | What::ReplicaStop { .. }
                | What::ReplicaFreeze { .. }
                | What::ReplicaFreezePastLease { .. }
                | What::LinkCut { .. }
                | What::LinkHalfOpen { .. }
                | What::PortClosed { .. }
                | What::ClockWrong { .. }
                | What::EtcdGone { .. }
                | What::EtcdSlow { .. }
                | What::EtcdRestart { .. }
                | What::EtcdLeaderMoved {}
                | What::EtcdNoQuorum { .. }
                | What::EtcdCompact {}
                | What::EtcdWatchBroken {}
                | What::EtcdCut { .. }
                | What::GustDown { .. }
                | What::TokenRevoked { .. }
        )
}

impl Injector {
    /// Makes a fault happen that touches no model of the fakes. The replica that it brought down, if it did.
    pub(super) fn strike(&self, fault: usize, aim: &Aim) -> Option<usize> {
        if self.is_quiet() {
            return None;
        }
        let (hosts, what) = (&self.inner.hosts, self.what(fault));
        let kind = what.kind();
        let for_ms = |ms: u64| self.until_quiet(ms);
        let mut down = None;
        match what {
            What::ReplicaCrash {
                replica,
                down_ms,
                host,
            } => {
                let replica = self.who(*replica, aim);
                if hosts.crash(replica, for_ms(*down_ms), *host) {
                    down = Some(replica);
                    let with = if *host { ", with its host" } else { "" };
                    self.met(
                        kind,
                        Subject::Replica(replica),
                        format!("down for {down_ms} ms{with}"),
                    );
                }
            }
            What::ReplicaCrashAtPoll {
                replica,
                polls,
                down_ms,
            } => {
                let replica = self.who(*replica, aim);
                let note = format!("after {polls} polls, for {down_ms} ms");
                let met = self.on_met(kind, replica, note);
                hosts.crash_at_poll(replica, *polls, for_ms(*down_ms), met);
            }
            What::ReplicaStop {
                replica,
                down_ms,
                versions,
            } => {
                let replica = self.who(*replica, aim);
                if hosts.stop(replica, for_ms(*down_ms), *versions) {
                    let mut note = format!("then down for {down_ms} ms");
                    if *versions > 0 {
                        note += &format!(", and {versions} versions later");
                    }
                    self.met(kind, Subject::Replica(replica), note);
                }
            }
            What::ReplicaFreeze { replica, lasting_ms }
            | What::ReplicaFreezePastLease { replica, lasting_ms } => {
                let replica = self.who(*replica, aim);
                if hosts.freeze(replica, for_ms(*lasting_ms)) {
                    self.met(kind, Subject::Replica(replica), format!("for {lasting_ms} ms"));
                }
            }
            What::LinkCut { a, b, lasting_ms } | What::LinkHalfOpen { a, b, lasting_ms } => {
                let half = matches!(what, What::LinkHalfOpen { .. });
                let met = self.on_met(kind, *a, format!("to {b} for {lasting_ms} ms"));
                hosts.cut(*a, *b, for_ms(*lasting_ms), half, met);
            }
            What::PortClosed { replica, lasting_ms } => {
                let replica = self.who(*replica, aim);
                let met = self.on_met(kind, replica, format!("for {lasting_ms} ms"));
                hosts.close(replica, for_ms(*lasting_ms), met);
            }
            What::ClockWrong { replica, by_ms } => {
                let replica = self.who(*replica, aim);
                if hosts.skew(replica, *by_ms) && *by_ms != 0 {
                    self.met(kind, Subject::Replica(replica), format!("by {by_ms} ms"));
                }
            }
            What::GustDown { lasting_ms } => {
                let struck =
                    (0..hosts.count()).filter(|replica| hosts.crash(*replica, for_ms(*lasting_ms), false));
                if struck.count() > 0 {
                    self.met(kind, Subject::World, format!("for {lasting_ms} ms"));
                }
            }
            // It is met by each call.
            What::TokenRevoked { lasting_ms } => {
                let until = self.inner.world.elapsed() + for_ms(*lasting_ms);
                self.state().revoked = Some((fault, until));
            }
            what if kind.is_reply() => {
                if let Some(point) = what.point() {
                    self.stand(fault, point, what.count());
                }
            }
            what => self.strike_etcd(what, aim),
        }
        down
    }

    fn strike_etcd(&self, what: &What, aim: &Aim) {
        let etcd = &self.inner.etcd;
        let for_ms = |ms: u64| self.until_quiet(ms);
        let mut subject = Subject::World;
        match what {
            What::EtcdGone { lasting_ms } => etcd.gone(for_ms(*lasting_ms)),
            What::EtcdSlow { by_ms, lasting_ms } => {
                etcd.slow(Duration::from_millis(*by_ms), for_ms(*lasting_ms));
            }
            What::EtcdRestart { lasting_ms } => etcd.restart(for_ms(*lasting_ms)),
            What::EtcdLeaderMoved {} => etcd.move_leader(),
            What::EtcdNoQuorum { lasting_ms } => etcd.no_quorum(for_ms(*lasting_ms)),
            What::EtcdCompact {} => etcd.compact(),
            What::EtcdWatchBroken {} => etcd.break_watches(),
            What::EtcdCut { replica, lasting_ms } => {
                let replica = self.who(*replica, aim);
                subject = Subject::Replica(replica);
                etcd.cut(replica, for_ms(*lasting_ms));
                if !self.inner.hosts.is_up(replica) {
                    return;
                }
            }
            _ => return,
        }
        let count = self.inner.hosts.count();
        if !(0..count).any(|replica| self.inner.hosts.is_up(replica)) {
            // Nobody is there to notice.
            return;
        }
        self.met(what.kind(), subject, String::new());
    }

    /// To be called when something planned for a replica has come about.
    fn on_met(&self, kind: FaultKind, replica: usize, note: String) -> OnMet {
        let injector = self.clone();
        Arc::new(move || injector.met(kind, Subject::Replica(replica), note.clone()))
    }

    /// The next messages at a point are struck.
    pub(super) fn stand(&self, fault: usize, point: Point, left: u32) {
        if left > 0 {
            self.state().rules.push(Rule { point, fault, left });
        }
    }

    fn who(&self, who: Who, aim: &Aim) -> usize {
        let count = self.inner.hosts.count().max(1);
        let leader = self.state().leader;
        match who {
            Who::Leader => leader,
            Who::Sender => aim.sender.unwrap_or(leader),
            Who::Other => (leader + 1) % count,
            Who::Index(index) => index % count,
        }
    }
}
