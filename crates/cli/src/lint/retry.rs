//! What of a step's `retry.automatic` runs a job again whose machine was taken back, and what to add where nothing does.
//!
//! Facts (docs: command step, retry attributes): all conditions of a rule must match, the first rule that does wins, a limit
//! of 0 forbids. `"*"` for an exit status means 1 to 255, and `automatic: true` is such a rule: neither covers -1. A job that
//! ends because its machine is about to go ends with -1 and `agent_stop`, one whose machine is gone with -1 and no reason.

use super::yaml::{Marked, Node};

/// What a step has to say about jobs whose machine is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Again {
    /// None if it runs them again.
    pub advice: Option<Advice>,
}

/// What to add, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    pub line: usize,
    pub column: usize,
    pub text: String,
    /// Lines of YAML.
    pub add: Vec<String>,
}

/// The two ways in which such a job ends: exit status -1 with these reasons.
const ENDS: [Option<&str>; 2] = [Some("agent_stop"), None];

/// Rules that cover both, and leave out what gust itself refuses.
const RULES: [&str; 5] = [
    "- exit_status: -1   # gust refused the job, and would do so again",
    "  signal_reason: stack_error",
    "  limit: 0",
    "- exit_status: -1   # the machine was taken back or lost",
    "  limit: 2",
];

impl Again {
    /// Reads a step.
    pub fn of(step: &Marked) -> Self {
        let retry = step.get("retry");
        let Some(automatic) = retry.and_then(|retry| retry.get("automatic")) else {
            let (at, keys): (_, &[&str]) = match retry.filter(|retry| matches!(retry.node, Node::Map(_))) {
                Some(retry) => (retry, &["automatic:"]),
                None => (step, &["retry:", "automatic:"]),
            };
            return advise(at, "nothing runs this step again then; add", below(keys, &RULES));
        };
        let rules = match &automatic.node {
            Node::List(rules) => rules.as_slice(),
            _ => std::slice::from_ref(automatic),
        };
        if let Node::Scalar(text) = &automatic.node {
            let mut rules = RULES.to_vec();
            if text == "true" {
                rules.extend(["- exit_status: \"*\"", "  limit: 2"]);
            }
            let why = format!("`automatic: {text}` does not cover exit status -1; write");
            return advise(automatic, &why, below(&["automatic:"], &rules));
        }
        let winners = ENDS.map(|reason| rules.iter().find(|rule| matches(rule, reason)));
        if let Some(forbids) = winners.iter().flatten().find(|rule| limit(rule) == Some("0")) {
            return advise(
                forbids,
                "the rule here forbids it (limit 0); before it add",
                below(&[], &RULES),
            );
        }
        match winners.iter().any(Option::is_none) {
            true => advise(
                automatic,
                "no rule here covers both ways in which such a job ends; add",
                below(&[], &RULES),
            ),
            false => Self::default(),
        }
    }
}

/// Keys, each below the one before, and the rules below the last.
fn below(keys: &[&str], rules: &[&str]) -> Vec<String> {
    let keys = keys.iter().enumerate();
    let depth = keys.len();
    let rules = rules.iter().map(|rule| (depth, rule));
    keys.chain(rules)
        .map(|(depth, line)| format!("{}{line}", "  ".repeat(depth)))
        .collect()
}

fn advise(at: &Marked, why: &str, add: Vec<String>) -> Again {
    Again {
        advice: Some(Advice {
            line: at.line,
            column: at.column,
            text: format!("Spot machines are taken back now and then, and {why}"),
            add,
        }),
    }
}

fn limit(rule: &Marked) -> Option<&str> {
    rule.get("limit").and_then(Marked::text)
}

/// Whether a rule is about a job that ended with -1 and this reason.
fn matches(rule: &Marked, reason: Option<&str>) -> bool {
    let status = match rule.get("exit_status") {
        Some(status) => match &status.node {
            Node::List(all) => all.iter().any(|one| one.text() == Some("-1")),
            _ => status.text() == Some("-1"),
        },
        // A rule that names only a signal or a reason is about that; one that names nothing is `"*"`.
        None => rule.get("signal").is_some() || rule.get("signal_reason").is_some(),
    };
    // The agent that is told to stop ends its job by SIGTERM.
    let signal = reason.map(|_| "SIGTERM");
    status && fits(rule.get("signal"), signal) && fits(rule.get("signal_reason"), reason)
}

fn fits(wanted: Option<&Marked>, is: Option<&str>) -> bool {
    let plain = |name: &str| name.to_lowercase().trim_start_matches("sig").to_owned();
    match wanted.and_then(Marked::text) {
        None | Some("*") => true,
        Some("none") => is.is_none(),
        Some(wanted) => is.is_some_and(|is| plain(is) == plain(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::yaml, *};

    fn said(retry: &str) -> String {
        let text = format!("command: x\n{retry}\n");
        let step = yaml::read(&text).expect("YAML").expect("a step");
        match Again::of(&step).advice {
            None => "covered".to_owned(),
            Some(advice) => format!("{}: {}\n  {}", advice.line, advice.text, advice.add.join("\n  ")),
        }
    }

    #[test]
    fn rules_that_cover_both_ends_are_enough() {
        for retry in [
            "retry: { automatic: { exit_status: -1 } }",
            "retry: { automatic: [ { exit_status: -1, signal_reason: stack_error, limit: 0 }, { exit_status: -1, limit: 2 } ] }",
            "retry: { automatic: [ { exit_status: [1, -1], limit: 2 } ] }",
            "retry: { automatic: [ { signal_reason: agent_stop }, { exit_status: -1, signal_reason: none } ] }",
            "retry: { automatic: [ { signal_reason: \"*\" } ] }",
        ] {
            assert_eq!(said(retry), "covered", "{retry}");
        }
    }

    #[test]
    fn what_is_not_covered_is_told_at_its_place() {
        let all = [
            "timeout_in_minutes: 5",
            "retry:\n  manual: false",
            "retry: { automatic: true }",
            "retry: { automatic: false }",
            "retry:\n  automatic:\n    - exit_status: \"*\"\n      limit: 2",
            "retry:\n  automatic:\n    - signal_reason: agent_stop",
            "retry:\n  automatic:\n    - exit_status: 3\n    - exit_status: -1\n      limit: 0\n    - exit_status: -1",
        ];
        insta::assert_snapshot!(all.map(said).join("\n"));
    }
}
