//! The account of API calls that a shard may make in each minute of the clock. Pure: `now` is a value.
//!
//! Google counts calls per project, region and group in windows that begin with each minute of the clock, and takes
//! no more once a window's limit is reached: what is refused at 10:00:15 is taken again at 10:01:00 (source:
//! docs.cloud.google.com/compute/docs/api-rate-limits, 2026-04-14). A burst that spends a window in its first seconds
//! would leave nothing for deletions that come later, so calls are spread: at every moment of a minute no more than its
//! share has gone out, plus a few seconds' worth ahead of it.

use std::time::Duration;

use serde::Serialize;

use crate::time::Timestamp;

/// A window of Google's, in milliseconds.
const WINDOW: u64 = 60_000;
/// How far ahead of its share of the minute a call may go out, in milliseconds: a tenth of the window.
const LEAD: u64 = 6_000;
/// Of a minute's calls one in so many is kept for calls that must not wait.
const RESERVE: u64 = 5;
/// A limit falls no lower than one in so many of itself, however often Google refuses, and rises by as much a minute.
const STEP: u64 = 10;

/// Clocks differ, and a minute that was spent ends for Google when its own clock says so: so long after one, in
/// milliseconds, nothing goes out.
const PAUSE: u64 = 250;

/// Which calls go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// May spend all that there is: deletions, and what has an account of its own.
    First,
    /// Leaves a reserve for [`Urgency::First`].
    Normal,
}

/// Calls a minute that Google takes of one project, by group: in each region, but for the last.
///
/// The names are those of the configuration. The defaults are Google's, as far as it tells them (1,500 a minute for each
/// group: older copies of its page on rate limits; the current one names none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Creations and deletions (`default_per_region`; `writes_per_region`).
    pub writes: u32,
    /// Reads of one resource (`read_requests_per_region`; `reads_per_region` for this and the next three where a
    /// project is on the simplified scheme: see [`Rates::simplified`]).
    pub reads: u32,
    /// Lists (`list_requests_per_region`).
    pub lists: u32,
    /// Reads of one operation (`operation_read_requests_per_region`).
    pub operation_reads: u32,
    /// Waits for an operation (`heavy_weight_read_requests_per_region`).
    pub waits: u32,
    /// Reads of what belongs to no region (`read_requests`; `global_reads`).
    pub global_reads: u32,
    /// Google keeps one account for all reads of a region; [`Rates::reads`] is its limit.
    pub simplified: bool,
}

impl Default for Rates {
    fn default() -> Self {
        let each = 1500;
        Self {
            writes: each,
            reads: each,
            lists: each,
            operation_reads: each,
            waits: each,
            global_reads: each,
            simplified: false,
        }
    }
}

impl Rates {
    /// True if nothing was said about them.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The account of one group of calls in one region of a project.
///
/// # Guarantees
/// In no window of its clock more than the limit go out, whatever is asked; and what several owners of a shard take one
/// after another stays below the limit together, as long as each begins with [`Account::begin`] and stops before the next
/// begins.
#[derive(Clone, Debug)]
pub struct Account {
    limit: u64,
    /// The limit at present: lower than `limit` after Google refused.
    ceiling: u64,
    /// Minutes since 1970.
    window: i64,
    spent: u64,
    /// Of them with [`Urgency::Normal`].
    normal: u64,
    /// Most of the window before this one was spent.
    after_spent: bool,
    /// Google takes no more in this window.
    closed: bool,
}

impl Account {
    /// An account of `limit` calls a minute; at least one.
    pub fn new(limit: u32) -> Self {
        let limit = u64::from(limit).max(1);
        Self {
            limit,
            ceiling: limit,
            window: i64::MIN,
            spent: 0,
            normal: 0,
            after_spent: false,
            closed: false,
        }
    }

    /// Enters a call, if it may go out now.
    ///
    /// # Errors
    /// The first moment at which it may, unless others go first.
    pub fn take(&mut self, now: Timestamp, urgency: Urgency) -> Result<(), Timestamp> {
        let offset = self.roll(now);
        let normal = urgency == Urgency::Normal;
        let mut at = opens(self.ceiling, 1, self.spent);
        if normal {
            at = at.max(opens(self.ceiling * (RESERVE - 1), RESERVE, self.normal));
        }
        if self.closed || at >= WINDOW {
            return Err(self.start_of(1).after(Duration::from_millis(PAUSE)));
        }
        if self.after_spent {
            at = at.max(PAUSE);
        }
        if at > offset {
            return Err(self.start_of(0).after(Duration::from_millis(at)));
        }
        self.spent += 1;
        self.normal += u64::from(normal);
        Ok(())
    }

    /// Another may have called until now: all that it may have spent of this minute counts as spent. The rest of the
    /// minute is ours.
    pub fn begin(&mut self, now: Timestamp) {
        let offset = self.roll(now);
        self.spent = self.spent.max(share(self.ceiling, 1, offset));
        self.normal = self
            .normal
            .max(share(self.ceiling * (RESERVE - 1), RESERVE, offset));
    }

    /// Google refused a call since the window is spent: others call in this project, too, or the limit is lower than
    /// we think. Nothing more goes out in this minute, and less in the next ones.
    pub fn refused(&mut self, now: Timestamp) {
        self.roll(now);
        self.closed = true;
        let took = self.spent.saturating_sub(1).min(self.ceiling);
        self.ceiling = (took - took / STEP).max(self.least());
    }

    /// Calls a minute that are spread over it at present.
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    fn least(&self) -> u64 {
        (self.limit / STEP).max(1)
    }

    /// Begins the window of `now` if it is a later one; returns how far it has gone, in milliseconds. A clock that was
    /// set back stays in the window that has begun, at its start.
    fn roll(&mut self, now: Timestamp) -> u64 {
        let width = WINDOW as i64;
        let window = now.0.div_euclid(width);
        if window < self.window {
            return 0;
        }
        if window > self.window {
            let good = window.saturating_sub(self.window).unsigned_abs() - u64::from(self.closed);
            let risen = self.ceiling.saturating_add(self.least().saturating_mul(good));
            self.after_spent = window == self.window + 1 && (self.closed || self.spent * 2 > self.ceiling);
            self.ceiling = risen.min(self.limit);
            (self.window, self.spent, self.normal, self.closed) = (window, 0, 0, false);
        }
        now.0.rem_euclid(width).unsigned_abs()
    }

    fn start_of(&self, next: i64) -> Timestamp {
        Timestamp((self.window + next) * WINDOW as i64)
    }
}

/// How many of `calls / of` a minute may have gone out by `offset`.
fn share(calls: u64, of: u64, offset: u64) -> u64 {
    (calls * (offset + LEAD).min(WINDOW)).div_ceil(WINDOW * of)
}

/// The first offset at which one more than `spent` may have gone out; [`WINDOW`] or more if none in this window.
fn opens(calls: u64, of: u64, spent: u64) -> u64 {
    if spent >= calls.div_ceil(of) {
        return WINDOW;
    }
    (spent * WINDOW * of / calls + 1).saturating_sub(LEAD)
}

#[cfg(test)]
mod tests;
