//! Spot machines that Google took back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::Pool;
use crate::time::Timestamp;

/// How long one is remembered.
const WINDOW: Duration = Duration::from_secs(600);
/// So few say nothing.
const FEW: usize = 3;
/// One of so many that were there in the window is too many: a job of ten minutes would then fail that often.
const ONE_OF: usize = 5;

/// When Spot machines of each pool were taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaims(BTreeMap<Pool, VecDeque<Timestamp>>);

impl Reclaims {
    /// Counts one more, and tells whether a pool with so many machines still alive is worth asking.
    pub fn too_many(&mut self, pool: &Pool, alive: usize, now: Timestamp) -> bool {
        let lately = self.0.entry(pool.clone()).or_default();
        lately.push_back(now);
        while lately.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            lately.pop_front();
        }
        let taken = lately.len();
        taken >= FEW && taken * ONE_OF >= alive + taken
    }

    /// Lets go of what is long over.
    pub fn forget(&mut self, now: Timestamp) {
        self.0
            .retain(|_, lately| lately.back().is_some_and(|at| now.since(*at) < WINDOW));
    }
}
