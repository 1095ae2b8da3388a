//! Which builds a step is made for: `if` and `branches`.
//!
//! Facts (docs: `pipelines/configure/workflows/branch-configuration`): patterns stand between blanks, `*` is any rest, `!`
//! says not; one of the positive ones must match and none of the negative ones may.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::text;
use crate::buildkite::condition::{Condition, Facts};
use crate::buildkite::ids::Refusal;
use crate::buildkite::stars::like;

/// What must be true of a build for the step to run.
#[derive(Clone, Debug, Default)]
pub(in crate::buildkite) struct Only {
    /// Its own, and that of its group.
    conditions: Vec<Arc<Condition>>,
    branches: String,
}

impl Only {
    /// Why the step is left out of a build, if it is: `broken_reason` of its jobs.
    pub(in crate::buildkite) fn omits(&self, facts: &dyn Facts, branch: &str) -> Option<&'static str> {
        if !self.conditions.iter().all(|condition| condition.holds(facts)) {
            return Some("conditional_failed");
        }
        (!covers(&self.branches, branch)).then_some("branch_mismatch")
    }

    /// What holds for a group holds for each step in it.
    pub(super) fn also(&mut self, group: &Self) {
        self.conditions.extend(group.conditions.iter().cloned());
    }
}

pub(super) fn read(step: &Map<String, Value>, name: &str) -> Result<Only, Refusal> {
    let condition = step.get("if").filter(|value| !value.is_null());
    let branches = step.get("branches").filter(|value| !value.is_null());
    if condition.is_some() && branches.is_some() {
        return Err(Refusal::unprocessable(format!(
            "`if` and `branches` cannot be used at the same time, in {name}"
        )));
    }
    let conditions = match condition.map(text) {
        None => Vec::new(),
        Some(None) => return Err(Refusal::unprocessable("`if` must be text")),
        Some(Some(condition)) => {
            let condition = Condition::read(&condition).map_err(|problem| {
                Refusal::unprocessable(format!("The `if` of {name} is not valid: {problem}"))
            })?;
            vec![Arc::new(condition)]
        }
    };
    let wrong = || Refusal::unprocessable("`branches` must be text or a list of it");
    let branches = match branches {
        None => String::new(),
        Some(Value::Array(items)) => {
            let patterns: Option<Vec<String>> = items.iter().map(text).collect();
            patterns.ok_or_else(wrong)?.join(" ")
        }
        Some(patterns) => text(patterns).ok_or_else(wrong)?,
    };
    Ok(Only { conditions, branches })
}

/// Whether patterns cover a branch; no patterns cover all.
pub(in crate::buildkite) fn covers(patterns: &str, branch: &str) -> bool {
    let positive = patterns
        .split_whitespace()
        .filter(|pattern| !pattern.starts_with('!'));
    let wanted = positive.clone().next().is_none() || positive.clone().any(|pattern| like(pattern, branch));
    let mut negative = patterns
        .split_whitespace()
        .filter_map(|pattern| pattern.strip_prefix('!'));
    wanted && !negative.any(|pattern| like(pattern, branch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_documentation() {
        let cases = [
            ("main", "main", true),
            ("main", "main2", false),
            ("!production", "main", true),
            ("!production", "production", false),
            ("main features/*", "features/x", true),
            ("main features/*", "main", true),
            ("main features/*", "feature/x", false),
            ("*-test", "rails-update-test", true),
            ("stages/* !stages/production", "stages/production", false),
            ("stages/* !stages/production", "stages/demo", true),
            ("v*.0", "v1.0", true),
            ("v*.0", "v1.1", false),
            ("v* !v1.*", "v2.3", true),
            ("v* !v1.*", "v1.1", false),
            ("a*a", "a", false),
            ("*ab*b", "xabb", true),
            ("", "any", true),
        ];
        for (patterns, branch, wanted) in cases {
            assert_eq!(covers(patterns, branch), wanted, "{patterns:?} and {branch}");
        }
    }
}
