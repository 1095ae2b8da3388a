//! How far a pass has come with the choices of a plan, and what stood in the way of those that are out.

use std::sync::Arc;

use super::gates::{Closed, Zones};
use crate::{
    ids::Region,
    plan::Plan,
    reason::{HoldReason, Shortage},
};

/// Why a choice cannot be taken in this pass. Capacity only shrinks within a pass, so it stays so.
pub(super) enum Obstacle {
    Quota {
        row: usize,
        needed: u64,
        /// One machine alone is too much for the limit.
        hopeless: bool,
    },
    /// What is paid for already is used up; the same machine at full price is another choice.
    Prepaid,
    Held(Arc<HoldReason>),
    Unowned(Region),
    Cordoned,
}

impl From<Closed> for Obstacle {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Cordoned => Self::Cordoned,
            Closed::Held(hold) => Self::Held(hold),
        }
    }
}

/// A choice whose turn it is: what it needs, by row of the board, and where it may be asked for.
pub(super) struct Turn {
    pub needs: Vec<(usize, u64)>,
    pub zones: Zones,
}

/// How far a pass has come with the choices of a plan.
pub(super) struct Progress<'a> {
    pub plan: &'a Plan,
    /// The choice that is tried: those before it are out for this pass.
    pub at: usize,
    /// Looked up once it is its turn.
    pub turn: Option<Turn>,
    /// The group of its jobs.
    pub group: Option<usize>,
    /// Why jobs of this plan wait, once all choices are out.
    pub obstacle: Option<Obstacle>,
    /// The figures of that, where it is a quota.
    pub shortage: Option<Arc<Shortage>>,
    /// Jobs that wait for a held choice so far.
    pub line: u32,
    /// Pipelines whose caps leave room for none of its choices.
    pub full_for: Vec<&'a str>,
}

impl Obstacle {
    /// How much it says of a wait: that a limit must be raised is said only if no choice is worth waiting for, being
    /// cordoned only if that is all there is.
    fn weight(&self) -> u8 {
        match self {
            Self::Cordoned | Self::Prepaid => 0,
            Self::Quota { hopeless: true, .. } => 1,
            Self::Quota { .. } | Self::Held(_) | Self::Unowned(_) => 2,
        }
    }
}

impl<'a> Progress<'a> {
    /// At the first choice.
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            at: 0,
            turn: None,
            group: None,
            obstacle: None,
            shortage: None,
            line: 0,
            full_for: Vec::new(),
        }
    }

    // The best choice's obstacle is the one to name, among those that say as much.
    pub fn skip(&mut self, obstacle: Obstacle) {
        let known = self.obstacle.as_ref().map(Obstacle::weight);
        if known.is_none_or(|known| known < obstacle.weight()) {
            self.obstacle = Some(obstacle);
        }
        self.at += 1;
        (self.turn, self.group) = (None, None);
    }

    /// A choice that comes first may be had again without anybody raising a limit.
    pub fn is_worth_waiting(&self) -> bool {
        self.obstacle
            .as_ref()
            .is_some_and(|obstacle| obstacle.weight() > 1)
    }
}
