//! How long nothing was placed, from what the fakes saw and what etcd holds.

use std::collections::BTreeMap;

/// A leader, or a member of etcd, that was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    /// When, in seconds since the fakes began.
    pub at: f64,
    /// The term that ended, or that went on if a member of etcd was lost.
    pub term: u64,
}

/// What is measured.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Accepted creates, each with the term that recorded it, by their times.
    calls: Vec<(f64, u64)>,
    /// Commits, by their times.
    commits: Vec<f64>,
}

/// So long after a loss what the old term had recorded may still be accepted as its own: later it is the successor
/// that repeats it.
const OWN: f64 = 0.2;
/// A gap that a loss made began at most so long before it, and begins so long after it at the latest.
const BEFORE: f64 = 0.1;
const AFTER: f64 = 15.0;
/// What is usual is not measured for so long after a loss.
const NEAR: f64 = 3.0;

impl Course {
    /// From the accepted creates by request id, the terms of recorded batches, and the times of commits.
    pub fn new(calls: &BTreeMap<String, f64>, terms: &BTreeMap<String, u64>, mut commits: Vec<f64>) -> Self {
        let mut calls: Vec<_> = calls
            .iter()
            .filter_map(|(call, at)| Some((*at, *terms.get(call)?)))
            .collect();
        calls.sort_by(|a, b| a.0.total_cmp(&b.0));
        commits.sort_by(f64::total_cmp);
        Self { calls, commits }
    }

    /// From the last accepted create of the old term to the first of the new one. Nothing if one is missing.
    pub fn gap(&self, loss: Loss) -> Option<f64> {
        let new = self
            .calls
            .iter()
            .find(|(at, term)| *at > loss.at && *term > loss.term)?
            .0;
        let is_old = |(at, term): &&(f64, u64)| *term <= loss.term && *at <= new && *at <= loss.at + OWN;
        let old = self.calls.iter().rfind(is_old)?;
        Some(new - old.0)
    }

    /// The longest time without a commit around a loss, and before `next`, the loss that follows.
    pub fn write_gap(&self, loss: Loss, next: Option<Loss>) -> Option<f64> {
        longest(&self.commits, loss, next)
    }

    /// The longest time without an accepted create of whatever term, likewise.
    pub fn hole(&self, loss: Loss, next: Option<Loss>) -> Option<f64> {
        let calls: Vec<f64> = self.calls.iter().map(|(at, _)| *at).collect();
        longest(&calls, loss, next)
    }

    /// Times between accepted creates of one term, away from all losses.
    pub fn usual(&self, losses: &[Loss]) -> Vec<f64> {
        let pairs = self.calls.windows(2).filter(|pair| pair[0].1 == pair[1].1);
        away(pairs.map(|pair| (pair[0].0, pair[1].0)), losses)
    }

    /// Times between commits, away from all losses.
    pub fn usual_writes(&self, losses: &[Loss]) -> Vec<f64> {
        away(self.commits.windows(2).map(|pair| (pair[0], pair[1])), losses)
    }
}

fn longest(times: &[f64], loss: Loss, next: Option<Loss>) -> Option<f64> {
    // What ends after the next loss is that one's, however long before it the last one came.
    let end = next.map_or(f64::MAX, |next| next.at);
    let around = loss.at - BEFORE..loss.at + AFTER;
    times
        .windows(2)
        .filter(|pair| pair[1] > around.start && pair[0] < around.end && pair[1] <= end)
        .map(|pair| pair[1] - pair[0])
        .max_by(f64::total_cmp)
}

fn away(pairs: impl Iterator<Item = (f64, f64)>, losses: &[Loss]) -> Vec<f64> {
    let is_near = |(from, to): &(f64, f64)| losses.iter().any(|loss| *to > loss.at && *from < loss.at + NEAR);
    pairs
        .filter(|pair| !is_near(pair))
        .map(|(from, to)| to - from)
        .collect()
}

/// The value that so many per cent do not exceed (nearest rank); 0 of nothing.
pub(super) fn percentile(values: &[f64], per_cent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let calls = [
            ("a", 1.0),
            ("b", 1.1),
            ("c", 1.25),
            ("d", 4.0),
            ("e", 4.5),
            ("f", 5.0),
        ];
        let terms = [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 7), ("f", 7)];
        Course::new(
            &calls.map(|(call, at)| (call.to_owned(), at)).into(),
            &terms.map(|(call, term)| (call.to_owned(), term)).into(),
            vec![1.0, 1.1, 4.2, 4.3],
        )
    }

    #[test]
    fn a_gap_ends_with_the_first_create_that_the_new_term_recorded() {
        // What the old term had recorded and the successor repeated, at 4.0, ends nothing.
        assert_eq!(course().gap(Loss { at: 1.1, term: 2 }), Some(3.25));
        assert_eq!(course().gap(Loss { at: 1.1, term: 7 }), None);
    }

    #[test]
    fn a_gap_in_the_writes_is_the_longest_near_the_loss() {
        let at = |at| Loss { at, term: 2 };
        let gap = course().write_gap(at(1.2), None);
        assert!(gap.is_some_and(|gap| (gap - 3.1).abs() < 1e-9));
        assert_eq!(course().write_gap(at(90.0), None), None);
        // What ends after the next loss is that one's.
        let gap = course().write_gap(at(1.05), Some(at(1.19)));
        assert!(gap.is_some_and(|gap| (gap - 0.1).abs() < 1e-9));
    }

    #[test]
    fn a_hole_is_of_whatever_term() {
        let hole = course().hole(Loss { at: 1.1, term: 2 }, None);
        assert!(hole.is_some_and(|hole| (hole - 2.75).abs() < 1e-9), "{hole:?}");
    }

    #[test]
    fn what_is_usual_leaves_losses_out() {
        let loss = Loss { at: 1.05, term: 2 };
        let usual = course().usual(&[loss]);
        assert!(usual.len() == 1 && (usual[0] - 0.5).abs() < 1e-9, "{usual:?}");
        assert_eq!(course().usual(&[]).len(), 4);
        assert_eq!(course().usual_writes(&[loss]).len(), 1);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 10.0);
        assert_eq!(percentile(&values, 99), 20.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
