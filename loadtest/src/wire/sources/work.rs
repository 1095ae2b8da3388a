//! The jobs of the comparison, drawn from a seed: how each ends is certain, whatever finds it and whenever.

use std::fmt::Write as _;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How a step's first job ends, and what happens afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It runs and passes.
    Pass,
    /// It fails, and that is all.
    Fail,
    /// It fails, and its step runs it again, which fails too.
    FailTwice,
    /// It fails, and a person runs it again, which fails too.
    RetriedByHand,
    /// A person cancels it while it waits.
    CanceledWaiting,
    /// A person cancels it once it runs.
    CanceledRunning,
}

/// One step with one job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub key: String,
    pub fate: Fate,
    cpu: u32,
    priority: i64,
    run_s: f64,
    /// The priority that a person gives it later.
    pub moved_to: Option<i64>,
}

/// So many steps.
pub(super) fn draw(seed: u64, jobs: usize) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let step = |nth: usize| {
        let fate = match random.random_range(0..100) {
            0..70 => Fate::Pass,
            70..78 => Fate::Fail,
            78..86 => Fate::FailTwice,
            86..90 => Fate::RetriedByHand,
            90..95 => Fate::CanceledWaiting,
            _ => Fate::CanceledRunning,
        };
        Step {
            key: format!("s{nth}"),
            fate,
            cpu: [2, 4, 8][random.random_range(0..3)],
            priority: random.random_range(-5..=5),
            run_s: f64::from(random.random_range(0..20)) / 10.0,
            moved_to: random.random_bool(0.1).then(|| random.random_range(-5..=5)),
        }
    };
    (0..jobs).map(step).collect()
}

impl Step {
    /// What it ends as: the state of each of its jobs, in order, with the exit status where an agent told one.
    pub fn end(&self) -> Vec<String> {
        let failed = || "finished 1".to_owned();
        match self.fate {
            Fate::Pass => vec!["finished 0".to_owned()],
            Fate::Fail => vec![failed()],
            Fate::FailTwice | Fate::RetriedByHand => vec![failed(), failed()],
            Fate::CanceledWaiting | Fate::CanceledRunning => vec!["canceled".to_owned()],
        }
    }
}

/// The pipeline of these steps.
pub(super) fn pipeline(steps: &[Step]) -> String {
    let mut text = "steps:\n".to_owned();
    for step in steps {
        let (run_s, exit) = match step.fate {
            Fate::Pass => (step.run_s, 0),
            Fate::Fail | Fate::FailTwice | Fate::RetriedByHand => (step.run_s, 1),
            // Longer than the whole run: only the cancel ends it.
            Fate::CanceledWaiting | Fate::CanceledRunning => (86_400.0, 0),
        };
        let retry = match step.fate {
            Fate::FailTwice => ", retry: { automatic: [ { exit_status: 1, limit: 1 } ] }",
            _ => "",
        };
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "  - {{ key: {}, command: \"true\", priority: {}, env: {{ GUST_SIM_RUN_S: \"{run_s}\", GUST_SIM_EXIT: \"{exit}\" }}, \
             agents: {{ queue: gust, cpu: {}, memory: {} }}{retry} }}",
            step.key,
            step.priority,
            step.cpu,
            step.cpu * 4,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_work_again_and_has_some_of_everything() {
        let (once, again) = (draw(7, 300), draw(7, 300));
        assert_eq!(once, again);
        assert_ne!(once, draw(8, 300));
        for fate in [
            Fate::Pass,
            Fate::Fail,
            Fate::FailTwice,
            Fate::RetriedByHand,
            Fate::CanceledWaiting,
            Fate::CanceledRunning,
        ] {
            assert!(once.iter().any(|step| step.fate == fate), "{fate:?}");
        }
    }

    #[test]
    fn a_step_says_all_that_its_end_depends_on() {
        let step = Step {
            key: "s0".into(),
            fate: Fate::FailTwice,
            cpu: 4,
            priority: -2,
            run_s: 0.5,
            moved_to: None,
        };
        insta::assert_snapshot!(pipeline(&[step]), @r#"
        steps:
          - { key: s0, command: "true", priority: -2, env: { GUST_SIM_RUN_S: "0.5", GUST_SIM_EXIT: "1" }, agents: { queue: gust, cpu: 4, memory: 16 }, retry: { automatic: [ { exit_status: 1, limit: 1 } ] } }
        "#);
    }
}
