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
        if runs >= budget || candidate.check("shrunk").is_err() {
            return false;
        }
        runs += 1;
        fails(candidate)
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
    use crate::virtual_gear::{Keep, run};

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

    const WHOLE: &str = r#"
seed = 6
profile = "mass-cancel"
replicas = 2
latency_ms = [5, 20]
quiet_after_ms = 60000
patience_ms = 600000
limits = { base = "demo" }
builds = [
  { at_ms = 0, slug = "one", pipeline = """
steps:
  - { key: a, command: run, agents: { queue: gust, cpu: 2, memory: 8 } }
  - { key: b, command: run, agents: { queue: gust, cpu: 2, memory: 8 }, depends_on: a }
  - { key: c, command: run, agents: { queue: gust, cpu: 4, memory: 8 } }
""" },
  { at_ms = 2000, slug = "two", pipeline = "steps: [ { key: d, command: run, agents: { queue: gust, cpu: 2, memory: 8 } } ]" },
]
acts = [
  { when = { at_ms = 3000 }, what = { kind = "prioritize-job", step = "d", priority = 5 } },
  { when = { event = "instance.inserted" }, what = { kind = "cancel-job", step = "c" } },
]
faults = [
  { when = { at_ms = 1000 }, what = { kind = "etcd-gone", lasting_ms = 2000 } },
  { when = { point = "cloud-create" }, what = { kind = "reply-lost-after" } },
  { when = { at_ms = 9000 }, what = { kind = "replica-crash", replica = "leader", down_ms = 1000 } },
]
"#;

    // A real predicate over real runs: somebody cancels a job. What has nothing to do with that goes.
    #[test]
    fn a_run_is_cut_down_to_what_makes_it_fail() {
        let whole = Scenario::parse("whole.toml", WHOLE).unwrap();
        let fails = |scenario: &Scenario| {
            let log = run(scenario, Keep::Log).log;
            let is_canceled =
                |line: &str| line.contains("\"kind\":\"job.finished\"") && line.contains("canceled");
            log.lines().any(is_canceled)
        };
        assert!(fails(&whole));
        let mut tried = 0;
        let (small, runs) = shrink(&whole, 200, &mut |candidate| {
            tried += 1;
            fails(candidate)
        });
        assert!(fails(&small), "what is left fails still");
        assert_eq!(runs, tried);
        let steps: usize = small
            .builds
            .iter()
            .map(|build| build.steps().unwrap().len())
            .sum();
        assert_eq!(
            (
                small.faults.len(),
                small.acts.len(),
                small.builds.len(),
                steps,
                small.replicas
            ),
            (0, 1, 1, 1, 1),
            "{}",
            small.to_toml()
        );
        assert!(small.quiet_after_ms < whole.quiet_after_ms);
        // It can be kept, and read again.
        assert_eq!(Scenario::parse("small.toml", &small.to_toml()).unwrap(), small);
    }

    #[test]
    fn what_fails_without_anything_is_left_with_nothing() {
        assert!(fewer(&[1, 2, 3], &mut |_| true).is_empty());
    }
}
