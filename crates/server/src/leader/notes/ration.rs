//! How often a job's timeline is written to, so that what Buildkite takes for one job is never used up by reasons
//! that come and go.
//!
//! Each class of notes has a share of its own. Changes of the kind of reason are told at once for a while, then ever more
//! seldom: the pause doubles with each, so a share cannot be used up in the thirty days after which Buildkite drops a job
//! that waits. What happens meanwhile is counted and told with the next one.

use std::time::Duration;

use gust_core::{reason::Kind, time::Timestamp};

/// Most notes Buildkite takes for one job (`buildkite.com/docs/apis/agent-api/stacks`, notifications).
pub(super) const MOST: u32 = 100;
/// Of steps on the way to a machine, and of reasons to wait: so many are told at once.
pub(super) const AT_ONCE: u32 = 20;
/// And so many with growing pauses. The last of them comes [`PAUSE`] × 2¹⁶ after the one before, which is 45 days.
const SELDOM: u32 = 16;
/// So many are told at once of each class by a leader that took the job over.
const LEFT: u32 = 5;
/// New figures in a reason whose kind has not changed.
const FIGURES: u32 = 16;
/// What is told once, such as how the job ended: no reason can use this up.
const ONCE: u32 = MOST - 2 * (AT_ONCE + SELDOM) - FIGURES;
/// The first of the growing pauses.
const PAUSE: Duration = Duration::from_secs(60);

/// A class of notes. Each has a share of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The reason is a step on the way to a machine.
    Step,
    /// The reason is one to wait.
    Wait,
    /// New figures.
    Figures,
    /// Something that is told once.
    Once,
}

impl Class {
    /// That of a change to this kind of reason.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Creating | Kind::Booting | Kind::Replacing => Self::Step,
            Kind::Quota
            | Kind::Capped
            | Kind::Held
            | Kind::Slot
            | Kind::Cordoned
            | Kind::Stopped
            | Kind::Unowned
            | Kind::Paused
            | Kind::HeldByBuildkite => Self::Wait,
        }
    }
}

/// What was told of one job, by class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ration {
    steps: Lane,
    waits: Lane,
    figures: Lane,
    once: Lane,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    sent: u32,
    last: Timestamp,
}

impl Lane {
    fn may_change(self, now: Timestamp) -> bool {
        match self.sent.checked_sub(AT_ONCE) {
            None => true,
            Some(seldom) => seldom < SELDOM && now.since(self.last) >= PAUSE * 2_u32.pow(seldom + 1),
        }
    }
}

impl Ration {
    /// That of a job of which an earlier leader told what is not known here: it goes on as if most of what is told at once
    /// had been, so that a job can see many leaders.
    pub fn inherited() -> Self {
        let lane = |sent| Lane {
            sent,
            ..Lane::default()
        };
        Self {
            steps: lane(AT_ONCE - LEFT),
            waits: lane(AT_ONCE - LEFT),
            figures: lane(FIGURES - LEFT),
            once: lane(ONCE - LEFT),
        }
    }

    /// Whether a note of this class may go out now.
    pub fn may(&self, class: Class, now: Timestamp) -> bool {
        match class {
            Class::Step => self.steps.may_change(now),
            Class::Wait => self.waits.may_change(now),
            Class::Figures => self.figures.sent < FIGURES,
            Class::Once => self.once.sent < ONCE,
        }
    }

    /// A note of this class goes out.
    pub fn spend(&mut self, class: Class, now: Timestamp) {
        let lane = self.lane(class);
        *lane = Lane {
            sent: lane.sent + 1,
            last: now,
        };
    }

    /// A note of this class was not taken.
    pub fn refund(&mut self, class: Class) {
        let lane = self.lane(class);
        lane.sent = lane.sent.saturating_sub(1);
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Step => &mut self.steps,
            Class::Wait => &mut self.waits,
            Class::Figures => &mut self.figures,
            Class::Once => &mut self.once,
        }
    }
}

/// How long nothing is told of a job when its n-th note in a row was lost: a second at first, and never so long that a
/// timeline stays wrong for half a minute once Buildkite is well again. Whatever may have been taken is spent, so who is
/// hasty has nothing left to tell after an outage.
pub(super) fn pause_after(losses: u32) -> Duration {
    Duration::from_secs(1 << losses.saturating_sub(1).min(4))
}

/// How long figures stand before they are told anew: 1, 2, 5, 10, 20, 50, 100 … minutes.
pub(super) fn refresh_after(refreshes: u32) -> Duration {
    let step = [1, 2, 5][refreshes as usize % 3];
    let minutes = step * 10_u64.saturating_pow(refreshes / 3);
    Duration::from_secs(minutes.saturating_mul(60))
}
