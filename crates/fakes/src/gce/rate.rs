//! Rates of calls: clock-aligned minutes by group, bulk requests a second.
//!
//! Windows run in real time, whatever the speed of machines. Which group a method belongs to is written at the
//! method, in [`super::method`]. A group that the limits do not name is not limited; so the legacy and the
//! simplified scheme are told apart by the names in the limits file.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::now::Now;

const MINUTE_NS: i128 = 60_000_000_000;

/// The counts of one project.
#[derive(Debug, Default)]
pub struct Rates {
    windows: BTreeMap<(Arc<str>, &'static str), (i128, u32)>,
    bulk: VecDeque<Duration>,
}

/// What is left after a call was counted, or which group had nothing left.
pub type Charged = Result<Option<u32>, &'static str>;

impl Rates {
    /// Counts a call in all its groups. `region` is empty for calls that count over the whole project. A call
    /// that is refused in one group is not counted in the others.
    pub fn charge(
        &mut self,
        limits: &limits::Gce,
        now: Now,
        region: &Arc<str>,
        groups: &[&'static str],
    ) -> Charged {
        let minute = now.unix_ns.div_euclid(MINUTE_NS);
        let limited = |group: &&&'static str| limits.rates_per_minute.contains_key(**group);
        for group in groups.iter().filter(limited) {
            let window = self.windows.get(&(region.clone(), *group));
            let used = window
                .filter(|(of, _)| *of == minute)
                .map_or(0, |(_, used)| *used);
            if used >= limits.rates_per_minute[*group] {
                return Err(group);
            }
        }
        let mut remaining = None;
        for group in groups.iter().filter(limited) {
            let window = self
                .windows
                .entry((region.clone(), *group))
                .or_insert((minute, 0));
            if window.0 != minute {
                *window = (minute, 0);
            }
            window.1 += 1;
            let left = limits.rates_per_minute[*group].saturating_sub(window.1);
            remaining = Some(remaining.map_or(left, |other: u32| other.min(left)));
        }
        Ok(remaining)
    }

    /// Counts a bulk request in the running second; false if there were too many.
    pub fn charge_bulk(&mut self, limits: &limits::Gce, now: Now) -> bool {
        let second_ago = now.since_start.checked_sub(Duration::from_secs(1));
        while self
            .bulk
            .front()
            .is_some_and(|at| second_ago.is_some_and(|ago| *at <= ago))
        {
            self.bulk.pop_front();
        }
        let fits = self.bulk.len() < limits.bulk_per_second as usize;
        if fits {
            self.bulk.push_back(now.since_start);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_group_is_free_again_at_the_clock_minute() {
        let mut limits = Limits::standard().gce;
        limits.rates_per_minute.insert("default_per_region".into(), 2);
        let mut rates = Rates::default();
        let (here, there): (Arc<str>, Arc<str>) = ("us-east1".into(), "us-east4".into());
        // The process starts 45 s into a clock minute.
        let at = |seconds| Now::at(45_000_000_000, Duration::from_secs(seconds));
        let group = &["default_per_region", "writes_per_region"];
        assert_eq!(rates.charge(&limits, at(0), &here, group), Ok(Some(1)));
        assert_eq!(rates.charge(&limits, at(1), &here, group), Ok(Some(0)));
        assert_eq!(
            rates.charge(&limits, at(14), &here, group),
            Err("default_per_region")
        );
        assert_eq!(
            rates.charge(&limits, at(14), &there, group),
            Ok(Some(1)),
            "each region has its own"
        );
        assert_eq!(
            rates.charge(&limits, at(15), &here, group),
            Ok(Some(1)),
            "10:01:00"
        );
    }

    #[test]
    fn bulk_requests_are_counted_over_any_second() {
        let limits = Limits::standard().gce;
        let mut rates = Rates::default();
        let at = |millis| Now::at(0, Duration::from_millis(millis));
        assert!((0..20).all(|_| rates.charge_bulk(&limits, at(900))));
        assert!(!rates.charge_bulk(&limits, at(1899)));
        assert!(rates.charge_bulk(&limits, at(1900)));
    }
}
