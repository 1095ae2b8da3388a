//! What the injector may do to hosts and etcd, done by them.

use std::time::Duration;

use super::{
    super::{
        etcd::EtcdWorld,
        hosts::{Hosts, OnMet},
    },
    control::{EtcdControl, HostControl},
};

impl HostControl for Hosts {
    fn count(&self) -> usize {
        Self::count(self)
    }

    fn crash(&self, replica: usize, down: Duration, whole_host: bool) -> bool {
        Self::crash(self, replica, down, whole_host)
    }

    fn crash_at_poll(&self, replica: usize, polls: u64, down: Duration, met: OnMet) {
        Self::crash_at_poll(self, replica, polls, down, met);
    }

    fn stop(&self, replica: usize, down: Duration, versions: u32) -> bool {
        Self::stop(self, replica, down, versions)
    }

    fn freeze(&self, replica: usize, lasting: Duration) -> bool {
        Self::freeze(self, replica, lasting)
    }

    fn cut(&self, a: usize, b: usize, lasting: Duration, half: bool, met: OnMet) {
        Self::cut(self, a, b, lasting, half, met);
    }

    fn close(&self, replica: usize, lasting: Duration, met: OnMet) {
        Self::close(self, replica, lasting, met);
    }

    fn skew(&self, replica: usize, millis: i64) -> bool {
        Self::skew(self, replica, millis)
    }

    fn is_up(&self, replica: usize) -> bool {
        Self::is_up(self, replica)
    }
}

impl EtcdControl for EtcdWorld {
    fn gone(&self, lasting: Duration) {
        Self::gone(self, lasting);
    }

    fn slow(&self, by: Duration, lasting: Duration) {
        Self::slow(self, by, lasting);
    }

    fn no_quorum(&self, lasting: Duration) {
        Self::no_quorum(self, lasting);
    }

    fn restart(&self, lasting: Duration) {
        Self::restart(self, lasting);
    }

    fn move_leader(&self) {
        Self::move_leader(self);
    }

    fn compact(&self) {
        Self::compact(self);
    }

    fn break_watches(&self) {
        Self::break_watches(self);
    }

    fn cut(&self, replica: usize, lasting: Duration) {
        Self::cut(self, replica, lasting);
    }
}
