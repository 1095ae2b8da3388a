//! Faults that belong together: what single draws would hit upon once in a thousand runs.

use rand::Rng;

use super::{Planned, Side, What, When, Who, draw::Draw};
use crate::virtual_gear::net::Point;

impl Draw {
    /// Now and then one of them.
    pub(super) fn plot(&mut self) {
        if self.rng.random_bool(0.06) {
            self.old_hello();
        }
    }

    /// A leader's hello is under way for so long that the leader is deposed meanwhile: it reaches a worker that
    /// follows another by then.
    fn old_hello(&mut self) {
        let most = 2 * self.replicas as u64;
        let moment = When::Point {
            point: Point::LinkOpen,
            nth: self.rng.random_range(1..=most),
            side: Side::Before,
        };
        self.faults.push(Planned {
            when: moment.clone(),
            what: What::ReplyLate {
                point: None,
                count: 1,
                late_ms: self.rng.random_range(8_000..25_000),
                answer: false,
            },
        });
        self.faults.push(Planned {
            when: moment,
            what: What::ReplicaFreezePastLease {
                replica: Who::Sender,
                lasting_ms: self.rng.random_range(5_500..9_000),
            },
        });
    }
}
