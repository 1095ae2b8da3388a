//! Cutting a failing scenario down: fewer faults, fewer acts, fewer jobs, fewer replicas, an earlier end.
//!
//! A scenario is data with nothing random left in it, so leaving items out leaves the others as they were. What
//! remains need not fail by the same path, but it must break the same invariant.

use super::scenario::Scenario;

/// The smallest scenario found that still fails, and how many runs that took (at most `budget`).
pub fn shrink(
    scenario: &Scenario,
    budget: usize,
    fails: &mut dyn FnMut(&Scenario) -> bool,
) -> (Scenario, usize) {
    let mut best = scenario.clone();
    let mut runs = 0;
    let mut fails = |candidate: &Scenario| {
        runs += 1;
        runs <= budget && candidate.check("shrunk").is_ok() && fails(candidate)
    };
    loop {
        let before = best.clone();
        best.faults = fewer(&best.faults, &mut |faults| {
            fails(&Scenario {
                faults: faults.to_vec(),
                ..best.clone()
            })
        });
        best.acts = fewer(&best.acts, &mut |acts| {
            fails(&Scenario {
                acts: acts.to_vec(),
                ..best.clone()
            })
        });
        best.builds = fewer(&best.builds, &mut |builds| {
            fails(&Scenario {
                builds: builds.to_vec(),
                ..best.clone()
            })
        });
        fewer_steps(&mut best, &mut fails);
        for replicas in 1..best.replicas {
            let candidate = Scenario {
                replicas,
                ..best.clone()
            };
            if fails(&candidate) {
                best = candidate;
                break;
            }
        }
        earlier(&mut best, &mut fails);
        if best == before {
            return (best, runs);
        }
    }
}

fn fewer_steps(best: &mut Scenario, fails: &mut dyn FnMut(&Scenario) -> bool) {
    for at in 0..best.builds.len() {
        let Ok(steps) = best.builds[at].steps() else {
            continue;
        };
        let whole = best.builds[at].clone();
        let with_only = |kept: &[String]| {
            let dropped: Vec<String> = steps
                .iter()
                .filter(|step| !kept.contains(step))
                .cloned()
                .collect();
            let mut candidate = best.clone();
            candidate.builds[at] = whole.without(&dropped)?;
            Some(candidate)
        };
        let kept = fewer(&steps, &mut |kept| {
            with_only(kept).is_some_and(|candidate| fails(&candidate))
        });
        if kept.len() < steps.len()
            && let Some(smaller) = with_only(&kept)
        {
            *best = smaller;
        }
    }
}

fn earlier(best: &mut Scenario, fails: &mut dyn FnMut(&Scenario) -> bool) {
    loop {
        let span = best.patience_ms - best.quiet_after_ms;
        let quiet_after_ms = best.quiet_after_ms / 2;
        let candidate = Scenario {
            quiet_after_ms,
            patience_ms: quiet_after_ms + span,
            ..best.clone()
        };
        if quiet_after_ms < 1000 || !fails(&candidate) {
            return;
        }
        *best = candidate;
    }
}

/// Delta debugging: leaves out ever smaller runs of items for as long as what is left still fails.
fn fewer<T: Clone>(items: &[T], fails: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = items.to_vec();
    let mut chunk = best.len();
    while chunk > 0 {
        let mut from = 0;
        while from < best.len() {
            let to = (from + chunk).min(best.len());
            let candidate: Vec<T> = best[..from].iter().chain(&best[to..]).cloned().collect();
            if fails(&candidate) {
                best = candidate;
            } else {
                from = to;
            }
        }
        chunk /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_all_that_is_left() {
        let items: Vec<u32> = (0..100).collect();
        let mut runs = 0;
        let kept = fewer(&items, &mut |kept| {
            runs += 1;
            kept.contains(&7) && kept.contains(&63)
        });
        assert_eq!(kept, [7, 63]);
        assert!(runs < 100, "{runs} runs");
    }

    #[test]
    fn what_fails_without_anything_is_left_with_nothing() {
        assert!(fewer(&[1, 2, 3], &mut |_| true).is_empty());
    }
}
