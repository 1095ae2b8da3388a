//! Rate windows of the Stacks API: one second, sliding, for each stack key and scope.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

/// How a call stands in its window; goes out in the `RateLimit-*` headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) scope: &'static str,
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Seconds until the window has room again, rounded up, at least 1.
    pub(super) reset: u64,
    /// Calls within the window, this one included, if it was refused.
    pub(super) exceeded_by: Option<u32>,
}

/// The windows of one stack. Refused calls are not counted in.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<&'static str, VecDeque<Duration>>);

impl Windows {
    /// Counts a call of the scope; `None` where the scope has no limit.
    pub(super) fn count(
        &mut self,
        now: Duration,
        scope: &'static str,
        limit: Option<u32>,
    ) -> Option<Standing> {
        let limit = limit?;
        let window = self.0.entry(scope).or_default();
        while window.front().is_some_and(|&at| at + WINDOW <= now) {
            window.pop_front();
        }
        let used = window.len() as u32;
        let exceeded_by = (used >= limit).then_some(used + 1);
        if exceeded_by.is_none() {
            window.push_back(now);
        }
        let frees = window
            .front()
            .map_or(WINDOW, |&at| (at + WINDOW).saturating_sub(now));
        Some(Standing {
            scope,
            limit,
            remaining: limit.saturating_sub(window.len() as u32),
            reset: (frees.as_millis() as u64).div_ceil(1000).max(1),
            exceeded_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_refused_calls_do_not_prolong_it() {
        let mut windows = Windows::default();
        let mut at = |ms: u64| windows.count(Duration::from_millis(ms), "s", Some(2)).unwrap();
        assert_eq!(at(0).remaining, 1);
        assert_eq!(at(600).remaining, 0);
        assert_eq!(at(700).exceeded_by, Some(3));
        assert_eq!(at(999).exceeded_by, Some(3));
        assert_eq!(at(1000).exceeded_by, None, "the call at 0 left the window");
        assert_eq!(at(1599).exceeded_by, Some(3));
        assert_eq!(at(1600).exceeded_by, None);
    }
}
